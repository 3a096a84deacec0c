internal import CArchive
package import LunetteSpec

/// Computes a SHA-256 over what is fed to it, at the speed of the processor's own instructions. One thread at a time.
package final class ContentHash {
    private let state: OpaquePointer

    package init() {
        // Memory for 100 bytes: where that fails nothing else would work either.
        state = lnt_sha256_new()!
    }

    deinit { lnt_sha256_free(state) }

    package func update(_ bytes: UnsafeRawBufferPointer) { lnt_sha256_update(state, bytes.baseAddress, bytes.count) }

    /// Ends the computation and starts a new one.
    package func finish() -> Digest {
        var bytes = [UInt8](repeating: 0, count: 32)
        lnt_sha256_finish(state, &bytes)
        return Digest(sha256: bytes)
    }

    package static func digest(of bytes: [UInt8]) -> Digest {
        let hash = ContentHash()
        bytes.withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}
