import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Synchronization

/// A small HTTP server in front of a registry's answers: breaks connections in the middle of blobs, throttles, redirects, lies.
final class FlakyProxy: Sendable {
    /// What to do with one request: gets method, path and headers.
    struct Reply: Sendable {
        var status = "200 OK"
        var headers: [String] = []
        var body: [UInt8] = []
        /// Sends this many bytes of the body, then breaks the connection.
        var breakAfter: Int?
    }

    let port: Int
    private let listener: Int32
    private let log = Mutex<[String]>([])

    var requests: [String] { log.withLock { $0 } }
    var host: String { "127.0.0.1:\(port)" }

    init(_ answer: @escaping @Sendable (_ method: String, _ path: String, _ headers: [String: String]) -> Reply) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let listener = self.listener
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) == 0 && listen(listener, 64) == 0 ? getsockname(listener, pointer, &length) : -1
            }
        }
        guard result == 0 else { throw CommandFailure("flaky proxy: errno \(errno)") }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                if client < 0 { return }
                Thread.detachNewThread { self.serve(client, answer) }
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private func serve(_ client: Int32, _ answer: (String, String, [String: String]) -> Reply) {
        defer { close(client) }
        while let (method, path, headers) = head(client) {
            log.withLock {
                $0.append(
                    "\(method) \(path)\(headers["range"].map { " " + $0 } ?? "")\(headers["authorization"] == nil ? "" : " authorized")")
            }
            let reply = answer(method, path, headers)
            let count = method == "HEAD" ? 0 : reply.breakAfter ?? reply.body.count
            let head =
                (["HTTP/1.1 \(reply.status)", "Content-Length: \(reply.body.count)"] + reply.headers).joined(separator: "\r\n") + "\r\n\r\n"
            let bytes = Array(head.utf8) + reply.body.prefix(count)
            var sent = 0
            while sent < bytes.count {
                let n = bytes[sent...].withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                if n <= 0 { return }
                sent += n
            }
            if reply.breakAfter != nil { return }
        }
    }

    private func head(_ client: Int32) -> (String, String, [String: String])? {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while !bytes.suffix(4).elementsEqual([13, 10, 13, 10]) {
            if recv(client, &byte, 1, 0) <= 0 { return nil }
            bytes.append(byte)
        }
        let lines = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n")
        let parts = lines[0].split(separator: " ")
        guard parts.count > 1 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            if let colon = line.firstIndex(of: ":") {
                headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            }
        }
        return (String(parts[0]), String(parts[1]), headers)
    }
}

/// One image as a registry gives it.
struct ServedImage: Sendable {
    var manifest: [UInt8]
    var blobs: [String: [UInt8]]

    /// - Parameter size: bytes of incompressible content in its one layer.
    init(size: Int, folder: String) throws {
        var tar = TarBuilder()
        var noise = [UInt8](repeating: 0, count: size)
        for start in stride(from: 0, to: size, by: 256) {
            _ = noise.withUnsafeMutableBytes { getentropy($0.baseAddress! + start, min(256, size - start)) }
        }
        tar.add("big", noise)
        let layout = try LayoutBuilder(folder)
        let descriptor = try layout.image([tar.finished])
        var blobs: [String: [UInt8]] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: "\(folder)/blobs/sha256") {
            blobs["sha256:\(name)"] = Array(FileManager.default.contents(atPath: "\(folder)/blobs/sha256/\(name)")!)
        }
        manifest = blobs[descriptor.digest.description]!
        self.blobs = blobs
    }

    /// What an honest registry answers, ranges included.
    func reply(_ path: String, _ headers: [String: String]) -> FlakyProxy.Reply {
        if path.contains("/manifests/") {
            return .init(headers: ["Content-Type: application/vnd.oci.image.manifest.v1+json"], body: manifest)
        }
        guard let digest = path.split(separator: "?").first?.split(separator: "/").last.map(String.init), let blob = blobs[digest] else {
            return .init(status: "404 Not Found", body: Array("{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}".utf8))
        }
        guard let range = headers["range"], let start = Int(range.dropFirst(6).prefix { $0 != "-" }) else { return .init(body: blob) }
        return .init(
            status: "206 Partial Content", headers: ["Content-Range: bytes \(start)-\(blob.count - 1)/\(blob.count)"],
            body: Array(blob[start...]))
    }
}
