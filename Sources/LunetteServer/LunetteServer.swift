internal import Glibc
public import LunetteAPI
public import LunetteSpec
import Synchronization

/// Listens at the engine's socket and gives every connection a session of its own.
///
/// One thread reads for all of them and never blocks; calls run as tasks. A client that vanishes loses its session, one that stops
/// reading has its streams held back and, with answers waiting, is dropped after half a minute: neither holds up another.
public final class LunetteServer: Sendable {
    private struct State {
        var listener: Int32 = -1
        var token: UInt64 = 0
        var next = 1
        var sessions: [Int: ServerSession] = [:]
        /// Sessions whose connection has ended and whose calls are being undone.
        var leaving = 0
        var loop: WireLoop?
    }

    private let path: String
    private let connector: any EngineConnector
    private let maximumClients: Int
    private let limits: WireLimits
    private let log: @Sendable (String) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - state: the state directory; the socket is `engine.sock` in it. The caller holds the engine's lock.
    ///   - connector: opens one session for each client, with the client as receiver of its hook calls.
    ///   - maximumClients: one more is told `resource_exhausted` and let go.
    ///   - log: takes one line for each thing an operator should know of.
    public convenience init(
        state: String, connector: any EngineConnector, maximumClients: Int = 512, log: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.init(state: state, connector: connector, maximumClients: maximumClients, limits: .engine, log: log)
    }

    package init(
        state: String, connector: any EngineConnector, maximumClients: Int, limits: WireLimits, log: @escaping @Sendable (String) -> Void
    ) {
        path = state + "/engine.sock"
        self.connector = connector
        self.maximumClients = maximumClients
        self.limits = limits
        self.log = log
    }

    /// How many clients are connected or still being taken leave of.
    public var clients: Int { state.withLock { $0.sessions.count + $0.leaving } }

    /// Binds the socket and answers from then on.
    /// - Throws: `io` when the socket can't be made, `invalid_argument` when its path is too long.
    public func start() throws(LunetteError) {
        let listener = try WireSocket.listen(path)
        let loop: WireLoop
        do throws(LunetteError) { loop = try WireLoop() } catch {
            close(listener)
            throw error
        }
        state.withLock { state in
            state.listener = listener
            state.loop = loop
            state.token = loop.add(listener, .read) { [weak self] _ in self?.accept() }
        }
        loop.everySecond { [weak self] in
            guard let self else { return }
            for session in self.state.withLock({ Array($0.sessions.values) }) { session.peer.tick() }
        }
    }

    private func accept() {
        while true {
            let listener = state.withLock { $0.listener }
            guard listener >= 0 else { return }
            do throws(LunetteError) {
                guard let fd = try WireSocket.accept(listener) else { return }
                try admit(fd)
            } catch {
                // Out of descriptors: those who wait stay in the backlog until someone leaves.
                log(error.description)
                return
            }
        }
    }

    private func admit(_ fd: Int32) throws(LunetteError) {
        guard let loop = state.withLock({ $0.loop }) else {
            close(fd)
            return
        }
        let actor: Actor
        do throws(LunetteError) { actor = try WireSocket.peer(of: fd) } catch {
            close(fd)
            throw error
        }
        let number = state.withLock { state in
            defer { state.next += 1 }
            return state.next
        }
        let connection = WireConnection(fd: fd, loop: loop, limits: limits)
        let session = ServerSession(
            connection: connection, limits: limits, actor: actor, connector: connector,
            ended: { [weak self] why in self?.left(number, why) })
        var refusal: LunetteError?
        if actor.uid != geteuid() && actor.uid != 0 {
            refusal = LunetteError(.denied, "connect to the engine: it belongs to uid \(geteuid())")
        }
        state.withLock { state in
            if state.sessions.count >= maximumClients {
                refusal = LunetteError(.resourceExhausted, "connect to the engine: \(maximumClients) clients are connected")
            }
            state.sessions[number] = session
        }
        session.start()
        if let refusal { session.peer.refuse(refusal) }
    }

    private func left(_ number: Int, _ why: LunetteError?) {
        let session = state.withLock { state -> ServerSession? in
            guard let session = state.sessions.removeValue(forKey: number) else { return nil }
            state.leaving += 1
            return session
        }
        guard let session else { return }
        if let why { log("client \(session.actor.pid): \(why)") }
        Task {
            await session.leave()
            state.withLock { $0.leaving -= 1 }
        }
    }

    /// Stops listening if nobody is connected, for an engine on demand that has nothing left to do.
    ///
    /// A client that connects in the very moment finds its connection ended, and asks the next engine with the same request id.
    /// - Returns: false when a client is there; then nothing has changed.
    public func stopIfIdle() -> Bool {
        accept()
        guard clients == 0 else { return false }
        stopListening()
        return true
    }

    /// Takes no more clients and removes the socket; those connected stay.
    public func stopListening() {
        let listener = state.withLock { state in
            if state.token != 0 { state.loop?.remove(state.token) }
            defer { (state.listener, state.token) = (-1, 0) }
            return state.listener
        }
        guard listener >= 0 else { return }
        // The path goes first: who finds none starts a new engine, which waits for this one's lock to go.
        unlink(path)
        close(listener)
    }

    /// Ends every connection; calls under way are cancelled.
    public func stop() async {
        stopListening()
        let sessions = state.withLock { state in
            defer { state.sessions = [:] }
            return Array(state.sessions.values)
        }
        for session in sessions { session.peer.close() }
        for session in sessions { await session.leave() }
        state.withLock { state in
            state.loop?.stop()
            state.loop = nil
        }
    }
}
