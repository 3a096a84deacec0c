import CLinux

/// Writes `exit` in the container's state folder: durable before anyone relies on it, whole or not there.
struct ExitRecord {
    let directory: Int32

    func write(_ exit: lnt_exit) {
        save { (text: inout TextBuffer) in
            text.append("\"status\":")
            text.append(signed: Int64(exit.status))
            text.append(",\"code\":")
            text.append(signed: Int64(exit.code))
            text.append(",\"signal\":")
            text.append(signed: Int64(exit.signal))
            text.append(",\"oom_kills\":")
            text.append(exit.oom_kills)
            text.append(",\"pid\":")
            text.append(signed: Int64(exit.program_pid))
            text.append(",\"started_at\":\"")
            text.append(time: exit.started_at)
            text.append("\",\"finished_at\":\"")
            text.append(time: exit.ended_at)
            text.append("\"")
        }
    }

    func write(_ failure: lnt_failure) {
        var failure = failure
        save { (text: inout TextBuffer) in
            text.append("\"failure\":{\"step\":")
            text.append(UInt64(failure.step))
            text.append(",\"index\":")
            text.append(UInt64(failure.index))
            text.append(",\"errno\":")
            text.append(signed: Int64(failure.error))
            text.append(",\"call\":\"")
            withUnsafeBytes(of: &failure.call) { quote($0, &text) }
            text.append("\",\"path\":\"")
            withUnsafeBytes(of: &failure.path) { quote($0, &text) }
            text.append("\"},\"finished_at\":\"")
            text.append(time: lnt_clock_realtime())
            text.append("\"")
        }
    }

    /// JSON's escapes; bytes that are not ASCII become `?`, because a path of an image need not be UTF-8.
    private func quote(_ bytes: UnsafeRawBufferPointer, _ text: inout TextBuffer) {
        for byte in bytes {
            if byte == 0 { return }
            if byte == 0x22 || byte == 0x5c { text.append(UInt8(0x5c)) }
            text.append(byte < 0x20 || byte > 0x7e ? 0x3f : byte)
        }
    }

    private func save(_ body: (inout TextBuffer) -> Void) {
        withUnsafeTemporaryAllocation(byteCount: 2048, alignment: 8) { bytes in
            var text = TextBuffer(bytes.baseAddress!, capacity: bytes.count)
            text.append("{\"boot_id\":\"")
            let bootID = lnt_open(literal("/proc/sys/kernel/random/boot_id"), 0, 0)
            if bootID >= 0 {
                withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { id in
                    let count = lnt_read(bootID, id.baseAddress!, 36)
                    if count > 0 { text.append(id.baseAddress!, count) }
                }
                _ = lnt_close(bootID)
            }
            text.append("\",")
            body(&text)
            text.append("}\n")
            let flags = Int32(LNT_O_WRONLY) | Int32(LNT_O_CREAT) | Int32(LNT_O_TRUNC) | Int32(LNT_O_NOFOLLOW)
            let fd = lnt_openat(directory, literal("exit.new"), flags, 0o600)
            guard fd >= 0 else { return }
            let isWritten = lnt_write_all(fd, text.start, text.count) >= 0 && lnt_fsync(fd) >= 0
            _ = lnt_close(fd)
            guard isWritten, lnt_renameat2(directory, literal("exit.new"), directory, literal("exit"), 0) >= 0 else { return }
            // The given descriptor may be O_PATH, which can't be synced.
            let folder = lnt_openat(directory, literal("."), Int32(LNT_O_DIRECTORY), 0)
            if folder >= 0 {
                _ = lnt_fsync(folder)
                _ = lnt_close(folder)
            }
        }
    }
}
