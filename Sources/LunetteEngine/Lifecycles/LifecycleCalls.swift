import LunetteAPI
import LunetteLinux
import LunetteSpec

/// What a lifecycle's `exited` says of a container that has ended.
enum ExitDecision: Sendable, Hashable {
    /// As without a lifecycle: the restart policy.
    case builtIn
    /// Nil seconds: the back-off of its restart policy.
    case restart(after: Double?)
    case keep
    case remove

    /// For the container's history.
    var words: String {
        switch self {
        case .builtIn: "as its restart policy says"
        case .restart(let after):
            after.map { "restart after \($0 == $0.rounded() && $0 < 1e9 ? String(Int($0)) : String($0)) s" } ?? "restart"
        case .keep: "keep"
        case .remove: "remove"
        }
    }

    /// - Throws: `invalid_argument` for what means nothing.
    init(_ value: Value) throws(LunetteError) {
        switch value {
        case .null: self = .builtIn
        case "restart": self = .restart(after: nil)
        case "keep": self = .keep
        case "remove": self = .remove
        case .map(let map):
            var reader = try FieldReader(.map(map), path: "exited")
            guard var restart = try reader.table("restart") else { throw reader.failure("restart", "is required") }
            let after = try restart.seconds("after")
            if let after, after < Lifecycle.leastTime { throw restart.failure("after", "is shorter than \(Lifecycle.leastTime) s") }
            try restart.finish()
            try reader.finish()
            self = .restart(after: after)
        default:
            throw LunetteError(
                .invalidArgument, "exited returned \(displayable(JSON.encode(value), limit: 60))",
                hint: "it returns \"restart\", \"keep\", \"remove\", { restart = { after = \"2s\" } } or nothing")
        }
    }
}

extension Engine {
    /// The lifecycle that a container follows; nil when it follows none, or none of the name is loaded.
    func lifecycle(of record: ContainerRecord) async -> Lifecycle? {
        guard let name = record.lifecycle else { return nil }
        return await hooks.lifecycle(name)
    }

    /// Calls a function of a lifecycle in an operation. One that fails, is slow or gone is told of, and the built-in behaviour follows.
    /// - Parameter limit: seconds.
    /// - Returns: what it returned; nil when it didn't.
    func call(
        _ function: String, of lifecycle: Lifecycle, for record: ContainerRecord, within limit: Double, _ fields: ValueMap = [:],
        _ call: Call
    ) async -> Value? {
        var event: ValueMap = [
            "name": .string("lifecycle.\(function)"), "sequence": 0, "time": .double(clock.now()),
            "target": ["kind": "container", "id": .string(record.id), "name": .string(record.name)], "container": record.handle,
            "actor": call.request.actor.value, "redelivered": false, "deadline": .double(clock.now() + limit),
            // Its calls may change what this operation holds: they are made for it.
            "cause": .array((call.causeOfConsequences + [Self.leave(record.id)]).map(Value.string)),
        ]
        for (key, value) in fields { event[key] = value }
        let (name, message) = (lifecycle.subscription(function), Value.map(event))
        let race = Race<Result<Value, LunetteError>>()
        let asking = Task {
            do throws(LunetteError) {
                race.finish(.success(try await lifecycle.receiver.before(subscription: name, event: message)))
            } catch { race.finish(.failure(error)) }
        }
        let timer = Task { [clock] in
            do { try await clock.sleep(limit) } catch { return }
            race.finish(.failure(LunetteError(.timeout, "it did not end within \(limit) s")))
        }
        let outcome = await race.value
        asking.cancel()
        timer.cancel()
        do throws(LunetteError) { return try outcome.get()["result"] ?? .null } catch {
            await tellOf(function, of: lifecycle, for: record, error.description, call)
            return nil
        }
    }

    /// Puts what went wrong into the log and the container's history: what follows is the built-in behaviour.
    func tellOf(_ function: String, of lifecycle: Lifecycle, for record: ContainerRecord, _ reason: String, _ call: Call) async {
        let failed = PendingEvent(
            name: "hook.failed", target: .init(kind: "container", id: record.id, name: record.name),
            fields: [
                "hook": .string(lifecycle.subscription(function)), "event": .string("lifecycle.\(function)"), "reason": .string(reason),
            ], actor: call.request.actor.value, cause: call.causeOfConsequences)
        await hookFailures.tell(failed, of: .code(lifecycle.subscription(function)), in: state)
        let note = "\(function) of lifecycle \"\(lifecycle.name)\" at \(lifecycle.place): \(reason); the built-in behaviour follows"
        let now = clock.now()
        do throws(LunetteError) { try await state.update(record.id) { $0.remember("lifecycle", note, at: now) } } catch {
            // Removed under our hands; the event tells the same.
        }
    }

    /// The word in a cause that lets a lifecycle's own calls pass the operation that they are made in.
    static func leave(_ id: String) -> String { "lifecycle:\(id)" }

    // MARK: Exits

    /// Asks the lifecycle what follows an exit, and does it.
    func decideExit(_ id: String) async {
        let call = Call.ownCall("container.exited")
        do throws(LunetteError) {
            try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
                let record = try await state.container(id)
                guard record.state.awaitsDecision else { return }
                faultPoint("lifecycle.deciding")
                var decision = ExitDecision.builtIn
                var note: (String, String?)?
                if let lifecycle = await lifecycle(of: record), lifecycle.functions.contains(.exited) {
                    let answer = await self.call(
                        "exited", of: lifecycle, for: record, within: 30,
                        ["exit": record.state.exit?.value ?? .null, "attempts": .int(Int64(record.state.attempts))], call)
                    if let answer {
                        do throws(LunetteError) { decision = try ExitDecision(answer) } catch {
                            await tellOf("exited", of: lifecycle, for: record, error.description, call)
                        }
                    }
                    var words = decision.words
                    if record.state.stoppedByUser, case .restart = decision { words += " (not now: it was stopped by a call)" }
                    note = ("decided", "\(words), by lifecycle \"\(lifecycle.name)\" at \(lifecycle.place)")
                }
                let (decided, effects) = try await state.apply(.decided(decision), to: id, note: note)
                await supervisor.carryOut(effects, decided)
            }
        } catch {
            // Removed while it waited: nothing is left to decide.
            if error.code != .notFound { await state.note(degraded: "what follows its exit couldn't be stored: \(error.message)", id) }
        }
    }

    // MARK: States of its own

    func transitionContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let state = try arguments.required("state")
        try arguments.finish()
        let id = try await self.state.container(word).id
        try await targets.withTarget("container/\(id)", for: call, orCause: call.isMadeByLifecycle(of: id)) {
            () async throws(LunetteError) in
            try await transition(try await self.state.container(id), to: state, call)
        }
        return .null
    }

    /// The caller holds the target.
    private func transition(_ record: ContainerRecord, to target: String, _ call: Call) async throws(LunetteError) {
        guard let name = record.lifecycle else {
            throw LunetteError(
                .invalidState, "the container \(record.name) follows no lifecycle, so it has no states of its own", target: record.name,
                hint: "lifecycle = NAME in its spec, and lunette.lifecycle(NAME, { states = … }) in a resident script")
        }
        guard let lifecycle = await hooks.lifecycle(name) else {
            throw LunetteError(
                .invalidState, "the lifecycle \"\(name)\" of the container \(record.name) isn't loaded", target: record.name,
                hint: "`lunette script list` shows what is, and `lunette reload` brings what is on the disk")
        }
        guard record.state.status == .running else {
            throw LunetteError(
                .invalidState, "the container \(record.name) is \(record.state.status.rawValue), not running", target: record.name)
        }
        let from = record.state.ownState ?? "running"
        if from == target { return }
        do throws(LunetteError) { try lifecycle.check(from: from, to: target) } catch {
            var error = error
            error.target = record.name
            throw error
        }
        if target == "stopped" {
            try await ask("container.stop", record, call, fields: ["grace_period": .double(record.gracePeriod)])
            try call.checkCancellation()
        }
        if lifecycle.states[from]?.hasLeave == true {
            _ = await self.call("states/\(from)/leave", of: lifecycle, for: record, within: 30, ["to": .string(target)], call)
        }
        if target == "stopped" {
            _ = try await stop(record, grace: record.gracePeriod, call)
            return
        }
        let own = lifecycle.states[target]
        let (changed, effects) = try await state.apply(
            .transitioned(to: own == nil ? nil : target, timeout: own?.timeout, onTimeout: own?.onTimeout), to: record.id,
            note: ("transitioned", "from \(from) to \(target)"), fields: ["from": .string(from), "to": .string(target)],
            actor: call.request.actor.value, cause: call.causeOfConsequences)
        await supervisor.carryOut(effects, changed)
        faultPoint("lifecycle.transitioned")
        if own?.hasEnter == true {
            _ = await self.call("states/\(target)/enter", of: lifecycle, for: changed, within: 30, ["from": .string(from)], call)
        }
    }

    /// Seconds after which the end of a state that a hook has denied is tried again.
    static let deniedWait = 10.0

    /// The time that a container may be in a state of its own is over.
    func endOwnState(_ id: String) async {
        let call = Call.ownCall("container.transition")
        do throws(LunetteError) {
            try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
                let record = try await state.container(id)
                guard record.state.status == .running, let end = record.state.ownStateEnds, end.time <= clock.now() + 0.01 else { return }
                do throws(LunetteError) { try await transition(record, to: end.next, call) } catch  where error.code == .denied {
                    // A hook's word holds for now: it is asked again.
                    let (held, effects) = try await state.apply(
                        .ownStateHeld(again: Self.deniedWait), to: id,
                        note: ("transitioned", "not to \(end.next), to be tried again in \(Int(Self.deniedWait)) s: \(error.message)"))
                    await supervisor.carryOut(effects, held)
                } catch {
                    // The lifecycle has changed or gone since: what it no longer knows can't hold a container.
                    guard error.code == .invalidState || error.code == .invalidArgument else { throw error }
                    let (freed, effects) = try await state.apply(
                        .transitioned(to: nil, timeout: nil, onTimeout: nil), to: id,
                        note: ("transitioned", "to running: \(error.message)"),
                        fields: ["from": .string(record.state.ownState ?? ""), "to": "running"])
                    await supervisor.carryOut(effects, freed)
                }
            }
        } catch {
            // It ended or was removed in this moment.
            if error.code != .notFound { await state.note(degraded: "its state couldn't be left: \(error.message)", id) }
        }
    }
}

extension Call {
    /// Whether a lifecycle's function makes this call, in an operation on its own container.
    func isMadeByLifecycle(of id: String) -> Bool { request.cause.contains(Engine.leave(id)) }
}
