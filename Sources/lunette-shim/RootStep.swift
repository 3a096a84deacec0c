import CLinux

/// A root that is nobody's folder: a small tmpfs of the container's own, into which host trees are attached.
struct RootStep {
    /// Makes it in the calling process's user namespace, detached.
    // Fields: size inodes mode
    static func make(_ fields: inout Fields) throws(Failure) -> Int32 {
        try tmpfs(size: try fields.number(), inodes: try fields.number(), mode: try fields.number())
    }

    /// A detached tmpfs without device nodes and set-id bits. Zeros leave the kernel's own limits.
    static func tmpfs(size: UInt64, inodes: UInt64, mode: UInt64) throws(Failure) -> Int32 {
        let name = literal("tmpfs")
        let fs = try check(lnt_fsopen(name), "fsopen", name)
        defer { _ = lnt_close(fs) }
        try set(fs, "size", size, radix: 10)
        try set(fs, "nr_inodes", inodes, radix: 10)
        try set(fs, "mode", mode, radix: 8)
        try check(lnt_fsconfig_create(fs), "fsconfig create", name)
        return try check(lnt_fsmount(fs, 0x2 | 0x4), "fsmount", name)
    }

    private static func set(_ fs: Int32, _ key: StaticString, _ value: UInt64, radix: UInt64) throws(Failure) {
        if value == 0 { return }
        var outcome: Int32 = 0
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 1) { bytes in
            var (rest, count, digits) = (value, 0, 1)
            var power: UInt64 = 1
            while rest / power >= radix {
                power *= radix
                digits += 1
            }
            while count < digits {
                bytes[count] = UInt8(0x30 + rest / power)
                rest %= power
                power /= radix
                count += 1
            }
            bytes[count] = 0
            outcome = lnt_fsconfig_string(fs, literal(key), bytes.baseAddress!.assumingMemoryBound(to: CChar.self))
        }
        try check(outcome, "fsconfig", literal(key))
    }
}

/// A layer of its own over a tree of the host: what is written goes to a tmpfs and ends with the container.
struct PrivateLayerStep {
    let slots: UnsafeMutablePointer<Int32>
    /// Without the host's privileges overlay keeps its notes in user.* attributes.
    let isUnprivileged: Bool

    // Fields: slot lower size attributes
    func make(_ fields: inout Fields) throws(Failure) {
        let slot = try fields.number()
        let lowerSlot = try fields.number()
        let size = try fields.number()
        let attributes = try fields.number()
        guard slot < UInt64(LNT_SLOTS), lowerSlot < UInt64(LNT_SLOTS), slots[Int(lowerSlot)] >= 0 else {
            throw failure("decode", errno: Int32(LNT_EPROTO))
        }
        let lower = slots[Int(lowerSlot)]
        var status = lnt_file_status()
        try check(lnt_fstat(lower, &status), "fstat", literal("the tree below"))
        // As many files as a tree of sources has for its bytes: each costs the kernel about a KiB that the size doesn't count.
        let inodes = size == 0 ? 0 : max(16384, size >> 14)
        let tmpfs = try RootStep.tmpfs(size: size, inodes: inodes, mode: 0o700)
        defer { _ = lnt_close(tmpfs) }
        let upper = try folder(tmpfs, "upper")
        defer { _ = lnt_close(upper) }
        let work = try folder(tmpfs, "work")
        defer { _ = lnt_close(work) }
        // The layer's root is the overlay's: it looks as the tree's does. An ordinary user can't give it away, and needn't.
        let given = lnt_fchown(upper, status.uid, status.gid)
        if !isUnprivileged { try check(given, "fchown", literal("the private layer")) }
        try check(lnt_fchmod(upper, mode_t(status.mode & 0o7777)), "fchmod", literal("the private layer"))

        let name = literal("overlay")
        let overlay = try check(lnt_fsopen(name), "fsopen", name)
        defer { _ = lnt_close(overlay) }
        try add(overlay, "lowerdir+", lower)
        try add(overlay, "upperdir", upper)
        try add(overlay, "workdir", work)
        if isUnprivileged { try check(lnt_fsconfig_flag(overlay, literal("userxattr")), "fsconfig", literal("userxattr")) }
        try check(lnt_fsconfig_string(overlay, literal("source"), literal("lunette")), "fsconfig", literal("source"))
        try check(lnt_fsconfig_create(overlay), "fsconfig create", name)
        slots[Int(slot)] = try check(lnt_fsmount(overlay, attributes), "fsmount", name)
    }

    private func folder(_ tmpfs: Int32, _ name: StaticString) throws(Failure) -> Int32 {
        try check(lnt_mkdirat(tmpfs, literal(name), 0o700), "mkdir", literal(name))
        return try check(lnt_openat(tmpfs, literal(name), Int32(LNT_O_RDONLY) | Int32(LNT_O_DIRECTORY), 0), "open", literal(name))
    }

    private func add(_ overlay: Int32, _ key: StaticString, _ fd: Int32) throws(Failure) {
        try check(lnt_fsconfig_fd(overlay, literal(key), fd), "fsconfig", literal(key))
    }
}
