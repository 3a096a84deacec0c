internal import CLinux

/// The kernel's clocks, without Foundation.
package enum SystemClock {
    /// Unix seconds now.
    package static var now: Double { read(0) }
    /// Seconds that only go forward.
    package static var monotonic: Double { read(1) }

    private static func read(_ which: Int32) -> Double {
        var seconds: Int64 = 0
        var nanoseconds: Int64 = 0
        _ = lnt_host_clock(which, &seconds, &nanoseconds)
        return Double(seconds) + Double(nanoseconds) / 1e9
    }

    /// Holds this thread. Only on the blocking executor.
    package static func block(seconds: Double) { _ = lnt_host_sleep_nanoseconds(Int64(seconds * 1e9)) }
}
