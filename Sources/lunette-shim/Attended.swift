import CLinux

/// A program that somebody waits for: a sandbox. It has no folder on the disk and no log, its streams are those that the shim was started
/// with, and it ends when its last control connection does.
///
/// The record `attended` says so; without it nothing here happens.
struct Attended {
    var isOn = false

    init() {}

    init(plan: Plan) { isOn = plan.has(LNT_ATTENDED) }

    /// The streams of the shim, for the program.
    func streams() throws(Failure) -> Stdio {
        var stdio = Stdio()
        stdio.input = try check(lnt_dup(0, 10), "dup", literal("stdin"))
        stdio.output = try check(lnt_dup(1, 10), "dup", literal("stdout"))
        stdio.error = try check(lnt_dup(2, 10), "dup", literal("stderr"))
        return stdio
    }

    /// With a terminal of its own the program's error output is that terminal too, unless ours goes elsewhere than our input comes from.
    /// - Returns: -1 for the terminal.
    func separateError() throws(Failure) -> Int32 {
        var input = lnt_file_status()
        var error = lnt_file_status()
        try check(lnt_fstat(0, &input), "fstat", literal("stdin"))
        try check(lnt_fstat(2, &error), "fstat", literal("stderr"))
        if input.inode == error.inode, input.device == error.device { return -1 }
        return try check(lnt_dup(2, 10), "dup", literal("stderr"))
    }

    /// In the program's process, before its own filter: loads the listening one and sends the descriptor home. The filter asks before calls
    /// which take paths and decides nothing; an empty one is none.
    // Fields: listener
    static func listen(_ plan: Plan, gate: Int32) throws(Failure) {
        guard plan.has(LNT_ATTENDED) else { return }
        var fields = try plan.fields(LNT_ATTENDED)
        let program = try fields.bytes()
        guard program.count > 0 else { return }
        let newListener: UInt32 = 8
        var listener = try check(lnt_seccomp_load(program.baseAddress!, program.count / 8, newListener), "seccomp listener")
        defer { _ = lnt_close(listener) }
        var message = WatchMessage()
        // With a flag that the filter lets pass: nobody could answer yet.
        let sent = lnt_send(gate, &message, MemoryLayout<WatchMessage>.size, &listener, 1, 2)
        try check(Int32(truncatingIfNeeded: sent), "sendmsg", literal("the listener"))
    }
}

struct WatchMessage {
    var type: UInt32 = GateMessage.watch
    var zero: (UInt32, UInt32) = (0, 0)
}

extension Monitor {
    /// Passes the listener on to whoever attends.
    func watch(_ received: lnt_received) {
        guard received.count == 1 else { return }
        var fd = received.fds.0
        var event = lnt_message()
        event.type = LNT_MSG_LISTENER.rawValue
        if connections.count > 0 { _ = lnt_send(connections[0], &event, MemoryLayout<lnt_message>.size, &fd, 1, 0) }
        // Held by nobody, it lets every waiting call fail with ENOSYS: then the attendant is gone, and the program with it.
        _ = lnt_close(fd)
    }

    /// Nobody attends any more.
    func endUnattended() {
        guard settings.attended.isOn, connections.count == 0, state != LNT_IS_ENDED, state != LNT_IS_FAILED, !isAborted else { return }
        abort()
    }

    /// What a terminal's signals would reach: the program leads its session, so its group has its pid.
    func signalGroup(_ signal: Int32) -> Int32 {
        // The pid is the program's own as long as its end hasn't been reported: init reaps it only then.
        guard programPID > 0, !hasStatus, state == LNT_IS_CREATED || state == LNT_IS_RUNNING else { return Int32(LNT_ESRCH) }
        return -lnt_kill(-programPID, signal)
    }
}
