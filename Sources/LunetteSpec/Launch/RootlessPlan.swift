/// What is different where an ordinary user launches: in a namespace of the user's engine, or (`lunette-oci`) with no rights at all.
package struct RootlessPlan: Sendable, Hashable {
    /// Overlay keeps its marks in `user.overlay.*` (its option `userxattr`).
    package var usesUserAttributes: Bool
    /// The maps hold one's own id alone, so groups can't be changed.
    package var keepsGroups: Bool
    /// newuidmap and newgidmap by absolute path, where the shim may not write the maps itself; nil where it may.
    package var newuidmap: String?
    package var newgidmap: String?

    package init(usesUserAttributes: Bool = false, keepsGroups: Bool = false, newuidmap: String? = nil, newgidmap: String? = nil) {
        self.usesUserAttributes = usesUserAttributes
        self.keepsGroups = keepsGroups
        self.newuidmap = newuidmap
        self.newgidmap = newgidmap
    }

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .rootless,
            fields: [
                ("user_attributes", .number(usesUserAttributes ? 1 : 0)), ("keeps_groups", .number(keepsGroups ? 1 : 0)),
                ("newuidmap", .optionalText(newuidmap)), ("newgidmap", .optionalText(newgidmap)),
            ])
    }
}
