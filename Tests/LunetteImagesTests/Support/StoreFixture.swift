import Foundation
import LunetteImages
import LunetteTesting
import Testing

/// A folder of a test's own, with a store in it; removed at the end.
struct Workspace: Sendable {
    let folder: String
    var root: String { "\(folder)/root" }

    func open(
        _ configuration: RegistryConfiguration = RegistryConfiguration(), limits: UnpackLimits = UnpackLimits()
    ) async throws -> ImageStore {
        try await ImageStore.open(root: root, configuration: configuration, limits: limits)
    }

    /// Every path below `content` and `snapshots`, for "nothing is left" checks.
    func paths(_ part: String) -> [String] {
        (FileManager.default.enumerator(atPath: "\(root)/\(part)")?.compactMap { $0 as? String } ?? []).sorted()
    }

    /// Names of what is half made: temporary snapshots and partial blobs.
    func leftovers() -> [String] {
        let snapshots = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/snapshots")) ?? []
        let ingest = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/content/ingest")) ?? []
        return snapshots.filter { $0.hasPrefix(".") } + ingest
    }
}

func withWorkspace<T>(_ body: (Workspace) async throws -> T) async throws -> T {
    let workspace = Workspace(folder: "/tmp/lunette-images-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(atPath: workspace.folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: workspace.folder) }
    return try await body(workspace)
}

/// Runs `body` with a registry; stops it whatever happens.
func withRegistry<T>(_ workspace: Workspace, secure: Bool = false, _ body: (RegistryFixture) async throws -> T) async throws -> T {
    let registry = try await RegistryFixture(folder: "\(workspace.folder)/registry", secure: secure)
    do {
        let result = try await body(registry)
        try await registry.stop()
        return result
    } catch {
        try await registry.stop()
        throw error
    }
}
