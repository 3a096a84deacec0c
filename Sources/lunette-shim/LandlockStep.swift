import CLinux

/// Landlock for the program: what it and its children may do with files, TCP ports and other processes, whatever mounts and modes would let
/// them (landlock(7)). Best effort downwards: a right that the kernel's ABI doesn't know is not handled; the engine asks the same kernel and
/// says which ABI is enforced.
struct LandlockStep {
    let plan: Plan

    /// What may be said of something that is no folder.
    private static let fileRights =
        UInt64(LNT_LANDLOCK_EXECUTE.rawValue) | UInt64(LNT_LANDLOCK_WRITE_FILE.rawValue) | UInt64(LNT_LANDLOCK_READ_FILE.rawValue)
        | UInt64(LNT_LANDLOCK_TRUNCATE.rawValue) | UInt64(LNT_LANDLOCK_IOCTL_DEV.rawValue)

    /// Restricts the calling process. Its root and working folder are the container's by now, so paths lead nowhere else.
    // Fields: files network scope stdio paths ports
    func apply() throws(Failure) {
        guard plan.has(LNT_LANDLOCK) else { return }
        var fields = try plan.fields(LNT_LANDLOCK)
        let abi = lnt_landlock_abi()
        if abi < 1 { return }
        let handledFiles = try fields.number() & Self.files(abi)
        var handledPorts = try fields.number()
        if abi < 4 { handledPorts = 0 }
        var scopes = try fields.number()
        if abi < 6 { scopes = 0 }
        let keepsStdio = try fields.flag()
        if handledFiles | handledPorts | scopes == 0 { return }
        let ruleset = try check(lnt_landlock_create(handledFiles, handledPorts, scopes), "landlock_create_ruleset")
        defer { _ = lnt_close(ruleset) }
        for _ in 0..<(try fields.count(size: 24)) {
            let rights = try fields.number()
            let path = try fields.text()
            let fd = lnt_open(path, Int32(LNT_O_PATH), 0)
            // What isn't there, or can't be reached by this user, needs no permission.
            if fd == -Int32(LNT_ENOENT) || fd == -Int32(LNT_ENOTDIR) || fd == -Int32(LNT_EACCES) { continue }
            try check(fd, "open", path)
            defer { _ = lnt_close(fd) }
            try allow(ruleset, fd, rights & handledFiles, path)
        }
        if keepsStdio, handledFiles != 0 { try allowStreams(ruleset, handledFiles) }
        for _ in 0..<(try fields.count(size: 24)) {
            let rights = try fields.number() & handledPorts
            let port = try fields.text()
            if rights == 0 { continue }
            try check(lnt_landlock_allow_port(ruleset, try number(port), rights), "landlock_add_rule", port)
        }
        try check(lnt_landlock_restrict(ruleset), "landlock_restrict_self")
    }

    private func allow(_ ruleset: Int32, _ fd: Int32, _ wanted: UInt64, _ path: Text) throws(Failure) {
        var status = lnt_file_status()
        try check(lnt_fstat(fd, &status), "fstat", path)
        let isFolder = status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFDIR)
        let rights = isFolder ? wanted : wanted & Self.fileRights
        if rights == 0 { return }
        try check(lnt_landlock_allow_path(ruleset, fd, rights), "landlock_add_rule", path)
    }

    /// The program's own streams may be opened again through /dev/stdout or /proc/self/fd, as far as they are open already and no further:
    /// without this a terminal couldn't be, and with more a file given to read could be written.
    private func allowStreams(_ ruleset: Int32, _ handled: UInt64) throws(Failure) {
        for stream in Int32(0)...2 {
            let flags = lnt_get_flags(stream)
            if flags < 0 { continue }
            var status = lnt_file_status()
            try check(lnt_fstat(stream, &status), "fstat", literal("a stream"))
            let kind = status.mode & UInt32(LNT_S_IFMT)
            // A folder would be everything below it; pipes and sockets aren't Landlock's.
            if kind != UInt32(LNT_S_IFREG), kind != UInt32(LNT_S_IFCHR) { continue }
            let mode = flags & 3
            var rights: UInt64 = 0
            if mode != Int32(LNT_O_WRONLY) { rights |= UInt64(LNT_LANDLOCK_READ_FILE.rawValue) }
            if mode != Int32(LNT_O_RDONLY) { rights |= UInt64(LNT_LANDLOCK_WRITE_FILE.rawValue) | UInt64(LNT_LANDLOCK_TRUNCATE.rawValue) }
            if kind == UInt32(LNT_S_IFCHR) { rights |= UInt64(LNT_LANDLOCK_IOCTL_DEV.rawValue) }
            if rights & handled == 0 { continue }
            try check(lnt_landlock_allow_path(ruleset, stream, rights & handled), "landlock_add_rule", literal("a stream"))
        }
    }

    /// The file rights that an ABI knows.
    private static func files(_ abi: Int32) -> UInt64 {
        abi >= 5 ? 0xffff : abi >= 3 ? 0x7fff : abi >= 2 ? 0x3fff : 0x1fff
    }

    private func number(_ text: Text) throws(Failure) -> UInt64 {
        var value: UInt64 = 0
        let length = lnt_length(text)
        for index in 0..<min(length, 6) {
            guard text[index] >= 0x30, text[index] <= 0x39 else { throw failure("decode", errno: Int32(LNT_EPROTO), text) }
            value = value * 10 + UInt64(text[index] - 0x30)
        }
        return value
    }
}
