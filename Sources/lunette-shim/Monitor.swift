import CLinux

/// Descriptors that the engine hands over at the spawn.
enum Handed {
    static let plan: Int32 = 3
    static let control: Int32 = 4
    static let stateFolder: Int32 = 5
    static let containerFolder: Int32 = 6
    /// The last that is always there; passed ones follow.
    static let last: Int32 = 6
}

/// One container's monitor: launches it, keeps its output and exit status, answers on the control socket. One event loop, nothing blocks.
final class Monitor {
    var state = LNT_LAUNCHING
    var settings = MonitorSettings()
    var handover = HandoverSettings()
    var isAwaitingHooks = false
    /// What pid 1 said before the namespace stage could say who pid 1 is: two processes write to the gate.
    var early: (hooks: Bool, ready: ReadyMessage?, received: lnt_received) = (false, nil, lnt_received())
    var plan: Plan?
    /// What was made before the plan came.
    let ahead: NamespacesAhead
    var relay: Relay
    var log: UnsafeMutablePointer<LogFile>?
    let execs: Execs

    // Descriptors
    var signals: Int32 = -1
    var listening: Int32 = -1
    var connections = Connections()
    var gate: Int32 = -1
    var childGate: Int32 = -1
    /// Init's end of the lifeline, until init has its own copy.
    var initLifeline: Int32 = -1
    var lifeline: Int32 = -1
    var stdio = Stdio()
    /// The program's stdin: the pipe's end, or the pty's master.
    var stdin: Int32 = -1
    var terminal: Int32 = -1
    var programHandle: Int32 = -1
    var initHandle: Int32 = -1

    /// The program, when it has a seccomp listener.
    var notifying = NotifyingProcess()

    // Processes, by host pid; 0 = none
    /// The first process, as long as it makes namespaces.
    var holder: Int32 = 0
    /// Whether that is pid 1 itself.
    var holderIsInit = false
    var initPID: Int32 = 0
    var programPID: Int32 = 0
    var hostUID: UInt32 = 0
    var hostGID: UInt32 = 0
    /// What an exec joins: everything that isn't the host's.
    var execKinds: UInt64 = 0

    // Life
    var isStartWanted = false
    var pendingStart: PendingAttach?
    var isGateOpen = false
    var isReleased = false
    var isAborted = false
    var releaseDeadline: UInt64 = 0
    var status: Int32 = 0
    var hasStatus = false
    var oomKills: UInt64 = 0
    var outOfMemory = OutOfMemoryWatch()
    var startedAt: UInt64 = 0
    var endedAt: UInt64 = 0
    var failureRecord = lnt_failure()
    var marks: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    /// Detached trees by number, then what joins the cgroups: GO brings them all.
    let slots: UnsafeMutablePointer<Int32>
    let cgroups: CgroupJoin
    static let goSize = (Int(LNT_SLOTS) + CgroupJoin.most) * 4
    let polls: UnsafeMutablePointer<lnt_poll>
    let pollTargets: UnsafeMutablePointer<PollTarget>

    enum PollKind { case signals, listening, connection, gate, lifeline, stream, sink, input, exec, memory }
    struct PollTarget {
        var kind: PollKind
        var index: Int
    }
    static let pollLimit = 512

    init(spawned: UInt64, ahead: NamespacesAhead) {
        // Out of memory here: there is nobody to tell yet.
        guard
            let memory = lnt_map_anonymous(
                Self.goSize + Self.pollLimit * (MemoryLayout<lnt_poll>.stride + MemoryLayout<PollTarget>.stride)),
            // Which of them failed is no matter: either is memory, and the guard says so.
            let relay = try? Relay(), let execs = Execs()
        else { lnt_exit(125) }
        slots = memory.assumingMemoryBound(to: Int32.self)
        cgroups = CgroupJoin(storage: slots + Int(LNT_SLOTS))
        polls = (memory + Self.goSize).assumingMemoryBound(to: lnt_poll.self)
        pollTargets = (memory + Self.goSize + Self.pollLimit * MemoryLayout<lnt_poll>.stride).assumingMemoryBound(
            to: PollTarget.self)
        for index in 0..<Int(LNT_SLOTS) { slots[index] = -1 }
        self.relay = relay
        self.execs = execs
        self.ahead = ahead
        marks.0 = spawned
    }

    func run() -> Never {
        do throws(Failure) { try launch() } catch { fail(stagesWord() ?? error.record(type: LNT_MSG_FAILED, id: 0, process: 0)) }
        while true {
            endUnattended()
            // Before the first turn too: what failed before any process was made leaves nothing that would end a wait.
            leaveIfDone()
            turn()
        }
    }

    // MARK: the loop

    private func turn() {
        var count = 0
        func add(_ fd: Int32, _ events: Int32, _ kind: PollKind, _ index: Int = 0) {
            guard fd >= 0, count < Self.pollLimit else { return }
            polls[count] = lnt_poll(fd: fd, events: Int16(events), revents: 0)
            pollTargets[count] = PollTarget(kind: kind, index: index)
            count += 1
        }
        add(signals, Int32(LNT_IN), .signals)
        if connections.count < Connections.limit { add(listening, Int32(LNT_IN), .listening) }
        for index in 0..<connections.count { add(connections[index], Int32(LNT_IN), .connection, index) }
        add(gate, Int32(LNT_IN), .gate)
        add(lifeline, Int32(LNT_IN), .lifeline)
        add(outOfMemory.fd, outOfMemory.events, .memory)
        var isWaitingForTerminal = false
        for index in 0..<relay.streamCount where relay.streams[index].isUsed && relay.streams[index].length == 0 {
            add(relay.streams[index].fd, Int32(LNT_IN), .stream, index)
        }
        for index in 0..<relay.sinkCount where relay.sinks[index].isUsed {
            let sink = relay.sinks[index]
            guard sink.position < relay.streams[Int(sink.stream)].length else {
                // For the end of its reader alone, which poll always tells: a silent program would keep the pipes of all who ever looked.
                add(sink.fd, 0, .sink, index)
                continue
            }
            add(sink.fd, Int32(LNT_OUT), .sink, index)
            if sink.stalledSince > 0 { isWaitingForTerminal = true }
        }
        for index in 0..<relay.inputCount where relay.inputs[index].isUsed {
            let input = relay.inputs[index]
            if input.position == input.length {
                add(input.source, Int32(LNT_IN), .input, index)
            } else {
                add(input.destination, Int32(LNT_OUT), .input, index)
            }
        }
        execs.eachGate { add($0, Int32(LNT_IN), .exec, $1) }
        let pause: Int64 = isWaitingForTerminal || releaseDeadline > 0 ? 200 : -1
        _ = lnt_wait_ready(polls, count, outOfMemory.isBusy ? OutOfMemoryWatch.pause : pause)
        for index in 0..<count where polls[index].revents != 0 { dispatch(pollTargets[index], polls[index]) }
        if isWaitingForTerminal { for index in 0..<relay.streamCount where relay.streams[index].length > 0 { pump(index) } }
        if outOfMemory.isBusy { lookAtOutOfMemory() }
        execs.settle(self)
    }

    private func dispatch(_ target: PollTarget, _ poll: lnt_poll) {
        let fd = poll.fd
        switch target.kind {
        case .signals:
            while lnt_next_signal(signals) != 0 {}
            // What a process said last comes before the news of its end.
            if gate >= 0 { readGate() }
            readLifeline()
            reap()
        case .listening: accept()
        case .connection: if connections.holds(fd) { readRequests(fd) }
        case .gate: if fd == gate { readGate() }
        case .lifeline: if fd == lifeline { readLifeline() }
        case .stream: pump(target.index)
        case .sink:
            // Another event of this turn may have closed it, and its number may be a newer one's.
            guard relay.sinks[target.index].isUsed, relay.sinks[target.index].fd == fd else { return }
            let stream = Int(relay.sinks[target.index].stream)
            if relay.sinks[target.index].position < relay.streams[stream].length { return pump(stream) }
            if Int32(poll.revents) & ~Int32(LNT_OUT) != 0 {
                let (process, which) = (relay.streams[stream].process, relay.streams[stream].which)
                relay.release(target.index)
                tellDropped(process, which)
            }
        case .input:
            guard relay.inputs[target.index].isUsed else { return }
            relay.pumpInput(target.index)
            // At once: the next input of this turn may end too.
            closeFinishedInput()
        case .exec: execs.readGate(target.index, self)
        case .memory: outOfMemorySaid()
        }
    }

    func pump(_ index: Int) {
        relay.pump(index, log: log) { process, which in tellDropped(process, which) }
    }

    func tellDropped(_ process: UInt32, _ which: UInt32) {
        var event = lnt_exec_event()
        event.message.type = LNT_MSG_SINK_DROPPED.rawValue
        event.process = process
        event.stream = which
        tellAll(&event, MemoryLayout<lnt_exec_event>.size)
    }

    /// A pipe's end is closed so that the program reads the end; a terminal is told by the character for it.
    private func closeFinishedInput() {
        guard relay.closedInput != UInt32.max else { return }
        let process = relay.closedInput
        relay.closedInput = UInt32.max
        if process > 0 { return execs.closeInput(process, self) }
        closeStdin()
    }

    func closeStdin() {
        if terminal >= 0 {
            var end: UInt8 = 4
            if relay.reads(terminal, of: 0) { _ = lnt_write(terminal, &end, 1) }
        } else if stdin >= 0 {
            relay.endInputs(of: 0)
            _ = lnt_close(stdin)
            stdin = -1
        }
    }

    // MARK: processes

    private func reap() {
        // Pid 1 is its next parent's to wait for, even when it ends before this shim leaves.
        if handover.isOn { return reapHolder() }
        while true {
            var raw: Int32 = 0
            let pid = lnt_wait(-1, &raw, 0)
            if pid <= 0 { return }
            if pid == holder {
                holder = 0
                if raw != 0, state == LNT_LAUNCHING, initPID == 0 { return fail(lost("the namespace stage", raw)) }
            } else if pid == initPID {
                initPID = 0
                if !hasStatus, isGateOpen || state == LNT_IS_CREATED || state == LNT_IS_RUNNING { ended(raw) }
                if !hasStatus, state == LNT_LAUNCHING { return fail(lost("pid 1", raw)) }
            } else {
                execs.reaped(pid, raw, self)
            }
        }
    }

    private func reapHolder() {
        var raw: Int32 = 0
        guard holder > 0, lnt_wait(holder, &raw, 0) == holder else { return }
        holder = 0
        if raw != 0, state == LNT_LAUNCHING, initPID == 0 { fail(lost("the namespace stage", raw)) }
    }

    /// A stage that ended before it could say anything.
    /// - Parameter raw: its wait status; nil asks for that of pid 1, which nobody has waited for.
    func lost(_ what: StaticString, _ raw: Int32? = nil) -> Failure {
        let raw = raw ?? statusOfInit()
        return earlyEnd(of: what, raw, outOfMemory: settings.countOOMKills() > settings.oomBefore)
    }

    private func statusOfInit() -> Int32? {
        guard initPID > 0, initHandle >= 0 else { return nil }
        // Its descriptors are closed a moment before its end can be waited for.
        var poll = lnt_poll(fd: initHandle, events: Int16(LNT_IN), revents: 0)
        _ = lnt_wait_ready(&poll, 1, 1000)
        var raw: Int32 = 0
        guard lnt_wait(initPID, &raw, 0) == initPID else { return nil }
        initPID = 0
        return raw
    }

    /// Init's report of the program's raw wait status.
    private func readLifeline() {
        guard lifeline >= 0 else { return }
        var raw: Int32 = 0
        var received = lnt_received()
        guard lnt_receive(lifeline, &raw, 4, &received, 0) >= 0 else { return }
        if received.size == 4 { return ended(raw) }
        if received.size == 0 {
            _ = lnt_close(lifeline)
            lifeline = -1
        }
    }

    /// The program has ended: everyone connected is told at once, then the record is made durable.
    private func ended(_ raw: Int32) {
        guard !hasStatus, state != LNT_IS_FAILED else { return }
        if state == LNT_LAUNCHING { return fail(lost("the program", raw)) }
        hasStatus = true
        status = raw
        endedAt = lnt_clock_realtime()
        marks.6 = lnt_clock_monotonic()
        oomKills = settings.countOOMKills() &- settings.oomBefore
        state = LNT_IS_ENDED
        relay.endInputs(of: 0)
        _ = relay.finish(0, log: log) { process, which in tellDropped(process, which) }
        var event = exitEvent()
        tellAll(&event, MemoryLayout<lnt_exit>.size)
        if !settings.attended.isOn, !isAborted || startedAt > 0 { ExitRecord(directory: Handed.stateFolder).write(event) }
    }

    func exitEvent() -> lnt_exit {
        var event = lnt_exit()
        event.message.type = LNT_MSG_EXITED.rawValue
        event.status = status
        event.signal = status & 0x7f
        event.code = event.signal == 0 ? (status >> 8) & 0xff : 128 + event.signal
        event.program_pid = programPID
        event.oom_kills = oomKills
        event.started_at = startedAt
        event.ended_at = endedAt
        return event
    }

    /// The launch failed: what there is of the container is taken down, then the one record goes home.
    func fail(_ failure: Failure) {
        fail(failure.record(type: LNT_MSG_FAILED, id: 0, process: 0))
    }

    func fail(_ record: lnt_failure) {
        guard state != LNT_IS_FAILED, !hasStatus else { return }
        state = LNT_IS_FAILED
        failureRecord = record
        failureRecord.message.type = LNT_MSG_FAILED.rawValue
        takeDown()
        tellAll(&failureRecord, MemoryLayout<lnt_failure>.size)
        if !isAborted, !handover.isOn, !settings.attended.isOn { ExitRecord(directory: Handed.stateFolder).write(failureRecord) }
    }

    /// A failure that a stage has reported already. It comes before one of this process's own, which may only have met what the stage left behind:
    /// the /proc files of a process that has ended are root's.
    private func stagesWord() -> lnt_failure? {
        var record = lnt_failure()
        var received = lnt_received()
        guard gate >= 0, lnt_receive(gate, &record, MemoryLayout<lnt_failure>.size, &received, 0) >= 0 else { return nil }
        return received.size == MemoryLayout<lnt_failure>.size ? record : nil
    }

    /// Kills and reaps what a launch has made; the kernel ends the rest of a pid namespace with its first process.
    private func takeDown() {
        var raw: Int32 = 0
        if holder > 0 {
            _ = lnt_kill(holder, Int32(LNT_SIGKILL))
            _ = lnt_wait(holder, &raw, 1)
        }
        if initPID > 0 {
            _ = lnt_kill(initPID, Int32(LNT_SIGKILL))
            _ = lnt_wait(initPID, &raw, 1)
        }
        (holder, initPID) = (0, 0)
        if gate >= 0 { _ = lnt_close(gate) }
        gate = -1
    }

    private func leaveIfDone() {
        if handover.isOn { return leaveIfHandedOver() }
        switch state {
        case LNT_IS_FAILED: lnt_exit(1)
        case LNT_IS_ENDED:
            guard initPID == 0, execs.isEmpty else { return leaveIfOverdue() }
            if isReleased || connections.count == 0 {
                if relay.isFinished(0) { leave() }
                leaveIfOverdue()
            }
        default: return
        }
    }

    /// Output that a client doesn't take holds the shim up for five seconds at most.
    private func leaveIfOverdue() {
        guard isReleased || connections.count == 0 else { return }
        let now = lnt_clock_monotonic()
        if releaseDeadline == 0 { releaseDeadline = now + 5_000_000_000 }
        if now >= releaseDeadline { leave() }
    }

    private func leave() -> Never {
        relay.closeAll(log: log)
        lnt_exit(0)
    }
}
