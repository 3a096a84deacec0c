import LunettePlugins
import LunetteSpec

/// All that is stored about one volume.
struct VolumeRecord: Sendable, Hashable {
    let id: String
    var name: String
    var driver: String
    var size: Int64?
    var labels: ValueMap = [:]
    var options: ValueMap = [:]
    /// The driver's own, kept for it.
    var driverState: Value = .null
    let createdAt: Double
    /// Whether the image's files were copied up, or a container has written: copy-up happens once.
    var isPopulated = false
    /// The request that made it: its repetition gets this volume.
    var requestID: String
    /// Made for one container without a name: removed with it on request, and by prune.
    var isAnonymous = false

    var handle: Value { Handle.volume(id: id, name: name) }
    var description: VolumeDescription {
        VolumeDescription(id: id, name: name, size: size, labels: labels, options: options, state: driverState)
    }
}
