/// Names what a blob is; OCI's types and Docker's older ones for the same things.
public struct MediaType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    public static let imageIndex = MediaType(rawValue: "application/vnd.oci.image.index.v1+json")
    public static let imageManifest = MediaType(rawValue: "application/vnd.oci.image.manifest.v1+json")
    public static let imageConfig = MediaType(rawValue: "application/vnd.oci.image.config.v1+json")
    public static let layerTar = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar")
    public static let layerTarGzip = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar+gzip")
    public static let layerTarZstd = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar+zstd")
    public static let dockerManifestList = MediaType(rawValue: "application/vnd.docker.distribution.manifest.list.v2+json")
    public static let dockerManifest = MediaType(rawValue: "application/vnd.docker.distribution.manifest.v2+json")
    public static let dockerConfig = MediaType(rawValue: "application/vnd.docker.container.image.v1+json")
    public static let dockerLayer = MediaType(rawValue: "application/vnd.docker.image.rootfs.diff.tar")
    public static let dockerLayerGzip = MediaType(rawValue: "application/vnd.docker.image.rootfs.diff.tar.gzip")
    public static let dockerLayerZstd = MediaType(rawValue: "application/vnd.docker.image.rootfs.diff.tar.zstd")

    public var isIndex: Bool { self == .imageIndex || self == .dockerManifestList }
    public var isManifest: Bool { self == .imageManifest || self == .dockerManifest }
    public var isConfig: Bool { self == .imageConfig || self == .dockerConfig }
    /// What a manifest request should accept, the best first.
    public static let manifestKinds: [MediaType] = [.imageIndex, .imageManifest, .dockerManifestList, .dockerManifest]

    /// How a layer's tar is packed.
    public enum Compression: String, Sendable, CaseIterable { case none, gzip, zstd }

    /// The packing of a layer; nil when this isn't a layer type that we know. Foreign and non-distributable layers count as layers.
    public var layerCompression: Compression? {
        switch rawValue {
        case Self.layerTar.rawValue, Self.dockerLayer.rawValue, "application/vnd.oci.image.layer.nondistributable.v1.tar": Compression.none
        case Self.layerTarGzip.rawValue, Self.dockerLayerGzip.rawValue, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
            .gzip
        case Self.layerTarZstd.rawValue, Self.dockerLayerZstd.rawValue, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
            .zstd
        default: nil
        }
    }
}
