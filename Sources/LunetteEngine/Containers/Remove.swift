import LunetteAPI
import LunetteLinux
import LunetteSpec

extension Engine {
    func removeContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let force = try arguments.bool("force") ?? false
        let volumes = try arguments.bool("volumes") ?? false
        try arguments.finish()
        let id: String
        do throws(LunetteError) { id = try await state.container(word).id } catch {
            // Whoever removes what is being removed gets its answer when it is gone, not when its row is.
            try await targets.withTarget("container/\(word)", for: call) { () throws(LunetteError) in }
            throw error
        }
        try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            try await remove(try await state.container(id), force: force, removesVolumes: volumes, call)
        }
        return .null
    }

    /// Asks the hooks of all that goes with a container before any of it does: a call that is denied has done nothing.
    /// - Parameter asked: ids of containers and volumes; those asked for are added.
    private func askForRemoval(
        of record: ContainerRecord, force: Bool, removesVolumes: Bool, _ call: Call, _ asked: inout Set<String>
    ) async throws(LunetteError) {
        if asked.insert(record.id).inserted {
            try await ask("container.remove", record, call, fields: ["force": .bool(force)])
        }
        guard removesVolumes, await hooks.wants("volume.remove") else { return }
        for id in record.volumes where !asked.contains(id) {
            guard let volume = await state.volumes[id], volume.isAnonymous, await state.users(ofVolume: id).count <= 1 else { continue }
            asked.insert(id)
            try await askForRemoval(of: volume, call.part())
        }
    }

    /// The caller holds the target.
    /// - Parameter asked: ids of containers and volumes of which the hooks have been asked already.
    func remove(
        _ record: ContainerRecord, force: Bool, removesVolumes: Bool, asked: Set<String> = [], _ call: Call
    ) async throws(LunetteError) {
        var asked = asked
        if record.state.isAlive, !force {
            throw LunetteError(
                .invalidState, "remove container \(record.name): it is \(record.state.status.rawValue)", target: record.name,
                hint: "stop it first, or remove it by force (--force, in Lua force = true)")
        }
        try await refuseWhileShared(record, force: force)
        try await askForRemoval(of: record, force: force, removesVolumes: removesVolumes, call, &asked)
        if force, record.isPod {
            for member in await state.sharers(of: record.id) {
                try await askForRemoval(of: member, force: true, removesVolumes: removesVolumes, call.part(), &asked)
            }
        }
        try call.checkCancellation()
        if force { try await removeMembers(of: record, removesVolumes: removesVolumes, asked: asked, call) }
        if record.state.isAlive {
            await supervisor.note(
                .init(actor: call.request.actor.value, cause: call.causeOfConsequences, signal: .kill, deadline: 0), of: record.id)
            let (stopping, effects) = try await state.apply(.stopRequested, to: record.id)
            await supervisor.carryOut(effects, stopping)
            if let container = await supervisor.container(record.id) {
                do throws(LunetteError) {
                    try await container.kill(signal: Signal.kill.number, all: true)
                    if record.state.status == .paused { try await container.resume() }
                } catch {
                    if error.code != .invalidState { throw error }  // It ended by itself in this moment.
                }
            }
            faultPoint("remove.killed")
            await state.waitForExit(record.id)
        }
        try await erase(await state.containers[record.id] ?? record, removesVolumes: removesVolumes, asked: asked, call)
    }

    /// Takes the row away, then what it owned, under a ledger row. Nothing runs any more. The caller holds the target.
    /// - Parameter asked: ids of volumes of which the hooks have been asked already.
    func erase(_ record: ContainerRecord, removesVolumes: Bool, asked: Set<String> = [], _ call: Call) async throws(LunetteError) {
        await supervisor.forget(record.id)
        let files = LedgerRow(.containerFiles, record.id)
        var changes = Changes()
        changes.removedContainers = [record.id]
        changes.ledger = [files]
        changes.closedLedger = [LedgerRow(.containerRun, record.id).key]
        changes.outcomes = [
            call.outcome(.null),
            // Repeated, the request that made it gets it once more instead of making it again.
            Outcome(requestID: record.requestID, function: "container.create", result: .success(record.handle)),
        ]
        if let exit = record.state.exit {
            changes.outcomes.append(Outcome(requestID: "exit/\(record.id)", function: "exit", result: .success(exit.value)))
        }
        var fields = record.eventFields
        fields["exit"] = record.state.exit?.value
        changes.events = [
            PendingEvent(
                name: "container.removed", target: .init(kind: "container", id: record.id, name: record.name), fields: fields,
                actor: call.request.actor.value, cause: call.causeOfConsequences)
        ]
        try await state.commit(changes, .desired)
        faultPoint("remove.committed")
        let report = await host.reap(id: record.id, storage: true)
        await volumes.release(user: record.id)
        faultPoint("remove.reaped")
        if report.isClean {
            var closing = Changes()
            closing.closedLedger = [files.key]
            try await state.commit(closing)
        }
        if removesVolumes {
            for id in record.volumes {
                guard let volume = await state.volumes[id], volume.isAnonymous, await state.users(ofVolume: id).isEmpty else { continue }
                try await removeVolume(volume, force: false, isAsked: asked.contains(id), call.part())
            }
        }
        if let error = report.error { throw error }
    }

    /// `remove_on_exit`: by the engine itself, when it has ended.
    func removeAtExit(_ id: String) async {
        let call = Call.ownCall("container.remove")
        await removeQuietly(id, call, force: false)
    }

    /// `lifetime = "script"`: the script is gone.
    func removeAtScriptEnd(_ id: String) async {
        let call = Call.ownCall("container.remove", cause: [])
        await removeQuietly(id, call, force: true)
    }

    private func removeQuietly(_ id: String, _ call: Call, force: Bool) async {
        do throws(LunetteError) {
            try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
                guard let record = await state.containers[id] else { return }
                if !force, record.state.isAlive { return }
                try await remove(record, force: force, removesVolumes: true, call)
            }
        } catch {
            await state.note(degraded: "its removal failed: \(error.message)", id)
        }
    }
}
