import CLinux

/// The plan's `handover` record: somebody else looks after the container, and this shim leaves once it is made.
///
///     lunette-oci                     shim                                  process stage
///         │ spawn, PLAN ────────────────► │ … launch …                           │
///         │ (cgroups are made)            │ (and namespaces meanwhile)           │
///         │ CONTINUE ───────────────────► │ … is joined …                        │   only when the plan awaits cgroups
///         │ ◄──────────── HOOKS           │ ◄──────────────────── await-hooks    │   only with prestart or createRuntime hooks
///         │ CONTINUE ───────────────────► │ ────────────────────────────────────►│
///         │ ◄──────────── CREATED [pty]   │ ◄──────────────────── READY          │
///         │ (state.json has the pid)      │                                      │
///         │ RELEASE ────────────────────► │ ── HANDED OVER [gate.sock] ─────────►│ waits for `start` there
///         │                               └ leaves: pid 1 is its caller's now    │
///
/// A foreground `run` sends START instead: OPEN goes to the stage, STARTED comes back, then RELEASE. Until RELEASE the end of the connection
/// ends the container: whoever asked for it has died before it could write down what there is.
struct HandoverSettings {
    var isOn = false
    /// The socket that gets the pty's master; -1 = it comes with CREATED.
    var console: Int32 = -1
    /// The first descriptor that the program keeps, as 3.
    var firstPreserved: Int32 = 0
    var preserved: Int32 = 0
    var keyring = true
    /// For an exec: what it joins.
    var kinds: UInt64 = 0
    /// The cgroups to join are there when CONTINUE comes, not before.
    var awaitsCgroups = false

    init() {}

    // Fields: console first_preserved preserved keyring kinds awaits_cgroups
    init(plan: Plan) throws(Failure) {
        guard plan.has(LNT_HANDOVER) else { return }
        var fields = try plan.fields(LNT_HANDOVER)
        isOn = true
        let number = try fields.number()
        if number > 0 { console = passedDescriptor(number) }
        firstPreserved = passedDescriptor(min(try fields.number(), 1 << 16) + 1)
        preserved = Int32(truncatingIfNeeded: min(try fields.number(), 1 << 16))
        keyring = try fields.flag()
        kinds = try fields.number()
        awaitsCgroups = try fields.flag()
    }

    /// Sends a pty's master where it is wanted, with the name that receivers of the field expect (containerd's console package).
    /// - Returns: whether it has been sent.
    func sendTerminal(_ master: Int32) throws(Failure) -> Bool {
        guard console >= 0 else { return false }
        currentStep = LNT_TERMINAL.rawValue
        let name: StaticString = "/dev/ptmx"
        var fd = master
        let sent = lnt_send(console, name.utf8Start, name.utf8CodeUnitCount, &fd, 1, 1)
        try check(Int32(truncatingIfNeeded: min(sent, 0)), "sendmsg", literal("the console socket"))
        return true
    }
}

extension Monitor {
    /// The program's ends are those that this shim was started with.
    func inheritStdio(_ plan: Plan) throws(Failure) {
        var fields = try plan.fields(LNT_STDIO)
        stdio.terminal = try fields.flag()
        _ = try fields.flag()
        stdio.rows = try fields.word()
        stdio.columns = try fields.word()
        if !stdio.terminal { (stdio.input, stdio.output, stdio.error) = (0, 1, 2) }
        try StreamDevice.guarded(&stdio)
    }

    /// Blocks until the cgroups are there. Nothing that the container could notice has been done yet, so an end of whoever makes them, or
    /// anything else that it says, is this shim's end too; the stage goes with its parent.
    func awaitCgroups(_ plan: Plan) throws(Failure) {
        guard handover.awaitsCgroups else { return }
        handover.awaitsCgroups = false
        guard connections.holds(Handed.control) else { lnt_exit(1) }
        var wait = lnt_poll(fd: Handed.control, events: Int16(LNT_IN), revents: 0)
        _ = lnt_wait_ready(&wait, 1, -1)
        var message = lnt_message()
        var received = lnt_received()
        guard lnt_receive(Handed.control, &message, MemoryLayout<lnt_message>.size, &received, 0) >= 0,
            received.size == MemoryLayout<lnt_message>.size, message.type == LNT_MSG_CONTINUE.rawValue, received.count == 0
        else { lnt_exit(1) }
        try meetCgroups(plan)
    }

    /// Opens what is needed of the cgroups, which are there by now.
    func meetCgroups(_ plan: Plan) throws(Failure) {
        try cgroups.open(plan)
        try settings.openOutOfMemoryCounter()
    }

    /// The stage waits until the runtime's own hooks have run.
    func hooksAreDue() {
        guard handover.isOn, state == LNT_LAUNCHING else { return }
        isAwaitingHooks = true
        tellStateToAll(LNT_MSG_HOOKS)
    }

    /// - Returns: an errno.
    func hooksAreDone() -> Int32 {
        guard isAwaitingHooks else { return Int32(LNT_EALREADY) }
        isAwaitingHooks = false
        var word = GateMessage.proceed
        _ = lnt_send(gate, &word, 4, nil, 0, 0)
        return 0
    }

    /// - Returns: an errno.
    func release() -> Int32 {
        switch state {
        case LNT_IS_CREATED:
            guard !isGateOpen else { return Int32(LNT_EBUSY) }
            let listening = lnt_listen_at(Handed.stateFolder, literal("gate.sock"), 4)
            if listening < 0 { return -listening }
            var word = GateMessage.handedOver
            var fd = listening
            let sent = lnt_send(gate, &word, 4, &fd, 1, 0)
            _ = lnt_close(listening)
            if sent < 0 { return Int32(-sent) }
        case LNT_IS_RUNNING, LNT_IS_ENDED: break
        default: return Int32(LNT_EBUSY)
        }
        isReleased = true
        return 0
    }

    /// The end of a shim that hands its container over; pid 1, even a dead one, is then its new parent's.
    func leaveIfHandedOver() {
        if state == LNT_IS_FAILED { lnt_exit(1) }
        if isReleased, !isAborted { lnt_exit(0) }
        guard connections.count == 0 || isAborted else { return }
        (currentStep, currentIndex) = (LNT_SET_UP.rawValue, 0)
        if initHandle >= 0 { _ = lnt_pidfd_send_signal(initHandle, Int32(LNT_SIGKILL)) }
        fail(failure("handover", errno: Int32(LNT_EPIPE)))
        lnt_exit(1)
    }

    /// CREATED, with the pty's master when nobody else gets it.
    func tellCreated() throws(Failure) {
        guard handover.isOn || settings.attended.isOn, terminal >= 0 else { return tellStateToAll(LNT_MSG_CREATED) }
        let isTaken = settings.attended.isOn ? false : try handover.sendTerminal(terminal)
        if !isTaken {
            tellState(LNT_MSG_CREATED, to: Handed.control, descriptor: terminal)
        } else {
            tellStateToAll(LNT_MSG_CREATED)
        }
        _ = lnt_close(terminal)
        terminal = -1
    }
}

/// Gives inherited pipes, sockets and terminals to the program's user, so that /dev/stdout can be opened by name (kernel-notes §2). Files and devices
/// of the host stay whose they are.
func giveStdio(to uid: UInt32) {
    for fd: Int32 in 0...2 {
        var status = lnt_file_status()
        guard lnt_fstat(fd, &status) == 0, status.uid != uid else { continue }
        switch status.mode & UInt32(LNT_S_IFMT) {
        case UInt32(LNT_S_IFIFO), UInt32(LNT_S_IFSOCK): break
        case UInt32(LNT_S_IFCHR): guard lnt_is_terminal(fd) == 1 else { continue }
        default: continue
        }
        // A stream of another user namespace or of a read-only file system stays as it is: the program has it open all the same.
        _ = lnt_fchown(fd, uid, gid_t.max)
    }
}
