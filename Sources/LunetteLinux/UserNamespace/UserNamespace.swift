internal import CLinux
internal import LunetteSpec

/// The user namespace that this process stands in.
///
/// An ordinary user's engine stands in one of its own, where it is root over the user's ids (docs/rootless.md). What a user namespace
/// can't do is decided by this, never by the uid: mounts of the host can't be id-mapped, overlay keeps its marks in `user.*`, device
/// nodes can't be made and hard limits not raised.
package struct UserNamespace: Sendable, Hashable {
    package var uids: IDMap
    package var gids: IDMap

    package init(uids: IDMap, gids: IDMap) {
        self.uids = uids
        self.gids = gids
    }

    /// This process's, read once: it doesn't change any more when this is first asked.
    package static let current = UserNamespace(
        uids: readSmallFile("/proc/self/uid_map").map(IDMap.init(procText:)) ?? .all,
        gids: readSmallFile("/proc/self/gid_map").map(IDMap.init(procText:)) ?? .all)

    /// Whether it is the machine's own, where root is root.
    package var isInitial: Bool { uids == .all }

    /// Whether there is no id but 0: images with other owners can't be unpacked then.
    package var isSingle: Bool { uids.count <= 1 || gids.count <= 1 }

    /// The name that overlay gives its own attributes here: `trusted.*` is the machine's root's alone (Documentation/filesystems/overlayfs.rst).
    package var overlayAttributes: String { isInitial ? "trusted.overlay." : "user.overlay." }

    /// The uid that ours is outside.
    package var outsideUID: UInt32 { uids.lines.first { $0.containerID == 0 }?.hostID ?? 0 }
}
