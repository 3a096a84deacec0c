/// Bounds what one layer may take, so that a bomb ends in an error and not in a full disk.
package struct UnpackLimits: Sendable {
    /// Bytes of the uncompressed tar, and also of the sum of its files' sizes with their holes.
    package var bytes: Int64 = 128 << 30
    package var entries = 4_000_000
    /// Bytes of one path; Linux's own limit for a call.
    package var pathLength = 4095
    package var depth = 512
    /// A user namespace here maps ids 0 to 65535: a file of another owner could be neither changed nor removed inside.
    package var largestID: Int64 = 65535

    package init() {}
}

/// What unpacking a layer found out.
package struct UnpackedLayer: Sendable {
    package var entries = 0
    /// Bytes of the files' content as written.
    package var bytes: Int64 = 0
    /// Folders that no entry described, made with mode 0755: what lower layers say about them must win. `""` is the root.
    package var implied: [String] = []
}
