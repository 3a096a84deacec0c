import CLinux

/// Programs that join the container: each has its own small plan and streams; the shim is their parent and reaps them.
final class Execs {
    struct Exec {
        var isUsed = false
        var number: UInt32 = 0
        var requestID: UInt32 = 0
        var gate: Int32 = -1
        /// The first process, which enters the namespaces; 0 when it is gone.
        var helper: Int32 = 0
        var pid: Int32 = 0
        var handle: Int32 = -1
        var stdin: Int32 = -1
        var terminal: Int32 = -1
        var stdio = Stdio()
        var plan: Plan?
        var notifying = NotifyingProcess()
        var isStarted = false
        var hasFailed = false
        var isEnded = false
        var status: Int32 = 0
        var pending: PendingAttach?
        var key = Key()
    }

    /// Tells a repeated request from a new one; zeros are none.
    struct Key {
        private var halves: (UInt64, UInt64) = (0, 0)
        var isGiven: Bool { halves.0 != 0 || halves.1 != 0 }

        init() {}
        init(_ options: lnt_attach) { halves = withUnsafeBytes(of: options.key) { $0.loadUnaligned(as: (UInt64, UInt64).self) } }
        func matches(_ other: Key) -> Bool { isGiven && halves == other.halves }
    }

    /// What became of an exec that has ended.
    private struct Ended {
        var key = Key()
        var event = lnt_exec_event()
    }

    /// A ring; its page is touched when the first exec with a key ends.
    private let remembered: UnsafeMutablePointer<Ended>
    private var endedCount = 0

    private let table: UnsafeMutablePointer<Exec>
    private var count = 0
    private var lastNumber: UInt32 = 0

    init?() {
        let size = Int(LNT_EXECS) * MemoryLayout<Exec>.stride
        guard let memory = lnt_map_anonymous(size), let ring = lnt_map_anonymous(Int(LNT_EXECS_REMEMBERED) * MemoryLayout<Ended>.stride)
        else {
            return nil
        }
        table = memory.assumingMemoryBound(to: Exec.self)
        remembered = ring.assumingMemoryBound(to: Ended.self)
    }

    var isEmpty: Bool {
        for index in 0..<count where table[index].isUsed { return false }
        return true
    }

    private func index(_ number: UInt32) -> Int? {
        for index in 0..<count where table[index].isUsed && table[index].number == number { return index }
        return nil
    }

    func eachGate(_ body: (Int32, Int) -> Void) {
        for index in 0..<count where table[index].isUsed && table[index].gate >= 0 { body(table[index].gate, index) }
    }
    func handle(_ number: UInt32) -> Int32 { index(number).map { table[$0].handle } ?? -1 }
    func terminal(_ number: UInt32) -> Int32 { index(number).map { table[$0].terminal } ?? -1 }
    func input(_ number: UInt32) -> Int32 { index(number).map { table[$0].terminal >= 0 ? table[$0].terminal : table[$0].stdin } ?? -1 }

    func closeInput(_ number: UInt32, _ monitor: Monitor) {
        guard let index = index(number) else { return }
        if table[index].terminal >= 0 {
            var end: UInt8 = 4
            if monitor.relay.reads(table[index].terminal, of: number) { _ = lnt_write(table[index].terminal, &end, 1) }
        } else if table[index].stdin >= 0 {
            // What is still to be written would go to whatever gets the number next.
            monitor.relay.endInputs(of: number)
            _ = lnt_close(table[index].stdin)
            table[index].stdin = -1
        }
    }

    // MARK: starting

    /// - Returns: how many of the request's descriptors were taken over.
    func start(_ request: Request, _ options: lnt_attach, _ monitor: Monitor) -> Int {
        let id = options.message.id
        if repeatsKnown(request, options, monitor) { return 0 }
        guard monitor.state == LNT_IS_RUNNING, monitor.initHandle >= 0 else {
            monitor.done(request.connection, id, Int32(LNT_ESRCH))
            return 0
        }
        guard request.received.count >= 1 else {
            monitor.done(request.connection, id, Int32(LNT_EINVAL))
            return 0
        }
        var free = 0
        while free < count, table[free].isUsed { free += 1 }
        guard free < Int(LNT_EXECS) else {
            monitor.done(request.connection, id, Int32(LNT_EAGAIN))
            return 0
        }
        count = max(count, free + 1)
        lastNumber += 1
        table[free] = Exec(isUsed: true, number: lastNumber, requestID: id)
        table[free].key = Key(options)
        var received = request.received
        withUnsafeMutableBytes(of: &received.fds) { bytes in
            bytes.baseAddress!.copyMemory(from: bytes.baseAddress! + 4, byteCount: bytes.count - 4)
        }
        received.count -= 1
        table[free].pending = PendingAttach(options: options, received: received)
        monitor.done(request.connection, id, 0, process: lastNumber)
        do throws(Failure) {
            try launch(free, planDescriptor: request.descriptor(0), monitor)
        } catch {
            fail(free, error.record(type: LNT_MSG_EXEC_FAILED, id: id, process: table[free].number), monitor)
        }
        _ = lnt_close(request.descriptor(0))
        return Int(request.received.count)
    }

    /// Answers a request that was made before, by an engine that died, with what became of the first.
    private func repeatsKnown(_ request: Request, _ options: lnt_attach, _ monitor: Monitor) -> Bool {
        let key = Key(options)
        let id = options.message.id
        for index in 0..<count where table[index].isUsed && table[index].key.matches(key) && !table[index].hasFailed {
            // The rest of its life is told with the new request's id.
            table[index].requestID = id
            monitor.done(request.connection, id, 0, process: table[index].number)
            if table[index].isStarted { event(index, LNT_MSG_EXEC_STARTED, monitor) }
            return true
        }
        for index in 0..<min(endedCount, Int(LNT_EXECS_REMEMBERED)) where remembered[index].key.matches(key) {
            var event = remembered[index].event
            event.message.id = id
            monitor.done(request.connection, id, 0, process: event.process)
            for type in [LNT_MSG_EXEC_STARTED, LNT_MSG_EXEC_EXITED] {
                event.message.type = type.rawValue
                monitor.tell(request.connection, &event, MemoryLayout<lnt_exec_event>.size)
            }
            return true
        }
        return false
    }

    private func launch(_ index: Int, planDescriptor: Int32, _ monitor: Monitor) throws(Failure) {
        (currentStep, currentIndex) = (LNT_SET_UP.rawValue, 0)
        let plan = try Plan(fd: planDescriptor, kind: LNT_PLAN_EXEC)
        table[index].plan = plan
        let number = table[index].number
        var fields = try plan.fields(LNT_STDIO)
        var stdio = Stdio()
        stdio.terminal = try fields.flag()
        let wantsStdin = try fields.flag()
        stdio.rows = try fields.word()
        stdio.columns = try fields.word()
        if let options = table[index].pending?.options, options.rows > 0 { (stdio.rows, stdio.columns) = (options.rows, options.columns) }
        if !stdio.terminal {
            let out = try Monitor.pipe()
            let error = try Monitor.pipe()
            (stdio.output, stdio.error) = (out.write, error.write)
            let hasRoom =
                monitor.relay.add(out.read, process: number, which: 1, isLogged: false)
                && monitor.relay.add(error.read, process: number, which: 2, isLogged: false)
            guard hasRoom else { throw failure("streams", errno: Int32(LNT_EAGAIN)) }
            if wantsStdin {
                let input = try Monitor.pipe()
                stdio.input = input.read
                table[index].stdin = input.write
                _ = lnt_set_nonblocking(input.write, 1)
            } else {
                stdio.input = try StreamDevice.guarded(try openNullDevice(Int32(LNT_O_RDONLY)))
            }
            attach(index, monitor)
        }
        var ends: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) {
            lnt_socketpair(Int32(LNT_SOCK_SEQPACKET), $0.assumingMemoryBound(to: Int32.self).baseAddress!)
        }
        try check(result, "socketpair")
        table[index].gate = ends.0
        defer { closeAll(ends.1, stdio.input, stdio.output, stdio.error) }
        try check(lnt_pass_credentials(ends.0), "setsockopt")
        let cgroup = try plan.openUnifiedCgroup()
        defer { if cgroup >= 0 { _ = lnt_close(cgroup) } }
        let shim = lnt_getpid()
        let pid = lnt_clone3(0, nil, Int32(LNT_SIGCHLD), cgroup)
        if pid == 0 {
            let stage = JoinStage(
                plan: plan, shim: shim, gate: ends.1, container: monitor.initHandle, stdio: stdio, kinds: monitor.execKinds)
            stage.run()
        }
        table[index].helper = try check(pid, "clone3", literal("an exec"))
    }

    private func attach(_ index: Int, _ monitor: Monitor) {
        guard let pending = table[index].pending else { return }
        table[index].pending = nil
        if monitor.attach(pending, process: table[index].number) != 0 {
            for number in 0..<Int(pending.received.count) {
                _ = lnt_close(withUnsafeBytes(of: pending.received.fds) { $0.load(fromByteOffset: number * 4, as: Int32.self) })
            }
        }
    }

    // MARK: news

    func readGate(_ index: Int, _ monitor: Monitor) {
        while table[index].isUsed, table[index].gate >= 0 {
            var record = lnt_failure()
            var received = lnt_received()
            guard lnt_receive(table[index].gate, &record, MemoryLayout<lnt_failure>.size, &received, 0) >= 0 else { return }
            switch received.size {
            case MemoryLayout<lnt_failure>.size:
                record.message.id = table[index].requestID
                record.process = table[index].number
                fail(index, record, monitor)
            case MemoryLayout<BornMessage>.size:
                table[index].pid = withUnsafeBytes(of: &record) { $0.loadUnaligned(as: BornMessage.self) }.pid
            case MemoryLayout<ReadyMessage>.size:
                ready(index, received, withUnsafeBytes(of: &record) { $0.loadUnaligned(as: ReadyMessage.self) }, monitor)
            case MemoryLayout<ListenerMessage>.size:
                do throws(Failure) {
                    guard let plan = table[index].plan else { break }
                    try table[index].notifying.receive(record, received, plan, container: monitor.programPID)
                    openGate(index, plan)
                } catch {
                    fail(index, error.record(type: LNT_MSG_EXEC_FAILED, id: table[index].requestID, process: table[index].number), monitor)
                }
            case 0:
                _ = lnt_close(table[index].gate)
                table[index].gate = -1
                guard table[index].plan == nil, !table[index].hasFailed else { return }  // otherwise the wait tells
                table[index].isStarted = true
                event(index, LNT_MSG_EXEC_STARTED, monitor)
            default: break
            }
        }
    }

    private func ready(_ index: Int, _ received: lnt_received, _ message: ReadyMessage, _ monitor: Monitor) {
        let hasTerminal = message.hasTerminal != 0
        guard message.hasAll(received) else {
            (currentStep, currentIndex) = (LNT_EXECUTE.rawValue, 0)
            let record = failure("receive", errno: Int32(LNT_EPROTO))
                .record(type: LNT_MSG_EXEC_FAILED, id: table[index].requestID, process: table[index].number)
            if received.count > 0 { _ = lnt_close(received.fds.0) }
            return fail(index, record, monitor)
        }
        table[index].handle = received.fds.0
        if table[index].pid == 0 { table[index].pid = received.pid }
        guard let plan = table[index].plan else { return }
        do throws(Failure) {
            if hasTerminal {
                table[index].terminal = received.fds.1
                _ = monitor.relay.add(received.fds.1, process: table[index].number, which: 1, isLogged: false)
                attach(index, monitor)
            }
            try monitor.prepareProgram(
                plan, received, raisesLimits: message.raisesLimits != 0, process: hasTerminal ? UInt32.max : table[index].number)
        } catch {
            fail(index, error.record(type: LNT_MSG_EXEC_FAILED, id: table[index].requestID, process: table[index].number), monitor)
        }
        table[index].notifying.isReady = true
        openGate(index, plan)
    }

    /// Lets the program run, unless its listener isn't where it belongs yet.
    private func openGate(_ index: Int, _ plan: Plan) {
        guard !table[index].hasFailed, table[index].notifying.mayRun(plan) else { return }
        var word = GateMessage.open
        _ = lnt_send(table[index].gate, &word, 4, nil, 0, 0)
        plan.unmap()
        table[index].plan = nil
    }

    private func fail(_ index: Int, _ record: lnt_failure, _ monitor: Monitor) {
        guard !table[index].hasFailed else { return }
        table[index].hasFailed = true
        var record = record
        record.message.type = LNT_MSG_EXEC_FAILED.rawValue
        monitor.tellAll(&record, MemoryLayout<lnt_failure>.size)
        if table[index].handle >= 0 { _ = lnt_pidfd_send_signal(table[index].handle, Int32(LNT_SIGKILL)) }
        if table[index].helper > 0 { _ = lnt_kill(table[index].helper, Int32(LNT_SIGKILL)) }
        if table[index].helper == 0, table[index].pid == 0 { table[index].isEnded = true }
    }

    private func event(_ index: Int, _ type: lnt_message_type, _ monitor: Monitor) {
        var event = news(index, type)
        monitor.tellAll(&event, MemoryLayout<lnt_exec_event>.size)
    }

    private func news(_ index: Int, _ type: lnt_message_type) -> lnt_exec_event {
        var event = lnt_exec_event()
        event.message.type = type.rawValue
        event.message.id = table[index].requestID
        event.process = table[index].number
        event.pid = table[index].pid
        event.status = table[index].status
        event.time = lnt_clock_realtime()
        return event
    }

    func reaped(_ pid: Int32, _ status: Int32, _ monitor: Monitor) {
        for index in 0..<count where table[index].isUsed && (table[index].helper == pid || table[index].pid == pid) {
            // What it said last comes first: the pid of the program, a failure, or the end of the gate.
            if table[index].gate >= 0 { readGate(index, monitor) }
            if table[index].helper == pid {
                table[index].helper = 0
                if table[index].pid > 0 { return }
                if !table[index].hasFailed {
                    let record = earlyEnd(of: "the join stage", status)
                        .record(type: LNT_MSG_EXEC_FAILED, id: table[index].requestID, process: table[index].number)
                    fail(index, record, monitor)
                }
            }
            table[index].status = status
            table[index].isEnded = true
            return
        }
    }

    /// Reports execs that have ended once their output was handed over.
    func settle(_ monitor: Monitor) {
        for index in 0..<count where table[index].isUsed && table[index].isEnded {
            let number = table[index].number
            guard monitor.relay.finish(number, log: nil, dropped: { process, which in monitor.tellDropped(process, which) }) else {
                continue
            }
            if !table[index].hasFailed {
                if !table[index].isStarted { event(index, LNT_MSG_EXEC_STARTED, monitor) }
                event(index, LNT_MSG_EXEC_EXITED, monitor)
                if table[index].key.isGiven {
                    remembered[endedCount % Int(LNT_EXECS_REMEMBERED)] = Ended(
                        key: table[index].key, event: news(index, LNT_MSG_EXEC_EXITED))
                    endedCount += 1
                }
            }
            monitor.relay.endInputs(of: number)
            closeAll(table[index].gate, table[index].handle, table[index].stdin, -1)
            table[index].plan?.unmap()
            if let pending = table[index].pending {
                for number in 0..<Int(pending.received.count) {
                    _ = lnt_close(withUnsafeBytes(of: pending.received.fds) { $0.load(fromByteOffset: number * 4, as: Int32.self) })
                }
            }
            // Streams that the exec's children hold open are read away until they end.
            table[index] = Exec()
        }
        while count > 0, !table[count - 1].isUsed { count -= 1 }
    }
}
