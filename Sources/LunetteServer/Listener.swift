import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// A socket that the server accepts clients at.
struct Listener {
    /// Whose filter judges its clients; nil is the engine's own.
    let socket: EngineSocket?
    let path: String
    let descriptor: Int32
    /// Opened by systemd, which goes on listening at it: its file stays when we leave.
    let isPassed: Bool
    var token: UInt64 = 0
    /// The file that it is, for when it goes: by then another may lie there.
    private let file: FileStatus?

    init(socket: EngineSocket?, path: String, descriptor: Int32, isPassed: Bool) {
        self.socket = socket
        self.path = path
        self.descriptor = descriptor
        self.isPassed = isPassed
        // Just made: one that is gone already has nothing to take away.
        file = try? fileStatus(AT_FDCWD, path, follow: false, label: path)
    }

    /// Takes no more clients; those that wait see their connection end, or at systemd's socket the next engine.
    func close() {
        // The path goes first: who finds none starts a new engine, which waits for this one's lock to go.
        if !isPassed, let file, let there = try? fileStatus(AT_FDCWD, path, follow: false, label: path), there.device == file.device,
            there.inode == file.inode
        {
            unlink(path)
        }
        Glibc.close(descriptor)
    }
}

extension Listener {
    /// Opens a script's socket.
    ///
    /// Its folder must be nobody else's to write, or one like /tmp: who can put a link in the file's place would get what the link leads to.
    /// - Throws: `denied` for such a folder; `io` when it can't be made or given to its owner.
    static func open(_ socket: EngineSocket) throws(LunetteError) -> Listener {
        guard let path = socket.path, let slash = path.lastIndex(of: "/") else {
            throw LunetteError(
                .invalidArgument, "open the socket \(socket.name): it has no path, and systemd has passed none of that name",
                hint: "give it a path, or a unit with FileDescriptorName=\(socket.name)")
        }
        let folder = slash == path.startIndex ? "/" : String(path[..<slash])
        let name = String(path[path.index(after: slash)...])
        let directory: Directory
        do throws(SystemCallError) {
            directory = try Directory(folder)
            let status = try fileStatus(directory.descriptor.number, "", follow: false, label: folder)
            let isOurs = status.uid == 0 || status.uid == geteuid()
            guard isOurs, status.permissions & 0o022 == 0 || status.permissions & 0o1000 != 0 else {
                throw SystemCallError("listen in", folder, errno: EPERM)
            }
            // Only a socket is taken out of the way: whatever else lies there is somebody's.
            if let there = try? fileStatus(directory.descriptor.number, name, follow: false, label: path), there.kind != .socket {
                throw SystemCallError("listen at", path, errno: EEXIST)
            }
        } catch {
            var failure = error.lunette
            failure.message = "open the socket \(socket.name): \(failure.message)"
            if error.errno == EPERM {
                failure.code = .denied
                failure.hint = "its folder must belong to root or the engine's user, and be nobody else's to write"
            }
            throw failure
        }
        // Nor is one at which somebody listens: the engine itself, another script, another program.
        var isTaken = true
        switch try WireSocket.connect(path) {
        case .success(let descriptor): Glibc.close(descriptor)
        case .failure(let failure): isTaken = failure.number != ENOENT && failure.number != ECONNREFUSED
        }
        guard !isTaken else {
            throw LunetteError(
                .conflict, "open the socket \(socket.name): somebody listens at \(displayable(path)) already", hint: "give it another path")
        }
        let descriptor = try WireSocket.listen(path)
        let listener = Listener(socket: socket, path: path, descriptor: descriptor, isPassed: false)
        // Nobody gets in between: it is 0600 until now, and its name is in a folder that others can't change.
        let owner = socket.owner ?? UInt32.max
        let group = socket.group ?? UInt32.max
        var failed: Int32 = 0
        if owner != .max || group != .max,
            fchownat(directory.descriptor.number, name, owner, group, AT_SYMLINK_NOFOLLOW) != 0
        {
            failed = errno
        }
        if failed == 0, fchmodat(directory.descriptor.number, name, mode_t(socket.mode), 0) != 0 { failed = errno }
        guard failed == 0 else {
            listener.close()
            throw WireSocket.failure("open the socket \(socket.name): give \(path) to its owner", failed)
        }
        return listener
    }
}
