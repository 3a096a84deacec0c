import LunetteSpec
import Synchronization

/// Tells the operator of handlers that failed: an event alone is seen by those only who listen for it.
final class HookFailureLog: Sendable {
    private let log: @Sendable (String) -> Void
    /// A handler that fails each time says so a few times in a minute.
    private let allowance = Mutex(LineAllowance(perMinute: 5))

    init(log: @escaping @Sendable (String) -> Void) { self.log = log }

    /// Tells the operator, and who listens for it.
    /// - Parameter event: a `hook.failed`.
    func tell(_ event: PendingEvent, in state: State) async {
        write(event)
        await state.log(event)
    }

    /// - Parameter event: a `hook.failed`.
    func write(_ event: PendingEvent) {
        let hook = event.fields["hook"]?.stringValue ?? ""
        guard let leftOut = allowance.withLock({ $0.admit(hook, at: Double(monotonicNanoseconds()) / 1e9) }) else { return }
        let target = event.target.map { " of \($0.name)" } ?? ""
        let more = leftOut > 0 ? " (and \(leftOut) more of it)" : ""
        log(
            "hook \(displayable(hook, limit: 120)) failed at \(event.fields["event"]?.stringValue ?? "")\(displayable(target, limit: 80)): "
                + displayable(event.fields["reason"]?.stringValue ?? "", limit: 400) + more)
    }
}
