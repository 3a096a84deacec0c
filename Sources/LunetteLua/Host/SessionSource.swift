internal import LunetteAPI
internal import LunetteSpec
internal import Synchronization

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

/// Events for one handler, and whom to tell what came of them.
final class HookBatch: Sendable {
    let subscription: String
    let events: [Value]
    let keys: [String]
    private let ended: @Sendable ([HookEnding]) -> Void
    private struct State {
        /// Of those that have not ended.
        var open: Set<Int>
        var failed: Set<String> = []
    }
    private let state: Mutex<State>

    init(subscription: String, events: [Value], keys: [String], ended: @escaping @Sendable ([HookEnding]) -> Void) {
        self.subscription = subscription
        self.events = events
        self.keys = keys
        self.ended = ended
        state = Mutex(State(open: Set(events.indices)))
    }

    func end(_ endings: [HookEnding]) {
        let new = state.withLock { state in
            for ending in endings where keys.indices.contains(ending.index) {
                if case .failed = ending.outcome { state.failed.insert(keys[ending.index]) }
            }
            return endings.filter { state.open.remove($0.index) != nil }
        }
        if !new.isEmpty { ended(new) }
    }

    var isOver: Bool { state.withLock { $0.open.isEmpty } }
    /// Whose later events are left to the engine.
    var failedKeys: Set<String> { state.withLock { $0.failed } }

    /// The state can't go on with it.
    func fail() { end(events.indices.map { HookEnding(index: $0, outcome: .failed) }) }
}

extension LuaHost {
    /// Runs as many events of a batch as fit into a moment, so that a question to the same script needn't wait for all of them.
    func callHandler(_ batch: HookBatch, from first: Int) {
        let token = tokens[ObjectIdentifier(batch)] ?? newToken()
        tokens[ObjectIdentifier(batch)] = token
        batches[token] = batch
        do {
            let results = try state.enter(
                "hook_batch",
                [
                    "subscription": .string(batch.subscription), "batch": .int(token), "first": .int(Int64(first)),
                    "failed": .array(batch.failedKeys.map(Value.string)), "events": .array(Array(batch.events[first...])),
                    "keys": .array(batch.keys[first...].map(Value.string)),
                ])
            let next = first + Int(results.first?.intValue ?? 0)
            guard next < batch.events.count, next > first else { return }
            mailbox.post { host in host.callHandler(batch, from: next) }
        } catch {
            // Out of memory in the stdlib itself: told as the handler's failure.
            endBatch(token)?.fail()
        }
    }

    /// `ended`, token, list of index and outcome in turn (true: acknowledged, false: failed, null: not run)
    func endHandlers(_ arguments: Arguments) {
        let token = arguments[0].intValue ?? 0
        guard let batch = batches[token] else { return }
        let told = arguments[1].arrayValue ?? []
        let endings = stride(from: 0, to: told.count - 1, by: 2).compactMap { place -> HookEnding? in
            guard let index = told[place].intValue else { return nil }
            let isDone = told[place + 1].boolValue
            return HookEnding(index: Int(index), outcome: isDone == true ? .acknowledged : isDone == false ? .failed : .skipped)
        }
        batch.end(endings)
        if batch.isOver { endBatch(token) }
    }

    @discardableResult
    private func endBatch(_ token: Int64) -> HookBatch? {
        guard let batch = batches.removeValue(forKey: token) else { return nil }
        tokens[ObjectIdentifier(batch)] = nil
        return batch
    }

    func callHandler(_ subscription: String, _ event: Value, _ reply: HookReply) {
        let token = newToken()
        replies[token] = reply
        var message: ValueMap = ["subscription": .string(subscription), "event": event, "reply": .int(token)]
        // In a table nil is nothing; here it says that something is taken away.
        if event["name"] == "container.update", let spec = event["spec"] { message["change"] = .text(MessagePack.encode(spec)) }
        enter("hook", .map(message))
    }

    /// `reply`, token, ok, answer or error
    func reply(_ arguments: Arguments) {
        let token = arguments[0].intValue ?? 0
        outputs[token] = nil
        guard let reply = replies.removeValue(forKey: token) else { return }
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
