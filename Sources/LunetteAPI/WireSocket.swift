internal import Glibc
package import LunetteSpec

/// The socket calls that the wire needs; errno is taken where the call is made.
package enum WireSocket {
    /// Descriptors in one `sendmsg`: more than any call passes, far below the kernel's 253.
    package static let maximumFiles = 16

    package enum Received {
        case bytes(Int, files: [Int32])
        case nothing
        case end
        /// More descriptors came than fit: some are lost, so the stream can't be trusted any more.
        case filesLost
    }

    private static let streamFlags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)

    package static func closeOnExec(_ fd: Int32, nonBlocking: Bool) {
        _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
        if nonBlocking { _ = fcntl(fd, F_SETFL, O_NONBLOCK) }
    }

    /// - Throws: `invalid_argument` when the path doesn't fit a socket address (107 bytes).
    private static func withAddress<T>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T) throws(LunetteError) -> T {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.contains(0) else {
            throw LunetteError(
                .invalidArgument, "use the socket \(path): its path has more than 107 bytes",
                hint: "give --state (LUNETTE_STATE) a shorter path"
            )
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    /// Connects without ever waiting.
    /// - Returns: a non-blocking descriptor, or the errno (`ENOENT`, `ECONNREFUSED`: nobody listens; `EAGAIN`: too many wait already).
    package static func connect(_ path: String) throws(LunetteError) -> Result<Int32, Errno> {
        let fd = socket(AF_UNIX, streamFlags, 0)
        guard fd >= 0 else { return .failure(Errno(errno)) }
        let failure = try withAddress(path) { Glibc.connect(fd, $0, $1) == 0 ? 0 : errno }
        if failure == 0 { return .success(fd) }
        close(fd)
        return .failure(Errno(failure))
    }

    /// Listens at `path`, mode 0600 from the first moment; what a dead engine left there goes.
    ///
    /// The caller holds the lock that makes it the engine, so nobody else's live socket can be there.
    package static func listen(_ path: String) throws(LunetteError) -> Int32 {
        let fd = socket(AF_UNIX, streamFlags, 0)
        guard fd >= 0 else { throw failure("make a socket for \(path)", errno) }
        // fchmod before bind decides the mode of the file that bind makes (unix(7) on Linux applies it, with the umask).
        var failed = fchmod(fd, 0o600) == 0 ? 0 : errno
        if failed == 0, unlink(path) != 0, errno != ENOENT { failed = errno }
        if failed == 0 { failed = try withAddress(path) { bind(fd, $0, $1) == 0 ? 0 : errno } }
        if failed == 0 { failed = Glibc.listen(fd, 512) == 0 ? 0 : errno }
        guard failed == 0 else {
            close(fd)
            throw failure("listen at \(path)", failed)
        }
        return fd
    }

    /// - Returns: a non-blocking descriptor; nil when nobody waits. `EMFILE` and the like are thrown.
    package static func accept(_ fd: Int32) throws(LunetteError) -> Int32? {
        while true {
            // No accept4 in Swift's Glibc. The engine's own spawns close what they don't pass (addclosefrom_np), so the gap is harmless.
            let client = Glibc.accept(fd, nil, nil)
            if client >= 0 {
                closeOnExec(client, nonBlocking: true)
                return client
            }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return nil
            default: throw failure("accept a client", errno)
            }
        }
    }

    /// Says who is at the other end, by the kernel's word (SO_PEERCRED: as it was when the peer connected).
    package static func peer(of fd: Int32) throws(LunetteError) -> Actor {
        // struct ucred {pid, uid, gid}, which glibc shows only to GNU sources.
        var credentials: (pid: Int32, uid: UInt32, gid: UInt32) = (0, 0, 0)
        var size = socklen_t(12)
        guard getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0, size == 12 else {
            throw failure("read who the client is", errno)
        }
        return Actor(uid: credentials.uid, gid: credentials.gid, pid: credentials.pid)
    }

    /// Sends what the socket takes now; the descriptors go with the first byte.
    /// - Returns: bytes taken; 0 when the peer must read first.
    package static func send(_ fd: Int32, _ bytes: UnsafeRawBufferPointer, files: [Int32]) -> Result<Int, Errno> {
        var vector = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
        // The control block is one cmsghdr (16 bytes on 64-bit Linux) and the descriptors, as CMSG_LEN and CMSG_SPACE count them.
        let header = MemoryLayout<cmsghdr>.size
        let length = header + files.count * MemoryLayout<Int32>.size
        var control = [UInt64](repeating: 0, count: (length + 7) / 8)
        var result = 0
        var failure: Int32 = 0
        control.withUnsafeMutableBytes { control in
            withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                if !files.isEmpty {
                    var block = cmsghdr()
                    block.cmsg_len = length
                    block.cmsg_level = SOL_SOCKET
                    block.cmsg_type = Int32(SCM_RIGHTS)
                    control.storeBytes(of: block, as: cmsghdr.self)
                    for (index, file) in files.enumerated() {
                        control.storeBytes(of: file, toByteOffset: header + index * 4, as: Int32.self)
                    }
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                }
                repeat {
                    result = sendmsg(fd, &message, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                    failure = result < 0 ? errno : 0
                } while failure == EINTR
            }
        }
        if failure == EAGAIN { return .success(0) }
        return failure == 0 ? .success(result) : .failure(Errno(failure))
    }

    /// Receives what is there; every descriptor is close-on-exec and the caller's.
    package static func receive(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Result<Received, Errno> {
        var vector = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
        let header = MemoryLayout<cmsghdr>.size
        var control = [UInt64](repeating: 0, count: (header + maximumFiles * 4 + 7) / 8)
        var files: [Int32] = []
        var result = 0
        var failure: Int32 = 0
        var truncated = false
        control.withUnsafeMutableBytes { control in
            withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                message.msg_control = control.baseAddress
                message.msg_controllen = control.count
                repeat {
                    result = recvmsg(fd, &message, Int32(MSG_CMSG_CLOEXEC) | Int32(MSG_DONTWAIT))
                    failure = result < 0 ? errno : 0
                } while failure == EINTR
                guard failure == 0 else { return }
                truncated = message.msg_flags & Int32(MSG_CTRUNC) != 0
                var at = 0
                while at + header <= message.msg_controllen {
                    let block = control.load(fromByteOffset: at, as: cmsghdr.self)
                    guard block.cmsg_len >= header, at + block.cmsg_len <= message.msg_controllen else { break }
                    if block.cmsg_level == SOL_SOCKET, block.cmsg_type == Int32(SCM_RIGHTS) {
                        for offset in stride(from: at + header, to: at + block.cmsg_len, by: 4) {
                            files.append(control.loadUnaligned(fromByteOffset: offset, as: Int32.self))
                        }
                    }
                    at += (block.cmsg_len + 7) & ~7
                }
            }
        }
        if failure == EAGAIN { return .success(.nothing) }
        guard failure == 0 else { return .failure(Errno(failure)) }
        if result > 0, !truncated { return .success(.bytes(result, files: files)) }
        for file in files { close(file) }
        return .success(truncated ? .filesLost : .end)
    }

    package static func failure(_ what: String, _ number: Int32) -> LunetteError {
        LunetteError(.io, "\(what): \(Errno(number))", errno: number)
    }
}

/// A system call's failure number.
package struct Errno: Error, Sendable, Equatable, CustomStringConvertible {
    package var number: Int32
    package init(_ number: Int32) { self.number = number }
    package var description: String { String(cString: strerror(number)) }
}
