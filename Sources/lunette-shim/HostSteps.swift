import CLinux

/// The host phase: what is done with the host's privileges, in the shim, while the container's namespaces are being made.
///
/// Everything that is opened here is a descriptor in `slots`; nothing appears in the host's mount table.
struct HostSteps {
    let plan: Plan
    /// Detached trees by number, -1 = none.
    let slots: UnsafeMutablePointer<Int32>
    /// The first process: it owns the new namespaces.
    let holder: Int32
    /// The container's user namespace, for id-mapped mounts; -1 = the host's.
    let userNamespace: Int32

    func run() throws(Failure) {
        var walk = plan.start()
        while case (let opcode, var fields)? = plan.next(&walk, from: LNT_OOM_SCORE, through: LNT_OPEN_OVERLAY) {
            switch opcode {
            case LNT_OOM_SCORE.rawValue: try setOOMScore(&fields)
            case LNT_OPEN_TREE.rawValue: try openTree(&fields)
            case LNT_OPEN_OVERLAY.rawValue: try openOverlay(&fields)
            default: throw failure("decode", errno: Int32(LNT_EPROTO))
            }
        }
        walk = plan.start()
        let layer = PrivateLayerStep(slots: slots, isUnprivileged: plan.has(LNT_TREES_INSIDE))
        while case (_, var fields)? = plan.next(&walk, from: LNT_OPEN_PRIVATE_LAYER, through: LNT_OPEN_PRIVATE_LAYER) {
            try layer.make(&fields)
        }
    }

    private func setOOMScore(_ fields: inout Fields) throws(Failure) {
        let score = try fields.text()
        try withProcPath(holder, "oom_score_adj") { (path) throws(Failure) in
            let fd = try check(lnt_open(path, Int32(LNT_O_WRONLY), 0), "open", literal("oom_score_adj"))
            defer { _ = lnt_close(fd) }
            try check(lnt_write_all(fd, score, lnt_length(score)), "write", literal("oom_score_adj"))
        }
    }

    private func slot(_ fields: inout Fields) throws(Failure) -> Int {
        let number = try fields.number()
        guard number < UInt64(LNT_SLOTS) else { throw failure("decode", errno: Int32(LNT_EPROTO)) }
        return Int(number)
    }

    // Fields: slot source recursive map uid gid attributes expect device no_symlinks clear top_set top_clear propagation map_top inode
    private func openTree(_ fields: inout Fields) throws(Failure) {
        let slot = try slot(&fields)
        let passed = try fields.number()
        let path = try fields.text()
        let recursive = try fields.flag()
        let mapping = try fields.number()
        let uidMappings = fields
        for _ in 0..<2 {
            for _ in 0..<(try fields.count(size: 24)) * 3 { _ = try fields.number() }
        }
        let attributes = try fields.number()
        let expected = try fields.number()
        let device = try fields.number()
        let links = try fields.number()
        let cleared = try fields.number()
        let (topSet, topClear) = (try fields.number(), try fields.number())
        let propagation = try fields.number()
        let mapsTopOnly = try fields.flag()
        let inode = try fields.number()

        var flags = UInt32(LNT_OPEN_TREE_CLONE)
        if recursive { flags |= UInt32(LNT_AT_RECURSIVE) }
        let fd: Int32
        if passed > 0 {
            fd = try check(
                lnt_open_tree(passedDescriptor(passed), literal(""), flags | UInt32(LNT_AT_EMPTY_PATH)), "open_tree",
                literal("a passed descriptor"))
        } else if links == 2 {
            let found = try check(
                lnt_openat2(Int32(LNT_AT_FDCWD), path, UInt64(LNT_O_PATH), 0, UInt64(LNT_RESOLVE_NO_SYMLINKS)), "openat2", path)
            defer { _ = lnt_close(found) }
            fd = try check(lnt_open_tree(found, literal(""), flags | UInt32(LNT_AT_EMPTY_PATH)), "open_tree", path)
        } else {
            if links == 1 { flags |= UInt32(LNT_AT_SYMLINK_NOFOLLOW) }
            fd = try check(lnt_open_tree(Int32(LNT_AT_FDCWD), path, flags), "open_tree", path)
        }
        slots[slot] = fd
        if expected != 0 {
            var status = lnt_file_status()
            try check(lnt_fstat(fd, &status), "fstat", path)
            let kind = status.mode & UInt32(LNT_S_IFMT)
            switch expected {
            case 1: if kind != UInt32(LNT_S_IFDIR) { throw failure("expect", errno: Int32(LNT_ENOTDIR), path) }
            case 2: if kind != UInt32(LNT_S_IFREG) { throw failure("expect", errno: Int32(LNT_EISDIR), path) }
            case 4: if (status.device, status.inode) != (device, inode) { throw failure("expect", errno: Int32(LNT_ESTALE), path) }
            default:
                let wanted = (UInt32(truncatingIfNeeded: device >> 32), UInt32(truncatingIfNeeded: device))
                if kind != UInt32(LNT_S_IFCHR) || (status.device_major, status.device_minor) != wanted {
                    throw failure("expect", errno: Int32(LNT_ENODEV), path)
                }
            }
        }
        var mapper: Int32 = -1
        if mapping == 1 { mapper = userNamespace }
        if mapping == 2 {
            var mappings = uidMappings
            mapper = try makeMappingNamespace(&mappings)
        }
        defer { if mapping == 2 { _ = lnt_close(mapper) } }
        try check(
            lnt_mount_setattr(
                fd, literal(""), UInt32(LNT_AT_EMPTY_PATH) | (recursive ? UInt32(LNT_AT_RECURSIVE) : 0), attributes, cleared,
                propagation, mapsTopOnly ? -1 : mapper),
            "mount_setattr", path)
        if topSet | topClear != 0 || (mapsTopOnly && mapper >= 0) {
            try check(
                lnt_mount_setattr(fd, literal(""), UInt32(LNT_AT_EMPTY_PATH), topSet, topClear, 0, mapsTopOnly ? mapper : -1),
                "mount_setattr", path)
        }
    }

    private func openOverlay(_ fields: inout Fields) throws(Failure) {
        let slot = try slot(&fields)
        let store = slots[try self.slot(&fields)]
        let userAttributes = try Rootless(plan).userAttributes
        currentStep = LNT_OPEN_OVERLAY.rawValue
        let (fd, attributes) = try OverlayStep(fields: &fields, store: store, userAttributes: userAttributes).make()
        slots[slot] = fd
        // An upper that the maker may not write gives a read-only overlay without an error (kernel-notes §2).
        var flags: UInt64 = 0
        try check(Int32(truncatingIfNeeded: min(lnt_fstatfs_type(fd, &flags), 0)), "statfs", literal("the overlay"))
        if flags & UInt64(LNT_ST_RDONLY) != 0, attributes & 1 == 0 {
            throw failure("statfs", errno: Int32(LNT_EROFS), literal("the overlay"))
        }
    }
}

/// The number a descriptor has that the engine passed: `HostSource.passed(n)` is encoded as n + 1 and is fd 7 + n.
func passedDescriptor(_ encoded: UInt64) -> Int32 { Int32(truncatingIfNeeded: min(encoded, 1 << 20)) + 6 }

/// Writes one of `uid_map`, `gid_map` of a process: a single write, as the kernel wants it.
func writeMappings(_ pid: Int32, _ name: StaticString, _ fields: inout Fields) throws(Failure) {
    let count = try fields.count(size: 24)
    // Each line takes at most 33 bytes; the kernel takes 340 lines, fewer than a page of text.
    let size = 4096
    guard let memory = lnt_map_anonymous(size) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
    defer { _ = lnt_unmap(memory, size) }
    var buffer = TextBuffer(memory, capacity: size)
    for _ in 0..<count {
        guard buffer.space > 33 else { throw failure("decode", errno: Int32(LNT_E2BIG), literal("too many id mappings")) }
        for column in 0..<3 {
            buffer.append(UInt64(try fields.word()))
            buffer.append(column == 2 ? 0x0a : 0x20)
        }
    }
    let filled = buffer
    try withProcPath(pid, name) { (path) throws(Failure) in
        let fd = try check(lnt_open(path, Int32(LNT_O_WRONLY), 0), "open", literal(name))
        defer { _ = lnt_close(fd) }
        try check(Int32(truncatingIfNeeded: lnt_write(fd, filled.start, filled.count)), "write", literal(name))
    }
}

/// Makes a user namespace that nobody lives in, for the mapping of one mount.
private func makeMappingNamespace(_ fields: inout Fields) throws(Failure) -> Int32 {
    var pidfd: Int32 = -1
    let shim = lnt_getpid()
    let pid = lnt_clone3(UInt64(LNT_NEWUSER), &pidfd, Int32(LNT_SIGCHLD), -1)
    if pid == 0 {
        dieWith(parent: shim)
        while true { _ = lnt_wait_ready(nil, 0, -1) }
    }
    try check(pid, "clone3", literal("a mapping namespace"))
    defer {
        var status: Int32 = 0
        _ = lnt_pidfd_send_signal(pidfd, Int32(LNT_SIGKILL))
        _ = lnt_wait(pid, &status, 1)
        _ = lnt_close(pidfd)
    }
    try writeMappings(pid, "uid_map", &fields)
    try writeMappings(pid, "gid_map", &fields)
    return try withProcPath(pid, "ns/user") { (path) throws(Failure) in try check(lnt_open(path, 0, 0), "open", literal("ns/user")) }
}
