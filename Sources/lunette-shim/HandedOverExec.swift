import CLinux

/// An exec into a container that nobody monitors: the shim is spawned for it, and leaves once the program runs.
///
/// Descriptor 7 is a pidfd of the container's pid 1. The answers are those of an exec in a monitor: EXEC_STARTED or EXEC_FAILED.
struct HandedOverExec {
    private let plan: Plan
    private let handover: HandoverSettings

    private static let container: Int32 = Handed.last + 1

    static func run() -> Never {
        do throws(Failure) {
            let plan = try Plan(fd: Handed.plan, kind: LNT_PLAN_EXEC)
            // What it says of groups is remembered.
            _ = try Rootless(plan)
            var event = try HandedOverExec(plan: plan, handover: try HandoverSettings(plan: plan)).start()
            let sent = lnt_send(
                Handed.control, &event.message, MemoryLayout<lnt_exec_event>.size, &event.terminal, event.terminal >= 0 ? 1 : 0, 1)
            // Nobody is left who could look after it.
            if sent < 0 { _ = lnt_pidfd_send_signal(event.handle, Int32(LNT_SIGKILL)) }
        } catch {
            var record = error.record(type: LNT_MSG_EXEC_FAILED, id: 0, process: 1)
            _ = lnt_send(Handed.control, &record, MemoryLayout<lnt_failure>.size, nil, 0, 1)
            lnt_exit(1)
        }
        lnt_exit(0)
    }

    private struct Started {
        var message = lnt_exec_event()
        var terminal: Int32 = -1
        var handle: Int32 = -1
    }

    private func start() throws(Failure) -> Started {
        var fields = try plan.fields(LNT_STDIO)
        var stdio = Stdio()
        stdio.terminal = try fields.flag()
        _ = try fields.flag()
        stdio.rows = try fields.word()
        stdio.columns = try fields.word()
        if !stdio.terminal { (stdio.input, stdio.output, stdio.error) = (0, 1, 2) }
        try StreamDevice.guarded(&stdio)
        var ends: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) {
            lnt_socketpair(Int32(LNT_SOCK_SEQPACKET), $0.assumingMemoryBound(to: Int32.self).baseAddress!)
        }
        try check(result, "socketpair")
        try check(lnt_pass_credentials(ends.0), "setsockopt")
        let cgroup = try plan.openUnifiedCgroup()
        let shim = lnt_getpid()
        (currentStep, currentIndex) = (LNT_SET_UP.rawValue, 0)
        let helper = lnt_clone3(0, nil, Int32(LNT_SIGCHLD), cgroup)
        if helper == 0 {
            let stage = JoinStage(
                plan: plan, shim: shim, gate: ends.1, container: Self.container, stdio: stdio, kinds: handover.kinds, handover: handover)
            stage.run()
        }
        try check(helper, "clone3", literal("an exec"))
        _ = lnt_close(ends.1)
        if cgroup >= 0 { _ = lnt_close(cgroup) }
        return try follow(ends.0, helper)
    }

    /// Reads what the stages say until the gate's end says that the program runs.
    private func follow(_ gate: Int32, _ helper: Int32) throws(Failure) -> Started {
        var started = Started()
        started.message.message.type = LNT_MSG_EXEC_STARTED.rawValue
        started.message.process = 1
        var isOpen = false
        var isReaped = false
        var notifying = NotifyingProcess()
        while true {
            var record = lnt_failure()
            var received = lnt_received()
            let result = lnt_receive(gate, &record, MemoryLayout<lnt_failure>.size, &received, 1)
            try check(result, "recvmsg", literal("the gate"))
            switch received.size {
            case MemoryLayout<lnt_failure>.size: report(record, helper, started.handle)
            case MemoryLayout<BornMessage>.size:
                started.message.pid = withUnsafeBytes(of: &record) { $0.loadUnaligned(as: BornMessage.self) }.pid
            case MemoryLayout<ReadyMessage>.size:
                let ready = withUnsafeBytes(of: &record) { $0.loadUnaligned(as: ReadyMessage.self) }
                guard ready.hasAll(received) else {
                    let record = failure("receive", errno: Int32(LNT_EPROTO)).record(type: LNT_MSG_EXEC_FAILED, id: 0, process: 1)
                    report(record, helper, received.count > 0 ? received.fds.0 : -1)
                }
                started.handle = received.fds.0
                if started.message.pid == 0 { started.message.pid = received.pid }
                do throws(Failure) {
                    if ready.hasTerminal != 0, !(try handover.sendTerminal(received.fds.1)) { started.terminal = received.fds.1 }
                    if ready.raisesLimits != 0 { try raiseLimits(plan, pid: received.pid) }
                    try setScheduling(plan, pid: received.pid)
                } catch {
                    report(error.record(type: LNT_MSG_EXEC_FAILED, id: 0, process: 1), helper, started.handle)
                }
                if ready.hasTerminal == 0 { giveStdio(to: received.uid) }
                // The join stage has done its work; its own end isn't the program's.
                var status: Int32 = 0
                _ = lnt_wait(helper, &status, 1)
                isReaped = true
                notifying.isReady = true
                isOpen = letRun(notifying, gate)
            case MemoryLayout<ListenerMessage>.size:
                do throws(Failure) {
                    try notifying.receive(record, received, plan, container: 0)
                } catch {
                    report(error.record(type: LNT_MSG_EXEC_FAILED, id: 0, process: 1), helper, started.handle)
                }
                if !isOpen { isOpen = letRun(notifying, gate) }
            case 0:
                guard isOpen else {
                    var status: Int32 = 0
                    let isKnown = !isReaped && lnt_wait(helper, &status, 1) == helper
                    throw earlyEnd(of: "the join stage", isKnown ? status : nil)
                }
                started.message.time = lnt_clock_realtime()
                return started
            default: break
            }
        }
    }

    private func letRun(_ process: NotifyingProcess, _ gate: Int32) -> Bool {
        guard process.mayRun(plan) else { return false }
        var word = GateMessage.open
        _ = lnt_send(gate, &word, 4, nil, 0, 0)
        return true
    }

    private func report(_ record: lnt_failure, _ helper: Int32, _ program: Int32) -> Never {
        var record = record
        record.message.type = LNT_MSG_EXEC_FAILED.rawValue
        if program >= 0 { _ = lnt_pidfd_send_signal(program, Int32(LNT_SIGKILL)) }
        _ = lnt_kill(helper, Int32(LNT_SIGKILL))
        // Both are reaped before the failure is told: what is gone can't be taken for the container's.
        var status: Int32 = 0
        while lnt_wait(-1, &status, 1) > 0 {}
        _ = lnt_send(Handed.control, &record, MemoryLayout<lnt_failure>.size, nil, 0, 1)
        lnt_exit(1)
    }
}
