import LunetteAPI
import LunetteLinux
import LunetteSpec

/// Holds the handlers that sessions, plugins and resident scripts registered, and asks the `before` ones.
///
/// Order: priority ascending, then resident, plugin, session, then age. A deny ends it. When a later handler amends, every earlier one
/// that fits the result runs once more, so that nothing passes a deny unseen; one that would then amend again is a `conflict`. What a
/// handler matches is looked at when its turn comes: labels and a lifecycle may be amended in.
actor Hooks {
    private var subscriptions: [String: Subscription] = [:]
    /// The `before` handlers of an event in the order in which they are asked; made at its first question, gone with any change of who there is.
    private var askers: [String: [Subscription]] = [:]
    /// How a handler does.
    private struct Conduct {
        /// In a row; three suspend it.
        var timeouts = 0
        var isSuspended: Bool { timeouts >= 3 }
        /// How quick it is. An answer that was slept through came two wake-ups later than one that is looked out for, of some 50 µs on a machine
        /// that is idle otherwise.
        var spin = SpinPolicy(longest: 50_000, short: 150_000)
    }
    /// Of the handlers in `subscriptions` that have been asked, by id.
    private var conducts: [String: Conduct] = [:]
    /// Of resident scripts, by name.
    private(set) var lifecycles: [String: Lifecycle] = [:]
    private var nextNumber = 0
    private let clock: any EngineClock
    /// Puts `hook.failed` into the log.
    private let report: @Sendable (PendingEvent) async -> Void
    /// Of resident handlers.
    private var version = 0
    /// Questions under way by the version that they began with.
    private var questions: [Int: Int] = [:]
    private var questionWaiters: [Int: [CheckedContinuation<Void, Never>]] = [:]
    private var vanishWaiters: [String: [Int: @Sendable () -> Void]] = [:]
    private let timeouts: Timeouts

    init(clock: any EngineClock, report: @escaping @Sendable (PendingEvent) async -> Void) {
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

    /// - Throws: `already_exists` when the session has a handler of that id.
    func register(
        _ request: HookRequest, source: Subscription.Source, session: String, place: String?, receiver: any HookReceiver
    ) throws(LunetteError) -> Subscription {
        let subscription = make(request, source: source, session: session, place: place, receiver: receiver)
        guard subscriptions[subscription.id] == nil else {
            throw LunetteError(
                .alreadyExists, "this session has a subscription \"\(request.receiverID)\" already", path: "subscription")
        }
        subscriptions[subscription.id] = subscription
        askers = [:]
        return subscription
    }

    /// Makes one that isn't asked yet.
    func make(
        _ request: HookRequest, source: Subscription.Source, session: String, place: String?, receiver: any HookReceiver
    ) -> Subscription {
        nextNumber += 1
        return Subscription(request, number: nextNumber, source: source, session: session, place: place, receiver: receiver)
    }

    /// Puts one version of resident handlers in the place of another, in one step: no call passes between them. A question that is under way is
    /// asked to its end as it began.
    func replaceResident(_ new: [Subscription], _ newLifecycles: [Lifecycle]) {
        version += 1
        lifecycles = newLifecycles.reduce(into: [:]) { $0[$1.name] = $1 }
        for (id, subscription) in subscriptions where subscription.source == .resident { (subscriptions[id], conducts[id]) = (nil, nil) }
        for subscription in new { subscriptions[subscription.id] = subscription }
        askers = [:]
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
        askers = [:]
        vanish(id)
    }

    /// The session is gone, and its handlers with it: what waits for one of them gets its `on_failure`.
    func sessionEnded(_ session: String) {
        for (id, subscription) in subscriptions where subscription.session == session {
            subscriptions[id] = nil
            vanish(id)
        }
        askers = [:]
    }

    /// The engine closes.
    func close() { timeouts.close() }

    private func vanish(_ id: String) {
        conducts[id] = nil
        for tell in (vanishWaiters.removeValue(forKey: id) ?? [:]).values { tell() }
    }

    /// Of each event in the order in which they are asked.
    func list() -> [Value] {
        subscriptions.values.sorted { ($0.event, $0.priority, $0.source, $0.number) < ($1.event, $1.priority, $1.source, $1.number) }
            .map { $0.value(isSuspended: conducts[$0.id]?.isSuspended ?? false) }
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
    func wants(_ event: String) -> Bool { !handlers(before: event).isEmpty }

    /// In the order in which they are asked.
    private func handlers(before event: String) -> [Subscription] {
        if let known = askers[event] { return known }
        let found = subscriptions.values.filter { $0.kind == .before && $0.event == event }
            .sorted { ($0.priority, $0.source, $0.number) < ($1.priority, $1.source, $1.number) }
        askers[event] = found
        return found
    }

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
        var handlers = handlers(before: question.event)
        if !call.request.cause.isEmpty { handlers.removeAll { call.request.cause.contains($0.cause) } }
        // As long as nothing is amended, what fits now fits when its turn comes.
        guard let first = handlers.firstIndex(where: question.fits) else { return Amended(spec: question.spec) }
        let asked = version
        questions[asked, default: 0] += 1
        defer { endQuestion(of: asked) }
        var notes: [String] = []

        var question = question
        var lastAmended = -1
        for index in first..<handlers.count where index == first || question.fits(handlers[index]) {
            let handler = handlers[index]
            if let amended = try await run(handler, question, call, normalise) {
                if !question.isAmendable {
                    throw LunetteError(
                        .invalidState, "hook \(handler.label): \(question.event) can't be amended", operation: call.request.function)
                }
                let changes = Amendment.changes(from: question.spec, to: amended, of: question.event)
                if !changes.isEmpty || amended != question.spec {
                    lastAmended = index
                    notes += changes.map { "\($0) by hook \(handler.label)" }
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
        let isRegistered = subscriptions[handler.id] != nil
        if !isRegistered, handler.source != .resident { return try await failed(handler, question, call, "its session has ended") }
        if conducts[handler.id]?.isSuspended ?? false {
            return try await failed(handler, question, call, "it is suspended after three time-outs")
        }
        let now = clock.now()
        var event: ValueMap = [
            "name": .string(question.event), "sequence": .int(0), "time": .double(now), "target": question.target.value,
            "spec": question.spec,
            "actor": call.request.actor.value, "redelivered": .bool(false),
            "cause": .array((call.causeOfConsequences + [handler.cause]).map(Value.string)),
        ]
        if question.target.kind == "container" { event["container"] = Handle.container(id: question.target.id, name: question.target.name) }
        let left = call.request.deadline.map { max(0, $0 - now) } ?? .infinity
        let limit = min(handler.timeout, left)
        event["deadline"] = .double(now + min(limit, 1e9))

        switch await reply(of: handler, to: .map(event), within: limit) {
        case .answer(let answer):
            if conducts[handler.id]?.timeouts ?? 0 > 0 { conducts[handler.id]?.timeouts = 0 }
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
            if subscriptions[handler.id] != nil { conducts[handler.id, default: Conduct()].timeouts += 1 }
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
                actor: call.request.actor.value, cause: call.causeOfConsequences))
        if handler.onFailure == .ignore { return nil }
        throw LunetteError(
            .denied,
            "\(call.request.function) of \(displayable(question.target.name, limit: 80)) was denied: hook \(handler.label) failed: \(why)",
            operation: call.request.function, target: question.target.name, hint: "its on_failure is \"deny\"; mend or remove the hook")
    }

    // MARK: One call down

    private enum Reply: Sendable { case answer(Value), failure(LunetteError), timedOut, vanished, cancelled }

    /// What a handler said, and nanoseconds after which it did.
    private struct Said: Sendable {
        var reply: Reply
        var after: UInt64
    }

    private func reply(of handler: Subscription, to event: Value, within limit: Double) async -> Reply {
        let race = Race<Said>()
        let began = Spin.now
        let hasBegun = handler.receiver.begin(subscription: handler.receiverID, event: event) { result in
            switch result {
            case .success(let answer): race.finish(Said(reply: .answer(answer), after: Spin.now &- began))
            case .failure(let error): race.finish(Said(reply: .failure(error), after: Spin.now &- began))
            }
        }
        if hasBegun, let reply = look(for: race, of: handler, within: limit) { return reply }
        let number = nextNumber
        nextNumber += 1
        vanishWaiters[handler.id, default: [:]][number] = { race.finish(Said(reply: .vanished, after: .max)) }
        defer { vanishWaiters[handler.id]?[number] = nil }
        if hasBegun {
            if limit < 1e9 { timeouts.add(number, after: limit) { race.finish(Said(reply: .timedOut, after: .max)) } }
            defer { timeouts.remove(number) }
            let said = await outcome(of: race)
            if subscriptions[handler.id] != nil { conducts[handler.id, default: Conduct()].spin.waited(said.after) }
            return said.reply
        }
        let asking = Task {
            let reply: Reply
            do throws(LunetteError) {
                reply = .answer(try await handler.receiver.before(subscription: handler.receiverID, event: event))
            } catch {
                reply = .failure(error)
            }
            race.finish(Said(reply: reply, after: .max))
        }
        let clock = clock
        let timer = Task {
            guard limit < 1e9, (try? await clock.sleep(limit)) != nil else { return }  // A cancelled sleep means that the race is over.
            race.finish(Said(reply: .timedOut, after: .max))
        }
        let said = await outcome(of: race)
        asking.cancel()
        timer.cancel()
        return said.reply
    }

    /// Looks out for an answer where the handler's last ones came at once: a handler of a few lines is done before this thread could be asleep.
    ///
    /// Nothing else happens on this actor meanwhile, so that nobody can be told to vanish, and no limit of time is as short as the look.
    private func look(for race: Race<Said>, of handler: Subscription, within limit: Double) -> Reply? {
        guard let spin = conducts[handler.id]?.spin, spin.looks, limit > 0.001, Spin.isOfUse, !Task.isCancelled else { return nil }
        let said = race.look(for: spin.longest)
        if said != nil { conducts[handler.id]?.spin.saw() } else { conducts[handler.id]?.spin.missed() }
        return said?.reply
    }

    private func outcome(of race: Race<Said>) async -> Said {
        await withTaskCancellationHandler {
            await race.next()
        } onCancel: {
            race.finish(Said(reply: .cancelled, after: .max))
        }
    }
}
