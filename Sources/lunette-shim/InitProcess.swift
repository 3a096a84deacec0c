import CLinux

/// Pid 1 of a container: reaps whatever ends, passes signals on to the program, and tells the shim the program's raw wait status.
///
/// It executes nothing, so it stays non-dumpable: nobody inside can look into it or at its binary (attack 1).
struct InitProcess {
    let program: Int32
    let lifeline: Int32
    let drains: (Int32, Int32)
    let goesOn: Bool
    let plan: Plan

    func run() -> Never {
        _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), 0)
        _ = lnt_prctl(Int32(LNT_PR_SET_CHILD_SUBREAPER), 1)  // for a shared pid namespace, where it isn't pid 1
        _ = lnt_prctl(Int32(LNT_PR_SET_NAME), UInt(bitPattern: literal("lunette-init")))
        let signals = lnt_signalfd_all()
        // Only these stay; whatever else came with the clone (trees, streams, the shim's files) goes. All sources are above 6.
        _ = lnt_dup2(lifeline, 3)
        _ = lnt_dup2(signals, 4)
        if goesOn, drains.0 >= 0 { _ = lnt_dup2(drains.0, 5) } else { _ = lnt_close(5) }
        if goesOn, drains.1 >= 0 { _ = lnt_dup2(drains.1, 6) } else { _ = lnt_close(6) }
        _ = lnt_close_range(7, UInt32.max, 0)
        // The shim's own streams are the host's devices, and whoever may trace could open them from here.
        _ = lnt_close_range(0, 2, 0)
        plan.unmap()
        // The kernel counts a page of the binary as private while one process alone has it mapped: init maps all of them, so that shim and
        // init share what the page cache holds once anyway.
        lnt_map_program()
        // Signals to another user's program need CAP_KILL (5), and nothing else is needed any more.
        _ = lnt_capset(1 << 5, 1 << 5, 0)
        loop()
    }

    private func loop() -> Never {
        var polls = (
            lnt_poll(fd: 3, events: Int16(LNT_IN), revents: 0), lnt_poll(fd: 4, events: Int16(LNT_IN), revents: 0),
            lnt_poll(fd: -1, events: Int16(LNT_IN), revents: 0), lnt_poll(fd: -1, events: Int16(LNT_IN), revents: 0)
        )
        while true {
            _ = withUnsafeMutableBytes(of: &polls) { lnt_wait_ready($0.assumingMemoryBound(to: lnt_poll.self).baseAddress!, 4, -1) }
            if polls.1.revents != 0 { handleSignals() }
            if polls.0.revents != 0 {
                // The shim is gone: it never closes its end while the container lives.
                guard goesOn else { lnt_exit(128 + Int32(LNT_SIGKILL)) }
                polls.0.fd = -1
                polls.2.fd = drains.0 >= 0 ? 5 : -1
                polls.3.fd = drains.1 >= 0 ? 6 : -1
            }
            if polls.2.revents != 0, !drain(5) { polls.2.fd = -1 }
            if polls.3.revents != 0, !drain(6) { polls.3.fd = -1 }
        }
    }

    private func handleSignals() {
        while true {
            let signal = lnt_next_signal(4)
            if signal == 0 { return }
            guard signal == Int32(LNT_SIGCHLD) else {
                _ = lnt_kill(program, signal)
                continue
            }
            while true {
                var status: Int32 = 0
                let pid = lnt_wait(-1, &status, 0)
                if pid <= 0 { break }
                if pid == program {
                    _ = lnt_write(3, &status, 4)
                    // The kernel now ends whatever else runs in this pid namespace.
                    lnt_exit(status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f))
                }
            }
        }
    }

    /// Reads output away that nobody keeps any more; false at its end.
    private func drain(_ fd: Int32) -> Bool {
        var nowhere: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
        while true {
            let count = withUnsafeMutableBytes(of: &nowhere) { lnt_read(fd, $0.baseAddress!, $0.count) }
            if count == -Int(LNT_EAGAIN) { return true }
            if count <= 0 { return false }
        }
    }
}
