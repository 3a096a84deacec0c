extension ContainerCgroup {
    /// v2's memory.oom.group: whether one out-of-memory kill ends every process. v1 has no such file.
    /// - Throws: `ENOTSUP` on v1; what the kernel answers.
    package func setKillsGroup(_ isWanted: Bool) throws(SystemCallError) {
        guard version == .v2, let directory = directories.first, directory.has("memory.oom.group") else {
            throw SystemCallError("set memory.oom.group", paths.first ?? "", errno: ErrorNumber.notSupported)
        }
        try directory.write("memory.oom.group", isWanted ? "1" : "0")
    }

    /// What a cpuset without a list of its own has: its parent's (cpuset(7) forbids an empty one on v1 while there are processes).
    package func parentsProcessors(_ file: String) -> String? {
        guard let directory = directory("cpuset") else { return nil }
        if version == .v2 { return "\n" }
        guard let slash = directory.path.lastIndex(of: "/") else { return nil }
        return CgroupFile(path: String(directory.path[..<slash]), controllers: directory.controllers).read(file)?.trimmed
    }
}
