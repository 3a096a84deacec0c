public import LunetteSpec

/// Says how to start an engine when none listens: the program to run, which must be a `lunette`.
public struct EngineStart: Sendable {
    /// Absolute path of the program; `/proc/self/exe` when this process is one itself.
    public var executable: String
    /// What follows the program's name, before `daemon --on-demand` (`--root`, `--state`).
    public var arguments: [String]

    public init(executable: String = "/proc/self/exe", arguments: [String]) {
        self.executable = executable
        self.arguments = arguments
    }
}

/// Reaches the engine over its socket, starts it when it isn't there, and outlives its death: calls under way are repeated by their id.
public struct EngineClient: EngineConnector {
    private let socket: String
    private let start: EngineStart?

    /// - Parameters:
    ///   - state: the state directory, in which the engine listens at `engine.sock`.
    ///   - start: how to start an engine; nil: the calls fail with `io` when there is none.
    public init(state: String, start: EngineStart?) {
        socket = state + "/engine.sock"
        self.start = start
    }

    /// Reaches an engine at another of its sockets; none is started.
    /// - Parameter socket: its path.
    public init(socket: String) {
        self.socket = socket
        start = nil
    }

    /// Opens a session. The engine is contacted, and started, at the first call and not before.
    public func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        EngineClientSession(link: EngineLink(socket: socket, start: start, receiver: receiver))
    }
}
