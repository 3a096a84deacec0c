import Foundation
import Glibc
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// `http.*` against a server of this test's own, one connection after the other.
@Suite struct HTTPTests {
    /// Answers each request by its path.
    private final class Server: Sendable {
        let port: UInt16
        private let listener: Int32
        let seen = Mutex<[String]>([])

        init(_ answer: @escaping @Sendable (_ path: String, _ port: UInt16) -> String?) throws {
            let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let port = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> UInt16 in
                    guard bind(listener, pointer, size) == 0, listen(listener, 16) == 0 else { return 0 }
                    getsockname(listener, pointer, &size)
                    return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
                }
            }
            try #require(port != 0)
            self.port = port
            self.listener = listener
            onOwnThread { [self] in
                while true {
                    let connection = accept(listener, nil, nil)
                    guard connection >= 0 else { return }
                    onOwnThread { self.serve(connection, answer) }
                }
            }
        }

        private func serve(_ connection: Int32, _ answer: (String, UInt16) -> String?) {
            defer { close(connection) }
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let text = String(decoding: bytes, as: UTF8.self)
                if let head = text.range(of: "\r\n\r\n") {
                    let wanted =
                        text.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
                        .flatMap { Int($0.dropFirst(15).filter(\.isNumber)) } ?? 0
                    if text.utf8.distance(from: head.upperBound, to: text.endIndex) >= wanted { break }
                }
                let count = read(connection, &buffer, buffer.count)
                if count <= 0 { return }
                bytes += buffer[..<count]
            }
            let text = String(decoding: bytes, as: UTF8.self)
            seen.withLock { $0.append(text) }
            let path = text.split(separator: " ").dropFirst().first.map(String.init) ?? ""
            // Nil: no answer until the client goes.
            guard let reply = answer(path, port) else {
                _ = read(connection, &buffer, buffer.count)
                return
            }
            _ = reply.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
        }

        func stop() { shutdown(listener, Int32(SHUT_RDWR)) }
    }

    private static func reply(_ status: String, _ headers: String = "", _ body: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\(headers)\r\n\(body)"
    }

    private func run(_ source: String, permissions: Set<String>? = nil) async throws -> (ran: Ran, seen: [String]) {
        let server = try Server { path, port in
            switch path {
            case "/ok": Self.reply("200 OK", "X-One: 1\r\nX-One: 2\r\n", "hello")
            case "/missing": Self.reply("404 Not Found", "", "no such thing")
            case "/broken": Self.reply("500 Oops", "", "")
            case "/moved": Self.reply("302 Found", "Location: /ok\r\n", "moved")
            case "/file": Self.reply("302 Found", "Location: file:///etc/passwd\r\n")
            case "/circle": Self.reply("302 Found", "Location: http://127.0.0.1:\(port)/circle\r\n")
            case "/big": Self.reply("200 OK", "", String(repeating: "x", count: 5000))
            case "/silent": nil
            case "/dropped": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf"
            default: Self.reply("200 OK", "", "echo")
            }
        }
        defer { server.stop() }
        var limits = LuaState.Limits()
        limits.isLimited = permissions != nil
        let ran = await runLua(
            "local base = 'http://127.0.0.1:\(server.port)' \(source)", limits: limits, permissions: permissions)
        return (ran, server.seen.withLock { $0 })
    }

    @Test(arguments: [
        ("local r = http.get(base .. '/ok') return r.status, r.body, r.headers['x-one']", "200\thello\t1, 2"),
        ("local r = http.get(base .. '/missing') return r.status, r.body", "404\tno such thing"),
        ("return http.get(base .. '/broken').status", "500"),
        ("local r = http.get(base .. '/moved') return r.status, r.body", "200\thello"),
        ("local r = http.get(base .. '/moved', { redirects = 0 }) return r.status, r.headers.location", "302\t/ok"),
        ("local ok, e = pcall(http.get, base .. '/file') return ok, e.code", "false\tio"),
        ("local ok, e = pcall(http.get, base .. '/circle') return ok, e.code", "false\tio"),
        ("local ok, e = pcall(http.get, base .. '/big', { max_size = 4999 }) return ok, e.code", "false\tresource_exhausted"),
        ("return #http.get(base .. '/big', { max_size = 5000 }).body", "5000"),
        ("local ok, e = pcall(http.get, base .. '/silent', { timeout = '100ms' }) return ok, e.code", "false\ttimeout"),
        ("local ok, e = pcall(http.get, base .. '/dropped') return ok, e.code", "false\tio"),
        ("local ok, e = pcall(task.timeout, 0.1, http.get, base .. '/silent') return ok, e.code", "false\ttimeout"),
        (
            "local r = task.all { function() return http.get(base .. '/ok').status end, function() return http.get(base .. '/missing').status end } return r[1], r[2]",
            "200\t404"
        ),
    ])
    func whateverTheServerSaysIsAResult(_ source: String, _ expected: String) async throws {
        let ran = try await run(source).ran
        #expect(ran.text == expected, "\(ran.text) \(ran.error)")
    }

    @Test func aRequestCarriesItsMethodHeadersAndBody() async throws {
        let (ran, seen) = try await run(
            "return http.request { method = 'PUT', url = base .. '/x', body = 'data', headers = { ['X-A'] = 1 }, username = 'u', password = 'p' }.body"
        )
        #expect(ran.text == "echo", "\(ran.error)")
        let request = try #require(seen.first)
        #expect(request.hasPrefix("PUT /x HTTP/1.1\r\n") && request.hasSuffix("\r\n\r\ndata"))
        #expect(request.contains("X-A: 1\r\n") && request.contains("Authorization: Basic dTpw\r\n"))
    }

    @Test(arguments: [
        "http.get('file:///etc/passwd')", "http.get('ftp://127.0.0.1/')", "http.get('/etc/passwd')", "http.get('http://a b/')",
        "http.get('http://127.0.0.1/\\r\\nX: y')", "http.request { url = base, method = 'GET / HTTP/1.1\\r\\nX' }",
        "http.request { url = base, headers = { ['A\\r\\nB'] = 'x' } }", "http.request { url = base, headers = { A = 'x\\r\\nB: y' } }",
        "http.request { url = base, headers = { ['A:'] = 'x' } }", "http.get(base, { redirects = 100 })", "http.request 'x'",
    ])
    func whatIsNoRequestIsRefused(_ source: String) async throws {
        let (ran, seen) = try await run(source)
        #expect(ran.code == "invalid_argument" && seen.isEmpty, "\(ran.error) \(seen)")
    }

    @Test func limitedCodeNeedsThePermission() async throws {
        let (refused, seen) = try await run("http.get(base .. '/ok')", permissions: [])
        #expect(refused.code == "denied" && seen.isEmpty, "\(refused.error)")
        let allowed = try await run("return http.get(base .. '/ok').body", permissions: ["http:get"]).ran
        #expect(allowed.text == "hello", "\(allowed.error)")
    }

    @Test func aPasswordInAnAddressIsNotShown() async throws {
        let ran = try await run("http.get('http://me:secret@127.0.0.1:1/')").ran
        #expect(ran.message.contains("http://127.0.0.1:1/") && !ran.message.contains("secret"), "\(ran.error)")
    }
}
