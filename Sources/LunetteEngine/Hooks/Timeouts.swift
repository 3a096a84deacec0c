import Synchronization

/// Tells those whose time has passed. One sleeper serves all: most questions are answered long before their time, and a timer for each would cost
/// more than the answer.
final class Timeouts: Sendable {
    private struct State {
        /// By number: monotonic seconds, and what to do then.
        var entries: [Int: (due: Double, tell: @Sendable () -> Void)] = [:]
        /// When the sleeper wakes; nil: there is none.
        var wakes: Double?
        var sleeper: Task<Void, Never>?
        var isClosed = false
    }
    private let state = Mutex(State())
    private let clock: any EngineClock

    init(_ clock: any EngineClock) { self.clock = clock }

    private static var now: Double { Double(monotonicNanoseconds()) / 1e9 }

    /// - Parameters:
    ///   - number: by which it is removed; unique.
    ///   - seconds: from now.
    func add(_ number: Int, after seconds: Double, _ tell: @escaping @Sendable () -> Void) {
        let due = Self.now + seconds
        state.withLock { state in
            if state.isClosed { return }
            state.entries[number] = (due, tell)
            if state.wakes.map({ due < $0 }) ?? true { sleep(until: due, &state) }
        }
    }

    func remove(_ number: Int) { state.withLock { _ = $0.entries.removeValue(forKey: number) } }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.sleeper?.cancel()
            (state.entries, state.sleeper) = ([:], nil)
        }
    }

    private func sleep(until due: Double, _ state: inout State) {
        state.sleeper?.cancel()
        state.wakes = due
        state.sleeper = Task { [weak self, clock] in
            do { try await clock.sleep(due - Self.now) } catch { return }
            self?.wake()
        }
    }

    private func wake() {
        let now = Self.now
        let late = state.withLock { state in
            let late = state.entries.filter { $0.value.due <= now }
            for number in late.keys { state.entries[number] = nil }
            (state.wakes, state.sleeper) = (nil, nil)
            if let next = state.entries.values.map(\.due).min(), !state.isClosed { sleep(until: next, &state) }
            return late.values.map(\.tell)
        }
        for tell in late { tell() }
    }
}
