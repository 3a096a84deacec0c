import CLinux

/// Runs one OCI hook: a program that reads the container's state, must end in its time, and must end well.
///
/// Its output goes to a pipe of ours, never to the container's streams; the last of it is told when it fails.
struct HookStep {
    private static let page = 4096
    /// Between the hook's path and what it said.
    private static let maximumWords = 31

    // Fields: path args env timeout_ms state state_end
    static func run(_ fields: inout Fields, pid: Int32) throws(Failure) {
        let path = try fields.text()
        let argv = try list(&fields)
        let envp = try list(&fields)
        let timeout = try fields.number()
        let (before, after) = (try fields.text(), try fields.text())
        let input = try Monitor.pipe()
        let output = try Monitor.pipe()
        defer { closeAll(input.write, output.read, -1, -1) }
        var handle: Int32 = -1
        let child = lnt_clone3(0, &handle, Int32(LNT_SIGCHLD), -1)
        if child == 0 { execute(path, argv, envp, input.read, output.write) }
        closeAll(input.read, output.write, -1, -1)
        try check(child, "clone3", path)
        defer { _ = lnt_close(handle) }
        guard let memory = lnt_map_anonymous(2 * page) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        var state = TextBuffer(memory, capacity: page)
        state.append(signed: Int64(pid))
        // Longer states than a pipe holds wait for the reader, so it is written without blocking for ever: a hook that doesn't read gets
        // what fits and the end.
        _ = lnt_set_pipe_size(input.write, 1 << 20)
        _ = lnt_set_nonblocking(input.write, 1)
        _ = lnt_write(input.write, before, lnt_length(before))
        _ = lnt_write(input.write, state.start, state.count)
        _ = lnt_write(input.write, after, lnt_length(after))
        _ = lnt_close(input.write)
        // A failure's text has room for 511 bytes and loses its beginning first.
        var said = TextBuffer(memory + page, capacity: max(64, 511 - maximumWords - lnt_length(path)))
        let status = wait(child, handle, output.read, timeout, &said)
        // The state is written: its page is free. The words are those of the runtime's own hooks (`Hooks` of lunette-oci).
        var told = TextBuffer(memory, capacity: page)
        told.append(path)
        guard let status else {
            told.append(": it took longer than ")
            told.append(timeout / 1000)
            told.append(" s")
            throw failure("hook", errno: 110, told.terminate())  // ETIMEDOUT
        }
        if status != 0 {
            tell(status, said, &told)
            // Told by its end; the call's own number says nothing more.
            throw failure("hook", errno: Int32(LNT_ECHILD), told.terminate())
        }
        _ = lnt_unmap(memory, 2 * page)
    }

    private static func tell(_ status: Int32, _ said: TextBuffer, _ told: inout TextBuffer) {
        let signal = status & 0x7f
        told.append(signal == 0 ? ": it ended with exit code " : ": it was killed by signal ")
        told.append(signed: Int64(signal == 0 ? (status >> 8) & 0xff : signal))
        var count = said.count
        while count > 0, said.start[count - 1] == 0x20 { count -= 1 }
        guard count > 0 else { return }
        told.append(": ")
        told.append(UnsafeRawPointer(said.start), count)
    }

    private static func list(_ fields: inout Fields) throws(Failure) -> UnsafePointer<Text?> {
        let count = try fields.count(size: 16)
        guard let memory = lnt_map_anonymous((count + 1) * MemoryLayout<Text?>.stride) else {
            throw failure("mmap", errno: Int32(LNT_ENOMEM))
        }
        let list = memory.assumingMemoryBound(to: Text?.self)
        for index in 0..<count { list[index] = try fields.text() }
        return UnsafePointer(list)
    }

    private static func execute(
        _ path: Text, _ argv: UnsafePointer<Text?>, _ envp: UnsafePointer<Text?>, _ input: Int32, _ output: Int32
    ) -> Never {
        _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), UInt(LNT_SIGKILL))
        _ = lnt_dup2(input, 0)
        _ = lnt_dup2(output, 1)
        _ = lnt_dup2(output, 2)
        _ = lnt_close_range(3, UInt32.max, 0)
        lnt_reset_signals()
        let result = lnt_execve(path, argv, envp)
        let why: StaticString = result == -Int32(LNT_ENOENT) ? "no such program" : "can't be executed"
        _ = lnt_write(2, why.utf8Start, why.utf8CodeUnitCount)
        lnt_exit(127)
    }

    /// - Returns: the wait status; nil when it had to be killed.
    private static func wait(_ child: Int32, _ handle: Int32, _ output: Int32, _ timeout: UInt64, _ said: inout TextBuffer) -> Int32? {
        let deadline = timeout == 0 ? UInt64.max : lnt_clock_monotonic() + timeout * 1_000_000
        var polls = (
            lnt_poll(fd: handle, events: Int16(LNT_IN), revents: 0), lnt_poll(fd: output, events: Int16(LNT_IN), revents: 0)
        )
        _ = lnt_set_nonblocking(output, 1)
        var status: Int32 = 0
        while true {
            let now = lnt_clock_monotonic()
            if now >= deadline {
                _ = lnt_pidfd_send_signal(handle, Int32(LNT_SIGKILL))
                _ = lnt_wait(child, &status, 1)
                return nil
            }
            let left = deadline == UInt64.max ? -1 : Int64((deadline - now) / 1_000_000 + 1)
            _ = withUnsafeMutableBytes(of: &polls) { lnt_wait_ready($0.assumingMemoryBound(to: lnt_poll.self).baseAddress!, 2, left) }
            if polls.1.revents != 0 { if !take(output, &said) { polls.1.fd = -1 } }
            if polls.0.revents != 0 {
                _ = lnt_wait(child, &status, 1)
                _ = take(output, &said)
                return status
            }
        }
    }

    /// Keeps the first that it says, reads the rest away; false at the end.
    private static func take(_ output: Int32, _ said: inout TextBuffer) -> Bool {
        var bytes: InlineArray<256, UInt8> = .init(repeating: 0)
        while true {
            let count = withUnsafeMutableBytes(of: &bytes) { lnt_read(output, $0.baseAddress!, $0.count) }
            if count == -Int(LNT_EAGAIN) { return true }
            if count <= 0 { return false }
            withUnsafeBytes(of: &bytes) { buffer in
                for index in 0..<count where buffer[index] != 0 {
                    said.append(buffer[index] == 0x0a ? 0x20 : buffer[index])
                }
            }
        }
    }
}
