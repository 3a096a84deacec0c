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
            return [.cancelRestart, .launch]

        case .started(let pid):
            try require(!isAlive && status != .creating, "is \(status.rawValue)")
            (status, self.pid, startedAt, exit, restartAt, oomKills) = (.running, pid, now, nil, nil, 0)
            return hasTimeLimit ? [.emit("container.started"), .armTimeLimit] : [.emit("container.started")]

        case .startFailed(let message, let code):
            try require(!isAlive, "is \(status.rawValue)")
            let record = ExitRecord(code: code, reason: .startFailed, finishedAt: now, message: message)
            return ended(record, now: now, emitting: [])

        case .exited(let record):
            try require(isAlive, "is \(status.rawValue)")
            var record = record
            if timeLimitPassed {
                record.reason = .timeLimit
            } else if isStopping, record.reason == .signal || record.reason == .exited {
                record.reason = .stopped
            }
            let isNews = record.oomKilled && (record.oomKills > oomKills || oomKills == 0)
            oomKills = max(oomKills, record.oomKills)
            return ended(record, now: now, emitting: isNews ? [.emit("container.oom")] : [])

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
        }
    }

    private mutating func ended(_ record: ExitRecord, now: Double, emitting first: [Effect]) -> [Effect] {
        let ranFor = isAlive ? now - (startedAt ?? now) : 0
        if ranFor >= RestartPolicy.healthyRun { attempts = 0 }
        (status, pid, exit, isStopping) = (.stopped, nil, record, false)
        var effects = first + [.emit("container.exited"), .wakeWaiters]
        if hasTimeLimit { effects.append(.cancelTimeLimit) }
        effects.append(.tearDown)
        // A start that a user asked for and that failed is theirs to repeat; only a policy's own restarts go on after a failed start.
        let mayRestart = record.reason != .startFailed || restarts > 0
        if mayRestart, !stoppedByUser, !timeLimitPassed, policy.wants(record, attempts: attempts) {
            let delay = policy.delay(afterAttempts: attempts)
            restartAt = now + delay
            effects.append(.restart(after: delay))
        } else if removesOnExit {
            effects.append(.remove)
        }
        timeLimitPassed = false
        return effects
    }

    private func require(_ condition: Bool, _ why: String) throws(LunetteError) {
        guard condition else { throw LunetteError(.invalidState, "the container \(why)") }
    }
}
