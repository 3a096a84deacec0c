internal import CLinux

/// Copies files and trees of any depth by descriptor: no link is followed, whatever somebody renames meanwhile; sockets and device nodes stay behind.
package struct TreeCopy {
    package enum Ownership: Sendable {
        /// As in the source.
        case keep
        /// Everything belongs to these.
        case all(uid: UInt32, gid: UInt32)
        /// As in the source, by the numbers of another user namespace: so much is added. What falls out of its range is its root's.
        case shifted(uid: Int64, gid: Int64)
    }

    private let ownership: Ownership
    private let keepsAttributes: Bool
    /// Copies of files that have more names, by device and inode, kept open to link to. Bounded: beyond, a further name is a further copy.
    private var linked: [UInt64: [UInt64: FileDescriptor]] = [:]
    private var linkedCount = 0
    /// The folder that a copy of folders goes to. Met on the way, what it is copied to lies in what is copied: that would never end.
    private var top: (device: UInt64, inode: UInt64)?

    package init(ownership: Ownership, keepsAttributes: Bool) {
        self.ownership = ownership
        self.keepsAttributes = keepsAttributes
    }

    /// Copies one entry under a new name; an existing directory is merged into, an existing file replaced.
    package mutating func copy(_ name: String, of source: Directory, to target: Directory, as newName: String) throws(SystemCallError) {
        let label = "\(source.label)/\(name)"
        let (raw, newRaw) = (Array(name.utf8CString), Array(newName.utf8CString))
        guard let status = try status(raw, source.descriptor.number, label) else { return }
        guard FileKind(rawValue: status.mode & 0o170000) == .directory else {
            // In a tree they are passed over; asked for by name one can't be left out without a word.
            if Self.staysBehind(status) { throw SystemCallError("copy a device or socket", label, errno: ErrorNumber.notSupported) }
            return try copyPlain(raw, status, source.descriptor.number, newRaw, target.descriptor.number, label)
        }
        let (from, to) = try openFolder(raw, source.descriptor.number, newRaw, target.descriptor.number, label)
        try begin(from, to, label)
        try copyTree(from, to, label)
        try copyItself(from, to, label)
    }

    /// Copies everything in a directory; `includingItself` gives the target the source's owner, mode and times too.
    package mutating func copyContents(of source: Directory, to target: Directory, includingItself: Bool = false) throws(SystemCallError) {
        // The entries are read through a descriptor of its own: the caller's may be an O_PATH one.
        let listing = try source.open(".", [.directory])
        try begin(listing, target.descriptor, source.label)
        try copyTree(listing, target.descriptor, source.label)
        if includingItself { try copyItself(listing, target.descriptor, source.label) }
    }

    /// Copies what is in a folder, however deep. The way back up on both sides is proven (`FolderTrail`): who renames folders in a running container
    /// leads no copy elsewhere.
    private mutating func copyTree(_ source: FileDescriptor, _ target: FileDescriptor, _ label: String) throws(SystemCallError) {
        var walk = try TreeWalk(source, label: label, sorted: false)
        var targets = try FolderTrail(target, label: label)
        while let step = try walk.next() {
            switch step {
            case .entry(let name):
                let (from, to, shown) = (walk.folder.number, targets.current.number, walk.path.shown(name))
                guard let status = try status(name, from, shown) else { continue }
                if FileKind(rawValue: status.mode & 0o170000) == .directory {
                    try refuseItself(status.device, status.inode, shown)
                    let (inner, copy) = try openFolder(name, from, name, to, shown)
                    try walk.enter(name, inner)
                    try targets.enter(copy, shown)
                } else {
                    try copyPlain(name, status, from, name, to, shown)
                }
            case .end:
                let shown = walk.path.shown()
                // After its entries: writing them changes its times.
                try copyItself(walk.folder, targets.current, shown)
                try walk.leave()
                try targets.leave("the copy of \(shown)")
            }
        }
    }

    private mutating func begin(_ from: FileDescriptor, _ to: FileDescriptor, _ label: String) throws(SystemCallError) {
        let (there, here) = (
            try fileStatus(to.number, "", follow: false, label: label), try fileStatus(from.number, "", follow: false, label: label)
        )
        top = (there.device, there.inode)
        try refuseItself(here.device, here.inode, label)
    }

    private func refuseItself(_ device: UInt64, _ inode: UInt64, _ label: String) throws(SystemCallError) {
        if let top, top == (device, inode) { throw SystemCallError("copy a folder into itself", label, errno: ErrorNumber.invalid) }
    }

    /// What a name leads to may be the very file under another one, or by a mount: emptied or replaced first, it would be lost.
    private func refuseSame(_ name: [CChar], _ folder: Int32, _ status: FileStatus, _ label: String) throws(SystemCallError) {
        guard let there = try self.status(name, folder, label), there.device == status.device, there.inode == status.inode else { return }
        throw SystemCallError("copy a file onto itself", label, errno: ErrorNumber.invalid)
    }

    /// - Returns: nil for what was removed since it was listed.
    private func status(_ name: [CChar], _ source: Int32, _ label: String) throws(SystemCallError) -> lnt_host_stat? {
        var raw = lnt_host_stat()
        let noFollow: Int32 = 0x100
        let found = lnt_host_stat(source, name, noFollow, &raw)
        if -found == ErrorNumber.noEntry { return nil }
        try check(found, "stat", label)
        return raw
    }

    private static func staysBehind(_ status: lnt_host_stat) -> Bool {
        switch FileKind(rawValue: status.mode & 0o170000) {
        case .regular, .symbolicLink, .fifo, .directory: false
        case .socket, .characterDevice, .blockDevice, nil: true
        }
    }

    /// A file in a device's place would take what is written to the device, until the disk is full.
    private func refuseDevice(_ name: [CChar], _ folder: Int32, _ label: String) throws(SystemCallError) {
        guard let there = try status(name, folder, label) else { return }
        let kind = FileKind(rawValue: there.mode & 0o170000)
        guard kind == .characterDevice || kind == .blockDevice else { return }
        throw SystemCallError("put a file in place of the device with a copy of", label, errno: ErrorNumber.exists)
    }

    private mutating func copyPlain(
        _ name: [CChar], _ status: lnt_host_stat, _ source: Int32, _ newName: [CChar], _ target: Int32, _ label: String
    ) throws(SystemCallError) {
        switch FileKind(rawValue: status.mode & 0o170000) {
        case .regular: try copyFile(name, source, newName, target, label)
        case .symbolicLink: try copyLink(name, source, newName, target, label)
        case .fifo:
            try replacing(newName, target, label) { lnt_host_mknodat(target, newName, 0o010600, 0, 0) }
            try setMetadata(target, newName, status, label)
        case .directory, .socket, .characterDevice, .blockDevice, nil: break
        }
    }

    private func openFolder(
        _ name: [CChar], _ source: Int32, _ newName: [CChar], _ target: Int32, _ label: String
    ) throws(SystemCallError) -> (from: FileDescriptor, to: FileDescriptor) {
        let flags = OpenFlags([.directory, .noFollow])
        let from = FileDescriptor(owning: try check(lnt_host_openat(source, name, Int32(flags.rawValue), 0), "open", label))
        let made = lnt_host_mkdirat(target, newName, 0o700)
        if made < 0, -made != ErrorNumber.exists { throw SystemCallError("make directory for", label, errno: -made) }
        let to = FileDescriptor(owning: try check(lnt_host_openat(target, newName, Int32(flags.rawValue), 0), "open the copy of", label))
        return (from, to)
    }

    private func copyItself(_ from: FileDescriptor, _ to: FileDescriptor, _ label: String) throws(SystemCallError) {
        let status = try fileStatus(from.number, "", follow: false, label: label)
        if keepsAttributes { try copyAttributes(from.number, to.number, label) }
        try setMetadata(to.number, status, label)
    }

    private mutating func copyFile(
        _ name: [CChar], _ source: Int32, _ newName: [CChar], _ target: Int32, _ label: String
    ) throws(SystemCallError) {
        // Non-blocking and then looked at again: a fifo put in its place must not hold us.
        let flags = OpenFlags([.noFollow, .nonblocking, .noTerminal])
        let from = FileDescriptor(owning: try check(lnt_host_openat(source, name, Int32(flags.rawValue), 0), "open", label))
        let status = try fileStatus(from.number, "", follow: false, label: label)
        guard status.kind == .regular else { return }
        try refuseSame(newName, target, status, label)
        if status.links > 1, let first = linked[status.device]?[status.inode] {
            let followLink: Int32 = 0x400
            try replacing(newName, target, label) { lnt_host_linkat(-100, "/proc/self/fd/\(first.number)", target, newName, followLink) }
            return
        }
        let create = Int32(OpenFlags([.writeOnly, .create, .exclusive, .noFollow]).rawValue)
        let made = lnt_host_openat(target, newName, create, 0o600)
        if -made == ErrorNumber.exists { try refuseDevice(newName, target, label) }
        if -made == ErrorNumber.exists, try isMountPoint(newName, target, label) { return try overwrite(newName, target, from, label) }
        let to = FileDescriptor(
            owning: made >= 0 ? made : try replacing(newName, target, label) { lnt_host_openat(target, newName, create, 0o600) })
        try copyBytes(from, to, label)
        if keepsAttributes { try copyAttributes(from.number, to.number, label) }
        try setMetadata(to.number, status, label)
        if status.links > 1, linkedCount < 512 {
            linked[status.device, default: [:]][status.inode] = to
            linkedCount += 1
        }
    }

    /// Whether something is mounted there. Removed from here, where it may be no mount point, it would take the mount with it: rename(2) and
    /// unlink(2) detach what other mount namespaces have on a name.
    private func isMountPoint(_ name: [CChar], _ folder: Int32, _ label: String) throws(SystemCallError) -> Bool {
        var raw = lnt_host_stat()
        let noFollow: Int32 = 0x100
        let result = lnt_host_stat(folder, name, noFollow, &raw)
        if -result == ErrorNumber.noEntry { return false }
        try check(result, "stat the old copy of", label)
        return try fileStatus(folder, "", follow: false, label: label).mountID != raw.mount_id
    }

    /// Writes into a file that is mounted: it stays whose it is, as cp(1) has it.
    private func overwrite(_ name: [CChar], _ folder: Int32, _ from: FileDescriptor, _ label: String) throws(SystemCallError) {
        // Neither a fifo nor a device in its place is waited for or written to.
        let flags = Int32(OpenFlags([.writeOnly, .noFollow, .nonblocking, .noTerminal]).rawValue)
        let to = FileDescriptor(
            owning: try check(lnt_host_openat(folder, name, flags, 0), "write to what is mounted on the copy of", label))
        guard try fileStatus(to.number, "", follow: false, label: label).kind == .regular else {
            throw SystemCallError("write to what is mounted on the copy of", label, errno: ErrorNumber.busy)
        }
        try check(lnt_host_truncate(to.number, 0), "empty what is mounted on the copy of", label)
        try copyBytes(from, to, label)
    }

    private func copyBytes(_ from: FileDescriptor, _ to: FileDescriptor, _ label: String) throws(SystemCallError) {
        while true {
            let count = lnt_host_copy_file_range(from.number, to.number, 1 << 30)
            if count > 0 { continue }
            if count == 0 { break }
            // Between file systems that can't (and pseudo-files): by hand, from where it stopped.
            let error = Int32(-count)
            guard [ErrorNumber.crossDevice, ErrorNumber.invalid, ErrorNumber.notSupported, ErrorNumber.noSystemCall].contains(error) else {
                throw SystemCallError("copy", label, errno: error)
            }
            break
        }
        // copy_file_range says 0 for files without a size of their own; reading on is right in every case.
        while true {
            let part = try from.read(upTo: 1 << 18)
            if part.isEmpty { return }
            try to.writeAll(part)
        }
    }

    private func copyLink(_ name: [CChar], _ source: Int32, _ newName: [CChar], _ target: Int32, _ label: String) throws(SystemCallError) {
        var buffer = [CChar](repeating: 0, count: 4097)
        let count = try check(lnt_host_readlinkat(source, name, &buffer, 4096), "read link", label)
        buffer[count] = 0
        try replacing(newName, target, label) { lnt_host_symlinkat(buffer, target, newName) }
        var raw = lnt_host_stat()
        let noFollow: Int32 = 0x100
        try check(lnt_host_stat(source, name, noFollow, &raw), "stat", label)
        try setMetadata(target, newName, raw, label)
    }

    /// Makes something new; a file of that name goes first, a directory is not replaced by a file.
    @discardableResult
    private func replacing(_ name: [CChar], _ target: Int32, _ label: String, _ make: () -> Int32) throws(SystemCallError) -> Int32 {
        for _ in 0..<16 {
            let result = make()
            if -result != ErrorNumber.exists { return try check(result, "make the copy of", label) }
            try refuseDevice(name, target, label)
            guard try !isMountPoint(name, target, label) else {
                throw SystemCallError("replace what is mounted on the copy of", label, errno: ErrorNumber.busy)
            }
            let removed = lnt_host_unlinkat(target, name, 0)
            if removed < 0, -removed != ErrorNumber.noEntry { throw SystemCallError("replace the old copy of", label, errno: -removed) }
        }
        throw SystemCallError("make the copy of", label, errno: ErrorNumber.exists)
    }

    private func owner(_ uid: UInt32, _ gid: UInt32) -> (UInt32, UInt32) {
        switch ownership {
        case .keep: (uid, gid)
        case .all(let uid, let gid): (uid, gid)
        case .shifted(let byUID, let byGID): (Self.shift(uid, byUID), Self.shift(gid, byGID))
        }
    }

    /// Ranges have 65,536 ids; without a user namespace nothing is added.
    private static func shift(_ id: UInt32, _ offset: Int64) -> UInt32 {
        if offset == 0 { return id }
        let inside = offset > 0 ? Int64(id) : Int64(id) + offset
        let isInRange = (0..<65536).contains(inside)
        return offset > 0 ? UInt32(clamping: offset + (isInRange ? inside : 0)) : isInRange ? UInt32(inside) : 0
    }

    /// Owner first (the kernel drops setuid bits at a change of owner), then mode, then times.
    private func setMetadata(_ fd: Int32, _ status: FileStatus, _ label: String) throws(SystemCallError) {
        let (uid, gid) = owner(status.uid, status.gid)
        let emptyPath: Int32 = 0x1000
        try check(lnt_host_fchownat(fd, "", uid, gid, emptyPath), "set the owner of the copy of", label)
        try check(lnt_host_fchmod(fd, status.permissions), "set the mode of the copy of", label)
        try setTimes(fd, "", status.modified, emptyPath, label)
    }

    private func setMetadata(_ directory: Int32, _ name: [CChar], _ raw: lnt_host_stat, _ label: String) throws(SystemCallError) {
        let (uid, gid) = owner(raw.uid, raw.gid)
        let noFollow: Int32 = 0x100
        try check(lnt_host_fchownat(directory, name, uid, gid, noFollow), "set the owner of the copy of", label)
        let seconds = [raw.mtime_seconds, raw.mtime_seconds]
        let nanoseconds = [Int64(raw.mtime_nanoseconds), Int64(raw.mtime_nanoseconds)]
        try check(lnt_host_utimensat(directory, name, seconds, nanoseconds, noFollow), "set the times of the copy of", label)
    }

    private func setTimes(
        _ fd: Int32, _ name: String, _ modified: (seconds: Int64, nanoseconds: UInt32), _ flags: Int32, _ label: String
    ) throws(SystemCallError) {
        let seconds = [modified.seconds, modified.seconds]
        let nanoseconds = [Int64(modified.nanoseconds), Int64(modified.nanoseconds)]
        try check(lnt_host_utimensat(fd, name, seconds, nanoseconds, flags), "set the times of the copy of", label)
    }

    /// `user.*` and file capabilities; overlay's own and labels of the host's stay behind.
    private func copyAttributes(_ from: Int32, _ to: Int32, _ label: String) throws(SystemCallError) {
        var names = [CChar](repeating: 0, count: 65536)
        let count = lnt_host_flistxattr(from, &names, names.count)
        if -count == Int(ErrorNumber.notSupported) { return }
        try check(count, "list attributes of", label)
        for name in names.prefix(count).split(separator: 0) {
            let text = String(decoding: name.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix("user.") || text == "security.capability" else { continue }
            var value = [UInt8](repeating: 0, count: 65536)
            let size = lnt_host_fgetxattr(from, text, &value, value.count)
            if size < 0 { continue }
            let set = lnt_host_fsetxattr(to, text, value, size)
            if set < 0, -set != ErrorNumber.notSupported {
                throw SystemCallError("set attribute \(text) of the copy of", label, errno: -set)
            }
        }
    }
}
