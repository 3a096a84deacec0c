import CLinux

/// The init phase: pid 1, in a mount namespace of its own, puts the container's root and everything on it together.
struct InitSteps {
    let plan: Plan
    let slots: UnsafeMutablePointer<Int32>
    let gate: Int32

    private var root = ContainerRoot(fd: -1)
    /// What was mounted on /proc and /sys: sysctls, masks and read-only paths are found from there, never by a path of which somebody who
    /// shares the root's folder could change a part in between (attack 6).
    private var procfs = Mounted(place: "/proc/")
    private var sysfs = Mounted(place: "/sys/")
    /// The host's null device as a mount: detached, or attached where it was used first and cloned from there.
    private var nullTree: Int32 = -1
    private var nullTreeIsAttached = false
    private var emptyTree: Int32 = -1

    init(plan: Plan, slots: UnsafeMutablePointer<Int32>, gate: Int32) {
        self.plan = plan
        self.gate = gate
        self.slots = slots
    }

    /// - Returns: the container's root, which is then the process's own.
    mutating func run() throws(Failure) -> ContainerRoot {
        var walk = plan.start()
        while case (let opcode, var fields)? = plan.next(&walk, from: LNT_ATTACH_ROOT, through: LNT_LAST_INIT_STEP) {
            switch opcode {
            case LNT_ATTACH_ROOT.rawValue: try attachRoot(try tree(&fields))
            case LNT_MAKE_ROOT.rawValue: try attachRoot(try RootStep.make(&fields))
            case LNT_MAKE_DIRECTORY.rawValue: try makeDirectory(&fields)
            case LNT_MAKE_SYMLINK.rawValue: try makeSymlink(&fields)
            case LNT_MOUNT.rawValue: try mount(&fields)
            case LNT_ATTACH.rawValue: try attach(&fields)
            case LNT_MOUNT_ATTRIBUTES.rawValue: try setMountAttributes(&fields)
            case LNT_WRITE_SYSCTL.rawValue: try writeSysctl(&fields)
            case LNT_PIVOT_ROOT.rawValue: try pivotRoot()
            case LNT_MASK_PATH.rawValue: try maskPath(&fields)
            case LNT_MAKE_READONLY.rawValue: try makeReadonly(&fields)
            case LNT_MAKE_ROOT_READONLY.rawValue:
                try check(lnt_mount_setattr(root.fd, literal(""), UInt32(LNT_AT_EMPTY_PATH), 1, 0, 0, -1), "mount_setattr", literal("/"))
            case LNT_MAKE_DEVICE.rawValue: try makeDevice(&fields)
            case LNT_AWAIT_HOOKS.rawValue: try awaitHooks()
            case LNT_RUN_HOOK.rawValue: try HookStep.run(&fields, pid: lnt_getpid())
            case LNT_ROOT_PROPAGATION.rawValue:
                let propagation = try fields.number()
                try check(
                    lnt_mount_setattr(root.fd, literal(""), UInt32(LNT_AT_EMPTY_PATH), 0, 0, propagation, -1), "mount_setattr", literal("/")
                )
            default: throw failure("decode", errno: Int32(LNT_EPROTO))
            }
        }
        guard root.fd >= 0 else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("no root in the plan")) }
        return root
    }

    private func tree(_ fields: inout Fields) throws(Failure) -> Int32 {
        let number = try fields.number()
        guard number < UInt64(LNT_SLOTS), slots[Int(number)] >= 0 else {
            throw failure("decode", errno: Int32(LNT_EPROTO), literal("an empty slot"))
        }
        return slots[Int(number)]
    }

    private mutating func attachRoot(_ tree: Int32) throws(Failure) {
        try check(lnt_mount(nil, literal("/"), nil, UInt(LNT_MS_REC) | UInt(LNT_MS_PRIVATE), nil), "mount private", literal("/"))
        // Taken while the host's /dev can still be seen, through this namespace's own copy of it.
        let null = try openNullDevice(Int32(LNT_O_PATH) | Int32(LNT_O_NOFOLLOW))
        nullTree = try check(
            lnt_open_tree(null, literal(""), UInt32(LNT_OPEN_TREE_CLONE) | UInt32(LNT_AT_EMPTY_PATH)), "open_tree", literal("/dev/null"))
        _ = lnt_close(null)
        // The node is the machine's: whose ids own it may read and write what is masked, not change the node.
        try check(
            lnt_mount_setattr(nullTree, literal(""), UInt32(LNT_AT_EMPTY_PATH), guardedNode, 0, 0, -1), "mount_setattr",
            literal("/dev/null"))
        root = ContainerRoot(fd: tree)
        try check(
            lnt_move_mount(root.fd, literal(""), Int32(LNT_AT_FDCWD), literal("/"), UInt32(LNT_MOVE_FROM_EMPTY)), "move_mount", literal("/")
        )
    }

    private func makeDirectory(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let mode = try fields.word()
        _ = lnt_close(try root.target(path, create: .directory(mode: mode)))
    }

    private func makeSymlink(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let target = try fields.text()
        let (parent, name) = try root.parent(path)
        defer { _ = lnt_close(parent) }
        let result = lnt_symlinkat(target, parent, name)
        if result != -Int32(LNT_EEXIST) { try check(result, "symlink", path) }
    }

    // Fields: path mode major minor uid gid
    private func makeDevice(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let mode = try fields.word()
        let (major, minor) = (try fields.word(), try fields.word())
        let (uid, gid) = (try fields.word(), try fields.word())
        let (parent, name) = try root.parent(path)
        defer { _ = lnt_close(parent) }
        let result = lnt_mknodat(parent, name, mode_t(mode), major, minor)
        if result == -Int32(LNT_EEXIST) {
            // The same node twice, as engines write it; anything else that stands there isn't it.
            var status = lnt_file_status()
            try check(lnt_fstatat(parent, name, Int32(LNT_AT_SYMLINK_NOFOLLOW), &status), "fstatat", path)
            guard status.mode & UInt32(LNT_S_IFMT) == mode & UInt32(LNT_S_IFMT), status.device_major == major, status.device_minor == minor
            else { throw failure("mknod", errno: Int32(LNT_EEXIST), path) }
        } else {
            try check(result, "mknod", path)
        }
        if uid != 0 || gid != 0 { try check(lnt_fchownat(parent, name, uid, gid, Int32(LNT_AT_SYMLINK_NOFOLLOW)), "chown", path) }
    }

    /// Tells the shim and waits; its end, or anything but the word, ends the launch.
    private func awaitHooks() throws(Failure) {
        var word = GateMessage.hooks
        try check(Int32(truncatingIfNeeded: lnt_write(gate, &word, 4)), "write")
        guard lnt_read(gate, &word, 4) == 4, word == GateMessage.proceed else { lnt_exit(1) }
    }

    // Fields: target type options attributes create no_symlinks optional copy_up propagation
    private mutating func mount(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let type = try fields.text()
        var options = fields
        var hasMode = false
        for _ in 0..<(try fields.count(size: 40)) {
            _ = try fields.number()
            if lnt_same(try fields.text(), literal("mode"), 5) != 0 { hasMode = true }
            _ = try fields.text()
        }
        let attributes = try fields.number()
        let creates = try fields.flag()
        let refusesSymlinks = try fields.flag()
        let optional = try fields.flag()
        let copiesUp = try fields.flag()
        let propagation = try fields.number()
        do throws(Failure) {
            // A new tmpfs looks like the folder that it covers, unless an option says otherwise; one that is made for it says nothing.
            var covered: Int32 = -1
            if lnt_same(type, literal("tmpfs"), 6) != 0, !hasMode || copiesUp {
                let access = copiesUp ? Int32(LNT_O_RDONLY) : Int32(LNT_O_PATH)
                covered = root.open(path, flags: access | Int32(LNT_O_DIRECTORY), refusesSymlinks: refusesSymlinks)
                if covered != -Int32(LNT_ENOENT) { try check(covered, "openat2", path) }
            }
            defer { if covered >= 0 { _ = lnt_close(covered) } }
            // What is copied has to be written first.
            let readonly = copiesUp ? attributes & UInt64(LNT_MOUNT_ATTR_RDONLY) : 0
            let mount = try makeFilesystem(type, &options, attributes & ~readonly, covering: hasMode ? -1 : covered, path)
            let target = try root.target(path, create: creates ? .directory(mode: 0o755) : .never, refusesSymlinks: refusesSymlinks)
            if copiesUp, covered >= 0 { try CopyUp.run(from: covered, to: mount, path) }
            if readonly != 0 {
                try check(lnt_mount_setattr(mount, literal(""), UInt32(LNT_AT_EMPTY_PATH), readonly, 0, 0, -1), "mount_setattr", path)
            }
            try refuseCoveringProc(mount, target, path)
            try attach(mount, to: target, path)
            _ = lnt_close(target)
            if propagation != 0 {
                try check(lnt_mount_setattr(mount, literal(""), UInt32(LNT_AT_EMPTY_PATH), 0, 0, propagation, -1), "mount_setattr", path)
            }
            if !keep(mount, path) { _ = lnt_close(mount) }
        } catch {
            if !optional { throw error }
        }
    }

    /// - Parameter covering: a folder whose mode the new root gets; negative for none.
    private func makeFilesystem(
        _ type: Text, _ options: inout Fields, _ attributes: UInt64, covering: Int32, _ path: Text
    ) throws(Failure) -> Int32 {
        let fs = try check(lnt_fsopen(type), "fsopen", path)
        defer { _ = lnt_close(fs) }
        for _ in 0..<(try options.count(size: 40)) {
            let hasValue = try options.flag()
            let key = try options.text()
            let value = try options.text()
            try check(hasValue ? lnt_fsconfig_string(fs, key, value) : lnt_fsconfig_flag(fs, key), "fsconfig", key)
        }
        if covering >= 0 {
            var status = lnt_file_status()
            try check(lnt_fstat(covering, &status), "fstat", path)
            // Four octal digits.
            var digits: (CChar, CChar, CChar, CChar, CChar) = (0, 0, 0, 0, 0)
            func digit(_ shift: UInt32) -> CChar { CChar(0x30 + (status.mode >> shift & 7)) }
            digits = (digit(9), digit(6), digit(3), digit(0), 0)
            try withUnsafePointer(to: &digits) { (pointer) throws(Failure) in
                let text = UnsafeRawPointer(pointer).assumingMemoryBound(to: CChar.self)
                try check(lnt_fsconfig_string(fs, literal("mode"), text), "fsconfig", path)
            }
        }
        try check(lnt_fsconfig_create(fs), "fsconfig create", path)
        return try check(lnt_fsmount(fs, attributes), "fsmount", path)
    }

    private func attach(_ mount: Int32, to target: Int32, _ path: Text) throws(Failure) {
        try check(
            lnt_move_mount(mount, literal(""), target, literal(""), UInt32(LNT_MOVE_FROM_EMPTY) | UInt32(LNT_MOVE_TO_EMPTY)), "move_mount",
            path)
    }

    // Fields: target slot create no_symlinks
    private mutating func attach(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let mount = try tree(&fields)
        let creates = try fields.flag()
        let refusesSymlinks = try fields.flag()
        var status = lnt_file_status()
        try check(lnt_fstat(mount, &status), "fstat", path)
        let isDirectory = status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFDIR)
        let creation: ContainerRoot.Creation = !creates ? .never : isDirectory ? .directory(mode: 0o755) : .file(mode: 0o644)
        let target = try root.target(path, create: creation, refusesSymlinks: refusesSymlinks)
        defer { _ = lnt_close(target) }
        var there = lnt_file_status()
        try check(lnt_fstat(target, &there), "fstat", path)
        // The kernel would only say that something is invalid. What was found wrong stands in the call's place; `LaunchFailure` has the words.
        if isDirectory != (there.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFDIR)) {
            throw failure(isDirectory ? "folder on file" : "file on folder", errno: Int32(LNT_ENOTDIR), path)
        }
        try refuseCoveringProc(mount, target, path)
        try attach(mount, to: target, path)
        _ = keep(mount, path)
    }

    /// What lies on /proc is another procfs or nothing; what is bound below it under another name, by a link of the image's, isn't bound at all. Paths
    /// below /proc are the planner's to refuse.
    private func refuseCoveringProc(_ mount: Int32, _ target: Int32, _ path: Text) throws(Failure) {
        if procfs.isPlace(path) {
            guard lnt_fstatfs_type(mount, nil) == Int64(LNT_PROC_MAGIC) else {
                throw failure("cover proc", errno: Int32(LNT_EPERM), path)
            }
        } else if procfs.fd >= 0, procfs.rest(of: path) == nil {
            var (proc, there) = (lnt_file_status(), lnt_file_status())
            try check(lnt_fstat(procfs.fd, &proc), "fstat", path)
            try check(lnt_fstat(target, &there), "fstat", path)
            guard proc.device != there.device else { throw failure("link to proc", errno: Int32(LNT_EPERM), path) }
        }
    }

    /// Notes what is on /proc and on /sys now.
    private mutating func keep(_ mount: Int32, _ path: Text) -> Bool { procfs.keep(mount, path) || sysfs.keep(mount, path) }

    /// Opens what a mask or a restriction is for; the result of the call.
    private func openProtected(_ path: Text, refusesSymlinks: Bool = false) -> Int32 {
        if let rest = procfs.rest(of: path) { return ContainerRoot(fd: procfs.fd).open(rest, flags: Int32(LNT_O_PATH)) }
        if let rest = sysfs.rest(of: path) { return ContainerRoot(fd: sysfs.fd).open(rest, flags: Int32(LNT_O_PATH)) }
        return root.open(path, flags: Int32(LNT_O_PATH), refusesSymlinks: refusesSymlinks)
    }

    // Fields: path attributes recursive clear
    private func setMountAttributes(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let attributes = try fields.number()
        let recursive = try fields.flag()
        let cleared = try fields.number()
        let target = try root.target(path)
        defer { _ = lnt_close(target) }
        try check(
            lnt_mount_setattr(
                target, literal(""), UInt32(LNT_AT_EMPTY_PATH) | (recursive ? UInt32(LNT_AT_RECURSIVE) : 0), attributes, cleared, 0, -1),
            "mount_setattr", path)
    }

    // Fields: path value optional
    private func writeSysctl(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let value = try fields.text()
        let optional = try fields.flag()
        guard procfs.fd >= 0 else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("a sysctl before proc is mounted")) }
        let resolve =
            UInt64(LNT_RESOLVE_BENEATH) | UInt64(LNT_RESOLVE_NO_SYMLINKS) | UInt64(LNT_RESOLVE_NO_XDEV) | UInt64(LNT_RESOLVE_NO_MAGICLINKS)
        let sys = try check(
            lnt_openat2(procfs.fd, literal("sys"), UInt64(LNT_O_PATH) | UInt64(LNT_O_DIRECTORY), 0, resolve), "openat2",
            literal("/proc/sys"))
        defer { _ = lnt_close(sys) }
        let fd = lnt_openat2(sys, path, UInt64(LNT_O_WRONLY), 0, resolve)
        if fd == -Int32(LNT_ENOENT), optional { return }
        try check(fd, "openat2", path)
        defer { _ = lnt_close(fd) }
        guard lnt_fstatfs_type(fd, nil) == Int64(LNT_PROC_MAGIC) else { throw failure("statfs", errno: Int32(LNT_EPERM), path) }
        let result = lnt_write_all(fd, value, lnt_length(value))
        if result < 0, optional { return }
        try check(result, "write", path)
    }

    private func pivotRoot() throws(Failure) {
        try check(lnt_fchdir(root.fd), "fchdir", literal("/"))
        try check(lnt_pivot_root(literal("."), literal(".")), "pivot_root", literal("/"))
        try check(lnt_umount(literal("."), Int32(LNT_MNT_DETACH)), "umount", literal("the old root"))
        try check(lnt_chdir(literal("/")), "chdir", literal("/"))
    }

    // Fields: path no_symlinks
    private mutating func maskPath(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let target = openProtected(path, refusesSymlinks: try fields.flag())
        if target == -Int32(LNT_ENOENT) || target == -Int32(LNT_ENOTDIR) { return }
        try check(target, "openat2", path)
        var status = lnt_file_status()
        try check(lnt_fstat(target, &status), "fstat", path)
        let clone = UInt32(LNT_OPEN_TREE_CLONE) | UInt32(LNT_AT_EMPTY_PATH)
        // Both covers are made once; later masks are clones of the attached first, which is cheaper than a file system each.
        if status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFDIR) {
            if emptyTree < 0 {
                let fs = try check(lnt_fsopen(literal("tmpfs")), "fsopen", path)
                try check(lnt_fsconfig_string(fs, literal("size"), literal("4096")), "fsconfig", path)
                try check(lnt_fsconfig_string(fs, literal("nr_inodes"), literal("1")), "fsconfig", path)
                try check(lnt_fsconfig_create(fs), "fsconfig create", path)
                emptyTree = try check(lnt_fsmount(fs, 0x1 | 0x2 | 0x4 | 0x8), "fsmount", path)
                _ = lnt_close(fs)
                try attach(emptyTree, to: target, path)
            } else {
                let copy = try check(lnt_open_tree(emptyTree, literal(""), clone), "open_tree", path)
                try attach(copy, to: target, path)
                _ = lnt_close(copy)
            }
        } else {
            if nullTreeIsAttached {
                let copy = try check(lnt_open_tree(nullTree, literal(""), clone), "open_tree", path)
                try attach(copy, to: target, path)
                _ = lnt_close(copy)
            } else {
                try attach(nullTree, to: target, path)
                nullTreeIsAttached = true
            }
        }
        _ = lnt_close(target)
    }

    private func makeReadonly(_ fields: inout Fields) throws(Failure) {
        let path = try fields.text()
        let target = openProtected(path)
        if target == -Int32(LNT_ENOENT) || target == -Int32(LNT_ENOTDIR) { return }
        try check(target, "openat2", path)
        defer { _ = lnt_close(target) }
        let flags = UInt32(LNT_AT_EMPTY_PATH) | UInt32(LNT_AT_RECURSIVE)
        let tree = try check(lnt_open_tree(target, literal(""), UInt32(LNT_OPEN_TREE_CLONE) | flags), "open_tree", path)
        defer { _ = lnt_close(tree) }
        try check(lnt_mount_setattr(tree, literal(""), flags, 1, 0, 0, -1), "mount_setattr", path)
        try attach(tree, to: target, path)
    }
}

/// A mount by descriptor, and the place that paths call it by.
private struct Mounted {
    /// With a slash at the end.
    let place: StaticString
    private(set) var fd: Int32 = -1

    init(place: StaticString) { self.place = place }

    /// - Returns: whether this is its place; what was there before stays open, since something may still lie on it.
    mutating func keep(_ mount: Int32, _ path: Text) -> Bool {
        guard isPlace(path) else { return false }
        fd = mount
        return true
    }

    func isPlace(_ path: Text) -> Bool {
        let length = place.utf8CodeUnitCount - 1
        return lnt_length(path) == length && lnt_same(path, literal(place), length) != 0
    }

    /// What of a path lies below, nil when it lies elsewhere or nothing is mounted.
    func rest(of path: Text) -> Text? {
        let length = place.utf8CodeUnitCount
        guard fd >= 0, lnt_length(path) > length, lnt_same(path, literal(place), length) != 0 else { return nil }
        return path + length
    }
}

/// Opens the host's null device and makes sure that it is one (attack 4).
func openNullDevice(_ flags: Int32) throws(Failure) -> Int32 {
    let path = literal("/dev/null")
    let fd = try check(lnt_open(path, flags, 0), "open", path)
    var status = lnt_file_status()
    try check(lnt_fstat(fd, &status), "fstat", path)
    guard status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFCHR), status.device_major == 1, status.device_minor == 3 else {
        throw failure("expect", errno: Int32(LNT_ENODEV), path)
    }
    return fd
}
