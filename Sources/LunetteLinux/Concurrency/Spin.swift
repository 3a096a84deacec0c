private import CLinux

/// Decides whether a thread that waits for another one looks out for it for a moment before it goes to sleep.
///
/// To sleep and be woken costs two threads tens of microseconds; what answers in less is better looked out for. What the last waits were
/// like says which this one will be. A look in vain costs `longest` and asks for twice as many short waits as the last before the next one,
/// so that who answers late now and then, or always just too late, costs next to nothing.
package struct SpinPolicy: Sendable, Equatable {
    /// Nanoseconds that one look takes at most.
    package let longest: UInt64
    /// Nanoseconds: a wait that is over in so many lets the next one begin with a look.
    package let short: UInt64
    /// Short waits to come before the next look.
    private var missing: Int
    /// What `missing` is set to by the next look in vain.
    private var penalty = 1
    private static let highestPenalty = 256

    /// - Parameters:
    ///   - longest: nanoseconds that one look may take.
    ///   - short: nanoseconds up to which a wait counts as short: after it the next one is looked for.
    package init(longest: UInt64, short: UInt64) {
        self.longest = longest
        self.short = short
        missing = 1
    }

    /// Whether the next wait begins with a look.
    package var looks: Bool { missing == 0 }

    /// The look saw it.
    package mutating func saw() { penalty = 1 }

    /// The look ended in vain; the wait goes on without it.
    package mutating func missed() {
        missing = penalty
        penalty = min(penalty * 2, Self.highestPenalty)
    }

    /// A wait that was slept through has ended.
    /// - Parameter nanoseconds: what it took in all, a look in vain included.
    package mutating func waited(_ nanoseconds: UInt64) {
        if nanoseconds <= short { missing = max(0, missing - 1) } else { missing = max(1, missing) }
    }
}

/// Looks out for what another thread is about to do.
package enum Spin {
    /// Whether this process has a processor for another thread beside the one that looks: else nothing comes while it does.
    package static let isOfUse = processors > 1

    /// How many the calling thread may run on.
    package static var processors: Int { Int(lnt_host_processors()) }

    /// Looks at something again and again.
    /// - Parameters:
    ///   - nanoseconds: how long at most.
    ///   - hasCome: cheap; called many times.
    /// - Returns: whether it has come.
    package static func look(for nanoseconds: UInt64, _ hasCome: () -> Bool) -> Bool {
        if hasCome() { return true }
        let end = now &+ nanoseconds
        repeat {
            // The clock costs as much as a few looks.
            for _ in 0..<8 {
                lnt_host_pause()
                if hasCome() { return true }
            }
        } while now < end
        return false
    }

    /// Nanoseconds of CLOCK_MONOTONIC.
    package static var now: UInt64 {
        var (seconds, nanoseconds): (Int64, Int64) = (0, 0)
        _ = lnt_host_clock(1, &seconds, &nanoseconds)
        return UInt64(seconds) &* 1_000_000_000 &+ UInt64(nanoseconds)
    }
}
