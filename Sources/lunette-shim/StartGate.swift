import CLinux

/// Where a program that is ready waits until somebody lets it run: the shim by one word, or, when the shim has handed the container over,
/// whoever connects to `gate.sock`.
///
/// An end is no word: nobody's death starts a container. A signal that would end a program ends the waiting too, though pid 1 of a
/// namespace is spared such signals by the kernel.
struct StartGate {
    let gate: Int32

    /// Returns when the program may run; `gate` then tells who asked how it went (by a failure, or by its end at execve).
    /// - Returns: whether somebody else than the shim asked.
    func wait(_ handover: HandoverSettings) throws(Failure) -> Bool {
        var word: UInt32 = 0
        guard handover.isOn else {
            guard lnt_read(gate, &word, 4) == 4, word == GateMessage.open else { lnt_exit(1) }
            return false
        }
        var received = lnt_received()
        guard lnt_receive(gate, &word, 4, &received, 1) >= 0, received.size == 4 else { lnt_exit(1) }
        if word == GateMessage.open { return false }
        guard word == GateMessage.handedOver, received.count == 1 else { lnt_exit(1) }
        try serve(received.fds.0)
        return true
    }

    private func serve(_ listening: Int32) throws(Failure) {
        let signals = try check(lnt_signalfd_all(), "signalfd")
        var polls = (
            lnt_poll(fd: listening, events: Int16(LNT_IN), revents: 0), lnt_poll(fd: signals, events: Int16(LNT_IN), revents: 0)
        )
        while true {
            _ = withUnsafeMutableBytes(of: &polls) { lnt_wait_ready($0.assumingMemoryBound(to: lnt_poll.self).baseAddress!, 2, -1) }
            if polls.1.revents != 0 { endIfAsked(signals) }
            guard polls.0.revents != 0 else { continue }
            let caller = lnt_accept(listening)
            guard caller >= 0 else { continue }
            var word: UInt32 = 0
            var received = lnt_received()
            // Accepted non-blocking: whoever has connected gets a moment to say the word, and a caller that hangs holds nobody up for long.
            var talk = lnt_poll(fd: caller, events: Int16(LNT_IN), revents: 0)
            _ = lnt_wait_ready(&talk, 1, 2000)
            if lnt_receive(caller, &word, 4, &received, 1) >= 0, received.size == 4, word == GateMessage.open {
                // In the old gate's place, so that what reports a failure finds it. Close-on-exec comes with it.
                _ = lnt_close(listening)
                _ = lnt_close(signals)
                _ = lnt_close(gate)
                let moved = try check(lnt_dup(caller, gate), "fcntl")
                _ = lnt_set_nonblocking(moved, 0)
                _ = lnt_close(caller)
                return
            }
            _ = lnt_close(caller)
        }
    }

    private func endIfAsked(_ signals: Int32) {
        while true {
            let signal = lnt_next_signal(signals)
            if signal == 0 { return }
            // SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH end nothing (signal(7)).
            if (17...23).contains(signal) || signal == 28 { continue }
            lnt_exit(128 + signal)
        }
    }
}
