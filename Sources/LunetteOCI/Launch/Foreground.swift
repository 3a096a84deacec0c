internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Stays with a program until it ends: passes signals on, and relays its terminal when we hold the master.
struct Foreground {
    private let signals: FileDescriptor

    /// From here on signals wait for us, and orphans below us become our children.
    init() throws(LunetteError) {
        let subreaper: Int32 = 36
        try atBorder(
            "become the parent of the program",
            { () throws(SystemCallError) in
                _ = try check(lnt_host_prctl(subreaper, 1, 0), "prctl")
            })
        let opened = lnt_signalfd_all()
        signals = FileDescriptor(
            owning: try atBorder("take signals", { () throws(SystemCallError) in try check(opened, "signalfd") }))
    }

    /// - Parameters:
    ///   - pid: a child of ours by now.
    ///   - started: opens the gate when everything is ready to be relayed.
    /// - Returns: the exit code, 128+n for a signal.
    func wait(for pid: Int32, terminal: FileDescriptor?, started: () throws(LunetteError) -> Void) throws(LunetteError) -> Int32 {
        let relay = try terminal.map { master throws(LunetteError) in try TerminalRelay(master) }
        defer { relay?.restore() }
        relay?.resize()
        try started()
        while true {
            if let status = reap(pid) {
                relay?.drain()
                return WaitStatus(raw: status).code
            }
            var list = [pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0)]
            relay?.watch(&list)
            if poll(&list, nfds_t(list.count), -1) < 0, errno != EINTR {
                throw LunetteError(.io, "wait for process \(pid): \(errnoText(errno))", errno: errno)
            }
            forward(to: pid, relay)
            relay?.move(list)
        }
    }

    private func forward(to pid: Int32, _ relay: TerminalRelay?) {
        while true {
            switch lnt_next_signal(signals.number) {
            case 0: return
            // Ours, the Go runtime's of a caller, and the relay's own: not meant for the program.
            case SIGCHLD, SIGURG, SIGPIPE, SIGTTIN, SIGTTOU: break
            case SIGWINCH: relay?.resize()
            // It is our child and not reaped yet: the pid is its own.
            case let number: kill(pid, number)
            }
        }
    }

    /// Reaps whatever has ended.
    /// - Returns: the raw status of `pid` when it has.
    private func reap(_ pid: Int32) -> Int32? {
        var result: Int32?
        while true {
            var status: Int32 = 0
            let ended = waitpid(-1, &status, WNOHANG)
            if ended == pid { result = status }
            if ended <= 0 { return result }
        }
    }
}
