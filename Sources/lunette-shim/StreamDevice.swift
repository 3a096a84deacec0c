import CLinux

/// A program's stream that is one of the machine's memory devices (`/dev/null` as a rule), opened again on a read-only mount of its own.
///
/// Who is root inside without a user namespace, or root's own id in a sandbox, owns the machine's nodes: by the descriptor alone
/// (fchmod(0, 0)) it would take /dev/null from everybody. On a read-only mount nodes are read and written as ever, and what is said of them
/// (mode, owner, times, attributes) stays. For the shim, before its first clone: the mount must come from its own namespace.
enum StreamDevice {
    /// - Parameter fd: closed when it isn't used any more and none of the shim's own streams.
    /// - Returns: the descriptor to use; the same one for what is no such device, and for a shim that may make no mounts: its containers' ids
    ///   don't own the nodes.
    static func guarded(_ fd: Int32) throws(Failure) -> Int32 {
        var status = lnt_file_status()
        guard fd >= 0, lnt_fstat(fd, &status) == 0, status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFCHR), status.device_major == 1,
            let path = path(status.device_minor)
        else { return fd }
        let flags = UInt32(LNT_OPEN_TREE_CLONE) | UInt32(LNT_AT_SYMLINK_NOFOLLOW)
        let tree = lnt_open_tree(Int32(LNT_AT_FDCWD), path, flags)
        if tree == -Int32(LNT_EPERM) || tree == -Int32(LNT_ENOENT) { return fd }
        try check(tree, "open_tree", path)
        defer { _ = lnt_close(tree) }
        var found = lnt_file_status()
        try check(lnt_fstat(tree, &found), "fstat", path)
        guard found.mode == status.mode, found.device_major == 1, found.device_minor == status.device_minor else { return fd }
        try check(lnt_mount_setattr(tree, literal(""), UInt32(LNT_AT_EMPTY_PATH), guardedNode, 0, 0, -1), "mount_setattr", path)
        let access = try check(lnt_get_flags(fd), "fcntl", path) & (Int32(LNT_O_WRONLY) | Int32(LNT_O_RDWR))
        let own = try check(reopen(tree, access), "open", path)
        if fd > 2 { _ = lnt_close(fd) }
        return own
    }

    static func guarded(_ stdio: inout Stdio) throws(Failure) {
        stdio.input = try guarded(stdio.input)
        stdio.output = try guarded(stdio.output)
        stdio.error = try guarded(stdio.error)
    }

    /// Those that may be opened any number of times without anything happening.
    private static func path(_ minor: UInt32) -> Text? {
        switch minor {
        case 3: literal("/dev/null")
        case 5: literal("/dev/zero")
        case 7: literal("/dev/full")
        case 8: literal("/dev/random")
        case 9: literal("/dev/urandom")
        default: nil
        }
    }

    private static func reopen(_ fd: Int32, _ access: Int32) -> Int32 {
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { bytes in
            var path = TextBuffer(bytes.baseAddress!, capacity: 31)
            path.append("/proc/self/fd/")
            path.append(UInt64(fd))
            return lnt_open(path.terminate(), access, 0)
        }
    }
}

/// What a node of the host's is mounted with: read-only, nosuid, noexec.
let guardedNode: UInt64 = 0x1 | 0x2 | 0x8
