import LunetteLinux
import LunetteSpec
import Testing

/// Controllers on their way down to a v2 cgroup, on folders that look like one. The kernel's part is in CgroupV2Tests.
@Suite struct CgroupControllersTests {
    /// `top` has everything and is no root, `top/own` what `top` hands down.
    private func withTree(_ body: (Directory, ContainerCgroup) throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let top = try directory.makeDirectory("top")
            let own = try top.makeDirectory("own")
            for (folder, controllers, handed) in [(top, "cpu memory hugetlb", "cpu"), (own, "cpu", "")] {
                try folder.put("cgroup.procs", "")
                try folder.put("cgroup.type", "domain\n")
                try folder.put("cgroup.controllers", controllers + "\n")
                try folder.put("cgroup.subtree_control", handed)
            }
            let path = try readLink("/proc/self/fd/\(own.descriptor.number)")
            try body(top, ContainerCgroup(version: .v2, directories: [CgroupFile(path: path, controllers: [])]))
        }
    }

    @Test func anUpdateHandsDownWhatNobodyNeededBefore() async throws {
        let limits = try RuntimeSpec.Resources(["hugepageLimits": [["pageSize": "2MB", "limit": 4_194_304]]])
        try await withTree { top, cgroup in
            try cgroup.handDown(for: limits)
            // What a write puts into a plain file: the last of the two that were lacking.
            #expect(try top.text("cgroup.subtree_control") == "+hugetlb")
        }
        try await withTree { top, cgroup in
            try top.put("cgroup.procs", "4711\n")
            try cgroup.handDown(for: limits)
            #expect(try top.text("cgroup.subtree_control") == "cpu", "it would take no process below it then")
        }
    }

    @Test func aControllerThatIsHeldBackByProcessesSaysSo() async throws {
        func failure(_ cgroup: ContainerCgroup) throws -> LunetteError {
            try #require(
                #expect(throws: LunetteError.self) { _ = try cgroup.apply(try RuntimeSpec.Resources(["memory": ["limit": 1_048_576]])) })
        }
        try await withTree { top, cgroup in
            #expect(try failure(cgroup).message == "can't be enforced: no memory controller in cgroup v2 here")
            try top.put("cgroup.procs", "4711\n")
            let told = try failure(cgroup)
            #expect(told.message.hasPrefix("can't be enforced: processes are in the cgroup around it, /"), "\(told)")
            #expect(told.message.hasSuffix("/top (pid 4711), which can't hand the memory controller down then"), "\(told)")
            #expect(told.path == "linux.resources.memory.limit")
        }
    }

    /// By the file that the kernel asks for; whose it is to write is the kernel's affair.
    @Test(arguments: [
        ("0::/a/own\n", "a/b", true), ("0::/x\n", "a/b", false), ("0::/\n", "a/b", false), ("0::/a\n", "a", true),
        ("1:cpu:/a\n", "a/b", true), ("0::/../a\n", "a/b", true), ("3:pids:/a\n0::/x/y\n", "a/b", false),
    ])
    func anOrdinaryUserEntersWithinWhatWasDelegated(_ own: String, _ path: String, _ expected: Bool) async throws {
        try await withTemporaryDirectory { directory in
            try directory.makeDirectory("a").put("cgroup.procs", "")
            let root = try readLink("/proc/self/fd/\(directory.descriptor.number)")
            #expect(ContainerCgroup.mayEnter("\(root)/\(path)", root: root, own: own) == expected)
            #expect(ContainerCgroup.mayEnter("/elsewhere/\(path)", root: root, own: own))
        }
    }
}
