import CLinux

/// Who the program runs as, found in the plan's text and the container's own files.
struct ResolvedUser {
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    /// The primary group first, so that dropping it doesn't grant what is denied to the group (CVE-2022-36109).
    var groups: UnsafeMutablePointer<gid_t>
    var groupCount = 0
    /// The home folder, from a buffer that lives until execve.
    var home: Text = literal("/")

    static let maximumGroups = 256

    mutating func add(group: UInt32) {
        for index in 0..<groupCount where groups[index] == group { return }
        guard groupCount < Self.maximumGroups else { return }
        groups[groupCount] = group
        groupCount += 1
    }
}

/// Looks names up in /etc/passwd and /etc/group of the container, from inside it: bounded, never blocking, regular files only (attack 51).
struct UserLookup {
    let root: ContainerRoot
    /// 4 KiB for a line, 4 KiB for what is read ahead, 4 KiB for home and the user's name, then the groups.
    private let memory: UnsafeMutableRawPointer
    private static let page = 4096
    private static let maximumFile = 4 << 20

    init(root: ContainerRoot) throws(Failure) {
        self.root = root
        guard let memory = lnt_map_anonymous(4 * Self.page) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        self.memory = memory
    }

    /// A field of a colon-separated line.
    private struct Field {
        let start: UnsafePointer<UInt8>
        let count: Int

        func equals(_ other: Text, _ length: Int) -> Bool { count == length && lnt_same(start, other, length) != 0 }

        var number: UInt32? {
            guard count > 0, count <= 10 else { return nil }
            var value: UInt64 = 0
            for index in 0..<count {
                guard start[index] >= 0x30, start[index] <= 0x39 else { return nil }
                value = value * 10 + UInt64(start[index] - 0x30)
            }
            // The last two numbers mean "no change" and "nobody asked" to the kernel.
            return value < UInt64(UInt32.max) ? UInt32(value) : nil
        }
    }

    private func number(_ text: Text, _ length: Int) -> UInt32? {
        Field(start: UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self), count: length).number
    }

    /// All digits, so that it is meant as a number, whatever its size.
    private func isNumeric(_ text: Text, _ length: Int) -> Bool {
        for index in 0..<length where text[index] < 0x30 || text[index] > 0x39 { return false }
        return length > 0
    }

    /// Resolves `user`, `user:group`, `uid`, `uid:gid` and more groups.
    func resolve(_ spec: Text, additional: Fields) throws(Failure) -> ResolvedUser {
        var result = ResolvedUser(groups: (memory + 3 * Self.page).assumingMemoryBound(to: gid_t.self))
        let length = lnt_length(spec)
        let colon = lnt_find_byte(spec, 0x3a, length)
        let userLength = colon < 0 ? length : colon
        let groupText = spec + min(length, userLength + 1)
        let groupLength = colon < 0 ? 0 : length - userLength - 1

        var keep = TextBuffer(memory + 2 * Self.page, capacity: Self.page)
        var name: (text: Text, length: Int)? = nil
        var found = userLength == 0
        let wanted = number(spec, userLength)
        if isNumeric(spec, userLength), wanted == nil { throw failure("parse", errno: Int32(LNT_EINVAL), spec) }
        if let wanted { (result.uid, found) = (wanted, true) }
        let userName = spec
        let uidOrRoot: UInt32? = userLength == 0 ? 0 : wanted
        // A number needs no file: one that is masked, or is none, tells no group and no home.
        try eachLine(of: literal("/etc/passwd"), isNeeded: !found) { line in
            guard let first = Self.field(line, 0), let uid = Self.field(line, 2)?.number, let gid = Self.field(line, 3)?.number,
                let home = Self.field(line, 5)
            else { return true }
            if let uidOrRoot { if uid != uidOrRoot { return true } } else if !first.equals(userName, userLength) { return true }
            (result.uid, result.gid, found) = (uid, gid, true)
            if home.count > 0, home.count < 2048 {
                keep.append(home.start, home.count)
                result.home = keep.terminate()
                keep.append(UInt8(0))
            }
            if first.count < 1024 {
                let start = keep.text + keep.count
                keep.append(first.start, first.count)
                name = (start, first.count)
            }
            return false
        }
        guard found else { throw failure("look up", errno: Int32(LNT_ENOENT), spec) }
        if groupLength > 0 { result.gid = try group(groupText, groupLength) }
        result.add(group: result.gid)
        if let name, groupLength == 0 {
            try eachLine(of: literal("/etc/group"), isNeeded: uidOrRoot == nil) { line in
                guard let gid = Self.field(line, 2)?.number, let members = Self.field(line, 3) else { return true }
                var start = 0
                while start <= members.count {
                    let comma = lnt_find_byte(members.start + start, 0x2c, members.count - start)
                    let end = comma < 0 ? members.count : start + comma
                    if Field(start: members.start + start, count: end - start).equals(name.text, name.length) { result.add(group: gid) }
                    start = end + 1
                }
                return true
            }
        }
        var more = additional
        for _ in 0..<(try more.count(size: 16)) {
            let text = try more.text()
            result.add(group: try group(text, lnt_length(text)))
        }
        return result
    }

    private func group(_ text: Text, _ length: Int) throws(Failure) -> UInt32 {
        if let wanted = number(text, length) { return wanted }
        if isNumeric(text, length) { throw failure("parse", errno: Int32(LNT_EINVAL), text) }
        var gid: UInt32? = nil
        try eachLine(of: literal("/etc/group"), isNeeded: true) { line in
            guard let name = Self.field(line, 0), name.equals(text, length), let number = Self.field(line, 2)?.number else { return true }
            gid = number
            return false
        }
        guard let gid else { throw failure("look up group", errno: Int32(LNT_ENOENT), text) }
        return gid
    }

    private static func field(_ line: UnsafeBufferPointer<UInt8>, _ wanted: Int) -> Field? {
        var index = 0
        var start = 0
        while true {
            let colon = lnt_find_byte(line.baseAddress! + start, 0x3a, line.count - start)
            let end = colon < 0 ? line.count : start + colon
            if index == wanted { return Field(start: line.baseAddress! + start, count: end - start) }
            if colon < 0 { return nil }
            index += 1
            start = end + 1
        }
    }

    /// Calls with each line until the body says stop (false). A missing file has no lines; a line too long for the buffer is skipped.
    ///
    /// - Parameter isNeeded: false: nor has one that is no regular file.
    private func eachLine(of path: Text, isNeeded: Bool, _ body: (UnsafeBufferPointer<UInt8>) -> Bool) throws(Failure) {
        // Opened for reading only after it is known to be a regular file: a FIFO or device of the image is never touched.
        let place = root.open(path, flags: Int32(LNT_O_PATH))
        if place == -Int32(LNT_ENOENT) || place == -Int32(LNT_ENOTDIR) { return }
        try check(place, "openat2", path)
        var status = lnt_file_status()
        let result = lnt_fstat(place, &status)
        _ = lnt_close(place)
        try check(result, "fstat", path)
        guard status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFREG) else {
            guard isNeeded else { return }
            throw failure("expect", errno: Int32(LNT_EINVAL), path)
        }
        let fd = try check(root.open(path, flags: Int32(LNT_O_NONBLOCK) | Int32(LNT_O_NOCTTY)), "openat2", path)
        defer { _ = lnt_close(fd) }
        try check(lnt_fstat(fd, &status), "fstat", path)
        guard status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFREG) else { throw failure("expect", errno: Int32(LNT_EINVAL), path) }

        let line = memory.assumingMemoryBound(to: UInt8.self)
        let ahead = (memory + Self.page).assumingMemoryBound(to: UInt8.self)
        var length = 0
        var total = 0
        while true {
            let count = lnt_read(fd, ahead, Self.page)
            try check(Int32(truncatingIfNeeded: count), "read", path)
            total += count
            if total > Self.maximumFile { throw failure("read", errno: Int32(LNT_EFBIG), path) }
            var start = 0
            while start < count || count == 0 {
                let newline = lnt_find_byte(ahead + start, 0x0a, count - start)
                let end = newline < 0 ? count : start + newline
                let taken = end - start
                if length >= 0, length + taken <= Self.page {
                    UnsafeMutableRawPointer(line + length).copyMemory(from: ahead + start, byteCount: taken)
                    length += taken
                } else {
                    length = -1  // skipped up to its end
                }
                start = end + 1
                guard newline >= 0 || count == 0 else { break }
                if length > 0, !body(UnsafeBufferPointer(start: line, count: length)) { return }
                length = 0
                if count == 0 { return }
            }
        }
    }
}
