package import LunetteSpec

extension ImageStore {
    private func missing() -> LunetteError { LunetteError(.unsupported, "not built yet") }

    /// Opens or makes the store below `root` and sweeps what an earlier engine left half made.
    /// - Throws: `io` (with the errno) for a root that can't be written; `invalid_state` for a layout of a newer version.
    package static func open(root: String, configuration: RegistryConfiguration = RegistryConfiguration()) async throws(LunetteError) -> ImageStore {
        ImageStore(root: root, configuration: configuration)
    }

    /// Every image, by first reference.
    package func list() async throws(LunetteError) -> [ImageRecord] { throw missing() }
    /// Finds by reference (`redis`, `redis:7`, `name@sha256:…`), id or unique prefix of an id (4 digits or more).
    /// - Throws: `invalid_argument` for what can't be a name; `conflict` for a prefix that fits several.
    package func find(_ name: String) async throws(LunetteError) -> ImageRecord? { throw missing() }
    /// As `find`. - Throws: `not_found` too.
    package func get(_ name: String) async throws(LunetteError) -> ImageRecord { throw missing() }
    package func history(_ name: String) async throws(LunetteError) -> [ImageHistoryEntry] { throw missing() }

    package func pull(
        _ reference: String, options: RegistryOptions = RegistryOptions(), progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord { throw missing() }
    package func push(
        _ name: String, to reference: String? = nil, options: RegistryOptions = RegistryOptions(), progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord { throw missing() }
    /// Reads an OCI layout (folder or tar) or a docker-archive; one or more images.
    package func load(_ path: String, tag: String? = nil, progress: ImageProgressHandler? = nil) async throws(LunetteError) -> [ImageRecord] {
        throw missing()
    }
    /// Writes an OCI layout: a folder when `path` ends in `/` or is one, else a tar.
    package func save(_ names: [String], to path: String, progress: ImageProgressHandler? = nil) async throws(LunetteError) { throw missing() }
    package func build(
        _ spec: BuildSpec, runner: (any BuildRunner)?, output: (@Sendable ([UInt8]) -> Void)? = nil, progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord { throw missing() }

    package func tag(_ name: String, as reference: String) async throws(LunetteError) -> ImageRecord { throw missing() }
    /// Takes a reference away; by id, all of its references. The image goes with its last one.
    /// - Parameter inUse: ids of images that containers stand on.
    /// - Throws: `conflict` when it is in use, or an id has several references, unless `force` (which never removes what is in use: it only untags).
    package func remove(_ name: String, force: Bool = false, inUse: Set<String> = []) async throws(LunetteError) -> ImageRemoval { throw missing() }
    /// Removes images without a reference (`all`: all that no container uses) and blobs and snapshots that no image uses.
    package func prune(all: Bool = false, inUse: Set<String> = []) async throws(LunetteError) -> ImageRemoval { throw missing() }
    /// Hashes every blob and looks for every snapshot; `repair` drops what is broken and unpacks again what can be.
    package func check(repair: Bool = false) async throws(LunetteError) -> ImageStoreReport { throw missing() }
}
