import Foundation
import LunetteImages
import LunetteSpec

/// Writes an OCI layout by hand, so that a test can lie in it.
struct LayoutBuilder {
    let folder: String

    init(_ folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: "\(folder)/blobs/sha256", withIntermediateDirectories: true)
        try write("oci-layout", Array("{\"imageLayoutVersion\":\"1.0.0\"}".utf8))
    }

    func write(_ path: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(path)")) }

    /// Stores a blob under its digest.
    func blob(_ bytes: [UInt8], _ type: MediaType) throws -> Descriptor {
        let digest = Digest.of(bytes)
        try write("blobs/sha256/\(digest.hex)", bytes)
        return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
    }

    func blob(_ value: Value, _ type: MediaType) throws -> Descriptor { try blob(Array(JSON.encode(value).utf8), type) }

    /// An image of plain tars, the lowest first; `change` may falsify the manifest.
    @discardableResult
    func image(
        _ layers: [[UInt8]], name: String = "test.local/image:1", diffIDs: [Digest]? = nil, platform: Platform = .native,
        change: (inout Manifest) -> Void = { _ in }
    ) throws -> Descriptor {
        var config = ImageConfig(platform: platform)
        config.diffIDs = diffIDs ?? layers.map(Digest.of)
        var manifest = Manifest(config: try blob(config.value, .imageConfig), layers: try layers.map { try blob($0, .layerTar) })
        change(&manifest)
        let descriptor = try blob(manifest.value, .imageManifest)
        try index([descriptor], name: name)
        return descriptor
    }

    func index(_ manifests: [Descriptor], name: String?) throws {
        var list = manifests
        if let name { for index in list.indices { list[index].annotations["org.opencontainers.image.ref.name"] = name } }
        try write("index.json", Array(JSON.encode(ImageIndex(manifests: list).value).utf8))
    }
}

extension Workspace {
    /// Loads an image of the given layers into a new store.
    func load(_ layers: [[UInt8]], limits: UnpackLimits = UnpackLimits()) async throws -> ImageRecord {
        let layout = try LayoutBuilder("\(folder)/layout-\(UUID().uuidString.prefix(6))")
        try layout.image(layers)
        return try await open(limits: limits).load(layout.folder)[0]
    }
}

extension Digest {
    static func of(_ bytes: [UInt8]) -> Digest { ContentHash.digest(of: bytes) }
}
