public import LunetteSpec

/// Describes a plugin as `plugin.json` does; read without running its code.
public struct PluginManifest: Sendable, Hashable {
    public enum Transport: String, Sendable, CaseIterable { case lua, cni, docker, executable }
    public enum Isolation: String, Sendable, CaseIterable { case engine, process }
    public enum OnFailure: String, Sendable, CaseIterable { case deny, ignore, lastGood = "last_good" }

    public var name: String
    public var version: String
    /// The range of API versions it works with (`"1"`, `">=1 <3"`).
    public var api: String
    /// The file that is loaded, relative to the plugin's folder.
    public var entry: String
    public var summary: String
    /// Extension point → the driver, event or command names it serves.
    public var provides: [String: [String]]
    public var permissions: [String]
    /// Plugin name → version range.
    public var requires: [String: String]
    public var configSchema: Value
    public var transport: Transport
    public var isolation: Isolation
    /// Function name → seconds.
    public var timeouts: [String: Double]
    /// Extension point → what a failure means; `deny` where it says nothing.
    public var onFailure: [String: OnFailure]

    public static let points = ["network", "volume", "scheduler", "hook", "command"]
    /// The API version this engine speaks.
    public static let apiVersion = 1
}
