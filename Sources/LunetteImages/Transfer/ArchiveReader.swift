internal import LunetteLinux
internal import LunetteSpec

/// Finds the images of an OCI layout or an unpacked docker-archive. Blocks.
struct ArchiveReader {
    let folder: Directory
    let source: String
    let content: ContentStore
    /// What an image is called that has only a tag: by the folder's or the file's name; nil where there is none.
    var repository: String?

    private func failure(_ why: String, hint: String? = nil) -> LunetteError {
        LunetteError(.invalidArgument, "load \(source): \(why)", target: source, hint: hint)
    }

    private func read(_ path: String) throws(LunetteError) -> [UInt8]? {
        try atBorder("load \(source)") { () throws(SystemCallError) in try folder.read(path, limit: Int(ContentStore.documentLimit)) }
    }

    func images(platform: Platform) throws(LunetteError) -> [FoundImage] {
        if let layout = try read("oci-layout") {
            let version = try JSON.decode(layout, source: "\(source)/oci-layout")["imageLayoutVersion"]?.stringValue
            guard let version, version.hasPrefix("1.") else {
                throw failure("its layout has the unknown version \(displayable(version ?? "none", limit: 20))")
            }
            guard let index = try read("index.json") else { throw failure("it has no index.json") }
            return try layoutImages(index, platform)
        }
        if let manifest = try read("manifest.json") { return try dockerImages(manifest) }
        throw failure(
            "it is neither an OCI layout nor a docker-archive", hint: "such a folder or tar has an oci-layout or a manifest.json at its top"
        )
    }

    // MARK: OCI layout

    private func layoutImages(_ bytes: [UInt8], _ platform: Platform) throws(LunetteError) -> [FoundImage] {
        guard case .index(let index) = try ImageDocument.decode(bytes, expected: nil, source: "\(source)/index.json") else {
            throw failure("its index.json is no index")
        }
        var found: [FoundImage] = []
        var others: [String] = []
        for descriptor in index.manifests where descriptor.mediaType.isManifest || descriptor.mediaType.isIndex {
            if let other = descriptor.platform, platform.fitness(of: other) == nil, index.manifests.count > 1 {
                others.append(other.description)
                continue
            }
            guard let manifest = try store(descriptor, platform, depth: 0) else { continue }
            found.append(FoundImage(manifest: manifest, reference: try reference(descriptor.annotations)))
        }
        if found.isEmpty, !others.isEmpty { throw failure("it has images for \(others.joined(separator: ", ")) only") }
        return found
    }

    private func reference(_ annotations: [String: String]) throws(LunetteError) -> String? {
        // containerd and Docker put the tag alone into ref.name, and the whole name here.
        if let name = annotations["io.containerd.image.name"] { return try Reference(name).description }
        guard let name = annotations[Catalog.referenceAnnotation] else { return nil }
        guard Self.isTagAlone(name) else { return try Reference(name).description }
        guard let repository else { return nil }
        return try Reference("\(repository):\(name)").description
    }

    /// The spec lets a word be either, so what is hardly ever a name is a tag: `latest`, `3.19-alpine`, `v2`, `RC1`.
    private static func isTagAlone(_ name: String) -> Bool {
        guard let first = name.utf8.first, !name.utf8.contains(UInt8(ascii: ":")), !name.hasSlash, !name.utf8.contains(UInt8(ascii: "@"))
        else { return false }
        func isDigit(_ byte: UInt8?) -> Bool { byte.map { (48...57).contains($0) } ?? false }
        return name == "latest" || name == "stable" || isDigit(first) || first == UInt8(ascii: "v") && isDigit(name.utf8.dropFirst().first)
            || name.utf8.contains { (65...90).contains($0) }
    }

    /// `/a/Web App.tar.gz` is `web-app`.
    static func repository(ofPath path: String) -> String? {
        var name = (path.pathParts.last ?? "").lowercased()
        for ending in [".gz", ".zst", ".tgz", ".tar", ".oci"] where name.hasSuffix(ending) { name.removeLast(ending.utf8.count) }
        let words = name.utf8.split {
            !(97...122).contains($0) && !(48...57).contains($0) && $0 != UInt8(ascii: ".") && $0 != UInt8(ascii: "_")
        }
        let joined = words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "-")
        // What is no name all the same leaves the image without one.
        return (try? Reference(joined)) == nil ? nil : joined
    }

    /// Copies a manifest into the store, through indexes down to the platform's.
    private func store(_ descriptor: Descriptor, _ platform: Platform, depth: Int) throws(LunetteError) -> Descriptor? {
        guard depth < 3 else { throw failure("its indexes are nested too deep") }
        guard descriptor.size <= ContentStore.documentLimit, let bytes = try read("blobs/sha256/\(descriptor.digest.hex)") else {
            throw failure("it lacks the blob \(descriptor.digest), or that is too large")
        }
        guard Int64(bytes.count) == descriptor.size, ContentHash.digest(of: bytes) == descriptor.digest else {
            throw LunetteError(.io, "load \(source): the blob \(descriptor.digest) has other content than its name says", target: source)
        }
        switch try ImageDocument.decode(bytes, expected: descriptor.mediaType, source: "manifest \(descriptor.digest)") {
        case .manifest: return try content.write(bytes, mediaType: descriptor.mediaType)
        case .index(let index):
            guard let chosen = index.manifest(for: platform) else {
                throw LunetteError(.notFound, "load \(source): it has no image for \(platform)", target: source)
            }
            return try store(chosen, platform, depth: depth + 1)
        }
    }

    // MARK: docker-archive

    private func dockerImages(_ bytes: [UInt8]) throws(LunetteError) -> [FoundImage] {
        guard case .array(let items) = try JSON.decode(bytes, source: "\(source)/manifest.json") else {
            throw failure("its manifest.json is no list")
        }
        var found: [FoundImage] = []
        for (index, item) in items.enumerated() {
            var reader = try FieldReader(item, path: "manifest.json[\(index + 1)]")
            let configPath = try reader.required("Config")
            let layers = try reader.strings("Layers") ?? []
            let tags = try reader.strings("RepoTags") ?? []
            guard let config = try read(configPath) else { throw failure("it has no \(displayable(configPath, limit: 120))") }
            var paths: [Digest: String] = [:]
            var descriptors: [Descriptor] = []
            for path in layers {
                let layer = try describe(path)
                paths[layer.digest] = try resolved(path)
                descriptors.append(layer)
            }
            let configDescriptor = try content.write(config, mediaType: .imageConfig)
            let manifest = Manifest(config: configDescriptor, layers: descriptors)
            let written = try content.write(Array(JSON.encode(manifest.value).utf8), mediaType: .imageManifest)
            if tags.isEmpty { found.append(FoundImage(manifest: written, reference: nil, paths: paths)) }
            for tag in tags { found.append(FoundImage(manifest: written, reference: try Reference(tag).description, paths: paths)) }
        }
        return found
    }

    /// Old docker-archives link equal layers to each other: `b/layer.tar -> ../a/layer.tar`.
    private func resolved(_ path: String) throws(LunetteError) -> String {
        let status = try atBorder("load \(source)") { () throws(SystemCallError) in
            try fileStatus(folder.descriptor.number, path, follow: false, label: path)
        }
        guard status.kind == .symbolicLink else { return path }
        let file = try atBorder("load \(source)") { () throws(SystemCallError) in try folder.open(path, [.path]) }
        let link = try atBorder("load \(source)") { () throws(SystemCallError) in try readLink("/proc/self/fd/\(file.number)") }
        let root = try atBorder("load \(source)") { () throws(SystemCallError) in try readLink("/proc/self/fd/\(folder.descriptor.number)")
        }
        guard link.hasPrefix(root + "/") else { throw failure("\(displayable(path, limit: 120)) leads out of the archive") }
        return String(link.dropFirst(root.count + 1))
    }

    /// Hashes a layer and says how it is packed by its first bytes.
    private func describe(_ path: String) throws(LunetteError) -> Descriptor {
        let file = try atBorder("load \(source)") { () throws(SystemCallError) in try folder.open(path, [.nonblocking]) }
        let hash = ContentHash()
        var size: Int64 = 0
        var magic: [UInt8] = []
        try readAll(of: file, what: path, cancel: nil) { (bytes) throws(LunetteError) in
            if magic.isEmpty { magic = Array(bytes.prefix(4)) }
            hash.update(bytes)
            size += Int64(bytes.count)
        }
        let type: MediaType =
            magic.starts(with: [0x1f, 0x8b]) ? .layerTarGzip : magic == [0x28, 0xb5, 0x2f, 0xfd] ? .layerTarZstd : .layerTar
        return Descriptor(mediaType: type, digest: hash.finish(), size: size)
    }
}
