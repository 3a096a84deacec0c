internal import CLinux
internal import LunetteLinux

/// Reads a container's log files in the order in which they were written, through rotations, from the oldest that is left.
///
/// `log` is being written; `log.1` was before it, `log.2` before that. Blocks: use it on the blocking executor.
struct LogCursor: Sendable {
    private let directory: Directory
    private var current: (file: FileDescriptor, inode: UInt64, offset: Int64)?
    private(set) var parser: LogParser
    private(set) var isAtEnd = false

    init(_ directory: Directory, joins: Bool) {
        self.directory = directory
        self.parser = LogParser(joins: joins)
    }

    /// Reads the next piece of the log; empty with `isAtEnd` when nothing is left for now.
    mutating func next() throws(SystemCallError) -> [LogEntry] {
        isAtEnd = false
        while true {
            if current == nil { current = try oldestUnread() }
            guard let (file, inode, offset) = current else {
                isAtEnd = true
                return []
            }
            // Asked before reading: if it was renamed by then, what we read now is all there will ever be.
            let isStillWritten = try directory.status("log")?.inode == inode
            let bytes = try read(file, at: offset)
            if !bytes.isEmpty {
                current?.offset += Int64(bytes.count)
                return parser.feed(bytes)
            }
            guard !isStillWritten else {
                isAtEnd = true
                return []
            }
            parser.endFile()
            current = nil
            // Rotated away, and nothing newer yet: the next record makes the new file.
            if try oldestUnread() == nil {
                isAtEnd = true
                return []
            }
        }
    }

    mutating func flush() -> [LogEntry] { parser.flush() }

    private func read(_ file: FileDescriptor, at offset: Int64) throws(SystemCallError) -> [UInt8] {
        var got = 0
        let size = 1 << 18
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
            got = lnt_host_pread(file.number, buffer.baseAddress, size, offset)
            initialized = max(0, got)
        }
        try check(got, "read log", directory.label)
        return bytes
    }

    // The file whose first record is the oldest that we have not seen; `log` itself when it is still empty.
    private func oldestUnread() throws(SystemCallError) -> (file: FileDescriptor, inode: UInt64, offset: Int64)? {
        var best: (first: UInt64, file: FileDescriptor, inode: UInt64)?
        for name in try directory.entries() where name == "log" || name.hasPrefix("log.") {
            let file: FileDescriptor
            do throws(SystemCallError) { file = try directory.open(name, [.noFollow, .nonblocking]) } catch {
                // Rotated out between the listing and here.
                if error.errno == ErrorNumber.noEntry { continue }
                throw error
            }
            let inode = try fileStatus(file.number, "", follow: false, label: name).inode
            guard let first = try firstSequence(of: file) else {
                if name == "log", best == nil { best = (.max, file, inode) }
                continue
            }
            if first > parser.lastSequence || parser.lastSequence == 0, first < best?.first ?? .max { best = (first, file, inode) }
        }
        return best.map { ($0.file, $0.inode, 0) }
    }

    private func firstSequence(of file: FileDescriptor) throws(SystemCallError) -> UInt64? {
        var head = [UInt8](repeating: 0, count: 256)
        let got = try check(lnt_host_pread(file.number, &head, head.count, 0), "read log", directory.label)
        let line = head[..<got].prefix { $0 != 0x0a }
        return LogParser.parse(line)?.entry.sequence
    }
}
