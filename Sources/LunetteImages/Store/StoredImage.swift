internal import LunetteSpec

/// An image's documents, read and verified: everything about it but its names.
struct StoredImage: Sendable {
    var descriptor: Descriptor
    var manifest: Manifest
    var config: ImageConfig

    /// Reads manifest and config and checks that they fit together.
    /// - Throws: `invalid_argument` when layers and diff ids don't pair up, `unsupported` for layers of an unknown type.
    init(_ descriptor: Descriptor, from content: ContentStore) throws(LunetteError) {
        let bytes = try content.document(descriptor)
        let document = try ImageDocument.decode(bytes, expected: descriptor.mediaType, source: "manifest \(descriptor.digest)")
        guard case .manifest(let manifest) = document else {
            throw LunetteError(.invalidArgument, "\(descriptor.digest) is an index where a manifest was announced")
        }
        try Self.checkTypes(manifest, descriptor.digest)
        let config = try ImageConfig.decode(try content.document(manifest.config), source: "config \(manifest.config.digest)")
        self.init(descriptor: descriptor, manifest: manifest, config: config)
        try checkLayers()
    }

    init(descriptor: Descriptor, manifest: Manifest, config: ImageConfig) {
        self.descriptor = descriptor
        self.manifest = manifest
        self.config = config
    }

    /// Refuses artifacts that are no images before anything is fetched.
    static func checkTypes(_ manifest: Manifest, _ digest: Digest) throws(LunetteError) {
        guard manifest.config.mediaType.isConfig else {
            throw LunetteError(
                .unsupported,
                "manifest \(digest) is no container image but \"\(displayable(manifest.config.mediaType.rawValue, limit: 100))\"")
        }
        for layer in manifest.layers where layer.mediaType.layerCompression == nil {
            throw LunetteError(
                .unsupported, "manifest \(digest) has a layer of type \"\(displayable(layer.mediaType.rawValue, limit: 100))\"")
        }
    }

    func checkLayers() throws(LunetteError) {
        guard config.diffIDs.count == manifest.layers.count else {
            throw LunetteError(
                .invalidArgument,
                "image \(descriptor.digest): its manifest has \(manifest.layers.count) layers, its config \(config.diffIDs.count) diff ids")
        }
    }

    var id: Digest { manifest.config.digest }
    var size: Int64 { manifest.layers.reduce(descriptor.size + manifest.config.size) { $0 + $1.size } }
    /// All blobs it needs.
    var blobs: [Descriptor] { [descriptor, manifest.config] + manifest.layers }

    /// The name of each layer's chain: what the folders below a layer are decides what it looks like. Source: image-spec config.md, ChainID.
    var chainIDs: [Digest] {
        var chain: [Digest] = []
        for diffID in config.diffIDs {
            chain.append(chain.last.map { ContentHash.digest(of: Array("\($0) \(diffID)".utf8)) } ?? diffID)
        }
        return chain
    }
}
