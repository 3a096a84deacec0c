import CLinux

/// Whether the plan has a hard limit above the caller's own: only CAP_SYS_RESOURCE over the host may raise one (getrlimit(2)).
func raisesLimits(_ plan: Plan) throws(Failure) -> Bool {
    var limits = try plan.fields(LNT_RLIMITS)
    for _ in 0..<(try limits.count(size: 24)) {
        let resource = try limits.word()
        _ = try limits.number()
        let hard = try limits.number()
        var own: (soft: UInt64, hard: UInt64) = (0, 0)
        try check(lnt_get_limit(Int32(bitPattern: resource), &own.soft, &own.hard), "getrlimit")
        if hard > own.hard { return true }
    }
    return false
}

/// Sets the limits of a process: the caller's own (0) last of all, because what it still has to do must not run into them, or, from outside,
/// those of a program that waits at its gate.
func setLimits(_ plan: Plan, pid: Int32) throws(Failure) {
    var limits = try plan.fields(LNT_RLIMITS)
    for _ in 0..<(try limits.count(size: 24)) {
        let resource = try limits.word()
        let soft = try limits.number()
        let hard = try limits.number()
        try check(lnt_prlimit(pid, Int32(bitPattern: resource), soft, hard), "prlimit", limitName(resource))
    }
}

/// As config.json calls it: by this a failure is told.
private func limitName(_ resource: UInt32) -> Text {
    switch resource {
    case 0: literal("RLIMIT_CPU")
    case 1: literal("RLIMIT_FSIZE")
    case 2: literal("RLIMIT_DATA")
    case 3: literal("RLIMIT_STACK")
    case 4: literal("RLIMIT_CORE")
    case 5: literal("RLIMIT_RSS")
    case 6: literal("RLIMIT_NPROC")
    case 7: literal("RLIMIT_NOFILE")
    case 8: literal("RLIMIT_MEMLOCK")
    case 9: literal("RLIMIT_AS")
    case 10: literal("RLIMIT_LOCKS")
    case 11: literal("RLIMIT_SIGPENDING")
    case 12: literal("RLIMIT_MSGQUEUE")
    case 13: literal("RLIMIT_NICE")
    case 14: literal("RLIMIT_RTPRIO")
    default: literal("RLIMIT_RTTIME")
    }
}

/// Raises a waiting program's limits in the name of its user namespace's owner: a root without CAP_SYS_RESOURCE has that right there.
func raiseLimits(_ plan: Plan, pid: Int32) throws(Failure) {
    let owner = try withProcPath(pid, "ns/user") { (path) throws(Failure) in
        let namespace = try check(lnt_open(path, 0, 0), "open", literal("ns/user"))
        defer { _ = lnt_close(namespace) }
        let owner = lnt_namespace_owner(namespace)
        // The host's own namespace, or one that is too far away to be told of.
        if owner == -Int64(LNT_EPERM) { return Int64(0) }
        if owner < 0 { throw failure("ioctl NS_GET_OWNER_UID", errno: Int32(-owner)) }
        return owner
    }
    if owner > 0 { try check(lnt_act_as(UInt32(owner)), "setresuid", literal("the namespace's owner")) }
    // Back to a saved uid that is still root's: nothing can refuse that.
    defer { if owner > 0 { _ = lnt_act_as(0) } }
    try setLimits(plan, pid: pid)
}

/// Scheduler, I/O priority and processors of a program that waits at its gate: from outside, where the rights are.
func setScheduling(_ plan: Plan, pid: Int32) throws(Failure) {
    if plan.has(LNT_SCHEDULER) {
        var fields = try plan.fields(LNT_SCHEDULER)
        var how = lnt_scheduling()
        how.policy = try fields.word()
        how.flags = try fields.number()
        how.nice = Int32(truncatingIfNeeded: try fields.number())
        how.priority = try fields.word()
        how.runtime = try fields.number()
        how.deadline = try fields.number()
        how.period = try fields.number()
        try check(lnt_sched_setattr(pid, &how), "sched_setattr")
    }
    if plan.has(LNT_IO_PRIORITY) {
        var fields = try plan.fields(LNT_IO_PRIORITY)
        try check(lnt_ioprio_set(pid, Int32(truncatingIfNeeded: try fields.number())), "ioprio_set")
    }
    if plan.has(LNT_AFFINITY) {
        var fields = try plan.fields(LNT_AFFINITY)
        _ = try fields.bytes()
        let final = try fields.bytes()
        if final.count > 0 { try check(lnt_set_affinity(pid, final.baseAddress!, final.count), "sched_setaffinity") }
    }
}

/// The processors of an exec before it is in the container's cgroup.
func setInitialAffinity(_ plan: Plan) throws(Failure) {
    guard plan.has(LNT_AFFINITY) else { return }
    var fields = try plan.fields(LNT_AFFINITY)
    let initial = try fields.bytes()
    if initial.count > 0 { try check(lnt_set_affinity(0, initial.baseAddress!, initial.count), "sched_setaffinity") }
}

/// What only the process itself can ask for.
func setExecutionDomain(_ plan: Plan) throws(Failure) {
    if plan.has(LNT_PERSONALITY) {
        var fields = try plan.fields(LNT_PERSONALITY)
        try check(lnt_personality(UInt(truncatingIfNeeded: try fields.number())), "personality")
    }
    if plan.has(LNT_MEMORY_POLICY) {
        var fields = try plan.fields(LNT_MEMORY_POLICY)
        let mode = Int32(truncatingIfNeeded: try fields.number())
        let nodes = try fields.bytes()
        try check(lnt_set_mempolicy(mode, nodes.baseAddress, nodes.count * 8), "set_mempolicy")
    }
}
