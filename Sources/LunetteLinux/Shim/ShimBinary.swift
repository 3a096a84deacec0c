internal import CLinux
internal import Glibc
package import LunetteSpec

/// Finds the `lunette-shim` that belongs to this program.
package enum ShimBinary {
    /// - Parameter configured: an explicit path; then `LUNETTE_SHIM`, beside the program, `../lib/lunette` (where scripts/dev/install puts it).
    /// - Throws: `not_found` with the places that were tried.
    package static func find(_ configured: String?) throws(LunetteError) -> String {
        var candidates: [String] = []
        if let configured {
            candidates = [configured]
        } else if let named = Environment["LUNETTE_SHIM"] {
            candidates = [named]
        } else if let program = try? readLink("/proc/self/exe") {
            let folder = program.prefix(upTo: program.lastIndex(of: "/") ?? program.startIndex)
            candidates = ["\(folder)/lunette-shim", "\(folder)/../lib/lunette/lunette-shim"]
        }
        for candidate in candidates {
            var status = lnt_host_stat()
            if lnt_host_stat(-100, candidate, 0, &status) == 0, status.mode & 0o170000 == 0o100000, status.mode & 0o111 != 0 {
                return candidate
            }
        }
        throw LunetteError(
            .notFound, "find lunette-shim: not at \(candidates.joined(separator: ", "))",
            hint: "install it beside lunette, or set LUNETTE_SHIM")
    }

    /// A sealed copy: what runs can't be overwritten from a container. Costs a third of a millisecond, so it is for who starts many.
    package static func seal(_ path: String) throws(SystemCallError) -> FileDescriptor {
        let file = FileDescriptor(owning: try check(lnt_host_openat(-100, path, 0, 0), "open", path))
        return try SealedMemory.copy(file, name: "lunette-shim")
    }

    /// The binary itself behind a detached read-only mount of its own: opened for writing through `/proc/PID/exe` it answers EROFS, and nobody
    /// can make that mount writable again once the descriptor is closed: then it belongs to no mount namespace.
    ///
    /// Without privilege, or before Linux 5.12, it is a sealed copy instead. See docs/decisions/0012-the-shim-behind-a-read-only-mount.md.
    package static func openReadOnly(_ path: String) throws(SystemCallError) -> FileDescriptor {
        let cloneTree: UInt32 = 1
        let closeOnExec: UInt32 = 0o2000000
        let emptyPath: UInt32 = 0x1000
        let readOnlyAttribute: UInt64 = 0x1
        let opened = lnt_open_tree(-100, path, cloneTree | closeOnExec)
        guard opened >= 0 else { return try seal(path) }
        let tree = FileDescriptor(owning: opened)
        guard lnt_mount_setattr(tree.number, "", emptyPath, readOnlyAttribute, 0, 0, -1) == 0 else { return try seal(path) }
        return tree
    }
}
