import Glibc
public import LunetteAPI
package import LunetteLinux
package import LunettePlugins
public import LunetteSpec
import Synchronization

/// The engine itself, its database in memory, over programs, images and volumes that a test plays, in a time that a test moves.
///
/// What is simulated is the kernel's and the network's part: states, hooks, events, restart policies, resident code and argument checks are
/// those of every engine.
public final class Simulation: SimulatedEngine {
    private let engine: Engine
    private let host: SimulatedHost
    private let images: SimulatedImages
    private let residentHost: (any ResidentHost)?
    private let log: @Sendable (String) -> Void

    private struct Loaded {
        var scripts: [LoadedResident] = []
        var pumps: [Task<Void, Never>] = []
    }
    private let loaded = Mutex(Loaded())

    /// Opens one.
    /// - Parameters:
    ///   - director: says what programs do.
    ///   - time: the clock.
    ///   - residentHost: runs resident scripts.
    ///   - pluginHosts: run plugins.
    ///   - folder: where plugins under test keep their files; made when it is needed.
    ///   - log: gets what resident code logs, a line each.
    /// - Throws: what the database throws.
    package static func open(
        director: any SimulationDirector, time: VirtualTime, residentHost: (any ResidentHost)?, pluginHosts: [any PluginHost],
        folder: String, log: @escaping @Sendable (String) -> Void
    ) async throws(LunetteError) -> Simulation {
        let clock = VirtualClock(time: time)
        var configuration = EngineConfiguration(
            root: folder, state: folder + "/run", configuration: folder + "/settings", pluginDirectories: [], pluginHosts: pluginHosts)
        configuration.residentHost = residentHost
        configuration.log = log
        // For the audit log; where it can't be made, that says so.
        mkdir(folder, 0o700)
        let state = try await State(
            path: Database.inMemory, clock: clock, bootID: "test", eventLimit: configuration.eventLimit,
            outcomeLimit: configuration.outcomeLimit)
        let host = SimulatedHost(director: director, time: time)
        let images = SimulatedImages(clock: clock)
        let engine = await Engine(configuration: configuration, clock: clock, state: state, host: host, images: images, locks: [])
        await engine.plugins.add("volume-test", SimulatedVolumes.manifest, SimulatedVolumes(root: folder), directory: folder)
        do throws(LunetteError) { try await engine.recover() } catch {
            await engine.close()
            throw error
        }
        return Simulation(engine, host, images, residentHost, log)
    }

    private init(
        _ engine: Engine, _ host: SimulatedHost, _ images: SimulatedImages, _ residentHost: (any ResidentHost)?,
        _ log: @escaping @Sendable (String) -> Void
    ) {
        self.engine = engine
        self.host = host
        self.images = images
        self.residentHost = residentHost
        self.log = log
    }

    public func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        try await engine.connect(receiver: receiver)
    }

    public func newestEvent() async -> Int64 { await engine.state.newestEvent }

    public func close() async {
        let (scripts, pumps) = loaded.withLock { loaded in
            defer { loaded = Loaded() }
            return (loaded.scripts, loaded.pumps)
        }
        for pump in pumps { pump.cancel() }
        for script in scripts { await script.code.stop(patience: 0) }
        await engine.close()
    }

    // MARK: What a test plays

    public func declare(image reference: String, config: Value) async throws(LunetteError) {
        guard !config.isNull else {
            try images.add(reference)
            return
        }
        let whole: Value = [
            "architecture": "amd64", "os": "linux", "rootfs": ["type": "layers", "diff_ids": []], "config": config,
        ]
        try images.add(reference, config: try ImageConfig.decode(Array(JSON.encode(whole).utf8), source: "test.image").config)
    }

    public func end(container: String, _ end: SimulatedEnd) async throws(LunetteError) {
        let record = try await engine.state.container(container)
        guard record.state.isAlive, let live = host.container(record.id) else {
            throw LunetteError(
                .invalidState, "end the program of \(record.name): it is \(record.state.status.rawValue)", target: record.name)
        }
        live.finish(end)
    }

    // MARK: Events

    public func emit(_ event: String, _ fields: Value) async throws(LunetteError) -> Value {
        var map = fields.mapValue ?? [:]
        let kind = String(event.prefix { $0 != "." })
        let named = map[kind]
        map[kind] = nil
        let target = await target(kind, named)
        if EventNames.before.contains(event) { return try await ask(event, target, map) }
        guard EventNames.on.contains(event) else {
            let known = EventNames.before + EventNames.on
            throw LunetteError(
                .invalidArgument, "there is no event \"\(displayable(event, limit: 80))\"", operation: "test.emit",
                hint: nearest(to: event, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
        }
        await engine.state.log(PendingEvent(name: event, target: target, fields: map))
        return .null
    }

    /// What there is of that name, else a name that stands for itself.
    private func target(_ kind: String, _ named: Value?) async -> PendingEvent.Target {
        let word = named.flatMap(Handle.word) ?? kind
        if kind == "container", let record = try? await engine.state.container(word) {  // Else it is only a name.
            return .init(kind: kind, id: record.id, name: record.name)
        }
        return .init(kind: kind, id: word, name: named?["name"]?.stringValue ?? word)
    }

    private func ask(_ event: String, _ target: PendingEvent.Target, _ fields: ValueMap) async throws(LunetteError) -> Value {
        let isCreation = event == "container.create"
        var given = fields
        for key in ["labels", "driver"] { given[key] = nil }
        var spec = fields["spec"] ?? .map(given)
        if isCreation {
            var map = spec.mapValue ?? [:]
            if map["name"] == nil { map["name"] = .string(target.name) }
            spec = try engine.decodeSpec(.map(map)).value
        }
        var question = Hooks.Question(
            event: event, target: target, spec: spec, labels: fields["labels"]?.mapValue ?? spec["labels"]?.mapValue ?? [:],
            driver: fields["driver"]?.stringValue, isAmendable: isCreation || event == "container.update" || event == "volume.create",
            isOfNew: event == "volume.create" || isCreation)
        // Of a container that is there it is what the engine would ask.
        if !isCreation, fields["spec"] == nil, let record = await engine.state.containers[target.id] {
            let usual = engine.question(event, record, fields: given)
            (question.spec, question.labels) = (usual.spec, usual.labels)
            if event == "container.update" { question.spec = try Engine.normalised(.map(given), of: record) }
        }
        do throws(LunetteError) {
            let answer = try await engine.hooks.amended(question, for: .ownCall(event)) { value throws(LunetteError) in
                isCreation ? try ContainerSpec(value).value : value
            }
            return ["allowed": true, "spec": answer.spec, "notes": .array(answer.notes.map(Value.string))]
        } catch {
            guard error.code == .denied else { throw error }
            var map: ValueMap = ["allowed": false, "message": .string(error.message)]
            map["reason"] = error.details?["reason"] ?? .string(error.message)
            map["hook"] = error.details?["hook"]
            return .map(map)
        }
    }

    // MARK: Code under test

    public func load(_ script: ResidentScript, modules: any ResidentModules) async throws(LunetteError) -> Value {
        guard let residentHost else { throw LunetteError(.unsupported, "this engine runs no resident code") }
        let code = try await residentHost.load(script, modules: modules, connector: engine.residentConnector, log: log)
        var made = LoadedResident(script: script, code: code)
        do throws(LunetteError) {
            var places: [String: String] = [:]
            try await made.register(with: engine.hooks, &places)
        } catch {
            await code.stop(patience: 0)
            throw error
        }
        let (resident, all) = (
            made,
            loaded.withLock { [made] loaded in
                loaded.scripts.append(made)
                return loaded.scripts
            }
        )
        await engine.hooks.replaceResident(all.flatMap(\.handlers), all.flatMap(\.lifecycles))
        await engine.supervisor.handlersChanged()
        let newest = await engine.state.newestEvent
        for handler in resident.handlers where handler.kind == .on {
            let pump = Task { [engine] in await engine.deliver(to: handler, after: newest, cursor: nil) }
            loaded.withLock { $0.pumps.append(pump) }
        }
        for object in resident.desired { try await engine.objectSteps.bring(object) }
        try await code.start()
        return ["handlers": .array(resident.handlers.map { $0.value() }), "has_timers": .bool(code.hasTimers)]
    }

    public func load(plugin directory: String) async throws(LunetteError) -> Value { try await engine.plugins.load(directory: directory) }
}
