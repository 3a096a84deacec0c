import LunetteImages
import LunetteLinux
import LunetteSpec
import Synchronization

@testable import LunetteEngine

/// A store with one image, `base:latest`, and whatever a test adds.
final class FakeImages: ImageHost {
    let images = Mutex<[String: ImageRecord]>([:])

    init() { add("base:latest") }

    func add(_ reference: String, volumes: [String] = [], stopSignal: String? = nil) {
        let name = try! Reference(reference)
        let hex = String(repeating: "ab", count: 32)
        let config = try! ImageConfig.decode(
            Array(
                JSON.encode([
                    "architecture": "amd64", "os": "linux", "rootfs": ["type": "layers", "diff_ids": []],
                    "config": [
                        "Volumes": .map(volumes.reduce(into: ValueMap()) { $0[$1] = .map([:]) }),
                        "StopSignal": stopSignal.map(Value.string) ?? .null,
                    ],
                ]).utf8), source: "test")
        images.withLock {
            $0[name.description] = ImageRecord(
                id: "sha256:\(hex)", digest: "sha256:\(hex)", references: [name.description], size: 1, layers: [], config: config,
                createdAt: nil,
                snapshotPaths: [])
        }
    }

    func list() async throws(LunetteError) -> [ImageRecord] { images.withLock { Array($0.values) } }
    func find(_ name: String) async throws(LunetteError) -> ImageRecord? {
        images.withLock { images in
            if let full = (try? Reference(name))?.description, let image = images[full] { return image }
            return images.values.first { $0.id == name }
        }
    }
    func get(_ name: String) async throws(LunetteError) -> ImageRecord {
        guard let image = try await find(name) else { throw LunetteError(.notFound, "no image \(name)") }
        return image
    }
    func history(_ name: String) async throws(LunetteError) -> [ImageHistoryEntry] { [] }
    func pull(_ reference: String, options: RegistryOptions, progress: ImageProgressHandler?) async throws(LunetteError) -> ImageRecord {
        progress?(ImageProgress(phase: "download", digest: "sha256:x", current: 1, total: 2))
        progress?(ImageProgress(phase: "commit", current: 2, total: 2))
        add(reference)
        return try await get(reference)
    }
    func push(
        _ name: String, to reference: String?, options: RegistryOptions, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> ImageRecord { try await get(name) }
    func load(
        _ path: String, file: FileDescriptor?, tag: String?, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> [ImageRecord] { [] }
    func save(_ names: [String], to path: String, file: FileDescriptor?, progress: ImageProgressHandler?) async throws(LunetteError) {}
    func build(
        _ spec: BuildSpec, runner: (any BuildRunner)?, output: (@Sendable ([UInt8]) -> Void)?, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> ImageRecord { try await get("base:latest") }
    func tag(_ name: String, as reference: String) async throws(LunetteError) -> ImageRecord {
        var image = try await get(name)
        image.references.append(try Reference(reference).description)
        images.withLock { [image] images in for reference in image.references { images[reference] = image } }
        return image
    }
    func remove(_ name: String, force: Bool, inUse: Set<String>) async throws(LunetteError) -> ImageRemoval {
        let image = try await get(name)
        let full = (try? Reference(name))?.description
        var removal = ImageRemoval()
        removal.untagged = full.map(image.references.contains) ?? false ? [full!] : image.references
        if removal.untagged.count == image.references.count { removal.removed = [image.id] }
        var left = image
        left.references.removeAll { removal.untagged.contains($0) }
        images.withLock { [removal, left] images in
            for reference in removal.untagged { images[reference] = nil }
            for reference in left.references { images[reference] = left }
        }
        return removal
    }
    func prune(all: Bool, labels: LabelFilter, inUse: Set<String>, only: Set<String>?) async throws(LunetteError) -> ImageRemoval {
        var removal = ImageRemoval()
        for image in try await list() where all && !inUse.contains(image.id) && only?.contains(image.id) != false {
            removal.removed.append(image.id)
            for reference in image.references { images.withLock { $0[reference] = nil } }
        }
        return removal
    }
    func check(repair: Bool) async throws(LunetteError) -> ImageStoreReport { ImageStoreReport() }
}
