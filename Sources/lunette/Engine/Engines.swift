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
    /// - Parameters:
    ///   - skipsScripts: without resident code.
    ///   - log: gets the lines that resident code logs; stderr without it.
    static func open(
        _ settings: Settings, skipsScripts: Bool = false, log: (@Sendable (String) -> Void)? = nil
    ) async throws(LunetteError) -> Engine {
        var configuration = EngineConfiguration(
            root: settings.root, state: settings.state, configuration: settings.configuration, pluginHosts: pluginHosts())
        configuration.residentHost = LuaResidentHost()
        configuration.skipsScripts = skipsScripts
        configuration.log = log ?? { Output.write(2, Array("\(Text.safe($0))\n".utf8)) }
        return try await Engine.open(configuration)
    }

    /// The languages that plugins may be written in.
    static func pluginHosts() -> [any PluginHost] { [LuaPluginHost()] }

    /// Ends an engine of this process; a connection needs nothing.
    static func close(_ connector: any EngineConnector) async {
        if let engine = connector as? Engine { await engine.close() }
    }
}
