import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// Who did what: `audit.log` in the root's folder, a line of JSON for each call that changed something or was refused.
///
/// A file and not the database: it has a bound of its own, is read with the tools that an administrator has, and what is in it doesn't go when a
/// row is pruned. A line is written before its call is answered, so a killed engine has told of all that it answered; the kernel has it then,
/// and the disk when the kernel likes.
actor AuditLog {
    static let name = "audit.log"
    /// What came over scripts' sockets is in files of its own: however much those users do, nobody else's lines are pushed out.
    static let guestsName = "audit-guests.log"
    /// Of the file that was rotated away so many times.
    static func name(_ name: String, _ number: Int) -> String { number == 0 ? name : "\(name).\(number)" }
    private let name: String
    /// Bytes of one file.
    private let limit: Int
    /// Files that are kept, the present one included.
    private let files: Int
    let root: String
    private let executor = ThreadExecutor(name: "the audit log")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private var file: FileDescriptor?
    private var size = 0
    private var isBroken = false
    private var failures = LineAllowance(perMinute: AuditLog.failuresPerMinute)
    private let log: @Sendable (String) -> Void

    init(
        root: String, name: String = AuditLog.name, limit: Int = 8 << 20, files: Int = 4, log: @escaping @Sendable (String) -> Void
    ) {
        self.root = root
        self.name = name
        self.limit = limit
        self.files = files
        self.log = log
    }

    /// Of failures of one user at one socket.
    static let failuresPerMinute = 30

    /// Writes what came to nothing, unless its user has had so much at this socket in this minute; the next one that is written counts those
    /// left out.
    func write(failure entry: Value, of user: String) {
        guard let leftOut = failures.admit(user, at: entry["time"]?.doubleValue ?? 0) else { return }
        var map = entry.mapValue ?? [:]
        if leftOut > 0 { map["left_out"] = .int(Int64(leftOut)) }
        write(.map(map))
    }

    /// Writes an entry. A file that can't be written is told once in the engine's log, and holds no call up.
    func write(_ entry: Value) {
        do throws(SystemCallError) {
            let line = Array(JSON.encode(entry).utf8) + [UInt8(ascii: "\n")]
            if file == nil || size + line.count > limit { try begin() }
            try file?.writeAll(line)
            size += line.count
            isBroken = false
        } catch {
            file = nil
            if !isBroken { log("audit log: \(error.lunette.description)") }
            isBroken = true
        }
    }

    /// Opens the present file, or starts a new one when it is full.
    private func begin() throws(SystemCallError) {
        let folder = try Directory(root)
        if let status = try folder.status(name), status.size >= limit || file != nil {
            for number in stride(from: files - 1, to: 0, by: -1) {
                let newer = Self.name(name, number - 1)
                if try folder.exists(newer) { try folder.rename(newer, to: Self.name(name, number)) }
            }
        }
        file = nil
        try folder.keepPrivate(name, creates: true)
        let opened = try folder.open(name, [.readWrite, .append, .noFollow])
        size = Int(try folder.status(name)?.size ?? 0)
        // What a power cut left of a line is a line of its own.
        var last: UInt8 = UInt8(ascii: "\n")
        if size > 0, pread(opened.number, &last, 1, size - 1) == 1, last != UInt8(ascii: "\n") { try opened.writeAll([UInt8(ascii: "\n")]) }
        file = opened
    }

    func close() {
        file = nil
        executor.close()
    }
}

/// Reads the audit log from its oldest line on and goes on with what is added. Blocks; one task's.
struct AuditReader {
    private let root: String
    private let name: String
    private let count: Int
    /// Open, oldest first: rotation doesn't take them away.
    private var files: [FileDescriptor] = []
    private var rest: [UInt8] = []

    /// - Throws: what opening answers; no file at all is an empty log.
    init(root: String, name: String = AuditLog.name, files count: Int = 4) throws(SystemCallError) {
        self.root = root
        self.name = name
        self.count = count
        let folder = try Directory(root)
        for number in stride(from: count - 1, through: 0, by: -1) {
            let name = AuditLog.name(name, number)
            if try folder.exists(name) { files.append(try folder.open(name, [.noFollow, .nonblocking])) }
        }
    }

    /// The next entries, some hundred at most.
    /// - Returns: none when all there is was read.
    mutating func next() throws(SystemCallError) -> [Value] {
        while true {
            if files.isEmpty {
                let folder = try Directory(root)
                guard try folder.exists(name) else { return [] }
                files = [try folder.open(name, [.noFollow, .nonblocking])]
            }
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            let count = read(files[0].number, &buffer, buffer.count)
            if count > 0 {
                rest += buffer[..<count]
                let entries = lines()
                if !entries.isEmpty { return entries }
                continue
            }
            if files.count > 1 {
                files.removeFirst()
                rest = []
                continue
            }
            // It may have got its last line just before it was rotated away: it is read once more before the next.
            files += try newer()
            if files.count == 1 { return [] }
        }
    }

    /// The files that came after the one that is open; all there are when that has gone.
    private func newer() throws(SystemCallError) -> [FileDescriptor] {
        let folder = try Directory(root)
        let here = try fileStatus(files[0].number, "", follow: false, label: name)
        var found: [FileDescriptor] = []
        for number in stride(from: count - 1, through: 0, by: -1) {
            let name = AuditLog.name(name, number)
            guard let status = try folder.status(name) else { continue }
            if status.inode == here.inode, status.device == here.device {
                found = []
            } else {
                found.append(try folder.open(name, [.noFollow, .nonblocking]))
            }
        }
        return found
    }

    private mutating func lines() -> [Value] {
        var entries: [Value] = []
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
            // A line that is cut says nothing.
            if let entry = try? JSON.decode(Array(rest[start..<end]), source: name), entry.mapValue != nil {
                entries.append(entry)
            }
            start = end + 1
        }
        rest.removeFirst(start)
        return entries
    }
}
