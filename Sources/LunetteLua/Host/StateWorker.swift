internal import LunetteAPI
internal import LunetteLinux
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

    /// Somebody who waits for the state's answer.
    private struct Waiter {
        let tell: @Sendable (Result<Value, LunetteError>) -> Void
        /// Monotonic seconds.
        let deadline: Double?
        /// It counts among `handling`.
        let isHandler: Bool
    }

    private let owner: Owner
    private let mailbox: Mailbox
    private let time: VirtualTime?
    private let pulse: Pulse
    /// Seconds that the state may go without coming back from one step; nil: any time.
    private let longestStep: Double?
    private struct State {
        var isStopped = false
        /// Why the state was given up.
        var failure: LunetteError?
        var waiters: [Int: Waiter] = [:]
        var batches: [Int: HookBatch] = [:]
        var isWaitedFor: Bool { !waiters.isEmpty || !batches.isEmpty }
        var lastWaiter = 0
        var isWatched = false
        /// Handlers under way.
        var handling = 0
        var drained: [CheckedContinuation<Void, Never>] = []

        /// - Returns: who waits for the last one.
        mutating func endHandling(_ count: Int = 1) -> [CheckedContinuation<Void, Never>] {
            handling -= count
            guard count > 0, handling == 0, !drained.isEmpty else { return [] }
            defer { drained = [] }
            return drained
        }
    }
    private let state = Mutex(State())

    /// Seconds that an answer may come after its time: what closes may take ten.
    private let grace: Double

    private init(_ owner: Owner, _ host: LuaHost, _ longestStep: Double?, _ grace: Double) {
        self.owner = owner
        mailbox = host.mailbox
        pulse = host.state.pulse
        time = host.options.time
        // Its own limits come first: twice what one step may take, and something for a busy machine.
        let wall = host.options.limits.wallSeconds
        self.longestStep = longestStep ?? (wall > 0 ? 2 * wall + 6 : nil)
        self.grace = grace
    }

    /// Opens the state.
    /// - Parameters:
    ///   - longestStep: seconds that the state may go without coming back; nil: by its limits.
    ///   - grace: seconds that an answer may come after its time.
    static func start(
        _ owner: Owner, _ options: LuaHost.Options, longestStep: Double? = nil, grace: Double = 20
    ) async throws(LunetteError) -> StateWorker {
        let result: Result<StateWorker, LunetteError> = await withCheckedContinuation { continuation in
            Activity.shared.begin()
            onOwnThread {
                let host: LuaHost
                do throws(LunetteError) {
                    host = try LuaHost(options)
                } catch {
                    continuation.resume(returning: .failure(error))
                    Activity.shared.end()
                    return
                }
                host.isServing = true
                host.onLog = options.log
                let worker = StateWorker(owner, host, longestStep, grace)
                continuation.resume(returning: .success(worker))
                Activity.shared.end()
                worker.serve(host, coverage: options.coverage)
            }
        }
        return try result.get()
    }

    /// How many states have a thread.
    private static let serving = Atomic<Int>(0)

    /// What the next thread of a state is given.
    // SAFETY: the thread that makes one ends without touching the state again; the mailbox's lock stands between it and the next.
    private struct Parked: @unchecked Sendable { let host: LuaHost }

    /// Runs the state until it is stopped, or until it has nothing to do: resident code waits most of its life, a thousand states of it in
    /// one process, and a thread keeps a stack, and up to 7 freed blocks of each size (malloc's cache). The next message begins another.
    private func serve(_ host: LuaHost, coverage: Coverage?) {
        Self.serving.add(1, ordering: .relaxed)
        host.mailbox.whenAtRest = { [unowned host] in
            host.isAtRest = true
            host.state.rest()
            // The last of them that comes to rest: what all of them gave back is in malloc's hands.
            if Self.serving.load(ordering: .relaxed) == 1 { LuaState.releaseHeap() }
        }
        defer { Self.serving.subtract(1, ordering: .relaxed) }
        while host.isServing {
            host.isAtRest = false
            host.pump()
            if host.state.isBroken { giveUp("\(owner.label) kept Lunette's own code busy for longer than it may") }
            guard host.isAtRest, !host.hasTimers else { continue }
            let parked = Parked(host: host)
            if host.mailbox.park({ onOwnThread { self.serve(parked.host, coverage: coverage) } }) { return }
        }
        // What was posted before the stop is answered: with an error, by `close`.
        while let work = host.mailbox.next(until: 0) { work(host) }
        coverage?.add(host.state)
        waitFor { await host.close() }
        host.mailbox.close()
    }

    // MARK: who waits

    /// Puts a question to the state's thread; the work answers it by the reply that it is given.
    /// - Parameter seconds: how long it may take; nil: any time, as long as the state comes back from each step.
    private func ask(
        within seconds: Double?, isHandler: Bool = false, _ work: @escaping @Sendable (LuaHost, HookReply) -> Void
    ) async -> Result<Value, LunetteError> {
        await withCheckedContinuation { continuation in
            post(within: seconds, isHandler: isHandler, work) { continuation.resume(returning: $0) }
        }
    }

    /// As `ask`, without waiting.
    /// - Parameter tell: gets the answer, once, on any thread.
    private func post(
        within seconds: Double?, isHandler: Bool, _ work: @escaping @Sendable (LuaHost, HookReply) -> Void,
        _ tell: @escaping @Sendable (Result<Value, LunetteError>) -> Void
    ) {
        // Under the lock: a question is posted before the stop or not at all.
        let (refusal, arrival, isNew) = state.withLock { state -> (LunetteError?, Mailbox.Arrival?, Bool) in
            if state.isStopped { return (state.failure ?? stopped, nil, false) }
            state.lastWaiter += 1
            let id = state.lastWaiter
            state.waiters[id] = Waiter(tell: tell, deadline: seconds.map { monotonicNow() + $0 }, isHandler: isHandler)
            if isHandler { state.handling += 1 }
            let arrival = mailbox.put { host in work(host, HookReply { self.answer(id, $0) }) }
            defer { state.isWatched = true }
            return (nil, arrival, !state.isWatched)
        }
        arrival?.tell()
        if let refusal { tell(.failure(refusal)) }
        if isNew { WorkerWatch.shared.add(self) }
    }

    private var stopped: LunetteError { LunetteError(owner.failureCode ?? .cancelled, "\(owner.label) is stopped") }

    private func answer(_ id: Int, _ result: Result<Value, LunetteError>) {
        let (waiter, drained) = state.withLock { state -> (Waiter?, [CheckedContinuation<Void, Never>]) in
            guard let waiter = state.waiters.removeValue(forKey: id) else { return (nil, []) }
            return (waiter, waiter.isHandler ? state.endHandling() : [])
        }
        for one in drained { one.resume() }
        waiter?.tell(result)
    }

    /// Whether the state answers nothing any more.
    var isStopped: Bool { state.withLock { $0.isStopped } }

    /// Whether the state has a thread now, if only to wait on.
    var hasThread: Bool { !mailbox.isParked }

    /// Gives up what takes too long.
    /// - Returns: false when nobody waits.
    func isStillWaitedFor(_ now: Double) -> Bool {
        if let longestStep, let since = pulse.busySince, now - since > longestStep {
            giveUp("\(owner.label) has not come back from one step of its code for \(Int(now - since)) s, \(Int(longestStep)) s at most")
        }
        let (late, drained, isWaitedFor) = state.withLock { state in
            let late = state.waiters.filter { $0.value.deadline.map { $0 < now } ?? false }
            for id in late.keys { state.waiters[id] = nil }
            if !state.isWaitedFor { state.isWatched = false }
            return (late.values.map(\.tell), state.endHandling(late.values.count { $0.isHandler }), state.isWaitedFor)
        }
        for one in drained { one.resume() }
        let error = LunetteError(owner.failureCode ?? .timeout, "\(owner.label) gave no answer in its time, nor after it")
        for tell in late { tell(.failure(error)) }
        return isWaitedFor
    }

    func watchAgainWhereNeeded() {
        if state.withLock({ $0.isWatched }) { WorkerWatch.shared.add(self) }
    }

    /// Fails whoever waits now or later. The thread is left alone: it ends when its code comes back, if it does.
    private func giveUp(_ why: String) {
        let error = LunetteError(
            owner.failureCode ?? .timeout, "\(why): its Lua state is given up", hint: "mend the code, then: lunette reload")
        let (waiters, batches, drained) = state.withLock { state -> ([Waiter], [HookBatch], [CheckedContinuation<Void, Never>]) in
            if state.failure != nil { return ([], [], []) }
            state.isStopped = true
            state.failure = error
            defer {
                state.waiters = [:]
                state.batches = [:]
            }
            let drained = state.endHandling(state.waiters.values.count { $0.isHandler })
            return (Array(state.waiters.values), Array(state.batches.values), drained)
        }
        mailbox.post { host in host.isServing = false }
        for one in drained { one.resume() }
        for waiter in waiters { waiter.tell(.failure(error)) }
        for batch in batches { batch.fail() }
    }

    // MARK: calls

    /// Calls an entry of the state's stdlib and waits for its answer.
    /// - Parameter onOutput: gets what the code prints meanwhile; called on the state's thread.
    /// - Throws: the code's own error objects as they are; of a plugin any other failure as `plugin_failed`; `timeout`, of a plugin
    ///   `plugin_failed`, when the state doesn't come back.
    func call(
        _ entry: String, _ argument: ValueMap, onOutput: (@Sendable (Value) -> Void)? = nil
    ) async throws(LunetteError) -> Value {
        let box = Mutex<Int64?>(nil)
        let mailbox = mailbox
        let seconds = argument["timeout"]?.doubleValue.map { $0 + grace }
        let result: Result<Value, LunetteError> = await withTaskCancellationHandler {
            await ask(within: seconds) { host, reply in
                let token = host.newToken()
                box.withLock { $0 = token }
                host.replies[token] = reply
                host.outputs[token] = onOutput
                var argument = argument
                argument["reply"] = .int(token)
                host.enterPlugin(entry, .map(argument), reply: token)
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
            if !failure.message.hasPrefix("\(owner.label)") { failure.message = "\(owner.label): \(failure.message)" }
            throw failure
        }
    }

    /// Runs a handler that the code has registered, for many events.
    func handle(_ subscription: String, _ events: [Value], _ keys: [String], _ ended: @escaping @Sendable ([HookEnding]) -> Void) {
        let left = Mutex(events.count)
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        let batch = HookBatch(subscription: subscription, events: events, keys: keys) { [self] endings in
            ended(endings)
            let isOver = left.withLock { left in
                left -= endings.count
                return left <= 0
            }
            guard isOver else { return }
            state.withLock { $0.batches[id] = nil }
            endHandling()
        }
        let (arrival, isNew) = state.withLock { state -> (Mailbox.Arrival?, Bool) in
            guard !state.isStopped else { return (nil, false) }
            state.handling += 1
            state.batches[id] = batch
            let arrival = mailbox.put { host in host.callHandler(batch, from: 0) }
            defer { state.isWatched = true }
            return (arrival, !state.isWatched)
        }
        arrival?.tell()
        if isNew { WorkerWatch.shared.add(self) }
        // Nothing of it counts as delivered.
        if arrival == nil { ended(events.indices.map { HookEnding(index: $0, outcome: .failed) }) }
    }

    private func endHandling() {
        let drained = state.withLock { $0.endHandling() }
        for waiter in drained { waiter.resume() }
    }

    /// As the next, without waiting.
    func begin(_ subscription: String, _ event: Value, _ answered: @escaping @Sendable (Result<Value, LunetteError>) -> Void) {
        post(within: nil, isHandler: true, { host, reply in host.callHandler(subscription, event, reply) }, answered)
    }

    /// Runs a handler that the code has registered.
    func handle(_ subscription: String, _ event: Value) async throws(LunetteError) -> Value {
        try await ask(within: nil, isHandler: true) { host, reply in host.callHandler(subscription, event, reply) }.get()
    }

    /// Lets go of what loading took, so that the next state can have it.
    func rest() { mailbox.post { host in host.state.collect() } }

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
                if let time = self.time { try? await time.sleep(seconds) } else { try? await Task.sleep(for: .seconds(seconds)) }
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
