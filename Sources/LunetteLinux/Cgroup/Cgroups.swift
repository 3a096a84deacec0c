internal import CLinux

/// Makes and finds the cgroups of one engine's containers: `<hierarchy>/lunette/<id>` (with the engine's scope behind the id, when it has one).
package struct Cgroups: Sendable {
    package let layout: CgroupLayout
    /// Told apart from other engines on this machine: empty for the default state directory.
    package let scope: String

    package init(layout: CgroupLayout, scope: String = "") {
        self.layout = layout
        self.scope = scope
    }

    package static let parent = "lunette"

    /// Names the scope of a state directory: nothing for the default one, else eight digits that follow from its path.
    package static func scope(ofState path: String) -> String {
        if path == "/run/lunette" { return "" }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a: stable between processes, which Swift's Hasher isn't
        for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(UInt32(truncatingIfNeeded: hash ^ (hash >> 32)), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// The directory's name for a container.
    package func name(_ id: String) -> String { scope.isEmpty ? id : "\(id).\(scope)" }

    private func parents() -> [CgroupFile] {
        layout.hierarchies.map { CgroupFile(path: "\($0.path)/\(Self.parent)", controllers: $0.controllers) }
    }

    /// The container's cgroup, whether it exists or not.
    package func container(_ id: String) -> ContainerCgroup {
        ContainerCgroup(
            version: layout.version, directories: parents().map { CgroupFile(path: "\($0.path)/\(name(id))", controllers: $0.controllers) })
    }

    /// Makes the container's cgroup in every hierarchy, with nothing limited yet. On failure what was made is removed.
    package func create(_ id: String) throws(SystemCallError) -> ContainerCgroup {
        let cgroup = container(id)
        let gate = try gate()
        defer { withExtendedLifetime(gate) {} }
        do throws(SystemCallError) {
            try hold(gate, .shared)
            for (parent, directory) in zip(parents(), cgroup.directories) {
                var result = lnt_host_mkdirat(-100, directory.path, 0o755)
                // The parent is missing at the first container of this boot, or was just swept with its last child.
                var attempts = 0
                while -result == ErrorNumber.noEntry, attempts < 8 {
                    try hold(gate, .alone)
                    try prepare(parent)
                    try hold(gate, .shared)
                    result = lnt_host_mkdirat(-100, directory.path, 0o755)
                    attempts += 1
                }
                if result < 0 { throw SystemCallError("make cgroup", directory.path, errno: -result) }
                try open(directory)
            }
        } catch {
            // Best effort on the way out of a failure: the first failure is what the caller hears; a leftover is found by id again.
            _ = cgroup.remove(patience: 0)
            throw error
        }
        return cgroup
    }

    /// Lets the container see its own limits: inside, a cgroup's owner is nobody, and the way to it is walked with the container's rights when
    /// its view is mounted. The engine's umask takes that away.
    private func open(_ directory: CgroupFile) throws(SystemCallError) {
        let made = try Directory(directory.path)
        let changed = withExtendedLifetime(made) { lnt_host_fchmod(made.descriptor.number, 0o755) }
        try check(changed, "chmod", directory.path)
    }

    private func prepare(_ parent: CgroupFile) throws(SystemCallError) {
        let made = lnt_host_mkdirat(-100, parent.path, 0o755)
        if made < 0, -made != ErrorNumber.exists { throw SystemCallError("make cgroup", parent.path, errno: -made) }
        if made == 0 { try open(parent) }
        switch layout.version {
        case .v1:
            guard parent.controllers.contains("cpuset") else { return }
            // A v1 cpuset takes no process before it has cpus and memory nodes; clone_children hands ours down to each container's.
            let root = CgroupFile(path: String(parent.path.dropLast(Self.parent.count + 1)), controllers: parent.controllers)
            for file in ["cpuset.cpus", "cpuset.mems"] where (parent.read(file) ?? "").trimmed.isEmpty {
                try parent.write(file, (root.read(file) ?? "0").trimmed)
            }
            try parent.write("cgroup.clone_children", "1")
        case .v2:
            let root = CgroupFile(path: String(parent.path.dropLast(Self.parent.count + 1)), controllers: [])
            for level in [root, parent] {
                let available = Set((level.read("cgroup.controllers") ?? "").split(whereSeparator: \.isWhitespace).map(String.init))
                let enabled = Set((level.read("cgroup.subtree_control") ?? "").split(whereSeparator: \.isWhitespace).map(String.init))
                for controller in ["cpu", "cpuset", "memory", "pids", "io"]
                where available.contains(controller) && !enabled.contains(controller) {
                    try level.write("cgroup.subtree_control", "+\(controller)")
                }
            }
        }
    }

    /// Ids that have a cgroup of this scope in any hierarchy.
    package func ids() -> Set<String> {
        var found: Set<String> = []
        for parent in parents() {
            guard let entries = list(parent.path) else { continue }
            for (name, isDirectory) in entries where isDirectory {
                if scope.isEmpty {
                    if !name.contains(".") { found.insert(name) }
                } else if name.hasSuffix(".\(scope)") {
                    found.insert(String(name.dropLast(scope.count + 1)))
                }
            }
        }
        return found
    }

    private func list(_ path: String) -> [(String, Bool)]? {
        // Absent or unreadable: no containers there.
        guard let directory = try? Directory(path), let names = try? directory.entries() else { return nil }
        return names.map { name in
            var status = lnt_host_stat()
            return (name, lnt_host_stat(directory.descriptor.number, name, 0x100, &status) == 0 && status.mode & 0o170000 == 0o040000)
        }
    }

    /// Removes the parents when no container of any engine is left; busy is no failure.
    package func removeEmptyParents() {
        // Somebody makes a container just now, or the tree is gone: then there is nothing to remove.
        guard let gate = try? gate(), (try? hold(gate, .aloneOrNot)) != nil else { return }
        withExtendedLifetime(gate) {
            for parent in parents() { _ = lnt_host_unlinkat(-100, parent.path, 0x200) }
        }
    }

    // MARK: one at a time

    /// flock(2)'s operations: LOCK_SH, LOCK_EX, LOCK_EX | LOCK_NB.
    private enum Hold: Int32 { case shared = 1, alone = 2, aloneOrNot = 6 }

    /// What engines lock against each other: containers are made below parents together, a parent is prepared or removed alone, so that none
    /// lands below one that has no processors or controllers yet. Let go when it is closed.
    private func gate() throws(SystemCallError) -> Directory {
        guard let first = layout.hierarchies.first else { throw SystemCallError("find cgroups", "", errno: ErrorNumber.noEntry) }
        return try Directory(first.path)
    }

    private func hold(_ gate: Directory, _ hold: Hold) throws(SystemCallError) {
        try check(lnt_host_flock(gate.descriptor.number, hold.rawValue), "flock", layout.hierarchies.first?.path ?? "")
    }
}
