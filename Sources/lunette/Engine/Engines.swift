import LunetteAPI
import LunetteEngine
import LunetteLua
import LunettePlugins
import LunetteSpec

/// Makes the connectors that commands and scripts reach an engine by.
enum Engines {
    static func connector(_ settings: Settings) async throws(LunetteError) -> any EngineConnector {
        try UserPlaces.verify(settings)
        if settings.inProcess { return try await open(settings) }
        return settings.client
    }

    /// Opens the engine in this process; it takes the lock of the state directory.
    static func open(_ settings: Settings) async throws(LunetteError) -> Engine {
        try await Engine.open(
            EngineConfiguration(
                root: settings.root, state: settings.state, configuration: settings.configuration, pluginHosts: pluginHosts()))
    }

    /// The languages that plugins may be written in.
    static func pluginHosts() -> [any PluginHost] { [LuaPluginHost()] }

    /// Ends an engine of this process; a connection needs nothing.
    static func close(_ connector: any EngineConnector) async {
        if let engine = connector as? Engine { await engine.close() }
    }
}
