internal import Glibc

/// What of this machine's cgroups this process may use: everything for the host's root, for others what was delegated to them (cgroups(7),
/// "Cgroups delegation": the directory, and on v2 its `cgroup.procs` and `cgroup.subtree_control`, are writable).
package struct CgroupDelegation: Sendable, Equatable {
    /// The hierarchies that can be used, each beginning at its delegated directory. None when nothing was delegated.
    package var layout: CgroupLayout
    /// For `degraded`: what can't be limited, and why.
    package var notDelegated: [String]

    package var isUsable: Bool { !layout.hierarchies.isEmpty }

    /// Asks this machine.
    package static func detect(_ layout: CgroupLayout) -> CgroupDelegation {
        detect(layout, own: readSmallFile("/proc/self/cgroup") ?? "", isWritable: { access($0, W_OK) == 0 })
    }

    /// - Parameters:
    ///   - own: the text of `/proc/self/cgroup`.
    ///   - isWritable: whether this process may write to a directory or file.
    static func detect(_ layout: CgroupLayout, own: String, isWritable: (String) -> Bool) -> CgroupDelegation {
        var usable = layout
        usable.hierarchies = []
        var reasons: [String] = []
        func isDelegated(_ path: String) -> Bool {
            guard isWritable(path), isWritable("\(path)/cgroup.procs") else { return false }
            return layout.version == .v1 || isWritable("\(path)/cgroup.subtree_control")
        }
        for hierarchy in layout.hierarchies {
            if let path = path(of: hierarchy, in: layout, own: own).flatMap({ highest($0, hierarchy.path, isDelegated) }) {
                usable.hierarchies.append(.init(path: path, controllers: hierarchy.controllers))
            } else {
                let what = layout.version == .v1 ? hierarchy.controllers.joined(separator: ", ") : "any resource"
                reasons.append("\(what) can't be limited: no cgroup below \(hierarchy.path) is delegated to this user")
            }
        }
        return CgroupDelegation(layout: usable, notDelegated: reasons)
    }

    /// Where this process is in a hierarchy.
    fileprivate static func path(of hierarchy: CgroupLayout.Hierarchy, in layout: CgroupLayout, own: String) -> String? {
        for line in own.split(separator: "\n") {
            // 4:memory:/user.slice/…
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

    /// The highest directory from the hierarchy's root down to `path` that, with all below it, is delegated: processes may be moved only
    /// below a common ancestor that is.
    private static func highest(_ path: String, _ root: String, _ isDelegated: (String) -> Bool) -> String? {
        var found: String?
        var level = path
        while level.utf8.count >= root.utf8.count, isDelegated(level) {
            found = level
            guard let slash = level.lastIndex(of: "/") else { break }
            level = String(level[..<slash])
        }
        return found
    }
}

/// Where this process is in each hierarchy, to go back to after it has been somewhere else: a scope of systemd's needs a process in it before the
/// container's is there.
package struct CgroupReturn: Sendable {
    private let directories: [String]

    /// Notes where this process is now.
    package init(_ layout: CgroupLayout) {
        let own = readSmallFile("/proc/self/cgroup") ?? ""
        directories = layout.hierarchies.compactMap { CgroupDelegation.path(of: $0, in: layout, own: own) }
    }

    /// Moves this process back, with all its threads.
    package func rejoin() throws(SystemCallError) {
        for directory in directories { try CgroupFile(path: directory, controllers: []).write("cgroup.procs", "0") }
    }
}
