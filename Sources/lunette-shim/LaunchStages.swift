import CLinux

/// The two processes between the shim and the program: the first makes the namespaces, the second is pid 1. They may be one.
struct LaunchStages {
    let plan: Plan
    /// The shim's pid.
    let shim: Int32
    let gate: Int32
    /// Pid 1's end of its own socket; -1 when the program is pid 1.
    let lifeline: Int32
    let slots: UnsafeMutablePointer<Int32>
    let joins: UnsafeMutablePointer<(fd: Int32, kind: UInt64)>
    let joinCount: Int
    let cgroups: CgroupJoin
    let create: UInt64
    let treesInside: TreesInside?
    var stdio: Stdio
    /// What an init that outlives its shim reads away.
    let drains: (Int32, Int32)
    let monitor: MonitorSettings
    let handover: HandoverSettings

    /// Kinds of namespaces that take a stage of their own: ids are mapped from outside, and the other two begin with a process's children.
    static let needStage = UInt64(LNT_NEWUSER) | UInt64(LNT_NEWTIME)

    /// In the new user namespace already, when there is one. The descriptor table is the shim's own.
    mutating func runNamespaceStage() -> Never {
        do throws(Failure) {
            dieWith(parent: shim)
            try makeNamespaces()
            try makeInit()
        } catch { report(error, gate: gate) }
        lnt_exit(0)
    }

    /// Pid 1 already, in its mount namespace. The descriptor table is the shim's own.
    /// - Parameter shimHandle: by which it is seen whether the shim is still there: its number means nothing in here.
    mutating func runBothStages(_ shimHandle: Int32) -> Never {
        do throws(Failure) {
            _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), UInt(LNT_SIGKILL))
            var end = lnt_poll(fd: shimHandle, events: Int16(LNT_IN), revents: 0)
            if lnt_wait_ready(&end, 1, 0) != 0 { lnt_exit(1) }
            _ = lnt_close(shimHandle)
            try makeNamespaces()
            try check(lnt_unshare(UInt64(LNT_CLONE_FILES)), "unshare", literal("descriptors"))
            // By now in the container's cgroup, which is to be the root that is seen from inside.
            let cgroup = create & UInt64(LNT_NEWCGROUP)
            if cgroup != 0 { try check(lnt_unshare(cgroup), "unshare", literal("cgroup namespace")) }
            try tellBorn(0)
        } catch { report(error, gate: gate) }
        runInitStage()
    }

    private mutating func makeNamespaces() throws(Failure) {
        try cgroups.enter(plan)
        currentStep = LNT_NAMESPACES.rawValue
        currentIndex = 0
        let offsets = plan.has(LNT_TIME_OFFSETS) ? lnt_open(Self.timeOffsets, Int32(LNT_O_WRONLY), 0) : -1
        for index in 0..<joinCount {
            let (fd, kind) = joins[index]
            try check(lnt_setns(fd, kind), "setns", kindName(kind))
            // The shim's as well, which needs the user namespace for what the host steps map.
            if kind != UInt64(LNT_NEWUSER) { _ = lnt_close(fd) }
        }
        let now = create & (UInt64(LNT_NEWNET) | UInt64(LNT_NEWIPC) | UInt64(LNT_NEWUTS) | UInt64(LNT_NEWTIME))
        if now != 0 { try check(lnt_unshare(now), "unshare", literal("network, ipc, uts, time")) }
        var walk = plan.start()
        while case (let opcode, var fields)? = plan.next(&walk, from: LNT_HOSTNAME, through: LNT_TIME_OFFSETS) {
            switch opcode {
            case LNT_HOSTNAME.rawValue:
                let name = try fields.text()
                try check(lnt_sethostname(name), "sethostname", name)
            case LNT_DOMAINNAME.rawValue:
                let name = try fields.text()
                try check(lnt_setdomainname(name), "setdomainname", name)
            case LNT_TIME_OFFSETS.rawValue: continue
            default: try check(lnt_raise_loopback(), "ioctl SIOCSIFFLAGS", literal("lo"))
            }
        }
        currentStep = LNT_NAMESPACES.rawValue
        currentIndex = 0
        // GO brings the slots: the host steps are done, the ids are mapped, cgroups that were made meanwhile are there.
        guard lnt_read(gate, slots, Monitor.goSize) == Monitor.goSize else { lnt_exit(1) }
        try cgroups.enter(plan)
        (currentStep, currentIndex) = (LNT_NAMESPACES.rawValue, 0)
        var none: gid_t = 0
        try setGroups(&none, 0)
        try becomeRoot()
        try setTimeOffsets(offsets)
        try treesInside?.open(slots)
        (currentStep, currentIndex) = (LNT_NAMESPACES.rawValue, 0)
        _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 0)
    }

    private mutating func makeInit() throws(Failure) {
        // The cgroup namespace is made after the join, so that its root is the container's cgroup (kernel-notes §2).
        let mounts = treesInside == nil ? UInt64(LNT_NEWNS) : 0
        let flags = UInt64(LNT_CLONE_PARENT) | mounts | create & (UInt64(LNT_NEWPID) | UInt64(LNT_NEWCGROUP))
        let pid = try check(lnt_clone3(flags, nil, 0, -1), "clone3", literal("pid, mount, cgroup"))
        if pid == 0 { runInitStage() }
        try tellBorn(pid)
    }

    private func tellBorn(_ pid: Int32) throws(Failure) {
        var born = BornMessage(pid: pid)
        try check(Int32(truncatingIfNeeded: lnt_write(gate, &born, MemoryLayout<BornMessage>.size)), "write")
    }

    /// Before the first process is made in the time namespace; from then on the clocks are what they are (time_namespaces(7)). By now the container's
    /// root, whose ids are mapped: until then the file is nobody's.
    /// - Parameter opened: the file where it could be opened by whoever launches, who may write it whatever namespace is joined since; else -1.
    private func setTimeOffsets(_ opened: Int32) throws(Failure) {
        guard plan.has(LNT_TIME_OFFSETS) else { return }
        var fields = try plan.fields(LNT_TIME_OFFSETS)
        var fd = opened
        if fd < 0 {
            // What /proc has of a process that can't be traced is the machine's root's. Nothing of the container runs yet.
            _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 1)
            defer { _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 0) }
            fd = try check(lnt_open(Self.timeOffsets, Int32(LNT_O_WRONLY), 0), "open", Self.timeOffsets)
        }
        defer { _ = lnt_close(fd) }
        let size = 4096
        guard let memory = lnt_map_anonymous(size) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        defer { _ = lnt_unmap(memory, size) }
        // The kernel takes all of them in one call.
        var lines = TextBuffer(memory, capacity: size - 1)
        for _ in 0..<(try fields.count(size: 16)) {
            lines.append(try fields.text())
            lines.append("\n")
        }
        let text = lines.terminate()
        // Not the text: it is gone when the failure is told.
        try check(lnt_write_all(fd, text, lnt_length(text)), "write", Self.timeOffsets)
    }

    private static var timeOffsets: Text { literal("/proc/self/timens_offsets") }

    private mutating func runInitStage() -> Never {
        do throws(Failure) { try initialize() } catch { report(error, gate: gate) }
        lnt_exit(1)
    }

    private mutating func initialize() throws(Failure) {
        _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), UInt(LNT_SIGKILL))
        var steps = InitSteps(plan: plan, slots: slots, gate: gate)
        let root = try steps.run()
        currentStep = LNT_EXECUTE.rawValue
        if !monitor.initProcess {
            // The death signal is all that ties the program to the shim.
            if monitor.goesOn { _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), 0) }
            runProgram(root, diesWithParent: !monitor.goesOn)
        }
        let pid = try check(lnt_clone3(0, nil, Int32(LNT_SIGCHLD), -1), "clone3", literal("the program"))
        if pid == 0 { runProgram(root, diesWithParent: false) }
        InitProcess(program: pid, lifeline: lifeline, drains: drains, goesOn: monitor.goesOn, plan: plan).run()
    }

    private func runProgram(_ root: ContainerRoot, diesWithParent: Bool) -> Never {
        var stage = ProcessStage(
            plan: plan, gate: gate, stdio: stdio, root: root, createsWorkingDirectory: true,
            // A sandbox's root is read-only by now, and nobody looks for a console there.
            makesConsole: !plan.has(LNT_ATTENDED),
            diesWithParent: diesWithParent, handover: handover)
        stage.mayHold = !handover.isOn
        stage.run()
    }

    private func kindName(_ kind: UInt64) -> Text {
        switch Int(kind) {
        case Int(LNT_NEWUSER): literal("user namespace")
        case Int(LNT_NEWNET): literal("network namespace")
        case Int(LNT_NEWIPC): literal("ipc namespace")
        case Int(LNT_NEWUTS): literal("uts namespace")
        case Int(LNT_NEWPID): literal("pid namespace")
        case Int(LNT_NEWCGROUP): literal("cgroup namespace")
        case Int(LNT_NEWTIME): literal("time namespace")
        default: literal("mount namespace")
        }
    }
}
