import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

/// Limits as the kernel of a v2 machine takes and obeys them: run by scripts/dev/test-in-vm on Debian's.
@Suite(.requires(.root, .cgroupV2), .serialized) struct CgroupV2Tests {
    private let layout = CgroupLayout.detect()!
    private let top = "lunette-v2-\(getpid())-\(UInt32.random(in: 0...99999))"

    private func withCgroup(_ limits: Value = [:], _ body: (ContainerCgroup, CgroupFile) throws -> Void) throws {
        let site = CgroupSite(layout: layout, components: [top, "c"])
        let resources = try RuntimeSpec.Resources(limits)
        let owned = try site.create(for: resources)
        defer {
            #expect(throws: Never.self) { try #expect(site.cgroup.killAll()) }
            #expect(site.cgroup.remove(owned: owned).isEmpty)
            #expect(!site.cgroup.exists)
        }
        #expect(try site.cgroup.apply(resources) == [])
        try body(site.cgroup, site.cgroup.directories[0])
    }

    /// Runs a line in the cgroup and returns what it said.
    private func run(_ line: String, in directory: CgroupFile) throws -> (output: String, status: WaitStatus) {
        let (output, input) = try FileDescriptor.pipe()
        var request = SpawnRequest(.path("/bin/sh"), arguments: ["sh", "-c", "echo $$ >\(directory.path)/cgroup.procs || exit 9; \(line)"])
        request.descriptors = [input, input, input]
        let child = try spawn(request)
        request.descriptors = []
        input.close()
        let text = String(decoding: try output.readAll(limit: 65536), as: UTF8.self).trimmed
        return (text, WaitStatus(raw: try #require(try child.reap(block: true))))
    }

    @Test func aControllerThatNobodyNeededComesWithAnUpdate() throws {
        let update = try RuntimeSpec.Resources(["hugepageLimits": [["pageSize": "2MB", "limit": 4_194_304]]])
        try withCgroup { cgroup, directory throws in
            try cgroup.handDown(for: update)
            #expect(try cgroup.apply(update) == [])
            #expect(directory.read("hugetlb.2MB.max")?.trimmed == "4194304")
        }
    }

    @Test func everyLimitIsInItsFile() throws {
        let disk = try #require(readSmallFile("/sys/block/vda/dev")?.trimmed)
        let numbers = disk.split(separator: ":").compactMap { Int64($0) }
        let device: ValueMap = ["major": .int(numbers[0]), "minor": .int(numbers[1])]
        func throttled(_ rate: Int64) -> Value {
            var entry = device
            entry["rate"] = .int(rate)
            return [.map(entry)]
        }
        let limits: Value = [
            "memory": ["limit": 67_108_864, "swap": 100_663_296, "reservation": 33_554_432], "pids": ["limit": 50],
            "cpu": ["shares": 512, "quota": 50000, "period": 100_000, "burst": 20000, "cpus": "0", "mems": "0"],
            "blockIO": [
                "throttleReadBpsDevice": throttled(1_048_576), "throttleWriteBpsDevice": throttled(2_097_152),
                "throttleReadIOPSDevice": throttled(100), "throttleWriteIOPSDevice": throttled(200),
            ],
            "hugepageLimits": [["pageSize": "2MB", "limit": 4_194_304]],
            "unified": ["memory.high": "50331648", "memory.oom.group": "1", "pids.max": "40"],
        ]
        try withCgroup(limits) { cgroup, directory throws in
            func value(_ file: String) -> String? { directory.read(file)?.trimmed }
            #expect(value("memory.max") == "67108864")
            #expect(value("memory.swap.max") == "33554432")
            #expect(value("memory.low") == "33554432")
            #expect(value("memory.high") == "50331648")
            #expect(value("memory.oom.group") == "1")
            #expect(value("pids.max") == "40", "unified comes last")
            #expect(value("cpu.weight") == "20")
            #expect(value("cpu.max") == "50000 100000")
            #expect(value("cpu.max.burst") == "20000")
            #expect(value("cpuset.cpus") == "0")
            #expect(value("cpuset.mems") == "0")
            #expect(value("io.max") == "\(disk) rbps=1048576 wbps=2097152 riops=100 wiops=200")
            #expect(value("hugetlb.2MB.max") == "4194304")
            let update: Value = [
                "cpu": ["quota": 10000, "burst": 5000], "memory": ["limit": 134_217_728, "swap": -1], "pids": ["limit": -1],
            ]
            #expect(try cgroup.apply(try RuntimeSpec.Resources(update)) == [])
            #expect(value("cpu.max") == "10000 100000", "a quota alone leaves the period")
            #expect(value("cpu.max.burst") == "5000")
            #expect(value("memory.max") == "134217728")
            #expect(value("memory.swap.max") == "max")
            #expect(value("pids.max") == "max")
            #expect(try cgroup.apply(try RuntimeSpec.Resources(["cpu": ["period": 50000, "idle": 1]])) == [])
            #expect(value("cpu.max") == "10000 50000", "a period alone leaves the quota")
            #expect(value("cpu.idle") == "1")
            #expect(try cgroup.apply(try RuntimeSpec.Resources(["cpu": ["idle": 0, "shares": 1024]])) == [])
            #expect(value("cpu.weight") == "39")
        }
    }

    @Test func whatTheKernelRefusesIsNamedByItsField() throws {
        try withCgroup { cgroup, _ throws in
            for (limits, field) in [
                (["cpu": ["cpus": "4000"]], "cpu.cpus"), (["cpu": ["quota": 1, "period": 100_000]], "cpu.quota"),
                (["blockIO": ["throttleReadBpsDevice": [["major": 4000, "minor": 9, "rate": 1]]]], "blockIO.throttleReadBpsDevice[0]"),
                (["unified": ["memory.max": "lots"]], "unified.memory.max"), (["rdma": ["none0": ["hcaHandles": 1]]], "rdma.none0"),
            ] as [(Value, String)] {
                let error = #expect(throws: LunetteError.self) { try cgroup.apply(try RuntimeSpec.Resources(limits)) }
                #expect(error?.path == "linux.resources.\(field)", "\(error.map(String.init(describing:)) ?? "")")
            }
        }
    }

    @Test func aSlowedDiskIsSlow() throws {
        let disk = try #require(readSmallFile("/sys/block/vda/dev")?.trimmed)
        try withCgroup(["unified": .map(["io.max": .string("\(disk) rbps=1048576")])]) { _, directory throws in
            let began = SystemClock.monotonic
            // From the end of the disk, which nobody has read: 3 MiB at 1 MiB a second. The machine's own slowness only makes it longer.
            let size = try #require(readSmallFile("/sys/block/vda/size").flatMap { Int($0.trimmed) }) / 2048
            let (output, status) = try run("dd if=/dev/vda of=/dev/null bs=1048576 skip=\(size - 4) count=3", in: directory)
            #expect(status.code == 0, "\(output)")
            #expect(SystemClock.monotonic - began > 1.8)
            #expect(directory.read("io.stat")?.contains("rbytes=") == true)
        }
    }

    @Test func wantOfMemoryEndsOneProcessOrAll() throws {
        let eater = "(x=0123456789abcdef; while :; do x=$x$x; done); echo survived"
        let small: Value = ["memory": ["limit": 16_777_216, "swap": 16_777_216]]
        try withCgroup(small) { cgroup, directory throws in
            let (output, _) = try run(eater, in: directory)
            #expect(output.hasSuffix("survived"))
            #expect(cgroup.outOfMemoryKills() == 1)
        }
        try withCgroup(small.merged(with: ["unified": ["memory.oom.group": "1"]])) { cgroup, directory throws in
            let (output, status) = try run(eater, in: directory)
            #expect(output == "" && status.signal == SIGKILL)
            #expect(cgroup.outOfMemoryKills() >= 2)
        }
    }

    @Test func deviceRulesAreObeyedAndReplaced() throws {
        try withCgroup(["devices": [["allow": false], ["allow": true, "type": "b", "major": 254, "access": "r"]]]) {
            cgroup, directory throws in
            func attempt(_ line: String) throws -> Bool { try run("(\(line)) 2>/dev/null && echo yes", in: directory).output == "yes" }
            #expect(try attempt("head -c 1 /dev/vda >/dev/null"), "by number")
            #expect(try attempt(": >/dev/zero"), "every runtime's default devices")
            #expect(try !attempt(": >/dev/kmsg"))
            #expect(try attempt("mknod /tmp/\(top) b 7 7; rm /tmp/\(top)"), "every number may be made")
            #expect(
                try cgroup.apply(
                    try RuntimeSpec.Resources(["devices": [["allow": false], ["allow": true, "type": "c", "major": 1, "minor": 11]]])) == []
            )
            #expect(try !attempt("head -c 1 /dev/vda"), "the filter before has gone")
            #expect(try attempt(": >/dev/kmsg"), "and denies nothing any more")
        }
        try withCgroup { _, directory throws in
            #expect(
                try run("head -c 1 /dev/vda >/dev/null && echo yes", in: directory).output == "yes", "without rules nothing is restricted")
        }
    }

    @Test func aParentWithProcessesHandsNothingDownAndThatIsSaid() throws {
        let parent = CgroupSite(layout: layout, components: [top])
        let owned = try parent.create()
        let child = try spawn(SpawnRequest(.path("/bin/sleep"), arguments: ["sleep", "1000"]))
        defer {
            // The end of a test that may have failed anywhere.
            _ = try? parent.cgroup.killAll()
            _ = try? child.reap(block: true)
            #expect(parent.cgroup.remove(owned: owned).isEmpty)
        }
        try parent.cgroup.directories[0].write("cgroup.procs", "\(child.pid)")
        let site = CgroupSite(layout: layout, components: [top, "c"])
        let own = try site.create()
        var resources = RuntimeSpec.Resources()
        resources.memory.limit = 1 << 24
        let error = #expect(throws: LunetteError.self) { try site.cgroup.apply(resources) }
        #expect(error?.code == .unsupported && error?.path == "linux.resources.memory.limit")
        let parentPath = parent.cgroup.directories[0].path
        #expect(
            try site.cgroup.apply(resources, missing: .report) == [
                "memory is not enforced: processes are in the cgroup around it, \(parentPath) (pid \(child.pid)), which can't hand the memory controller down then"
            ])
        // It can be joined all the same: handing down the threaded controllers alone would make it invalid.
        #expect(try run("echo in", in: site.cgroup.directories[0]).output == "in")
        #expect(site.cgroup.remove(owned: own).isEmpty)
    }

    @Test func figuresAndPressureAreThere() throws {
        try withCgroup(["pids": ["limit": 9], "memory": ["limit": 67_108_864]]) { cgroup, directory throws in
            _ = try run("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done", in: directory)
            let data = cgroup.eventData()
            #expect(data["cpu"]?["usage"]?["total"]?.intValue ?? 0 > 0)
            #expect(data["memory"]?["usage"]?["limit"]?.intValue == 67_108_864)
            #expect(data["pids"]?["limit"]?.intValue == 9)
            for (table, resource) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")] {
                #expect(data[table]?["psi"]?["some"]?["total"] != nil, "\(resource).pressure")
                #expect(cgroup.statistics().pressure[resource] != nil)
            }
        }
    }

    /// Attack 90: what a container read from disk must not keep its cgroup in the kernel.
    @Test func deadCgroupsDoNotPileUp() async throws {
        func dying() throws -> Int64 {
            let text = try #require(readSmallFile("\(layout.hierarchies[0].path)/cgroup.stat"))
            return try #require(CgroupFile.table(text)["nr_dying_descendants"])
        }
        let before = try dying()
        let file = "/tmp/\(top)"
        for round in 0..<20 {
            try withCgroup { _, directory throws in
                _ = try run(
                    "dd if=/dev/zero of=\(file).\(round) bs=65536 count=16 2>/dev/null; cat \(file).\(round) >/dev/null", in: directory)
            }
        }
        for round in 0..<20 { unlink("\(file).\(round)") }
        try await eventually("dead cgroups go") { try dying() < before + 10 }
    }
}
