public import LunettePlugins

/// Says where an engine keeps its state and what it may use: all that `Engine.open` needs.
public struct EngineConfiguration: Sendable {
    /// Durable state (`--root`, `LUNETTE_ROOT`): database, images, volumes.
    public var root: String
    /// State that a reboot may clear (`--state`, `LUNETTE_STATE`): sockets, launch plans, exit records.
    public var state: String
    /// The `lunette-shim` binary; nil looks beside the running program, then in `../libexec/lunette`.
    public var shimPath: String?
    /// Folders that hold plugin folders, first match wins. Nil means `EngineConfiguration.defaultPluginDirectories`.
    public var pluginDirectories: [String]?
    /// One per transport; the executable wires the Lua adapter in here.
    public var pluginHosts: [any PluginHost]
    /// How many events are kept before the oldest go.
    public var eventLimit: Int
    /// How many call outcomes are kept for repeated request ids.
    public var outcomeLimit: Int

    public init(
        root: String = "/var/lib/lunette", state: String = "/run/lunette", shimPath: String? = nil, pluginDirectories: [String]? = nil,
        pluginHosts: [any PluginHost] = [], eventLimit: Int = 10_000, outcomeLimit: Int = 2_000
    ) {
        self.root = root
        self.state = state
        self.shimPath = shimPath
        self.pluginDirectories = pluginDirectories
        self.pluginHosts = pluginHosts
        self.eventLimit = eventLimit
        self.outcomeLimit = outcomeLimit
    }
}
