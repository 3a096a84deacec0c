package import LunetteSpec

/// The controllers of a v2 cgroup that is there already, and why it lacks one.
extension ContainerCgroup {
    /// Hands down what new limits need and what nobody needed when it was made (`hugetlb`, `rdma`). Nothing on v1.
    package func handDown(for resources: RuntimeSpec.Resources) throws(LunetteError) {
        guard version == .v2, let own = directories.first else { return }
        try atBorder(nil) { () throws(SystemCallError) in
            try CgroupController.enable(CgroupController.wanted(by: resources), for: own, from: levels(around: own))
        }
    }

    /// Why a v2 cgroup hasn't got a controller, where that is a cgroup around it whose processes keep it from handing the controller down.
    func holder(of controller: String) -> (path: String, process: Int32)? {
        guard version == .v2, let own = directories.first else { return nil }
        // What the innermost that has it doesn't hand down.
        guard let level = levels(around: own).last(where: { $0.words("cgroup.controllers").contains(controller) }),
            !CgroupController.handsDown(level), let process = level.occupants().first
        else { return nil }
        return (level.path, process)
    }

    /// The cgroups around one, the outermost first.
    private func levels(around own: CgroupFile) -> [CgroupFile] {
        var levels: [CgroupFile] = []
        var path = own.path
        while let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash != path.utf8.startIndex {
            path = String(path[..<slash])
            let level = CgroupFile(path: path, controllers: [])
            guard level.exists else { break }
            levels.insert(level, at: 0)
        }
        return levels
    }
}
