internal import CLinux

extension CgroupLayout {
    /// The part of this machine's cgroups that an ordinary user was given; no hierarchy at all where nothing was.
    ///
    /// - v1: `<hierarchy>/lunette-UID`, made and given to the user by the administrator, else the cgroup that the engine runs in, where it is
    ///   the user's. v1 lets whoever owns a cgroup move their own processes in.
    /// - v2: the cgroup that the engine runs in, where it is delegated (systemd's `Delegate=yes`). Only below it may processes be moved:
    ///   the kernel asks for the common ancestor (Documentation/admin-guide/cgroup-v2.rst, "Delegation Containment").
    /// - Parameters:
    ///   - uid: the user's, outside of the engine's namespace.
    ///   - own: the text of /proc/self/cgroup.
    ///   - mayUse: whether the directory is there and the user may make directories in it.
    package func delegated(uid: UInt32, own: String, mayUse: (String) -> Bool) -> CgroupLayout {
        var found = CgroupLayout(version: version, hierarchies: [])
        for hierarchy in hierarchies {
            var candidates: [String] = []
            if version == .v1 { candidates.append("\(hierarchy.path)/lunette-\(uid)") }
            if let path = Self.ownPath(own, hierarchy.controllers) { candidates.append(hierarchy.path + path) }
            if let path = candidates.first(where: mayUse) {
                found.hierarchies.append(Hierarchy(path: path, controllers: hierarchy.controllers))
            }
        }
        return found
    }

    /// Where a process of v2 lives that makes cgroups beside itself: a cgroup with processes hands no controllers down.
    static let engineLeaf = "lunette-engine"

    /// `0::/path` or `4:memory,cpu:/path`; nil for the root, which is nobody's to give.
    private static func ownPath(_ text: String, _ controllers: [String]) -> String? {
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let names = fields[1].split(separator: ",").map(String.init)
            let isIt = controllers.isEmpty ? fields[0] == "0" : controllers.allSatisfy(names.contains)
            guard isIt else { continue }
            var path = String(fields[2])
            if path.hasSuffix("/\(engineLeaf)") { path.removeLast(engineLeaf.utf8.count + 1) }
            return path.isEmpty || path == "/" ? nil : path
        }
        return nil
    }

    /// What this process's user was given of this machine's: hierarchies none where nothing was. Blocks.
    package static func given(to namespace: UserNamespace) -> CgroupLayout { given(toUser: namespace.outsideUID) }

    /// What a user was given of this machine's: hierarchies none where nothing was. Blocks.
    /// - Parameter uid: of the user, outside of any namespace of its own.
    package static func given(toUser uid: UInt32) -> CgroupLayout {
        guard let layout = detect(), let own = readSmallFile("/proc/self/cgroup") else {
            return CgroupLayout(version: .v2, hierarchies: [])
        }
        let found = layout.delegated(uid: uid, own: own) { lnt_host_may_write($0) == 1 }
        return found.hierarchies.isEmpty ? CgroupLayout(version: .v2, hierarchies: []) : found
    }

    /// The same, ready for use. Blocks.
    package static func prepared(for namespace: UserNamespace) -> CgroupLayout { prepared(forUser: namespace.outsideUID) }

    /// The same for an ordinary user who stands in no user namespace. Blocks.
    package static func prepared(forUser uid: UInt32) -> CgroupLayout {
        let found = given(toUser: uid)
        guard found.version == .v2, let base = found.hierarchies.first else { return found }
        // Somebody's process that can't be moved out of the way: then nothing can be enabled below.
        do throws(SystemCallError) { try makeRoom(base.path) } catch { return CgroupLayout(version: .v2, hierarchies: []) }
        return found
    }

    private static func makeRoom(_ base: String) throws(SystemCallError) {
        let leaf = CgroupFile(path: "\(base)/\(engineLeaf)", controllers: [])
        let made = lnt_host_mkdirat(-100, leaf.path, 0o755)
        if made < 0, -made != ErrorNumber.exists { throw SystemCallError("make cgroup", leaf.path, errno: -made) }
        for pid in CgroupFile(path: base, controllers: []).processes() { try leaf.write("cgroup.procs", "\(pid)") }
    }
}
