import CLinux

extension Monitor {
    /// The host phase of the launch. What follows (born, ready, executed) comes over the gate, into the loop.
    func launch() throws(Failure) {
        currentStep = LNT_SET_UP.rawValue
        signals = try check(lnt_signalfd_all(), "signalfd")
        _ = lnt_set_nonblocking(Handed.control, 1)
        connections.add(Handed.control)
        let plan = try Plan(fd: Handed.plan, kind: LNT_PLAN_LAUNCH)
        self.plan = plan
        handover = try HandoverSettings(plan: plan)
        // Bound before anything else exists, so that whoever adopts a half-made container finds its shim.
        if !handover.isOn, !plan.has(LNT_ATTENDED) {
            listening = try check(lnt_listen_at(Handed.stateFolder, literal("shim.sock"), 8), "bind", literal("shim.sock"))
        }
        settings = try MonitorSettings(plan: plan)
        tellState(LNT_MSG_STATE, to: Handed.control)
        if settings.log {
            log = lnt_map_anonymous(MemoryLayout<LogFile>.size)?.assumingMemoryBound(to: LogFile.self)
            log?.initialize(
                to: try LogFile(directory: Handed.containerFolder, maximumSize: settings.logSize, maximumFiles: settings.logFiles))
        }
        currentStep = LNT_SET_UP.rawValue
        (gate, childGate) = try socketPair()
        try check(lnt_pass_credentials(gate), "setsockopt")
        var initEnd: Int32 = -1
        if settings.initProcess { (lifeline, initEnd) = try socketPair() }
        var drains: (Int32, Int32) = (-1, -1)
        if handover.isOn { try inheritStdio(plan) } else { drains = try makeStdio(plan) }

        try startNamespaces(plan, lifeline: initEnd, drains: drains)
        marks.1 = lnt_clock_monotonic()
        if initEnd >= 0 { initLifeline = initEnd }
    }

    private func socketPair() throws(Failure) -> (Int32, Int32) {
        var both: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &both) {
            lnt_socketpair(Int32(LNT_SOCK_SEQPACKET), $0.assumingMemoryBound(to: Int32.self).baseAddress!)
        }
        try check(result, "socketpair")
        return both
    }

    static func pipe() throws(Failure) -> (read: Int32, write: Int32) {
        var both: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &both) { lnt_pipe($0.assumingMemoryBound(to: Int32.self).baseAddress!, 0) }
        try check(result, "pipe")
        return (both.0, both.1)
    }

    /// The container's ends go to `stdio`, ours to the relay. Returns what an init may have to drain.
    private func makeStdio(_ plan: Plan) throws(Failure) -> (Int32, Int32) {
        var fields = try plan.fields(LNT_STDIO)
        stdio.terminal = try fields.flag()
        let wantsStdin = try fields.flag()
        stdio.rows = try fields.word()
        stdio.columns = try fields.word()
        if stdio.terminal {
            if settings.attended.isOn { stdio.error = try StreamDevice.guarded(try settings.attended.separateError()) }
            return (-1, -1)
        }
        if settings.attended.isOn {
            stdio = try settings.attended.streams()
            try StreamDevice.guarded(&stdio)
            return (-1, -1)
        }
        let out = try Monitor.pipe()
        let error = try Monitor.pipe()
        (stdio.output, stdio.error) = (out.write, error.write)
        _ = relay.add(out.read, process: 0, which: 1, isLogged: settings.log)
        _ = relay.add(error.read, process: 0, which: 2, isLogged: settings.log)
        if wantsStdin {
            let input = try Monitor.pipe()
            stdio.input = input.read
            stdin = input.write
            _ = lnt_set_nonblocking(stdin, 1)
        } else {
            stdio.input = try StreamDevice.guarded(try openNullDevice(Int32(LNT_O_RDONLY)))
        }
        return (out.read, error.read)
    }

    // Fields: create join uid gid
    private func startNamespaces(_ plan: Plan, lifeline: Int32, drains: (Int32, Int32)) throws(Failure) {
        var fields = try plan.fields(LNT_NAMESPACES)
        var create = try fields.number()
        var count = try fields.count(size: 32)
        guard count <= 16, let memory = lnt_map_anonymous(4096) else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("joins")) }
        defer { _ = lnt_unmap(memory, 4096) }
        let joins = memory.assumingMemoryBound(to: (fd: Int32, kind: UInt64).self)
        if !handover.awaitsCgroups { try meetCgroups(plan) }
        var userNamespace: Int32 = -1
        for index in 0..<count {
            let kind = try fields.number()
            let passed = try fields.number()
            let path = try fields.text()
            // A pipe of that name would keep an open waiting for its other end, and this shim from hearing that it is to go.
            let fd =
                passed > 0
                ? try check(lnt_dup(passedDescriptor(passed), 0), "dup", literal("a passed namespace"))
                : try check(lnt_open(path, Int32(LNT_O_NONBLOCK) | Int32(LNT_O_NOCTTY), 0), "open", path)
            joins[index] = (fd, kind)
            if kind == UInt64(LNT_NEWUSER) {
                userNamespace = fd
                // Joined first: the rights to join the others come from it.
                let first = joins[0]
                joins[0] = joins[index]
                joins[index] = first
            }
        }
        execKinds = create
        for index in 0..<count { execKinds |= joins[index].kind }
        execKinds |= UInt64(LNT_NEWNS)
        let isOwn = create & UInt64(LNT_NEWUSER) != 0
        // Those are the host's user namespace's; a plan that wants another says nothing of what was made ahead.
        if !isOwn, userNamespace < 0 {
            ahead.take(from: &create) { fd, kind in
                joins[count] = (fd, kind)
                count += 1
            }
        }
        let cgroup = try plan.openUnifiedCgroup { () throws(Failure) in try awaitCgroups(plan) }
        defer { if cgroup >= 0 { _ = lnt_close(cgroup) } }
        currentStep = LNT_NAMESPACES.rawValue
        let shim = lnt_getpid()
        // A user namespace belongs to whoever makes it, and what its processes take (inotify instances and the like) counts against that
        // user's limits as well: made by root, one container could use up the host's own (attack 32).
        let rootless = try Rootless(plan)
        currentStep = LNT_NAMESPACES.rawValue
        let owner = isOwn && lnt_effective_uid() == 0 ? try firstHostID(fields) : 0
        rootless.openUp()
        let treesInside = TreesInside(plan)
        if owner != 0 { try check(lnt_act_as(owner), "setresuid", literal("the namespace's owner")) }
        // Where nobody has to map ids in between, pid 1 makes the namespaces itself: a process less. A pid namespace that is there already begins
        // with a process's children.
        let joinsPids = execKinds & ~create & UInt64(LNT_NEWPID) != 0
        let isDirect =
            handover.isOn && !settings.initProcess && treesInside == nil && !joinsPids && execKinds & LaunchStages.needStage == 0
        let kinds = isDirect ? UInt64(LNT_NEWNS) | create & UInt64(LNT_NEWPID) : isOwn ? UInt64(LNT_NEWUSER) : 0
        let shimHandle = isDirect ? try check(lnt_pidfd_open(shim), "pidfd_open") : -1
        // The descriptor table is shared until pid 1 goes on by itself, so that what the host steps open needn't be sent.
        let pid = lnt_clone3(UInt64(LNT_CLONE_FILES) | kinds, nil, Int32(LNT_SIGCHLD), cgroup)
        if pid == 0 {
            var stages = LaunchStages(
                plan: plan, shim: shim, gate: childGate, lifeline: lifeline, slots: slots, joins: joins, joinCount: count,
                cgroups: cgroups, create: create, treesInside: treesInside, stdio: stdio, drains: drains,
                monitor: settings, handover: handover)
            if isDirect { stages.runBothStages(shimHandle) }
            stages.runNamespaceStage()
        }
        cgroups.forget()
        rootless.closeUp()
        let restored = owner != 0 ? lnt_act_as(0) : 0
        holder = try check(pid, "clone3", isDirect ? literal("pid, mount") : literal("user namespace"))
        holderIsInit = isDirect
        try check(restored, "setresuid", literal("root again"))
        if isOwn {
            try rootless.map(holder, &fields)
            userNamespace = try withProcPath(holder, "ns/user") { (path) throws(Failure) in
                try check(lnt_open(path, 0, 0), "open", literal("ns/user"))
            }
        }
        // Without a cgroup namespace the container sees its cgroup as a tree of the host's.
        if create & UInt64(LNT_NEWCGROUP) == 0 { try awaitCgroups(plan) }
        if treesInside == nil {
            try HostSteps(plan: plan, slots: slots, holder: holder, userNamespace: userNamespace).run()
        }
        try awaitCgroups(plan)
        marks.2 = lnt_clock_monotonic()
        currentStep = LNT_NAMESPACES.rawValue
        let sent = lnt_send(gate, slots, Self.goSize, nil, 0, 0)
        if sent < 0 { throw failure("sendmsg", errno: Int32(-sent), literal("the gate")) }
        if isOwn { _ = lnt_close(userNamespace) }
    }

    /// What the container's lowest id is on the host: the first mapping of those that follow.
    private func firstHostID(_ fields: Fields) throws(Failure) -> UInt32 {
        var fields = fields
        guard try fields.count(size: 24) > 0 else { return 0 }
        _ = try fields.word()
        return try fields.word()
    }

    /// A message of a stage, or the end: the program was executed.
    func readGate() {
        while gate >= 0 {
            var record = lnt_failure()
            var received = lnt_received()
            let result = lnt_receive(gate, &record, MemoryLayout<lnt_failure>.size, &received, 0)
            guard result >= 0 else { return }
            switch received.size {
            case MemoryLayout<lnt_failure>.size: return fail(record)
            case MemoryLayout<BornMessage>.size:
                let told = withUnsafeBytes(of: &record) { $0.loadUnaligned(as: BornMessage.self) }.pid
                // It doesn't know its number here.
                born(holderIsInit ? holder : told)
            case MemoryLayout<ReadyMessage>.size:
                let ready = withUnsafeBytes(of: &record) { $0.loadUnaligned(as: ReadyMessage.self) }
                if initPID == 0 { (early.ready, early.received) = (ready, received) } else { meet(ready, received) }
            case 4: if initPID == 0 { early.hooks = true } else { hooksAreDue() }
            case MemoryLayout<ListenerMessage>.size:
                do throws(Failure) {
                    guard let plan else { break }
                    try notifying.receive(record, received, plan, container: 0)
                    if notifying.isDelivered, notifying.mayRun(plan) { try becomeCreated() }
                } catch { fail(error) }
            case MemoryLayout<WatchMessage>.size: watch(received)
            case 0: return gateClosed()
            default: break
            }
        }
    }

    /// Pid 1 exists and has its own copy of the descriptors: the container's ends are closed here.
    private func born(_ pid: Int32) {
        guard childGate >= 0 else { return }  // once
        currentStep = LNT_NAMESPACES.rawValue
        guard pid > 1 else { return fail(failure("receive", errno: Int32(LNT_EPROTO), literal("pid 1's number"))) }
        initPID = pid
        if holderIsInit { holder = 0 }
        initHandle = lnt_pidfd_open(pid)
        do throws(Failure) { try moveNetworkDevices(pid) } catch { return fail(error) }
        var keep: Int32 = -1
        // A plan without that record, or with a broken one, keeps nothing; its steps have refused it already.
        if let plan, var fields = try? plan.fields(LNT_ATTACH_ROOT), let slot = try? fields.number(), slot < UInt64(LNT_SLOTS) {
            keep = Int32(slot)
        }
        // The root stays open: the last close of an overlay writes its upper back, and that may take a while; it happens when this shim
        // leaves, after the exit was reported (kernel-notes §2).
        for index in 0..<Int(LNT_SLOTS) where slots[index] >= 0 && Int32(index) != keep { _ = lnt_close(slots[index]) }
        if !handover.isOn { closeAll(stdio.input, stdio.output, stdio.error, -1) }
        closeAll(childGate, initLifeline, -1, -1)
        _ = lnt_close(Handed.plan)
        (childGate, initLifeline) = (-1, -1)
        if early.hooks { hooksAreDue() }
        if let ready = early.ready { meet(ready, early.received) }
    }

    private func meet(_ ready: ReadyMessage, _ received: lnt_received) {
        do throws(Failure) { try self.ready(ready, received) } catch { fail(error) }
    }

    /// The network namespace exists by now, and nobody has been told yet that the container is made.
    private func moveNetworkDevices(_ pid: Int32) throws(Failure) {
        guard let plan, plan.has(LNT_MOVE_NETWORK_DEVICE) else { return }
        let namespace = try withProcPath(pid, "ns/net") { (path) throws(Failure) in
            try check(lnt_open(path, 0, 0), "open", literal("ns/net"))
        }
        defer { _ = lnt_close(namespace) }
        var walk = plan.start()
        while case (_, var fields)? = plan.next(&walk, from: LNT_MOVE_NETWORK_DEVICE, through: LNT_MOVE_NETWORK_DEVICE) {
            let name = try fields.text()
            let newName = try fields.text()
            let result = lnt_move_network_device(name, newName, namespace)
            guard result < 0 else { continue }
            guard let memory = lnt_map_anonymous(4096) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
            // Two names of fifteen bytes at most.
            var text = TextBuffer(memory, capacity: 4095)
            text.append(name)
            text.append(" as ")
            text.append(newName)
            throw failure("rtnetlink", errno: -result, text.terminate())
        }
    }

    private func ready(_ message: ReadyMessage, _ received: lnt_received) throws(Failure) {
        currentStep = LNT_EXECUTE.rawValue
        guard message.hasAll(received), state == LNT_LAUNCHING, let plan else { throw failure("receive", errno: Int32(LNT_EPROTO)) }
        programHandle = received.fds.0
        programPID = received.pid
        (hostUID, hostGID) = (received.uid, received.gid)
        if message.hasTerminal != 0 {
            terminal = received.fds.1
            if !handover.isOn, !settings.attended.isOn {
                _ = relay.add(terminal, process: 0, which: 1, isLogged: settings.log)
                var fields = try plan.fields(LNT_STDIO)
                _ = try fields.flag()
                if try fields.flag() { stdin = terminal }
            }
        }
        if !handover.isOn { attachPending() }
        try prepareProgram(plan, received, raisesLimits: message.raisesLimits != 0, process: 0)
        if handover.isOn, message.hasTerminal == 0 { giveStdio(to: hostUID) }
        notifying.isReady = true
        if notifying.mayRun(plan) { try becomeCreated() }
    }

    private func becomeCreated() throws(Failure) {
        marks.3 = lnt_clock_monotonic()
        state = LNT_IS_CREATED
        try tellCreated()
        if isStartWanted { openGate() }
    }

    /// What only the host can give a program that waits at its gate: limits, and pipes that are its own so that /dev/stdout opens.
    func prepareProgram(_ plan: Plan, _ sender: lnt_received, raisesLimits: Bool, process: UInt32) throws(Failure) {
        if raisesLimits { try raiseLimits(plan, pid: sender.pid) }
        try setScheduling(plan, pid: sender.pid)
        for index in 0..<relay.streamCount where relay.streams[index].isUsed && relay.streams[index].process == process {
            if process == 0, terminal >= 0 { break }
            _ = lnt_fchown(relay.streams[index].fd, sender.uid, sender.gid)
        }
    }

    func openGate() {
        guard !isGateOpen, gate >= 0 else { return }
        isGateOpen = true
        marks.4 = lnt_clock_monotonic()
        startedAt = lnt_clock_realtime()
        var word = GateMessage.open
        _ = lnt_send(gate, &word, 4, nil, 0, 0)
    }

    private func gateClosed() {
        if gate >= 0 { _ = lnt_close(gate) }
        gate = -1
        if handover.isOn, !isGateOpen {
            // Pid 1 isn't waited for, so its end is told by this.
            return fail(lost("pid 1"))
        }
        guard isGateOpen, state == LNT_IS_CREATED else { return }  // otherwise the wait for the process tells
        marks.5 = lnt_clock_monotonic()
        state = LNT_IS_RUNNING
        watchOutOfMemory(plan)
        plan?.unmap()
        plan = nil
        tellStateToAll(LNT_MSG_STARTED)
        // As init does, see there. Alone, a shim would only have more pages counted as its own.
        if settings.initProcess { lnt_map_program() }
    }
}
