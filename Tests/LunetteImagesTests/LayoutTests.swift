import Foundation
import LunetteImages
import LunetteSpec
import LunetteTesting
import Testing

/// Attacks 44 and 45, and the ways in and out of the store that need no registry.
@Suite("layouts and archives") struct LayoutTests {
    private func layer(_ name: String = "x") -> [UInt8] {
        var tar = TarBuilder()
        tar.add(name, Array(name.utf8))
        return tar.finished
    }

    private func refusal(_ code: ErrorCode, _ fill: (LayoutBuilder) throws -> Void) async throws -> LunetteError {
        try await withWorkspace { workspace in
            let layout = try LayoutBuilder("\(workspace.folder)/layout")
            try fill(layout)
            let store = try await workspace.open()
            let error = await #expect(throws: LunetteError.self) { try await store.load(layout.folder) }
            #expect(workspace.leftovers() == [])
            #expect(try await store.list().isEmpty)
            let found = try #require(error)
            #expect(found.code == code, "\(found)")
            return found
        }
    }

    /// What readers make of a document that look at one thing each: a field, another field, what was announced.
    private static func kinds(of document: Value, announced: MediaType) -> Set<MediaType> {
        [
            document["manifests"] != nil ? .imageIndex : .imageManifest, document["layers"] != nil ? .imageManifest : .imageIndex,
            announced,
        ]
    }

    @Test(
        "a bare tag stands behind the folder's or the file's name", .requires(.root),
        arguments: [
            ("Web App", "latest", "docker.io/library/web-app:latest"), ("web.tar", "3.19-alpine", "docker.io/library/web:3.19-alpine"),
            ("web", "RC1", "docker.io/library/web:RC1"), ("web", "hello", "docker.io/library/hello:latest"),
            ("web", "vim", "docker.io/library/vim:latest"), ("web", "a.b/c:latest", "a.b/c:latest"), ("--", "latest", ""),
        ]) func bareTags(_ folder: String, _ name: String, _ reference: String) async throws
    {
        try await withWorkspace { workspace in
            let layout = try LayoutBuilder("\(workspace.folder)/\(folder)")
            try layout.image([layer()], name: name)
            let records = try await workspace.open().load(layout.folder)
            #expect(records[0].references == (reference.isEmpty ? [] : [reference]))
        }
    }

    @Test("a document that is both manifest and index is refused", .requires(.root)) func ambiguous() async throws {
        let both: Value = ["mediaType": .string(MediaType.imageManifest.rawValue), "layers": [], "manifests": []]
        undefended("readers of one field each disagree", Self.kinds(of: both, announced: .imageManifest).count == 2)
        _ = try await refusal(.invalidArgument) { layout in
            let manifest = try layout.image([layer()])
            var value = try JSON.decode(
                Array(FileManager.default.contents(atPath: "\(layout.folder)/blobs/sha256/\(manifest.digest.hex)")!), source: "x"
            ).mapValue!
            value["manifests"] = .array([])
            try layout.index([try layout.blob(.map(value), .imageManifest)], name: "x:1")
        }
    }

    @Test("a media type that isn't the announced one is refused", .requires(.root)) func mediaType() async throws {
        let plain: Value = ["mediaType": .string(MediaType.imageManifest.rawValue), "layers": []]
        undefended("readers of one field each disagree", Self.kinds(of: plain, announced: .imageIndex).count == 2)
        _ = try await refusal(.invalidArgument) { layout in
            var manifest = try layout.image([layer()])
            manifest.mediaType = .imageIndex
            try layout.index([manifest], name: "x:1")
        }
    }

    @Test(
        "digests of another algorithm or with a path in them are refused", .requires(.root),
        arguments: ["sha256:../../../etc/passwd", "md5:00", "sha256:00"])
    func oddDigests(_ digest: String) async throws {
        _ = try await refusal(.invalidArgument) { layout in
            try layout.image([layer()])
            // Where whoever makes a path of the digest finds it: below the workspace at most.
            let path = "\(layout.folder)/blobs/\(digest.replacingOccurrences(of: ":", with: "/"))"
            let place = URL(filePath: path).standardized
            #expect(place.path.hasPrefix((layout.folder as NSString).deletingLastPathComponent))
            try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data("bad".utf8).write(to: place)
            undefended("as a path, the digest leads to a file", FileManager.default.contents(atPath: path) == Data("bad".utf8))
            let index = """
                {"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"\(digest)","size":3}]}
                """
            try layout.write("index.json", Array(index.utf8))
        }
    }

    @Test("a size that is too small or too large is refused", .requires(.root), arguments: [-1, 1] as [Int64]) func sizes(
        _ change: Int64
    ) async throws {
        undefended("tar(1) takes the layer unmeasured", try await NaiveUnpacker.takes(layer()))
        let error = try await refusal(.io) { layout in try layout.image([layer()]) { $0.layers[0].size += change } }
        #expect(error.message.contains("descriptor"))
    }

    @Test("a layer with other content than its digest says is refused", .requires(.root)) func content() async throws {
        var bytes = layer()
        bytes[512] ^= 1
        undefended("tar(1) takes other content", try await NaiveUnpacker.takes(bytes))
        let error = try await refusal(.io) { layout in
            try layout.image([layer()])
            try layout.write("blobs/sha256/\(Digest.of(layer()).hex)", bytes)
        }
        #expect(error.message.contains("it hashes to"))
    }

    @Test("a right layer with a wrong diff id is refused before commit", .requires(.root)) func diffID() async throws {
        undefended("tar(1) asks for no diff id", try await NaiveUnpacker.takes(layer()))
        let error = try await refusal(.io) { layout in try layout.image([layer()], diffIDs: [Digest.of([1, 2, 3])]) }
        #expect(error.message.contains("diff") || error.message.contains("config says"))
        _ = try await refusal(.invalidArgument) { layout in try layout.image([layer()], diffIDs: []) }
    }

    @Test("truncated gzip and zstd layers are refused", .requires(.root, .command("zstd")), arguments: ["gzip", "zstd"])
    func truncated(_ tool: String) async throws {
        let random = (0..<200_000).map { _ in UInt8.random(in: 0...255) }
        var tar = TarBuilder()
        tar.add("x", random)
        let packed = try await Command(["/bin/bash", "-c", "\(tool) -qc"]).withInput(tar.finished).run().stdout
        let cut = Array(packed.dropLast(5000))
        let started = try await Command(["/bin/bash", "-c", "\(tool) -dqc"]).withInput(cut).run(expecting: nil).stdout
        undefended("whoever asks for no exit code takes what there is", try await NaiveUnpacker.takes(Array(started)))
        _ = try await refusal(.io) { layout in
            try layout.image([layer()], diffIDs: [Digest.of(tar.finished)]) { manifest in
                manifest.layers = [try! layout.blob(cut, tool == "gzip" ? .layerTarGzip : .layerTarZstd)]
            }
        }
    }

    @Test("gzip, zstd and plain layers unpack alike", .requires(.root, .command("zstd"))) func compressions() async throws {
        try await withWorkspace { workspace in
            let plain = layer()
            let gzip = Array(try await Command(["/bin/bash", "-c", "gzip -c"]).withInput(plain).run().stdout)
            let zstd = Array(try await Command(["/bin/bash", "-c", "zstd -qc"]).withInput(plain).run().stdout)
            for (bytes, type) in [(gzip, MediaType.layerTarGzip), (zstd, .layerTarZstd)] {
                let layout = try LayoutBuilder("\(workspace.folder)/\(type.rawValue.suffix(4))")
                try layout.image([plain]) { $0.layers = [try! layout.blob(bytes, type)] }
                let store = try await ImageStore.open(root: "\(workspace.folder)/root-\(type.rawValue.suffix(4))")
                let image = try #require(try await store.load(layout.folder).first)
                #expect(FileManager.default.contents(atPath: image.snapshotPaths[0] + "/x") == Data("x".utf8))
            }
        }
    }

    @Test("what is saved loads here, in skopeo and in a second store with the same digests", .requires(.root, .skopeo))
    func roundTrip() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            let image = try #require(try await store.load(try await TestImage.busybox.folder(), tag: "localhost/busybox:1").first)
            #expect(image.references == ["localhost/busybox:1"])
            let (tar, folder) = ("\(workspace.folder)/image.tar", "\(workspace.folder)/saved/")
            try await store.save(["localhost/busybox:1"], to: tar)
            try await store.save(["localhost/busybox:1"], to: folder)
            for (index, source) in [tar, folder].enumerated() {
                let second = try await ImageStore.open(root: "\(workspace.folder)/second-\(index)")
                let loaded = try await second.load(source)
                #expect(loaded.map(\.id) == [image.id])
                #expect(loaded.map(\.digest) == [image.digest])
                #expect(loaded.map(\.references) == [image.references])
            }
            for source in [
                "oci-archive:\(tar)", "docker-archive:\(tar)", "oci:\(folder)", "oci:\(workspace.root)/content:localhost/busybox:1",
            ] {
                let id = try await Command("skopeo", "inspect", "--config", "--raw", source).run().stdout
                #expect(Digest.of(Array(id)).description == image.id, "\(source)")
            }
        }
    }

    @Test(
        "what the store keeps, saves and builds validates against image-spec's schemas",
        .requires(.root, .file("/usr/lib/python3/dist-packages/jsonschema")))
    func schemas() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            _ = try await store.load(try await TestImage.busybox.folder(), tag: "localhost/busybox:1")
            var spec = BuildSpec()
            spec.from = "localhost/busybox:1"
            spec.tag = "localhost/built:1"
            spec.copy = [.init(from: "/etc/hostname", to: "/etc/built-on")]
            spec.config.exposedPorts = ["80/tcp"]
            spec.config.labels = [("a", "b")]
            _ = try await store.build(spec, runner: nil)
            try await store.save(["localhost/built:1", "localhost/busybox:1"], to: "\(workspace.folder)/saved/")
            let tool = "\(LunetteHome.package)/scripts/dev/validate-layout"
            for layout in ["\(workspace.folder)/saved", "\(workspace.root)/content"] {
                let result = try await Command(tool, layout).run(expecting: nil)
                #expect(result.code == 0, "\(result.text) \(result.errorText)")
            }
        }
    }

    @Test("a docker-archive made by skopeo loads", .requires(.root, .skopeo)) func dockerArchive() async throws {
        try await withWorkspace { workspace in
            let path = "\(workspace.folder)/docker.tar"
            try await Command(
                "skopeo", "copy", "-q", "oci:\(try await TestImage.busybox.layout())", "docker-archive:\(path):docker.io/library/busybox:9"
            ).run()
            let store = try await workspace.open()
            let image = try #require(try await store.load(path).first)
            #expect(image.references == ["docker.io/library/busybox:9"])
            #expect(try await store.get("busybox:9") == image)
            let again = try await store.load(path, tag: "localhost/other:1")
            #expect(again.first?.references == ["localhost/other:1", "docker.io/library/busybox:9"], "what was asked for comes first")
            let error = await #expect(throws: LunetteError.self) { try await store.load("/etc/passwd") }
            #expect(error?.message.hasPrefix("load /etc/passwd: ") == true)
            #expect(image.snapshotPaths.contains { FileManager.default.fileExists(atPath: "\($0)/bin/busybox") })
        }
    }

    @Test("a saved image runs through Debian's Podman", .requires(.root, .podman)) func podman() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            _ = try await store.load(try await TestImage.busybox.folder(), tag: "localhost/busybox:1")
            try await store.save(["localhost/busybox:1"], to: "\(workspace.folder)/image.tar")
            let podman = ["podman", "--root", "\(workspace.folder)/podman", "--runroot", "\(workspace.folder)/podman-run"]
            let output = try await Command(podman + ["load", "-q", "-i", "\(workspace.folder)/image.tar"]).run(timeout: .seconds(120)).text
            try await Command(podman + ["system", "reset", "--force"]).run(expecting: nil, timeout: .seconds(120))
            #expect(output.contains("localhost/busybox:1"))
        }
    }

    @Test("the platform of this machine is chosen from an index; another one is a clear error", .requires(.root)) func platforms()
        async throws
    {
        try await withWorkspace { workspace in
            let layout = try LayoutBuilder("\(workspace.folder)/layout")
            var other = try layout.image([layer("other")], platform: Platform("linux/s390x"))
            other.platform = try Platform("linux/s390x")
            var native = try layout.image([layer("native")])
            native.platform = .native
            let index = try layout.blob(ImageIndex(manifests: [other, native]).value, .imageIndex)
            try layout.index([index], name: "multi:1")
            let store = try await workspace.open()
            let image = try #require(try await store.load(layout.folder).first)
            #expect(FileManager.default.fileExists(atPath: image.snapshotPaths[0] + "/native"))
            try layout.index([try layout.blob(ImageIndex(manifests: [other]).value, .imageIndex)], name: "multi:2")
            let error = await #expect(throws: LunetteError.self) { try await store.load(layout.folder) }
            #expect(error?.code == .notFound)
        }
    }
}

extension Command {
    func withInput(_ bytes: [UInt8]) -> Command {
        var copy = self
        copy.input = Data(bytes)
        return copy
    }
}
