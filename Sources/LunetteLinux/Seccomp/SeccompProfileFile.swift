package import LunetteSpec

extension ContainerSpec {
    /// Replaces a seccomp profile's path by its content, and refuses a profile that can't be used; anything else stays as it is. Blocks.
    ///
    /// Done once, when the container is created: what the file says later doesn't matter.
    /// - Throws: `not_found`, `denied` or `io` for a file that can't be read; `invalid_argument` for one that is no profile.
    package func withSeccompProfileRead() throws(LunetteError) -> ContainerSpec {
        var result = self
        var notation = Notation.lua
        if case .path(let path) = security.seccomp {
            let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "/"
            let name = String(path.dropFirst(folder.count))
            let bytes: [UInt8]
            do throws(SystemCallError) {
                bytes = try Directory(folder).open(name, [.nonblocking], scope: []).readAll(limit: 1 << 20)
            } catch {
                var failure = error.lunette
                failure.path = "security.seccomp"
                throw failure
            }
            notation = .json
            result.security.seccomp = .profile(try JSON.decode(bytes, source: displayable(path)))
        }
        if case .profile(let value) = result.security.seccomp {
            _ = try SeccompCompiler.compile(
                try SeccompProfile(value, path: "security.seccomp", notation: notation, dialect: .engine(security.capabilities)),
                path: "security.seccomp")
        }
        return result
    }
}
