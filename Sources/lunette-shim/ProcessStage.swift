import CLinux

/// The last stage of a launch or an exec: becomes the program's user with the program's rights, waits at the gate, and executes it.
struct ProcessStage {
    let plan: Plan
    var gate: Int32
    var stdio: Stdio
    let root: ContainerRoot
    /// An exec takes the working folder as it finds it.
    let createsWorkingDirectory: Bool
    /// The pty that an init made before; an exec makes its own.
    let makesConsole: Bool
    /// Without an init nothing else ties the program to the shim.
    let diesWithParent: Bool
    let handover: HandoverSettings
    /// A plan without arguments has no program: this process stays and holds the namespaces (a pod).
    var mayHold = false

    /// Doesn't return: executes, or reports why not.
    mutating func run() -> Never {
        do throws(Failure) { try prepare() } catch { report(error, gate: gate) }
        lnt_exit(1)
    }

    private mutating func prepare() throws(Failure) {
        currentStep = LNT_STDIO.rawValue
        _ = lnt_setsid()
        let user = try resolveUser()
        var master: Int32 = -1
        if stdio.terminal { master = try makeTerminal(user) }
        currentStep = LNT_STDIO.rawValue
        try check(lnt_dup2(stdio.input, 0), "dup2", literal("stdin"))
        try check(lnt_dup2(stdio.output, 1), "dup2", literal("stdout"))
        try check(lnt_dup2(stdio.error, 2), "dup2", literal("stderr"))
        try check(lnt_close_range(3, UInt32.max, UInt32(LNT_CLOSE_RANGE_CLOEXEC)), "close_range")
        currentStep = LNT_KEYRING.rawValue
        // A kernel without keys has nothing to keep apart.
        let keyring = handover.keyring ? lnt_join_session_keyring() : 0
        if keyring != -Int32(LNT_ENOSYS) { try check(keyring, "keyctl") }
        try enterWorkingDirectory()
        var umask = try plan.fields(LNT_UMASK)
        let mask = try umask.word()

        var nnp = try plan.fields(LNT_NO_NEW_PRIVILEGES)
        let noNewPrivileges = try nnp.flag()
        try setExecutionDomain(plan)
        let notifies = plan.has(LNT_SECCOMP_LISTENER)
        // Without no_new_privs only CAP_SYS_ADMIN may load a filter, so that must happen before capabilities go.
        if !noNewPrivileges {
            try LandlockStep(plan: plan).apply()
            try loadSeccomp(notifies)
        }
        try become(user)
        // The kernel forgets the death signal with every change of ids. A shim that died before this line shows at the gate.
        if diesWithParent { try check(lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), UInt(LNT_SIGKILL)), "prctl") }
        lnt_umask(mode_t(mask))
        let isEmpty = try isWithoutProgram()
        let holds = mayHold && isEmpty
        let program = holds ? literal("") : try findProgram()
        let argv = try pointers(LNT_ARGUMENTS, extra: nil)
        let envp = try pointers(LNT_ENVIRONMENT, extra: homeVariable(user))

        let raises = try raisesLimits(plan)
        currentStep = LNT_EXECUTE.rawValue
        let handle = try check(lnt_pidfd_open(lnt_getpid()), "pidfd_open")
        var ready = ReadyMessage(uid: user.uid, gid: user.gid, hasTerminal: master >= 0 ? 1 : 0, raisesLimits: raises ? 1 : 0)
        var fds = (handle, master)
        let sent = withUnsafeMutableBytes(of: &fds) {
            lnt_send(
                gate, &ready, MemoryLayout<ReadyMessage>.size, $0.assumingMemoryBound(to: Int32.self).baseAddress!, master >= 0 ? 2 : 1, 1)
        }
        try check(Int32(truncatingIfNeeded: sent), "sendmsg")
        // While it waits it holds nothing but its end of the gate: a copy of the shim's sockets would hide the shim's death from init, from
        // the engine and from itself.
        try keepOnlyGate()
        // A listener must be in its hands before anyone says that the container is created.
        if notifies { try confine(noNewPrivileges, notifies) }
        let isHandedOver = try StartGate(gate: gate).wait(handover)
        // The wait has blocked signals, and a hook is waited for.
        if notifies { lnt_reset_signals() }
        try runStartHooks(tells: isHandedOver && !notifies)
        if !raises { try setLimits(plan, pid: 0) }
        if holds { return try hold(gate, noNewPrivileges: noNewPrivileges) }
        if !notifies { try confine(noNewPrivileges, notifies) }
        currentStep = LNT_EXECUTE.rawValue
        try check(lnt_execve(program, argv, envp), "execve", program)
    }

    /// The last that is taken away: new privileges, and calls.
    private func confine(_ noNewPrivileges: Bool, _ notifies: Bool) throws(Failure) {
        if noNewPrivileges {
            currentStep = LNT_NO_NEW_PRIVILEGES.rawValue
            try check(lnt_prctl(Int32(LNT_PR_SET_NO_NEW_PRIVS), 1), "prctl")
        }
        lnt_reset_signals()
        if noNewPrivileges {
            try LandlockStep(plan: plan).apply()
            try Attended.listen(plan, gate: gate)
            try loadSeccomp(notifies)
        }
    }

    /// Moves what the program keeps to 3 and on, the gate behind it, and closes everything above.
    private mutating func keepOnlyGate() throws(Failure) {
        let place = 3 + handover.preserved
        let first = handover.firstPreserved
        // Out of the way of what moves, which goes down by at least three, in order.
        let safe = try check(lnt_dup(gate, max(place + 1, first + handover.preserved)), "fcntl")
        for index in 0..<handover.preserved { try check(lnt_dup2(first + index, 3 + index), "dup2", literal("a preserved descriptor")) }
        _ = lnt_close(place)
        gate = try check(lnt_dup(safe, place), "fcntl")
        try check(lnt_close_range(UInt32(gate) + 1, UInt32.max, 0), "close_range")
    }

    /// OCI's startContainer hooks: in the container, as its user, when the gate has opened.
    /// - Parameter tells: whether who opened it is told. Who isn't there any more needs no word; a profile that is loaded might refuse it.
    private func runStartHooks(tells: Bool) throws(Failure) {
        var walk = plan.start()
        var word: UInt32 = 0
        while case (_, var fields)? = plan.next(&walk, from: LNT_START_HOOK, through: LNT_START_HOOK) {
            try HookStep.run(&fields, pid: lnt_getpid())
            word = GateMessage.hooksHaveRun
        }
        if tells, word != 0 { _ = lnt_send(gate, &word, 4, nil, 0, 0) }
    }

    private func resolveUser() throws(Failure) -> ResolvedUser {
        var fields = try plan.fields(LNT_USER)
        let spec = try fields.text()
        return try UserLookup(root: root).resolve(spec, additional: fields)
    }

    /// Makes a pty in the container's own devpts; the slave comes from the master itself, never from a path (attack 5).
    private mutating func makeTerminal(_ user: ResolvedUser) throws(Failure) -> Int32 {
        currentStep = LNT_TERMINAL.rawValue
        let path = literal("/dev/pts/ptmx")
        let master = try check(root.open(path, flags: Int32(LNT_O_RDWR) | Int32(LNT_O_NOCTTY), refusesSymlinks: true), "openat2", path)
        guard lnt_fstatfs_type(master, nil) == Int64(LNT_DEVPTS_MAGIC) else { throw failure("statfs", errno: Int32(LNT_ENODEV), path) }
        let peer = try check(lnt_open_terminal_peer(master), "ioctl TIOCGPTPEER", path)
        if stdio.rows > 0 || stdio.columns > 0 {
            try check(lnt_set_terminal_size(master, stdio.rows, stdio.columns), "ioctl TIOCSWINSZ", path)
        }
        var status = lnt_file_status()
        try check(lnt_fstat(peer, &status), "fstat", path)
        try check(lnt_fchown(peer, user.uid, status.gid), "fchown", literal("the terminal"))
        if makesConsole {
            let console = literal("/dev/console")
            let target = try root.target(console, create: .file(mode: 0o620))
            let tree = try check(
                lnt_open_tree(peer, literal(""), UInt32(LNT_OPEN_TREE_CLONE) | UInt32(LNT_AT_EMPTY_PATH)), "open_tree", console)
            try check(
                lnt_move_mount(tree, literal(""), target, literal(""), UInt32(LNT_MOVE_FROM_EMPTY) | UInt32(LNT_MOVE_TO_EMPTY)),
                "move_mount", console)
        }
        try check(lnt_make_controlling_terminal(peer), "ioctl TIOCSCTTY", path)
        (stdio.input, stdio.output) = (peer, peer)
        if stdio.error < 0 { stdio.error = peer }
        return master
    }

    /// Enters the folder by descriptor and makes sure that it lies below the root (attack 2).
    private func enterWorkingDirectory() throws(Failure) {
        var fields = try plan.fields(LNT_WORKING_DIRECTORY)
        let path = try fields.text()
        let fd = try root.target(path, create: createsWorkingDirectory ? .directory(mode: 0o755) : .never)
        defer { _ = lnt_close(fd) }
        try check(lnt_fchdir(fd), "fchdir", path)
        var outside = true
        let result = withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { bytes in
            let text = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
            let length = lnt_getcwd(text, 4096)
            outside = length <= 0 || text[0] != 0x2f
            return length
        }
        try check(result, "getcwd", path)
        if outside { throw failure("getcwd", errno: Int32(LNT_EACCES), path) }
    }

    /// Groups, ids and capability sets. The bounding set shrinks first, while the right to shrink it is there.
    private func become(_ user: ResolvedUser) throws(Failure) {
        var fields = try plan.fields(LNT_CAPABILITIES)
        let bounding = try fields.number()
        let effective = try fields.number()
        let permitted = try fields.number()
        let inheritable = try fields.number()
        let ambient = try fields.number()
        for capability in 0..<64 {
            if lnt_prctl(Int32(LNT_PR_CAPBSET_READ), UInt(capability)) < 0 { break }
            if bounding & (1 << UInt64(capability)) == 0 { try check(lnt_prctl(Int32(LNT_PR_CAPBSET_DROP), UInt(capability)), "prctl") }
        }
        currentStep = LNT_USER.rawValue
        try setGroups(user.groups, user.groupCount)
        try check(lnt_prctl(Int32(LNT_PR_SET_KEEPCAPS), 1), "prctl")
        try check(lnt_set_ids(user.uid, user.gid), "setresuid")
        currentStep = LNT_CAPABILITIES.rawValue
        try check(lnt_capset(effective, permitted, inheritable), "capset")
        try check(lnt_prctl(Int32(LNT_PR_SET_KEEPCAPS), 0), "prctl")
        if ambient != 0 {
            for capability in 0..<64 where ambient & (1 << UInt64(capability)) != 0 {
                try check(lnt_raise_ambient(Int32(capability)), "prctl ambient")
            }
        }
        // A change of ids may have set it anew; nobody inside may look at this process before execve (attack 11).
        try check(lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 0), "prctl")
    }

    func loadSeccomp(_ notifies: Bool) throws(Failure) {
        var fields = try plan.fields(LNT_SECCOMP)
        let program = try fields.bytes()
        let flags = try fields.word()
        guard program.count > 0 else { return }
        if notifies { return try ListenerCourier(gate: gate).load(program, flags: flags) }
        try check(lnt_seccomp_load(program.baseAddress!, program.count / 8, flags), "seccomp")
    }

    /// The path of argv[0] inside the container, looked for as the program's user.
    private func findProgram() throws(Failure) -> Text {
        var arguments = try plan.fields(LNT_ARGUMENTS)
        guard try arguments.count(size: 16) > 0 else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("no arguments")) }
        let name = try arguments.text()
        let length = lnt_length(name)
        var environment = try plan.fields(LNT_ENVIRONMENT)
        var path = literal("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        for _ in 0..<(try environment.count(size: 16)) {
            let variable = try environment.text()
            if lnt_length(variable) >= 5, lnt_same(variable, literal("PATH="), 5) != 0 { path = variable + 5 }
        }
        currentStep = LNT_EXECUTE.rawValue
        if length == 0 { throw failure("search", errno: Int32(LNT_ENOENT), name) }
        if lnt_find_byte(name, 0x2f, length) >= 0 {
            if let error = unusable(name) { throw failure("search", errno: error, name) }
            return name
        }
        guard let memory = lnt_map_anonymous(8192) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        var candidate = TextBuffer(memory, capacity: 8191)
        var worst = Int32(LNT_ENOENT)
        let total = lnt_length(path)
        var start = 0
        while start <= total {
            let colon = lnt_find_byte(path + start, 0x3a, total - start)
            let end = colon < 0 ? total : start + colon
            if end > start, end - start + length < 8000 {
                candidate.clear()
                candidate.append(UnsafeRawPointer(path + start), end - start)
                candidate.append(UInt8(0x2f))
                candidate.append(name)
                let text = candidate.terminate()
                guard let error = unusable(text) else { return text }
                if error == Int32(LNT_EACCES) { worst = error }
            }
            start = end + 1
        }
        throw failure("search", errno: worst, name)
    }

    /// Why a path can't be executed, nil when it can.
    private func unusable(_ path: Text) -> Int32? {
        var status = lnt_file_status()
        let result = lnt_fstatat(Int32(LNT_AT_FDCWD), path, 0, &status)
        if result < 0 { return result == -Int32(LNT_ENOTDIR) ? Int32(LNT_ENOENT) : -result }
        if status.mode & UInt32(LNT_S_IFMT) != UInt32(LNT_S_IFREG) { return Int32(LNT_EACCES) }
        return lnt_is_executable(path) < 0 ? Int32(LNT_EACCES) : nil
    }

    /// `HOME=…` unless the plan has one.
    private func homeVariable(_ user: ResolvedUser) throws(Failure) -> Text? {
        var environment = try plan.fields(LNT_ENVIRONMENT)
        for _ in 0..<(try environment.count(size: 16)) {
            let variable = try environment.text()
            if lnt_length(variable) >= 5, lnt_same(variable, literal("HOME="), 5) != 0 { return nil }
        }
        guard let memory = lnt_map_anonymous(4096) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        var buffer = TextBuffer(memory, capacity: 4095)
        buffer.append("HOME=")
        buffer.append(user.home)
        return buffer.terminate()
    }

    private func pointers(_ opcode: lnt_opcode, extra: Text?) throws(Failure) -> UnsafePointer<Text?> {
        var fields = try plan.fields(opcode)
        let count = try fields.count(size: 16)
        let size = (count + 2) * MemoryLayout<Text?>.stride
        guard let memory = lnt_map_anonymous(size) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        let list = memory.assumingMemoryBound(to: Text?.self)
        for index in 0..<count { list[index] = try fields.text() }
        list[count] = extra
        return UnsafePointer(list)
    }
}
