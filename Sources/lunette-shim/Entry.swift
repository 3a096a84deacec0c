import CLinux

/// Whether the plan is for one more program in a container that runs: its header says so. What is wrong with it is found out when it is read.
private func isExec() -> Bool {
    var header = lnt_plan_header()
    return lnt_pread(Handed.plan, &header, MemoryLayout<lnt_plan_header>.size, 0) == MemoryLayout<lnt_plan_header>.size
        && header.kind == LNT_PLAN_EXEC.rawValue
}

/// `lunette-shim ID`: descriptors 3 to 6 are the plan, the first control connection, the state folder and the container's folder; or 3 is the
/// connection alone and the others come over it.
@_cdecl("lunette_shim_main")
public func entry(_ argc: Int32, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
    let spawned = lnt_clock_monotonic()
    var ahead = NamespacesAhead()
    if AwaitedPlan.isExpected {
        guard let made = AwaitedPlan.receive() else { return 0 }
        ahead = made
    }
    var status = lnt_file_status()
    for fd: Int32 in 3...6 where lnt_fstat(fd, &status) < 0 {
        let usage: StaticString = "lunette-shim is started by lunette's engine (descriptors 3 to 6 are missing)\n"
        _ = lnt_write(2, usage.utf8Start, usage.utf8CodeUnitCount)
        return 125
    }
    _ = lnt_setsid()
    lnt_umask(0)
    // Executed through a descriptor, it would be named by that number; recovery finds shims by this name.
    _ = lnt_prctl(Int32(LNT_PR_SET_NAME), UInt(bitPattern: literal("lunette-shim")))
    _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 0)
    _ = lnt_prctl(Int32(LNT_PR_SET_CHILD_SUBREAPER), 1)
    _ = lnt_chdir(literal("/"))
    if isExec() { HandedOverExec.run() }
    Monitor(spawned: spawned, ahead: ahead).run()
}
