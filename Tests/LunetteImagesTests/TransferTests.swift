import Foundation
import LunetteImages
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@Suite("transfers that go wrong") struct TransferTests {
    private func withProxy(
        _ size: Int = 3 << 20, _ answer: @escaping @Sendable (ServedImage, Int, String, [String: String]) -> FlakyProxy.Reply,
        _ body: (FlakyProxy, ImageStore, Workspace) async throws -> Void
    ) async throws {
        try await withWorkspace { workspace in
            let image = try ServedImage(size: size, folder: "\(workspace.folder)/served")
            let count = Mutex(0)
            let proxy = try FlakyProxy { _, path, headers in
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                return answer(image, number, path, headers)
            }
            defer { proxy.stop() }
            try await body(proxy, try await workspace.open(), workspace)
        }
    }

    @Test("a broken connection is gone on with where it broke", .requires(.root)) func resumes() async throws {
        try await withProxy { image, _, path, headers in
            var reply = image.reply(path, headers)
            if reply.body.count > 1 << 20 { reply.breakAfter = 1 << 20 }
            return reply
        } _: { proxy, store, workspace in
            let pulled = try await store.pull("\(proxy.host)/big:1")
            #expect(pulled.layers.count == 1)
            let ranges = proxy.requests.filter { $0.contains("bytes=") }
            #expect(ranges.contains { $0.hasSuffix("bytes=1048576-") }, "\(proxy.requests)")
            #expect(workspace.leftovers() == [])
        }
    }

    @Test("a server without ranges starts over", .requires(.root)) func startsOver() async throws {
        let broken = Mutex(false)
        try await withProxy { image, _, path, _ in
            var reply = image.reply(path, [:])
            if reply.body.count > 1 << 20,
                broken.withLock({ done in
                    defer { done = true }
                    return !done
                })
            {
                reply.breakAfter = 500_000
            }
            return reply
        } _: { proxy, store, _ in
            _ = try await store.pull("\(proxy.host)/big:1")
            #expect(try await store.check().isClean)
        }
    }

    @Test("503 and 429 are tried again after the pause that was asked for", .requires(.root)) func retries() async throws {
        try await withProxy(1 << 10) { image, number, path, headers in
            switch number {
            case 1: .init(status: "503 Service Unavailable")
            case 2: .init(status: "429 Too Many Requests", headers: ["Retry-After: 0"])
            default: image.reply(path, headers)
            }
        } _: { proxy, store, _ in
            _ = try await store.pull("\(proxy.host)/x:1")
            #expect(proxy.requests.filter { $0.contains("/manifests/") }.count == 3)
        }
    }

    @Test("a registry that only breaks is given up, with one clear error", .requires(.root)) func givesUp() async throws {
        try await withProxy { image, _, path, headers in
            var reply = image.reply(path, headers)
            if reply.body.count > 1 << 20 { reply.breakAfter = 0 }
            return reply
        } _: { proxy, store, _ in
            let error = await #expect(throws: LunetteError.self) { try await store.pull("\(proxy.host)/x:1") }
            #expect(error?.code == .io)
            #expect(error?.message.contains("connection to \(proxy.host) broke") == true)
            let images = try await store.list()
            #expect(images.isEmpty)
        }
    }

    /// What a client gets that compares nothing.
    private static func curl(_ path: String) async throws -> Data {
        try await Command("curl", "-sS", "--noproxy", "*", "http://\(path)").run(expecting: nil).stdout
    }

    @Test("a blob with other content, or more of it, is refused", .requires(.root), arguments: [true, false]) func wrongBlob(
        _ isLonger: Bool
    ) async throws {
        try await withProxy(1 << 20) { image, _, path, headers in
            var reply = image.reply(path, headers)
            if path.contains("/blobs/"), reply.body.count > 1 << 19 {
                if isLonger { reply.body += [1, 2, 3] } else { reply.body[700_000] ^= 1 }
            }
            return reply
        } _: { proxy, store, workspace in
            let manifest = try JSON.decode(Array(try await Self.curl("\(proxy.host)/v2/x/manifests/1")), source: "manifest")
            let digest = manifest["layers"]?.arrayValue?.first?["digest"]?.stringValue ?? ""
            let taken = Array(try await Self.curl("\(proxy.host)/v2/x/blobs/\(digest)"))
            undefended("curl(1) takes what comes", taken.count > 1 << 19 && Digest.of(taken).description != digest, taken.count)
            let error = await #expect(throws: LunetteError.self) { try await store.pull("\(proxy.host)/x:1") }
            #expect(error?.code == .io)
            #expect(error?.message.contains(isLonger ? "larger than" : "it hashes to") == true)
            let images = try await store.list()
            #expect(images.isEmpty)
            #expect(workspace.leftovers() == [])
        }
    }

    @Test("a manifest that isn't the asked digest is refused", .requires(.root)) func wrongManifest() async throws {
        try await withProxy(1 << 10) { image, _, path, headers in
            image.reply(path, headers)
        } _: { proxy, store, _ in
            let digest = "sha256:" + String(repeating: "0", count: 64)
            let taken = Array(try await Self.curl("\(proxy.host)/v2/x/manifests/\(digest)"))
            undefended("curl(1) takes what comes", !taken.isEmpty && Digest.of(taken).description != digest, taken.count)
            let error = await #expect(throws: LunetteError.self) { try await store.pull("\(proxy.host)/x@\(digest)") }
            #expect(error?.message.contains("hashes to") == true)
        }
    }

    @Test("endless manifests and headers are cut off", .requires(.root)) func endless() async throws {
        try await withProxy(1 << 10) { image, _, path, headers in
            var reply = image.reply(path, headers)
            if path.contains("/manifests/") { reply.body += [UInt8](repeating: 32, count: 5 << 20) }
            return reply
        } _: { proxy, store, _ in
            let error = await #expect(throws: LunetteError.self) { try await store.pull("\(proxy.host)/x:1") }
            #expect(error?.code == .resourceExhausted)
        }
        try await withProxy(1 << 10) { image, _, path, headers in
            var reply = image.reply(path, headers)
            reply.headers += (0..<100).map { "X-\($0): " + String(repeating: "x", count: 9000) }
            return reply
        } _: { proxy, store, _ in
            _ = await #expect(throws: LunetteError.self) { try await store.pull("\(proxy.host)/x:1") }
        }
    }

    @Test("a redirect to another host takes no authorisation along", .requires(.root)) func redirects() async throws {
        try await withWorkspace { workspace in
            let image = try ServedImage(size: 1 << 10, folder: "\(workspace.folder)/served")
            let storage = try FlakyProxy { _, path, headers in image.reply(path, headers) }
            defer { storage.stop() }
            let target = storage.host
            let front = try FlakyProxy { _, path, headers in
                if headers["authorization"] == nil {
                    return .init(status: "401 Unauthorized", headers: ["WWW-Authenticate: Basic realm=\"x\""])
                }
                if path.contains("/blobs/") {
                    return .init(status: "307 Temporary Redirect", headers: ["Location: http://\(target)\(path)"])
                }
                return image.reply(path, headers)
            }
            defer { front.stop() }
            let store = try await workspace.open()
            _ = try await store.pull("\(front.host)/x:1", options: RegistryOptions(username: "ada", password: "secret"))
            #expect(front.requests.contains { $0.hasSuffix("authorized") })
            #expect(!storage.requests.isEmpty)
            #expect(!storage.requests.contains { $0.contains("authorized") })
        }
    }

    @Test("a bearer token is fetched with the scope and used", .requires(.root)) func tokens() async throws {
        try await withWorkspace { workspace in
            let image = try ServedImage(size: 1 << 10, folder: "\(workspace.folder)/served")
            let port = Mutex(0)
            let proxy = try FlakyProxy { _, path, headers in
                if path.hasPrefix("/token") { return .init(body: Array("{\"token\":\"abc\",\"expires_in\":300}".utf8)) }
                if headers["authorization"] != "Bearer abc" {
                    let realm = "http://127.0.0.1:\(port.withLock { $0 })/token"
                    return .init(
                        status: "401 Unauthorized",
                        headers: ["WWW-Authenticate: Bearer realm=\"\(realm)\",service=\"reg\",scope=\"repository:x:pull\""])
                }
                return image.reply(path, headers)
            }
            port.withLock { $0 = proxy.port }
            defer { proxy.stop() }
            _ = try await workspace.open().pull("\(proxy.host)/x:1")
            let tokens = proxy.requests.filter { $0.contains("/token") }
            #expect(tokens.count == 1, "one token serves manifest and blobs")
            #expect(tokens.first?.contains("service=reg&scope=repository:x:pull") == true)
        }
    }

    @Test("mirrors come first, and one that is down or lacks the image is passed over", .requires(.root)) func mirrors() async throws {
        try await withWorkspace { workspace in
            let image = try ServedImage(size: 1 << 10, folder: "\(workspace.folder)/served")
            let empty = try FlakyProxy { _, _, _ in .init(status: "404 Not Found") }
            let mirror = try FlakyProxy { _, path, headers in image.reply(path, headers) }
            defer {
                empty.stop()
                mirror.stop()
            }
            let dead = try RegistryFixture.freePort()
            var configuration = RegistryConfiguration()
            configuration.registries["docker.io"] = .init(mirrors: [
                "http://127.0.0.1:\(dead)", "http://\(empty.host)", "http://\(mirror.host)/",
            ])
            let store = try await workspace.open(configuration)
            let pulled = try await store.pull("redis:7")
            #expect(pulled.references == ["docker.io/library/redis:7"])
            #expect(mirror.requests.first?.hasPrefix("GET /v2/library/redis/manifests/7?ns=docker.io") == true)
            #expect(!empty.requests.isEmpty)
        }
    }

    @Test("cancelling a pull ends it at once and leaves nothing half made", .requires(.root)) func cancels() async throws {
        try await withWorkspace { workspace in
            let image = try ServedImage(size: 8 << 20, folder: "\(workspace.folder)/served")
            let release = DispatchSemaphore(value: 0)
            let proxy = try FlakyProxy { _, path, headers in
                let reply = image.reply(path, headers)
                // The layer never comes.
                if reply.body.count > 1 << 20 { _ = release.wait(timeout: .now() + 20) }
                return reply
            }
            defer { proxy.stop() }
            let store = try await workspace.open()
            let task = Task { try await store.pull("\(proxy.host)/x:1") }
            try await eventually("the layer is asked for") { proxy.requests.count >= 3 }
            let start = ContinuousClock.now
            task.cancel()
            let error = await #expect(throws: LunetteError.self) { try await task.value }
            #expect(error?.code == .cancelled)
            #expect(ContinuousClock.now - start < .seconds(2))
            release.signal()
            #expect(try await store.list().isEmpty)
            #expect(workspace.leftovers() == [])
        }
    }

    @Test("twenty pulls of one image make one", .requires(.root)) func together() async throws {
        try await withProxy(1 << 20) { image, _, path, headers in
            image.reply(path, headers)
        } _: { proxy, store, _ in
            let ids = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<20 { group.addTask { try await store.pull("\(proxy.host)/x:1").id } }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            #expect(proxy.requests.filter { $0.contains("/manifests/") }.count == 1)
        }
    }

    @Test("a full disk is resource_exhausted, says so, and the store stays whole", .requires(.root)) func fullDisk() async throws {
        try await withProxy(8 << 20) { image, _, path, headers in
            image.reply(path, headers)
        } _: { proxy, _, workspace in
            let small = "\(workspace.folder)/small"
            try FileManager.default.createDirectory(atPath: small, withIntermediateDirectories: true)
            try await Command("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", small).run()
            do {
                let store = try await ImageStore.open(root: "\(small)/root")
                let error = await #expect(throws: LunetteError.self) { try await store.pull("\(proxy.host)/x:1") }
                #expect(error?.code == .resourceExhausted)
                #expect(error?.hint?.contains("disk is full") == true)
                #expect(try await store.list().isEmpty)
                #expect(try await store.check().isClean)
            } catch {
                try await Command("umount", "-l", small).run()
                throw error
            }
            try await Command("umount", "-l", small).run()
        }
    }

    @Test("a read-only root is one clear error", .requires(.root)) func readOnly() async throws {
        try await withWorkspace { workspace in
            let folder = "\(workspace.folder)/ro"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try await Command("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder).run()
            let error = await #expect(throws: LunetteError.self) { try await ImageStore.open(root: "\(folder)/root") }
            try await Command("umount", "-l", folder).run()
            #expect(error?.code == .denied)
            #expect(error?.message.contains("read-only file system") == true)
        }
    }
}
