internal import Glibc
internal import LunetteLinux
package import LunetteSpec
internal import Synchronization

/// Holds images: blobs as an OCI image layout in `<root>/content`, unpacked layers in `<root>/snapshots`.
///
/// One process has it open (the engine holds the lock). Every method may be called concurrently; blocking work runs on threads of its own.
/// Cancelling the surrounding task cancels the operation and leaves nothing half made.
///
///     pull, load, build:  blobs verified ─► layers unpacked to .new-* ─► syncfs ─► renames ─► index.json (temp, fsync, rename)
package final class ImageStore: Sendable {
    package let root: String
    package let configuration: RegistryConfiguration
    package let limits: UnpackLimits
    let content: ContentStore
    let snapshots: SnapshotStore
    let rootDirectory: Directory
    /// One writer of index.json, and one worker per reference, layer or blob at a time.
    let gate = AsyncGate()
    let http = HTTPClient()
    let downloads = AsyncSlots(6)
    let unpackers = AsyncSlots(max(2, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    private let state: Mutex<State>

    struct State: Sendable {
        var catalog = Catalog()
        var images: [Digest: StoredImage] = [:]
        /// Bytes of each image's unpacked files, by its manifest.
        var sizes: [Digest: Int64] = [:]
        /// Snapshots that stand in for a layer's own, by that layer's chain id: see `ImageStore+Chain`.
        var chained: Set<String> = []
        /// Manifests that can't be read, with the reason.
        var broken: [Digest: String] = [:]
        /// Blobs and snapshots that an operation under way counts on: how many count on each.
        var leases: [String: Int] = [:]
    }

    init(
        root: String, rootDirectory: Directory, content: ContentStore, snapshots: SnapshotStore, configuration: RegistryConfiguration,
        limits: UnpackLimits, state: State
    ) {
        self.root = root
        self.rootDirectory = rootDirectory
        self.content = content
        self.snapshots = snapshots
        self.configuration = configuration
        self.limits = limits
        self.state = Mutex(state)
    }

    func withState<T: Sendable>(_ body: (inout sending State) -> sending T) -> T { state.withLock(body) }

    // MARK: reading

    /// Every image, by first reference.
    package func list() async throws(LunetteError) -> [ImageRecord] {
        let (catalog, images, chained) = withState { ($0.catalog, $0.images, $0.chained) }
        return catalog.entries.compactMap { entry in images[entry.manifest.digest].map { record($0, entry, chained) } }
            .sorted { ($0.references.first ?? "~", $0.id) < ($1.references.first ?? "~", $1.id) }
    }

    /// Finds by reference (`redis`, `redis:7`, `name@sha256:…`), id or unique prefix of an id (4 digits or more).
    /// - Throws: `invalid_argument` for what can't be a name; `conflict` for a prefix that fits several.
    package func find(_ name: String) async throws(LunetteError) -> ImageRecord? {
        let (catalog, images, chained) = withState { ($0.catalog, $0.images, $0.chained) }
        guard let digest = try Self.resolve(name, catalog, images), let image = images[digest] else { return nil }
        return record(image, catalog.entry(digest)!, chained)
    }

    /// As `find`. - Throws: `not_found` too.
    package func get(_ name: String) async throws(LunetteError) -> ImageRecord {
        if let record = try await find(name) { return record }
        // As people write them: what is filled in (registry, `library/`) would make everything near. What can't be read stands for itself.
        func familiar(_ name: String) -> String { (try? Reference(name))?.familiar ?? name }
        let known = withState { $0.catalog.entries.flatMap(\.references) }.map(familiar)
        let near = nearest(to: familiar(name), in: known)
        throw LunetteError(
            .notFound, "no image \"\(displayable(name))\" in the store", target: name,
            hint: near.map { "did you mean \"\($0)\"?" }
                ?? "lunette pull \(displayable(name)) fetches it; lunette images lists what is here")
    }

    /// The image's history, newest first.
    package func history(_ name: String) async throws(LunetteError) -> [ImageHistoryEntry] {
        let image = try stored(try await get(name))
        var layers = image.manifest.layers.makeIterator()
        var result: [ImageHistoryEntry] = []
        for step in image.config.history {
            let size = step.emptyLayer ? 0 : layers.next()?.size ?? 0
            result.append(
                ImageHistoryEntry(
                    createdAt: step.created.flatMap(Timestamp.seconds), createdBy: step.createdBy ?? "", comment: step.comment ?? "",
                    size: size))
        }
        while let layer = layers.next() {
            result.append(ImageHistoryEntry(createdAt: nil, createdBy: "", comment: "layer without history", size: layer.size))
        }
        return result.reversed()
    }

    func stored(_ record: ImageRecord) throws(LunetteError) -> StoredImage {
        // A digest that can't be read is none of the store's: answered as one that isn't there.
        guard let digest = try? Digest(record.digest), let image = withState({ $0.images[digest] }) else {
            throw LunetteError(.notFound, "image \(record.id) was removed meanwhile", target: record.id)
        }
        return image
    }

    /// The manifest that `name` means.
    static func resolve(_ name: String, _ catalog: Catalog, _ images: [Digest: StoredImage]) throws(LunetteError) -> Digest? {
        let hex = name.hasPrefix("sha256:") ? String(name.dropFirst(7)) : name
        let isHex = (1...64).contains(hex.utf8.count) && hex.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        // A name wins over a prefix of an id: `cafe` may be an image.
        if !Digest.isHex(hex), !name.hasPrefix("sha256:"), let reference = try parsed(name, optional: isHex) {
            if let entry = catalog.entry(named: reference.description) { return entry.manifest.digest }
            if let digest = reference.digest {
                // name@digest: any image of that repository with that manifest will do.
                let plain = reference.name
                let entry = catalog.entry(digest).flatMap { entry in
                    entry.references.contains { $0 == plain || $0.hasPrefix(plain + ":") || $0.hasPrefix(plain + "@") } ? entry : nil
                }
                return entry?.manifest.digest
            }
        }
        guard isHex, hex.utf8.count >= 4 else { return nil }
        let found = catalog.entries.filter { entry in
            entry.manifest.digest.hex == hex || images[entry.manifest.digest].map { $0.id.hex.hasPrefix(hex) } ?? false
        }
        let ids = Set(found.compactMap { images[$0.manifest.digest]?.id })
        guard ids.count <= 1 else {
            throw LunetteError(.conflict, "\"\(name)\" begins the ids of \(ids.count) images", target: name, hint: "write more digits")
        }
        return found.first?.manifest.digest
    }

    private static func parsed(_ name: String, optional: Bool) throws(LunetteError) -> Reference? {
        do { return try Reference(name) } catch {
            if optional { return nil }
            throw error
        }
    }

    func record(_ image: StoredImage, _ entry: Catalog.Entry, _ chained: Set<String>) -> ImageRecord {
        let layers = zip(image.manifest.layers, image.config.diffIDs).map { layer, diffID in
            ImageLayer(digest: layer.digest.description, diffID: diffID.description, mediaType: layer.mediaType.rawValue, size: layer.size)
        }
        return ImageRecord(
            id: image.id.description, digest: image.descriptor.digest.description, references: entry.references,
            size: withState { $0.sizes[image.descriptor.digest] } ?? image.size,
            layers: layers,
            config: image.config, createdAt: image.config.created.flatMap(Timestamp.seconds),
            snapshotPaths: snapshotNames(image, chained).reversed().map(snapshots.path(of:)))
    }

    /// The snapshot of each layer, the lowest first.
    func snapshotNames(_ image: StoredImage, _ chained: Set<String>) -> [String] {
        zip(image.config.diffIDs, image.chainIDs).map { diffID, chainID in
            let own = Self.chainName(chainID)
            return chained.contains(own) ? own : diffID.hex
        }
    }

    static func chainName(_ chainID: Digest) -> String { "chain-\(chainID.hex)" }
}
