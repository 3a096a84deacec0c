import LunetteAPI
internal import LunetteSpec
import Synchronization

/// One client's connection: its frames become calls of an engine session, the engine's hook calls become frames.
final class ServerSession: Sendable {
    let actor: Actor
    private let connector: any EngineConnector
    private let isDraining: @Sendable () -> Bool
    private let session = SessionBox()
    private let lookups = Turnstile(2)
    private let box: Mutex<WirePeer?> = Mutex(nil)

    var peer: WirePeer { box.withLock { $0! } }

    init(
        connection: WireConnection, limits: WireLimits, actor: Actor, connector: any EngineConnector,
        isDraining: @escaping @Sendable () -> Bool,
        ended: @escaping @Sendable (LunetteError?) -> Void
    ) {
        self.actor = actor
        self.connector = connector
        self.isDraining = isDraining
        let answer: WirePeer.Answer = { [weak self] call in
            guard let self else { return .failure(WireConnection.gone) }
            return await self.answer(call)
        }
        // A hook call that the engine gives up is given up at once: its handler's time was the engine's to give.
        let peer = WirePeer(connection: connection, limits: limits, cancelGrace: 0, answer: answer, ended: ended)
        box.withLock { $0 = peer }
    }

    func start() { peer.start() }

    /// Ends the engine's session; what this client held is released.
    func leave() async { await session.close() }

    private func answer(_ call: WirePeer.Call) async -> Result<Value, LunetteError> {
        if isDraining() { return .failure(.leaving(call.method)) }
        // What waits for something else isn't waited for: all of a client's may do so at once.
        let isLookup = APIRegistry.isLookup(call.method)
        if isLookup { await lookups.enter() }
        defer { if isLookup { lookups.leave() } }
        do throws(LunetteError) {
            let request = try APIRequest(method: call.method, params: call.params, peer: actor, freshID: RequestID.fresh)
            let receiver = RemoteReceiver(peer: peer)
            let session = try await session.get { () async throws(LunetteError) in try await self.connector.connect(receiver: receiver) }
            return .success(try await session.call(request, files: call.files, onChunk: call.chunk))
        } catch {
            // It was cut short by us, not by its caller: who has cancelled it doesn't ask again.
            return .failure(error.code == .cancelled && isDraining() ? .leaving(call.method) : error)
        }
    }
}

/// Opens the engine's session at the first call, once, and closes it once.
private actor SessionBox {
    private var session: (any EngineSession)?
    private var opening: Task<Result<any EngineSession, LunetteError>, Never>?
    private var isClosed = false

    func get(_ open: @escaping @Sendable () async throws(LunetteError) -> any EngineSession) async throws(LunetteError) -> any EngineSession
    {
        if let session { return session }
        if isClosed { throw WireConnection.gone }
        if opening == nil {
            opening = Task {
                do throws(LunetteError) { return .success(try await open()) } catch { return .failure(error) }
            }
        }
        let result = await opening!.value
        opening = nil
        let session = try result.get()
        // `close` waits for the same opening and ends what came of it.
        if isClosed { throw WireConnection.gone }
        if self.session == nil { self.session = session }
        return session
    }

    func close() async {
        isClosed = true
        if let opening, case .success(let session) = await opening.value, self.session == nil { self.session = session }
        await session?.close()
        session = nil
    }
}

/// The client's session handlers, called over its connection.
private struct RemoteReceiver: HookReceiver {
    let peer: WirePeer

    func before(subscription: String, event: Value) async throws(LunetteError) -> Value {
        try await call(WireMethod.hookBefore, subscription, event)
    }

    func on(subscription: String, event: Value) async throws(LunetteError) {
        _ = try await call(WireMethod.hookOn, subscription, event)
    }

    private func call(_ method: String, _ subscription: String, _ event: Value) async throws(LunetteError) -> Value {
        switch await peer.call(method, [.string(subscription), event]) {
        case .answer(let result): return try result.get()
        case .lost: throw LunetteError(.io, "call the handler \(subscription): its client has gone")
        }
    }
}
