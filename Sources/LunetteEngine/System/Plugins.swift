import Glibc
import LunetteAPI
import LunetteLinux
import LunettePlugins
import LunetteSpec

/// Knows the plugins and loads each when its first driver is asked for, so that an engine on demand opens at once.
actor Plugins {
    enum Status: String { case found, running, failed }

    struct Plugin {
        var found: PluginDiscovery.Found
        var status: Status
        var error: LunetteError?
        var loaded: (any LoadedPlugin)?
    }

    private let configuration: EngineConfiguration
    private var plugins: [String: Plugin] = [:]
    private var isSearched = false
    private var loading: [String: Task<Result<any LoadedPlugin, LunetteError>, Never>] = [:]

    /// How plugins reach the engine.
    private var connector: (any EngineConnector)?

    init(configuration: EngineConfiguration) {
        self.configuration = configuration
    }

    func connect(_ connector: any EngineConnector) { self.connector = connector }

    private func search() async {
        guard !isSearched else { return }
        let directories = configuration.pluginDirectories
        let found = await blocking { PluginDiscovery.search(directories) }
        guard !isSearched else { return }
        isSearched = true
        for entry in found {
            let error: LunetteError? = if case .failure(let error) = entry.manifest { error } else { nil }
            plugins[entry.name] = Plugin(found: entry, status: error == nil ? .found : .failed, error: error)
        }
    }

    func list() async -> [Value] {
        await search()
        return plugins.values.sorted { $0.found.name < $1.found.name }.map(describe)
    }

    func inspect(_ name: String) async throws(LunetteError) -> Value {
        await search()
        guard let plugin = plugins[name] else {
            throw LunetteError(
                .notFound, "no plugin is called \"\(displayable(name, limit: 80))\"", target: name,
                hint: nearest(to: name, in: Array(plugins.keys)).map { "did you mean \"\($0)\"?" })
        }
        return describe(plugin)
    }

    private func describe(_ plugin: Plugin) -> Value {
        var map: ValueMap = [
            "name": .string(plugin.found.name), "status": .string(plugin.status.rawValue), "path": .string(plugin.found.directory),
            "version": "",
            "provides": .map([:]), "permissions": .array([]),
        ]
        if case .success(let manifest) = plugin.found.manifest {
            map["version"] = .string(manifest.version)
            map["summary"] = .string(manifest.summary)
            map["api"] = .string(manifest.api)
            map["transport"] = .string(manifest.transport.rawValue)
            map["isolation"] = .string(manifest.isolation.rawValue)
            var provides = ValueMap()
            for point in manifest.provides.keys.sorted() { provides[point] = .array(manifest.provides[point]!.map(Value.string)) }
            map["provides"] = .map(provides)
            map["permissions"] = .array(manifest.permissions.map(Value.string))
        }
        map["error"] = plugin.error.map { .string($0.description) }
        return .map(map)
    }

    /// The driver of this name, its plugin loaded and started if this is its first use.
    /// - Throws: `not_found` when no plugin provides it; `plugin_failed` when its plugin can't be loaded.
    func volumeDriver(_ name: String) async throws(LunetteError) -> any VolumeDriver {
        await search()
        var names: [String] = []
        for plugin in plugins.values {
            guard case .success(let manifest) = plugin.found.manifest else { continue }
            let drivers = manifest.provides["volume"] ?? []
            names += drivers
            guard drivers.contains(name) else { continue }
            guard let driver = try await load(plugin.found.name).volumeDrivers[name] else {
                throw LunetteError(
                    .pluginFailed, "the plugin \(plugin.found.name) has no volume driver \"\(name)\", though its manifest says so",
                    target: plugin.found.name)
            }
            return driver
        }
        let broken = plugins.values.filter { $0.status == .failed }.map { "\($0.found.name): \($0.error?.message ?? "")" }.sorted()
        throw LunetteError(
            .notFound, "no plugin provides a volume driver \"\(displayable(name, limit: 80))\"", target: name,
            hint: broken.isEmpty
                ? nearest(to: name, in: names).map { "did you mean \"\($0)\"?" }
                    ?? (names.isEmpty ? "no plugin was found; is LUNETTE_PLUGINS right?" : nil)
                : "broken plugins: \(broken.joined(separator: "; "))")
    }

    /// A plugin by its name, loaded and started if this is its first use.
    func loaded(_ name: String) async throws(LunetteError) -> any LoadedPlugin {
        await search()
        if let error = plugins[name]?.error, plugins[name]?.loaded == nil, case .failure = plugins[name]?.found.manifest { throw error }
        return try await load(name)
    }

    private func load(_ name: String) async throws(LunetteError) -> any LoadedPlugin {
        guard let plugin = plugins[name], case .success(let manifest) = plugin.found.manifest else {
            throw LunetteError(.notFound, "no plugin is called \"\(name)\"", target: name)
        }
        if let loaded = plugin.loaded { return loaded }
        let task: Task<Result<any LoadedPlugin, LunetteError>, Never>
        if let running = loading[name] {
            task = running
        } else {
            let (configuration, connector) = (configuration, connector)
            task = Task {
                do throws(LunetteError) {
                    return .success(
                        try await Plugins.load(
                            manifest, directory: plugin.found.directory, configuration: configuration, connector: connector))
                } catch { return .failure(error) }
            }
            loading[name] = task
        }
        let result = await task.value
        loading[name] = nil
        switch result {
        case .success(let loaded):
            plugins[name]?.loaded = loaded
            plugins[name]?.status = .running
            plugins[name]?.error = nil
            return loaded
        case .failure(let error):
            plugins[name]?.status = .failed
            plugins[name]?.error = error
            throw error
        }
    }

    private static func load(
        _ manifest: PluginManifest, directory: String, configuration: EngineConfiguration, connector: (any EngineConnector)?
    ) async throws(LunetteError) -> any LoadedPlugin {
        guard manifest.isolation == .engine else {
            throw LunetteError(
                .unsupported, "load the plugin \(manifest.name): isolation \"process\" isn't built yet", target: manifest.name)
        }
        guard let host = configuration.pluginHosts.first(where: { $0.transport == manifest.transport.rawValue }) else {
            throw LunetteError(
                .unsupported, "load the plugin \(manifest.name): nothing here runs plugins of transport \"\(manifest.transport.rawValue)\"",
                target: manifest.name)
        }
        var environment = PluginEnvironment(
            config: .map([:]), permissions: Set(manifest.permissions), stateDirectory: "\(configuration.root)/plugins/\(manifest.name)",
            volumesDirectory: "\(configuration.root)/volumes")
        if let connector {
            environment.call = { (function, arguments) async throws(LunetteError) in
                let actor = Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: "plugin \(manifest.name)")
                let request = APIRequest(
                    id: Identifier.short() + Identifier.short(), function: function, arguments: arguments, actor: actor)
                let session = try await connector.connect(receiver: nil)
                let result: Result<Value, LunetteError>
                do throws(LunetteError) { result = .success(try await session.call(request, files: [], onChunk: nil)) } catch {
                    result = .failure(error)
                }
                await session.close()
                return try result.get()
            }
        }
        let folders = [environment.stateDirectory, environment.volumesDirectory]
        try await blocking { () throws(LunetteError) in
            try atBorder("make the plugin's directories") { () throws(SystemCallError) in
                for folder in folders { _ = try Directory(making: folder) }
            }
        }
        do throws(LunetteError) {
            let loaded = try await host.load(manifest, directory: directory, environment: environment)
            do throws(LunetteError) {
                try await loaded.selfTest()
                try await loaded.start()
            } catch {
                await loaded.stop()
                throw error
            }
            return loaded
        } catch {
            throw LunetteError(
                .pluginFailed, "load the plugin \(manifest.name): \(error.message)", path: error.path, target: manifest.name,
                hint: error.hint, cause: error)
        }
    }

    /// Puts a plugin among the known that is loaded already.
    func add(_ name: String, _ manifest: Result<PluginManifest, LunetteError>, _ loaded: any LoadedPlugin, directory: String) {
        plugins[name] = Plugin(found: .init(name: name, directory: directory, manifest: manifest), status: .running, loaded: loaded)
    }

    /// Loads and starts the plugin in a folder, whose drivers come before those of the same names.
    /// - Returns: as `inspect`.
    /// - Throws: `not_found` when there is no manifest; `plugin_failed` for what is wrong with it.
    func load(directory: String) async throws(LunetteError) -> Value {
        let parts = directory.pathParts
        let parent = "/" + parts.dropLast().joined(separator: "/")
        let found = await blocking { PluginDiscovery.search([parent]) }.first { $0.directory.pathParts == parts }
        guard let found else {
            throw LunetteError(.notFound, "there is no plugin in \(directory): it has no plugin.json", target: directory)
        }
        let drivers = Set(try found.manifest.get().provides["volume"] ?? [])
        plugins = plugins.filter { entry in
            guard case .success(let manifest) = entry.value.found.manifest else { return true }
            return drivers.isDisjoint(with: manifest.provides["volume"] ?? [])
        }
        plugins[found.name] = Plugin(found: found, status: .found)
        _ = try await load(found.name)
        return try await inspect(found.name)
    }

    func shutdown() async {
        for plugin in plugins.values { await plugin.loaded?.stop() }
        plugins = [:]
    }
}
