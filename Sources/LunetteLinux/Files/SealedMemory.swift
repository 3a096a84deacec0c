internal import CLinux

/// Makes anonymous files that nobody can change any more.
package enum SealedMemory {
    /// - Returns: a sealed memfd with `bytes`, its offset at the start.
    package static func make(_ name: String, _ bytes: [UInt8]) throws(SystemCallError) -> FileDescriptor {
        let file = FileDescriptor(owning: try check(lnt_host_memfd(name), "memfd_create", name))
        try file.writeAll(bytes)
        return try seal(file, name)
    }

    /// A sealed copy of a file: executed from it, a container that reaches `/proc/self/exe` has nothing to overwrite (CVE-2019-5736).
    package static func copy(_ source: FileDescriptor, name: String) throws(SystemCallError) -> FileDescriptor {
        let file = FileDescriptor(owning: try check(lnt_host_memfd(name), "memfd_create", name))
        while true {
            let part = try source.read(upTo: 1 << 18)
            if part.isEmpty { break }
            try file.writeAll(part)
        }
        return try seal(file, name)
    }

    private static func seal(_ file: FileDescriptor, _ name: String) throws(SystemCallError) -> FileDescriptor {
        try check(lnt_host_seal(file.number), "seal", name)
        try file.seek(to: 0)
        return file
    }
}
