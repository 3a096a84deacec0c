import LunetteAPI
import LunetteSpec

extension Functions {
    static let hooks: [String: Function] = [
        "hook.register": .reading { engine, call, session async throws(LunetteError) in try await engine.registerHook(call, session) },
        "hook.unregister": .reading { engine, call, session async throws(LunetteError) in try await engine.unregisterHook(call, session) },
        "hook.list": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return .array(
                await engine.hooks.list() + (await engine.hooks.lifecycles.values.sorted { $0.name < $1.name }.map(\.value)))
        },
        "events.follow": .reading { engine, call, _ async throws(LunetteError) in try await engine.followEvents(call) },
    ]
}

/// What a handler is registered with.
struct HookRequest: Sendable {
    let receiverID: String
    let kind: Subscription.Kind
    let event: String
    let name: String?
    /// Seconds.
    let timeout: Double
    let onFailure: Subscription.OnFailure
    let priority: Int
    let match: EventMatch
    let order: Subscription.Order

    /// - Parameter value: the arguments of `hook.register`.
    init(_ value: Value) throws(LunetteError) {
        var arguments = try FieldReader(value)
        receiverID = try arguments.required("subscription")
        guard let kind = try arguments.choice("kind", Subscription.Kind.self) else { throw arguments.failure("kind", "is required") }
        self.kind = kind
        let event = try arguments.required("event")
        self.event = event
        name = try arguments.string("name")
        // Names are compared here and in Lua, where two that look alike are two.
        if let name, name.isEmpty || name.utf8.count > 200 || !name.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) {
            throw arguments.failure("name", "\"\(displayable(name, limit: 60))\" isn't 1 to 200 ASCII characters")
        }
        timeout = try arguments.seconds("timeout") ?? 30
        onFailure = try arguments.choice("on_failure", Subscription.OnFailure.self) ?? .deny
        priority = Int(try arguments.int("priority") ?? 0)
        match = try EventMatch(try arguments.table("match"))
        guard match.pressure.isEmpty || event == "container.pressure" else {
            throw arguments.failure("match.\(match.pressure[0].resource)", "only container.pressure has a limit of it")
        }
        order = try arguments.choice("order", Subscription.Order.self) ?? .target
        try arguments.finish()
        let known = kind == .before ? EventNames.before : EventNames.on
        let fits = kind == .before ? known.contains(event) : event == "*" || known.contains { EventMatch.name($0, fits: event) }
        guard fits else {
            throw arguments.failure(
                "event", "\"\(displayable(event, limit: 80))\" is not an event for \(kind.rawValue)",
                hint: nearest(to: event, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
        }
    }
}

extension Engine {
    func registerHook(_ call: Call, _ session: Session) async throws(LunetteError) -> Value {
        guard let receiver = session.receiver else {
            throw LunetteError(.invalidState, "this client offers no handlers", operation: "hook.register")
        }
        let actor = call.request.actor
        let script = displayable(actor.script ?? "a client", limit: 120) + (actor.line.map { ":\($0)" } ?? "")
        let subscription = try await hooks.register(
            HookRequest(call.request.arguments), source: .session, session: session.id, place: "\(script) (pid \(actor.pid))",
            receiver: receiver)
        if subscription.kind == .on {
            await supervisor.handlersChanged()
            let from = await state.newestEvent
            keep(pump: Task { [weak self] in await self?.deliver(to: subscription, after: from, cursor: nil) }, subscription.id)
        }
        return subscription.value()
    }

    func unregisterHook(_ call: Call, _ session: Session) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let receiverID = try arguments.required("subscription")
        try arguments.finish()
        try await hooks.unregister(receiverID, session: session.id)
        endPump("\(session.id)/\(receiverID)")
        return .null
    }
}
