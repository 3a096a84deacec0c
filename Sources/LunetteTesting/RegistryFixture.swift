import Foundation
import Glibc

/// Debian's docker-registry on a loopback port, filled with skopeo: nothing of Lunette's is in it.
public final class RegistryFixture: Sendable {
    public let port: Int
    public let isSecure: Bool
    /// Holds the storage, certificate and password file.
    public let folder: String
    private let server: RunningCommand

    public static let username = "ada"
    public static let password = "correct horse"

    /// `127.0.0.1:PORT`.
    public var host: String { "127.0.0.1:\(port)" }
    /// The certificate to trust, when secure: PEM.
    public var certificate: String { "\(folder)/tls/ca.crt" }

    /// Starts a registry below `folder`.
    /// - Parameter secure: TLS with a certificate of its own, and basic authentication.
    public init(folder: String, secure: Bool = false) async throws {
        self.folder = folder
        isSecure = secure
        try FileManager.default.createDirectory(atPath: "\(folder)/tls", withIntermediateDirectories: true)
        port = try Self.freePort()
        var http = "http:\n  addr: 127.0.0.1:\(port)\n"
        var rest = ""
        if secure {
            try await Command.shell(
                """
                cd \(folder)/tls
                openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=lunette test registry' \
                    -addext 'subjectAltName=IP:127.0.0.1' -keyout key.pem -out ca.crt 2>/dev/null
                htpasswd -Bbn \(Self.username) '\(Self.password)' >htpasswd
                """
            ).run()
            http += "  tls:\n    certificate: \(folder)/tls/ca.crt\n    key: \(folder)/tls/key.pem\n"
            rest = "auth:\n  htpasswd:\n    realm: test\n    path: \(folder)/tls/htpasswd\n"
        }
        let configuration = """
            version: 0.1
            log:
              level: warn
            storage:
              filesystem:
                rootdirectory: \(folder)/storage
              delete:
                enabled: true
            \(http)\(rest)
            """
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: "\(folder)/registry.yml"))
        server = try Command("docker-registry", "serve", "\(folder)/registry.yml").start()
        let url = "\(secure ? "https" : "http")://\(host)/v2/"
        try await eventually("the registry answers on \(host)") {
            if !self.server.isRunning { throw CommandFailure("docker-registry ended: \(self.server.errorText)") }
            return try await Command("curl", "-ks", "-o", "/dev/null", url).run(expecting: nil).code == 0
        }
    }

    /// Pushes an OCI layout's image with skopeo.
    /// - Parameters:
    ///   - layout: `FOLDER:TAG`.
    ///   - name: `redis:7`.
    /// - Returns: the reference to pull.
    public func push(layout: String, as name: String) async throws -> String {
        var arguments = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]
        if isSecure { arguments += ["--dest-creds", "\(Self.username):\(Self.password)"] }
        try await Command(arguments + ["oci:\(layout)", "docker://\(host)/\(name)"]).run(timeout: .seconds(120))
        return "\(host)/\(name)"
    }

    /// Ends the server; its folder is the caller's to remove.
    public func stop() async throws {
        server.signal(SIGKILL)
        _ = try await server.wait()
    }

    /// A port that nothing listens on now.
    public static func freePort() throws -> Int {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard fd >= 0 else { throw CommandFailure("socket: errno \(errno)") }
        defer { close(fd) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(fd, pointer, length) == 0 ? getsockname(fd, pointer, &length) : -1
            }
        }
        guard result == 0 else { throw CommandFailure("bind: errno \(errno)") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
