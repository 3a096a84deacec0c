import CLinux

/// The first process of an exec: joins the container's cgroups and all its namespaces in one call, and clones the program into them.
struct JoinStage {
    let plan: Plan
    /// The shim's pid.
    let shim: Int32
    let gate: Int32
    /// A pidfd of the container's pid 1.
    let container: Int32
    let stdio: Stdio
    let kinds: UInt64
    var handover = HandoverSettings()

    func run() -> Never {
        do throws(Failure) { try join() } catch { report(error, gate: gate) }
        lnt_exit(0)
    }

    private func join() throws(Failure) {
        dieWith(parent: shim)
        // v2's was joined by clone3.
        guard let memory = lnt_map_anonymous(4096) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        try setInitialAffinity(plan)
        let cgroups = CgroupJoin(storage: memory.assumingMemoryBound(to: Int32.self))
        try cgroups.open(plan)
        try cgroups.enter(plan)
        currentStep = LNT_NAMESPACES.rawValue
        try check(lnt_setns(container, kinds), "setns", literal("the container's namespaces"))
        var none: gid_t = 0
        try setGroups(&none, 0)
        try becomeRoot()
        _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 0)
        // From the next line on the container's processes see it, and with CAP_SYS_PTRACE over our own user namespace they may open what it
        // has open, whatever is dumpable: a folder of the host would be a way out (attack 11, CVE-2016-9962).
        try closeOthers()
        // The program becomes the shim's own child, so that it outlives this process and the engine, and the shim reaps it.
        let pid = try check(lnt_clone3(UInt64(LNT_CLONE_PARENT), nil, 0, -1), "clone3", literal("the program"))
        if pid == 0 {
            let root = lnt_open(literal("/"), Int32(LNT_O_PATH) | Int32(LNT_O_DIRECTORY), 0)
            var stage = ProcessStage(
                plan: plan, gate: gate, stdio: stdio, root: ContainerRoot(fd: root), createsWorkingDirectory: false, makesConsole: false,
                diesWithParent: false, handover: handover)
            stage.run()
        }
        var born = BornMessage(pid: pid)
        try check(Int32(truncatingIfNeeded: lnt_write(gate, &born, MemoryLayout<BornMessage>.size)), "write")
    }

    /// Leaves open what the program's process needs: its streams, the gate, and what the caller wants it to keep.
    private func closeOthers() throws(Failure) {
        var next: Int32 = 3
        while true {
            var lowest = Int32.max
            func keep(_ fd: Int32) { if fd >= next, fd < lowest { lowest = fd } }
            keep(gate)
            keep(stdio.input)
            keep(stdio.output)
            keep(stdio.error)
            let end = handover.firstPreserved + handover.preserved
            if handover.preserved > 0, next < end { keep(max(next, handover.firstPreserved)) }
            guard lowest < Int32.max else { break }
            if lowest > next { try check(lnt_close_range(UInt32(next), UInt32(lowest - 1), 0), "close_range") }
            next = lowest + 1
        }
        try check(lnt_close_range(UInt32(next), UInt32.max, 0), "close_range")
    }
}
