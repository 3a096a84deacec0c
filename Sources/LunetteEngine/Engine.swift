public import LunetteAPI
public import LunetteSpec

/// The owner of one state directory: a single writer that runs containers, images and volumes for its sessions.
///
/// One engine per state directory, kept by a lock on `<state>/lock`. Open it, connect sessions, close it; a killed engine leaves
/// nothing that the next `open` doesn't adopt or sweep.
public final class Engine: EngineConnector {
    public let configuration: EngineConfiguration

    init(configuration: EngineConfiguration) {
        self.configuration = configuration
    }

    /// Takes the state directory's lock, migrates the database, recovers what a dead engine left, loads plugins.
    /// - Throws: `conflict` when another engine holds the directory; `io` when it can't be written or the database is damaged;
    ///   `unsupported` when the database is from a newer Lunette.
    public static func open(_ configuration: EngineConfiguration) async throws(LunetteError) -> Engine {
        Engine(configuration: configuration)
    }

    /// Opens a session in process. Each request's `actor` is trusted: the server fills it in from the socket's peer.
    public func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        throw LunetteError(.unsupported, "not yet")
    }

    /// Why this engine can't leave now, besides connected sessions: `restart policy of web`, `time limit of job` …; sorted.
    public func stayReasons() async -> [String] { [] }

    /// Returns when no session was connected and no reason to stay was held for `linger` seconds; for `--on-demand`.
    ///
    /// The caller then stops accepting, checks `isIdle` once more, and calls `close`.
    public func waitUntilIdle(linger: Double) async {}

    /// Whether no session is connected and no reason to stay is held.
    public func isIdle() async -> Bool { true }

    /// Ends sessions, waits for teardown under way, writes the database back and drops the lock. Containers go on.
    public func close() async {}
}
