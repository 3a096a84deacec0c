import CLinux

/// The container's log: one line an entry, `TIME STREAM TAG:SEQUENCE CONTENT`, rotated by size between entries.
///
/// TAG is F for the end of a line and P for a part of one (longer than `longest`, or the stream's end without a newline), so that the
/// program's bytes can be put together again exactly. Kubernetes' CRI log format, with the sequence number as a second tag.
struct LogFile {
    /// Content of one entry.
    static let longest = 8192
    private static let bufferSize = 16384

    private let directory: Int32
    private let maximumSize: UInt64
    private let maximumFiles: UInt64
    private var fd: Int32 = -1
    private var size: UInt64 = 0
    private(set) var sequence: UInt64 = 0
    /// Entries that could not be written.
    private(set) var lost: UInt64 = 0
    private var buffer: TextBuffer
    private var buffered: UInt64 = 0
    /// What each stream has said since its last newline.
    private var carries: (UnsafeMutableRawPointer, UnsafeMutableRawPointer)
    private var lengths = (0, 0)
    private var time: UInt64 = 0

    /// Opens the log for appending and goes on with its last sequence number.
    init(directory: Int32, maximumSize: UInt64, maximumFiles: UInt64) throws(Failure) {
        self.directory = directory
        self.maximumSize = maximumSize
        self.maximumFiles = maximumFiles
        // One mapping; pages are touched when they are needed.
        guard let memory = lnt_map_anonymous(Self.bufferSize + 2 * Self.longest) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        buffer = TextBuffer(memory, capacity: Self.bufferSize)
        carries = (memory + Self.bufferSize, memory + Self.bufferSize + Self.longest)
        try open()
        sequence = lastSequence(fd, size)
        if sequence == 0 {
            let previous = lnt_openat(directory, literal("log.1"), Int32(LNT_O_NOFOLLOW), 0)
            if previous >= 0 {
                var status = lnt_file_status()
                if lnt_fstat(previous, &status) == 0 { sequence = lastSequence(previous, status.size) }
                _ = lnt_close(previous)
            }
        }
    }

    private mutating func open() throws(Failure) {
        let flags = Int32(LNT_O_RDWR) | Int32(LNT_O_CREAT) | Int32(LNT_O_APPEND) | Int32(LNT_O_NOFOLLOW)
        fd = try check(lnt_openat(directory, literal("log"), flags, 0o600), "open", literal("log"))
        var status = lnt_file_status()
        try check(lnt_fstat(fd, &status), "fstat", literal("log"))
        size = status.size
    }

    /// Reads the number of the last entry from the file's tail, and ends an entry that a killed shim left without its newline.
    private mutating func lastSequence(_ file: Int32, _ length: UInt64) -> UInt64 {
        guard length > 0 else { return 0 }
        let wanted = min(length, UInt64(Self.bufferSize))
        let count = lnt_pread(file, buffer.start, Int(wanted), Int64(length - wanted))
        guard count > 0 else { return 0 }
        var end = count
        if buffer.start[count - 1] != 0x0a {
            if file == fd, lnt_write(file, "\n", 1) == 1 { size += 1 }
        } else {
            end -= 1
        }
        var start = end
        while start > 0, buffer.start[start - 1] != 0x0a { start -= 1 }
        // After two spaces comes the tag, one letter and a colon.
        var spaces = 0
        while start < end, spaces < 2 {
            if buffer.start[start] == 0x20 { spaces += 1 }
            start += 1
        }
        start += 2
        var number: UInt64 = 0
        while start < end, buffer.start[start] >= 0x30, buffer.start[start] <= 0x39 {
            number = number &* 10 &+ UInt64(buffer.start[start] - 0x30)
            start += 1
        }
        return number
    }

    /// Takes what a stream (1 = stdout, 2 = stderr) has said. Entries are in the file when this returns.
    mutating func append(_ stream: UInt32, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        time = lnt_clock_realtime()
        var start = 0
        while start < count {
            let newline = lnt_find_byte(bytes + start, 0x0a, count - start)
            var end = newline < 0 ? count : start + newline
            let carried = stream == 1 ? lengths.0 : lengths.1
            let room = Self.longest - carried
            let isWhole = newline >= 0 && end - start <= room
            if !isWhole { end = min(end, start + room) }
            if isWhole {
                entry(stream, "F", carried, bytes + start, end - start)
                start = end + 1
            } else if end - start == room {
                entry(stream, "P", carried, bytes + start, end - start)
                start = end
            } else {
                keep(stream, bytes + start, end - start)
                start = end
            }
        }
        flush()
    }

    /// Writes what a stream said last without a newline.
    mutating func end(_ stream: UInt32) {
        let carried = stream == 1 ? lengths.0 : lengths.1
        guard carried > 0 else { return }
        time = lnt_clock_realtime()
        entry(stream, "P", carried, buffer.start, 0)
        flush()
    }

    private mutating func keep(_ stream: UInt32, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        let carried = stream == 1 ? lengths.0 : lengths.1
        let memory = stream == 1 ? carries.0 : carries.1
        (memory + carried).copyMemory(from: bytes, byteCount: count)
        if stream == 1 { lengths.0 += count } else { lengths.1 += count }
    }

    private mutating func entry(_ stream: UInt32, _ tag: StaticString, _ carried: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        if buffer.space < carried + count + 80 { flush() }
        sequence += 1
        buffered += 1
        buffer.append(time: time)
        buffer.append(stream == 1 ? " stdout " : " stderr ")
        buffer.append(tag)
        buffer.append(0x3a)
        buffer.append(sequence)
        buffer.append(0x20)
        if carried > 0 { buffer.append(stream == 1 ? carries.0 : carries.1, carried) }
        buffer.append(bytes, count)
        buffer.append(0x0a)
        if stream == 1 { lengths.0 = 0 } else { lengths.1 = 0 }
    }

    private mutating func flush() {
        guard buffer.count > 0 else { return }
        if maximumSize > 0, size > 0, size + UInt64(buffer.count) > maximumSize { rotate() }
        if fd >= 0, lnt_write_all(fd, buffer.start, buffer.count) >= 0 {
            size += UInt64(buffer.count)
        } else {
            // A full disk: what was written of these entries is taken back, so that none is split.
            if fd >= 0 { _ = lnt_ftruncate(fd, Int64(size)) }
            lost += buffered
        }
        buffer.clear()
        buffered = 0
    }

    /// log → log.1 → … ; the oldest goes.
    private mutating func rotate() {
        if maximumFiles <= 1 {
            if lnt_ftruncate(fd, 0) >= 0 { size = 0 }
            return
        }
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { bytes in
            var index = maximumFiles - 1
            while index >= 1 {
                var from = TextBuffer(bytes.baseAddress!, capacity: 31)
                from.append("log")
                if index > 1 {
                    from.append(0x2e)
                    from.append(index - 1)
                }
                var to = TextBuffer(bytes.baseAddress! + 32, capacity: 31)
                to.append("log.")
                to.append(index)
                _ = lnt_renameat2(directory, from.terminate(), directory, to.terminate(), 0)
                index -= 1
            }
        }
        let old = fd
        do throws(Failure) {
            try open()
            _ = lnt_close(old)
        } catch {
            fd = old  // no new file: the old one, wherever it is now called, goes on
        }
    }
}
