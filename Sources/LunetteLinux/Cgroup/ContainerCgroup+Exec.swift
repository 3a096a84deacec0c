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
}
