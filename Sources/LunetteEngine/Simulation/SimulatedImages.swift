import LunetteImages
import LunetteLinux
import LunetteSpec
import Synchronization

/// An image store without files: a reference is there once it was declared, pulled, loaded, built or tagged.
final class SimulatedImages: ImageHost {
    /// By full reference.
    private let images = Mutex<[String: ImageRecord]>([:])
    private let clock: VirtualClock

    init(clock: VirtualClock) { self.clock = clock }

    /// Makes an image of its own stand behind a reference.
    @discardableResult
    func add(_ reference: String, config: ImageProcessConfig = ImageProcessConfig()) throws(LunetteError) -> ImageRecord {
        let name = try Reference(reference).description
        let layer = SHA256.digest(of: Array("layer of \(name)".utf8)).description
        let id = SHA256.digest(of: Array("\(name) \(JSON.encode(config.value))".utf8)).description
        let record = ImageRecord(
            id: id, digest: SHA256.digest(of: Array("manifest of \(id)".utf8)).description, references: [name], size: 1 << 20,
            layers: [ImageLayer(digest: layer, diffID: layer, mediaType: "application/vnd.oci.image.layer.v1.tar", size: 1 << 20)],
            config: ImageConfig(config: config), createdAt: clock.now(), snapshotPaths: [])
        images.withLock { images in
            if var known = images.values.first(where: { $0.id == id }) {
                known.references = Set(known.references + [name]).sorted()
                Self.put(known, &images)
            } else {
                Self.take(name, &images)
                images[name] = record
            }
        }
        return known(name)!
    }

    private static func put(_ record: ImageRecord, _ images: inout [String: ImageRecord]) {
        for reference in record.references {
            if images[reference]?.id != record.id { take(reference, &images) }
            images[reference] = record
        }
    }

    /// Takes a reference from whichever image has it.
    private static func take(_ reference: String, _ images: inout [String: ImageRecord]) {
        guard var owner = images.removeValue(forKey: reference) else { return }
        owner.references.removeAll { $0 == reference }
        for other in owner.references { images[other] = owner }
    }

    private func known(_ name: String) -> ImageRecord? {
        // An id, or the beginning of one, is no reference.
        let full = (try? Reference(name))?.description
        return images.withLock { images in
            if let full, let image = images[full] { return image }
            let id = name.hasPrefix("sha256:") ? name : "sha256:" + name
            guard id.utf8.count > 9 else { return nil }
            return images.values.first { $0.id.hasPrefix(id) || $0.digest == id }
        }
    }

    func list() async throws(LunetteError) -> [ImageRecord] {
        images.withLock { images in
            var seen: Set<String> = []
            return images.sorted { $0.key < $1.key }.map(\.value).filter { seen.insert($0.id).inserted }
        }
    }

    func find(_ name: String) async throws(LunetteError) -> ImageRecord? { known(name) }

    func get(_ name: String) async throws(LunetteError) -> ImageRecord {
        guard let image = known(name) else {
            throw LunetteError(
                .notFound, "no image \"\(displayable(name))\" in the store", target: name,
                hint: "in a test, test.image(\"\(displayable(name, limit: 80))\") makes it be there")
        }
        return image
    }

    func history(_ name: String) async throws(LunetteError) -> [ImageHistoryEntry] {
        [ImageHistoryEntry(createdAt: try await get(name).createdAt, createdBy: "a test", comment: "", size: 1 << 20)]
    }

    func pull(_ reference: String, options: RegistryOptions, progress: ImageProgressHandler?) async throws(LunetteError) -> ImageRecord {
        let present = known(reference)
        if let present, options.policy != .always { return present }
        guard options.policy != .never else {
            throw LunetteError(
                .notFound, "no image \"\(displayable(reference))\" in the store, and the pull policy is never", target: reference)
        }
        let image = if let present { present } else { try add(reference) }
        for layer in image.layers {
            progress?(ImageProgress(phase: "download", digest: layer.digest, current: layer.size, total: layer.size))
        }
        progress?(ImageProgress(phase: "commit", current: 1, total: 1))
        return image
    }

    func push(
        _ name: String, to reference: String?, options: RegistryOptions, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> ImageRecord { try await get(name) }

    func load(
        _ path: String, file: FileDescriptor?, tag: String?, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> [ImageRecord] {
        let base = path.pathParts.last.map(String.init) ?? path
        return [try add(tag ?? "loaded/" + base.prefix { $0.isLetter || $0.isNumber }.lowercased())]
    }

    func save(_ names: [String], to path: String, file: FileDescriptor?, progress: ImageProgressHandler?) async throws(LunetteError) {
        for name in names { _ = try await get(name) }
    }

    /// Nothing is copied and nothing run: the image has the configuration that was asked for.
    func build(
        _ spec: BuildSpec, runner: (any BuildRunner)?, output: (@Sendable ([UInt8]) -> Void)?, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> ImageRecord {
        var config = ImageProcessConfig()
        if let base = spec.from { config = try await get(base).config.config }
        if let entrypoint = spec.config.entrypoint { config.entrypoint = entrypoint }
        if let args = spec.config.args { config.cmd = args }
        config.env.removeAll { line in spec.config.env.contains { line.hasPrefix($0.key + "=") } }
        config.env += spec.config.env.map { "\($0.key)=\($0.value)" }
        config.workingDir = spec.config.workdir ?? config.workingDir
        config.user = spec.config.user ?? config.user
        config.exposedPorts += spec.config.exposedPorts
        config.volumes += spec.config.volumes
        for (key, value) in spec.config.labels { config.labels[key] = value }
        progress?(ImageProgress(phase: "commit", current: 1, total: 1))
        return try add(spec.tag ?? "built/image", config: config)
    }

    func tag(_ name: String, as reference: String) async throws(LunetteError) -> ImageRecord {
        let full = try Reference(reference).description
        var image = try await get(name)
        image.references = Set(image.references + [full]).sorted()
        images.withLock { Self.put(image, &$0) }
        return image
    }

    func remove(_ name: String, force: Bool, inUse: Set<String>) async throws(LunetteError) -> ImageRemoval {
        var image = try await get(name)
        var removal = ImageRemoval()
        // An id is no reference.
        let named = (try? Reference(name))?.description
        if let named, image.references.contains(named), image.references.count > 1 {
            image.references.removeAll { $0 == named }
            removal.untagged = [named]
            images.withLock { Self.take(named, &$0) }
            return removal
        }
        guard image.references.count <= 1 || force else {
            throw LunetteError(
                .conflict, "image \(name) has \(image.references.count) names: \(image.references.joined(separator: ", "))", target: name,
                hint: "remove one of its names, or all of them by force (--force, in Lua force = true)")
        }
        guard force || !inUse.contains(image.id) else {
            throw LunetteError(.conflict, "image \(name) is used by a container", target: name, hint: "remove the container first")
        }
        removal.untagged = image.references
        // A container that has it keeps it, without a name.
        removal.removed = inUse.contains(image.id) ? [] : [image.id]
        removal.reclaimed = image.size
        images.withLock { images in for reference in image.references { images[reference] = nil } }
        return removal
    }

    func prune(all: Bool, labels: LabelFilter, inUse: Set<String>, only: Set<String>?) async throws(LunetteError) -> ImageRemoval {
        var removal = ImageRemoval()
        guard all else { return removal }
        for image in try await list()
        where !inUse.contains(image.id) && only?.contains(image.id) != false && labels.matches(image.config.config.labels) {
            removal.untagged += image.references
            removal.removed.append(image.id)
            removal.reclaimed += image.size
            images.withLock { images in for reference in image.references { images[reference] = nil } }
        }
        return removal
    }

    func check(repair: Bool) async throws(LunetteError) -> ImageStoreReport { ImageStoreReport() }
}
