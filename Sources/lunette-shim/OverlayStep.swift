import CLinux

/// Makes one overlay from layers below a detached, id-mapped tree.
struct OverlayStep {
    private let store: Int32
    private let lowers: Fields
    private let upper: Text
    private let work: Text
    private let attributes: UInt64
    private let uid: UInt32
    private let gid: UInt32
    private let userAttributes: Bool

    // Fields: lower upper work attributes owner_uid owner_gid
    init(fields: inout Fields, store: Int32, userAttributes: Bool) throws(Failure) {
        self.userAttributes = userAttributes
        self.store = store
        lowers = fields
        for _ in 0..<(try fields.count(size: 16)) { _ = try fields.text() }
        upper = try fields.text()
        work = try fields.text()
        attributes = try fields.number()
        uid = try fields.word()
        gid = try fields.word()
    }

    /// - Returns: the detached mount and the attributes it was made with.
    func make() throws(Failure) -> (fd: Int32, attributes: UInt64) {
        // The overlay's files are checked with the ids of whoever made it: those that the upper, seen through its mapping, belongs to.
        // Effective capabilities, which a change of fsuid takes away, are put back.
        var (effective, permitted, inheritable): (UInt64, UInt64, UInt64) = (0, 0, 0)
        try check(lnt_capget(&effective, &permitted, &inheritable), "capget")
        try check(lnt_set_fsids(uid, gid), "setfsuid", upper)
        defer {
            _ = lnt_set_fsids(0, 0)
            _ = lnt_capset(effective, permitted, inheritable)
        }
        try check(lnt_capset(permitted, permitted, inheritable), "capset")
        if let fd = try makeByDescriptor() { return (fd, attributes) }
        return (try makeByPath(), attributes)
    }

    private func open(_ path: Text) throws(Failure) -> Int32 {
        let resolve = UInt64(LNT_RESOLVE_BENEATH) | UInt64(LNT_RESOLVE_NO_SYMLINKS)
        return try check(lnt_openat2(store, path, UInt64(LNT_O_PATH) | UInt64(LNT_O_DIRECTORY), 0, resolve), "openat2", path)
    }

    /// Layers by descriptor: Linux 6.13 and later. nil on an older kernel.
    private func makeByDescriptor() throws(Failure) -> Int32? {
        let overlay = try check(lnt_fsopen(literal("overlay")), "fsopen", literal("overlay"))
        defer { _ = lnt_close(overlay) }
        var list = lowers
        for index in 0..<(try list.count(size: 16)) {
            let path = try list.text()
            let result = try add(overlay, literal("lowerdir+"), path)
            // 6.5 to 6.12 don't take this key so; before, overlay has the old mount interface, which takes no descriptors at all.
            if index == 0, result == -Int32(LNT_EINVAL) || result == -Int32(LNT_EOPNOTSUPP) { return nil }
            try check(result, "fsconfig", path)
        }
        try check(try add(overlay, literal("upperdir"), upper), "fsconfig", upper)
        try check(try add(overlay, literal("workdir"), work), "fsconfig", work)
        if userAttributes { try check(lnt_fsconfig_flag(overlay, literal("userxattr")), "fsconfig", literal("userxattr")) }
        try check(lnt_fsconfig_string(overlay, literal("source"), literal("lunette")), "fsconfig", literal("source"))
        try check(lnt_fsconfig_create(overlay), "fsconfig create", upper)
        return try check(lnt_fsmount(overlay, attributes), "fsmount", upper)
    }

    private func add(_ overlay: Int32, _ key: Text, _ path: Text) throws(Failure) -> Int32 {
        let fd = try open(path)
        defer { _ = lnt_close(fd) }
        return lnt_fsconfig_fd(overlay, key, fd)
    }

    /// Older kernels take layers by path only, and only from mounts of the caller's own mount namespace: a helper attaches the store's
    /// tree in one of its own, makes the overlay there and goes; the descriptor table is shared, so the overlay stays.
    private func makeByPath() throws(Failure) -> Int32 {
        let pipe = try Monitor.pipe()
        defer { closeAll(pipe.read, pipe.write, -1, -1) }
        let pid = try check(lnt_clone3(UInt64(LNT_CLONE_FILES), nil, Int32(LNT_SIGCHLD), -1), "clone3", literal("an overlay's helper"))
        if pid == 0 {
            var answer = (fd: Int32(-1), index: UInt32(0))
            do throws(Failure) { answer.fd = try attachAndMake() } catch { report(error, gate: pipe.write) }
            _ = lnt_write(pipe.write, &answer, 8)
            lnt_exit(0)
        }
        var status: Int32 = 0
        _ = lnt_wait(pid, &status, 1)
        // Not on the stack: the failure that is thrown points into it.
        let size = MemoryLayout<lnt_failure>.size
        guard let memory = lnt_map_anonymous(size) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        _ = lnt_set_nonblocking(pipe.read, 1)
        let count = lnt_read(pipe.read, memory, size)
        if count == 8 {
            defer { _ = lnt_unmap(memory, size) }
            return memory.load(as: Int32.self)
        }
        guard count == size else { throw failure("overlay's helper", errno: Int32(LNT_ECHILD), upper) }
        var record = memory.load(as: lnt_failure.self)
        withUnsafeBytes(of: &record.path) { memory.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        throw failure("overlay by path", errno: record.error, memory.assumingMemoryBound(to: CChar.self))
    }

    private func attachAndMake() throws(Failure) -> Int32 {
        try check(lnt_unshare(UInt64(LNT_NEWNS)), "unshare", literal("mount namespace"))
        try check(lnt_mount(nil, literal("/"), nil, UInt(LNT_MS_REC) | UInt(LNT_MS_PRIVATE), nil), "mount private", literal("/"))
        try check(
            lnt_move_mount(store, literal(""), Int32(LNT_AT_FDCWD), literal("/"), UInt32(LNT_MOVE_FROM_EMPTY)), "move_mount",
            literal("the store"))
        var list = lowers
        let count = try list.count(size: 16)
        // Options, target, and the numbers of what is opened: the table they are in is the shim's, where they would stay.
        let size = 4096
        guard count < size / 4 - 2, let memory = lnt_map_anonymous(3 * size) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        let opened = (memory + 2 * size).assumingMemoryBound(to: Int32.self)
        var openedCount = 0
        defer { for index in 0..<openedCount { _ = lnt_close(opened[index]) } }
        var options = TextBuffer(memory, capacity: size - 1)
        func add(_ path: Text) throws(Failure) {
            guard options.space > 32 else { throw failure("mount", errno: Int32(LNT_E2BIG), literal("too many layers for this kernel")) }
            opened[openedCount] = try open(path)
            options.append(UInt64(opened[openedCount]))
            openedCount += 1
        }
        options.append("lowerdir=")
        for index in 0..<count {
            if index > 0 { options.append(0x3a) }
            try add(try list.text())
        }
        options.append(",upperdir=")
        try add(upper)
        options.append(",workdir=")
        try add(work)
        if userAttributes { options.append(",userxattr") }
        // Where it is mounted matters to nobody: a folder of this namespace, which ends with this process.
        var target = TextBuffer(memory + size, capacity: size - 1)
        target.append(UInt64(store))
        target.append(0x2f)
        target.append(work)
        let overlay = try check(lnt_overlay_by_number(options.terminate(), target.terminate()), "mount", upper)
        try check(lnt_mount_setattr(overlay, literal(""), UInt32(LNT_AT_EMPTY_PATH), attributes, 0, 0, -1), "mount_setattr", upper)
        return overlay
    }
}
