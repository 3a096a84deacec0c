internal import LunetteAPI
internal import LunetteSpec

/// Opens the session with the engine when the first call needs it; calls at once share one.
actor SessionSource {
    private let connector: (any EngineConnector)?
    private let mailbox: Mailbox
    private var opening: Task<Result<any EngineSession, LunetteError>, Never>?

    init(connector: (any EngineConnector)?, mailbox: Mailbox) {
        self.connector = connector
        self.mailbox = mailbox
    }

    func session() async throws(LunetteError) -> any EngineSession {
        if let opening {
            if case .success(let session) = await opening.value { return session }
        }
        guard let connector else { throw LunetteError(.invalidState, "there is no engine here to call") }
        let receiver = LuaHookReceiver(mailbox: mailbox)
        let task = Task { () async -> Result<any EngineSession, LunetteError> in
            do throws(LunetteError) { return .success(try await connector.connect(receiver: receiver)) } catch { return .failure(error) }
        }
        opening = task
        return try await task.value.get()
    }

    func close() async {
        guard let opening else { return }
        self.opening = nil
        if case .success(let session) = await opening.value { await session.close() }
    }
}

/// Brings the engine's hook calls to the Lua thread.
struct LuaHookReceiver: HookReceiver {
    let mailbox: Mailbox

    func before(subscription: String, event: Value) async throws(LunetteError) -> Value {
        try await call(subscription, event)
    }

    func on(subscription: String, event: Value) async throws(LunetteError) {
        _ = try await call(subscription, event)
    }

    private func call(_ subscription: String, _ event: Value) async throws(LunetteError) -> Value {
        let result: Result<Value, LunetteError> = await withCheckedContinuation { continuation in
            mailbox.post { host in host.callHandler(subscription, event, HookReply(continuation)) }
        }
        return try result.get()
    }
}

/// Answers one hook call, once.
struct HookReply {
    private let continuation: CheckedContinuation<Result<Value, LunetteError>, Never>
    init(_ continuation: CheckedContinuation<Result<Value, LunetteError>, Never>) { self.continuation = continuation }
    func succeed(_ value: Value) { continuation.resume(returning: .success(value)) }
    func fail(_ error: LunetteError) { continuation.resume(returning: .failure(error)) }
}

extension LuaHost {
    func callHandler(_ subscription: String, _ event: Value, _ reply: HookReply) {
        let token = newToken()
        replies[token] = reply
        enter("hook", ["subscription": .string(subscription), "event": event, "reply": .int(token)])
    }

    /// `reply`, token, ok, answer or error
    func reply(_ arguments: Arguments) {
        let token = arguments[0].intValue ?? 0
        outputs[token] = nil
        guard let reply = replies.removeValue(forKey: token) else { return }
        if arguments[1].boolValue == true { reply.succeed(arguments[2]) } else { reply.fail(LunetteError(value: arguments[2])) }
    }
}
