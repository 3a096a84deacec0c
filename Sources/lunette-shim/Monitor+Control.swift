import CLinux

/// The control connections: a few descriptors, kept in the order in which they came.
struct Connections {
    static let limit = Int(LNT_CONNECTIONS)
    private var list: InlineArray<16, Int32> = .init(repeating: -1)
    private(set) var count = 0

    subscript(index: Int) -> Int32 { list[index] }

    mutating func add(_ fd: Int32) {
        guard count < Self.limit else { return }
        list[count] = fd
        count += 1
    }

    mutating func remove(_ fd: Int32) {
        for index in 0..<count where list[index] == fd {
            _ = lnt_close(fd)
            for next in index..<count - 1 { list[next] = list[next + 1] }
            count -= 1
            return
        }
    }

    func holds(_ fd: Int32) -> Bool {
        for index in 0..<count where list[index] == fd { return true }
        return false
    }
}

extension Monitor {
    func accept() {
        let fd = lnt_accept(listening)
        guard fd >= 0 else { return }
        connections.add(fd)
        tellState(LNT_MSG_STATE, to: fd)
    }

    // MARK: events

    /// Sends to everyone. Who doesn't read is cut off: a later connection is told the state anew.
    func tellAll(_ data: UnsafeRawPointer, _ size: Int) {
        var index = 0
        while index < connections.count {
            let fd = connections[index]
            if lnt_send(fd, data, size, nil, 0, 0) < 0 { connections.remove(fd) } else { index += 1 }
        }
    }

    func tell(_ fd: Int32, _ data: UnsafeRawPointer, _ size: Int) {
        // One that was cut off: its number may be something else's by now.
        guard connections.holds(fd) else { return }
        if lnt_send(fd, data, size, nil, 0, 0) < 0 { connections.remove(fd) }
    }

    func tellStateToAll(_ type: lnt_message_type) {
        var message = stateMessage(type)
        tellAll(&message, MemoryLayout<lnt_state>.size)
    }

    /// - Parameter descriptor: goes with it when not -1.
    func tellState(_ type: lnt_message_type, to fd: Int32, id: UInt32 = 0, descriptor: Int32 = -1) {
        var message = stateMessage(type)
        message.message.id = id
        guard descriptor >= 0 else { return tell(fd, &message, MemoryLayout<lnt_state>.size) }
        guard connections.holds(fd) else { return }
        var descriptor = descriptor
        if lnt_send(fd, &message, MemoryLayout<lnt_state>.size, &descriptor, 1, 0) < 0 { connections.remove(fd) }
    }

    private func stateMessage(_ type: lnt_message_type) -> lnt_state {
        var message = lnt_state()
        message.message.type = type.rawValue
        message.version = UInt32(LNT_SHIM_VERSION)
        message.state = state.rawValue
        message.shim_pid = lnt_getpid()
        message.init_pid = initPID
        message.program_pid = programPID
        message.host_uid = Int32(bitPattern: hostUID)
        message.host_gid = Int32(bitPattern: hostGID)
        message.status = status
        message.oom_kills = oomKills
        message.started_at = startedAt
        message.ended_at = endedAt
        if let log {
            message.log_sequence = log.pointee.sequence
            message.log_lost = log.pointee.lost
        }
        message.marks = marks
        return message
    }

    func done(_ fd: Int32, _ id: UInt32, _ error: Int32, process: UInt32 = 0) {
        var message = lnt_done()
        message.message.type = LNT_MSG_DONE.rawValue
        message.message.id = id
        message.error = error
        message.process = process
        tell(fd, &message, MemoryLayout<lnt_done>.size)
    }

    // MARK: requests

    func readRequests(_ fd: Int32) {
        withUnsafeTemporaryAllocation(byteCount: Int(LNT_MESSAGE_MAXIMUM), alignment: 8) { bytes in
            while connections.holds(fd) {
                var received = lnt_received()
                let result = lnt_receive(fd, bytes.baseAddress!, bytes.count, &received, 0)
                if result == -Int32(LNT_EAGAIN) { return }
                if result == -Int32(90) { continue }  // EMSGSIZE: not a message of ours
                guard result >= 0, received.size > 0 else {
                    connections.remove(fd)
                    return
                }
                let request = Request(
                    connection: fd, bytes: UnsafeRawBufferPointer(start: bytes.baseAddress!, count: Int(received.size)), received: received)
                request.closeUnused(handle(request))
            }
        }
    }

    /// - Returns: how many of the request's descriptors were taken over.
    private func handle(_ request: Request) -> Int {
        guard let message = request.read(lnt_message.self) else { return 0 }
        let (fd, id) = (request.connection, message.id)
        switch message.type {
        case LNT_MSG_START.rawValue:
            guard let options = request.read(lnt_attach.self), state == LNT_LAUNCHING || state == LNT_IS_CREATED, !isStartWanted else {
                done(fd, id, Int32(LNT_EALREADY))
                return 0
            }
            isStartWanted = true
            done(fd, id, 0)
            pendingStart = PendingAttach(options: options, received: request.received)
            attachPending()
            if state == LNT_IS_CREATED { openGate() }
            return Int(request.received.count)
        case LNT_MSG_ATTACH.rawValue:
            guard let options = request.read(lnt_attach.self) else { break }
            let error = attach(PendingAttach(options: options, received: request.received), process: options.process)
            done(fd, id, error)
            return error == 0 ? Int(request.received.count) : 0
        case LNT_MSG_DETACH.rawValue:
            guard let options = request.read(lnt_attach.self) else { break }
            relay.detach(options.process, Execs.Key(options))
            // What waited for it goes on.
            for index in 0..<relay.streamCount where relay.streams[index].length > 0 { pump(index) }
            done(fd, id, 0)
            return 0
        case LNT_MSG_EXEC.rawValue:
            guard let options = request.read(lnt_attach.self) else { break }
            return execs.start(request, options, self)
        case LNT_MSG_SIGNAL.rawValue:
            guard let signal = request.read(lnt_signal.self) else { break }
            done(fd, id, send(signal))
            return 0
        case LNT_MSG_CLOSE_STDIN.rawValue:
            guard let target = request.read(lnt_signal.self) else { break }
            if target.process > 0 { execs.closeInput(target.process, self) } else { closeStdin() }
            done(fd, id, 0)
            return 0
        case LNT_MSG_OOM_POLICY.rawValue:
            guard let policy = request.read(lnt_signal.self) else { break }
            outOfMemory.endsGroup = policy.everyone != 0
            done(fd, id, 0)
            return 0
        case LNT_MSG_RESIZE.rawValue:
            guard let size = request.read(lnt_resize.self) else { break }
            let master = terminalInUse(of: size.process)
            done(fd, id, master < 0 ? Int32(LNT_ENODEV) : -lnt_set_terminal_size(master, size.rows, size.columns))
            return 0
        case LNT_MSG_QUERY.rawValue:
            tellState(LNT_MSG_STATE, to: fd, id: id)
            return 0
        case LNT_MSG_CONTINUE.rawValue:
            done(fd, id, hooksAreDone())
            return 0
        case LNT_MSG_RELEASE.rawValue:
            if handover.isOn {
                done(fd, id, release())
                return 0
            }
            let isOver = state == LNT_IS_ENDED || state == LNT_IS_FAILED
            done(fd, id, isOver ? 0 : Int32(LNT_EBUSY))
            if isOver { isReleased = true }
            return 0
        case LNT_MSG_ABORT.rawValue:
            done(fd, id, 0)
            abort()
            return 0
        default: break
        }
        done(fd, id, Int32(LNT_EINVAL))
        return 0
    }

    private func send(_ request: lnt_signal) -> Int32 {
        if request.everyone == 2 { return signalGroup(request.signal) }
        if request.everyone != 0 {
            guard request.signal == Int32(LNT_SIGKILL) else { return Int32(LNT_EINVAL) }
            return initHandle < 0 ? Int32(LNT_ESRCH) : -lnt_pidfd_send_signal(initHandle, request.signal)
        }
        let handle = request.process > 0 ? execs.handle(request.process) : programHandle
        return handle < 0 ? Int32(LNT_ESRCH) : -lnt_pidfd_send_signal(handle, request.signal)
    }

    func abort() {
        isAborted = true
        isReleased = true
        if state == LNT_LAUNCHING {
            currentStep = LNT_SET_UP.rawValue
            return fail(failure("abort", errno: Int32(LNT_EINTR)))
        }
        if initHandle >= 0 { _ = lnt_pidfd_send_signal(initHandle, Int32(LNT_SIGKILL)) }
    }

    /// Sinks of a START that came before the terminal existed wait for it.
    func attachPending() {
        guard let pending = pendingStart, !stdio.terminal || terminal >= 0 else { return }
        pendingStart = nil
        _ = attach(pending, process: 0)
    }

    /// The master of a program's terminal; -1 where there is none, or nobody uses it any more.
    private func terminalInUse(of process: UInt32) -> Int32 {
        let master = process > 0 ? execs.terminal(process) : terminal
        return master >= 0 && relay.reads(master, of: process) ? master : -1
    }

    /// Connects descriptors to a program's streams: stdin, stdout, stderr as far as the flags say that they are there.
    func attach(_ pending: PendingAttach, process: UInt32) -> Int32 {
        let flags = pending.options.flags
        guard (flags & 7).nonzeroBitCount == Int(pending.received.count) else { return Int32(LNT_EINVAL) }
        let master = terminalInUse(of: process)
        let hasTerminal = (process > 0 ? execs.terminal(process) : terminal) >= 0
        let input = process > 0 ? execs.input(process) : stdin
        let destination = hasTerminal && input >= 0 ? master : input
        if process > 0, execs.handle(process) < 0, destination < 0, relay.isFinished(process) { return Int32(LNT_ESRCH) }
        if pending.options.rows > 0, master >= 0 { _ = lnt_set_terminal_size(master, pending.options.rows, pending.options.columns) }
        let key = Execs.Key(pending.options)
        var next = 0
        func take() -> Int32 {
            next += 1
            return withUnsafeBytes(of: pending.received.fds) { $0.load(fromByteOffset: (next - 1) * 4, as: Int32.self) }
        }
        if flags & LNT_HAS_STDIN.rawValue != 0 {
            let source = take()
            if destination >= 0 {
                relay.feed(source, to: destination, process: process, keepsOpen: flags & LNT_STDIN_KEEPS_OPEN.rawValue != 0, key: key)
            } else {
                _ = lnt_close(source)
            }
        }
        let waits = flags & LNT_BACK_PRESSURE.rawValue != 0
        if flags & LNT_HAS_STDOUT.rawValue != 0 { relay.attach(take(), process: process, which: 1, hasBackPressure: waits, key: key) }
        if flags & LNT_HAS_STDERR.rawValue != 0 { relay.attach(take(), process: process, which: 2, hasBackPressure: waits, key: key) }
        return 0
    }
}

/// Descriptors with what they are for.
struct PendingAttach {
    var options: lnt_attach
    var received: lnt_received
}

/// One packet from an engine.
struct Request {
    let connection: Int32
    let bytes: UnsafeRawBufferPointer
    let received: lnt_received

    func read<Message>(_ type: Message.Type) -> Message? {
        bytes.count >= MemoryLayout<Message>.size ? bytes.loadUnaligned(as: type) : nil
    }

    func descriptor(_ index: Int) -> Int32 {
        withUnsafeBytes(of: received.fds) { $0.load(fromByteOffset: index * 4, as: Int32.self) }
    }

    func closeUnused(_ taken: Int) {
        for index in min(taken, Int(received.count))..<Int(received.count) { _ = lnt_close(descriptor(index)) }
    }
}
