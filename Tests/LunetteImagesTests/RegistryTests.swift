import Foundation
import LunetteImages
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@Suite("registries") struct RegistryTests {
    @Test("an image that skopeo pushed is pulled, unpacked and found again", .requires(.root, .dockerRegistry, .skopeo))
    func pullsPlain() async throws {
        try await withWorkspace { workspace in
            try await withRegistry(workspace) { registry in
                let reference = try await registry.push(layout: try await TestImage.busybox.layout(), as: "busybox:1")
                let store = try await workspace.open()
                let phases = Mutex<Set<String>>([])
                let image = try await store.pull(reference) { progress in phases.withLock { _ = $0.insert(progress.phase) } }
                #expect(image.references == [reference])
                #expect(image.id.hasPrefix("sha256:"))
                #expect(phases.withLock { $0 } == ["resolve", "download", "unpack", "commit"])
                #expect(image.snapshotPaths.count == image.layers.count)
                #expect(image.snapshotPaths.contains { FileManager.default.fileExists(atPath: "\($0)/bin/busybox") })
                #expect(workspace.leftovers() == [])
                #expect(try await store.check().isClean)
                let again = try await workspace.open()
                #expect(try await again.get(reference) == image)
                #expect(try await again.get(String(image.id.dropFirst(7).prefix(12))) == image)
                #expect(try await again.find("busybox:none") == nil)
            }
        }
    }

    @Test("TLS with a certificate of its own and a password", .requires(.root, .dockerRegistry, .skopeo, .command("htpasswd")))
    func pullsSecure() async throws {
        try await withWorkspace { workspace in
            try await withRegistry(workspace, secure: true) { registry in
                let reference = try await registry.push(layout: try await TestImage.busybox.layout(), as: "team/busybox:1")
                // Without the certificate: one clear error.
                let stranger = try await workspace.open()
                let distrust = await #expect(throws: LunetteError.self) {
                    try await stranger.pull(reference, options: RegistryOptions(tls: true))
                }
                #expect(distrust?.message.contains("TLS with \(registry.host)") == true)
                #expect(distrust?.hint?.contains("ca.crt") == true)

                let certificates = "\(workspace.folder)/config/certs.d/\(registry.host)"
                try FileManager.default.createDirectory(atPath: certificates, withIntermediateDirectories: true)
                try FileManager.default.copyItem(atPath: registry.certificate, toPath: "\(certificates)/ca.crt")
                let store = try await workspace.open(try RegistryConfiguration.load(directory: "\(workspace.folder)/config"))
                let anonymous = await #expect(throws: LunetteError.self) { try await store.pull(reference) }
                #expect(anonymous?.code == .unauthenticated)
                let wrong = await #expect(throws: LunetteError.self) {
                    try await store.pull(reference, options: RegistryOptions(username: "ada", password: "wrong"))
                }
                #expect(wrong?.code == .unauthenticated)
                let options = RegistryOptions(username: RegistryFixture.username, password: RegistryFixture.password)
                let image = try await store.pull(reference, options: options)
                #expect(image.references == [reference])

                // And back up under another name: blobs are mounted, not sent.
                _ = try await store.tag(reference, as: "\(registry.host)/team/copy:2")
                _ = try await store.push("\(registry.host)/team/copy:2", options: options)
                let digest = try await Command(
                    "skopeo", "inspect", "--tls-verify=false", "--creds", "\(RegistryFixture.username):\(RegistryFixture.password)",
                    "--format",
                    "{{.Digest}}", "docker://\(registry.host)/team/copy:2"
                ).run().text
                #expect(digest == image.digest)
            }
        }
    }

    @Test("a dead registry, an unknown name and an unknown tag are clear errors", .requires(.root, .dockerRegistry))
    func failsClearly() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            let port = try RegistryFixture.freePort()
            let dead = await #expect(throws: LunetteError.self) { try await store.pull("127.0.0.1:\(port)/x:1") }
            #expect(dead?.code == .io)
            #expect(dead?.message.contains("can't reach 127.0.0.1:\(port)") == true)
            try await withRegistry(workspace) { registry in
                let unknown = await #expect(throws: LunetteError.self) { try await store.pull("\(registry.host)/no/such:1") }
                #expect(unknown?.code == .notFound)
                #expect(unknown?.message.contains("\(registry.host)/no/such:1") == true)
            }
            let never = await #expect(throws: LunetteError.self) { try await store.pull("redis", options: RegistryOptions(policy: .never)) }
            #expect(never?.code == .notFound)
            #expect(workspace.leftovers() == [])
        }
    }
}
