internal import Glibc
internal import LunetteSpec

/// Keeps the connection to whichever engine lives now; all calls of a session share it.
actor EngineLink {
    private let socket: String
    private let start: EngineStart?
    private let receiver: (any HookReceiver)?
    private var current: WirePeer?
    private var opening: Task<Result<WirePeer, LunetteError>, Never>?
    private var loop: WireLoop?
    private var isClosed = false
    private var wasConnected = false
    private var isLookingForNext = false
    /// The session's handlers in the order in which they came: each new engine is told of them.
    private var handlers: [(subscription: String, request: APIRequest)] = []
    /// What the present engine calls a subscription, when that isn't the client's own id.
    private var names: [String: String] = [:]

    init(socket: String, start: EngineStart?, receiver: (any HookReceiver)?) {
        self.socket = socket
        self.start = start
        self.receiver = receiver
    }

    /// The peer to call; connects, and starts an engine, when there is none.
    func peer() async throws(LunetteError) -> WirePeer {
        if isClosed { throw LunetteError(.cancelled, "call the engine: the session is closed") }
        if let current, !current.hasEnded { return current }
        if opening == nil {
            current = nil
            opening = Task { await self.open() }
        }
        let result = await opening!.value
        return try result.get()
    }

    /// Drops a connection that was seen to end.
    func lost(_ peer: WirePeer) {
        if current === peer { current = nil }
    }

    func close() {
        isClosed = true
        current?.close()
        current = nil
        loop?.stop()
        loop = nil
    }

    private func open() async -> Result<WirePeer, LunetteError> {
        defer { opening = nil }
        do throws(LunetteError) {
            let fd = try await EngineStarter(socket: socket, start: start, nextPatience: wasConnected ? 10 : 0).connected()
            wasConnected = true
            if isClosed {
                Glibc.close(fd)
                throw LunetteError(.cancelled, "call the engine: the session is closed")
            }
            if self.loop == nil { self.loop = try WireLoop() }
            let loop = self.loop!
            let connection = WireConnection(fd: fd, loop: loop, limits: .client)
            let peer = WirePeer(
                connection: connection, limits: .client, cancelGrace: 10,
                answer: { [weak self] call in await self?.answer(call) ?? .failure(WireConnection.gone) },
                ended: { [weak self] _ in Task { await self?.offerToNext() } })
            loop.everySecond { [weak peer] in peer?.tick() }
            peer.start()
            names = [:]
            do throws(LunetteError) {
                for handler in handlers { try await register(handler.request, handler.subscription, with: peer) }
            } catch {
                peer.close()
                throw error
            }
            current = peer
            return .success(peer)
        } catch {
            return .failure(error)
        }
    }

    /// Finds the next engine as soon as one has ended, when there are handlers to offer: a script that waits for nothing but
    /// them makes no call that would, and its `before` would gate nothing from then on.
    private func offerToNext() async {
        guard !isLookingForNext else { return }
        isLookingForNext = true
        defer { isLookingForNext = false }
        var pause = 0.1
        while !isClosed, !handlers.isEmpty {
            do throws(LunetteError) {
                _ = try await peer()
                return
            } catch {
                // An engine that can't start may be mended meanwhile; whoever calls it is told why.
            }
            try? await Task.sleep(for: .seconds(pause))  // Nobody cancels this task.
            pause = min(pause * 2, 10)
        }
    }

    /// Offers a handler to a new engine. With an id of its own: the old engine's outcome must not stand for it.
    private func register(_ request: APIRequest, _ subscription: String, with peer: WirePeer) async throws(LunetteError) {
        var fresh = request
        fresh.id = RequestID.fresh()
        switch await peer.call(fresh.function, [fresh.arguments, fresh.context(files: 0, credit: nil)]) {
        case .answer(.success(let value)): name(value, subscription)
        case .answer(.failure(let error)): throw error
        case .lost: throw LunetteError(.io, "offer a handler to the engine: it ended meanwhile")
        }
    }

    private func name(_ answer: Value, _ subscription: String) {
        if let name = answer["subscription"]?.stringValue, name != subscription { names[name] = subscription }
    }

    /// Remembers what of a call's success must be made good with another engine.
    func note(_ request: APIRequest, answered value: Value) {
        switch request.function {
        case "hook.register":
            guard let subscription = request.arguments["subscription"]?.stringValue ?? value["subscription"]?.stringValue else { return }
            handlers.removeAll { $0.subscription == subscription }
            handlers.append((subscription, request))
            name(value, subscription)
        case "hook.unregister":
            let subscription = request.arguments["subscription"]?.stringValue
            handlers.removeAll { $0.subscription == subscription }
        default: break
        }
    }

    private func answer(_ call: WirePeer.Call) async -> Result<Value, LunetteError> {
        guard let receiver, call.params.count == 2, let name = call.params[0].stringValue else {
            return .failure(LunetteError(.unsupported, "call \(call.method) of a client: it offers no such thing"))
        }
        let subscription = names[name] ?? name
        do throws(LunetteError) {
            switch call.method {
            case WireMethod.hookBefore: return .success(try await receiver.before(subscription: subscription, event: call.params[1]))
            case WireMethod.hookOn:
                try await receiver.on(subscription: subscription, event: call.params[1])
                return .success(.null)
            default: throw LunetteError(.unsupported, "call \(call.method) of a client: it offers no such thing")
            }
        } catch {
            return .failure(error)
        }
    }
}

/// Makes request ids: 128 random bits in hexadecimal.
public enum RequestID {
    /// Makes an id that no other request has.
    public static func fresh() -> String {
        func hex(_ number: UInt64) -> String {
            let text = String(number, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        var generator = SystemRandomNumberGenerator()
        return hex(generator.next()) + hex(generator.next())
    }
}
