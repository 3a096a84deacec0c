import LunetteSpec

/// The life of one container as a pure machine: what may happen when, and what follows from it.
///
/// ```
///  creating ─created─► created ─started─► running ◄─paused/resumed─► paused
///                         │                  │ exited                  │
///                         └──startFailed──► stopped ◄──────────────────┘
///                                            └─started─► running (a restart, by hand or by policy)
/// ```
/// It holds no clock and does no work: `now` comes in, effects go out, and the caller carries them out after the commit.
struct ContainerState: Sendable, Hashable {
    enum Status: String, Sendable, CaseIterable { case creating, created, running, paused, stopped }

    enum Event: Sendable, Hashable {
        case created
        /// The process runs; `pid` is the init's on the host.
        case started(pid: Int32)
        case startFailed(message: String, code: Int)
        case exited(ExitRecord)
        /// The kernel killed for want of memory, and something still runs; `kills` counts since the start.
        case outOfMemory(kills: Int)
        case paused, resumed
        /// A user wants it stopped: `always` remembers, restarts pending are called off.
        case stopRequested
        /// A user wants it running: forgets an earlier stop and the row of failures.
        case startRequested
        /// The time limit passed: what ends it next is `time_limit`.
        case timeLimitPassed
        /// The back-off is over.
        case restartDue
        /// As `exited`, of a container whose lifecycle says what follows.
        case exitedUndecided(ExitRecord)
        case decided(ExitDecision)
        /// It goes to a state of its lifecycle's own, or back to plain `running`.
        case transitioned(to: String?, timeout: Double?, onTimeout: String?)
        /// Its state of its own couldn't be left; it is tried again after so many seconds.
        case ownStateHeld(again: Double)
        /// A health check has ended; `failure` says why it failed.
        case checked(failure: String?)
        /// It is ended because it is unhealthy, and started again or not.
        case endUnhealthy(restart: Bool)
    }

    enum Effect: Sendable, Hashable {
        case emit(String)
        /// Take the rest of the last run apart (cgroups, overlay, namespaces, run directory).
        case tearDown
        case restart(after: Double)
        case cancelRestart
        case launch
        case remove
        case armTimeLimit
        case cancelTimeLimit
        case kill
        case wakeWaiters
        /// It has become unhealthy, and its spec says what follows.
        case unhealthy(HealthSpec.OnUnhealthy)
        /// Ask its lifecycle what follows the exit.
        case decide
        /// After so many seconds it leaves the state of its own.
        case armOwnState(after: Double)
        case cancelOwnState
    }

    /// When a state of its own ends by itself, and which follows.
    struct OwnStateEnd: Sendable, Hashable {
        /// Unix seconds.
        var time: Double
        var next: String
    }

    var status: Status = .creating
    var pid: Int32?
    var exit: ExitRecord?
    var startedAt: Double?
    /// All restarts by policy.
    var restarts = 0
    /// Restarts by policy in a row, for the back-off.
    var attempts = 0
    /// A user stopped it: `always` leaves it alone until a user starts it.
    var stoppedByUser = false
    var isStopping = false
    /// Out-of-memory kills of this run that were told of.
    var oomKills = 0
    var timeLimitPassed = false
    /// A restart waits for its back-off until then (unix seconds).
    var restartAt: Double?

    var health = HealthState()
    /// Within `running`: the state that its lifecycle has it in.
    var ownState: String?
    var ownStateEnds: OwnStateEnd?
    /// It has ended, and its lifecycle hasn't said yet what follows.
    var awaitsDecision = false
    /// The run under way ends in a restart whatever the policy says.
    var restartsOnce = false

    var policy = RestartPolicy()
    var removesOnExit = false
    var hasTimeLimit = false

    var isAlive: Bool { status == .running || status == .paused }

    /// - Throws: `invalid_state` when the event can't happen now; the state is then unchanged.
    mutating func apply(_ event: Event, now: Double) throws(LunetteError) -> [Effect] {
        switch event {
        case .created:
            try require(status == .creating, "is \(status.rawValue) already")
            status = .created
            return [.emit("container.created")]

        case .startRequested:
            try require(!isAlive, "is \(status.rawValue)")
            try require(status != .creating, "is still being created")
            (stoppedByUser, attempts, isStopping, timeLimitPassed, restartAt) = (false, 0, false, false, nil)
            awaitsDecision = false
            return [.cancelRestart, .launch]

        case .started(let pid):
            try require(!isAlive && status != .creating, "is \(status.rawValue)")
            (status, self.pid, startedAt, exit, restartAt, oomKills) = (.running, pid, now, nil, nil, 0)
            health.begin()
            return hasTimeLimit ? [.emit("container.started"), .armTimeLimit] : [.emit("container.started")]

        case .startFailed(let message, let code):
            try require(!isAlive, "is \(status.rawValue)")
            let record = ExitRecord(code: code, reason: .startFailed, finishedAt: now, message: message)
            return ended(record, now: now, emitting: [])

        case .exited(let record):
            try require(isAlive, "is \(status.rawValue)")
            let (record, first) = told(record)
            return ended(record, now: now, emitting: first)

        case .exitedUndecided(let record):
            try require(isAlive, "is \(status.rawValue)")
            let (record, first) = told(record)
            let effects = stopped(record, now: now, emitting: first)
            awaitsDecision = true
            return effects + [.decide]

        case .decided(let decision):
            guard awaitsDecision, let record = exit else { return [] }
            awaitsDecision = false
            return follow(decision, record, now: now)

        case .transitioned(let name, let timeout, let next):
            try require(status == .running, "is \(status.rawValue)")
            let wasTimed = ownStateEnds != nil
            (ownState, ownStateEnds) = (name, nil)
            var effects: [Effect] = [.emit("container.transitioned")]
            if wasTimed { effects.append(.cancelOwnState) }
            if let timeout, let next {
                ownStateEnds = OwnStateEnd(time: now + timeout, next: next)
                effects.append(.armOwnState(after: timeout))
            }
            return effects

        case .ownStateHeld(let seconds):
            guard status == .running, let end = ownStateEnds else { return [] }
            ownStateEnds = OwnStateEnd(time: now + seconds, next: end.next)
            return [.cancelOwnState, .armOwnState(after: seconds)]

        case .outOfMemory(let kills):
            guard isAlive, kills > oomKills else { return [] }
            oomKills = kills
            return [.emit("container.oom")]

        case .paused:
            try require(status == .running, "is \(status.rawValue)")
            status = .paused
            return [.emit("container.paused")]

        case .resumed:
            try require(status == .paused, "is \(status.rawValue)")
            status = .running
            return [.emit("container.resumed")]

        case .stopRequested:
            stoppedByUser = true
            guard isAlive else {
                let pending = restartAt != nil
                restartAt = nil
                return pending ? [.cancelRestart] + (removesOnExit ? [.remove] : []) : []
            }
            isStopping = true
            return [.cancelTimeLimit]

        case .timeLimitPassed:
            guard isAlive else { return [] }
            timeLimitPassed = true
            return [.kill]

        case .restartDue:
            guard restartAt != nil, !isAlive, !stoppedByUser else { return [] }
            restartAt = nil
            restarts += 1
            attempts += 1
            return [.launch]

        case .checked(let failure):
            guard status == .running else { return [] }
            return health.apply(failure, runningFor: now - (startedAt ?? now))

        case .endUnhealthy(let restart):
            try require(isAlive, "is \(status.rawValue)")
            (isStopping, restartsOnce) = (true, restart)
            if !restart { stoppedByUser = true }
            return restart ? [] : [.cancelTimeLimit]
        }
    }

    /// An exit as it is told: with the reason that only the engine knows, and the event of an out-of-memory kill that is news.
    private mutating func told(_ exit: ExitRecord) -> (ExitRecord, [Effect]) {
        var record = exit
        if timeLimitPassed {
            record.reason = .timeLimit
        } else if isStopping, record.reason == .signal || record.reason == .exited {
            record.reason = .stopped
        }
        let isNews = record.oomKilled && (record.oomKills > oomKills || oomKills == 0)
        oomKills = max(oomKills, record.oomKills)
        return (record, isNews ? [.emit("container.oom")] : [])
    }

    private mutating func ended(_ record: ExitRecord, now: Double, emitting first: [Effect]) -> [Effect] {
        stopped(record, now: now, emitting: first) + follow(.builtIn, record, now: now)
    }

    private mutating func stopped(_ record: ExitRecord, now: Double, emitting first: [Effect]) -> [Effect] {
        let ranFor = isAlive ? now - (startedAt ?? now) : 0
        if ranFor >= RestartPolicy.healthyRun { attempts = 0 }
        (status, pid, exit, isStopping) = (.stopped, nil, record, false)
        var effects = first + [.emit("container.exited"), .wakeWaiters]
        if hasTimeLimit { effects.append(.cancelTimeLimit) }
        if ownStateEnds != nil { effects.append(.cancelOwnState) }
        (ownState, ownStateEnds) = (nil, nil)
        effects.append(.tearDown)
        return effects
    }

    /// What comes after an exit.
    private mutating func follow(_ decision: ExitDecision, _ record: ExitRecord, now: Double) -> [Effect] {
        defer { (timeLimitPassed, restartsOnce) = (false, false) }
        var delay: Double?
        switch decision {
        case .builtIn:
            // A start that a user asked for and that failed is theirs to repeat; only a policy's own restarts go on after a failed start.
            let mayRestart = record.reason != .startFailed || restarts > 0
            if mayRestart, !timeLimitPassed, restartsOnce || policy.wants(record, attempts: attempts) {
                delay = policy.delay(afterAttempts: attempts)
            }
        case .restart(let after): delay = after ?? policy.delay(afterAttempts: attempts)
        case .keep: return []
        case .remove: return [.remove]
        }
        // A user's stop holds, whatever a program wants.
        if let delay, !stoppedByUser {
            restartAt = now + delay
            return [.restart(after: delay)]
        }
        return removesOnExit ? [.remove] : []
    }

    private func require(_ condition: Bool, _ why: String) throws(LunetteError) {
        guard condition else { throw LunetteError(.invalidState, "the container \(why)") }
    }
}
