internal import CArchive
internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Writes a layer's entries into one folder, whatever the layer says. For one thread, which `privateUmask` prepared.
///
/// Every path is resolved by the kernel from the root's descriptor with RESOLVE_BENEATH: a link that leads out ends in EXDEV. What an
/// entry replaces is unlinked first, so nothing is ever written through what the layer put there.
final class TreeWriter {
    let root: Int32
    let layer: String
    let limits: UnpackLimits
    private(set) var report = UnpackedLayer()

    private var implied: Set<[CChar]> = []
    private var parents: [[CChar]: Int32] = [:]
    private var lastParent: [CChar] = []
    private var lastParentFD: Int32 = -1
    /// What a folder gets once nothing is made in it any more; making entries changes its mtime.
    private var folders: [(path: [CChar], mode: UInt32, seconds: Int64, nanoseconds: UInt32)] = []
    private var promisedBytes: Int64 = 0
    private static let cachedParents = 64

    init(root: Int32, layer: String, limits: UnpackLimits) {
        self.root = root
        self.layer = layer
        self.limits = limits
        implied.insert([0])
    }

    deinit { closeParents() }

    static func privateUmask() throws(LunetteError) {
        let result = lnt_disk_private_umask()
        if result < 0 { throw LunetteError(.io, "give the unpacking thread its own umask: \(errnoText(-result))", errno: -result) }
    }

    // MARK: errors

    func refuse(_ path: String, _ why: String, hint: String? = nil) -> LunetteError {
        LunetteError(.denied, "unpack layer \(layer): entry \"\(path)\" \(why)", target: layer, hint: hint)
    }

    func failure(_ call: String, _ path: EntryPath, _ errno: Int32) -> LunetteError {
        let hint: String? =
            switch errno {
            case ErrorNumber.noSpace, ErrorNumber.quota:
                "the disk is full: free some space (lunette system prune), or keep the state elsewhere with --root"
            case ErrorNumber.invalid where !UserNamespace.current.isInitial && call == "chown":
                "your engine has the ids 0 to \(Int64(UserNamespace.current.uids.count) - 1); /etc/subuid and /etc/subgid give more (docs/rootless.md)"
            case ErrorNumber.readOnly: "the state directory is on a read-only file system: choose another with --root"
            default: nil
            }
        return LunetteError(
            errorCode(forErrno: errno), "unpack layer \(layer): \(call) \"\(path.text)\": \(errnoText(errno))", target: layer, errno: errno,
            hint: hint)
    }

    // MARK: folders

    /// Whether the entry goes into the same folder as the one before.
    func isKnown(_ path: EntryPath) -> Bool { path.parent == lastParent }

    private func closeParents() {
        for fd in parents.values { _ = lnt_host_close(fd) }
        parents.removeAll(keepingCapacity: true)
        lastParent = []
        lastParentFD = -1
    }

    /// The folder that `path` goes into; made when no entry did.
    func parent(of path: EntryPath) throws(LunetteError) -> Int32 {
        if path.parent.count == 1 { return root }
        if path.parent == lastParent { return lastParentFD }
        let fd: Int32
        if let known = parents[path.parent] {
            fd = known
        } else {
            if parents.count >= Self.cachedParents { closeParents() }
            fd = try openParent(of: path)
            parents[path.parent] = fd
        }
        lastParent = path.parent
        lastParentFD = fd
        return fd
    }

    private func openFolder(_ path: [CChar]) -> Int32 {
        let scope = ResolveScope.beneath.rawValue
        // EAGAIN: something was renamed during the look-up. Nobody else works in this tree, so a few tries are plenty.
        for _ in 0..<8 {
            let fd = lnt_host_openat2(root, path, OpenFlags.directory.rawValue, 0, scope)
            if fd != -ErrorNumber.again { return fd }
        }
        return -ErrorNumber.again
    }

    private func openParent(of path: EntryPath) throws(LunetteError) -> Int32 {
        var fd = openFolder(path.parent)
        if fd == -ErrorNumber.noEntry {
            for ancestor in path.ancestors {
                let made = lnt_host_mkdirat(root, ancestor, 0o755)
                if made == 0 {
                    implied.insert(ancestor)
                    continue
                }
                guard -made == ErrorNumber.exists else { throw failure("make folder for", path, -made) }
                // A link may stand here: only a look-up that stays beneath goes on.
                let opened = openFolder(ancestor)
                if opened < 0 { throw unusable(path, opened) }
                _ = lnt_host_close(opened)
            }
            fd = openFolder(path.parent)
        }
        if fd < 0 { throw unusable(path, fd) }
        return fd
    }

    private func unusable(_ path: EntryPath, _ result: Int32) -> LunetteError {
        switch -result {
        case ErrorNumber.crossDevice, ErrorNumber.loop: refuse(path.text, "lies behind a link that leads out of the layer")
        case ErrorNumber.notDirectory: refuse(path.text, "lies below something that is no folder")
        case ErrorNumber.noEntry: refuse(path.text, "lies behind a link that leads nowhere")
        default: failure("open the folder of", path, -result)
        }
    }

    // MARK: entries

    /// Takes one entry of the tar; for a file, `data` gives its content afterwards.
    func write(_ entry: lnt_entry, from archive: OpaquePointer) throws(LunetteError) {
        report.entries += 1
        guard report.entries <= limits.entries else {
            throw LunetteError(.resourceExhausted, "unpack layer \(layer): it has more than \(limits.entries) entries", target: layer)
        }
        guard let path = EntryPath(entry.path) else { throw refuse(shown(entry.path), "names a parent folder (\"..\")") }
        guard path.parent.count + path.name.count <= limits.pathLength, path.depth <= limits.depth else {
            throw refuse(String(path.text.prefix(80)), "has a path that is too long or too deep")
        }
        if path.isRoot {
            guard entry.kind == LNT_ENTRY_DIRECTORY else { throw refuse("/", "is the layer's root but no folder") }
        } else if try whiteout(path) {
            return
        }
        guard (0...limits.largestID).contains(entry.uid), (0...limits.largestID).contains(entry.gid) else {
            throw refuse(
                path.text, "belongs to \(entry.uid):\(entry.gid), and ids end at \(limits.largestID)",
                hint: "a container's user namespace has 65536 ids; rebuild the image with smaller owner ids")
        }
        switch entry.kind {
        case LNT_ENTRY_DIRECTORY: try writeFolder(path, entry, archive)
        case LNT_ENTRY_FILE: try writeFile(path, entry, archive)
        case LNT_ENTRY_SYMLINK: try writeLink(path, entry, archive)
        case LNT_ENTRY_HARDLINK: try writeHardLink(path, entry)
        case LNT_ENTRY_FIFO, LNT_ENTRY_CHARACTER, LNT_ENTRY_BLOCK: try writeNode(path, entry)
        // A socket without its server is nothing; tar tools leave them out too.
        case LNT_ENTRY_SOCKET: break
        default: throw refuse(path.text, "is of an unknown kind")
        }
    }

    private func shown(_ raw: UnsafePointer<CChar>) -> String { displayable(String(cString: raw), limit: 300) }

    private func writeFolder(_ path: EntryPath, _ entry: lnt_entry, _ archive: OpaquePointer) throws(LunetteError) {
        let full = path.full
        var fd = root
        if !path.isRoot {
            let parent = try parent(of: path)
            var made = lnt_host_mkdirat(parent, path.name, entry.mode & 0o1777)
            var wasHidden = false
            if made == -ErrorNumber.exists {
                let before = try kind(parent, path)
                if before.isFolder {
                    made = 1
                } else {
                    // A whiteout of the same layer came first: the new folder hides what lies below.
                    wasHidden = before.isWhiteout
                    try unlink(parent, path)
                    made = lnt_host_mkdirat(parent, path.name, entry.mode & 0o1777)
                }
            }
            if made < 0 { throw failure("make folder", path, -made) }
            let needsOpen = made == 1 || wasHidden || entry.uid != 0 || entry.gid != 0 || entry.xattr_count > 0
            if !needsOpen {
                implied.remove(full)
                folders.append((full, entry.mode & 0o6000 == 0 ? .max : entry.mode, entry.mtime, entry.mtime_nanoseconds))
                return
            }
            fd = lnt_host_openat2(
                parent, path.name, OpenFlags([.directory, .noFollow]).rawValue, 0, ResolveScope.beneath.rawValue)
            if fd < 0 { throw failure("open folder", path, -fd) }
            if wasHidden { try setOpaque(fd, path) }
        }
        defer { if fd != root { _ = lnt_host_close(fd) } }
        implied.remove(full)
        let owned = lnt_disk_chown(fd, UInt32(entry.uid), UInt32(entry.gid))
        if owned < 0 { throw failure("chown", path, -owned) }
        try attributes(archive, entry, fd, path)
        // Setgid waits till the end: children made meanwhile would inherit the group.
        folders.append((full, entry.mode, entry.mtime, entry.mtime_nanoseconds))
    }

    private func writeFile(_ path: EntryPath, _ entry: lnt_entry, _ archive: OpaquePointer) throws(LunetteError) {
        promisedBytes += max(0, entry.size)
        guard entry.size >= 0, promisedBytes <= limits.bytes else {
            throw LunetteError(
                .resourceExhausted, "unpack layer \(layer): its files add up to more than \(limits.bytes) bytes", target: layer)
        }
        let parent = try parent(of: path)
        var fd = lnt_disk_create(parent, path.name, entry.mode)
        if fd == -ErrorNumber.exists {
            try unlink(parent, path)
            fd = lnt_disk_create(parent, path.name, entry.mode)
        }
        if fd < 0 { throw failure("create", path, -fd) }
        defer { _ = lnt_host_close(fd) }
        var written: Int64 = 0
        while true {
            var data: UnsafeRawPointer?
            var size = 0
            var offset: Int64 = 0
            let status = lnt_archive_data(archive, &data, &size, &offset)
            if status == 0 { break }
            if status < 0 { throw truncated(archive, path) }
            guard offset >= 0, offset <= entry.size, Int64(size) <= entry.size - offset else {
                throw refuse(path.text, "has more content than it says")
            }
            let result = lnt_disk_write_all(fd, data, size, offset)
            if result < 0 { throw failure("write", path, -result) }
            written = offset + Int64(size)
            report.bytes += Int64(size)
        }
        // A hole at the end of a sparse file.
        if written < entry.size {
            let result = lnt_host_truncate(fd, entry.size)
            if result < 0 { throw failure("size", path, -result) }
        }
        if entry.uid != 0 || entry.gid != 0 {
            let result = lnt_disk_chown(fd, UInt32(entry.uid), UInt32(entry.gid))
            if result < 0 { throw failure("chown", path, -result) }
            // chown takes setuid and setgid away.
            if entry.mode & 0o6000 != 0 {
                let result = lnt_host_fchmod(fd, entry.mode)
                if result < 0 { throw failure("chmod", path, -result) }
            }
        }
        try attributes(archive, entry, fd, path)
        let timed = lnt_disk_times(fd, nil, entry.mtime, entry.mtime_nanoseconds)
        if timed < 0 { throw failure("set times of", path, -timed) }
        if entry.size >= 1 << 20 { _ = lnt_disk_start_writeback(fd) }
    }

    func truncated(_ archive: OpaquePointer, _ path: EntryPath) -> LunetteError {
        LunetteError(
            .io, "unpack layer \(layer): read \"\(path.text)\": \(String(cString: lnt_archive_error(archive)).lowercased())", target: layer)
    }

    private func writeLink(_ path: EntryPath, _ entry: lnt_entry, _ archive: OpaquePointer) throws(LunetteError) {
        guard let target = entry.link, target.pointee != 0 else { throw refuse(path.text, "is a link without a target") }
        let parent = try parent(of: path)
        var made = lnt_host_symlinkat(target, parent, path.name)
        if made == -ErrorNumber.exists {
            try unlink(parent, path)
            made = lnt_host_symlinkat(target, parent, path.name)
        }
        if made < 0 { throw failure("link", path, -made) }
        if entry.uid != 0 || entry.gid != 0 {
            let result = lnt_host_fchownat(parent, path.name, UInt32(entry.uid), UInt32(entry.gid), 0x100)
            if result < 0 { throw failure("chown", path, -result) }
        }
        let timed = lnt_disk_times(parent, path.name, entry.mtime, entry.mtime_nanoseconds)
        if timed < 0 { throw failure("set times of", path, -timed) }
    }

    private func writeHardLink(_ path: EntryPath, _ entry: lnt_entry) throws(LunetteError) {
        guard let raw = entry.link, let target = EntryPath(raw), !target.isRoot else {
            throw refuse(path.text, "is a hard link out of the layer", hint: entry.link.map { "it points at \"\(shown($0))\"" })
        }
        let parent = try parent(of: path)
        let targetParent = target.parent.count == 1 ? root : openFolder(target.parent)
        defer { if targetParent >= 0, targetParent != root { _ = lnt_host_close(targetParent) } }
        if targetParent < 0 { throw refuse(path.text, "is a hard link to \"\(target.text)\", which isn't in this layer") }
        var made = lnt_host_linkat(targetParent, target.name, parent, path.name, 0)
        if made == -ErrorNumber.exists {
            // A link to itself is there already.
            if try isSame(targetParent, target, parent, path) { return }
            try unlink(parent, path)
            made = lnt_host_linkat(targetParent, target.name, parent, path.name, 0)
        }
        if made == -ErrorNumber.noEntry { throw refuse(path.text, "is a hard link to \"\(target.text)\", which isn't in this layer") }
        if made == -ErrorNumber.permission { throw refuse(path.text, "is a hard link to the folder \"\(target.text)\"") }
        if made < 0 { throw failure("hard link", path, -made) }
    }

    private func writeNode(_ path: EntryPath, _ entry: lnt_entry) throws(LunetteError) {
        let type: UInt32 = entry.kind == LNT_ENTRY_FIFO ? 0o010000 : entry.kind == LNT_ENTRY_CHARACTER ? 0o020000 : 0o060000
        if entry.kind == LNT_ENTRY_CHARACTER, entry.device_major == 0, entry.device_minor == 0 {
            throw refuse(path.text, "is the device 0:0, which would hide a lower layer's file")
        }
        let parent = try parent(of: path)
        if type != 0o010000, !UserNamespace.current.isInitial {
            // Only the machine's root makes device nodes; a container gets its own /dev in any case (docs/rootless.md).
            try unlink(parent, path)
            return
        }
        // Device nodes come along: a container's root is mounted nodev, so they open for nobody.
        var made = lnt_host_mknodat(parent, path.name, type | entry.mode, entry.device_major, entry.device_minor)
        if made == -ErrorNumber.exists {
            try unlink(parent, path)
            made = lnt_host_mknodat(parent, path.name, type | entry.mode, entry.device_major, entry.device_minor)
        }
        if made < 0 { throw failure("make node", path, -made) }
        let owned = lnt_host_fchownat(parent, path.name, UInt32(entry.uid), UInt32(entry.gid), 0x100)
        if owned < 0 { throw failure("chown", path, -owned) }
        let timed = lnt_disk_times(parent, path.name, entry.mtime, entry.mtime_nanoseconds)
        if timed < 0 { throw failure("set times of", path, -timed) }
    }

    // MARK: what was there before

    func kind(_ parent: Int32, _ path: EntryPath) throws(LunetteError) -> (isFolder: Bool, isWhiteout: Bool) {
        var status = lnt_host_stat()
        let result = lnt_host_stat(parent, path.name, 0x100, &status)
        if result < 0 { throw failure("stat", path, -result) }
        let isWhiteout = status.mode & 0o170000 == 0o020000 && status.rdev_major == 0 && status.rdev_minor == 0
        return (status.mode & 0o170000 == 0o040000, isWhiteout)
    }

    private func isSame(_ a: Int32, _ first: EntryPath, _ b: Int32, _ second: EntryPath) throws(LunetteError) -> Bool {
        var (left, right) = (lnt_host_stat(), lnt_host_stat())
        let result = min(lnt_host_stat(a, first.name, 0x100, &left), lnt_host_stat(b, second.name, 0x100, &right))
        if result < 0 { throw failure("stat", second, -result) }
        return left.device == right.device && left.inode == right.inode
    }

    /// Removes what an earlier entry of this layer put at `path`, with everything below it.
    func unlink(_ parent: Int32, _ path: EntryPath) throws(LunetteError) {
        let result = lnt_host_unlinkat(parent, path.name, 0)
        if result == 0 || result == -ErrorNumber.noEntry { return }
        guard -result == ErrorNumber.isDirectory || -result == ErrorNumber.permission else { throw failure("replace", path, -result) }
        // Descriptors of folders that are about to go must not take entries any more.
        let name = path.name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        let copy = lnt_host_dup(parent, 3)
        if copy < 0 { throw failure("replace", path, -copy) }
        do throws(SystemCallError) { try Directory(FileDescriptor(owning: copy), label: layer).removeTree(name) } catch {
            throw failure("replace", path, error.errno)
        }
        let prefix = path.full.dropLast()
        parents = parents.filter { cached in
            let isBelow = cached.key.starts(with: prefix)
            if isBelow { _ = lnt_host_close(cached.value) }
            return !isBelow
        }
        lastParent = []
        lastParentFD = -1
    }

    // MARK: the end

    /// Gives folders their times and setgid bits, and says what was found.
    func finish() throws(LunetteError) -> UnpackedLayer {
        closeParents()
        for folder in folders.reversed() {
            let isRoot = folder.path.count == 1
            let fd =
                isRoot
                ? root
                : lnt_host_openat2(
                    root, folder.path, OpenFlags([.directory, .noFollow]).rawValue, 0, ResolveScope.beneath.rawValue)
            // A later entry replaced it.
            if [-ErrorNumber.noEntry, -ErrorNumber.notDirectory, -ErrorNumber.loop, -ErrorNumber.crossDevice].contains(fd) { continue }
            var path = EntryPath(folder.path)!
            if path.isRoot { path.name = [0] }
            if fd < 0 { throw failure("open folder", path, -fd) }
            defer { if !isRoot { _ = lnt_host_close(fd) } }
            if folder.mode != .max {
                let result = lnt_host_fchmod(fd, folder.mode)
                if result < 0 { throw failure("chmod", path, -result) }
            }
            let timed = lnt_disk_times(fd, nil, folder.seconds, folder.nanoseconds)
            if timed < 0 { throw failure("set times of", path, -timed) }
        }
        if implied.contains([0]) {
            let result = lnt_host_fchmod(root, 0o755)
            if result < 0 { throw failure("chmod", EntryPath([0])!, -result) }
        }
        report.implied = implied.map { $0.withUnsafeBufferPointer { String(cString: $0.baseAddress!) } }.sorted()
        return report
    }
}
