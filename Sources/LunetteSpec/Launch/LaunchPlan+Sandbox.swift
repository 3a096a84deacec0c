/// A program that somebody waits for: no run directory, no log, streams handed down, an end with the last control connection. Record 64.
package struct AttendedPlan: Sendable, Hashable {
    /// A compiled filter that asks a listener about calls which take paths; empty for none.
    package var listener: [UInt8]
    package init(listener: [UInt8] = []) { self.listener = listener }

    var record: LaunchRecord { LaunchRecord(opcode: .attended, fields: [("listener", .bytes(listener))]) }
}

/// A tmpfs as the container's root. Record 31.
package struct MakeRootPlan: Sendable, Hashable {
    /// Bytes and inodes; 0 leaves the kernel's own limit.
    package var size: UInt64
    package var inodes: UInt64
    package var mode: UInt32
    package init(size: UInt64, inodes: UInt64, mode: UInt32 = 0o755) {
        self.size = size
        self.inodes = inodes
        self.mode = mode
    }

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .makeRoot,
            fields: [
                ("size", .number(size)), ("inodes", .number(inodes)), ("mode", .flags(UInt64(mode), ["0" + String(mode, radix: 8)])),
            ])
    }
}

/// An overlay of a tmpfs over a tree: what is written there ends with the container. Record 63.
package struct PrivateLayerPlan: Sendable, Hashable {
    package var slot: TreeSlot
    /// The slot of the tree below.
    package var lower: TreeSlot
    /// Bytes; 0 leaves the kernel's own limit, half of the memory.
    package var size: UInt64
    package var attributes: MountAttributes
    package init(slot: TreeSlot, lower: TreeSlot, size: UInt64 = 0, attributes: MountAttributes = [.nosuid, .nodev]) {
        self.slot = slot
        self.lower = lower
        self.size = size
        self.attributes = attributes
    }

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .openPrivateLayer,
            fields: [
                ("slot", .number(UInt64(slot))), ("lower", .number(UInt64(lower))), ("size", .number(size)),
                ("attributes", .flags(attributes.rawValue, attributes.words)),
            ])
    }
}
