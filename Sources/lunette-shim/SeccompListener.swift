import CLinux

// How the descriptor of a filter that notifies comes to the program that answers, before the container's own program runs. The filter
// judges the process from its loading on, so another one, which shares its descriptors and has no filter, carries the descriptor out:
//
//     process stage ── NOTIFIES ──────────────► shim        before the filter; the kernel adds the pid
//     process stage ── clone3(FILES) ──► courier
//     process stage: seccomp(NEW_LISTENER) = N
//     process stage ── N ──► courier ── descriptor N ──► shim ── state, descriptor ──► listenerPath
//     process stage ◄── ok ── courier (goes)                READY and the gate as ever; CREATED when both have come

/// What a stage and its courier say over the gate; told from the other messages by its size.
struct ListenerMessage {
    var type: UInt32 = 104
    /// 1: the descriptor comes with it.
    var hasDescriptor: UInt32 = 0
    var zeros: (UInt64, UInt64) = (0, 0)
}

/// A process that will be, or is, judged by a filter that notifies.
struct NotifyingProcess {
    var pid: Int32 = 0
    var isDelivered = false
    /// It waits at its gate.
    var isReady = false
}

/// The stage's part.
struct ListenerCourier {
    let gate: Int32

    /// Loads the filter and returns when its descriptor is on its way. From the loading on each call may wait for an answer, and write(2)
    /// can't be among those that do (the planner refuses it).
    func load(_ program: UnsafeRawBufferPointer, flags: UInt32) throws(Failure) {
        var message = ListenerMessage()
        try check(Int32(truncatingIfNeeded: lnt_write(gate, &message, MemoryLayout<ListenerMessage>.size)), "write")
        var ends: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) {
            lnt_socketpair(Int32(LNT_SOCK_SEQPACKET), $0.assumingMemoryBound(to: Int32.self).baseAddress!)
        }
        try check(result, "socketpair")
        // The courier is this process' child; nobody waits for it, and the program mustn't find it.
        lnt_forget_children()
        let stage = lnt_getpid()
        let pid = try check(lnt_clone3(UInt64(LNT_CLONE_FILES), nil, Int32(LNT_SIGCHLD), -1), "clone3", literal("the listener's courier"))
        if pid == 0 { carry(ends, stage: stage) }
        let newListener: UInt32 = 1 << 3
        var listener = try check(lnt_seccomp_load(program.baseAddress!, program.count / 8, flags | newListener), "seccomp")
        try check(Int32(truncatingIfNeeded: lnt_write(ends.0, &listener, 4)), "write", literal("the listener's courier"))
        var answer: Int32 = 0
        guard lnt_read(ends.0, &answer, 4) == 4, answer == 0 else {
            throw failure("sendmsg", errno: answer == 0 ? Int32(LNT_EPROTO) : answer, literal("the seccomp listener"))
        }
    }

    private func carry(_ ends: (Int32, Int32), stage: Int32) -> Never {
        _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), UInt(LNT_SIGKILL))
        var listener: Int32 = -1
        guard lnt_getppid() == stage, lnt_read(ends.1, &listener, 4) == 4 else { lnt_exit(1) }
        var message = ListenerMessage(hasDescriptor: 1)
        let sent = lnt_send(gate, &message, MemoryLayout<ListenerMessage>.size, &listener, 1, 1)
        // The table is shared: the stage keeps no listener of its own.
        _ = lnt_close(listener)
        var answer: Int32 = sent < 0 ? Int32(truncatingIfNeeded: -sent) : 0
        _ = lnt_write(ends.1, &answer, 4)
        lnt_exit(0)
    }
}

extension NotifyingProcess {
    /// News of it over its gate.
    ///
    /// - Parameter container: the pid that the state names for the container; 0 = the process itself.
    mutating func receive(_ record: lnt_failure, _ received: lnt_received, _ plan: Plan, container: Int32) throws(Failure) {
        let message = withUnsafeBytes(of: record) { $0.loadUnaligned(as: ListenerMessage.self) }
        currentStep = LNT_SECCOMP_LISTENER.rawValue
        if message.hasDescriptor == 0 {
            pid = received.pid
            return
        }
        guard received.count == 1, pid > 0, !isDelivered else { throw failure("receive", errno: Int32(LNT_EPROTO)) }
        let listener = received.fds.0
        defer { _ = lnt_close(listener) }
        try deliver(listener, plan, container: container > 0 ? container : pid)
        isDelivered = true
    }

    /// Whether nothing keeps it from running.
    func mayRun(_ plan: Plan) -> Bool { isReady && (isDelivered || !plan.has(LNT_SECCOMP_LISTENER)) }

    // Fields: path before between after
    private func deliver(_ listener: Int32, _ plan: Plan, container: Int32) throws(Failure) {
        var fields = try plan.fields(LNT_SECCOMP_LISTENER)
        let path = try fields.text()
        let before = try fields.text()
        let between = try fields.text()
        let after = try fields.text()
        let size = lnt_length(before) + lnt_length(between) + lnt_length(after) + 64
        guard let memory = lnt_map_anonymous(size) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        defer { _ = lnt_unmap(memory, size) }
        var state = TextBuffer(memory, capacity: size)
        state.append(before)
        state.append(signed: Int64(pid))
        state.append(between)
        // Without a rest the planner knew the container's pid.
        if after[0] != 0 {
            state.append(signed: Int64(container))
            state.append(after)
        }
        // A listener that doesn't answer must not hold the monitor up for ever.
        let connection = try check(lnt_connect_to(path, 5), "connect", path)
        defer { _ = lnt_close(connection) }
        var fd = listener
        var sent = 0
        while sent < state.count {
            // The descriptor goes with the first byte.
            let count = lnt_send(connection, state.start + sent, state.count - sent, &fd, sent == 0 ? 1 : 0, 1)
            if count <= 0 { throw failure("sendmsg", errno: count == 0 ? Int32(LNT_EPROTO) : Int32(truncatingIfNeeded: -count), path) }
            sent += Int(count)
        }
    }
}
