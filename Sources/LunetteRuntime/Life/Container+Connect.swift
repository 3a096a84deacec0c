internal import CLinux
package import LunetteLinux
package import LunetteSpec

extension Container {
    /// Connects to a port on the loopback of the container's network namespace, 127.0.0.1 or else ::1.
    /// - Parameter timeout: seconds.
    /// - Returns: a non-blocking descriptor.
    /// - Throws: `io` when nobody listens; `timeout`; `invalid_state` when nothing runs.
    package func connect(port: UInt16, timeout: Double) async throws(LunetteError) -> FileDescriptor {
        guard let process = record.initProcess?.open() else {
            throw LunetteError(.invalidState, "container \(id) isn't running", target: id)
        }
        let milliseconds = Self.milliseconds(timeout)
        do throws(SystemCallError) {
            return try await blocking { () throws(SystemCallError) in
                FileDescriptor(
                    owning: try check(
                        lnt_host_connect_loopback(process.descriptor.number, port, milliseconds), "connect to port", "\(port)"))
            }
        } catch {
            if error.errno == ErrorNumber.timedOut {
                throw LunetteError(.timeout, "connect to port \(port): no answer within \(timeout) s")
            }
            throw error.lunette
        }
    }

    /// Asks for a path on the container's own loopback and reads the status of the answer; its headers and body are left.
    ///
    /// Source: RFC 9112 §3 and §4.
    /// - Parameters:
    ///   - path: as it stands in the request: printable, without spaces.
    ///   - timeout: seconds, for all of it.
    /// - Throws: as `connect`; `io` for an answer that is no HTTP.
    package func httpStatus(port: UInt16, path: String, timeout: Double) async throws(LunetteError) -> Int {
        let deadline = ContinuousClock.now + .seconds(timeout)
        let connection = try await connect(port: port, timeout: timeout)
        defer { connection.close() }
        let request =
            "GET \(path) HTTP/1.1\r\nHost: localhost:\(port)\r\nUser-Agent: lunette-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        let line = try await blocking { () throws(LunetteError) in
            try atBorder("GET \(path) on port \(port)") { () throws(SystemCallError) in
                // Far below a socket's buffer: it is taken whole.
                try connection.writeAll(Array(request.utf8))
                var head: [UInt8] = []
                while !head.contains(10), head.count < 1024 {
                    let rest = Self.milliseconds((deadline - .now) / .seconds(1))
                    guard rest > 0, lnt_host_poll_one(connection.number, 1, rest) > 0 else {
                        throw SystemCallError("read the answer", "", errno: ErrorNumber.timedOut)
                    }
                    let part = try connection.read(upTo: 1024)
                    if part.isEmpty { break }
                    head += part
                }
                return head
            }
        }
        let words = line.prefix { $0 != 10 && $0 != 13 }.split(separator: 32, maxSplits: 2)
        guard words.count >= 2, words[0].starts(with: Array("HTTP/1.".utf8)), words[1].count == 3,
            let status = Int(String(decoding: words[1], as: UTF8.self)), (100...599).contains(status)
        else { throw LunetteError(.io, "GET \(path) on port \(port): the answer is no HTTP") }
        return status
    }

    private static func milliseconds(_ seconds: Double) -> Int32 { Int32(min(max(seconds, 0) * 1000, 1e9).rounded(.up)) }
}
