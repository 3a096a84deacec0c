import Glibc
public import LunetteAPI
import LunetteLinux
public import LunettePlugins

/// Says where an engine keeps its state and what it may use: all that `Engine.open` needs.
public struct EngineConfiguration: Sendable {
    /// Durable state (`--root`, `LUNETTE_ROOT`): database, images, volumes.
    public var root: String
    /// State that a reboot may clear (`--state`, `LUNETTE_STATE`): sockets, launch plans, exit records.
    public var state: String
    /// `registries.json`, `certs.d` (`--config`, `LUNETTE_CONFIG`).
    public var configuration: String
    /// The `lunette-shim` binary; nil looks at `LUNETTE_SHIM`, beside the running program, then in `../lib/lunette`.
    public var shimPath: String?
    /// Folders that hold plugin folders, first match wins.
    public var pluginDirectories: [String]
    /// One per transport; the executable wires the Lua adapter in here.
    public var pluginHosts: [any PluginHost]
    /// Runs `init.lua` and `conf.d/*.lua` of the settings' folder; the executable wires the Lua adapter in here. Nil: there is no resident code.
    public var residentHost: (any ResidentHost)?
    /// Leaves resident code out (`--skip-scripts`).
    public var skipsScripts = false
    /// Gets what resident code logs, a line each.
    public var log: (@Sendable (String) -> Void)?
    /// How many events are kept before the oldest go.
    public var eventLimit: Int
    /// How many call outcomes are kept for repeated request ids.
    public var outcomeLimit: Int

    public init(
        root: String = "/var/lib/lunette", state: String = "/run/lunette", configuration: String? = nil, shimPath: String? = nil,
        pluginDirectories: [String]? = nil, pluginHosts: [any PluginHost] = [], eventLimit: Int = 10_000, outcomeLimit: Int = 2_000
    ) {
        self.root = root
        self.state = state
        self.configuration = configuration ?? Environment["LUNETTE_CONFIG"] ?? "/etc/lunette"
        self.shimPath = shimPath
        // Now: a thread in a mount namespace of its own is told another path of the program when that lies on a mount below `/`.
        self.pluginDirectories = pluginDirectories ?? Self.defaultPluginDirectories(root: root)
        self.pluginHosts = pluginHosts
        self.eventLimit = eventLimit
        self.outcomeLimit = outcomeLimit
    }

    /// `LUNETTE_PLUGINS` (colon-separated) when set, else `plugins` beside the program or in `../lib/lunette`, the source tree's
    /// `plugins` when it runs from a build folder, and `<root>/plugins`.
    public static func defaultPluginDirectories(root: String) -> [String] {
        if let list = Environment["LUNETTE_PLUGINS"] { return list.split(separator: ":").map(String.init) }
        var directories: [String] = []
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        if length > 0 {
            let program = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let folder = parent(program)
            directories += ["\(folder)/plugins", "\(parent(folder))/lib/lunette/plugins"]
            // `.build/<triple>/<configuration>/lunette`: the tree that was built stands three folders up.
            if let build = folder.range(of: "/.build/") { directories.append(String(folder[..<build.lowerBound]) + "/plugins") }
        }
        return directories + ["\(root)/plugins"]
    }

    private static func parent(_ path: String) -> String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "" }
}

extension String {
    /// Foundation's `range(of:)` for one literal; the engine does without Foundation here.
    fileprivate func range(of text: String) -> Range<String.Index>? { ranges(of: text).first }
}
