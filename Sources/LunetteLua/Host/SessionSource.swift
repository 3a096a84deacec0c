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
    private let answer: @Sendable (Result<Value, LunetteError>) -> Void
    init(_ continuation: CheckedContinuation<Result<Value, LunetteError>, Never>) { answer = { continuation.resume(returning: $0) } }
    init(_ answer: @escaping @Sendable (Result<Value, LunetteError>) -> Void) { self.answer = answer }
    func succeed(_ value: Value) { answer(.success(value)) }
    func fail(_ error: LunetteError) { answer(.failure(error)) }
}

extension LuaHost {
    func callHandler(_ subscription: String, _ event: Value, _ reply: HookReply) {
        let token = newToken()
        replies[token] = reply
        enter("hook", ["subscription": .string(subscription), "event": event, "reply": .int(token)])
    }

    /// `reply`, token, ok, answer or error
    func reply(_ arguments: Arguments) {
        guard let reply = replies.removeValue(forKey: arguments[0].intValue ?? 0) else { return }
        let isOK = arguments[1].boolValue == true
        // A text of limited code goes to somebody's terminal, and into events.
        if budget != nil, isOK, case .map(var answer) = arguments[2], let reason = answer["deny"]?.stringValue {
            answer["deny"] = .string(LogAllowance.shortened(reason))
            return reply.succeed(.map(answer))
        }
        if isOK { return reply.succeed(arguments[2]) }
        var error = LunetteError(value: arguments[2])
        if budget != nil { error.message = LogAllowance.shortened(error.message) }
        reply.fail(error)
    }
}
