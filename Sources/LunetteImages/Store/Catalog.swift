internal import LunetteSpec

/// The images of a store as `index.json` lists them: a pure value, so that every change can be tested without a disk.
struct Catalog: Sendable, Equatable {
    struct Entry: Sendable, Equatable {
        /// The manifest's; without annotations.
        var manifest: Descriptor
        /// Full references, sorted.
        var references: [String]
    }

    static let referenceAnnotation = "org.opencontainers.image.ref.name"
    private(set) var entries: [Entry] = []
    /// What others put into the index and we don't understand; kept as it came.
    private(set) var foreign: [Descriptor] = []

    init() {}

    init(_ index: ImageIndex) {
        for var descriptor in index.manifests {
            guard descriptor.mediaType.isManifest else {
                foreign.append(descriptor)
                continue
            }
            let reference = descriptor.annotations[Self.referenceAnnotation]
            descriptor.annotations = [:]
            add(descriptor, reference: reference)
        }
    }

    /// One descriptor a reference, as image-spec wants it; an image without references has one without annotation.
    var index: ImageIndex {
        var manifests: [Descriptor] = []
        for entry in entries {
            if entry.references.isEmpty { manifests.append(entry.manifest) }
            for reference in entry.references {
                var descriptor = entry.manifest
                descriptor.annotations[Self.referenceAnnotation] = reference
                manifests.append(descriptor)
            }
        }
        return ImageIndex(manifests: manifests + foreign)
    }

    /// Adds an image, or gives one that is there another reference; a reference names one image alone, so it leaves its old one.
    mutating func add(_ manifest: Descriptor, reference: String?) {
        if let reference { untag(reference) }
        let position: Int
        if let known = entries.firstIndex(where: { $0.manifest.digest == manifest.digest }) {
            position = known
        } else {
            entries.append(Entry(manifest: manifest, references: []))
            position = entries.count - 1
        }
        if let reference {
            entries[position].references.append(reference)
            entries[position].references.sort()
        }
    }

    mutating func untag(_ reference: String) {
        for index in entries.indices { entries[index].references.removeAll { $0 == reference } }
    }

    mutating func remove(_ digest: Digest) { entries.removeAll { $0.manifest.digest == digest } }

    func entry(named reference: String) -> Entry? { entries.first { $0.references.contains(reference) } }
    func entry(_ digest: Digest) -> Entry? { entries.first { $0.manifest.digest == digest } }
}
