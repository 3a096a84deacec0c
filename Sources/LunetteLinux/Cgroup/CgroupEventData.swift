package import LunetteSpec

extension ContainerCgroup {
    /// All figures in the form that `runc events --stats` prints under `data`, which containerd reads. Numbers that are 0 stand there too.
    package func eventData() -> Value {
        var data: ValueMap
        switch version {
        case .v1: data = eventDataV1()
        case .v2: data = eventDataV2()
        }
        var sizes = ValueMap()
        for (size, figures) in hugepages() { sizes[size] = figures }
        data["hugetlb"] = .map(sizes)
        data["intel_rdt"] = [:]
        data["network_interfaces"] = .null
        return .map(data)
    }

    /// A v1 limit beyond every memory means none; runc prints the number.
    private static func entry(_ usage: Int64?, _ peak: Int64?, _ limit: Int64?, _ failures: Int64?) -> Value {
        ["limit": .int(limit ?? 0), "usage": .int(usage ?? 0), "max": .int(peak ?? 0), "failcnt": .int(failures ?? 0)]
    }

    private static func raw(_ table: [String: Int64]) -> Value {
        var map = ValueMap()
        for key in table.keys.sorted() { map[key] = .int(table[key]!) }
        return .map(map)
    }

    private func hugepages() -> [(String, Value)] {
        guard let directory = directory("hugetlb"), let listing = try? Directory(directory.path), let names = try? listing.entries() else {
            return []
        }
        let suffix = version == .v1 ? ".limit_in_bytes" : ".max"
        return names.sorted().compactMap { name in
            guard name.hasPrefix("hugetlb."), name.hasSuffix(suffix), !name.contains(".rsvd.") else { return nil }
            let size = String(name.dropFirst("hugetlb.".count).dropLast(suffix.count))
            let stem = "hugetlb.\(size)"
            switch version {
            case .v1:
                return (
                    size,
                    [
                        "usage": .int(directory.readNumber("\(stem).usage_in_bytes") ?? 0),
                        "max": .int(directory.readNumber("\(stem).max_usage_in_bytes") ?? 0),
                        "failcnt": .int(directory.readNumber("\(stem).failcnt") ?? 0),
                    ]
                )
            case .v2:
                return (
                    size,
                    [
                        "usage": .int(directory.readNumber("\(stem).current") ?? 0),
                        "failcnt": .int(directory.readTable("\(stem).events")["max"] ?? 0),
                    ]
                )
            }
        }
    }

    private func pids() -> Value {
        guard let directory = directory("pids") else { return [:] }
        return ["current": .int(directory.readNumber("pids.current") ?? 0), "limit": .int(directory.readNumber("pids.max") ?? 0)]
    }

    // MARK: v1

    private func eventDataV1() -> ValueMap {
        ["cpu": processorV1(), "cpuset": cpusetV1(), "memory": memoryV1(), "pids": pids(), "blkio": blockIOV1()]
    }

    private func processorV1() -> Value {
        var usage = ValueMap()
        if let accounting = directory("cpuacct") {
            func numbers(_ file: String) -> Value {
                .array((accounting.read(file) ?? "").split(whereSeparator: \.isWhitespace).compactMap { Int64($0) }.map(Value.int))
            }
            usage = [
                "total": .int(accounting.readNumber("cpuacct.usage") ?? 0), "percpu": numbers("cpuacct.usage_percpu"),
                "percpu_kernel": numbers("cpuacct.usage_percpu_sys"), "percpu_user": numbers("cpuacct.usage_percpu_user"),
                "kernel": .int(accounting.readNumber("cpuacct.usage_sys") ?? 0),
                "user": .int(accounting.readNumber("cpuacct.usage_user") ?? 0),
            ]
        }
        let table = directory("cpu")?.readTable("cpu.stat") ?? [:]
        return ["usage": .map(usage), "throttling": throttling(table, table["throttled_time"] ?? 0)]
    }

    private func throttling(_ table: [String: Int64], _ nanoseconds: Int64) -> Value {
        [
            "periods": .int(table["nr_periods"] ?? 0), "throttledPeriods": .int(table["nr_throttled"] ?? 0),
            "throttledTime": .int(nanoseconds),
        ]
    }

    private func cpusetV1() -> Value {
        guard let cpuset = directory("cpuset") else { return [:] }
        var map: ValueMap = ["cpus": Self.list(cpuset.read("cpuset.cpus")), "mems": Self.list(cpuset.read("cpuset.mems"))]
        for (key, file) in [
            ("cpu_exclusive", "cpu_exclusive"), ("mem_hardwall", "mem_hardwall"), ("mem_exclusive", "mem_exclusive"),
            ("memory_migrate", "memory_migrate"), ("memory_spread_page", "memory_spread_page"),
            ("memory_spread_slab", "memory_spread_slab"), ("memory_pressure", "memory_pressure"),
            ("sched_load_balance", "sched_load_balance"), ("sched_relax_domain_level", "sched_relax_domain_level"),
        ] { map[key] = .int(cpuset.readNumber("cpuset.\(file)") ?? 0) }
        return .map(map)
    }

    /// `0-2,7` as numbers.
    static func list(_ text: String?) -> Value {
        var numbers: [Value] = []
        for part in (text ?? "").trimmed.split(separator: ",") {
            let ends = part.split(separator: "-").compactMap { UInt16($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { continue }
            numbers += (first...last).map { .int(Int64($0)) }
        }
        return .array(numbers)
    }

    private func memoryV1() -> Value {
        guard let memory = directory("memory") else { return [:] }
        func entry(_ stem: String) -> Value {
            Self.entry(
                memory.readNumber("\(stem).usage_in_bytes"), memory.readNumber("\(stem).max_usage_in_bytes"),
                memory.readNumber("\(stem).limit_in_bytes"), memory.readNumber("\(stem).failcnt"))
        }
        let table = memory.readTable("memory.stat")
        return [
            "cache": .int(table["total_cache"] ?? table["cache"] ?? 0), "usage": entry("memory"), "swap": entry("memory.memsw"),
            "kernel": entry("memory.kmem"), "kernelTCP": entry("memory.kmem.tcp"), "raw": Self.raw(table),
        ]
    }

    private func blockIOV1() -> Value {
        guard let block = directory("blkio") else { return [:] }
        let hasBFQ = !(block.read("blkio.bfq.io_serviced_recursive") ?? "").trimmed.isEmpty
        var map = ValueMap()
        // A scheduler's own counters where it counts, the throttling layer's else.
        let files: [(String, String, String?)] = [
            ("ioServiceBytesRecursive", "io_service_bytes_recursive", "throttle.io_service_bytes_recursive"),
            ("ioServicedRecursive", "io_serviced_recursive", "throttle.io_serviced_recursive"),
            ("ioQueueRecursive", "io_queued_recursive", nil), ("ioServiceTimeRecursive", "io_service_time_recursive", nil),
            ("ioWaitTimeRecursive", "io_wait_time_recursive", nil), ("ioMergedRecursive", "io_merged_recursive", nil),
            ("ioTimeRecursive", "time_recursive", nil), ("sectorsRecursive", "sectors_recursive", nil),
        ]
        for (key, scheduled, throttled) in files {
            guard let file = hasBFQ ? "bfq.\(scheduled)" : throttled else { continue }
            let entries = Self.blockEntries(block.read("blkio.\(file)") ?? "")
            if !entries.isEmpty { map[key] = .array(entries) }
        }
        return .map(map)
    }

    /// `8:0 Read 4096` and `8:0 4096` lines; the total of all devices is left out.
    static func blockEntries(_ text: String) -> [Value] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            let numbers = (fields.first ?? "").split(separator: ":").compactMap { Int64($0) }
            guard numbers.count == 2, fields.count >= 2, let value = Int64(fields[fields.count - 1]) else { return nil }
            return blockEntry(numbers[0], numbers[1], fields.count > 2 ? String(fields[1]) : nil, value)
        }
    }

    private static func blockEntry(_ major: Int64, _ minor: Int64, _ operation: String?, _ value: Int64) -> Value {
        var entry: ValueMap = ["major": .int(major), "minor": .int(minor)]
        if let operation { entry["op"] = .string(operation) }
        entry["value"] = .int(value)
        return .map(entry)
    }

    // MARK: v2

    private func eventDataV2() -> ValueMap {
        guard let directory = directories.first else { return ["cpu": [:], "memory": [:], "pids": [:], "blkio": [:]] }
        let table = directory.readTable("cpu.stat")
        func nanoseconds(_ key: String) -> Int64 { (table[key] ?? 0) * 1000 }
        var cpu: ValueMap = [
            "usage": [
                "total": .int(nanoseconds("usage_usec")), "kernel": .int(nanoseconds("system_usec")),
                "user": .int(nanoseconds("user_usec")),
            ],
            "throttling": throttling(table, nanoseconds("throttled_usec")),
        ]
        cpu["psi"] = pressure("cpu")?.value
        let stat = directory.readTable("memory.stat")
        let events = directory.readTable("memory.events")
        let swapUsage = directory.readNumber("memory.swap.current")
        let usage = directory.readNumber("memory.current")
        var memory: ValueMap = [
            "cache": .int(stat["file"] ?? 0),
            "usage": Self.entry(usage, directory.readNumber("memory.peak"), Self.limit(directory, "memory.max"), events["max"]),
            // As on v1: memory and swap together.
            "swap": Self.entry(
                swapUsage.map { $0 + (usage ?? 0) }, nil,
                Self.sum(Self.limit(directory, "memory.max"), Self.limit(directory, "memory.swap.max")), nil),
            "kernel": Self.entry(stat["kernel"], nil, nil, nil), "kernelTCP": Self.entry(stat["sock"], nil, nil, nil),
            "raw": Self.raw(stat),
        ]
        memory["psi"] = pressure("memory")?.value
        var block = Self.blockTables(directory.read("io.stat") ?? "")
        block["psi"] = pressure("io")?.value
        return [
            "cpu": .map(cpu),
            "cpuset": [
                "cpus": Self.list(directory.read("cpuset.cpus.effective")), "mems": Self.list(directory.read("cpuset.mems.effective")),
            ],
            "memory": .map(memory), "pids": pids(), "blkio": .map(block),
        ]
    }

    /// The largest number for "max", as runc prints it and as much as JSON's readers take for an int64.
    private static func limit(_ directory: CgroupFile, _ file: String) -> Int64 { directory.readNumber(file) ?? Int64.max }

    private static func sum(_ left: Int64, _ right: Int64) -> Int64 { left == Int64.max || right == Int64.max ? Int64.max : left + right }

    /// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` lines as v1's tables.
    static func blockTables(_ text: String) -> ValueMap {
        var bytes: [Value] = []
        var operations: [Value] = []
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            let numbers = (fields.first ?? "").split(separator: ":").compactMap { Int64($0) }
            guard numbers.count == 2 else { continue }
            for field in fields.dropFirst() {
                let halves = field.split(separator: "=")
                guard halves.count == 2, let value = Int64(halves[1]) else { continue }
                let operation: String
                switch halves[0].first {
                case "r": operation = "Read"
                case "w": operation = "Write"
                case "d": operation = "Discard"
                default: continue
                }
                let entry = blockEntry(numbers[0], numbers[1], operation, value)
                if halves[0].hasSuffix("bytes") { bytes.append(entry) } else if halves[0].hasSuffix("ios") { operations.append(entry) }
            }
        }
        var map = ValueMap()
        if !bytes.isEmpty { map["ioServiceBytesRecursive"] = .array(bytes) }
        if !operations.isEmpty { map["ioServicedRecursive"] = .array(operations) }
        return map
    }
}
