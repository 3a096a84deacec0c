internal import Glibc
package import LunetteLinux

public enum DeepTree {
    /// Where tens of thousands of folders go in a second: some disks are told of each block that a removal frees (ext4's `discard`).
    public static let fastPlace = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
}

extension Directory {
    /// Makes folders within folders, each called `d`, as a container can: no path reaches the last.
    /// - Parameter file: the name of an empty file in the last.
    package func makeDeepTree(_ name: String, levels: Int, file: String? = nil) throws {
        var folder = try makeDirectory(name, mode: 0o755).descriptor
        for level in 1..<levels {
            guard mkdirat(folder.number, "d", 0o755) == 0 else { throw SystemCallError("make level", "\(level)", errno: errno) }
            let next = openat(folder.number, "d", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard next >= 0 else { throw SystemCallError("open level", "\(level)", errno: errno) }
            folder = FileDescriptor(owning: next)
        }
        guard let file else { return }
        let made = openat(folder.number, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard made >= 0 else { throw SystemCallError("make", file, errno: errno) }
        close(made)
    }

    /// How deep folders called `d` are within each other.
    package func levels(of name: String) throws -> Int {
        var folder = try openDirectory(name).descriptor
        var count = 1
        while true {
            let next = openat(folder.number, "d", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if next < 0, errno == ENOENT { return count }
            guard next >= 0 else { throw SystemCallError("open level", "\(count)", errno: errno) }
            folder = FileDescriptor(owning: next)
            count += 1
        }
    }
}

/// Removes a tree of any depth, which Foundation doesn't.
public func removeTree(at path: String) throws {
    let slash = path.lastIndex(of: "/")!
    try Directory(String(path[..<slash])).removeTree(String(path[path.index(after: slash)...]))
}
