import LunetteLinux
import LunetteRuntime
import LunetteSpec

/// Watches the containers that run and carries out what their state machines ask for: restarts, time limits, teardown, removal.
///
/// It owns every task it starts; `shutdown` cancels timers and waits for teardowns under way.
actor Supervisor {
    private let state: State
    private let host: any ContainerHost
    private let clock: any EngineClock
    /// Starts a container again, by policy; set by the engine, which knows the whole way.
    private var restart: @Sendable (String) async -> Void = { _ in }
    private var remove: @Sendable (String) async -> Void = { _ in }
    /// Releases what the run of a container held beside the runtime's things (mounted volumes).
    private var release: @Sendable (String) async -> Void = { _ in }

    private var live: [String: any LiveContainer] = [:]
    /// Containers whose end is waited for: by callback, since a task that waits costs as much memory as all else that is kept of a container.
    private var watches: [String: Watch] = [:]
    private final class Watch: Sendable {}
    private var teardowns: [String: Task<Void, Never>] = [:]
    /// Exits that are being stored: whoever that wakes may be here before the teardown has begun.
    private var endings: [String: Task<Void, Never>] = [:]
    private var restarts: [String: Task<Void, Never>] = [:]
    private var timeLimits: [String: Task<Void, Never>] = [:]
    private var removals: [String: Task<Void, Never>] = [:]
    /// Detached execs, by container and exec: each is waited for, so that what the runtime keeps of it goes when it ends.
    private var execs: [String: Task<Void, Never>] = [:]
    private let health: HealthChecks
    private let pressure: PressureWatch
    private var lifecycle = LifecycleSteps()
    /// Of states of a lifecycle's own, and decisions under way.
    private var ownStates: [String: Task<Void, Never>] = [:]
    private var decisions: [String: Task<Void, Never>] = [:]
    /// Calls that want a container to end, for the event that tells of it.
    private var wishes: [String: Wish] = [:]
    private var isShuttingDown = false

    /// Who wants a container to end, and how long its end counts as what came of that.
    struct Wish: Sendable {
        let actor: Value
        let cause: [String]
        /// The signal that was sent; nil: the whole stop sequence.
        let signal: Signal?
        /// Unix seconds until when any end is meant; later one by the signal alone.
        let deadline: Double

        func explains(_ exit: ExitRecord, now: Double) -> Bool {
            guard let signal, signal != .kill, now > deadline else { return true }
            return exit.signal == signal.name || exit.code == 128 + Int(signal.number)
        }
    }

    func note(_ wish: Wish, of id: String) { wishes[id] = wish }

    init(state: State, host: any ContainerHost, clock: any EngineClock, images: any ImageHost) {
        health = HealthChecks(state: state, clock: clock, images: images)
        pressure = PressureWatch(state: state, clock: clock)
        self.state = state
        self.host = host
        self.clock = clock
    }

    func connect(
        restart: @escaping @Sendable (String) async -> Void, remove: @escaping @Sendable (String) async -> Void,
        release: @escaping @Sendable (String) async -> Void, unhealthy: @escaping @Sendable (String, HealthSpec.OnUnhealthy) async -> Void,
        lifecycle: LifecycleSteps
    ) async {
        (self.restart, self.remove, self.release, self.lifecycle) = (restart, remove, release, lifecycle)
        await health.connect(end: unhealthy)
        await pressure.connect(requests: lifecycle.limits)
    }

    /// There may be others now that want to be told of limits.
    func handlersChanged() async { await pressure.handlersChanged() }

    /// The engine's end of a running container; nil when it doesn't run.
    func container(_ id: String) -> (any LiveContainer)? { live[id] }
    /// How many teardowns and removals are under way.
    var pendingWork: Int { teardowns.count + removals.count + decisions.count }

    /// Watches a container that runs until it ends.
    func watch(_ id: String, _ container: any LiveContainer, effects: [ContainerState.Effect], record: ContainerRecord) async {
        live[id] = container
        wishes[id] = nil
        let watch = Watch()
        watches[id] = watch
        // Only the newest counts: it says how many there were.
        let news = Newest<OutOfMemoryNews> { [weak self] in await self?.outOfMemory(id, watch, $0) }
        container.whenOutOfMemory { news.put($0) }
        container.whenEnded { [weak self] result in Task { await self?.hasEnded(id, watch, result) } }
        carryOut(effects, record)
        if record.health != nil { await health.watch(record, container) }
        await pressure.watch(id, container)
    }

    private func hasEnded(_ id: String, _ watch: Watch, _ result: Result<ContainerExit, LunetteError>) {
        if isShuttingDown || watches[id] !== watch { return }
        let exit: ExitRecord
        switch result {
        case .success(let known): exit = ExitRecord(known)
        case .failure(let error):
            // The shim is gone with its record, which a container reports as `lost` by itself.
            if error.code == .cancelled { return }
            exit = ExitRecord(code: 255, reason: .lost, finishedAt: clock.now(), message: error.message)
        }
        watches[id] = nil
        endings[id] = Task {
            await ended(id, exit)
            endings[id] = nil
        }
    }

    /// Commits an exit, which wakes who waits for it, then takes the rest apart.
    private func ended(_ id: String, _ exit: ExitRecord) async {
        if isShuttingDown { return }
        live[id] = nil
        await health.forget(id)
        await pressure.forget(id)
        do throws(LunetteError) {
            var event = ContainerState.Event.exited(exit)
            if let name = await state.containers[id]?.lifecycle, await lifecycle.decidesExit(name) { event = .exitedUndecided(exit) }
            let wish = wishes.removeValue(forKey: id).flatMap { $0.explains(exit, now: clock.now()) ? $0 : nil }
            let (record, effects) = try await state.apply(
                event, to: id, note: ("exited", exit.reason.rawValue), actor: wish?.actor ?? .null, cause: wish?.cause ?? [])
            carryOut(effects, record)
            await state.noteEnd(of: id)
        } catch {
            // Removed under our hands, or the database failed: the exit record on disk stays, the next engine reads it.
            if error.code != .notFound { await state.note(degraded: "its exit couldn't be stored: \(error.message)", id) }
        }
    }

    private func outOfMemory(_ id: String, _ watch: Watch, _ news: OutOfMemoryNews) async {
        if isShuttingDown || watches[id] !== watch { return }
        do throws(LunetteError) {
            _ = try await state.apply(
                .outOfMemory(kills: Int(news.kills)), to: id,
                note: ("oom", "\(news.kills) killed" + (news.endsGroup ? ", ending the others" : "")))
        } catch {
            // It ended in this moment, and its exit tells the same.
        }
    }

    /// Waits for the end of an exec that its caller left.
    func watch(exec: any LiveExec, key: String) {
        execs[key] = Task {
            do throws(LunetteError) { _ = try await exec.exit() } catch {
                // The shim is lost or the engine leaves: nobody asked how it ended.
            }
            execs[key] = nil
        }
    }

    func carryOut(_ effects: [ContainerState.Effect], _ record: ContainerRecord) {
        for effect in effects {
            switch effect {
            case .emit, .wakeWaiters, .launch, .unhealthy: break  // Done with the commit, or by the caller.
            case .tearDown: tearDown(record.id)
            case .restart(let delay): scheduleRestart(record.id, after: delay)
            case .cancelRestart: restarts.removeValue(forKey: record.id)?.cancel()
            case .armTimeLimit: armTimeLimit(record)
            case .cancelTimeLimit: timeLimits.removeValue(forKey: record.id)?.cancel()
            case .decide: decide(record.id)
            case .armOwnState(let delay): armOwnState(record.id, after: delay)
            case .cancelOwnState: ownStates.removeValue(forKey: record.id)?.cancel()
            case .kill: kill(record.id)
            case .remove: scheduleRemoval(record.id)
            }
        }
    }

    // MARK: Teardown

    /// Takes the last run apart; the ledger's row goes when nothing is left.
    func tearDown(_ id: String) {
        guard teardowns[id] == nil else { return }
        teardowns[id] = Task {
            let report = await host.reap(id: id, storage: false)
            await release(id)
            if let error = report.error {
                await state.note(degraded: "teardown: \(error.message)", id)
            } else {
                var changes = Changes()
                changes.closedLedger = [LedgerRow(.containerRun, id).key]
                do throws(LunetteError) { try await state.commit(changes) } catch {
                    // The row stays: the next recovery runs the undo again, which then finds nothing.
                }
            }
            self.tornDown(id)
        }
    }

    private func tornDown(_ id: String) { teardowns[id] = nil }

    /// Returns when nothing of the container's last run is being taken apart any more.
    func waitForTeardown(_ id: String) async {
        await endings[id]?.value
        await teardowns[id]?.value
    }

    /// Forgets a container that is being removed: watchers and timers end.
    func forget(_ id: String) async {
        watches[id] = nil
        restarts.removeValue(forKey: id)?.cancel()
        timeLimits.removeValue(forKey: id)?.cancel()
        ownStates.removeValue(forKey: id)?.cancel()
        live[id] = nil
        wishes[id] = nil
        await health.forget(id)
        await pressure.forget(id)
        await teardowns[id]?.value
    }

    // MARK: Timers

    private func scheduleRestart(_ id: String, after delay: Double) {
        restarts[id]?.cancel()
        restarts[id] = Task {
            do { try await clock.sleep(delay) } catch { return }
            restarts[id] = nil
            await restart(id)
        }
    }

    private func armTimeLimit(_ record: ContainerRecord) {
        guard let limit = record.spec["time_limit"]?.doubleValue, let started = record.state.startedAt else { return }
        let id = record.id
        timeLimits[id]?.cancel()
        timeLimits[id] = Task {
            do { try await clock.sleep(started + limit - clock.now()) } catch { return }
            do throws(LunetteError) {
                let (record, effects) = try await state.apply(.timeLimitPassed, to: id, note: ("time_limit", nil))
                self.carryOut(effects, record)
            } catch {
                // It ended in the same moment.
            }
        }
    }

    private func armOwnState(_ id: String, after delay: Double) {
        ownStates.removeValue(forKey: id)?.cancel()
        ownStates[id] = Task {
            do { try await clock.sleep(delay) } catch { return }
            // What it does cancels the timer of the state that it leaves: not itself.
            ownStates[id] = nil
            let end = lifecycle.endOwnState
            Task { await end(id) }
        }
    }

    private func decide(_ id: String) {
        guard decisions[id] == nil, !isShuttingDown else { return }
        let decide = lifecycle.decide
        decisions[id] = Task {
            await decide(id)
            self.decisions[id] = nil
        }
    }

    private func kill(_ id: String) {
        guard let container = live[id], watches[id] != nil else { return }
        let previous = removals["kill/\(id)"]
        removals["kill/\(id)"] = Task {
            await previous?.value
            do throws(LunetteError) { try await container.kill(signal: Signal.kill.number, all: true) } catch {
                // Ended already, or the shim is lost: its end tells of both.
            }
            self.removed("kill/\(id)")
        }
    }

    private func scheduleRemoval(_ id: String) {
        guard removals[id] == nil, !isShuttingDown else { return }
        removals[id] = Task {
            await remove(id)
            self.removed(id)
        }
    }

    private func removed(_ id: String) { removals[id] = nil }

    /// Ends the tasks; what was under way is left to the next engine's recovery, except teardowns, which are waited for.
    func shutdown() async {
        isShuttingDown = true
        await health.shutdown()
        await pressure.shutdown()
        watches = [:]
        for task in execs.values { task.cancel() }
        for task in restarts.values { task.cancel() }
        for task in timeLimits.values { task.cancel() }
        for task in ownStates.values { task.cancel() }
        for task in Array(removals.values) { await task.value }
        for task in Array(teardowns.values) { await task.value }
    }
}
