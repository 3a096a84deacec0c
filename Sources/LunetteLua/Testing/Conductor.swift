internal import LunetteLinux
internal import Synchronization

/// Moves a test's time, on a thread of its own, whenever nothing is under way any more.
///
/// ```
/// nothing under way ─► somebody waits for just that? tell the first one
///                   ─► an advance is asked for?      wake the next timer until its end, one at a time
///                   ─► a test waits?                 wake the next timer; none is left: the test is stuck
/// ```
final class Conductor: Sendable {
    private struct State {
        var idleWaiters: [@Sendable () -> Void] = []
        var advance: (target: Double, done: @Sendable () -> Void)?
        /// What a test does that is stuck; nil while none runs.
        var onStuck: (@Sendable (_ why: String) -> Void)?
        /// A test that only waits gets the time moved for it until here.
        var limit = 0.0
        var timesStuck = 0
        var isOver = false
    }

    let time: VirtualTime
    private let state = Mutex(State())
    /// Seconds that pass by themselves for a test that only waits.
    static let patience = 86400.0

    init(time: VirtualTime) { self.time = time }

    func begin() { onOwnThread { self.run() } }

    private func change(_ body: (inout State) -> Void) {
        state.withLock { body(&$0) }
        Activity.shared.poke()
    }

    /// - Parameter onStuck: called once when nothing can happen any more.
    func testBegins(onStuck: @escaping @Sendable (String) -> Void) {
        let limit = time.now + Self.patience
        change { ($0.onStuck, $0.limit, $0.timesStuck) = (onStuck, limit, 0) }
    }

    func testEnds() { change { $0.onStuck = nil } }

    /// Calls back when nothing is under way.
    func whenIdle(_ body: @escaping @Sendable () -> Void) { change { $0.idleWaiters.append(body) } }

    /// Moves on by seconds, waking what is due, and calls back when all that came of it has happened.
    func advance(by seconds: Double, done: @escaping @Sendable () -> Void) {
        let target = time.now + max(seconds, 0)
        change { ($0.advance, $0.limit) = ((target, done), target + Self.patience) }
    }

    func end() { change { $0.isOver = true } }

    private func run() {
        while true {
            Activity.shared.waitUntilIdle {
                state.withLock { $0.isOver || !$0.idleWaiters.isEmpty || $0.advance != nil || $0.onStuck != nil }
            }
            // Counted, so that what it sets going is begun before anything is taken for idle again.
            Activity.shared.begin()
            defer { Activity.shared.end() }
            if state.withLock({ $0.isOver }) { return }
            step()
        }
    }

    private func step() {
        if let waiter = state.withLock({ $0.idleWaiters.isEmpty ? nil : $0.idleWaiters.removeFirst() }) { return waiter() }
        if let advance = state.withLock({ $0.advance }) {
            if time.fireNext(until: advance.target) { return }
            time.move(to: advance.target)
            state.withLock { $0.advance = nil }
            return advance.done()
        }
        let (onStuck, limit) = state.withLock { ($0.onStuck, $0.limit) }
        if time.fireNext(until: limit) { return }
        state.withLock { state in
            // What is told may wait again; who doesn't mend it is told no more, and the watchdog has the last word.
            state.timesStuck += 1
            if state.timesStuck > 3 { state.onStuck = nil }
        }
        onStuck?(time.nextDue == nil ? "nothing is left that could happen" : "a day of the test's time has passed")
    }
}
