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
    public var source: [UInt8]

    public init(name: String, file: String, source: [UInt8]) {
        self.name = name
        self.file = file
        self.source = source
    }
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
    /// Whether something in it happens by itself: an engine on demand has to stay for it.
    var hasTimers: Bool { get }
    /// Calls its handlers.
    var receiver: any HookReceiver { get }
    /// Lets its timers and tasks begin, and runs the `start` that it returned.
    func start() async throws(LunetteError)
    /// Waits for handlers under way, ten seconds at most, runs its `stop` and closes its state; calling it twice is harmless.
    func stop() async
}
