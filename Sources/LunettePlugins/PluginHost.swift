public import LunetteSpec

/// Runs plugins of one transport: the Lua adapter is one, executables another. The engine asks; it never looks inside.
///
/// `load` must have no effects beyond reading the plugin's own folder (contract §5.4).
public protocol PluginHost: Sendable {
    /// The `transport` of the manifests this host runs (`lua`).
    var transport: String { get }
    /// Loads the plugin's code and validates its configuration.
    /// - Parameters:
    ///   - manifest: decoded and checked (API range, permissions) by the engine.
    ///   - directory: the plugin's folder, absolute.
    ///   - environment: what the plugin may reach.
    func load(
        _ manifest: PluginManifest, directory: String, environment: PluginEnvironment
    ) async throws(LunetteError) -> any LoadedPlugin
}

/// What the engine gives a plugin: its configuration, the permissions granted, and where it may keep files.
public struct PluginEnvironment: Sendable {
    /// Checked against `config_schema` by the host.
    public var config: Value
    /// Granted permissions, a subset of the manifest's.
    public var permissions: Set<String>
    /// A directory of the plugin's own below the root: `<root>/plugins/<name>`, for `store.*`.
    public var stateDirectory: String
    /// The directory in which this plugin's volumes live: `<root>/volumes`. Absolute; the driver's `fs.*` is confined to it.
    public var volumesDirectory: String
    /// Calls a function of the engine for the plugin; the host checks that it may. Nil: there is no engine.
    public var call: (@Sendable (_ function: String, _ arguments: Value) async throws(LunetteError) -> Value)?

    public init(config: Value, permissions: Set<String>, stateDirectory: String, volumesDirectory: String) {
        self.config = config
        self.permissions = permissions
        self.stateDirectory = stateDirectory
        self.volumesDirectory = volumesDirectory
    }
}

/// A plugin whose code is loaded: its drivers by name and its life.
public protocol LoadedPlugin: Sendable {
    /// Drivers for the extension point `volume`, by driver name.
    var volumeDrivers: [String: any VolumeDriver] { get }
    func selfTest() async throws(LunetteError)
    func start() async throws(LunetteError)
    /// Ends its tasks and closes its state; calling it twice is harmless.
    func stop() async
}
