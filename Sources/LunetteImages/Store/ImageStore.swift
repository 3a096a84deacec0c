import LunetteSpec

/// Holds images: blobs as an OCI image layout in `<root>/content`, unpacked layers in `<root>/snapshots`.
///
/// One process has it open (the engine holds the lock). Every method may be called concurrently; blocking work runs on threads of its own.
/// Cancelling the surrounding task cancels the operation and leaves nothing half made.
package final class ImageStore: Sendable {
    package let root: String
    package let configuration: RegistryConfiguration

    init(root: String, configuration: RegistryConfiguration) {
        self.root = root
        self.configuration = configuration
    }
}
