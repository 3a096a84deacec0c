import CLinux

/// Copies what a mount's target holds into the file system that will hide it (`tmpcopyup`): folders, files, links, with owners and modes.
///
/// Both trees are open folders; nothing is ever reached by a path, so a link among what is copied leads nowhere. Devices, pipes and sockets
/// stay behind.
struct CopyUp {
    private static let buffer = 4096
    private static let deepest = 64

    static func run(from: Int32, to: Int32, _ path: Text) throws(Failure) {
        var status = lnt_file_status()
        try check(lnt_fstat(from, &status), "fstat", path)
        try check(lnt_fchownat(to, literal("."), status.uid, status.gid, 0), "fchownat", path)
        try copy(from, to, path, depth: 0)
    }

    private static func copy(_ from: Int32, _ to: Int32, _ path: Text, depth: Int) throws(Failure) {
        guard depth < deepest else { throw failure("copy", errno: Int32(LNT_ELOOP), path) }
        guard let memory = lnt_map_anonymous(buffer + 4096 + 256) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        defer { _ = lnt_unmap(memory, buffer + 4096 + 256) }
        let name = (memory + buffer).assumingMemoryBound(to: CChar.self)
        let link = (memory + buffer + 256).assumingMemoryBound(to: CChar.self)
        var (filled, at) = (0, 0)
        while try check(lnt_next_entry(from, memory, buffer, &filled, &at, name), "getdents", path) > 0 {
            var status = lnt_file_status()
            try check(lnt_fstatat(from, name, Int32(LNT_AT_SYMLINK_NOFOLLOW), &status), "fstatat", path)
            switch status.mode & UInt32(LNT_S_IFMT) {
            case UInt32(LNT_S_IFDIR):
                try check(lnt_mkdirat(to, name, 0o700), "mkdirat", path)
                let inner = try check(lnt_openat(from, name, folder, 0), "openat", path)
                defer { _ = lnt_close(inner) }
                let target = try check(lnt_openat(to, name, folder, 0), "openat", path)
                defer { _ = lnt_close(target) }
                try copy(inner, target, path, depth: depth + 1)
            case UInt32(LNT_S_IFREG):
                // Whoever else writes there may have put something else in its place: a pipe would keep us waiting, a device be opened.
                let source = try check(lnt_openat(from, name, file, 0), "openat", path)
                defer { _ = lnt_close(source) }
                try check(lnt_fstat(source, &status), "fstat", path)
                guard status.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFREG) else { continue }
                let flags = Int32(LNT_O_WRONLY) | Int32(LNT_O_CREAT) | Int32(LNT_O_EXCL) | Int32(LNT_O_NOFOLLOW)
                let target = try check(lnt_openat(to, name, flags, 0o600), "openat", path)
                defer { _ = lnt_close(target) }
                while true {
                    let count = lnt_copy_bytes(source, target, 1 << 20)
                    if count < 0 { throw failure("sendfile", errno: Int32(-count), path) }
                    if count == 0 { break }
                }
            case linkKind:
                let length = lnt_readlinkat(from, name, link, 4096)
                if length < 0 { throw failure("readlinkat", errno: Int32(-length), path) }
                try check(lnt_symlinkat(link, to, name), "symlinkat", path)
            default: continue
            }
            try check(lnt_fchownat(to, name, status.uid, status.gid, Int32(LNT_AT_SYMLINK_NOFOLLOW)), "fchownat", path)
            // After the owner: a change of owner takes set-id bits away.
            if status.mode & UInt32(LNT_S_IFMT) != linkKind {
                try check(lnt_fchmodat(to, name, mode_t(status.mode & 0o7777)), "fchmodat", path)
            }
        }
    }

    private static let linkKind: UInt32 = 0o120000
    private static let file = Int32(LNT_O_RDONLY) | Int32(LNT_O_NOFOLLOW) | Int32(LNT_O_NONBLOCK) | Int32(LNT_O_NOCTTY)
    private static let folder = Int32(LNT_O_RDONLY) | Int32(LNT_O_DIRECTORY) | Int32(LNT_O_NOFOLLOW)
}
