import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite struct CgroupLayoutTests {
    @Test func aHybridMachineCountsAsV1() throws {
        let text = """
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
            34 31 0:31 / /sys/fs/cgroup/cpu\\040set rw,relatime - cgroup cgroup rw,cpuset
            40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """
        let layout = try #require(CgroupLayout.detect(mountinfo: text))
        #expect(layout.version == .v1)
        #expect(layout.hierarchies.map(\.controllers) == [["cpuset"], ["cpu", "cpuacct"], ["memory"]])
        #expect(layout.hierarchies[0].path == "/sys/fs/cgroup/cpu set")
    }

    @Test func aUnifiedMachineIsV2AndNoneIsNil() {
        let text = "30 23 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
        #expect(
            CgroupLayout.detect(mountinfo: text)
                == CgroupLayout(version: .v2, hierarchies: [.init(path: "/sys/fs/cgroup", controllers: [])]))
        #expect(CgroupLayout.detect(mountinfo: "garbage\n") == nil)
    }

    @Test func scopesDifferByStateDirectory() {
        #expect(Cgroups.scope(ofState: "/run/lunette") == "")
        #expect(Cgroups.scope(ofState: "/tmp/a") != Cgroups.scope(ofState: "/tmp/b"))
        #expect(Cgroups.scope(ofState: "/tmp/a").utf8.count == 8)
    }
}

/// A tree of plain files that looks like cgroup v2 enough.
@Suite struct CgroupV2FixtureTests {
    private func fixture(_ directory: Directory) throws -> ContainerCgroup {
        for file in [
            "memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "io.weight", "memory.oom.group", "cgroup.procs",
            "cgroup.freeze",
        ] { try directory.put(file, "") }
        return ContainerCgroup(version: .v2, directories: [CgroupFile(path: directory.label, controllers: [])])
    }

    @Test func limitsBecomeV2sFiles() async throws {
        try await withTemporaryDirectory { directory in
            let cgroup = try fixture(directory)
            var limits = CgroupLimits()
            limits.memory = 100 << 20
            limits.memorySwap = 150 << 20
            limits.cpus = 1.5
            limits.cpuShares = 1024
            limits.pids = -1
            limits.ioWeight = 200
            limits.killGroupOnOOM = true
            #expect(try cgroup.apply(limits) == [])
            #expect(try directory.text("memory.max") == "104857600")
            #expect(try directory.text("memory.swap.max") == "52428800")
            #expect(try directory.text("cpu.max") == "150000 100000")
            #expect(try directory.text("cpu.weight") == "39")
            #expect(try directory.text("pids.max") == "max")
            #expect(try directory.text("io.weight") == "default 200")
            #expect(try directory.text("memory.oom.group") == "1")
        }
    }

    /// v2 shows a 0 for whom our pid namespace has no number: kill(0) would be our own group's.
    @Test func whoHasNoNumberHereIsSomebodyAndNotSignalled() async throws {
        try await withTemporaryDirectory { directory in
            let cgroup = try fixture(directory)
            try directory.put("cgroup.procs", "0\n0\n7\n")
            #expect(cgroup.processes() == [7])
            #expect(cgroup.occupants() == [0, 0, 7])
            try directory.put("cgroup.procs", "0\n")
            #expect(try !cgroup.killAll(seconds: 0.01))
            cgroup.signalAll(SIGURG)
        }
    }

    @Test func whatIsMissingIsSaidNotHidden() async throws {
        try await withTemporaryDirectory { directory in
            let cgroup = try fixture(directory)
            var limits = CgroupLimits()
            limits.cpuset = "0"
            let degraded = try cgroup.apply(limits)
            #expect(degraded.count == 1)
            #expect(degraded[0].text.hasPrefix("cpuset is not enforced"))
        }
    }

    @Test func figuresAreReadFromV2sFiles() async throws {
        try await withTemporaryDirectory { directory in
            let cgroup = try fixture(directory)
            try directory.put("memory.current", "1000\n")
            try directory.put("memory.stat", "anon 1\ninactive_file 300\n")
            try directory.put("memory.max", "max\n")
            try directory.put("memory.events", "low 0\noom 2\noom_kill 3\n")
            try directory.put(
                "cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_throttled 4\nthrottled_usec 1000000\n")
            try directory.put("pids.current", "7\n")
            try directory.put("pids.max", "64\n")
            try directory.put("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=1 wbytes=2\n")
            let figures = cgroup.statistics()
            #expect(figures.memoryUsage == 1000)
            #expect(figures.memoryWorkingSet == 700)
            #expect(figures.memoryLimit == nil)
            #expect(figures.outOfMemoryKills == 3)
            #expect(figures.cpuSeconds == 2.5)
            #expect(figures.throttledPeriods == 4)
            #expect(figures.processes == 7)
            #expect(figures.processLimit == 64)
            #expect(figures.readBytes == 11)
            #expect(figures.writtenBytes == 22)
        }
    }
}

/// The unified tree of a hybrid machine carries no controllers, but device filters work on it.
@Suite(.requires(.root)) struct DeviceFilterTests {
    private static let tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].first { access("\($0)/cgroup.controllers", F_OK) == 0 }

    @Test(.enabled(if: tree != nil, "requires a cgroup2 file system")) func theLastFittingRuleDecidesAndTheRestIsDenied() async throws {
        let path = "\(try #require(Self.tree))/lunette-filter-\(getpid())"
        #expect(mkdir(path, 0o755) == 0)
        defer { rmdir(path) }
        let filter = DeviceFilter([
            .init(allow: true, kind: "c", major: 1, minor: 7), .init(allow: false, kind: "a"),
            .init(allow: true, kind: "c", major: 1, minor: 3, access: "rwm"),
            .init(allow: true, kind: "c", major: 1, minor: 5, access: "r"),
            .init(allow: true, kind: "c", major: 1, minor: 8, access: "rw"),
            .init(allow: false, kind: "c", major: 1, minor: 8, access: "w"),
        ])
        try filter.attach(to: path)
        func attempt(_ line: String) async throws -> String {
            let (output, input) = try FileDescriptor.pipe()
            var request = SpawnRequest(
                .path("/bin/sh"),
                arguments: ["sh", "-c", "echo $$ > \(path)/cgroup.procs || exit 9; \(line) 2>/dev/null && echo yes || echo no"])
            request.descriptors = [input, input, input]
            let child = try spawn(request)
            request.descriptors = []
            input.close()
            let text = String(decoding: try output.readAll(limit: 1000), as: UTF8.self).trimmed
            _ = try child.reap(block: true)
            return text
        }
        #expect(try await attempt("(: > /dev/null)") == "yes")
        #expect(try await attempt("(: < /dev/zero)") == "yes")
        #expect(try await attempt("(: > /dev/zero)") == "no")
        #expect(try await attempt("(: <> /dev/zero)") == "no")
        #expect(try await attempt("(: < /dev/random)") == "yes")
        #expect(try await attempt("(: > /dev/random)") == "no")
        #expect(try await attempt("(: <> /dev/random)") == "no", "one of two is denied")
        #expect(try await attempt("(: < /dev/full)") == "no", "allowed before everything was denied")
        try DeviceFilter([.init(allow: true, kind: "c", major: 1, minor: 7), .init(allow: true, kind: "c", major: 1, minor: 3)]).attach(
            to: path)
        #expect(try await attempt("(: < /dev/full)") == "yes", "the filter before has gone")
        #expect(try await attempt("(: < /dev/zero)") == "no")
    }
}

@Suite(.requires(.root, .cgroupV1)) struct CgroupV1Tests {
    private let cgroups = Cgroups(layout: CgroupLayout.detect()!, scope: "test\(UInt32.random(in: 0...9999))")

    /// A cgroup of the test's own, gone afterwards.
    private func withCgroup(_ body: (ContainerCgroup) async throws -> Void) async throws {
        defer { cgroups.removeEmptyParents() }
        let cgroup = try cgroups.create("container")
        do { try await body(cgroup) } catch {
            _ = try cgroup.killAll()
            _ = cgroup.remove()
            throw error
        }
        #expect(try cgroup.killAll())
        #expect(cgroup.remove().isEmpty)
        #expect(!cgroup.exists)
        #expect(cgroups.ids().isEmpty)
    }

    private func join(_ cgroup: ContainerCgroup, _ pid: Int32) throws {
        for directory in cgroup.directories { try directory.write("cgroup.procs", "\(pid)") }
    }

    @Test func limitsAreWrittenReadBackAndChanged() async throws {
        try await withCgroup { cgroup in
            var limits = CgroupLimits()
            limits.memory = 64 << 20
            limits.memorySwap = 128 << 20
            limits.cpus = 0.5
            limits.cpuShares = 512
            limits.cpuset = "0"
            limits.pids = 50
            limits.devices = [.init(allow: true, kind: "c", major: 1, minor: 3)]
            _ = try cgroup.apply(limits)
            func read(_ controller: String, _ file: String) -> String? {
                cgroup.directories.first { $0.controllers.contains(controller) }?.read(file)?.trimmed
            }
            #expect(read("memory", "memory.limit_in_bytes") == "\(64 << 20)")
            #expect(read("cpu", "cpu.cfs_quota_us") == "50000")
            #expect(read("cpu", "cpu.shares") == "512")
            #expect(read("cpuset", "cpuset.cpus") == "0")
            #expect(read("pids", "pids.max") == "50")
            #expect(read("devices", "devices.list") == "c 1:3 rwm")
            var larger = CgroupLimits()
            larger.memory = 256 << 20
            larger.memorySwap = 512 << 20
            _ = try cgroup.apply(larger)
            #expect(read("memory", "memory.limit_in_bytes") == "\(256 << 20)")
            var smaller = CgroupLimits()
            smaller.memory = 32 << 20
            smaller.memorySwap = 32 << 20
            _ = try cgroup.apply(smaller)
            #expect(read("memory", "memory.limit_in_bytes") == "\(32 << 20)")
        }
    }

    @Test func aFrozenProcessStandsStillAndDiesAllTheSame() async throws {
        try await withCgroup { cgroup in
            let child = try spawn(SpawnRequest(.path("/bin/sleep"), arguments: ["sleep", "1000"]))
            try join(cgroup, child.pid)
            #expect(cgroup.processes() == [child.pid])
            try cgroup.freeze()
            #expect(cgroup.isFrozen)
            // Dead but unreaped is still listed: reap beside.
            async let status = blocking { () throws(SystemCallError) in try child.reap(block: true) }
            #expect(try cgroup.killAll())
            #expect(WaitStatus(raw: try #require(try await status)).signal == SIGKILL)
        }
    }

    @Test func theKernelsMemoryCgroupsDoNotPileUp() async throws {
        let before = try dyingMemoryCgroups()
        for _ in 0..<30 {
            try await withCgroup { cgroup in
                let child = try spawn(
                    SpawnRequest(.path("/bin/sh"), arguments: ["sh", "-c", "read go; cat /etc/passwd /etc/services >/dev/null; true"]))
                try join(cgroup, child.pid)
                _ = try child.reap(block: true)
            }
        }
        // Others may make and remove cgroups beside this test; a leak of ours would be 30 for good.
        try await eventually("dead memory cgroups go") { try dyingMemoryCgroups() < before + 15 }
    }
}

/// Memory cgroups that the kernel still keeps though their directory is gone: what `memory.force_empty` before the rmdir avoids.
func dyingMemoryCgroups() throws -> Int {
    let line = readSmallFile("/proc/cgroups")?.split(separator: "\n").first { $0.hasPrefix("memory\t") }
    let known = try #require(line.flatMap { Int($0.split(separator: "\t")[2]) })
    func directories(_ path: String) -> Int {
        guard let directory = try? Directory(path), let names = try? directory.entries() else { return 0 }
        return 1 + names.filter { (try? directory.status($0))??.kind == .directory }.map { directories("\(path)/\($0)") }.reduce(0, +)
    }
    return known - directories("/sys/fs/cgroup/memory")
}
