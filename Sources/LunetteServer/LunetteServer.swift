internal import Glibc
public import LunetteAPI
package import LunetteLinux
public import LunetteSpec
import Synchronization

/// Listens at the engine's sockets and gives every connection a session of its own.
///
/// One thread reads for all of them and never blocks; calls run as tasks. A client that vanishes loses its session, one that stops
/// reading has its streams held back and, with answers waiting, is dropped after half a minute: neither holds up another.
public final class LunetteServer: Sendable {
    struct State {
        var listeners: [Listener] = []
        /// Sockets that systemd has opened and no script has declared yet, by name.
        var passed: [String: Int32] = [:]
        var next = 1
        var sessions: [Int: ServerSession] = [:]
        /// Of users of scripts' sockets.
        var shares: [UInt32: WireShare] = [:]
        /// Sessions whose connection has ended and whose calls are being undone.
        var leaving = 0
        var loop: WireLoop?
        var isDraining = false
    }

    let path: String
    private let connector: any EngineConnector
    private let maximumClients: Int
    private let limits: WireLimits
    let log: @Sendable (String) -> Void
    let state = Mutex(State())
    private let refused = Mutex<(@Sendable (Actor, LunetteError) -> Void)?>(nil)
    /// Of clients that weren't understood.
    private let mishaps = Mutex(LineAllowance(perMinute: 10))
    /// Of one user at the scripts' sockets: nobody takes all places.
    private static let maximumGuests = 64
    /// What the calls under way of one such user may be, over all connections.
    private static let maximumGuestCalls = 256
    private static let maximumGuestSize = WireSize(bytes: 16 << 20, values: 100_000)

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

    /// How many of those connected are other processes: an engine that looks after itself is a client of its own.
    public var otherClients: Int { state.withLock { state in state.sessions.values.count { $0.actor.pid != getpid() } } }

    /// Hears of those who aren't let in, for the audit log.
    public func onRefusal(_ refused: @escaping @Sendable (Actor, LunetteError) -> Void) { self.refused.withLock { $0 = refused } }

    /// Binds the socket and answers from then on.
    /// - Throws: `io` when the socket can't be made, `invalid_argument` when its path is too long.
    public func start() throws(LunetteError) { try start(passed: []) }

    /// The same, at the sockets that systemd has opened: the one without a name of its own is the engine's, the others wait for the
    /// script that declares them (`use`).
    /// - Throws: `invalid_argument` for one that isn't the engine's socket and has no name.
    package func start(passed: [ServiceManager.PassedSocket]) throws(LunetteError) {
        var main: Int32?
        var named: [String: Int32] = [:]
        for socket in passed {
            let place = ListeningSocket.path(of: socket.descriptor)
            if let place, LunetteServer.isSameFile(place, path), main == nil {
                main = socket.descriptor
            } else if place != nil, named[socket.name] == nil, socket.name != "unknown", !socket.name.hasSuffix(".socket") {
                named[socket.name] = socket.descriptor
            } else {
                throw LunetteError(
                    .invalidArgument,
                    "take the socket \(displayable(socket.name, limit: 80)) of systemd\(place.map { ": \(displayable($0))" } ?? "") is neither \(path) nor has a name of its own",
                    hint: "ListenStream=\(path), or FileDescriptorName= with the name that a resident script gives it")
            }
        }
        let loop = try WireLoop()
        state.withLock { state in
            state.loop = loop
            state.passed = named
        }
        let descriptor: Int32
        if let main { descriptor = main } else { descriptor = try WireSocket.listen(path) }
        add(Listener(socket: nil, path: path, descriptor: descriptor, isPassed: main != nil))
        loop.everySecond { [weak self] in
            guard let self else { return }
            for session in self.state.withLock({ Array($0.sessions.values) }) { session.peer.tick() }
        }
    }

    private static func isSameFile(_ one: String, _ other: String) -> Bool {
        if one == other { return true }
        var (first, second) = (stat(), stat())
        return stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    func add(_ listener: Listener) {
        state.withLock { state in
            guard let loop = state.loop else { return listener.close() }
            var listener = listener
            let (descriptor, socket) = (listener.descriptor, listener.socket)
            listener.token = loop.add(descriptor, .read) { [weak self] _ in self?.accept(descriptor, socket) }
            state.listeners.append(listener)
        }
    }

    func remove(_ listener: Listener) {
        state.withLock { state in
            state.loop?.remove(listener.token)
            state.listeners.removeAll { $0.token == listener.token }
        }
        listener.close()
    }

    private func accept(_ descriptor: Int32, _ socket: EngineSocket?) {
        while true {
            // Under the lock: what is closed is no listener any more, and its number may be somebody else's.
            let accepted = state.withLock { state -> Result<Int32?, LunetteError> in
                guard state.listeners.contains(where: { $0.descriptor == descriptor }), !state.isDraining else { return .success(nil) }
                do throws(LunetteError) { return .success(try WireSocket.accept(descriptor)) } catch { return .failure(error) }
            }
            do throws(LunetteError) {
                guard let fd = try accepted.get() else { return }
                try admit(fd, socket)
            } catch {
                // Out of descriptors: those who wait stay in the backlog until someone leaves.
                log(error.description)
                return
            }
        }
    }

    private func admit(_ fd: Int32, _ socket: EngineSocket?) throws(LunetteError) {
        guard let loop = state.withLock({ $0.loop }) else {
            close(fd)
            return
        }
        var actor: Actor
        do throws(LunetteError) { actor = try WireSocket.peer(of: fd) } catch {
            close(fd)
            throw error
        }
        actor.socket = socket?.name
        let number = state.withLock { state in
            defer { state.next += 1 }
            return state.next
        }
        let limits = socket == nil ? self.limits : .guest
        let connection = WireConnection(fd: fd, loop: loop, limits: limits)
        let session = ServerSession(
            connection: connection, limits: limits, share: socket == nil ? nil : share(of: actor.uid), actor: actor, connector: connector,
            isDraining: { [weak self] in self?.state.withLock { $0.isDraining } ?? true },
            ended: { [weak self] why in self?.left(number, why) })
        var refusal: LunetteError?
        // The file's mode says who may use a script's socket, and its filter what for.
        if socket == nil, actor.uid != geteuid() && actor.uid != 0 {
            refusal = LunetteError(.denied, "connect to the engine: it belongs to uid \(geteuid())")
            refused.withLock { $0 }?(actor, refusal!)
        }
        state.withLock { state in
            if state.sessions.count >= maximumClients {
                refusal = LunetteError(.resourceExhausted, "connect to the engine: \(maximumClients) clients are connected")
            } else if let socket {
                // A user is one user at however many sockets.
                let same = state.sessions.values.count { $0.actor.socket != nil && $0.actor.uid == actor.uid }
                if same >= LunetteServer.maximumGuests {
                    refusal = LunetteError(
                        .resourceExhausted,
                        "connect to the socket \(socket.name): \(same) clients of uid \(actor.uid) are connected to scripts' sockets")
                }
            }
            state.sessions[number] = session
        }
        session.start()
        if let refusal { session.peer.refuse(refusal) }
    }

    private func share(of uid: UInt32) -> WireShare {
        state.withLock { state in
            if let share = state.shares[uid] { return share }
            // Those whose users have gone, and whose calls have ended.
            let present = Set(state.sessions.values.filter { $0.actor.socket != nil }.map(\.actor.uid))
            state.shares = state.shares.filter { present.contains($0.key) || !$0.value.isFree }
            let share = WireShare(calls: Self.maximumGuestCalls, size: Self.maximumGuestSize)
            state.shares[uid] = share
            return share
        }
    }

    private func left(_ number: Int, _ why: LunetteError?) {
        let session = state.withLock { state -> ServerSession? in
            guard let session = state.sessions.removeValue(forKey: number) else { return nil }
            state.leaving += 1
            return session
        }
        guard let session else { return }
        // Ten in a minute of one user: a log isn't to be filled from outside.
        if let why, let leftOut = mishaps.withLock({ $0.admit(String(session.actor.uid), at: Double(time(nil))) }) {
            let more = leftOut > 0 ? " (and \(leftOut) more of uid \(session.actor.uid))" : ""
            log("client \(session.actor.pid): \(why)\(more)")
        }
        Task {
            await session.leave()
            state.withLock { $0.leaving -= 1 }
        }
    }
}
