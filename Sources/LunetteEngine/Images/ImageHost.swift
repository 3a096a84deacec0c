import LunetteImages
import LunetteLinux
import LunetteSpec

/// What the engine needs of the image store; tests put a small one in its place.
protocol ImageHost: Sendable {
    func list() async throws(LunetteError) -> [ImageRecord]
    func find(_ name: String) async throws(LunetteError) -> ImageRecord?
    func get(_ name: String) async throws(LunetteError) -> ImageRecord
    func history(_ name: String) async throws(LunetteError) -> [ImageHistoryEntry]
    func pull(_ reference: String, options: RegistryOptions, progress: ImageProgressHandler?) async throws(LunetteError) -> ImageRecord
    func push(
        _ name: String, to reference: String?, options: RegistryOptions, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> ImageRecord
    func load(
        _ path: String, file: FileDescriptor?, tag: String?, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> [ImageRecord]
    func save(_ names: [String], to path: String, file: FileDescriptor?, progress: ImageProgressHandler?) async throws(LunetteError)
    func build(
        _ spec: BuildSpec, runner: (any BuildRunner)?, output: (@Sendable ([UInt8]) -> Void)?, progress: ImageProgressHandler?
    ) async throws(LunetteError) -> ImageRecord
    func tag(_ name: String, as reference: String) async throws(LunetteError) -> ImageRecord
    func remove(_ name: String, force: Bool, inUse: Set<String>) async throws(LunetteError) -> ImageRemoval
    func prune(all: Bool, labels: LabelFilter, inUse: Set<String>, only: Set<String>?) async throws(LunetteError) -> ImageRemoval
    func check(repair: Bool) async throws(LunetteError) -> ImageStoreReport
}

extension ImageStore: ImageHost {}
