internal import CLinux
package import LunetteSpec

/// A conversation with systemd over its private socket, which `systemctl` uses too: no bus daemon is needed, and root of the host alone (or, for a
/// user's own manager, that user) may connect. Not Sendable: one thread holds it at a time.
///
///     AUTH EXTERNAL ─► │ ◄─ OK          the kernel tells systemd who we are
///     StartTransientUnit ─► │ ◄─ reply: the job's path … ◄─ signal JobRemoved (job, unit, "done")
package final class SystemdConnection {
    /// Where systemd listens: the system's, or that of a user (`$XDG_RUNTIME_DIR/systemd/private`).
    package static let systemSocket = "/run/systemd/private"
    static let manager = "org.freedesktop.systemd1.Manager"

    private let socket: UnixSocket
    private var received: [UInt8] = []
    private var serial: UInt32 = 0
    /// Signals that came while a reply was waited for.
    private var signals: [BusMessage] = []

    /// Where the systemd listens that manages what a user runs: the system's for root.
    /// - Parameters:
    ///   - uid: the user's, outside of any user namespace.
    ///   - runtimeDirectory: `XDG_RUNTIME_DIR`; nil or empty = where logind makes it.
    package static func socket(ofUser uid: UInt32, runtimeDirectory: String?) -> String {
        guard uid != 0 else { return systemSocket }
        let folder = runtimeDirectory.flatMap { $0.isEmpty ? nil : $0 } ?? "/run/user/\(uid)"
        return "\(folder)/systemd/private"
    }

    /// The cgroup below which this manager's units are: `/`, or that of a user's service.
    package private(set) var controlGroup = "/"

    /// Connects and proves who we are. Blocks.
    /// - Throws: `unsupported` where no systemd runs.
    package convenience init(socketPath: String = systemSocket) throws(LunetteError) {
        try self.init(connectedTo: socketPath)
        controlGroup = try property("ControlGroup", of: "/org/freedesktop/systemd1", interface: Self.manager)
    }

    private init(connectedTo socketPath: String) throws(LunetteError) {
        socket = try Self.connect(socketPath)
        // No name is sent: in a user namespace it wouldn't be the one that systemd sees (and asks the kernel for).
        try send(Array("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".utf8))
        let deadline = SystemClock.monotonic + 25
        while true {
            let text = String(decoding: received, as: UTF8.self)
            if text.contains("OK "), let end = Self.endOfAuthentication(received) {
                received.removeFirst(end)
                return
            }
            guard !text.contains("REJECTED"), !text.contains("ERROR"), received.count < 4096 else {
                throw LunetteError(.denied, "connect to systemd: it doesn't take us: \(displayable(text, limit: 100))")
            }
            try receive(deadline)
        }
    }

    private static func connect(_ path: String) throws(LunetteError) -> UnixSocket {
        do throws(SystemCallError) { return try .connect(path, kind: .stream) } catch {
            var failure = error.lunette
            failure.message = "connect to systemd: \(failure.message)"
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.connectionRefused {
                failure.code = .unsupported
                failure.hint =
                    path == systemSocket
                    ? "systemd is not this machine's init; use the cgroupfs driver (without --systemd-cgroup)"
                    : "no systemd of this user's runs (systemd --user; loginctl enable-linger); use the cgroupfs driver (without --systemd-cgroup)"
            }
            throw failure
        }
    }

    /// `DATA\r\nOK <guid>\r\n`: nil until the last line's end is there.
    private static func endOfAuthentication(_ bytes: [UInt8]) -> Int? {
        var lines = 0
        for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") {
            lines += 1
            if lines == 2 { return index + 1 }
        }
        return nil
    }

    private func send(_ bytes: [UInt8]) throws(LunetteError) {
        try atBorder("talk to systemd") { () throws(SystemCallError) in
            var rest = bytes
            while !rest.isEmpty { rest.removeFirst(try socket.send(rest) ?? 0) }
        }
    }

    private func receive(_ deadline: Double) throws(LunetteError) {
        let left = Int32(max(0, min(60_000, (deadline - SystemClock.monotonic) * 1000)))
        let readable: Int16 = 1
        let socket = self.socket
        let bytes = try atBorder("talk to systemd") { () throws(SystemCallError) in
            guard try check(lnt_host_poll_one(socket.descriptor.number, readable, left), "poll") > 0 else {
                throw SystemCallError("wait for an answer", "", errno: ErrorNumber.timedOut)
            }
            let message = try socket.receive(upTo: 65536)
            guard let bytes = message?.bytes, !bytes.isEmpty else {
                throw SystemCallError("receive", "", errno: ErrorNumber.connectionReset)
            }
            return bytes
        }
        received += bytes
    }

    private func next(_ deadline: Double) throws(LunetteError) -> BusMessage {
        while true {
            if let length = BusMessage.length(of: received[...]) {
                guard length > 0 else { throw LunetteError(.io, "talk to systemd: its answer is no D-Bus message") }
                if received.count >= length {
                    guard let message = BusMessage(Array(received.prefix(length))) else {
                        throw LunetteError(.io, "talk to systemd: its answer is no D-Bus message")
                    }
                    received.removeFirst(length)
                    return message
                }
            }
            try receive(deadline)
        }
    }

    /// Calls a method and waits for its answer.
    /// - Throws: `io` with systemd's own words; `timeout`.
    func call(
        _ member: String, path: String = "/org/freedesktop/systemd1", interface: String = SystemdConnection.manager, signature: String = "",
        body: [UInt8] = []
    ) throws(LunetteError) -> BusMessage {
        serial += 1
        let message = BusMessage(call: member, path: path, interface: interface, signature: signature, body: body, serial: serial)
        try send(message.encoded)
        let deadline = SystemClock.monotonic + 25
        while true {
            let message = try next(deadline)
            switch message.kind {
            case .reply where message.replySerial == serial: return message
            case .error where message.replySerial == serial:
                var reader = BusReader(message.body)
                let words = message.signature.hasPrefix("s") ? reader.string() : nil
                throw Self.failure(member, message.error ?? "", words ?? "")
            case .signal: signals.append(message)
            default: break
            }
        }
    }

    private static func failure(_ member: String, _ name: String, _ words: String) -> LunetteError {
        let code: ErrorCode =
            switch name {
            case "org.freedesktop.systemd1.UnitExists": .alreadyExists
            case "org.freedesktop.systemd1.NoSuchUnit": .notFound
            case "org.freedesktop.DBus.Error.AccessDenied": .denied
            case "org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.PropertyReadOnly": .invalidArgument
            default: .io
            }
        return LunetteError(
            code, "ask systemd to \(member): \(displayable(words.isEmpty ? name : words, limit: 300))",
            details: ["dbus_error": .string(name)])
    }

    /// Reads a property that is text.
    /// - Parameter path: the object's.
    func property(_ name: String, of path: String, interface: String) throws(LunetteError) -> String {
        var writer = BusWriter()
        writer.string(interface)
        writer.string(name)
        let reply = try call("Get", path: path, interface: "org.freedesktop.DBus.Properties", signature: "ss", body: writer.bytes)
        var reader = BusReader(reply.body)
        guard reply.signature == "v", reader.signature() == "s", let text = reader.string() else {
            throw LunetteError(.io, "ask systemd for \(name): its answer is no text")
        }
        return text
    }

    /// Waits for the end of a job.
    /// - Parameter job: its object path.
    /// - Returns: `done`, `failed`, `canceled`, `timeout`, `dependency` or `skipped`.
    func wait(forJob job: String) throws(LunetteError) -> String {
        let deadline = SystemClock.monotonic + 30
        while true {
            let message = signals.isEmpty ? try next(deadline) : signals.removeFirst()
            guard message.kind == .signal, message.member == "JobRemoved", message.signature == "uoss" else { continue }
            var reader = BusReader(message.body)
            guard reader.u32() != nil, let path = reader.string(), reader.string() != nil, let result = reader.string() else { continue }
            if path == job { return result }
        }
    }
}
