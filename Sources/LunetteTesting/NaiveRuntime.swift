public import Foundation
import Glibc

/// Parts of a runtime's work, done the way that was once thought to be enough: what an attack leads astray where nothing stands against it.
/// Everything happens in folders of the caller's and in namespaces that end with the call.
public enum NaiveRuntime {
    /// The id that C makes of a user: what isn't a number is 0, what is too wide is cut.
    public static func id(_ text: String) -> UInt32 { UInt32(truncatingIfNeeded: strtoul(text, nil, 0)) }

    /// Leaves `folder` open as descriptor 7, changes its root, mounts proc there and enters the folder by its number (CVE-2024-21626).
    /// - Returns: what the file of this name held, read from "inside".
    public static func enterLeaked(_ folder: String, reading name: String, root: String) async throws -> Data {
        let line = """
            mkdir -p '\(root)/proc'; exec 7<'\(folder)'
            unshare -m --propagation private sh -c "mount -t proc proc '\(root)/proc' && exec chroot '\(root)' /bin/sh -c 'cd /proc/self/fd/7 && cat \(name)'"
            """
        return try await Command.shell(line).run(expecting: nil).stdout
    }

    /// Mounts from a mount namespace that shares its changes, within another one that keeps the machine's table out of it.
    /// - Returns: whether the mount of the inner namespace shows in the outer one.
    public static func mountShowsOutside() async throws -> Bool {
        let place = "/tmp/lunette-propagation-\(UUID().uuidString.prefix(8))"
        let line = """
            mkdir \(place) && mount -t tmpfs none \(place) && mount --make-shared \(place) && mkdir \(place)/inner
            unshare -m --propagation unchanged mount -t tmpfs none \(place)/inner
            grep -c ' \(place)/inner ' /proc/self/mountinfo
            """
        let seen = try await Command("unshare", "-m", "--propagation", "private", "sh", "-c", line).run(expecting: nil)
        rmdir(place)
        return seen.text == "1"
    }

    /// Opens a file by its name, whatever that leads to, as a runtime does with what it takes for /dev/null; writes nothing.
    /// - Returns: whether the file that was opened for writing is the one at `target`.
    public static func opens(_ path: String, leadingTo target: String) -> Bool {
        let fd = open(path, O_WRONLY | O_CLOEXEC)
        guard fd >= 0 else { return false }
        defer { close(fd) }
        var (opened, meant) = (stat(), stat())
        return fstat(fd, &opened) == 0 && stat(target, &meant) == 0 && opened.st_ino == meant.st_ino && opened.st_dev == meant.st_dev
    }

    /// Unpacks a tar with tar(1), which takes names and links as they come and refuses little.
    /// - Parameter folder: it is unpacked into `root` below it, which is made.
    public static func unpack(_ tar: [UInt8], below folder: String) async throws {
        try FileManager.default.createDirectory(atPath: "\(folder)/root", withIntermediateDirectories: true)
        // An archive that tar complains about is unpacked as far as it got.
        try await Command(["tar", "-xPf", "-", "-C", "\(folder)/root"], input: Data(tar)).run(expecting: nil)
    }

    /// Whether a process goes on when the one that started it is killed: it says so, having seen its parent gone.
    public static func childOutlivesItsParent() async throws -> Bool {
        let line = "(while kill -0 $$ 2>/dev/null; do sleep 0.02; done; echo outlived) & echo up; wait"
        let parent = try Command("bash", "-c", line).start()
        try await parent.says("up")
        parent.signal(SIGKILL)
        _ = try await parent.wait()
        do { try await eventually("the child's word", within: .seconds(5)) { parent.text.contains("outlived") } } catch { return false }
        return true
    }
}
