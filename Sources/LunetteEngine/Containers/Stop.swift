import LunetteAPI
import LunetteLinux
import LunetteSpec

extension Engine {
    /// The stop sequence: signal, grace, SIGKILL; returns the exit.
    func stopContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let grace = try arguments.seconds("grace_period")
        try arguments.finish()
        let id = try await state.container(word).id
        return try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            try await ask("container.stop", record, call, fields: ["grace_period": .double(grace ?? record.gracePeriod)])
            try call.checkCancellation()
            return try await stop(record, grace: grace ?? record.gracePeriod, call)?.value ?? .null
        }
    }

    /// - Returns: how it ended; nil when it never ran. The caller holds the target.
    func stop(_ record: ContainerRecord, grace: Double, _ call: Call) async throws(LunetteError) -> ExitRecord? {
        try await stopMembers(of: record, grace: grace, call)
        await supervisor.note(
            .init(actor: call.request.actor.value, cause: call.causeOfConsequences, signal: nil, deadline: .infinity), of: record.id)
        let (stopping, effects) = try await state.apply(.stopRequested, to: record.id, note: ("stop", nil), durability: .desired)
        await supervisor.carryOut(effects, stopping)
        faultPoint("stop.committed")
        // What never ran has nothing to end, and waiting for that would hold the target for ever, against its start.
        if !stopping.state.isAlive { return stopping.state.exit }
        guard let container = await supervisor.container(record.id) else {
            await state.waitForExit(record.id)
            return await state.containers[record.id]?.state.exit ?? record.state.exit
        }
        return try await end(stopping, container, grace: grace, call)
    }

    /// The lifecycle's own way to end, then signal, grace, SIGKILL; all of it within the grace.
    /// - Returns: how it ended.
    private func end(
        _ record: ContainerRecord, _ container: any LiveContainer, grace: Double, _ call: Call
    ) async throws(LunetteError) -> ExitRecord? {
        var grace = grace
        if record.state.status == .running, let lifecycle = await lifecycle(of: record), lifecycle.functions.contains(.stop), grace > 0 {
            let begin = clock.now()
            _ = await self.call("stop", of: lifecycle, for: record, within: grace, [:], call)
            grace = max(0, grace - (clock.now() - begin))
            if await state.containers[record.id]?.state.isAlive != true { return await state.containers[record.id]?.state.exit }
        }
        if record.state.status == .paused {
            try await container.resume()
            _ = try await state.apply(.resumed, to: record.id)
        }
        try await send(record.stopSignal ?? Signal.term.number, all: false, to: container, record.id)
        faultPoint("stop.signalled")
        if await !hasEnded(record.id, within: grace) {
            try await send(Signal.kill.number, all: true, to: container, record.id)
            faultPoint("stop.killed")
            await state.waitForExit(record.id)
        }
        return await state.containers[record.id]?.state.exit
    }

    /// A signal of a stop; one that comes too late is none to complain of.
    private func send(_ signal: Int32, all: Bool, to container: any LiveContainer, _ id: String) async throws(LunetteError) {
        do throws(LunetteError) { try await container.kill(signal: signal, all: all) } catch {
            // It ended by itself in this moment.
            if error.code == .invalidState { return }
            // Its monitor has left, as it does after the end: the exit is on its way.
            if error.code == .io, await hasEnded(id, within: 5) { return }
            throw error
        }
    }

    /// Ends a container whose health check says that it is unhealthy, as its spec asks; a restart follows by the state machine.
    func endUnhealthy(_ id: String, _ action: HealthSpec.OnUnhealthy) async {
        guard action != .none else { return }
        if let record = await state.containers[id], await lifecycle(of: record)?.handlesUnhealthy == true { return }
        let call = Call.ownCall("container.stop")
        do throws(LunetteError) {
            try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
                let record = try await state.container(id)
                // Somebody may have ended it, or it has recovered, while this waited.
                guard record.state.isAlive, record.state.health.status == .unhealthy, let container = await supervisor.container(id) else {
                    return
                }
                let (ending, effects) = try await state.apply(
                    .endUnhealthy(restart: action == .restart), to: id,
                    note: ("stop", "unhealthy, \(action == .restart ? "to be restarted" : "to stay stopped")"), durability: .desired)
                await supervisor.carryOut(effects, ending)
                faultPoint("health.ending")
                _ = try await end(ending, container, grace: record.gracePeriod, call)
            }
        } catch {
            // It ended or was removed meanwhile; a signal that couldn't be sent is told where `inspect` shows it.
            if error.code != .notFound, error.code != .invalidState {
                await state.note(degraded: "unhealthy, and couldn't be ended: \(error.message)", id)
            }
        }
    }

    /// Waits for an exit, at most so long. A cancelled call ends the grace at once: the stop was committed and goes on.
    private func hasEnded(_ id: String, within seconds: Double) async -> Bool {
        let race = Race<Bool>()
        let waiting = Task {
            await state.waitForExit(id)
            if !Task.isCancelled { race.finish(true) }
        }
        let timer = Task { [clock] in
            do { try await clock.sleep(seconds) } catch { return }
            race.finish(false)
        }
        let ended = await withTaskCancellationHandler {
            await race.value
        } onCancel: {
            race.finish(false)
        }
        waiting.cancel()
        timer.cancel()
        return ended
    }

    func killContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let signal = try arguments.signal("signal") ?? .kill
        try arguments.finish()
        let record = try await state.container(word)
        try await ask("container.kill", record, call, fields: ["signal": .string(signal.name)])
        try call.checkCancellation()
        // An engine may die between the signal and the answer. The repetition then finds a container that is no longer there to be signalled,
        // and the note made before tells that this is the kill's own work.
        if try await earlierIntent(of: call, noting: .null) != nil, !record.state.isAlive { return .null }
        // Not queued: a kill must reach a container whose stop is waiting out its grace period.
        let container = try await live(record)
        // What a program makes of a signal that doesn't ask it to end is its own.
        let meansEnd = [Signal.kill, .term, .int, .quit].contains(signal)
        await supervisor.note(
            .init(
                actor: call.request.actor.value, cause: call.causeOfConsequences, signal: signal,
                deadline: meansEnd ? clock.now() + record.gracePeriod : 0), of: record.id)
        try await container.kill(signal: signal.number, all: false)
        // A frozen process takes SIGKILL only when it thaws.
        if signal == .kill, await state.containers[record.id]?.state.status == .paused { try await container.resume() }
        return .null
    }

    func restartContainer(_ call: Call) async throws(LunetteError) -> Value {
        let begin = monotonicNanoseconds()
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let grace = try arguments.seconds("grace_period")
        try arguments.finish()
        let id = try await state.container(word).id
        return try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            // Of both before either: a restart that is denied leaves a container running.
            if record.state.isAlive {
                try await ask("container.stop", record, call, fields: ["grace_period": .double(grace ?? record.gracePeriod)])
            }
            try await ask("container.start", record, call)
            try call.checkCancellation()
            if record.state.isAlive { _ = try await stop(record, grace: grace ?? record.gracePeriod, call) }
            return try await start(try await state.container(id), call, streams: Streams(), isFirst: false, isAsked: true, since: begin)
                .started(now: true)
        }
    }

    func pauseContainer(_ call: Call) async throws(LunetteError) -> Value {
        let id = try await containerTarget(call).id
        try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            guard record.state.status == .running else { throw notIn(record, "running") }
            try await named(record) { () async throws(LunetteError) in try await live(record).pause() }
            _ = try await state.apply(
                .paused, to: id, note: ("paused", nil), actor: call.request.actor.value, cause: call.causeOfConsequences)
        }
        return .null
    }

    func resumeContainer(_ call: Call) async throws(LunetteError) -> Value {
        let id = try await containerTarget(call).id
        try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            guard record.state.status == .paused else { throw notIn(record, "paused") }
            try await live(record).resume()
            _ = try await state.apply(
                .resumed, to: id, note: ("resumed", nil), actor: call.request.actor.value, cause: call.causeOfConsequences)
        }
        return .null
    }

    private func notIn(_ record: ContainerRecord, _ status: String) -> LunetteError {
        LunetteError(.invalidState, "the container \(record.name) is \(record.state.status.rawValue), not \(status)", target: record.name)
    }

    /// Waits until it has stopped; of a removed container its last exit is still known.
    func waitForContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let timeout = try arguments.seconds("timeout")
        try arguments.finish()
        let record: ContainerRecord
        do throws(LunetteError) { record = try await state.container(word) } catch {
            if let exit = try await state.outcome("exit/\(word)")?.result.get() { return exit }
            throw error
        }
        if let timeout {
            guard await hasEnded(record.id, within: timeout) else {
                try call.checkCancellation()
                throw LunetteError(.timeout, "the container \(record.name) did not stop within \(timeout) s", target: record.name)
            }
        } else if let exit = await state.exit(of: record.id) {
            return exit.value
        }
        try call.checkCancellation()
        if let exit = await state.containers[record.id]?.state.exit { return exit.value }
        if let exit = try await state.outcome("exit/\(record.id)")?.result.get() { return exit }
        throw LunetteError(.notFound, "the container \(record.name) was removed before it ran", target: record.name)
    }
}

extension ContainerRecord {
    var gracePeriod: Double { spec["stop"]?["grace_period"]?.doubleValue ?? 10 }
}
