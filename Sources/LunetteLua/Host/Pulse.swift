internal import Synchronization

/// Since when a state's code runs without coming back: written by the state's thread, read by any.
final class Pulse: Sendable {
    /// Bits of the monotonic seconds; 0 while nothing runs.
    private let since = Atomic<UInt64>(0)
    /// Entries within entries.
    private let depth = Atomic<Int>(0)

    func begin() {
        if depth.add(1, ordering: .relaxed).oldValue == 0 { since.store(monotonicNow().bitPattern, ordering: .relaxed) }
    }

    func end() {
        if depth.subtract(1, ordering: .relaxed).newValue == 0 { since.store(0, ordering: .relaxed) }
    }

    /// Monotonic seconds; nil while nothing runs.
    var busySince: Double? {
        let bits = since.load(ordering: .relaxed)
        return bits == 0 ? nil : Double(bitPattern: bits)
    }
}
