internal import Synchronization

/// Time that stands until it is moved; what waits for it is woken one by one, in the order of its instants, then of asking.
///
/// Kept in whole microseconds: sums of seconds in floating point stay exact for years, so that an hour advanced meets the timer of an hour.
package final class VirtualTime: Sendable {
    private struct Timer {
        let id: Int
        let due: Int64
        let body: @Sendable () -> Void
    }

    private struct State {
        var now: Int64
        var next = 0
        var timers: [Timer] = []
    }

    /// 2026-01-01 00:00:00 UTC: the same for every test.
    package static let usualStart = 1_767_225_600.0
    private let start: Int64
    private let state: Mutex<State>

    /// - Parameter start: unix seconds.
    package init(start: Double = VirtualTime.usualStart) {
        self.start = Self.microseconds(start)
        state = Mutex(State(now: Self.microseconds(start)))
    }

    private static func microseconds(_ seconds: Double) -> Int64 { Int64((min(max(seconds, -3.2e9), 3.2e9) * 1e6).rounded()) }

    /// Unix seconds.
    package var now: Double { Double(state.withLock { $0.now }) / 1e6 }
    /// Seconds since the start; a boot lies a thousand before it.
    package var monotonic: Double { Double(state.withLock { $0.now } - start) / 1e6 + 1000 }

    /// Asks for `body` to be called once `seconds` have passed; also when that is at once, it is called by whoever moves the time.
    /// - Returns: what `cancel` takes.
    package func schedule(after seconds: Double, _ body: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            state.next += 1
            let due = state.now + max(Self.microseconds(seconds), 0)
            let index = state.timers.firstIndex { $0.due > due } ?? state.timers.count
            state.timers.insert(Timer(id: state.next, due: due, body: body), at: index)
            return state.next
        }
    }

    /// - Returns: false when it was woken already.
    @discardableResult
    package func cancel(_ id: Int) -> Bool {
        state.withLock { state in
            guard let index = state.timers.firstIndex(where: { $0.id == id }) else { return false }
            state.timers.remove(at: index)
            return true
        }
    }

    /// When the next timer is due, in unix seconds.
    package var nextDue: Double? { state.withLock { $0.timers.first.map { Double($0.due) / 1e6 } } }

    /// Moves to the next timer and wakes it.
    /// - Returns: false when none is due until `limit` (unix seconds).
    package func fireNext(until limit: Double) -> Bool {
        let timer = state.withLock { state -> Timer? in
            guard let first = state.timers.first, first.due <= Self.microseconds(limit) else { return nil }
            state.now = max(state.now, first.due)
            return state.timers.removeFirst()
        }
        timer?.body()
        return timer != nil
    }

    /// Forgets the timers and begins again.
    package func reset() {
        state.withLock { state in
            state.timers = []
            state.now = start
        }
    }

    /// Moves to an instant, in unix seconds, without waking anybody; never back.
    package func move(to instant: Double) { state.withLock { $0.now = max($0.now, Self.microseconds(instant)) } }

    /// - Throws: `CancellationError` when the task is cancelled.
    package func sleep(_ seconds: Double) async throws {
        let over = OneShot<Void>()
        let id = schedule(after: seconds) { over.fulfil(()) }
        guard await over.valueUnlessCancelled() != nil else {
            cancel(id)
            throw CancellationError()
        }
    }
}
