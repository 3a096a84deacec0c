public import LunetteSpec

/// Runs resident scripts of one language inside the engine: the Lua adapter. The engine asks; it never looks inside.
public protocol ResidentHost: Sendable {
    /// Loads a script, which has no effects but what it registers (contract §5.4).
    /// - Parameters:
    ///   - modules: where `require` finds what lies beside it.
    ///   - connector: how its handlers reach the engine, once they run.
    ///   - log: gets its log lines.
    /// - Throws: what is wrong with it, with the line.
    func load(
        _ script: ResidentScript, modules: any ResidentModules, connector: any EngineConnector,
        log: @escaping @Sendable (String) -> Void
    ) async throws(LunetteError) -> any LoadedScript
}

/// One file of resident code.
public struct ResidentScript: Sendable, Hashable {
    /// Short and unique: `init`, `conf.d/limits`.
    public var name: String
    /// As its errors name it: `conf.d/limits.lua`.
    public var file: String
    /// The file's bytes.
    public var source: [UInt8]
    /// What it may call, as the operator has granted it: `container.exec`, `volume.*`, `*`; nil: the whole API, as the engine's settings may.
    public var grants: [String]?
    /// What it requires, where that came with it; nil: it is the settings' own, and requires what lies beside it there.
    public var modules: [String: [UInt8]]?

    /// Names a file and what is in it; nothing is run.
    public init(name: String, file: String, source: [UInt8], grants: [String]? = nil, modules: [String: [UInt8]]? = nil) {
        self.name = name
        self.file = file
        self.source = source
        self.grants = grants
        self.modules = modules
    }

    /// Whether `lunette apply` brought it, and not a file of the settings'.
    public var isApplied: Bool { modules != nil }
}

/// What scripts of one version may `require`.
public protocol ResidentModules: Sendable {
    /// - Returns: nil when there is none of this name.
    /// - Throws: when it is there and can't be read.
    func source(of module: String) throws(LunetteError) -> [UInt8]?
}

/// A script whose code is loaded.
public protocol LoadedScript: Sendable {
    /// What it registered, in order: the arguments of `hook.register`, and `line`.
    var registrations: [Value] { get }
    /// What it wants there to be, in order: `function` (`container.apply`), its `arguments`, and `line` and `file`.
    var desired: [Value] { get }
    /// The sockets that it declared: `name path owner group mode`, `line` and `file`. Their filters are the handlers `socket/NAME` of `receiver`.
    var sockets: [Value] { get }
    /// Whether something in it happens by itself: an engine on demand has to stay for it.
    var hasTimers: Bool { get }
    /// Calls its handlers.
    var receiver: any HookReceiver { get }
    /// Lets its timers and tasks begin, and runs the `start` that it returned.
    func start() async throws(LunetteError)
    /// Waits for handlers under way, runs its `stop`, ten seconds at most, and closes its state; calling it twice is harmless.
    /// - Parameter patience: seconds that the handlers get.
    func stop(patience: Double) async
}

/// A module's name as `require` has it: dots are folders, and nothing else of a path passes.
public enum ModuleName {
    /// The files that it may stand for, below a folder, in the order of Lua's own searchers: `a.b` is `a/b.lua` or `a/b/init.lua`.
    /// - Throws: `invalid_argument` for what is no module's name.
    public static func candidates(_ name: String) throws(LunetteError) -> [String] {
        let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isName = parts.allSatisfy { part in
            !part.isEmpty
                && part.allSatisfy { byte in
                    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
                }
        }
        guard isName else { throw LunetteError(.invalidArgument, "\"\(displayable(name, limit: 80))\" is not a module's name") }
        let path = String(name.map { $0 == "." ? "/" : $0 })
        return ["\(path).lua", "\(path)/init.lua"]
    }
}
