internal import CLinux
internal import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// How long what an ended download left is kept for the next try.
    private static let partialLifetime = 86400.0
    static let layoutFile = "{\"imageLayoutVersion\":\"1.0.0\"}"

    /// Opens or makes the store below `root` and sweeps what an earlier engine left half made.
    /// - Throws: `denied` or `io` (with the errno) for a root that can't be written; `unsupported` for a layout of a newer version;
    ///   `invalid_argument` for an index.json that can't be read.
    package static func open(
        root: String, configuration: RegistryConfiguration = RegistryConfiguration(), limits: UnpackLimits = UnpackLimits()
    ) async throws(LunetteError) -> ImageStore {
        return try await onStageThread { () throws(LunetteError) in try openNow(root: root, configuration: configuration, limits: limits) }
    }

    private static func openNow(root: String, configuration: RegistryConfiguration, limits: UnpackLimits) throws(LunetteError) -> ImageStore
    {
        let (directory, content, snapshots) = try atBorder("open the image store") { () throws(SystemCallError) in
            let directory = try Directory(making: root)
            return (directory, try ContentStore(root: directory), try SnapshotStore(root: directory, path: root))
        }
        try checkLayout(content)
        var state = State()
        state.catalog = try readIndex(content)
        for entry in state.catalog.entries {
            do {
                let image = try StoredImage(entry.manifest, from: content)
                state.images[entry.manifest.digest] = image
                var size: Int64 = 0
                for diffID in image.config.diffIDs { size += try snapshots.size(of: diffID.hex) }
                state.sizes[entry.manifest.digest] = size
            } catch {
                state.broken[entry.manifest.digest] = error.message
            }
        }
        content.trust(state.images.values.flatMap { $0.blobs.map(\.digest) })
        let store = ImageStore(
            root: root, rootDirectory: directory, content: content, snapshots: snapshots, configuration: configuration, limits: limits,
            state: state)
        try store.sweep()
        return store
    }

    private static func checkLayout(_ content: ContentStore) throws(LunetteError) {
        let bytes = try atBorder("open the image store") { () throws(SystemCallError) -> [UInt8]? in
            let bytes = try content.directory.read("oci-layout")
            if bytes == nil { try content.directory.writeDurably("oci-layout", Array(layoutFile.utf8)) }
            return bytes
        }
        guard let bytes else { return }
        let version = try JSON.decode(bytes, source: content.directory.label + "/oci-layout")["imageLayoutVersion"]?.stringValue ?? "none"
        guard version.hasPrefix("1.") else {
            throw LunetteError(
                .unsupported, "open the image store: its layout has version \(displayable(version, limit: 20)), this lunette knows 1",
                hint: "use the lunette that wrote it, or choose another --root")
        }
    }

    private static func readIndex(_ content: ContentStore) throws(LunetteError) -> Catalog {
        let source = content.directory.label + "/index.json"
        guard
            let bytes = try atBorder(
                "open the image store", { () throws(SystemCallError) in try content.directory.read("index.json", limit: 64 << 20) })
        else {
            try writeIndex(Catalog(), content)
            return Catalog()
        }
        guard case .index(let index) = try ImageDocument.decode(bytes, expected: nil, source: source) else {
            throw LunetteError(
                .invalidArgument, "read \(source): it is no index of images", hint: "remove it: images must be pulled again then")
        }
        return Catalog(index)
    }

    static func writeIndex(_ catalog: Catalog, _ content: ContentStore) throws(LunetteError) {
        let bytes = Array(JSON.encode(catalog.index.value, pretty: true).utf8)
        try atBorder("write the list of images") { () throws(SystemCallError) in try content.directory.writeDurably("index.json", bytes) }
    }

    /// Removes half-made snapshots, snapshots that no image names, old partial downloads, blobs that nothing has named for a day.
    private func sweep() throws(LunetteError) {
        let names = try snapshots.all()
        let chained = Set(names.filter { $0.hasPrefix("chain-") })
        let catalog = withState { $0.catalog }
        let images = withState { $0.images }
        var wanted: Set<String> = []
        var blobs: Set<Digest> = []
        for image in images.values {
            wanted.formUnion(image.config.diffIDs.map(\.hex))
            wanted.formUnion(image.chainIDs.map(Self.chainName))
            blobs.formUnion(image.blobs.map(\.digest))
        }
        blobs.formUnion(catalog.entries.map(\.manifest.digest))
        // Where a manifest can't be read nobody knows what it needs: `check --repair` decides then.
        let isWhole = withState { $0.broken.isEmpty }
        for name in names where name.hasPrefix(".") || (isWhole && !wanted.contains(name)) {
            try atBorder("sweep snapshot \(name)") { () throws(SystemCallError) in try snapshots.directory.removeTree(name) }
        }
        withState { $0.chained = chained.intersection(wanted) }
        let now = SystemClock.now
        try atBorder("sweep partial downloads") { () throws(SystemCallError) in
            for name in try content.ingest.entries() {
                // Only whole-digest names can be gone on with; the rest are temporaries.
                let status = try content.ingest.status(name)
                let isFresh = Digest.isHex(name) && status.map { now - Double($0.modified.seconds) < Self.partialLifetime } ?? false
                if !isFresh { try content.ingest.removeTree(name) }
            }
            if try rootDirectory.exists("builds") { try rootDirectory.openDirectory("builds").removeContents() }
        }
        if isWhole && catalog.foreign.isEmpty {
            for digest in try content.all() where !blobs.contains(digest) {
                let status = try atBorder("sweep blobs") { () throws(SystemCallError) in try content.blobs.status(digest.hex) }
                if let status, now - Double(status.modified.seconds) >= Self.partialLifetime { try content.remove(digest) }
            }
        }
    }
}
