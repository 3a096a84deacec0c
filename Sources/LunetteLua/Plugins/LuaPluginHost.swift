internal import LunetteAPI
package import LunetteLinux
package import LunettePlugins
package import LunetteSpec

/// Runs plugins written in Lua: the adapter behind the engine's extension points. The engine sees only `PluginHost`.
package struct LuaPluginHost: PluginHost {
    package var transport: String { "lua" }
    /// What each plugin's state may use; one slice is what runs between two waits.
    package var memoryLimit = 64 << 20
    package var instructionLimit: UInt64 = 200_000_000
    package var sliceSeconds = 2.0

    /// The clock of a test; nil: the system's.
    package var time: VirtualTime?
    /// Asked before calls that need no engine; set in tests.
    var watch: (any CallWatch)?
    /// Gets how often each line ran; set in tests.
    var coverage: Coverage?

    package init() {}

    package func load(
        _ manifest: PluginManifest, directory: String, environment: PluginEnvironment
    ) async throws(LunetteError) -> any LoadedPlugin {
        let entry = try FileTree.read("\(directory)/\(manifest.entry)", roots: [directory])
        var options = LuaHost.Options(
            connector: environment.call.map(PluginConnector.init), directory: environment.volumesDirectory, script: manifest.name)
        options.limits = .init(memory: memoryLimit, instructions: instructionLimit, wallSeconds: sliceSeconds, isLimited: true)
        options.moduleDirectory = directory
        options.time = time
        options.coverage = coverage
        options.watch = watch
        options.store = "plugin/\(manifest.name)"
        var permissions = environment.permissions
        // Its own folders go with any right to files at all.
        if permissions.contains(where: { $0 == "fs" || $0.hasPrefix("fs:") || $0.hasPrefix("fs.") }) {
            permissions.insert("fs:\(environment.volumesDirectory)")
            permissions.insert("fs:\(environment.stateDirectory)")
        }
        options.permissions = permissions
        let chunk = "@\(manifest.name)/\(manifest.entry)"
        coverage?.know(String(chunk.dropFirst()), as: "\(directory)/\(manifest.entry)")
        let worker = try await StateWorker.start(.plugin(manifest.name), options)
        do throws(LunetteError) {
            let functions = try await worker.call(
                "load_plugin",
                [
                    "source": .text(entry), "name": .string(chunk), "config": environment.config,
                    "timeout": .double(manifest.timeouts["load"] ?? 10),
                ])
            worker.rest()
            return try LuaPlugin(manifest, functions, environment, worker)
        } catch {
            await worker.stop()
            throw error
        }
    }
}

/// One loaded plugin: its state lives on a thread of its own until `stop`.
struct LuaPlugin: LoadedPlugin {
    let volumeDrivers: [String: any VolumeDriver]
    private let manifest: PluginManifest
    private let worker: StateWorker

    init(
        _ manifest: PluginManifest, _ functions: Value, _ environment: PluginEnvironment, _ worker: StateWorker
    ) throws(LunetteError) {
        self.manifest = manifest
        self.worker = worker
        var drivers: [String: any VolumeDriver] = [:]
        for name in manifest.provides["volume"] ?? [] {
            let provided = functions["volume"]?[name]?.arrayValue?.compactMap(\.stringValue) ?? []
            guard provided.contains("mount") else {
                throw LunetteError(
                    .pluginFailed, "the plugin \(manifest.name) provides the volume driver \(name) without a function mount",
                    target: manifest.name, hint: "return { volume = { \(name) = { mount = function(r) … end } } }")
            }
            drivers[name] = LuaVolumeDriver(
                name: name, functions: Set(provided), environment: environment, timeouts: manifest.timeouts, worker: worker)
        }
        volumeDrivers = drivers
    }

    private func run(_ name: String, _ argument: Value = .null) async throws(LunetteError) {
        _ = try await worker.call(
            "call_plugin", ["name": .string(name), "argument": argument, "timeout": .double(manifest.timeouts[name] ?? 30)])
    }

    func selfTest() async throws(LunetteError) { try await run("self_test") }
    func start() async throws(LunetteError) { try await run("start") }

    func stop() async {
        // A plugin that can't stop is stopped all the same.
        _ = try? await run("stop")
        await worker.stop()
    }
}

extension LuaPlugin: CodePrompt {
    func answer(
        _ question: ValueMap, onOutput: @escaping @Sendable (Value) async throws(LunetteError) -> Void
    ) async throws(LunetteError) -> Value { try await WorkerPrompt(worker: worker).answer(question, onOutput: onOutput) }

    func complete(_ question: ValueMap) async throws(LunetteError) -> Value { try await WorkerPrompt(worker: worker).complete(question) }
}

/// A volume driver in Lua: each call is one plain table in, one out.
struct LuaVolumeDriver: VolumeDriver {
    let name: String
    let functions: Set<String>
    let environment: PluginEnvironment
    let timeouts: [String: Double]
    let worker: StateWorker

    private func call(_ function: String, _ request: DriverRequest) async throws(LunetteError) -> Value {
        var r: ValueMap = [
            "config": environment.config, "operation": .string(request.operation), "volume": request.volume.value,
            "volumes_directory": .string(environment.volumesDirectory), "state_directory": .string(environment.stateDirectory),
        ]
        r["deadline"] = request.deadline.map(Value.double)
        return try await worker.call(
            "call_plugin",
            [
                "point": "volume", "driver": .string(name), "name": .string(function), "argument": .map(r),
                "timeout": .double(timeouts[function] ?? 30),
            ])
    }

    func create(_ request: DriverRequest) async throws(LunetteError) -> Value {
        functions.contains("create") ? try await call("create", request) : .null
    }

    func mount(_ request: DriverRequest) async throws(LunetteError) -> (path: String, state: Value) {
        let answer = try await call("mount", request)
        guard case .map(var fields) = answer, let path = fields["path"]?.stringValue, path.hasPrefix("/") else {
            throw LunetteError(
                .pluginFailed, "the volume driver \(name) answered mount of \(request.volume.name) without an absolute path",
                target: request.volume.name)
        }
        fields["path"] = nil
        return (path, fields["state"] ?? (fields.isEmpty ? .null : .map(fields)))
    }

    func unmount(_ request: DriverRequest) async throws(LunetteError) {
        if functions.contains("unmount") { _ = try await call("unmount", request) }
    }

    func remove(_ request: DriverRequest) async throws(LunetteError) {
        if functions.contains("remove") { _ = try await call("remove", request) }
    }

    func usage(_ request: DriverRequest) async throws(LunetteError) -> VolumeUsage? {
        guard functions.contains("usage") else { return nil }
        let answer = try await call("usage", request)
        guard let used = answer["used"]?.intValue else { return nil }
        return VolumeUsage(
            used: used, limit: answer["limit"]?.intValue, inodes: answer["inodes"]?.intValue ?? 0,
            enforced: answer["enforced"]?.boolValue ?? false)
    }
}

/// The engine as a plugin reaches it: calls alone, each of them by itself.
private struct PluginConnector: EngineConnector, EngineSession {
    let perform: @Sendable (String, Value) async throws(LunetteError) -> Value

    func connect(receiver: (any HookReceiver)?) -> any EngineSession { self }

    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        try await perform(request.function, request.arguments)
    }

    func close() {}
}
