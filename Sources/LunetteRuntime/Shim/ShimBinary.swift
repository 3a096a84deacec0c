internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Finds the `lunette-shim` that belongs to this program.
enum ShimBinary {
    /// - Parameter configured: an explicit path; then `LUNETTE_SHIM`, beside the program, `../lib/lunette` (where scripts/dev/install puts it).
    /// - Throws: `not_found` with the places that were tried.
    static func find(_ configured: String?) throws(LunetteError) -> String {
        var candidates: [String] = []
        if let configured {
            candidates = [configured]
        } else if let environment = getenv("LUNETTE_SHIM") {
            candidates = [String(cString: environment)]
        } else if let program = programPath() {
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

    private static func programPath() -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = lnt_host_readlinkat(-100, "/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func seal(_ path: String) throws(SystemCallError) -> FileDescriptor {
        let file = FileDescriptor(owning: try check(lnt_host_openat(-100, path, 0, 0), "open", path))
        return try SealedMemory.copy(file, name: "lunette-shim")
    }
}
