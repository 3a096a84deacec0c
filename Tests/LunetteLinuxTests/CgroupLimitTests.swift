import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

private func resources(_ value: Value) throws -> RuntimeSpec.Resources { try RuntimeSpec.Resources(value) }

@Suite struct ResourcesReadingTests {
    @Test func everyFieldOfTheSpecificationComesBack() throws {
        let value: Value = [
            "devices": [["allow": false, "access": "rwm"], ["allow": true, "type": "c", "major": 10, "minor": -1, "access": "rw"]],
            "memory": [
                "limit": 1, "reservation": 2, "swap": -1, "kernel": 4, "kernelTCP": 5, "swappiness": 60, "disableOOMKiller": true,
                "useHierarchy": true, "checkBeforeUpdate": true,
            ],
            "cpu": [
                "shares": 2, "quota": -1, "burst": 3, "period": 4, "realtimeRuntime": 5, "realtimePeriod": 6, "cpus": "0-1", "mems": "0",
                "idle": 1,
            ],
            "pids": ["limit": 7],
            "blockIO": [
                "weight": 10, "leafWeight": 11, "weightDevice": [["major": 8, "minor": 0, "weight": 12, "leafWeight": 13]],
                "throttleReadBpsDevice": [["major": 8, "minor": 0, "rate": 14]],
                "throttleWriteIOPSDevice": [["major": 8, "minor": 1, "rate": 15]],
            ],
            "hugepageLimits": [["pageSize": "2MB", "limit": 9_223_372_036_854_771_712]],
            "network": ["classID": 1_048_577, "priorities": [["name": "eth0", "priority": 500]]],
            "rdma": ["mlx5_1": ["hcaHandles": 3, "hcaObjects": 10000]], "unified": ["memory.high": "max"], "future": [1],
        ]
        #expect(try resources(value).value == value)
    }

    @Test(
        arguments: [
            (["cpu": ["shares": -1]], "cpu.shares"), (["cpu": ["idle": 2]], "cpu.idle"), (["cpu": ["cpus": "x"]], "cpu.cpus"),
            (["memory": ["swappiness": 101]], "memory.swappiness"), (["memory": ["limit": -2]], "memory.limit"), (["pids": [:]], "pids"),
            (["blockIO": ["weight": 65536]], "blockIO.weight"), (["blockIO": ["weight": 5]], "blockIO.weight"),
            (["blockIO": ["leafWeight": 1001]], "blockIO.leafWeight"),
            (["blockIO": ["throttleReadBpsDevice": [["major": 8]]]], "blockIO.throttleReadBpsDevice[0].minor"),
            (["hugepageLimits": [["pageSize": "2MiB", "limit": 1]]], "hugepageLimits[0].pageSize"),
            (["network": ["priorities": [["name": "a b", "priority": 1]]]], "network.priorities[0].name"),
            (["devices": [["type": "c"]]], "devices[0].allow"), (["devices": [["allow": true, "type": "p"]]], "devices[0].type"),
            (["devices": [["allow": true, "access": "x"]]], "devices[0].access"), (["unified": ["a": [1]]], "unified.a"),
        ] as [(Value, String)])
    func wrongValuesAreNamed(_ value: Value, _ field: String) {
        let error = #expect(throws: LunetteError.self) { try resources(value) }
        let path = error?.path ?? ""
        #expect(path == "linux.resources.\(field)" || path == "linux.resources.\(field).limit", "\(path)")
    }
}

/// A tree of plain files that looks like cgroup v2: the limits as text. The guest (scripts/dev/test-in-vm) shows them to a kernel.
@Suite struct CgroupV2LimitTests {
    private static let files = [
        "memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.max", "cpu.max.burst", "cpu.weight", "cpu.idle", "cpuset.cpus",
        "cpuset.mems", "pids.max", "io.max", "io.weight", "hugetlb.2MB.max", "rdma.max", "cgroup.procs", "memory.current",
    ]

    private func apply(_ value: Value, missing: MissingLimit = .refuse, without: [String] = []) async throws -> ([String: String], [String])
    {
        var found: [String: String] = [:]
        var degraded: [String] = []
        try await withTemporaryDirectory { directory in
            for file in Self.files where !without.contains(file) { try directory.put(file, "") }
            let cgroup = ContainerCgroup(version: .v2, directories: [CgroupFile(path: directory.label, controllers: [])])
            degraded = try cgroup.apply(try resources(value), missing: missing)
            for file in Self.files where !without.contains(file) {
                let text = try directory.text(file) ?? ""
                if !text.isEmpty { found[file] = text }
            }
        }
        return (found, degraded)
    }

    @Test(
        arguments: [
            (
                ["memory": ["limit": 100, "swap": 300, "reservation": 50]],
                ["memory.max": "100", "memory.swap.max": "200", "memory.low": "50"]
            ),
            (["memory": ["limit": -1]], ["memory.max": "max", "memory.swap.max": "max"]),
            (["memory": ["limit": 100, "swap": 100]], ["memory.max": "100", "memory.swap.max": "0"]),
            (
                [
                    "memory": ["limit": 0, "swap": 0, "reservation": 0, "kernel": 0], "cpu": ["shares": 0, "quota": 0],
                    "pids": ["limit": 0], "blockIO": ["weight": 0],
                ], [:]
            ),
            (["cpu": ["shares": 1024, "quota": 50000, "period": 100_000]], ["cpu.weight": "39", "cpu.max": "50000 100000"]),
            (["cpu": ["quota": -1]], ["cpu.max": "max"]), (["cpu": ["period": 50000]], ["cpu.max": "max 50000"]),
            (
                ["cpu": ["burst": 1000, "idle": 1, "cpus": "0-1", "mems": "0"]],
                ["cpu.max.burst": "1000", "cpu.idle": "1", "cpuset.cpus": "0-1", "cpuset.mems": "0"]
            ),
            (["pids": ["limit": -1]], ["pids.max": "max"]), (["blockIO": ["weight": 100]], ["io.weight": "910"]),
            (["blockIO": ["throttleReadBpsDevice": [["major": 8, "minor": 0, "rate": 5]]]], ["io.max": "8:0 rbps=5"]),
            (["hugepageLimits": [["pageSize": "2MB", "limit": 4096]]], ["hugetlb.2MB.max": "4096"]),
            (["rdma": ["m": ["hcaHandles": 2, "hcaObjects": 3]]], ["rdma.max": "m hca_handle=2 hca_object=3"]),
            (["unified": ["memory.high": "7"], "memory": ["limit": 9]], ["memory.high": "7", "memory.max": "9"]),
        ] as [(Value, [String: String])])
    func limitsBecomeV2sFiles(_ value: Value, _ expected: [String: String]) async throws {
        let (found, degraded) = try await apply(value)
        #expect(found == expected)
        #expect(degraded.isEmpty)
    }

    @Test(
        arguments: [
            (["memory": ["limit": 100, "swap": 50]], "memory.swap", ErrorCode.invalidArgument),
            (["memory": ["swap": 50]], "memory.swap", .invalidArgument),
            (["memory": ["swappiness": 10]], "memory.swappiness", .unsupported),
            (["memory": ["disableOOMKiller": true]], "memory.disableOOMKiller", .unsupported),
            (["cpu": ["shares": 1]], "cpu.shares", .invalidArgument),
            (["cpu": ["realtimeRuntime": 1]], "cpu.realtimeRuntime", .unsupported),
            (["network": ["classID": 1]], "network.classID", .unsupported),
            (["blockIO": ["leafWeight": 10]], "blockIO.leafWeight", .unsupported),
            (["hugepageLimits": [["pageSize": "1GB", "limit": 0]]], "hugepageLimits[0]", .unsupported),
            (["unified": ["a/b": "1"]], "unified.a/b", .invalidArgument),
            (["unified": ["cgroup.procs": "1"]], "unified.cgroup.procs", .invalidArgument),
            (["unified": ["no.such": "1"]], "unified.no.such", .unsupported),
        ] as [(Value, String, ErrorCode)])
    func whatCannotBeIsRefusedByItsField(_ value: Value, _ field: String, _ code: ErrorCode) async {
        let error = await #expect(throws: LunetteError.self) { _ = try await apply(value) }
        #expect(error?.path == "linux.resources.\(field)")
        #expect(error?.code == code)
    }

    @Test func theEngineHearsWhatIsNotInForceAndGoesOn() async throws {
        let (found, degraded) = try await apply(
            ["memory": ["limit": 10, "swappiness": 1], "cpu": ["cpus": "0"], "pids": ["limit": 5], "network": ["classID": 1]],
            missing: .report,
            without: ["cpuset.cpus"])
        #expect(found == ["memory.max": "10", "pids.max": "5"])
        #expect(degraded.count == 3)
        #expect(degraded.contains { $0.hasPrefix("cpuset is not enforced: ") })
    }

    @Test func withoutSwapThereIsNothingToForbid() async throws {
        let (found, _) = try await apply(["memory": ["limit": 100, "swap": 100]], without: ["memory.swap.max"])
        #expect(found == ["memory.max": "100"])
        await #expect(throws: LunetteError.self) {
            _ = try await apply(["memory": ["limit": 100, "swap": 300]], without: ["memory.swap.max"])
        }
    }

    @Test func checkBeforeUpdateRefusesALimitBelowWhatIsInUse() async throws {
        try await withTemporaryDirectory { directory in
            for file in Self.files { try directory.put(file, "") }
            try directory.put("memory.current", "5000\n")
            let cgroup = ContainerCgroup(version: .v2, directories: [CgroupFile(path: directory.label, controllers: [])])
            let error = #expect(throws: LunetteError.self) {
                try cgroup.apply(try resources(["memory": ["limit": 4999, "checkBeforeUpdate": true]]))
            }
            #expect(error?.path == "linux.resources.memory.limit")
            #expect(try directory.text("memory.max") == "")
            #expect(try cgroup.apply(try resources(["memory": ["limit": 5000, "checkBeforeUpdate": true]])) == [])
        }
    }
}

@Suite(.requires(.root, .cgroupV1)) struct CgroupV1LimitTests {
    private func withCgroup(_ body: (ContainerCgroup) throws -> Void) throws {
        let site = CgroupSite(layout: CgroupLayout.detect()!, components: ["lunette-limits-\(getpid())-\(UInt32.random(in: 0...99999))"])
        let owned = try site.create()
        defer { #expect(site.cgroup.remove(owned: owned).isEmpty) }
        try body(site.cgroup)
    }

    private func read(_ cgroup: ContainerCgroup, _ controller: String, _ file: String) -> String? {
        cgroup.directories.first { $0.controllers.contains(controller) }?.read(file)?.trimmed
    }

    @Test func memoryGoesUpAndDownInEveryOrder() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            for (limit, swap) in [(64, 128), (256, 512), (32, 32), (300, 300), (10, 20)] as [(Int64, Int64)] {
                #expect(try cgroup.apply(try resources(["memory": ["limit": .int(limit << 20), "swap": .int(swap << 20)]])) == [])
                #expect(read(cgroup, "memory", "memory.limit_in_bytes") == "\(limit << 20)")
                #expect(read(cgroup, "memory", "memory.memsw.limit_in_bytes") == "\(swap << 20)")
            }
            #expect(try cgroup.apply(try resources(["memory": ["limit": -1]])) == [])
            #expect(Int64(read(cgroup, "memory", "memory.limit_in_bytes") ?? "0")! > 1 << 62)
            let both = #expect(throws: LunetteError.self) {
                try cgroup.apply(try resources(["memory": ["limit": 16384, "swap": 4096]]))
            }
            #expect(both?.path == "linux.resources.memory.swap")
        }
    }

    @Test func timeIsLimitedWhateverWasThereBefore() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            for (quota, period) in [(50000, 100_000), (5000, 10000), (900_000, 1_000_000), (1000, 1000)] as [(Int64, Int64)] {
                #expect(try cgroup.apply(try resources(["cpu": ["quota": .int(quota), "period": .int(period)]])) == [])
                #expect(read(cgroup, "cpu", "cpu.cfs_quota_us") == "\(quota)")
                #expect(read(cgroup, "cpu", "cpu.cfs_period_us") == "\(period)")
            }
            #expect(try cgroup.apply(try resources(["cpu": ["quota": 50000, "period": 100_000, "burst": 40000]])) == [])
            #expect(try cgroup.apply(try resources(["cpu": ["quota": 10000, "burst": 5000]])) == [])
            #expect(read(cgroup, "cpu", "cpu.cfs_burst_us") == "5000")
            #expect(try cgroup.apply(try resources(["cpu": ["period": 50000]])) == [])
            #expect(read(cgroup, "cpu", "cpu.cfs_quota_us") == "10000", "a period alone leaves the quota")
            #expect(try cgroup.apply(try resources(["cpu": ["quota": -1]])) == [])
            #expect(read(cgroup, "cpu", "cpu.cfs_quota_us") == "-1")
            let shares = #expect(throws: LunetteError.self) { try cgroup.apply(try resources(["cpu": ["shares": 1]])) }
            #expect(shares?.path == "linux.resources.cpu.shares")
            #expect(try cgroup.apply(try resources(["cpu": ["idle": 1]])) == [])
            #expect(read(cgroup, "cpu", "cpu.idle") == "1")
            #expect(try cgroup.apply(try resources(["cpu": ["idle": 0, "shares": 512]])) == [])
            #expect(read(cgroup, "cpu", "cpu.shares") == "512")
        }
    }

    @Test func theRestIsWrittenAndReadBack() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            #expect(
                try cgroup.apply(
                    try resources([
                        "memory": ["limit": 67_108_864, "reservation": 33_554_432, "swappiness": 10, "disableOOMKiller": true],
                        "cpu": ["cpus": "0", "mems": "0"], "pids": ["limit": 33],
                    ])) == [])
            #expect(read(cgroup, "memory", "memory.soft_limit_in_bytes") == "33554432")
            #expect(read(cgroup, "memory", "memory.swappiness") == "10")
            #expect(read(cgroup, "memory", "memory.oom_control")?.contains("oom_kill_disable 1") == true)
            #expect(read(cgroup, "cpuset", "cpuset.cpus") == "0")
            #expect(read(cgroup, "pids", "pids.max") == "33")
            #expect(try cgroup.apply(try resources(["memory": ["disableOOMKiller": false], "pids": ["limit": -1]])) == [])
            #expect(read(cgroup, "memory", "memory.oom_control")?.contains("oom_kill_disable 0") == true)
            #expect(read(cgroup, "pids", "pids.max") == "max")
            let unified = #expect(throws: LunetteError.self) { try cgroup.apply(try resources(["unified": ["memory.high": "1"]])) }
            #expect(unified?.code == .unsupported && unified?.path == "linux.resources.unified.memory.high")
            let nowhere = #expect(throws: LunetteError.self) {
                try cgroup.apply(try resources(["blockIO": ["throttleReadBpsDevice": [["major": 4095, "minor": 7, "rate": 1]]]]))
            }
            #expect(nowhere?.path == "linux.resources.blockIO.throttleReadBpsDevice[0]" && nowhere?.code == .notFound)
        }
    }

    @Test func deviceRulesAreAddedTakenBackAndStayClosedMeanwhile() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            #expect(try cgroup.apply(RuntimeSpec.Resources()) == [])
            #expect(read(cgroup, "devices", "devices.list") == "a *:* rwm", "without rules nothing is restricted")
            let first = try resources(["devices": [["allow": false], ["allow": true, "type": "c", "major": 1, "minor": 3]]])
            #expect(try cgroup.apply(first, allowsDefaultDevices: false) == [])
            #expect(read(cgroup, "devices", "devices.list") == "c 1:3 rwm")
            let second = try resources([
                "devices": [["allow": false], ["allow": true, "type": "c", "major": 1, "minor": 5, "access": "r"]]
            ])
            #expect(try cgroup.apply(second, allowsDefaultDevices: false) == [])
            #expect(read(cgroup, "devices", "devices.list") == "c 1:5 r")
            #expect(try cgroup.apply(try resources(["devices": [["allow": false]]])) == [])
            let list = read(cgroup, "devices", "devices.list")?.split(separator: "\n").map(String.init) ?? []
            #expect(list.contains("c *:* m") && list.contains("c 1:3 rwm") && list.contains("c 136:* rwm") && !list.contains("c 1:5 r"))
        }
    }

    @Test func aLimitOutOfOrderSaysWhichOtherIsInTheWay() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            guard cgroup.accountsSwap else { return }
            _ = try cgroup.apply(try resources(["memory": ["limit": 20_971_520, "swap": 20_971_520]]))
            for (change, other) in [
                (["memory": ["limit": 31_457_280]], "memory.swap (--memory-swap)"),
                (["memory": ["swap": 10_485_760]], "a lower memory.limit (--memory)"),
            ] as [(Value, String)] {
                let error = #expect(throws: LunetteError.self) { try cgroup.apply(try resources(change)) }
                #expect(error?.hint?.contains("give \(other) with it") == true, "\(String(describing: error))")
            }
        }
    }

    @Test func figuresHaveTheFormThatContainerdReads() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            _ = try cgroup.apply(try resources(["memory": ["limit": 67_108_864], "pids": ["limit": 9]]))
            let data = cgroup.eventData()
            #expect(data["memory"]?["usage"]?["limit"]?.intValue == 67_108_864)
            #expect(data["pids"]?["limit"]?.intValue == 9 && data["pids"]?["current"]?.intValue == 0)
            #expect(data["cpu"]?["usage"]?["percpu"]?.arrayValue?.isEmpty == false)
            #expect(data["memory"]?["raw"]?["hierarchical_memory_limit"]?.intValue == 67_108_864)
            #expect(data["cpuset"]?["cpus"]?.arrayValue?.isEmpty == false)
            #expect(data["blkio"] != nil && data["hugetlb"] != nil)
            #expect(cgroup.pressure("memory") == nil, "v1 has none of a cgroup")
        }
    }
}
