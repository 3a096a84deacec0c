import Glibc

/// Tells the time to the engine; tests put their own in.
protocol EngineClock: Sendable {
    /// Unix seconds.
    func now() -> Double
    /// - Throws: `CancellationError` when the task is cancelled.
    func sleep(_ seconds: Double) async throws
}

struct SystemClock: EngineClock {
    func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    func sleep(_ seconds: Double) async throws {
        // A century is for ever here; larger figures overflow Duration's nanoseconds, and what is no number is due at once.
        try await Task.sleep(for: .seconds(seconds > 0 ? min(seconds, 3.2e9) : 0))
    }
}

/// Nanoseconds of the monotonic clock, for start profiles.
func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
