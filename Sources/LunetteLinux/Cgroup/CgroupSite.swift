internal import CLinux
package import LunetteSpec

/// A place in this machine's hierarchies where a container's cgroup is, or will be made: one directory in each v1 hierarchy, or one of v2.
///
/// No lock is needed between those who make cgroups below one parent: everybody looks after making a directory whether it has what it needs,
/// and mends its parents when not; a parent that was just removed with its last child is made again.
package struct CgroupSite: Sendable, Equatable {
    /// The hierarchies that it is in.
    package let layout: CgroupLayout
    /// Names below the root of each hierarchy.
    package let components: [String]

    /// Names a place; nothing is looked at or made.
    package init(layout: CgroupLayout, components: [String]) {
        self.layout = layout
        self.components = components
    }

    /// The cgroup, whether it exists or not.
    package var cgroup: ContainerCgroup {
        let below = components.joined(separator: "/")
        return ContainerCgroup(
            version: layout.version,
            directories: layout.hierarchies.map { CgroupFile(path: "\($0.path)/\(below)", controllers: $0.controllers) })
    }

    /// The runtime's parent in each hierarchy, when the place is below it: everybody's who is in it, so that whoever leaves last takes it away,
    /// not only whoever came first.
    private var sharedParents: [String] {
        guard components.count > 1, components[0] == CgroupPath.defaultParent else { return [] }
        return layout.hierarchies.map { "\($0.path)/\(CgroupPath.defaultParent)" }
    }

    /// The directories that `create` would own now, parents first: what a state file can say before they exist.
    package func missing() -> CgroupOwnership {
        var made = sharedParents
        for hierarchy in layout.hierarchies {
            for count in 1...components.count {
                let path = "\(hierarchy.path)/\(components.prefix(count).joined(separator: "/"))"
                if !made.contains(path), !CgroupFile(path: path, controllers: []).exists { made.append(path) }
            }
        }
        return CgroupOwnership(made: made)
    }

    /// A place that nobody else can take while it is held.
    package struct Claim {
        /// Keeps others out until it is let go.
        package let lock: FileLock
        /// What was made for it so far.
        package let made: [String]
    }

    /// Makes the deciding directory, which is marked from its first moment, and holds it: who works on the others does so one after the other.
    /// - Returns: nil when somebody else holds it.
    package func claim(_ mark: CgroupMark) throws(LunetteError) -> Claim? {
        let cgroup = cgroup
        guard let index = cgroup.directories.firstIndex(where: { $0.path == cgroup.deciding?.path }) else { return nil }
        return try atBorder(nil) { () throws(SystemCallError) -> Claim? in
            var made: [String] = []
            try make(layout.hierarchies[index], &made)
            // Whoever comes in between and takes it takes the mark over, and with it what was made.
            if made.contains(cgroup.directories[index].path) { _ = cgroup.put(mark) }
            return try cgroup.lock().map { Claim(lock: $0, made: made) }
        }
    }

    /// Makes the container's cgroup in every hierarchy, with its parents, and hands the controllers down to it; nothing is limited yet.
    ///
    /// A directory that is there already is taken when nobody is in it and it isn't frozen; it isn't ours then.
    /// - Parameters:
    ///   - resources: what will be limited: which controllers v2 needs besides the usual ones.
    ///   - takesEmpty: false: one that is there is `already_exists`.
    ///   - holder: a process of ours that may be in it already.
    /// - Returns: the directories made, and the runtime's own parent whoever made it.
    /// - Throws: `conflict` when processes are in it already or it is frozen; what the kernel refuses otherwise. What was made is gone then.
    package func create(
        for resources: RuntimeSpec.Resources = .init(), takesEmpty: Bool = true, holder: Int32? = nil
    )
        throws(LunetteError) -> CgroupOwnership
    {
        let cgroup = cgroup
        var owned = CgroupOwnership()
        do throws(LunetteError) {
            for (hierarchy, directory) in zip(layout.hierarchies, cgroup.directories) {
                try atBorder(nil) { () throws(SystemCallError) in
                    try make(hierarchy, &owned.made)
                    if !takesEmpty, !owned.made.contains(directory.path) {
                        throw SystemCallError("make cgroup", directory.path, errno: ErrorNumber.exists)
                    }
                }
                if !owned.made.contains(directory.path) { try refuseOccupied(directory, cgroup, holder) }
                try atBorder(nil) { () throws(SystemCallError) in
                    switch layout.version {
                    case .v1: if hierarchy.controllers.contains("cpuset") { try inheritCPUs(hierarchy) }
                    case .v2: try enable(CgroupController.wanted(by: resources), hierarchy)
                    }
                }
            }
        } catch {
            // The first failure is what the caller hears; nothing of ours has joined yet.
            cgroup.removeUnused(owned: owned)
            throw error
        }
        owned.made.insert(contentsOf: sharedParents.filter { !owned.made.contains($0) }, at: 0)
        return owned
    }

    private func refuseOccupied(_ directory: CgroupFile, _ cgroup: ContainerCgroup, _ holder: Int32?) throws(LunetteError) {
        guard directory.exists else {
            throw LunetteError(
                .conflict, "\(displayable(directory.path)) is there and is no cgroup", path: "linux.cgroupsPath",
                hint: "give the container a cgroupsPath of its own")
        }
        let processes = ContainerCgroup(version: cgroup.version, directories: [directory]).occupants().filter { $0 != holder }
        if let first = processes.first {
            throw LunetteError(
                .conflict, "the cgroup \(directory.path) is not empty: \(processes.count) process(es) are in it, \(first) first",
                path: "linux.cgroupsPath", hint: "end them, or give the container a cgroupsPath of its own")
        }
        if layout.version == .v2 || directory.controllers.contains("freezer"), cgroup.isAskedToFreeze {
            throw LunetteError(
                .conflict, "the cgroup \(directory.path) is frozen: the container would stand still before it ran",
                path: "linux.cgroupsPath", hint: "thaw it, or give the container a cgroupsPath of its own")
        }
    }

    /// - Parameter made: gets the directories that were missing.
    private func make(_ hierarchy: CgroupLayout.Hierarchy, _ made: inout [String]) throws(SystemCallError) {
        var attempts = 0
        // The leaf first: its parents are there at all but the first container.
        var depth = components.count
        while depth <= components.count {
            let path = "\(hierarchy.path)/\(components.prefix(depth).joined(separator: "/"))"
            let result = lnt_host_mkdirat(-100, path, 0o755)
            switch -result {
            case 0:
                made.append(path)
                do throws(SystemCallError) {
                    try CgroupFile(path: path, controllers: hierarchy.controllers).letEverybodyRead()
                    if depth < components.count { try prepareParent(path, hierarchy) }
                    depth += 1
                } catch {
                    // A parent of ours was swept as empty before anything was in it: again.
                    guard error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.noDevice, depth < components.count, attempts < 64
                    else { throw error }
                    attempts += 1
                    made.removeLast()
                }
            case ErrorNumber.exists: depth += 1
            case ErrorNumber.noEntry where depth > 1 && attempts < 64:
                // Missing, or just swept with its last child.
                attempts += 1
                depth -= 1
            default: throw SystemCallError("make cgroup", path, errno: -result)
            }
        }
    }

    private func prepareParent(_ path: String, _ hierarchy: CgroupLayout.Hierarchy) throws(SystemCallError) {
        // Children of a parent of ours begin with its processors and memory nodes.
        if layout.version == .v1, hierarchy.controllers.contains("cpuset") {
            try CgroupFile(path: path, controllers: hierarchy.controllers).write("cgroup.clone_children", "1")
        }
    }

    /// A v1 cpuset takes no process before it has processors and memory nodes: what is empty on the way gets its parent's.
    private func inheritCPUs(_ hierarchy: CgroupLayout.Hierarchy) throws(SystemCallError) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            guard (cgroup.directory("cpuset")?.read(file) ?? "").trimmed.isEmpty else { continue }
            var inherited = CgroupFile(path: hierarchy.path, controllers: []).read(file)?.trimmed ?? "0"
            for count in 1...components.count {
                let path = "\(hierarchy.path)/\(components.prefix(count).joined(separator: "/"))"
                let level = CgroupFile(path: path, controllers: hierarchy.controllers)
                let own = (level.read(file) ?? "").trimmed
                if own.isEmpty { try level.write(file, inherited) } else { inherited = own }
            }
        }
    }

    /// Hands controllers of v2 down the path.
    private func enable(_ wanted: [String], _ hierarchy: CgroupLayout.Hierarchy) throws(SystemCallError) {
        let levels = (0..<components.count).map {
            CgroupFile(path: ([hierarchy.path] + components.prefix($0)).joined(separator: "/"), controllers: [])
        }
        try CgroupController.enable(wanted, for: CgroupFile(path: cgroup.directories[0].path, controllers: []), from: levels)
    }
}

/// The controllers of v2.
enum CgroupController {
    static let usual = ["cpu", "cpuset", "memory", "pids", "io"]

    /// Hands controllers down to a cgroup, one by one: what one level hasn't got can't be had below it and shows when a limit is written.
    /// - Parameter levels: the cgroups around it, the outermost first.
    static func enable(_ wanted: [String], for leaf: CgroupFile, from levels: [CgroupFile]) throws(SystemCallError) {
        let has = leaf.words("cgroup.controllers")
        let lacking = wanted.filter { !has.contains($0) }
        guard !lacking.isEmpty else { return }
        for level in levels {
            if !handsDown(level) { return }
            let available = level.words("cgroup.controllers")
            let enabled = level.words("cgroup.subtree_control")
            for controller in lacking where available.contains(controller) && !enabled.contains(controller) {
                do throws(SystemCallError) { try level.write("cgroup.subtree_control", "+\(controller)") } catch {
                    // Not delegated to us, or a cgroup with processes of its own (v2's "no internal processes"): the limits that need
                    // this controller are refused or reported when they are written.
                    let expected = [
                        ErrorNumber.access, ErrorNumber.permission, ErrorNumber.readOnly, ErrorNumber.busy, ErrorNumber.noEntry,
                    ]
                    guard expected.contains(error.errno) else { throw error }
                }
            }
        }
    }

    /// v2's "no internal processes": the kernel would take `+cpu` here, and then take no process into what is below. The true root may.
    static func handsDown(_ level: CgroupFile) -> Bool { !level.has("cgroup.type") || level.occupants().isEmpty }

    /// Enabled for a container: the usual ones, and those that its limits need.
    static func wanted(by resources: RuntimeSpec.Resources) -> [String] {
        var wanted = usual
        if !resources.hugepageLimits.isEmpty { wanted.append("hugetlb") }
        if !resources.rdma.isEmpty { wanted.append("rdma") }
        for key in resources.unified.keys.sorted() {
            let controller = String(key.prefix { $0 != "." })
            // `cgroup.*` belongs to the core.
            if controller != "cgroup", !wanted.contains(controller) { wanted.append(controller) }
        }
        return wanted
    }
}
