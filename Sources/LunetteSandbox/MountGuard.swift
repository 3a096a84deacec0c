internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Watches the mounts that hold a sandbox's rules inside folders of the host.
///
/// The program can't change them. But whoever outside replaces or removes what one lies on (an editor that saves, `git checkout`) takes the mount
/// away with it: rename(2), unlink(2) and rmdir(2) detach what other mount namespaces have there. The kernel tells of a change at once
/// (proc_pid_mounts(5), POLLPRI); a rule that doesn't hold any more ends the sandbox.
struct MountGuard {
    let descriptor: FileDescriptor
    private let paths: Set<String>

    /// - Parameter pid: a process of the sandbox, as it is seen from here.
    /// - Returns: nil when there is nothing to watch, or nobody any more.
    /// - Throws: when they can't be watched though somebody is there.
    init?(_ pid: Int32, _ paths: [String]) throws(SystemCallError) {
        guard !paths.isEmpty else { return nil }
        let path = "/proc/\(pid)/mountinfo"
        let opened = lnt_host_openat(-100, path, O_RDONLY | O_CLOEXEC, 0)
        // EINVAL is what a process that has just ended answers: it has no mounts any more.
        if [ENOENT, ESRCH, EINVAL].contains(-opened) { return nil }
        descriptor = FileDescriptor(owning: try check(opened, "open", path))
        self.paths = Set(paths)
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
        return missing.min()
    }

    /// A path as the kernel escapes it: blanks and backslashes as three octal digits.
    private static func plain(_ field: ArraySlice<UInt8>) -> String {
        guard field.contains(UInt8(ascii: "\\")) else { return String(decoding: field, as: UTF8.self) }
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
        return String(decoding: bytes, as: UTF8.self)
    }
}
