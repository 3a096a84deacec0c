import LunetteSpec
import Synchronization

/// Slows the calls of a user of scripts' sockets that change something, over all of the user's connections: each may make events and lines of the
/// audit log, and those are everybody's.
///
/// A burst is free; beyond it calls wait for their turn.
final class GuestPace: Sendable {
    /// Calls at once.
    static let burst = 500.0
    /// Calls in a second beyond the burst.
    static let perSecond = 25.0

    /// When the turn of each user's last call is.
    private let accounts = Mutex<[UInt32: Double]>([:])

    /// Seconds that a call may have to wait.
    static let longest = 30.0

    /// - Returns: the seconds that this user's next call has to wait; nil when that is too long.
    func wait(of uid: UInt32, at now: Double) -> Double? {
        accounts.withLock { accounts in
            // Those who have their whole burst again are like those who never came.
            if accounts.count > 1000 { accounts = accounts.filter { $0.value > now - Self.burst / Self.perSecond } }
            let earliest = now - Self.burst / Self.perSecond
            let turn = max(accounts[uid] ?? earliest, earliest) + 1 / Self.perSecond
            guard turn - now <= Self.longest else { return nil }
            accounts[uid] = turn
            return max(0, turn - now)
        }
    }
}
