internal import CLinux
internal import LunetteSpec

extension ContainerCgroup {
    /// For the plan of an exec on v2: the directory to be cloned into. Blocks.
    ///
    /// A pid 1 that manages cgroups (systemd, Docker, a Kubernetes node) moves itself into one below the container's and hands controllers down; the
    /// kernel then takes no process in the container's own (EBUSY, "no internal processes"), and a new one goes where pid 1 is, as with runc.
    /// - Parameter pid: the container's pid 1, as it is seen from here.
    /// - Returns: nil on v1; the container's own directory where it takes processes, and where pid 1 isn't found below it.
    package func joinPathV2(beside pid: Int32) -> String? {
        guard version == .v2, let own = directories.first else { return joinPathV2 }
        if own.words("cgroup.subtree_control").isEmpty { return own.path }
        var found: String?
        do throws(SystemCallError) {
            try CgroupTree(top: own).visit { directory throws(SystemCallError) in
                guard found == nil, directory != own, directory.processes().contains(pid) else { return }
                // Below the top a directory's path is that of an open descriptor.
                found = try readLink(directory.path)
            }
        } catch {
            // The tree changes meanwhile: what the kernel answers to the clone is the better error.
        }
        return found ?? own.path
    }

    /// Whether this process may put another into a directory of v2. Blocks.
    ///
    /// An ordinary user may only within what was delegated: `cgroup.procs` of the cgroup around both, the process's own and the directory, must be
    /// the user's to write (cgroups(7), "Delegation containment"). From a login session a container in a service's cgroup is out of reach.
    /// - Parameters:
    ///   - root: where the hierarchy is mounted.
    ///   - own: the text of /proc/self/cgroup.
    /// - Returns: true also where it can't be told.
    package static func mayEnter(_ path: String, root: String, own: String) -> Bool {
        guard let line = own.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }), path.hasPrefix(root + "/") else { return true }
        let mine = line.dropFirst(3).pathParts
        guard !mine.contains("..") else { return true }
        let common = zip(mine, String(decoding: path.utf8.dropFirst(root.utf8.count), as: UTF8.self).pathParts).prefix { $0 == $1 }.map {
            String($0.0)
        }
        // Opened, nothing is written yet.
        let opened = lnt_host_openat(
            -100, ([root] + common + ["cgroup.procs"]).joined(separator: "/"), Int32(OpenFlags([.writeOnly]).rawValue), 0)
        guard opened >= 0 else { return false }
        FileDescriptor(owning: opened).close()
        return true
    }
}
