internal import CLinux
internal import LunetteSpec

/// What a file is.
package enum FileKind: UInt32, Sendable {
    case regular = 0o100000
    case directory = 0o040000
    case symbolicLink = 0o120000
    case characterDevice = 0o020000
    case blockDevice = 0o060000
    case fifo = 0o010000
    case socket = 0o140000
}

/// What `statx` says about a file.
package struct FileStatus: Sendable, Equatable {
    package var kind: FileKind?
    /// Permission bits with setuid, setgid and sticky.
    package var permissions: UInt32
    package var uid: UInt32
    package var gid: UInt32
    package var size: Int64
    /// Bytes taken on disk.
    package var allocated: Int64
    package var links: UInt64
    package var device: UInt64
    package var inode: UInt64
    package var deviceMajor: UInt32
    package var deviceMinor: UInt32
    package var modified: (seconds: Int64, nanoseconds: UInt32)
    package var mountID: UInt64

    package static func == (left: FileStatus, right: FileStatus) -> Bool {
        left.device == right.device && left.inode == right.inode && left.size == right.size && left.permissions == right.permissions
    }
}

/// An open directory: everything below it is reached by descriptor, never by a joined path.
package struct Directory: Sendable {
    package let descriptor: FileDescriptor
    /// Where it was opened, for messages only.
    package let label: String

    package init(_ descriptor: FileDescriptor, label: String) {
        self.descriptor = descriptor
        self.label = label
    }

    /// What lies in it, for messages; of the root, or of a path with a slash at its end, without a second one.
    private func place(_ name: String) -> String { label.hasSuffix("/") ? label + name : "\(label)/\(name)" }

    private static let workingDirectory: Int32 = -100

    /// Opens a directory of ours by path. A symbolic link as the last part is refused.
    package init(_ path: String) throws(SystemCallError) {
        let flags = OpenFlags([.directory, .noFollow])
        let fd = try check(lnt_host_openat(Self.workingDirectory, path, Int32(flags.rawValue), 0), "open directory", path)
        self.init(FileDescriptor(owning: fd), label: path)
    }

    /// Opens a directory by a path that the user has given: links are followed, the last part too.
    package init(following path: String) throws(SystemCallError) {
        let flags = OpenFlags([.directory])
        let fd = try check(lnt_host_openat(Self.workingDirectory, path, Int32(flags.rawValue), 0), "open directory", path)
        self.init(FileDescriptor(owning: fd), label: path)
    }

    /// Makes the directory and its missing parents, then opens it.
    package init(making path: String, mode: UInt32 = 0o700) throws(SystemCallError) {
        do throws(SystemCallError) {
            try self.init(path)
            return
        } catch {
            guard error.errno == ErrorNumber.noEntry else { throw error }
        }
        var built = path.hasPrefix("/") ? "" : "."
        for part in path.pathParts {
            built += "/\(part)"
            let result = lnt_host_mkdirat(Self.workingDirectory, built, mode)
            if result < 0, -result != ErrorNumber.exists { throw SystemCallError("make directory", built, errno: -result) }
        }
        try self.init(path)
    }

    /// Opens what is below, within `scope`.
    package func open(
        _ path: String, _ flags: OpenFlags = .readOnly, mode: UInt32 = 0, scope: ResolveScope = .beneath
    ) throws(SystemCallError) -> FileDescriptor {
        let mode = flags.contains(.create) ? UInt64(mode) : 0
        let fd = lnt_host_openat2(descriptor.number, path, flags.rawValue, mode, scope.rawValue)
        return FileDescriptor(owning: try check(fd, "open", place(path)))
    }

    package func openDirectory(_ path: String, scope: ResolveScope = .beneath) throws(SystemCallError) -> Directory {
        Directory(try open(path, [.directory], scope: scope), label: place(path))
    }

    /// Opens the directory below, made first when missing; `name` is one component.
    package func makeDirectory(_ name: String, mode: UInt32 = 0o700) throws(SystemCallError) -> Directory {
        let result = lnt_host_mkdirat(descriptor.number, name, mode)
        if result < 0, -result != ErrorNumber.exists { throw SystemCallError("make directory", place(name), errno: -result) }
        return Directory(try open(name, [.directory, .noFollow]), label: place(name))
    }

    /// - Returns: nil when there is no such name; links are not followed.
    package func status(_ name: String) throws(SystemCallError) -> FileStatus? {
        do throws(SystemCallError) { return try fileStatus(descriptor.number, name, follow: false, label: place(name)) } catch {
            if error.errno == ErrorNumber.noEntry { return nil }
            throw error
        }
    }

    /// The same of a raw name.
    package func status(_ name: [CChar]) throws(SystemCallError) -> FileStatus? {
        var raw = lnt_host_stat()
        let result = lnt_host_stat(descriptor.number, name, 0x100, &raw)
        if -result == ErrorNumber.noEntry { return nil }
        try check(result, "stat", place(text(of: name)))
        return FileStatus(raw)
    }

    /// Opens what a raw path names, zero at its end.
    package func open(_ path: [CChar], _ flags: OpenFlags, scope: ResolveScope = .beneath) throws(SystemCallError) -> FileDescriptor {
        let fd = lnt_host_openat2(descriptor.number, path, flags.rawValue, 0, scope.rawValue)
        return FileDescriptor(owning: try check(fd, "open", place(text(of: path))))
    }

    package func exists(_ name: String) throws(SystemCallError) -> Bool { try status(name) != nil }

    /// The whole file; nil when absent.
    package func read(_ path: String, limit: Int = 1 << 24) throws(SystemCallError) -> [UInt8]? {
        do throws(SystemCallError) { return try open(path, [.noFollow, .nonblocking]).readAll(limit: limit) } catch {
            if error.errno == ErrorNumber.noEntry { return nil }
            throw error
        }
    }

    /// Writes a file that matters: a temporary beside it, fsync, rename over `name`, fsync of the directory.
    ///
    /// A reader sees the old content or the new, whole, whatever dies in between.
    package func writeDurably(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemCallError) {
        try replace(name, bytes, mode: mode, durable: true)
    }

    /// Replaces a file in one step without waiting for the disk: for state that a reboot ends anyway.
    package func write(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemCallError) {
        try replace(name, bytes, mode: mode, durable: false)
    }

    /// Writes a file that must not exist yet, in a directory that nobody reads yet.
    package func create(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600, owner: UInt32? = nil) throws(SystemCallError) {
        let file = try open(name, [.writeOnly, .create, .exclusive], mode: mode)
        try file.writeAll(bytes)
        if let owner { try check(lnt_host_fchownat(file.number, "", owner, owner, 0x1000), "chown", place(name)) }
        try check(lnt_host_fchmod(file.number, mode), "chmod", place(name))
    }

    /// Makes a file that only its owner may read and write, whatever the umask; one that is there becomes so.
    /// - Parameter creates: false: an absent one stays absent.
    package func keepPrivate(_ name: String, creates: Bool) throws(SystemCallError) {
        do throws(SystemCallError) {
            let file = try open(name, creates ? [.create, .noFollow, .nonblocking] : [.noFollow, .nonblocking], mode: 0o600)
            try check(lnt_host_fchmod(file.number, 0o600), "chmod", place(name))
        } catch {
            if !creates, error.errno == ErrorNumber.noEntry { return }
            throw error
        }
    }

    private func replace(_ name: String, _ bytes: [UInt8], mode: UInt32, durable: Bool) throws(SystemCallError) {
        let temporary = ".\(name).\(UInt64.random(in: 0...UInt64.max)).tmp"
        let file = try open(temporary, [.writeOnly, .create, .exclusive], mode: mode)
        do throws(SystemCallError) {
            try file.writeAll(bytes)
            // The mode given to open passes the umask; what was asked for is what is meant.
            try check(lnt_host_fchmod(file.number, mode), "chmod", place(temporary))
            if durable {
                try file.synchronize()
                try rename(temporary, to: name)
            } else {
                try swapIn(temporary, as: name)
            }
        } catch {
            _ = lnt_host_unlinkat(descriptor.number, temporary, 0)
            throw error
        }
        if durable { try descriptor.synchronize() }
    }

    /// Puts a new file in the place of an old one, which is swapped out and removed instead of renamed over: ext4 writes a file out at once
    /// that is renamed over another (`auto_da_alloc` in ext4(5)), and its blocks are discarded when it goes. What a reboot ends anyway need never
    /// reach the disk.
    private func swapIn(_ temporary: String, as name: String) throws(SystemCallError) {
        let here = descriptor.number
        var result = lnt_host_renameat2(here, temporary, here, name, Self.noReplace)
        if -result == ErrorNumber.exists {
            result = lnt_host_renameat2(here, temporary, here, name, Self.exchange)
            if result == 0 { return try removeFile(temporary) }
        }
        // Removed in between, or a file system that knows neither.
        if result < 0 { try rename(temporary, to: name) }
    }

    // RENAME_NOREPLACE and RENAME_EXCHANGE of renameat2(2).
    private static let noReplace: UInt32 = 1
    private static let exchange: UInt32 = 2

    /// Renames, over what has the other name already.
    /// - Parameter exclusive: EEXIST instead.
    package func rename(_ name: String, to other: String, in target: Directory? = nil, exclusive: Bool = false) throws(SystemCallError) {
        let result = lnt_host_renameat2(descriptor.number, name, (target ?? self).descriptor.number, other, exclusive ? Self.noReplace : 0)
        try check(result, "rename", "\(place(name)) to \((target ?? self).label)/\(other)")
    }

    /// Removes one file; absent is done.
    package func removeFile(_ name: String) throws(SystemCallError) {
        let result = lnt_host_unlinkat(descriptor.number, name, 0)
        if result < 0, -result != ErrorNumber.noEntry { throw SystemCallError("remove", place(name), errno: -result) }
    }

    /// Names of the entries, without `.` and `..`, in the kernel's order.
    package func entries() throws(SystemCallError) -> [String] {
        // A new open file: reading moves the offset, and two readers of one directory must not share it.
        let listing = try open(".", [.directory])
        var names: [String] = []
        var buffer = [UInt8](repeating: 0, count: 32768)
        while true {
            let count = try check(lnt_host_getdents(listing.number, &buffer, buffer.count), "list", label)
            if count == 0 { return names }
            var offset = 0
            while offset < count {
                let length = Int(buffer[offset + 16]) | Int(buffer[offset + 17]) << 8
                let raw = buffer[(offset + 19)..<(offset + length)].prefix { $0 != 0 }
                // Names that are not UTF-8 can't be ours, but removal must see them: see `FolderListing`.
                let name = String(decoding: raw, as: UTF8.self)
                if name != ".", name != ".." { names.append(name) }
                offset += length
            }
        }
    }
}

/// `statx` of `name` below a descriptor; an empty name is the descriptor itself.
package func fileStatus(_ directory: Int32, _ name: String, follow: Bool, label: String) throws(SystemCallError) -> FileStatus {
    var raw = lnt_host_stat()
    let emptyPath: Int32 = 0x1000
    let noFollow: Int32 = 0x100
    let flags = (name.isEmpty ? emptyPath : 0) | (follow ? 0 : noFollow)
    try check(lnt_host_stat(directory, name, flags, &raw), "stat", label)
    return FileStatus(raw)
}

extension FileStatus {
    fileprivate init(_ raw: lnt_host_stat) {
        self.init(
            kind: FileKind(rawValue: raw.mode & 0o170000), permissions: raw.mode & 0o7777, uid: raw.uid, gid: raw.gid,
            size: Int64(clamping: raw.size),
            allocated: Int64(clamping: raw.blocks512) * 512, links: raw.links, device: raw.device, inode: raw.inode,
            deviceMajor: raw.rdev_major, deviceMinor: raw.rdev_minor, modified: (raw.mtime_seconds, raw.mtime_nanoseconds),
            mountID: raw.mount_id
        )
    }
}
