/// Where this process is in each hierarchy, to go back to after it has been somewhere else: a scope of systemd's needs a process in it before the
/// container's is there.
package struct CgroupReturn: Sendable {
    private let directories: [String]

    /// Notes where this process is now.
    package init(_ layout: CgroupLayout) {
        let own = readSmallFile("/proc/self/cgroup") ?? ""
        directories = layout.hierarchies.compactMap { Self.path(of: $0, in: layout, own: own) }
    }

    /// Moves this process back, with all its threads.
    package func rejoin() throws(SystemCallError) {
        for directory in directories { try CgroupFile(path: directory, controllers: []).write("cgroup.procs", "0") }
    }

    /// - Parameter own: the text of /proc/self/cgroup, lines as `4:memory:/user.slice/…`.
    private static func path(of hierarchy: CgroupLayout.Hierarchy, in layout: CgroupLayout, own: String) -> String? {
        for line in own.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let controllers = fields[1].split(separator: ",").map(String.init)
            let isIt = layout.version == .v2 ? fields[1].isEmpty : controllers.contains { hierarchy.controllers.contains($0) }
            // Seen from a cgroup namespace, what is outside of it begins with `/..`.
            guard isIt, !fields[2].split(separator: "/").contains("..") else { continue }
            return fields[2] == "/" ? hierarchy.path : hierarchy.path + fields[2]
        }
        return nil
    }
}
