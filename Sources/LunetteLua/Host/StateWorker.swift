internal import LunetteSpec
internal import Synchronization

/// Carries calls to a Lua state that runs on a thread of its own until it is stopped: a plugin's, or a resident script's.
final class StateWorker: Sendable {
    /// Whose code it is, for errors.
    enum Owner: Sendable {
        case plugin(String)
        case script(String)

        var label: String {
            switch self {
            case .plugin(let name): "plugin \(name)"
            case .script(let file): file
            }
        }

        /// A plugin's own error objects stay as they are; any other failure is `plugin_failed`.
        var failureCode: ErrorCode? { if case .plugin = self { .pluginFailed } else { nil } }
    }

    private let owner: Owner
    private let mailbox: Mailbox
    private struct State {
        var isStopped = false
        /// Handlers under way.
        var handling = 0
        var drained: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    private init(_ owner: Owner, mailbox: Mailbox) {
        self.owner = owner
        self.mailbox = mailbox
    }

    /// Opens the state.
    static func start(_ owner: Owner, _ options: LuaHost.Options) async throws(LunetteError) -> StateWorker {
        let result: Result<Mailbox, LunetteError> = await withCheckedContinuation { continuation in
            onOwnThread {
                let host: LuaHost
                do throws(LunetteError) {
                    host = try LuaHost(options)
                } catch {
                    continuation.resume(returning: .failure(error))
                    return
                }
                host.isServing = true
                host.onLog = options.log
                continuation.resume(returning: .success(host.mailbox))
                while host.isServing { host.pump() }
                // What was posted before the stop is answered: with an error, by `close`.
                while let work = host.mailbox.next(until: 0) { work(host) }
                waitFor { await host.close() }
            }
        }
        return StateWorker(owner, mailbox: try result.get())
    }

    /// Calls an entry of the state's stdlib and waits for its answer.
    /// - Parameter onOutput: gets what the code prints meanwhile; called on the state's thread.
    /// - Throws: the code's own error objects as they are; of a plugin any other failure as `plugin_failed`.
    func call(
        _ entry: String, _ argument: ValueMap, onOutput: (@Sendable (Value) -> Void)? = nil
    ) async throws(LunetteError) -> Value {
        let box = Mutex<Int64?>(nil)
        let mailbox = mailbox
        let result: Result<Value, LunetteError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                post(continuation) { host in
                    let token = host.newToken()
                    box.withLock { $0 = token }
                    host.replies[token] = HookReply(continuation)
                    host.outputs[token] = onOutput
                    var argument = argument
                    argument["reply"] = .int(token)
                    host.enterPlugin(entry, .map(argument), reply: token)
                }
            }
        } onCancel: {
            mailbox.post { host in
                if let token = box.withLock({ $0 }) { host.enter("cancel_plugin_call", ["reply": .int(token)]) }
            }
        }
        do {
            return try result.get()
        } catch {
            var failure = error
            if let code = owner.failureCode, failure.code == .scriptFailed || failure.code == .resourceExhausted { failure.code = code }
            // Of a script, what it raised itself names the line.
            if !failure.message.hasPrefix("\(owner.label):") { failure.message = "\(owner.label): \(failure.message)" }
            throw failure
        }
    }

    /// Runs a handler that the code has registered.
    func handle(_ subscription: String, _ event: Value) async throws(LunetteError) -> Value {
        state.withLock { $0.handling += 1 }
        defer {
            let drained = state.withLock { state in
                state.handling -= 1
                guard state.handling == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { state.drained = [] }
                return state.drained
            }
            for waiter in drained { waiter.resume() }
        }
        let result: Result<Value, LunetteError> = await withCheckedContinuation { continuation in
            post(continuation) { host in host.callHandler(subscription, event, HookReply(continuation)) }
        }
        return try result.get()
    }

    /// Returns when no handler runs any more, or the time has passed.
    func drain(seconds: Double) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await withCheckedContinuation { continuation in
                    let isIdle = self.state.withLock { state in
                        if state.handling > 0 { state.drained.append(continuation) }
                        return state.handling == 0
                    }
                    if isIdle { continuation.resume() }
                }
            }
            group.addTask {
                // Cut short when the other is done.
                try? await Task.sleep(for: .seconds(seconds))
                let late = self.state.withLock { state in
                    defer { state.drained = [] }
                    return state.drained
                }
                for waiter in late { waiter.resume() }
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func post(_ continuation: CheckedContinuation<Result<Value, LunetteError>, Never>, _ work: @escaping Mailbox.Work) {
        // Under the lock: a call is posted before the stop or not at all.
        let isPosted = state.withLock { state in
            if !state.isStopped { mailbox.post(work) }
            return !state.isStopped
        }
        guard !isPosted else { return }
        continuation.resume(returning: .failure(LunetteError(owner.failureCode ?? .cancelled, "\(owner.label) is stopped")))
    }

    /// Ends the thread; calls under way fail with `cancelled`.
    func stop() async {
        state.withLock { state in
            if !state.isStopped { mailbox.post { host in host.isServing = false } }
            state.isStopped = true
        }
    }
}

extension LuaHost {
    /// Enters the stdlib of a limited state; one too broken to run it answers the call with that.
    func enterPlugin(_ entry: String, _ argument: Value, reply token: Int64) {
        do {
            try state.enter(entry, argument)
        } catch {
            outputs[token] = nil
            replies.removeValue(forKey: token)?.fail(error)
        }
    }
}
