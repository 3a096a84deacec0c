/// Lists one image's config and layers. Source: image-spec manifest.md, Docker's manifest v2 schema 2.
public struct Manifest: Hashable, Sendable {
    public var mediaType: MediaType
    public var config: Descriptor
    /// The lowest first.
    public var layers: [Descriptor]
    public var annotations: [String: String]
    public var subject: Descriptor?
    public var artifactType: String?

    /// How many layers an image may have: what overlay stacks (OVL_MAX_STACK in fs/overlayfs/params.h), less the container's own.
    public static let mostLayers = 499

    public init(
        mediaType: MediaType = .imageManifest, config: Descriptor, layers: [Descriptor], annotations: [String: String] = [:],
        subject: Descriptor? = nil, artifactType: String? = nil
    ) {
        self.mediaType = mediaType
        self.config = config
        self.layers = layers
        self.annotations = annotations
        self.subject = subject
        self.artifactType = artifactType
    }

    fileprivate init(reading reader: inout FieldReader, mediaType: MediaType) throws(LunetteError) {
        self.mediaType = mediaType
        guard var config = try reader.table("config") else { throw reader.failure("config", "is required") }
        self.config = try Descriptor(reading: &config)
        layers = []
        let tables = try reader.tables("layers")
        // Refused before anything is fetched; overlay takes no more (docs/kernel-notes.md).
        guard tables.count <= Self.mostLayers else {
            throw reader.failure("layers", "are \(tables.count), and at most \(Self.mostLayers) can be stacked")
        }
        for var layer in tables { layers.append(try Descriptor(reading: &layer)) }
        annotations = try reader.dictionary("annotations")
        if var table = try reader.table("subject") { subject = try Descriptor(reading: &table) }
        artifactType = try reader.string("artifactType")
    }

    public var value: Value {
        var map: ValueMap = ["schemaVersion": 2, "mediaType": .string(mediaType.rawValue)]
        map.set("artifactType", artifactType)
        map["config"] = config.value
        map["layers"] = .array(layers.map(\.value))
        if let subject { map["subject"] = subject.value }
        map.set("annotations", annotations)
        return .map(map)
    }
}

/// Lists the manifests of one image for several platforms, or the images of a layout. Source: image-spec image-index.md.
public struct ImageIndex: Hashable, Sendable {
    public var mediaType: MediaType
    public var manifests: [Descriptor]
    public var annotations: [String: String]

    public init(mediaType: MediaType = .imageIndex, manifests: [Descriptor], annotations: [String: String] = [:]) {
        self.mediaType = mediaType
        self.manifests = manifests
        self.annotations = annotations
    }

    fileprivate init(reading reader: inout FieldReader, mediaType: MediaType) throws(LunetteError) {
        self.mediaType = mediaType
        manifests = []
        for var manifest in try reader.tables("manifests") { manifests.append(try Descriptor(reading: &manifest)) }
        annotations = try reader.dictionary("annotations")
    }

    /// The manifest that suits `platform` best; among equals the first, as image-spec says.
    ///
    /// Entries without a platform (layouts made by `skopeo copy`) are taken when nothing else fits.
    public func manifest(for platform: Platform) -> Descriptor? {
        var best: (Descriptor, Int)?
        for candidate in manifests where candidate.mediaType.isManifest || candidate.mediaType.isIndex {
            // buildkit's attestations say unknown/unknown: they are no image.
            guard let fitness = candidate.platform.map({ platform.fitness(of: $0) }) ?? 0 else { continue }
            if best == nil || fitness > best!.1 { best = (candidate, fitness) }
        }
        return best?.0
    }

    public var value: Value {
        var map: ValueMap = ["schemaVersion": 2, "mediaType": .string(mediaType.rawValue), "manifests": .array(manifests.map(\.value))]
        map.set("annotations", annotations)
        return .map(map)
    }
}

/// A document that a registry or layout gives for a reference: a manifest or an index, never something that could be read as both.
public enum ImageDocument: Hashable, Sendable {
    case manifest(Manifest)
    case index(ImageIndex)

    /// Decodes a manifest or index and refuses ambiguity (CVE-2021-41190).
    ///
    /// - Parameters:
    ///   - expected: the type that the descriptor or the `Content-Type` claims; nil when nothing does (`index.json`).
    ///   - source: what is read, for messages.
    /// - Throws: `invalid_argument` for malformed or ambiguous documents, `unsupported` for Docker's schema 1 and unknown types.
    public static func decode(_ bytes: [UInt8], expected: MediaType?, source: String) throws(LunetteError) -> ImageDocument {
        do {
            return try decode(try JSON.decode(bytes, source: source), expected: expected)
        } catch {
            var error = error
            if !error.message.contains(source) { error.message = "read \(source): \(error.message)" }
            throw error
        }
    }

    static func decode(_ value: Value, expected: MediaType?) throws(LunetteError) -> ImageDocument {
        var reader = try FieldReader(value)
        let version = try reader.int("schemaVersion")
        guard version == 2 else {
            throw version == 1
                ? LunetteError(
                    .unsupported, "Docker's manifest schema 1 has no verifiable layers", path: "schemaVersion",
                    hint: "push the image again with a current tool")
                : reader.failure("schemaVersion", "must be 2")
        }
        let stated = try reader.string("mediaType").map(MediaType.init(rawValue:))
        if let stated, let expected, stated != expected {
            throw reader.failure(
                "mediaType",
                "says \"\(displayable(stated.rawValue, limit: 100))\" where \"\(displayable(expected.rawValue, limit: 100))\" was announced"
            )
        }
        let hasManifests = reader.value("manifests") != nil
        let hasLayers = reader.value("layers") != nil || reader.value("config") != nil
        if (hasManifests && hasLayers) || reader.value("fsLayers") != nil {
            throw LunetteError(
                .invalidArgument, "can be read both as an image and as an index of images", path: hasManifests ? "manifests" : "fsLayers")
        }
        guard let kind = stated ?? expected ?? (hasManifests ? .imageIndex : hasLayers ? .imageManifest : nil) else {
            throw reader.failure("mediaType", "is neither a manifest nor an index")
        }
        if kind.isIndex {
            guard !hasLayers else { throw reader.failure("mediaType", "says index, but the document is a manifest") }
            guard hasManifests else { throw reader.failure("manifests", "is required") }
            return .index(try ImageIndex(reading: &reader, mediaType: kind))
        }
        guard kind.isManifest else {
            throw LunetteError(.unsupported, "\"\(displayable(kind.rawValue, limit: 100))\" is no manifest or index", path: "mediaType")
        }
        guard !hasManifests else { throw reader.failure("mediaType", "says manifest, but the document is an index") }
        return .manifest(try Manifest(reading: &reader, mediaType: kind))
    }

    public var value: Value {
        switch self {
        case .manifest(let manifest): manifest.value
        case .index(let index): index.value
        }
    }
}
