import LunetteLinux
import Testing

/// Where an exec goes on v2 when a container manages cgroups of its own. The kernel's part is in RuntimeCgroupV2Tests.
@Suite struct CgroupExecTests {
    private func choose(_ body: (Directory) throws -> Void, _ expected: String) async throws {
        try await withTemporaryDirectory { directory in
            try directory.put("cgroup.procs", "")
            try directory.put("cgroup.subtree_control", "")
            for (path, processes) in [("a", "12\n"), ("a/b", "0\n4711\n"), ("c", "471\n")] {
                let parts = path.split(separator: "/").map(String.init)
                let parent = parts.count == 1 ? directory : try directory.openDirectory(parts[0])
                let made = try parent.makeDirectory(parts[parts.count - 1])
                try made.put("cgroup.procs", processes)
                try made.put("cgroup.subtree_control", "")
            }
            try body(directory)
            let own = try readLink("/proc/self/fd/\(directory.descriptor.number)")
            let cgroup = ContainerCgroup(version: .v2, directories: [CgroupFile(path: own, controllers: [])])
            #expect(cgroup.joinPathV2(beside: 4711) == own + expected)
        }
    }

    @Test func anExecJoinsPid1WhereTheContainersOwnCgroupTakesNoProcess() async throws {
        try await choose({ try $0.put("cgroup.subtree_control", "memory pids\n") }, "/a/b")
    }

    @Test func anExecJoinsTheContainersOwnCgroupAsLongAsThatTakesProcesses() async throws {
        try await choose({ _ in }, "")
        // Somebody else's pid 1: what the kernel says of the own one is then the error.
        try await choose(
            {
                try $0.put("cgroup.subtree_control", "memory\n")
                try $0.openDirectory("a").openDirectory("b").put("cgroup.procs", "")
            }, "")
    }
}
