internal import LunetteSpec

/// The rule for container ids: what passes is one folder's name, safe in a cgroup's and a systemd unit's name and in a terminal.
enum ContainerID {
    /// runc's characters, without a leading `-` or `.`; at most 200, so that a cgroup's name has room for a prefix and `.scope`.
    /// - Throws: `invalid_argument` that quotes it.
    static func validate(_ id: String) throws(LunetteError) {
        let fits =
            (1...200).contains(id.utf8.count)
            && id.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "_+-.".utf8.contains($0)
            }
            && id.first != "-" && id.first != "."
        guard fits else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(id, limit: 64))\" can't be a container id",
                hint: "letters, digits, \"_\", \"+\", \"-\" and \".\", the first none of the last two, 200 at most")
        }
    }
}
