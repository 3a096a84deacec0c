internal import LunetteSpec
internal import Synchronization

/// Carries calls to a Lua state that runs on a thread of its own until it is stopped.
final class PluginWorker: Sendable {
    private let name: String
    private let mailbox: Mailbox
    private let isStopped = Mutex(false)

    private init(name: String, mailbox: Mailbox) {
        self.name = name
        self.mailbox = mailbox
    }

    /// Opens the state.
    static func start(_ name: String, _ options: LuaHost.Options) async throws(LunetteError) -> PluginWorker {
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
                continuation.resume(returning: .success(host.mailbox))
                while host.isServing { host.pump() }
                // What was posted before the stop is answered: with an error, by `close`.
                while let work = host.mailbox.next(until: 0) { work(host) }
                waitFor { await host.close() }
            }
        }
        return PluginWorker(name: name, mailbox: try result.get())
    }

    /// Calls an entry of the plugin's stdlib and waits for its answer.
    /// - Throws: the plugin's own error objects as they are; any other failure as `plugin_failed`.
    func call(_ entry: String, _ argument: ValueMap) async throws(LunetteError) -> Value {
        let stopped = LunetteError(.pluginFailed, "the plugin \(name) is stopped", target: name)
        let box = Mutex<Int64?>(nil)
        let mailbox = mailbox
        let result: Result<Value, LunetteError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Under the lock: a call is posted before the stop or not at all.
                let isPosted = isStopped.withLock { isStopped in
                    if isStopped { return false }
                    mailbox.post { host in
                        let token = host.newToken()
                        box.withLock { $0 = token }
                        host.replies[token] = HookReply(continuation)
                        var argument = argument
                        argument["reply"] = .int(token)
                        host.enterPlugin(entry, .map(argument), reply: token)
                    }
                    return true
                }
                if !isPosted { continuation.resume(returning: .failure(stopped)) }
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
            if failure.code == .scriptFailed || failure.code == .resourceExhausted { failure.code = .pluginFailed }
            failure.message = "plugin \(name): \(failure.message)"
            throw failure
        }
    }

    /// Ends the thread; calls under way fail with `cancelled`.
    func stop() async {
        isStopped.withLock { isStopped in
            if !isStopped { mailbox.post { host in host.isServing = false } }
            isStopped = true
        }
    }
}

extension LuaHost {
    /// Enters the plugin's stdlib; a state too broken to run it answers the call with that.
    func enterPlugin(_ entry: String, _ argument: Value, reply token: Int64) {
        do {
            try state.enter(entry, argument)
        } catch {
            replies.removeValue(forKey: token)?.fail(error)
        }
    }
}
