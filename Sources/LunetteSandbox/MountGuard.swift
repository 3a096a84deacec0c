internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Watches the mounts that hold a sandbox's rules inside folders of the host.
///
/// The program can't change them. But whoever outside replaces or removes what one lies on (an editor that saves, `git checkout`) takes the mount
/// away with it: rename(2) over it, unlink(2) and rmdir(2) detach what other mount namespaces have there, which the kernel tells at once
/// (proc_pid_mounts(5), POLLPRI). Whoever renames it, or a folder on the way to it, takes the mount along to the new name, of which nobody is
/// told: the files themselves are watched for that. Either way the list of mounts says what holds, and a rule that doesn't ends the sandbox.
struct MountGuard {
    let descriptor: FileDescriptor
    /// Nil where the user's limit of them is used up.
    let renames: RenameWatch?
    /// By bytes: of characters, two names may be one.
    private let paths: Set<[UInt8]>
    /// Seconds after which the mounts are looked at without anything having been heard: a file that can't be read can't be watched, and renames on
    /// another machine (NFS) are told to nobody.
    static let interval = 1.0

    /// To be looked at once it is there: what changed before shows in the list.
    /// - Parameters:
    ///   - pid: a process of the sandbox, as it is seen from here.
    ///   - paths: where the mounts lie.
    ///   - ways: folders on the way to them.
    /// - Returns: nil when there is nothing to watch, or nobody any more.
    /// - Throws: when they can't be watched though somebody is there.
    init?(_ pid: Int32, _ paths: [String], ways: [String]) throws(SystemCallError) {
        guard !paths.isEmpty else { return nil }
        let path = "/proc/\(pid)/mountinfo"
        let opened = lnt_host_openat(-100, path, O_RDONLY | O_CLOEXEC, 0)
        // EINVAL is what a process that has just ended answers: it has no mounts any more.
        if [ENOENT, ESRCH, EINVAL].contains(-opened) { return nil }
        descriptor = FileDescriptor(owning: try check(opened, "open", path))
        self.paths = Set(paths.map { Array($0.utf8) })
        renames = RenameWatch(paths + ways)
    }

    /// - Returns: where a mount has gone; nil as long as all are there, and when the sandbox has ended.
    /// - Throws: what reading answers: nobody knows then whether the rules hold.
    func lost() throws(SystemCallError) -> String? {
        lseek(descriptor.number, 0, SEEK_SET)
        let bytes = try descriptor.readAll(limit: 1 << 24)
        // Its namespace is empty at the end.
        if bytes.isEmpty { return nil }
        var missing = paths
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
            if fields.count > 4 { missing.remove(Self.plain(fields[4])) }
        }
        return missing.map { String(decoding: $0, as: UTF8.self) }.min()
    }

    /// A path as the kernel escapes it: blanks and backslashes as three octal digits.
    private static func plain(_ field: ArraySlice<UInt8>) -> [UInt8] {
        guard field.contains(UInt8(ascii: "\\")) else { return Array(field) }
        var (bytes, rest) = ([UInt8](), field)
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            guard byte == UInt8(ascii: "\\"), digits.count == 3, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8) else {
                bytes.append(byte)
                continue
            }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        return bytes
    }
}
