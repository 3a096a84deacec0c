import Glibc
public import LunetteAPI
import LunetteLinux
public import LunetteSpec
import Synchronization

/// The owner of one state directory: a single writer that runs containers, images and volumes for its sessions.
///
/// One engine per state directory, kept by a lock on `<state>/lock`. Open it, connect sessions, close it; a killed engine leaves
/// nothing that the next `open` doesn't adopt or sweep.
///
/// ```
/// session.call ─► perform ─► function ─► target queue ─► hooks ─► commit ─► work ─► commit ─► events ─► `on` handlers
///                                                                  State (one thread, SQLite)
///                Supervisor: exits ─► commit ─► waiters; then teardown under its ledger row
/// ```
public final class Engine: EngineConnector {
    public let configuration: EngineConfiguration
    let clock: any EngineClock
    let state: State
    let targets = TargetQueue()
    /// Of users of scripts' sockets, by uid: for the filters' verdicts.
    let filterSlots = Mutex<[UInt32: AsyncSlots]>([:])
    let hooks: Hooks
    let supervisor: Supervisor
    let host: any ContainerHost
    let images: any ImageHost
    let plugins: Plugins
    let volumes: Volumes
    let execWaits = ExecWaits()
    let resident: Resident
    let auditLog: AuditLog
    /// Of the users of scripts' sockets.
    let guestLog: AuditLog
    let hookFailures: HookFailureLog
    let guestPace = GuestPace()
    let startedAt: Double
    /// Other people's id ranges, read once.
    let reservedRanges: [IDRange]
    /// The sweep after opening.
    let sweeping = BackgroundStep()
    private let locks: [FileLock]
    private let sameRequests = SameRequests()

    private struct Sessions {
        var open: [String: Session] = [:]
        var pumps: [String: Task<Void, Never>] = [:]
        var owned: [Task<Void, Never>] = []
        var isClosing = false
        var isLeaving = false
    }
    private let sessions = Mutex(Sessions())

    init(
        configuration: EngineConfiguration, clock: any EngineClock, state: State, host: any ContainerHost, images: any ImageHost,
        locks: [FileLock]
    ) async {
        self.configuration = configuration
        self.clock = clock
        self.state = state
        self.host = host
        self.images = images
        self.locks = locks
        startedAt = clock.now()
        reservedRanges = await blocking { IDRangeAllocator.reservedRanges() }
        let told = HookFailureLog(log: configuration.log ?? { _ in })
        hookFailures = told
        hooks = Hooks(clock: clock) { event, owner in await told.tell(event, of: owner, in: state) }
        supervisor = Supervisor(state: state, host: host, clock: clock, images: images)
        plugins = Plugins(configuration: configuration)
        auditLog = AuditLog(root: configuration.root, log: configuration.log ?? { _ in })
        guestLog = AuditLog(root: configuration.root, name: AuditLog.guestsName, log: configuration.log ?? { _ in })
        resident = Resident(configuration, hooks: hooks, state: state)
        volumes = Volumes(state: state, plugins: plugins, clock: clock, root: configuration.root)
        await supervisor.connect(
            restart: { [weak self] id in await self?.restartByPolicy(id) }, remove: { [weak self] id in await self?.removeAtExit(id) },
            release: { [volumes] id in await volumes.release(user: id) },
            unhealthy: { [weak self] id, action in await self?.endUnhealthy(id, action) },
            lifecycle: .init(
                decidesExit: { [hooks] name in await hooks.lifecycle(name)?.functions.contains(.exited) ?? false },
                limits: { [hooks] in await hooks.limitRequests },
                decide: { [weak self] id in await self?.decideExit(id) }, endOwnState: { [weak self] id in await self?.endOwnState(id) }))
    }

    // MARK: Sessions

    /// Opens a session in process. Each request's `actor` is trusted: the server fills it in from the socket's peer.
    public func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        try open(Session(engine: self, receiver: receiver))
    }

    func open(_ session: Session) throws(LunetteError) -> Session {
        let isClosing = sessions.withLock { sessions in
            if !sessions.isClosing { sessions.open[session.id] = session }
            return sessions.isClosing
        }
        if isClosing { throw .closing }
        return session
    }

    /// Takes back what a session held: its handlers, its event pumps, its containers of `lifetime = "script"`.
    func sessionEnded(_ session: Session) async {
        let pumps = sessions.withLock { sessions in
            sessions.open[session.id] = nil
            let ended = sessions.pumps.filter { $0.key.hasPrefix(session.id + "/") }
            for key in ended.keys { sessions.pumps[key] = nil }
            return Array(ended.values)
        }
        for pump in pumps { pump.cancel() }
        await hooks.sessionEnded(session.id)
        // The script goes on without this engine; the next one knows the process by itself.
        if isLeaving { return }
        for record in await state.containers.values where record.sessionID == session.id { await removeAtScriptEnd(record.id) }
    }

    var isClosing: Bool { sessions.withLock { $0.isClosing } }
    /// The engine ends and its clients don't: what ends for them now is to go on with the next engine.
    var isLeaving: Bool { sessions.withLock { $0.isLeaving || $0.isClosing } }
    /// Those of clients; resident code is no reason to stay.
    var sessionCount: Int { sessions.withLock { $0.open.values.count { !$0.isInternal } } }

    /// Keeps a session's event pump until it is unregistered or the session ends.
    func keep(pump: Task<Void, Never>, _ key: String) {
        let isLate = sessions.withLock { sessions in
            let session = String(key.prefix { $0 != "/" })
            guard sessions.open[session] != nil else { return true }
            sessions.pumps[key] = pump
            return false
        }
        if isLate { pump.cancel() }
    }

    func endPump(_ key: String) { sessions.withLock { $0.pumps.removeValue(forKey: key) }?.cancel() }

    /// Keeps a task of the engine's own until it closes.
    func own(_ task: Task<Void, Never>) { sessions.withLock { $0.owned.append(task) } }

    // MARK: Calls

    /// Runs one call as far as its socket's filter lets it, and writes it into the audit log.
    func perform(_ call: Call, in session: Session) async throws(LunetteError) -> Value {
        let began = clock.now()
        let call = scoped(call, in: session)
        do throws(LunetteError) {
            guard call.request.cause.count <= Engine.maximumCauses else {
                throw LunetteError(
                    .invalidArgument,
                    "\(call.request.function): it names \(call.request.cause.count) causes, more than \(Engine.maximumCauses)",
                    path: "cause")
            }
            try await keepPace(call)
            let judged = try await judged(call, in: session)
            let result = try await performed(judged, in: session)
            await audit(call.request, began: began, .success(result))
            return result
        } catch {
            await audit(call.request, began: began, .failure(error))
            throw error
        }
    }

    /// Lets a guest's call that changes something wait for its turn.
    private func keepPace(_ call: Call) async throws(LunetteError) {
        guard call.request.actor.socket != nil, AuditEntry.isKept(call.request) else { return }
        let uid = call.request.actor.uid
        guard let wait = guestPace.wait(of: uid, at: Double(monotonicNanoseconds()) / 1e9) else {
            throw LunetteError(
                .resourceExhausted,
                "\(call.request.function): uid \(uid) makes more than \(Int(GuestPace.perSecond)) calls a second that change something",
                operation: call.request.function, hint: "ask again later")
        }
        if wait > 0 {
            do { try await clock.sleep(wait) } catch { try call.checkCancellation() }
        }
    }

    /// Nine calls deep, with the handlers and lifecycles that made them.
    private static let maximumCauses = 36

    /// Runs one call, or gives the first outcome of an earlier one with the same request id.
    private func performed(_ call: Call, in session: Session) async throws(LunetteError) -> Value {
        let request = call.request
        guard request.version == APIRegistry.version else {
            throw LunetteError(
                .unsupported, "\(request.function): API version \(request.version) is not spoken here, only \(APIRegistry.version)")
        }
        guard let function = Functions.all[request.function] else {
            throw LunetteError(
                .unsupported, "no function is called \"\(displayable(request.function, limit: 80))\"",
                hint: nearest(to: request.function, in: Array(Functions.all.keys)).map { "did you mean \"\($0)\"?" })
        }
        guard request.cause.count(where: { !$0.hasPrefix("hook:") }) < 9 else {
            throw LunetteError(
                .conflict, "\(request.function) is nine causes deep", operation: request.function,
                hint: "handlers cause each other's events in a circle", details: ["cause": .array(request.cause.map(Value.string))])
        }
        guard function.isKept else { return try await function.body(self, call, session) }

        try await sameRequests.begin(request.id, function: request.function)
        do throws(LunetteError) {
            let result: Value
            if state.knownRequests.withLock({ $0.contains(request.id) }), let outcome = try await state.outcome(request.id) {
                result = try outcome.result.get()
            } else {
                result = try await function.body(self, call, session)
                if !call.outcomeIsStored {
                    var changes = Changes()
                    changes.outcomes = [call.outcome(result)]
                    try await state.commit(changes)
                }
            }
            await sameRequests.end(request.id)
            return result
        } catch {
            await sameRequests.end(request.id)
            throw error
        }
    }

    /// Notes what a call is about to do where no transaction can decide it (a signal, the image store).
    /// - Returns: what an earlier sending of the same request noted; nil when this is the first.
    func earlierIntent(of call: Call, noting value: Value) async throws(LunetteError) -> Value? {
        let note = "intent/\(call.request.id)"
        if state.knownRequests.withLock({ $0.contains(note) }), let earlier = try await state.outcome(note) {
            return try earlier.result.get()
        }
        var changes = Changes()
        changes.outcomes = [Outcome(requestID: note, function: call.request.function, result: .success(value))]
        try await state.commit(changes)
        return nil
    }

    // MARK: The engine's own life

    /// Says that this engine is about to end and another to follow: calls that are cancelled from now on end here only. Execs stay for
    /// their repetition, and containers of `lifetime = "script"` as long as their script. Call it before sessions are closed, then `close`.
    public func beginLeaving() { sessions.withLock { $0.isLeaving = true } }

    /// How many containers run.
    public var runningContainers: Int { get async { await state.containers.values.count { $0.state.isAlive } } }

    /// Asks each part of the engine that calls go through for something small; returns when all have answered. For watchdogs.
    public func answer() async {
        _ = await (state.newestEvent, hooks.contains(""), targets.count, supervisor.pendingWork, resident.isBusy)
        _ = await blocking { getpid() }
    }

    /// Returns when no session was connected and no reason to stay was held for `linger` seconds; for `--on-demand`.
    ///
    /// The caller then stops accepting, checks `isIdle` once more, and calls `close`.
    public func waitUntilIdle(linger: Double) async {
        var idleSince: Double?
        while !Task.isCancelled {
            if await isIdle() {
                let since = idleSince ?? clock.now()
                idleSince = since
                if clock.now() - since >= linger { return }
            } else {
                idleSince = nil
            }
            do { try await clock.sleep(max(0.02, min(0.25, linger / 4))) } catch { return }
        }
    }

    /// Whether no session is connected and no reason to stay is held.
    public func isIdle() async -> Bool {
        guard sessionCount == 0 else { return false }
        return await stayReasons().isEmpty
    }

    /// Ends sessions, waits for teardown under way, writes the database back and drops the lock. Containers go on.
    public func close() async {
        let open = sessions.withLock { sessions -> [Session]? in
            if sessions.isClosing { return nil }
            sessions.isClosing = true
            return Array(sessions.open.values)
        }
        guard let open else { return }
        for session in open { await session.close() }
        let owned = sessions.withLock { sessions in
            defer { sessions.owned = [] }
            return sessions.owned
        }
        for task in owned { task.cancel() }
        await resident.shutdown()
        await sweeping.wait()
        await supervisor.shutdown()
        await plugins.shutdown()
        await hooks.close()
        await host.close()
        await auditLog.close()
        await guestLog.close()
        do throws(LunetteError) { try await state.close() } catch {
            // Nothing is lost: the log of an unclosed database is read at the next open.
        }
        // Another process may get this one's number.
        Self.removePids(configuration)
        for lock in locks { lock.release() }
    }
}

/// Keeps a repetition of a request waiting until the first one has ended.
private actor SameRequests {
    private var running: [String: [Int: CheckedContinuation<Void, Never>]] = [:]
    private var next = 0

    func begin(_ id: String, function: String) async throws(LunetteError) {
        while running[id] != nil {
            let number = next
            next += 1
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    if Task.isCancelled || running[id] == nil { continuation.resume() } else { running[id]![number] = continuation }
                }
            } onCancel: {
                Task { await self.wake(id, number) }
            }
            if Task.isCancelled { throw LunetteError(.cancelled, "\(function) was cancelled", operation: function) }
        }
        running[id] = [:]
    }

    private func wake(_ id: String, _ number: Int) { running[id]?.removeValue(forKey: number)?.resume() }
    func end(_ id: String) { for waiter in (running.removeValue(forKey: id) ?? [:]).values { waiter.resume() } }
}

/// One piece of work that runs beside the calls, once, and that others can wait for.
final class BackgroundStep: Sendable {
    private let task = Mutex<Task<Void, Never>?>(nil)
    private let isDone = Mutex(true)

    func start(_ body: @escaping @Sendable () async -> Void) {
        isDone.withLock { $0 = false }
        task.withLock {
            $0 = Task {
                await body()
                self.isDone.withLock { $0 = true }
            }
        }
    }

    var isRunning: Bool { !isDone.withLock { $0 } }
    func wait() async { await task.withLock { $0 }?.value }
}
