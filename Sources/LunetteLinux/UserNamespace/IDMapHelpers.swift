internal import CLinux

/// Debian's `uidmap`: newuidmap and newgidmap, which give a namespace the ids that /etc/subuid and /etc/subgid allow its maker.
package struct IDMapHelpers: Sendable, Hashable {
    package var newuidmap: String
    package var newgidmap: String

    /// Looked for at fixed places: a PATH is the caller's, and these are programs that act for root.
    package static let folders = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"]

    /// - Returns: nil when one of them isn't installed.
    package static func find() -> IDMapHelpers? {
        guard let uids = find("newuidmap"), let gids = find("newgidmap") else { return nil }
        return IDMapHelpers(newuidmap: uids, newgidmap: gids)
    }

    private static func find(_ name: String) -> String? {
        folders.lazy.map { "\($0)/\(name)" }.first { path in
            var status = lnt_host_stat()
            return lnt_host_stat(-100, path, 0, &status) == 0 && status.mode & 0o170000 == 0o100000 && status.mode & 0o111 != 0
        }
    }
}
