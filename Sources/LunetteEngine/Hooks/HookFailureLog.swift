import LunetteSpec
import Synchronization

/// Whose handlers are counted together where they fail: nobody uses up what is another's by calling a handler like theirs.
enum HandlerOwner: Sendable, Hashable {
    /// A handler or lifecycle of resident code or a plugin, by its name.
    case code(String)
    /// All handlers of one client of the engine's own.
    case session(String)
    /// All handlers of one user of scripts' sockets.
    case guest(UInt32)

    fileprivate var key: String {
        switch self {
        case .code(let name): "code/\(name)"
        case .session(let id): "session/\(id)"
        case .guest(let uid): "guest/\(uid)"
        }
    }
}

/// Tells the operator of handlers that failed: an event alone is seen by those only who listen for it.
final class HookFailureLog: Sendable {
    /// Lines in the engine's log in a minute.
    static let linesPerMinute = 5
    /// Events that one guest's handlers make in a minute.
    static let guestEventsPerMinute = 30

    private let log: @Sendable (String) -> Void
    /// A handler that fails each time says so a few times in a minute.
    private let lines = Mutex(LineAllowance(perMinute: linesPerMinute))
    private let events = Mutex(LineAllowance(perMinute: guestEventsPerMinute))

    init(log: @escaping @Sendable (String) -> Void) { self.log = log }

    /// Tells the operator, and who listens for it.
    /// - Parameter event: a `hook.failed`.
    func tell(_ event: PendingEvent, of owner: HandlerOwner, in state: State) async {
        write(event, of: owner)
        var event = event
        if case .guest = owner {
            // The log of events is everybody's.
            guard let leftOut = events.withLock({ $0.admit(owner.key, at: now) }) else { return }
            if leftOut > 0 { event.fields["left_out"] = .int(Int64(leftOut)) }
        }
        await state.log(event)
    }

    /// - Parameter event: a `hook.failed`.
    func write(_ event: PendingEvent, of owner: HandlerOwner) {
        guard let leftOut = lines.withLock({ $0.admit(owner.key, at: now) }) else { return }
        let hook = event.fields["hook"]?.stringValue ?? ""
        let target = event.target.map { " of \($0.name)" } ?? ""
        let more = leftOut > 0 ? " (and \(leftOut) more of it)" : ""
        log(
            "hook \(displayable(hook, limit: 120)) failed at \(event.fields["event"]?.stringValue ?? "")\(displayable(target, limit: 80)): "
                + displayable(event.fields["reason"]?.stringValue ?? "", limit: 400) + more)
    }

    private var now: Double { Double(monotonicNanoseconds()) / 1e9 }
}
