public import LunetteAPI
public import LunetteSpec

/// Listens at the engine's socket and gives every connection a session of its own.
public final class LunetteServer: Sendable {
    private let path: String
    private let connector: any EngineConnector

    /// - Parameters:
    ///   - state: the state directory; the socket is `engine.sock` in it. The caller holds the engine's lock.
    ///   - connector: opens one session for each client, with the client as receiver of its hook calls.
    public init(state: String, connector: any EngineConnector) {
        path = state + "/engine.sock"
        self.connector = connector
    }

    /// Binds the socket and answers from then on.
    /// - Throws: `io` when the socket can't be made, `invalid_argument` when its path is too long.
    public func start() throws(LunetteError) {
        throw LunetteError(.unsupported, "listen at \(path): not built yet")
    }

    /// Takes no more clients and removes the socket; those connected stay. Answers whether any are.
    public func stopAccepting() -> Bool { false }

    /// Ends every connection; calls under way are cancelled.
    public func stop() async {}
}
