import CLinux

/// A pod's only process: executes nothing, keeps its namespaces alive for those who share them, and reaps what is left to it.
///
/// It stays the shim's own image, non-dumpable and without capabilities, so there is nothing inside to look into or to overwrite (attack 1).
extension ProcessStage {
    func isWithoutProgram() throws(Failure) -> Bool {
        var arguments = try plan.fields(LNT_ARGUMENTS)
        return try arguments.count(size: 16) == 0
    }

    /// Doesn't return, unless what it needs can't be had.
    func hold(_ gate: Int32, noNewPrivileges: Bool) throws(Failure) {
        if noNewPrivileges {
            currentStep = LNT_NO_NEW_PRIVILEGES.rawValue
            try check(lnt_prctl(Int32(LNT_PR_SET_NO_NEW_PRIVS), 1), "prctl")
        }
        currentStep = LNT_EXECUTE.rawValue
        let signals = try check(lnt_signalfd_all(), "signalfd")
        _ = lnt_prctl(Int32(LNT_PR_SET_NAME), UInt(bitPattern: literal("lunette-pod")))
        if noNewPrivileges { try loadSeccomp(false) }
        plan.unmap()
        // As an execve would: the end of the gate is the word that it worked. Nothing else is kept open but what tells of signals.
        for fd: Int32 in 0...2 { _ = lnt_close(fd) }
        _ = lnt_close(gate)
        var poll = lnt_poll(fd: signals, events: Int16(LNT_IN), revents: 0)
        while true {
            _ = lnt_wait_ready(&poll, 1, -1)
            while true {
                let signal = lnt_next_signal(signals)
                if signal == 0 { break }
                switch signal {
                case Int32(LNT_SIGCHLD): reapAll()
                // What people and engines end containers with; the kernel then ends whoever shares the pid namespace.
                case 1, 2, 3, 15: lnt_exit(0)  // SIGHUP SIGINT SIGQUIT SIGTERM
                default: break
                }
            }
        }
    }

    private func reapAll() {
        var status: Int32 = 0
        while lnt_wait(-1, &status, 0) > 0 {}
    }
}
