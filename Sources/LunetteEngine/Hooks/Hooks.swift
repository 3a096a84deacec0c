import LunetteAPI
import LunetteSpec

/// Holds the handlers that sessions, plugins and resident scripts registered, and asks the `before` ones.
///
/// Order: priority ascending, then resident, plugin, session, then age. A deny ends it. When a later handler amends, every earlier one
/// that fits the result runs once more, so that nothing passes a deny unseen; one that would then amend again is a `conflict`. What a
/// handler matches is looked at when its turn comes: labels and a lifecycle may be amended in.
actor Hooks {
    private var subscriptions: [String: Subscription] = [:]
    /// Of resident scripts, by name.
    private(set) var lifecycles: [String: Lifecycle] = [:]
    private var nextNumber = 0
    private let clock: any EngineClock
    /// Puts `hook.failed` into the log.
    private let report: @Sendable (PendingEvent, HandlerOwner) async -> Void
    /// Of resident handlers.
    private var version = 0
    /// Questions under way by the version that they began with.
    private var questions: [Int: Int] = [:]
    private var questionWaiters: [Int: [CheckedContinuation<Void, Never>]] = [:]
    private var vanishWaiters: [String: [Int: @Sendable () -> Void]] = [:]
    private let timeouts: Timeouts

    init(clock: any EngineClock, report: @escaping @Sendable (PendingEvent, HandlerOwner) async -> Void) {
        self.clock = clock
        self.report = report
        timeouts = Timeouts(clock)
    }

    /// Which limits of containers are looked at for handlers of `container.pressure` and `container.limited`.
    ///
    /// `container.*` and `*` get what others want to be told of: a look at every container each second is for who asks for it.
    var limitRequests: [LimitRequest] {
        subscriptions.values.filter { $0.kind == .on }.compactMap { subscription in
            switch subscription.event {
            case "container.pressure":
                let limits = subscription.match.pressure
                return LimitRequest(match: subscription.match, pressure: limits.isEmpty ? PressureLimit.usual : limits)
            case "container.limited": return LimitRequest(match: subscription.match, isOfHits: true)
            default: return nil
            }
        }
    }

    // MARK: Registering

    /// Handlers of one connection.
    static let mostOfSession = 4096
    /// Handlers of one connection over a script's socket, and of one user over all such connections.
    static let mostOfGuestSession = 64
    static let mostOfGuest = 256

    /// - Parameter guest: the user of a script's socket whose session it is.
    /// - Throws: `already_exists` when the session has a handler of that id, `resource_exhausted` when it has as many as it may.
    func register(
        _ request: HookRequest, source: Subscription.Source, session: String, place: String?, receiver: any HookReceiver,
        guest: UInt32? = nil
    ) throws(LunetteError) -> Subscription {
        var subscription = make(request, source: source, session: session, place: place, receiver: receiver)
        subscription.guest = guest
        try checkBounds(of: session, guest)
        guard subscriptions[subscription.id] == nil else {
            throw LunetteError(
                .alreadyExists, "this session has a subscription \"\(request.receiverID)\" already", path: "subscription")
        }
        subscriptions[subscription.id] = subscription
        return subscription
    }

    /// Each handler costs memory, a task, and a look at every event.
    private func checkBounds(of session: String, _ guest: UInt32?) throws(LunetteError) {
        var (ofSession, ofGuest) = (0, 0)
        for subscription in subscriptions.values {
            if subscription.session == session { ofSession += 1 }
            if guest != nil, subscription.guest == guest { ofGuest += 1 }
        }
        let most = guest == nil ? Self.mostOfSession : Self.mostOfGuestSession
        if ofSession >= most {
            throw LunetteError(
                .resourceExhausted, "register a handler: this connection has \(most), as many as it may", operation: "hook.register",
                hint: "one handler for \"container.*\" or \"*\" gets the events of all")
        }
        if let guest, ofGuest >= Self.mostOfGuest {
            throw LunetteError(
                .resourceExhausted, "register a handler: the connections of uid \(guest) have \(Self.mostOfGuest), as many as they may",
                operation: "hook.register", hint: "close connections that aren't needed")
        }
    }

    /// Makes one that isn't asked yet.
    func make(
        _ request: HookRequest, source: Subscription.Source, session: String, place: String?, receiver: any HookReceiver
    ) -> Subscription {
        nextNumber += 1
        return Subscription(
            id: "\(session)/\(request.receiverID)", receiverID: request.receiverID, kind: request.kind, event: request.event,
            name: request.name, timeout: request.timeout, onFailure: request.onFailure, priority: request.priority, match: request.match,
            order: request.order, source: source, session: session, number: nextNumber, receiver: receiver, place: place)
    }

    /// Puts one version of resident handlers in the place of another, in one step: no call passes between them. A question that is under way is
    /// asked to its end as it began.
    func replaceResident(_ new: [Subscription], _ newLifecycles: [Lifecycle]) {
        version += 1
        lifecycles = newLifecycles.reduce(into: [:]) { $0[$1.name] = $1 }
        for (id, subscription) in subscriptions where subscription.source == .resident { subscriptions[id] = nil }
        for subscription in new { subscriptions[subscription.id] = subscription }
    }

    /// Returns when nobody is asked any more who was registered before the last `replaceResident`.
    /// - Parameter patience: seconds after which it returns in any case.
    func earlierQuestionsEnd(patience: Double) async {
        let race = Race<Void>()
        let asking = Task {
            for number in questions.keys where number < version {
                await withCheckedContinuation { questionWaiters[number, default: []].append($0) }
            }
            race.finish(())
        }
        let timer = Task { [clock] in
            // Cut short when the questions were quicker.
            try? await clock.sleep(patience)
            race.finish(())
        }
        await race.value
        // Its waiter goes with the question.
        asking.cancel()
        timer.cancel()
    }

    private func endQuestion(of number: Int) {
        questions[number]! -= 1
        guard questions[number] == 0 else { return }
        questions[number] = nil
        for waiter in questionWaiters.removeValue(forKey: number) ?? [] { waiter.resume() }
    }

    func unregister(_ receiverID: String, session: String) throws(LunetteError) {
        let id = "\(session)/\(receiverID)"
        guard subscriptions.removeValue(forKey: id) != nil else {
            throw LunetteError(.notFound, "this session has no subscription \"\(receiverID)\"", path: "subscription")
        }
        vanish(id)
    }

    /// The session is gone, and its handlers with it: what waits for one of them gets its `on_failure`.
    func sessionEnded(_ session: String) {
        for (id, subscription) in subscriptions where subscription.session == session {
            subscriptions[id] = nil
            vanish(id)
        }
    }

    /// The engine closes.
    func close() { timeouts.close() }

    private func vanish(_ id: String) {
        for tell in (vanishWaiters.removeValue(forKey: id) ?? [:]).values { tell() }
    }

    /// Of each event in the order in which they are asked.
    func list() -> [Subscription] {
        subscriptions.values.sorted { ($0.event, $0.priority, $0.source, $0.number) < ($1.event, $1.priority, $1.source, $1.number) }
    }
    func contains(_ id: String) -> Bool { subscriptions[id] != nil }
    func lifecycle(_ name: String) -> Lifecycle? { lifecycles[name] }

    // MARK: Before

    /// What is about to happen.
    struct Question: Sendable {
        var event: String
        var target: PendingEvent.Target
        /// Normalised; what handlers amend.
        var spec: Value
        var labels: ValueMap = [:]
        var driver: String?
        var lifecycle: String?
        /// The image that a container is to be made of: `ev.image`.
        var image: Value?
        /// Whether amendments mean something here.
        var isAmendable = false
        /// Whether labels, lifecycle and driver are the spec's own, and change with it: of what is about to be made.
        var isOfNew = false

        func fits(_ handler: Subscription) -> Bool {
            handler.match.matches(
                name: event, target: target, labels: isOfNew ? spec["labels"]?.mapValue ?? [:] : labels,
                driver: isOfNew ? spec["driver"]?.stringValue : driver, lifecycle: isOfNew ? spec["lifecycle"]?.stringValue : lifecycle)
        }
    }

    /// Whether anything would be asked: lets the usual start do without building the event.
    func wants(_ event: String) -> Bool { subscriptions.values.contains { $0.kind == .before && $0.event == event } }

    /// What came of a question.
    struct Amended: Sendable {
        /// As amended.
        var spec: Value
        /// Who changed what, in words: `resources.memory set to 64MiB by hook "limit-default" at conf.d/limits.lua:3`.
        var notes: [String] = []
    }

    /// As `amended(by:for:normalise:)`, for those who keep no history.
    func ask(
        _ question: Question, for call: Call,
        normalise: @Sendable (Value) throws(LunetteError) -> Value = { spec throws(LunetteError) in spec }
    ) async throws(LunetteError) -> Value {
        try await amended(question, for: call, normalise: normalise).spec
    }

    /// Asks every matching handler.
    /// - Parameter normalise: decodes an amended spec; its error names the handler.
    /// - Throws: `denied` with the reason; `conflict` when two handlers amend each other; what `normalise` throws.
    func amended(
        _ question: Question, for call: Call, normalise: @Sendable (Value) throws(LunetteError) -> Value
    ) async throws(LunetteError) -> Amended {
        let asking = subscriptions.values.filter { subscription in
            subscription.kind == .before && subscription.event == question.event
                && (call.request.cause.isEmpty || !call.request.cause.contains(subscription.cause))
        }
        guard asking.contains(where: question.fits) else { return Amended(spec: question.spec) }
        let handlers = asking.sorted { ($0.priority, $0.source, $0.number) < ($1.priority, $1.source, $1.number) }
        let asked = version
        questions[asked, default: 0] += 1
        defer { endQuestion(of: asked) }
        var notes: [String] = []

        var question = question
        var lastAmended = -1
        for (index, handler) in handlers.enumerated() where question.fits(handler) {
            if let amended = try await run(handler, question, call, normalise) {
                if !question.isAmendable {
                    throw LunetteError(
                        .invalidState, "hook \(handler.label): \(question.event) can't be amended", operation: call.request.function)
                }
                if amended != question.spec {
                    lastAmended = index
                    notes += Amendment.changes(from: question.spec, to: amended).map { "\($0) by hook \(handler.label)" }
                }
                question.spec = amended
            }
        }
        if lastAmended > 0 {
            for handler in handlers[..<lastAmended] where question.fits(handler) {
                if let amended = try await run(handler, question, call, normalise), amended != question.spec {
                    throw LunetteError(
                        .conflict, "hook \(handler.label) and hook \(handlers[lastAmended].label) amend each other's \(question.event)",
                        operation: call.request.function, target: question.target.name,
                        hint:
                            "let one of them amend, the other only deny; or let that which amends what the other has made run later (priority)"
                    )
                }
            }
        }
        return Amended(spec: question.spec, notes: notes)
    }

    /// - Returns: the amended spec, nil when the handler leaves it.
    private func run(
        _ handler: Subscription, _ question: Question, _ call: Call, _ normalise: @Sendable (Value) throws(LunetteError) -> Value
    ) async throws(LunetteError) -> Value? {
        // A resident one answers to the end of the question, though another version has taken over meanwhile.
        let current = subscriptions[handler.id] ?? (handler.source == .resident ? handler : nil)
        guard let current, !current.isSuspended else {
            return try await failed(
                handler, question, call,
                subscriptions[handler.id] == nil ? "its session has ended" : "it is suspended after three time-outs")
        }
        var event: ValueMap = [
            "name": .string(question.event), "sequence": .int(0), "time": .double(clock.now()), "target": question.target.value,
            "spec": question.spec,
            "actor": call.request.actor.value, "redelivered": .bool(false),
            "cause": .array((call.causeOfConsequences + [handler.cause]).map(Value.string)),
        ]
        event["image"] = question.image
        if question.target.kind == "container" { event["container"] = Handle.container(id: question.target.id, name: question.target.name) }
        let left = call.request.deadline.map { max(0, $0 - clock.now()) } ?? .infinity
        let limit = min(handler.timeout, left)
        event["deadline"] = .double(clock.now() + min(limit, 1e9))

        switch await reply(of: handler, to: .map(event), within: limit) {
        case .answer(let answer):
            subscriptions[handler.id]?.timeouts = 0
            if let reason = answer["deny"]?.stringValue { throw denial(by: handler, question, call, reason) }
            guard let amendment = answer["amend"], !amendment.isNull else { return nil }
            do throws(LunetteError) { return try normalise(Amendment.apply(amendment, to: question.spec)) } catch {
                var error = error
                error.message += " (amended by hook \(handler.label) before \(question.event))"
                throw error
            }
        case .failure(let error):
            if error.code == .denied {
                var denial = denial(by: handler, question, call, error.message)
                denial.causes = [error]
                throw denial
            }
            return try await failed(handler, question, call, error.description)
        case .timedOut where left < handler.timeout:
            // The caller's patience, not the handler's fault: else who has little of it could get a handler suspended.
            throw LunetteError(
                .timeout,
                "\(call.request.function) of \(displayable(question.target.name, limit: 80)) ran out of time while hook \(handler.label) was asked",
                operation: call.request.function, target: question.target.name)
        case .timedOut:
            subscriptions[handler.id]?.timeouts += 1
            return try await failed(handler, question, call, "it did not answer within \(handler.timeout) s")
        case .vanished:
            return try await failed(handler, question, call, "its session has ended")
        case .cancelled:
            throw LunetteError(.cancelled, "\(call.request.function) was cancelled", operation: call.request.function)
        }
    }

    private func denial(by handler: Subscription, _ question: Question, _ call: Call, _ reason: String) -> LunetteError {
        LunetteError(
            .denied, "\(call.request.function) of \(displayable(question.target.name, limit: 80)) was denied: \(reason)",
            operation: call.request.function, target: question.target.name,
            hint: "by the hook \(handler.label) before \(question.event)",
            details: ["hook": .string(handler.name ?? handler.id), "reason": .string(reason)])
    }

    private func failed(_ handler: Subscription, _ question: Question, _ call: Call, _ why: String) async throws(LunetteError) -> Value? {
        await report(
            PendingEvent(
                name: "hook.failed", target: question.target,
                fields: ["hook": .string(handler.name ?? handler.id), "event": .string(question.event), "reason": .string(why)],
                actor: call.request.actor.value, cause: call.causeOfConsequences), handler.owner)
        if handler.onFailure == .ignore { return nil }
        throw LunetteError(
            .denied,
            "\(call.request.function) of \(displayable(question.target.name, limit: 80)) was denied: hook \(handler.label) failed: \(why)",
            operation: call.request.function, target: question.target.name, hint: "its on_failure is \"deny\"; mend or remove the hook")
    }

    // MARK: One call down

    private enum Reply: Sendable { case answer(Value), failure(LunetteError), timedOut, vanished, cancelled }

    private func reply(of handler: Subscription, to event: Value, within limit: Double) async -> Reply {
        let race = Race<Reply>()
        let number = nextNumber
        nextNumber += 1
        vanishWaiters[handler.id, default: [:]][number] = { race.finish(.vanished) }
        defer { vanishWaiters[handler.id]?[number] = nil }
        let hasBegun = handler.receiver.begin(subscription: handler.receiverID, event: event) { result in
            switch result {
            case .success(let answer): race.finish(.answer(answer))
            case .failure(let error): race.finish(.failure(error))
            }
        }
        if hasBegun {
            if limit < 1e9 { timeouts.add(number, after: limit) { race.finish(.timedOut) } }
            defer { timeouts.remove(number) }
            return await outcome(of: race)
        }
        let asking = Task {
            do throws(LunetteError) {
                race.finish(.answer(try await handler.receiver.before(subscription: handler.receiverID, event: event)))
            } catch {
                race.finish(.failure(error))
            }
        }
        let clock = clock
        let timer = Task {
            guard limit < 1e9, (try? await clock.sleep(limit)) != nil else { return }  // A cancelled sleep means that the race is over.
            race.finish(.timedOut)
        }
        let reply = await outcome(of: race)
        asking.cancel()
        timer.cancel()
        return reply
    }

    private func outcome(of race: Race<Reply>) async -> Reply {
        await withTaskCancellationHandler {
            await race.next()
        } onCancel: {
            race.finish(.cancelled)
        }
    }
}
