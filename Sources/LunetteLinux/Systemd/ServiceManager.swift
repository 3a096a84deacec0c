internal import CLinux
internal import Glibc

/// Speaks with the manager that has started this process as a service, which is systemd: takes the sockets that it has opened, tells it how
/// the service is.
///
///   manager                                                 service
///     │ LISTEN_FDS=1 LISTEN_PID LISTEN_FDNAMES, fd 3 … ───────►│   sd_listen_fds(3)
///     │ NOTIFY_SOCKET ────────────────────────────────────────►│
///     │◄────────────────────────────────────── READY=1, STATUS=…│   sd_notify(3): datagrams
///     │◄───────────────────────────────────── WATCHDOG=1, again │   in half of WATCHDOG_USEC
///     │ SIGTERM ──────────────────────────────────────────────►│
///     │◄──────────────────────────────────────────── STOPPING=1 │
///
/// Without a library: libsystemd would be 900 KB for lines of text.
package struct ServiceManager: Sendable {
    /// A listening socket that the manager has opened.
    package struct PassedSocket: Sendable, Equatable {
        /// Close-on-exec, not blocking; the taker's.
        package var descriptor: Int32
        /// `FileDescriptorName=` of its unit, else the unit's name.
        package var name: String
    }

    /// In the order of the units.
    package let sockets: [PassedSocket]
    /// Seconds within which the manager wants to hear that all is well; nil: it doesn't watch.
    package let watchdogPeriod: Double?
    private let socket: String?

    /// Whether somebody listens to what is told.
    package var isThere: Bool { socket != nil }

    /// Takes from the environment what is meant for this process, and removes it there: it isn't for what this process starts.
    package init() {
        let environment = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
            .reduce(into: [String: String]()) { $0[$1] = Environment[$1] }
        for name in environment.keys { unsetenv(name) }
        self.init(environment, pid: getpid())
        for socket in sockets {
            _ = fcntl(socket.descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(socket.descriptor, F_SETFL, fcntl(socket.descriptor, F_GETFL) | O_NONBLOCK)
        }
    }

    init(_ environment: [String: String], pid: Int32) {
        socket = environment["NOTIFY_SOCKET"].flatMap { $0.hasPrefix("/") || $0.hasPrefix("@") ? $0 : nil }
        // Of who has started us and left it there, it isn't ours.
        let isWatched = environment["WATCHDOG_PID"].map { $0 == String(pid) } ?? true
        watchdogPeriod = isWatched ? environment["WATCHDOG_USEC"].flatMap { UInt64($0) }.flatMap { $0 > 0 ? Double($0) / 1e6 : nil } : nil
        let count = environment["LISTEN_PID"] == String(pid) ? environment["LISTEN_FDS"].flatMap { Int32($0) } ?? 0 : 0
        let names = environment["LISTEN_FDNAMES"]?.split(separator: ":", omittingEmptySubsequences: false).map(String.init) ?? []
        sockets = (0..<max(0, min(count, 64))).map { index in
            PassedSocket(descriptor: 3 + index, name: Int(index) < names.count ? names[Int(index)] : "unknown")
        }
    }

    /// Tells the manager, which may have gone: nothing depends on its hearing it.
    /// - Parameter lines: `NAME=value` (sd_notify(3)).
    /// - Returns: false when nobody listens.
    @discardableResult
    package func tell(_ lines: String...) -> Bool {
        guard let socket else { return false }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var path = Array(socket.utf8)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        // `@` stands for the zero byte that an abstract name begins with; such a name ends with the address, not with a zero.
        if path[0] == UInt8(ascii: "@") { path[0] = 0 } else { path.append(0) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let size = socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path)! + path.count)
        let fd = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard fd >= 0 else { return false }
        defer { close(fd) }
        // A newline inside would be another message.
        let text = lines.map { String($0.map { $0 == "\n" ? " " : $0 }) }.joined(separator: "\n")
        let sent = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                sendto(fd, text, text.utf8.count, Int32(MSG_NOSIGNAL), address, size)
            }
        }
        return sent >= 0
    }

    /// Tells that the service is about to change its settings; `READY=1` is to follow.
    package func tellReloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        tell("RELOADING=1", "MONOTONIC_USEC=\(UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000)")
    }
}

/// A unix stream socket that listens, opened by somebody else.
package enum ListeningSocket {
    /// - Returns: its path; nil when the descriptor is no such socket, or one without a path.
    package static func path(of descriptor: Int32) -> String? {
        func option(_ name: Int32) -> Int32? {
            var value: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            return getsockopt(descriptor, SOL_SOCKET, name, &value, &size) == 0 ? value : nil
        }
        guard option(SO_ACCEPTCONN) == 1, option(SO_TYPE) == Int32(SOCK_STREAM.rawValue), option(SO_DOMAIN) == AF_UNIX else { return nil }
        var address = sockaddr_un()
        var size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutableBytes(of: &address) { bytes in
            getsockname(descriptor, bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), &size)
        }
        guard result == 0 else { return nil }
        let path = withUnsafeBytes(of: &address.sun_path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return path.hasPrefix("/") ? path : nil
    }
}
