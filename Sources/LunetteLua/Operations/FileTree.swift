internal import CLuaBridge
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Files for `fs.*`. With roots, nothing outside them is reached: each component is opened by descriptor and no symlink is followed.
enum FileTree {
    /// A folder held open and a name in it, or `AT_FDCWD` and a whole path.
    struct Place: ~Copyable {
        let folder: Int32
        let name: String
        let path: String
        let followsLinks: Bool
        deinit { if folder != AT_FDCWD { close(folder) } }
    }

    static func locate(_ path: String, roots: [String]?) throws(LunetteError) -> Place {
        guard let roots else { return Place(folder: AT_FDCWD, name: path, path: path, followsLinks: true) }
        let parts = path.pathParts.filter { $0 != "." }
        let denied = LunetteError(
            .denied, "\(path) is outside of what this code may touch", target: path,
            hint: "its permissions name: " + roots.sorted().joined(separator: ", "))
        guard !parts.contains("..") else { throw denied }
        for root in roots {
            let rootParts = root.pathParts.filter { $0 != "." }
            guard parts.starts(with: rootParts) else { continue }
            let below = parts.dropFirst(rootParts.count)
            var folder = Glibc.open(root, lnt_lua_open_path_flag() | O_DIRECTORY | O_CLOEXEC)
            if folder < 0 { throw .system("open \(root)", errno, path: nil) }
            for part in below.dropLast() {
                let next = openat(folder, String(part), lnt_lua_open_path_flag() | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                let number = errno
                close(folder)
                if next < 0 { throw .system("open \(path)", number, path: nil) }
                folder = next
            }
            return Place(folder: folder, name: below.last.map(String.init) ?? ".", path: path, followsLinks: false)
        }
        throw denied
    }

    private static func open(_ place: borrowing Place, _ flags: Int32, _ mode: mode_t = 0) throws(LunetteError) -> Int32 {
        let file = openat(place.folder, place.name, flags | O_CLOEXEC | (place.followsLinks ? 0 : O_NOFOLLOW), mode)
        if file < 0 { throw .system("open \(place.path)", errno, path: nil) }
        return file
    }

    static func read(_ path: String, roots: [String]?) throws(LunetteError) -> [UInt8] {
        let place = try locate(path, roots: roots)
        let file = try open(place, O_RDONLY | (roots == nil ? 0 : O_NONBLOCK))
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system("read \(path)", errno, path: nil)
            }
            bytes += buffer[0..<count]
            if bytes.count > 256 << 20 { throw LunetteError(.resourceExhausted, "read \(path): more than 256 MiB") }
        }
    }

    static func write(
        _ path: String, _ bytes: [UInt8], isAppending: Bool, mode: Int64, roots: [String]?
    ) throws(LunetteError) {
        let place = try locate(path, roots: roots)
        let file = try open(place, O_WRONLY | O_CREAT | (isAppending ? O_APPEND : O_TRUNC), mode_t(mode))
        defer { close(file) }
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + offset, bytes.count - offset) }
            if written < 0 {
                if errno == EINTR { continue }
                throw .system("write \(path)", errno, path: nil)
            }
            offset += written
        }
    }

    static func exists(_ path: String, roots: [String]?) throws(LunetteError) -> Bool {
        do throws(LunetteError) {
            let place = try locate(path, roots: roots)
            var status = stat()
            if fstatat(place.folder, place.name, &status, place.followsLinks ? 0 : AT_SYMLINK_NOFOLLOW) == 0 { return true }
            if errno == ENOENT || errno == ENOTDIR { return false }
            throw .system("look at \(path)", errno, path: nil)
        } catch  where error.code == .notFound {
            return false
        }
    }

    static func list(_ path: String, roots: [String]?) throws(LunetteError) -> [String] {
        let place = try locate(path, roots: roots)
        return try names(in: try open(place, O_RDONLY | O_DIRECTORY), path).sorted()
    }

    /// The names in a folder; takes the descriptor over.
    private static func names(in folder: Int32, _ path: String) throws(LunetteError) -> [String] {
        guard let stream = fdopendir(folder) else {
            let number = errno
            close(folder)
            throw .system("list \(path)", number, path: nil)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    static func describe(_ path: String, roots: [String]?) throws(LunetteError) -> Value {
        let place = try locate(path, roots: roots)
        var status = stat()
        if fstatat(place.folder, place.name, &status, AT_SYMLINK_NOFOLLOW) != 0 { throw .system("look at \(path)", errno, path: nil) }
        let kind =
            switch status.st_mode & S_IFMT {
            case S_IFDIR: "directory"
            case S_IFREG: "file"
            case S_IFLNK: "symlink"
            default: "special"
            }
        return [
            "type": .string(kind), "size": .int(Int64(status.st_size)), "mode": .int(Int64(status.st_mode & 0o7777)),
            "uid": .int(Int64(status.st_uid)), "gid": .int(Int64(status.st_gid)),
            "modified_at": .double(Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9),
        ]
    }

    static func makeDirectory(
        _ path: String, mode: Int64, makesParents: Bool, owner: (Int64, Int64)?, roots: [String]?
    ) throws(LunetteError) {
        if makesParents, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            let parent = String(path[..<slash])
            let isRoot = roots?.contains(parent) ?? false
            if !isRoot, !(try exists(parent, roots: roots)) {
                try makeDirectory(parent, mode: mode, makesParents: true, owner: owner, roots: roots)
            }
        }
        let place = try locate(path, roots: roots)
        if mkdirat(place.folder, place.name, mode_t(mode)) != 0 {
            if errno == EEXIST, makesParents { return }
            throw .system("make the folder \(path)", errno, path: nil)
        }
        // mkdir subtracts the umask; what was asked for is what it shall have.
        if roots != nil {
            let folder = try open(place, O_RDONLY | O_DIRECTORY)
            defer { close(folder) }
            if fchmod(folder, mode_t(mode)) != 0 { throw .system("set the mode of \(path)", errno, path: nil) }
            if let (uid, gid) = owner, fchown(folder, uid_t(uid), gid_t(gid)) != 0 {
                throw .system("set the owner of \(path)", errno, path: nil)
            }
        }
    }

    /// - Returns: false when there was nothing to remove.
    static func remove(_ path: String, isRecursive: Bool, roots: [String]?) throws(LunetteError) -> Bool {
        let place: Place
        do throws(LunetteError) {
            place = try locate(path, roots: roots)
        } catch  where error.code == .notFound {
            return false
        }
        guard place.name != "." else { throw LunetteError(.denied, "\(path) is the folder that was granted: it can't be removed") }
        return try remove(place.folder, place.name, path, isRecursive: isRecursive)
    }

    static func remove(_ path: String) throws(LunetteError) { _ = try remove(AT_FDCWD, path, path, isRecursive: true) }

    private static func remove(_ folder: Int32, _ name: String, _ path: String, isRecursive: Bool) throws(LunetteError) -> Bool {
        if unlinkat(folder, name, 0) == 0 { return true }
        if errno == ENOENT { return false }
        guard errno == EISDIR || errno == EPERM else { throw .system("remove \(path)", errno, path: nil) }
        if unlinkat(folder, name, AT_REMOVEDIR) == 0 { return true }
        guard errno == ENOTEMPTY || errno == EEXIST, isRecursive else { throw .system("remove \(path)", errno, path: nil) }
        let inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if inner < 0 { throw .system("open \(path)", errno, path: nil) }
        try atBorder { () throws(SystemCallError) in try Directory(FileDescriptor(owning: inner), label: path).removeContents() }
        if unlinkat(folder, name, AT_REMOVEDIR) != 0 { throw .system("remove \(path)", errno, path: nil) }
        return true
    }

    static func rename(_ from: String, _ to: String, roots: [String]?) throws(LunetteError) {
        let source = try locate(from, roots: roots)
        let target = try locate(to, roots: roots)
        if renameat(source.folder, source.name, target.folder, target.name) != 0 {
            throw .system("rename \(from) to \(to)", errno, path: nil)
        }
    }

    /// Bytes and inodes of a tree; hard links count once each time they are met.
    static func usage(_ path: String, roots: [String]?) throws(LunetteError) -> Value {
        let place = try locate(path, roots: roots)
        var status = stat()
        if fstatat(place.folder, place.name, &status, AT_SYMLINK_NOFOLLOW) != 0 { throw .system("look at \(path)", errno, path: nil) }
        let (own, isFolder) = (Int64(status.st_blocks) * 512, status.st_mode & S_IFMT == S_IFDIR)
        guard isFolder else { return ["used": .int(own), "inodes": 1] }
        let top = Directory(FileDescriptor(owning: try open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)), label: path)
        let inside = try atBorder { () throws(SystemCallError) in try TreeUsage(of: top, crossing: true) }
        return ["used": .int(own + inside.bytes), "inodes": .int(1 + inside.entries)]
    }
}
