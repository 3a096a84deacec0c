internal import CLinux

/// A unix socket, connected or listening. Descriptors travel with messages. Any thread may use it; messages are whole only in `.packet`.
package struct UnixSocket: Sendable {
    package enum Kind: Int32, Sendable {
        case stream = 1
        /// SOCK_SEQPACKET: message borders are kept.
        case packet = 5
    }

    /// Who is at the other end, as the kernel recorded it at connect time.
    package struct Peer: Sendable, Equatable {
        package var pid: Int32
        package var uid: UInt32
        package var gid: UInt32

        package init(pid: Int32, uid: UInt32, gid: UInt32) {
            self.pid = pid
            self.uid = uid
            self.gid = gid
        }
    }

    package struct Message: Sendable {
        /// Empty without descriptors = the other end has closed.
        package var bytes: [UInt8]
        package var descriptors: [FileDescriptor]
        /// The message or its descriptors didn't fit.
        package var isTruncated: Bool
    }

    package let descriptor: FileDescriptor
    package init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

    /// Binds and listens; the file gets `mode` from the start. An existing file is EADDRINUSE: whoever holds the lock unlinks it first.
    package static func listen(_ path: String, kind: Kind, mode: UInt32 = 0o600, backlog: Int32 = 128) throws(SystemCallError) -> UnixSocket
    {
        UnixSocket(FileDescriptor(owning: try check(lnt_host_unix_listen(path, kind.rawValue, mode, backlog), "listen on", path)))
    }

    /// A path longer than a socket's address (107 bytes) is reached through its open directory.
    /// - Parameter patience: milliseconds to wait where the listener's queue is full, then `EAGAIN`; nil waits for ever.
    package static func connect(_ path: String, kind: Kind, patience: Int32? = nil) throws(SystemCallError) -> UnixSocket {
        let wait = patience ?? -1
        guard path.utf8.count > 107, let slash = path.lastIndex(of: "/") else {
            return UnixSocket(FileDescriptor(owning: try check(lnt_host_unix_connect(path, kind.rawValue, wait), "connect to", path)))
        }
        let folder = try Directory(String(path[..<slash]))
        let short = "/proc/self/fd/\(folder.descriptor.number)\(path[slash...])"
        let connected = withExtendedLifetime(folder) { lnt_host_unix_connect(short, kind.rawValue, wait) }
        return UnixSocket(FileDescriptor(owning: try check(connected, "connect to", path)))
    }

    package static func pair(kind: Kind) throws(SystemCallError) -> (UnixSocket, UnixSocket) {
        var ends: [Int32] = [-1, -1]
        try check(lnt_host_unix_pair(kind.rawValue, &ends), "socketpair")
        return (UnixSocket(FileDescriptor(owning: ends[0])), UnixSocket(FileDescriptor(owning: ends[1])))
    }

    /// Blocks unless the socket is non-blocking.
    package func accept() throws(SystemCallError) -> UnixSocket {
        UnixSocket(FileDescriptor(owning: try check(lnt_host_accept(descriptor.number), "accept")))
    }

    /// Ends the conversation for both ends without giving the descriptor's number free: safe beside a send under way.
    package func shutdown() { _ = lnt_host_shutdown(descriptor.number) }

    package func peer() throws(SystemCallError) -> Peer {
        var peer = Peer(pid: 0, uid: 0, gid: 0)
        try check(lnt_host_peer(descriptor.number, &peer.pid, &peer.uid, &peer.gid), "read the peer's identity")
        return peer
    }

    /// Sends bytes and descriptors in one message.
    /// - Returns: bytes taken (all of them in `.packet`); nil when a non-blocking socket is full.
    @discardableResult
    package func send(_ bytes: [UInt8], descriptors: [FileDescriptor] = [], wait: Bool = true) throws(SystemCallError) -> Int? {
        let numbers = descriptors.map(\.number)
        let dontWait: Int32 = 0x40
        let result = lnt_host_send(descriptor.number, bytes, bytes.count, numbers, Int32(numbers.count), wait ? 0 : dontWait)
        withExtendedLifetime(descriptors) {}
        if -result == Int(ErrorNumber.again) { return nil }
        return try check(result, "send")
    }

    /// Receives one message (packet) or what is there (stream).
    /// - Returns: nil when there is nothing yet and the socket doesn't block.
    package func receive(upTo count: Int, wait: Bool = true) throws(SystemCallError) -> Message? {
        var numbers = [Int32](repeating: -1, count: Int(LNT_HOST_MAX_FDS))
        var room = Int32(LNT_HOST_MAX_FDS)
        var truncated: Int32 = 0
        var result = 0
        let socket = descriptor.number
        let dontWait: Int32 = 0x40
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            result = lnt_host_receive(socket, buffer.baseAddress, count, &numbers, &room, &truncated, wait ? 0 : dontWait)
            initialized = max(0, min(result, count))
        }
        if -result == Int(ErrorNumber.again) { return nil }
        try check(result, "receive")
        return Message(bytes: bytes, descriptors: numbers.prefix(Int(room)).map { FileDescriptor(owning: $0) }, isTruncated: truncated != 0)
    }

    /// Receives from a peer that may go at any moment, and hears what it had said.
    ///
    /// A peer that goes with a message of ours unread says so once, as ECONNRESET, before what it had still said (unix_release_sock in
    /// net/unix/af_unix.c): a shim whose launch failed at once has not read START.
    package func receiveLastWords(upTo count: Int, wait: Bool = true) throws(SystemCallError) -> Message? {
        do throws(SystemCallError) { return try receive(upTo: count, wait: wait) } catch {
            guard error.errno == ErrorNumber.connectionReset else { throw error }
            return try receive(upTo: count, wait: wait)
        }
    }
}
