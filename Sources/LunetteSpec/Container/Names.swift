/// The rules for names and ids that people or clients choose. What passes is safe in a path, a cgroup's name and a terminal (attack 16).
public enum Names {
    /// A container's, volume's or plugin's name: a letter or digit, then letters, digits, `_`, `.`, `-`; at most 128.
    ///
    /// Docker's rule with an end to the length. `..` and anything with `/`, NUL or a leading `-` can't match.
    /// - Throws: `invalid_argument` that quotes the name.
    public static func validate(_ name: String, kind: String, path: String? = nil) throws(LunetteError) {
        let bytes = name.utf8
        let fits =
            (1...128).contains(bytes.count) && isAlphanumeric(bytes.first!)
            && bytes.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) }
        guard fits else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(name, limit: 64))\" can't name a \(kind)", path: path,
                hint: "use a letter or digit, then letters, digits, \"_\", \".\" or \"-\", 128 at most"
            )
        }
        // Sixty-four hex digits are an id: such a name could stand for somebody else's container.
        guard !Digest.isHex(name) else {
            throw LunetteError(.invalidArgument, "\"\(name)\" looks like an id, which can't name a \(kind)", path: path)
        }
    }

    /// Our own ids: 64 lower-case hex digits.
    /// - Throws: `invalid_argument`.
    public static func validateID(_ id: String) throws(LunetteError) {
        guard Digest.isHex(id) else { throw LunetteError(.invalidArgument, "\"\(displayable(id, limit: 80))\" is not a container id") }
    }

    /// A label's key: printable, 1–256 bytes, no `=`.
    static func validateLabel(_ key: String, _ value: String, path: String) throws(LunetteError) {
        guard (1...256).contains(key.utf8.count), !key.utf8.contains(UInt8(ascii: "=")), displayable(key, limit: 256) == key else {
            throw LunetteError(.invalidArgument, "\"\(displayable(key, limit: 64))\" can't be a label's name", path: path)
        }
        guard value.utf8.count <= 65536, !value.utf8.contains(0) else {
            throw LunetteError(.invalidArgument, "the label's value has a NUL or more than 64 KiB", path: path)
        }
    }

    /// An environment variable: a name without `=` and NUL, a value without NUL; together within the kernel's 128 KiB for one string.
    static func validateEnvironment(_ name: String, _ value: String, path: String) throws(LunetteError) {
        guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "=")), !name.utf8.contains(0) else {
            throw LunetteError(.invalidArgument, "\"\(displayable(name, limit: 64))\" can't name an environment variable", path: path)
        }
        guard !value.utf8.contains(0) else {
            throw LunetteError(.invalidArgument, "has a NUL byte, which no environment can hold", path: path)
        }
        guard name.utf8.count + value.utf8.count + 2 <= 131_072 else {
            throw LunetteError(.invalidArgument, "is longer than the 128 KiB that Linux takes for one variable", path: path)
        }
    }

    /// A word that names a variable to hand on (`-e NAME`). Nearly anything is a name to the kernel; a blank in it is a slip of quoting.
    /// - Throws: `invalid_argument` that quotes the word.
    public static func validateVariable(_ name: String) throws(LunetteError) {
        guard !name.isEmpty, !name.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f || $0 == UInt8(ascii: "=") }) else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(name, limit: 64))\" is neither NAME=VALUE nor the name of a variable",
                hint: "NAME=VALUE sets one, NAME alone takes it from here")
        }
    }

    /// A program's arguments: no NUL, each within 128 KiB, all within 1 MiB (Linux takes a quarter of the stack limit, 2 MiB as a rule).
    static func validateArguments(_ arguments: [String], path: String, firstIndex: Int = 1) throws(LunetteError) {
        var total = 0
        for (index, argument) in arguments.enumerated() {
            let place = "\(path)[\(index + firstIndex)]"
            guard !argument.utf8.contains(0) else {
                throw LunetteError(.invalidArgument, "has a NUL byte, which no argument can hold", path: place)
            }
            guard argument.utf8.count < 131_072 else {
                throw LunetteError(.invalidArgument, "is longer than the 128 KiB that Linux takes for one argument", path: place)
            }
            total += argument.utf8.count + 9
        }
        guard total <= 1 << 20 else { throw LunetteError(.invalidArgument, "the arguments are longer than 1 MiB together", path: path) }
    }

    /// A host name: labels of letters, digits and `-`, 64 bytes at most (the kernel's `__NEW_UTS_LEN`).
    package static func isHostname(_ name: String) -> Bool {
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        return (1...64).contains(name.utf8.count)
            && labels.allSatisfy { label in
                !label.isEmpty && label.first != "-" && label.last != "-"
                    && label.utf8.allSatisfy { isAlphanumeric($0) || "-_".utf8.contains($0) }
            }
    }

    static func validateHostname(_ name: String, path: String) throws(LunetteError) {
        guard isHostname(name) else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(name, limit: 80))\" is not a host name", path: path,
                hint: "letters, digits, \"-\" and \".\", 64 at most")
        }
    }

    /// Whatever the kernel takes for a host or domain name: 64 bytes at most (`__NEW_UTS_LEN`), none of them NUL.
    static func validateKernelName(_ name: String, path: String) throws(LunetteError) {
        guard name.utf8.count <= 64, !name.utf8.contains(0) else {
            throw LunetteError(.invalidArgument, "\"\(displayable(name, limit: 80))\" is longer than 64 bytes or has a NUL", path: path)
        }
    }

    static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }
}

/// Normalises paths by their text alone; what they point to is the kernel's to say, below a root fd.
public enum ContainerPath {
    /// Makes an absolute path canonical: no `.`, no empty parts, no trailing slash.
    ///
    /// `..` is refused instead of resolved: after a symlink it means something else than its text.
    /// - Throws: `invalid_argument`.
    public static func normalise(_ text: String, path: String? = nil) throws(LunetteError) -> String {
        func failure(_ why: String) -> LunetteError {
            LunetteError(.invalidArgument, "\"\(displayable(text, limit: 120))\" \(why)", path: path)
        }
        guard text.utf8.first == UInt8(ascii: "/") else { throw failure("is not an absolute path") }
        guard !text.utf8.contains(0) else { throw failure("has a NUL byte") }
        guard text.utf8.count < 4096 else { throw failure("is longer than Linux takes for a path") }
        var parts: [Substring] = []
        for part in text.pathParts where part != "." {
            guard part != ".." else { throw failure("must not contain \"..\"") }
            guard part.utf8.count <= 255 else { throw failure("has a part longer than 255 bytes") }
            parts.append(part)
        }
        return "/" + parts.joined(separator: "/")
    }

    /// As `normalise`, and refuses folders that lead out of the container by a process's open files (CVE-2024-21626).
    ///
    /// Only the text is judged here; the shim looks at where the folder really is.
    package static func normaliseWorkingDirectory(_ text: String, path: String? = nil) throws(LunetteError) -> String {
        let result = try normalise(text, path: path)
        let parts = result.pathParts
        if parts.first == "proc", parts.contains(where: { ["fd", "cwd", "root", "map_files", "task"].contains($0) }) {
            throw LunetteError(
                .invalidArgument,
                "\"\(displayable(text, limit: 120))\" can't be a working directory: it leads through a process's open files", path: path)
        }
        return result
    }

    /// Says whether `path` is `folder` or lies below it; both normalised.
    public static func isWithin(_ path: String, _ folder: String) -> Bool {
        guard folder != "/" else { return true }
        // By bytes: a combining mark would hide the slash before it.
        guard path.utf8.starts(with: folder.utf8) else { return false }
        let rest = path.utf8.dropFirst(folder.utf8.count)
        return rest.isEmpty || rest.first == UInt8(ascii: "/")
    }
}
