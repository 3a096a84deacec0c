internal import CLinux

/// Says whose a cgroup is, on the cgroup itself: one that a container has left may be somebody else's by the time the container is taken apart.
///
/// An extended attribute of its deciding directory, which the kernel keeps as long as that is there (xattr(7)). `trusted.` where we may, which only
/// root of the machine can write; else `user.`, for whoever may write to the directory.
package struct CgroupMark: Sendable, Equatable {
    /// One container's, and no other's.
    package var owner: String
    /// Whether all directories were made for it: whoever takes them over takes them away.
    package var isMade: Bool

    /// One to put on a cgroup (`ContainerCgroup.put`).
    package init(owner: String, isMade: Bool) {
        self.owner = owner
        self.isMade = isMade
    }

    /// An owner that nobody else has.
    package static func newOwner() -> String {
        let (high, low) = (UInt64.random(in: 0...UInt64.max), UInt64.random(in: 0...UInt64.max))
        return String(high, radix: 16) + String(low, radix: 16)
    }

    fileprivate static let names = ["trusted.lunette.owner", "user.lunette.owner"]

    fileprivate init?(_ bytes: ArraySlice<UInt8>) {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard words.count == 2 else { return nil }
        self.init(owner: String(words[0]), isMade: words[1] == "made")
    }

    fileprivate var bytes: [UInt8] { Array("\(owner) \(isMade ? "made" : "found")".utf8) }
}

extension ContainerCgroup {
    /// The mark that it bears; nil for none, and where the kernel has none.
    package var mark: CgroupMark? {
        guard let folder = decidingFolder else { return nil }
        var buffer = [UInt8](repeating: 0, count: 128)
        for name in CgroupMark.names {
            let size = lnt_host_fgetxattr(folder.number, name, &buffer, buffer.count)
            if size > 0 { return CgroupMark(buffer[..<size]) }
        }
        return nil
    }

    /// Puts a mark on it, in the place of another's.
    /// - Returns: false where the kernel or our rights allow none.
    package func put(_ mark: CgroupMark) -> Bool {
        guard let folder = decidingFolder else { return false }
        return CgroupMark.names.contains { lnt_host_fsetxattr(folder.number, $0, mark.bytes, mark.bytes.count) == 0 }
    }

    /// Whether a container may take what is in it for its own.
    /// - Parameter owner: of the mark that it put there; nil where none could be put.
    package func isOwned(by owner: String?) -> Bool {
        guard let owner else { return true }
        if let mark { return mark.owner == owner }
        // Made anew by somebody without marks; one that is gone harms nobody.
        return !(deciding?.exists ?? false)
    }

    /// The directory that decides whose the cgroup is: it bears the mark, and has the lock.
    var deciding: CgroupFile? {
        version == .v2
            ? directories.first
            : directories.first { $0.controllers.contains("devices") || $0.controllers.contains("memory") } ?? directories.first
    }

    /// Keeps others who ask here out, as long as the lock is held.
    ///
    /// Taken on a file that only its owner may open: on the directory, which is everybody's to read, any user could hold it for ever.
    /// - Parameter seconds: how long to wait for who has it.
    /// - Returns: nil when somebody else has it, or the directory is gone.
    package func lock(patience seconds: Double = 0) throws(SystemCallError) -> FileLock? {
        let deadline = SystemClock.monotonic + seconds
        while let folder = decidingFolder {
            let lock = try FileLock.take(lockFile(in: folder), label: deciding?.path ?? "/")
            // One that was removed meanwhile locks nothing.
            if let lock, isStill(folder) { return lock }
            lock?.release()
            guard SystemClock.monotonic < deadline else { return nil }
            SystemClock.block(seconds: 0.01)
        }
        return nil
    }

    private func lockFile(in folder: FileDescriptor) -> FileDescriptor {
        let writeOnly: Int32 = 1
        for name in ["cgroup.kill", "devices.allow", "memory.force_empty"] {
            let opened = lnt_host_openat(folder.number, name, writeOnly, 0)
            if opened >= 0 { return FileDescriptor(owning: opened) }
        }
        return folder
    }

    private func isStill(_ folder: FileDescriptor) -> Bool {
        var (held, there) = (lnt_host_stat(), lnt_host_stat())
        let emptyPath: Int32 = 0x1000
        return lnt_host_stat(folder.number, "", emptyPath, &held) == 0 && lnt_host_stat(-100, deciding?.path ?? "", 0, &there) == 0
            && held.device == there.device && held.inode == there.inode
    }

    private var decidingFolder: FileDescriptor? {
        // What can't be opened bears no mark that we could read.
        deciding.flatMap { try? Directory($0.path).descriptor }
    }
}
