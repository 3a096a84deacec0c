import LunetteSpec
import Testing

@Suite struct ImageDocumentTests {
    private static let digest = "sha256:" + String(repeating: "a", count: 64)
    private static func descriptor(_ type: String, size: Value = 3) -> Value {
        ["mediaType": .string(type), "digest": .string(digest), "size": size]
    }
    private static let manifest: Value = [
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
    ]
    private static let index: Value = [
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json")],
    ]

    private func decode(_ value: Value, _ expected: MediaType? = nil) throws(LunetteError) -> ImageDocument {
        try ImageDocument.decode(Array(JSON.encode(value).utf8), expected: expected, source: "test")
    }

    @Test func documentsReadBackTheSame() throws {
        for value in [Self.manifest, Self.index] { #expect(try decode(value).value == value) }
        #expect(try decode(Self.manifest.merged(with: ["mediaType": nil]), .imageManifest) == decode(Self.manifest))
        #expect(try decode(Self.index.merged(with: ["mediaType": nil])) == decode(Self.index))
    }

    /// CVE-2021-41190: a document that one reader takes for an image and another for an index.
    @Test func ambiguityIsRefused() {
        let both = Self.manifest.merged(with: ["manifests": Self.index["manifests"]!])
        let cases: [(Value, MediaType?)] = [
            (both, nil), (both.merged(with: ["mediaType": nil]), .imageManifest), (both.merged(with: ["mediaType": nil]), .imageIndex),
            (Self.manifest, .imageIndex), (Self.index, .imageManifest), (Self.manifest, .dockerManifest),
            (Self.manifest.merged(with: ["mediaType": "application/vnd.oci.image.index.v1+json"]), nil),
            (Self.index.merged(with: ["mediaType": "application/vnd.oci.image.manifest.v1+json"]), nil),
            (Self.manifest.merged(with: ["fsLayers": [["blobSum": "x"]]]), nil),
            (Self.manifest.merged(with: ["mediaType": "text/html"]), nil),
            (Self.manifest.merged(with: ["schemaVersion": 1]), nil), (Self.manifest.merged(with: ["schemaVersion": nil]), nil),
            (["schemaVersion": 2], nil),
        ]
        for (value, expected) in cases {
            #expect(
                failure { () throws(LunetteError) in _ = try decode(value, expected) } != nil,
                "\(JSON.encode(value)) as \(expected?.rawValue ?? "-")")
        }
        // A key twice: readers disagree which one counts.
        let text = #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"manifests":[]}"#
        #expect(failure { () throws(LunetteError) in _ = try ImageDocument.decode(Array(text.utf8), expected: nil, source: "test") } != nil)
    }

    @Test func hostileDescriptorsAreRefused() {
        for change: Value in [
            ["config": ["digest": "sha256:../../x"]], ["config": ["digest": "md5:abc"]], ["config": ["size": -1]],
            ["config": ["size": 1.5]],
            ["config": ["size": "3"]], ["config": ["size": 1e30]], ["config": ["mediaType": nil]], ["config": nil], ["layers": "x"],
            ["layers": [1]],
        ] { #expect(failure { () throws(LunetteError) in _ = try decode(Self.manifest.merged(with: change)) } != nil, "\(change)") }
    }

    @Test func moreLayersThanOverlayStacksAreRefusedBeforeAnyIsFetched() throws {
        let layer = Self.manifest["layers"]!.arrayValue![0]
        let most = Self.manifest.merged(with: ["layers": .array(Array(repeating: layer, count: Manifest.mostLayers))])
        #expect(throws: Never.self) { _ = try decode(most) }
        let tooMany = Self.manifest.merged(with: ["layers": .array(Array(repeating: layer, count: Manifest.mostLayers + 1))])
        #expect(failure { () throws(LunetteError) in _ = try decode(tooMany) }?.message.contains("at most 499") == true)
    }

    @Test func theBestPlatformIsTaken() throws {
        var arm = try Descriptor(Self.descriptor("application/vnd.oci.image.manifest.v1+json", size: 1))
        arm.platform = Platform(os: "linux", architecture: "arm64", variant: "v8")
        var intel = arm
        intel.platform = Platform(os: "linux", architecture: "amd64")
        var attestation = arm
        attestation.platform = Platform(os: "unknown", architecture: "unknown")
        let index = ImageIndex(manifests: [attestation, arm, intel])
        #expect(index.manifest(for: Platform(os: "linux", architecture: "amd64")) == intel)
        #expect(index.manifest(for: Platform(os: "linux", architecture: "arm64")) == arm)
        #expect(index.manifest(for: Platform(os: "linux", architecture: "s390x")) == nil)
        #expect(ImageIndex(manifests: [attestation]).manifest(for: .native) == nil)
    }

    @Test func configsReadBackTheSame() throws {
        let value: Value = [
            "created": "2026-01-02T03:04:05Z", "author": "me", "architecture": "amd64", "os": "linux",
            "config": [
                "User": "redis", "ExposedPorts": ["6379/tcp": [:]], "Env": ["PATH=/bin"], "Entrypoint": ["/e"], "Cmd": ["c"],
                "Volumes": ["/data": [:]],
                "WorkingDir": "/data", "Labels": ["a": "b"], "StopSignal": "SIGQUIT", "Healthcheck": ["Test": ["CMD", "true"]],
                "Shell": ["/bin/sh", "-c"],
            ],
            "rootfs": ["type": "layers", "diff_ids": [.string(Self.digest)]], "history": [["created_by": "x", "empty_layer": true]],
        ]
        #expect(try ImageConfig(value).value == value)
        // Go writes null for an empty list.
        let nulls = value.merged(with: [:]).mapValue.map { map in
            var map = map
            map["config"] = ["Env": .null, "Entrypoint": .null, "Labels": .null, "Volumes": .null]
            return Value.map(map)
        }
        #expect(try ImageConfig(#require(nulls)).config == ImageProcessConfig())
        for change: Value in [
            ["rootfs": nil], ["rootfs": ["type": "x"]], ["rootfs": ["diff_ids": ["sha256:x"]]], ["os": nil], ["config": ["Env": "x"]],
        ] {
            #expect(failure { () throws(LunetteError) in _ = try ImageConfig(value.merged(with: change)) } != nil, "\(change)")
        }
    }
}
