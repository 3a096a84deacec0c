import CLinux

/// The container's root as a descriptor: every path of the plan or of the image is resolved below it, so that no symbolic link, `..` or
/// magic link leads to the host (attacks 5, 7–10).
struct ContainerRoot {
    let fd: Int32

    private static let below = UInt64(LNT_RESOLVE_IN_ROOT) | UInt64(LNT_RESOLVE_NO_MAGICLINKS)

    enum Creation { case never, directory(mode: UInt32), file(mode: UInt32) }

    /// Opens what is at the path; the result of the call, not a failure.
    func open(_ path: Text, flags: Int32, refusesSymlinks: Bool = false) -> Int32 {
        lnt_openat2(fd, path, UInt64(UInt32(flags)), 0, Self.below | (refusesSymlinks ? UInt64(LNT_RESOLVE_NO_SYMLINKS) : 0))
    }

    /// A descriptor (O_PATH) of a mount target, created with its parents when missing and asked for.
    func target(_ path: Text, create: Creation = .never, refusesSymlinks: Bool = false) throws(Failure) -> Int32 {
        let result = open(path, flags: Int32(LNT_O_PATH), refusesSymlinks: refusesSymlinks)
        if result == -Int32(LNT_ENOENT) {
            switch create {
            case .never: break
            case .directory(let mode): return try make(path, mode: mode, file: false, refusesSymlinks: refusesSymlinks)
            case .file(let mode): return try make(path, mode: mode, file: true, refusesSymlinks: refusesSymlinks)
            }
        }
        return try check(result, "openat2", path)
    }

    /// The descriptor of the folder that holds the path's last component, and that component.
    func parent(_ path: Text) throws(Failure) -> (fd: Int32, name: Text) {
        var length = lnt_length(path)
        while length > 0, path[length - 1] != 0x2f { length -= 1 }
        var fd: Int32 = -1
        try withPrefix(path, length) { (prefix) throws(Failure) in fd = try target(prefix, create: .directory(mode: 0o755)) }
        return (fd, path + length)
    }

    /// Creates what is missing of a path, component by component. Each is made by name in an open folder, where a link is never followed.
    private func make(_ path: Text, mode: UInt32, file: Bool, refusesSymlinks: Bool) throws(Failure) -> Int32 {
        let length = lnt_length(path)
        var (parent, offset) = try deepest(path, length, refusesSymlinks: refusesSymlinks)
        while true {
            while offset < length, path[offset] == 0x2f { offset += 1 }
            let begin = offset
            while offset < length, path[offset] != 0x2f { offset += 1 }
            if begin == offset { return parent }
            var rest = offset
            while rest < length, path[rest] == 0x2f { rest += 1 }
            let isLast = rest == length
            let wantsFile = isLast && file
            var next: Int32 = -1
            defer {
                if next != parent {
                    _ = lnt_close(parent)
                    parent = next
                }
            }
            try withPrefix(path, offset) { (prefix) throws(Failure) in
                let flags = Int32(LNT_O_PATH) | (wantsFile ? 0 : Int32(LNT_O_DIRECTORY))
                next = open(prefix, flags: flags, refusesSymlinks: refusesSymlinks)
                guard next == -Int32(LNT_ENOENT) else {
                    try check(next, "openat2", path)
                    return
                }
                // The name alone, as a C string: it is the tail of the prefix.
                let name = prefix + begin
                let made: Int32
                if wantsFile {
                    let flags = Int32(LNT_O_CREAT) | Int32(LNT_O_EXCL) | Int32(LNT_O_NOFOLLOW) | Int32(LNT_O_WRONLY)
                    made = lnt_openat(parent, name, flags, mode_t(mode))
                    if made >= 0 { _ = lnt_close(made) }
                } else {
                    made = lnt_mkdirat(parent, name, mode_t(isLast ? mode : 0o755))
                }
                if made == -Int32(LNT_EEXIST) {
                    // Another container on the same folder was quicker; what is there now is looked up like anything that was there before.
                    next = try check(open(prefix, flags: flags, refusesSymlinks: refusesSymlinks), "openat2", path)
                    return
                }
                try check(made, wantsFile ? "create" : "mkdir", path)
                next = try check(lnt_openat(parent, name, flags | Int32(LNT_O_NOFOLLOW), 0), "open", path)
            }
            if isLast {
                let result = next
                _ = lnt_close(parent)
                parent = next
                return result
            }
        }
    }

    /// Where creation begins: at the folder of the last component, which is there as a rule, else at the root.
    private func deepest(_ path: Text, _ length: Int, refusesSymlinks: Bool) throws(Failure) -> (fd: Int32, offset: Int) {
        var last = length
        while last > 0, path[last - 1] == 0x2f { last -= 1 }
        while last > 0, path[last - 1] != 0x2f { last -= 1 }
        var folder: Int32 = -1
        if last > 1 {
            try withPrefix(path, last) { prefix in
                folder = open(prefix, flags: Int32(LNT_O_PATH) | Int32(LNT_O_DIRECTORY), refusesSymlinks: refusesSymlinks)
            }
        }
        if folder >= 0 { return (folder, last) }
        return (try check(open(literal("/"), flags: Int32(LNT_O_PATH)), "openat2", literal("/")), 0)
    }

    /// Calls with the first `length` bytes of a path as a C string (`/` when that is nothing).
    private func withPrefix(_ path: Text, _ length: Int, _ body: (Text) throws(Failure) -> Void) throws(Failure) {
        guard length < 4096 else { throw failure("openat2", errno: Int32(LNT_ENAMETOOLONG), path) }
        var outcome: Failure? = nil
        withUnsafeTemporaryAllocation(byteCount: length + 2, alignment: 1) { bytes in
            var buffer = TextBuffer(bytes.baseAddress!, capacity: bytes.count)
            buffer.append(UnsafeRawPointer(path), length)
            if length == 0 { buffer.append(0x2f) }
            let prefix = buffer.terminate()
            do throws(Failure) { try body(prefix) } catch { outcome = error }
        }
        if let outcome { throw outcome }
    }
}
