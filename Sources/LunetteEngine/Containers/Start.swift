import LunetteAPI
import LunetteImages
import LunetteLinux
import LunettePlugins
import LunetteRuntime
import LunetteSpec

extension Engine {
    func startContainer(_ call: Call) async throws(LunetteError) -> Value {
        let begin = monotonicNanoseconds()
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        var given = try Streams(&arguments, call)
        if let rows = try arguments.int("rows"), let columns = try arguments.int("columns") {
            given.size = TerminalSize(rows: UInt16(clamping: rows), columns: UInt16(clamping: columns))
        }
        let streams = given
        defer { streams.close() }
        try arguments.finish()
        let id = try await state.container(word).id
        return try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            if record.state.status == .running {
                // As it was asked for, whoever has started it.
                guard streams.areGiven else { return record.started(now: false) }
                throw LunetteError(
                    .invalidState, "the container \(record.name) runs already: a start connects nobody to what it writes",
                    target: record.name, hint: "lunette attach \(record.name)")
            }
            return try await start(record, call, streams: streams, isFirst: false, since: begin).started(now: true)
        }
    }

    /// Starts again by policy, when the back-off is over.
    func restartByPolicy(_ id: String) async {
        let call = Call.ownCall("container.restart")
        do throws(LunetteError) {
            try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
                // A short wait may be over before the last run is taken apart.
                await supervisor.waitForTeardown(id)
                // Without a policy of its own it was its lifecycle, or its health check.
                let asDecided = await state.containers[id].map { $0.state.policy.kind == .never } ?? false
                let (record, effects) = try await state.apply(
                    .restartDue, to: id, note: ("restart", asDecided ? "as it was decided" : "by policy"))
                guard effects.contains(.launch) else { return }
                _ = try await launch(record, call, streams: Streams(), since: monotonicNanoseconds())
            }
        } catch {
            // The container was removed meanwhile, or its start failed, which its own row and events tell.
        }
    }

    /// Hooks, the state machine's word, then the launch. The caller holds the target.
    /// - Parameters:
    ///   - isFirst: part of `container.run`: the outcome is the container itself.
    ///   - hasRow: its creation, in the same call, wrote the ledger's row.
    ///   - isAsked: the hooks have let it pass already.
    func start(
        _ record: ContainerRecord, _ call: Call, streams: Streams, isFirst: Bool, hasRow: Bool = false, isAsked: Bool = false,
        since begin: UInt64
    ) async throws(LunetteError) -> ContainerRecord {
        if !isAsked { try await ask("container.start", record, call) }
        try call.checkCancellation()
        await supervisor.waitForTeardown(record.id)
        var machine = record.state
        let effects = try named(record) { () throws(LunetteError) in try machine.apply(.startRequested, now: clock.now()) }
        await supervisor.carryOut(effects, record)
        // For `run`, the repetition of the request finds the container by itself.
        return try await launch(record, call, streams: streams, since: begin, answers: !isFirst, asked: true, hasRow: hasRow)
    }

    private func named<T>(_ record: ContainerRecord, _ body: () throws(LunetteError) -> T) throws(LunetteError) -> T {
        do throws(LunetteError) { return try body() } catch {
            var error = error
            error.message =
                error.message.hasPrefix("the container ") ? "the container \(record.name) " + error.message.dropFirst(14) : error.message
            error.target = record.name
            throw error
        }
    }

    /// Ledger row, volumes, runtime, commit. On failure everything is taken apart and the state says `start_failed`.
    /// - Parameters:
    ///   - answers: whether the call's outcome is committed with the start.
    ///   - hasRow: whether the creation wrote the ledger's row already.
    ///   - asked: whether a caller asked for it; a policy's restart has made its own entry already.
    private func launch(
        _ record: ContainerRecord, _ call: Call, streams: Streams, since begin: UInt64, answers: Bool = false, asked: Bool = false,
        hasRow: Bool = false
    ) async throws(LunetteError) -> ContainerRecord {
        let id = record.id
        var profile = Profile(since: begin)
        do throws(LunetteError) {
            var intent = Changes()
            if !hasRow { intent.ledger = [LedgerRow(run: record, call)] }
            if asked, record.state.stoppedByUser || record.state.attempts > 0 || record.state.restartAt != nil {
                var started = record
                _ = try started.state.apply(.startRequested, now: clock.now())
                intent.containers = [started]
            }
            try await state.commit(intent)
            profile.mark("ledger")
            faultPoint("start.ledger")
            let request = try await launchRequest(record, call, streams: streams)
            profile.mark("prepare")
            faultPoint("start.prepared")
            let container = try await host.create(request) { [state] shim async throws(LunetteError) in
                // Who it is, before its program runs: a later engine that finds it running knows that this start has happened.
                var launched = Changes()
                launched.ledger = [LedgerRow(run: record, call, launched: shim.value)]
                try await state.commit(launched)
            }
            profile.mark("create")
            faultPoint("start.created")
            let run = container.record.value
            try await container.start()
            streams.close()
            profile.mark("exec")
            faultPoint("start.running")
            let phases = profile.phases + container.profile.map { .init(phase: "create.\($0.phase)", microseconds: Int($0.seconds * 1e6)) }
            var running = record
            running.notEnforced = container.record.notEnforced
            var fields: ValueMap = ["profile": .map(ValueMap(phases: phases))]
            // For whoever wants to know of a container that has gone already.
            if !running.notEnforced.isEmpty { fields["not_enforced"] = running.lacking() }
            var extra = Changes()
            if answers { extra.outcomes = [call.outcome(running.started(now: true))] }
            let lacking = running.notEnforced
            let (started, effects) = try await state.apply(
                .started(pid: container.record.initProcess?.pid ?? 0), to: id, note: ("started", nil), extra: extra,
                fields: fields, actor: call.request.actor.value, cause: call.causeOfConsequences
            ) { record in
                record.run = run
                record.startRequest = call.request.id
                record.profile = phases
                record.notEnforced = lacking
                record.degraded = []
            }
            faultPoint("start.committed")
            await supervisor.watch(id, container, effects: effects, record: started)
            return started
        } catch {
            let code = error.details?["exit_code"]?.intValue.map { Int($0) } ?? 125
            let message = error.message
            do throws(LunetteError) {
                let (record, effects) = try await state.apply(
                    .startFailed(message: message, code: code), to: id, note: ("start_failed", message), actor: call.request.actor.value,
                    cause: call.causeOfConsequences
                ) { $0.startRequest = call.request.id }
                await supervisor.carryOut(effects, record)
            } catch {
                // The container is gone or the database failed; the ledger's row has the undo.
                await supervisor.tearDown(id)
            }
            var error = error
            error.target = error.target ?? record.name
            throw error
        }
    }

    /// Resolves what the runtime needs: image layers, volumes, other containers' namespaces.
    func launchRequest(
        _ record: ContainerRecord, _ call: Call, streams: Streams, isDry: Bool = false
    ) async throws(LunetteError) -> CreateRequest {
        let spec = try ContainerSpec(record.spec)
        let root: CreateRequest.Root
        var config: ImageConfig?
        switch spec.root {
        case .rootfs(let path): root = .directory(path)
        case .none: root = .empty
        case .image(let name):
            guard let image = try await images.find(record.image?.id ?? name) else {
                throw LunetteError(
                    .notFound, "the image \(record.image?.reference ?? name) of container \(record.name) is no longer here",
                    target: record.name,
                    hint: "`lunette system check` tells what else is missing")
            }
            root = .layers(image.snapshotPaths)
            config = image.config
        }
        var request = CreateRequest(
            id: record.id, spec: spec, image: config?.config, root: root, idRange: record.idRange ?? IDRangeAllocator.shared)
        try await join(record, &request)
        // A terminal stays when its user leaves: the end of the keys isn't a hang-up.
        request.io = ProcessIO(
            stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, keepsStdinOpen: spec.hasTerminal, size: streams.size)
        request.mounts = try await resolveMounts(spec, record, root, call, isDry: isDry)
        return request
    }

    private func resolveMounts(
        _ spec: ContainerSpec, _ record: ContainerRecord, _ root: CreateRequest.Root, _ call: Call, isDry: Bool
    ) async throws(LunetteError) -> [CreateRequest.ResolvedMount] {
        var mounts: [CreateRequest.ResolvedMount] = []
        for (index, mount) in spec.mounts.enumerated() {
            switch mount.kind {
            case .bind: mounts.append(.init(index: index, sources: [mount.source], readonly: mount.isReadonly))
            case .volume:
                let volume = try await state.volume(mount.source)
                let path = isDry ? "<volume \(volume.name)>" : try await self.mount(volume, mount, record, root, call)
                mounts.append(.init(index: index, sources: [path], readonly: mount.isReadonly))
            case .image:
                let image = try await images.get(mount.source)
                mounts.append(.init(index: index, sources: image.snapshotPaths, readonly: true))
            case .tmpfs, .secret, .config: break
            }
        }
        return mounts
    }

    /// Readies one volume for this container: hooks, the driver's `mount`, and for an empty new volume the image's files.
    private func mount(
        _ volume: VolumeRecord, _ mount: MountSpec, _ record: ContainerRecord, _ root: CreateRequest.Root, _ call: Call
    ) async throws(LunetteError) -> String {
        try await targets.withTarget("volume/\(volume.id)", for: call) { () async throws(LunetteError) in
            if await hooks.wants("volume.mount") {
                _ = try await hooks.ask(
                    .init(
                        event: "volume.mount", target: .init(kind: "volume", id: volume.id, name: volume.name),
                        spec: ["volume": .string(volume.name), "container": record.handle, "mount": mount.value], labels: volume.labels,
                        driver: volume.driver),
                    for: call)
            }
            let path = try await volumes.mount(volume, user: record.id, operation: call.request.id)
            guard mount.copiesImageContent, !volume.isPopulated, case .layers(let layers) = root else { return path }
            if !layers.isEmpty, try await isEmpty(path) {
                _ = try await host.copyUp(layers: layers, from: mount.target, to: path)
                faultPoint("start.copied-up")
            }
            try await state.updateVolume(volume.id) { $0.isPopulated = true }
            return path
        }
    }

    private func isEmpty(_ path: String) async throws(LunetteError) -> Bool {
        try await blocking { () throws(LunetteError) in
            try atBorder("look into the volume at \(path)") { () throws(SystemCallError) in try Directory(path).entries().isEmpty }
        }
    }
}

extension LedgerRow {
    /// The row of one run: written before anything of it exists.
    /// - Parameter launched: the runtime's record, once it stands at the gate.
    init(run record: ContainerRecord, _ call: Call, launched: Value? = nil) {
        var detail: ValueMap = [
            "request": .string(call.request.id), "function": .string(call.request.function), "name": .string(record.name),
        ]
        detail["run"] = launched
        self.init(.containerRun, record.id, detail: .map(detail))
    }
}

/// Measures the phases of a start.
private struct Profile {
    private var last: UInt64
    private(set) var phases: [ContainerRecord.Phase] = []

    init(since begin: UInt64) {
        last = begin
        mark("queue")
    }

    mutating func mark(_ phase: String) {
        let now = monotonicNanoseconds()
        phases.append(.init(phase: phase, microseconds: Int((now - last) / 1000)))
        last = now
    }
}

extension ValueMap {
    /// Seconds by phase, as `inspect` and events show them.
    init(phases: [ContainerRecord.Phase]) {
        self.init()
        for phase in phases { self[phase.phase] = .double(Double(phase.microseconds) / 1e6) }
    }
}
