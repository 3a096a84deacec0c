package import LunetteSpec

extension ImageStore {
    private func missing() -> LunetteError { LunetteError(.unsupported, "not built yet") }

    /// Writes an OCI layout: a folder when `path` ends in `/` or is one, else a tar.
    package func save(_ names: [String], to path: String, progress: ImageProgressHandler? = nil) async throws(LunetteError) { throw missing() }
    package func build(
        _ spec: BuildSpec, runner: (any BuildRunner)?, output: (@Sendable ([UInt8]) -> Void)? = nil, progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord { throw missing() }
}
