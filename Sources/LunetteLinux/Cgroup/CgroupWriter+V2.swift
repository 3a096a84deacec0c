internal import LunetteSpec

/// Limits as v2's files take them. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst.
extension CgroupWriter {
    mutating func applyV2(_ request: CgroupRequest) throws(LunetteError) {
        let resources = request.resources
        guard !cgroup.directories.isEmpty else { return try lack("memory.limit", "no cgroup") }
        try applyMemoryV2(resources.memory)
        if request.killGroupOnOOM == true { try write("memory", "memory.oom.group", "1", "oom") }
        try applyProcessorV2(resources.cpu)
        if let cpus = resources.cpu.cpus { try write("cpuset", "cpuset.cpus", cpus, "cpu.cpus") }
        if let nodes = resources.cpu.mems { try write("cpuset", "cpuset.mems", nodes, "cpu.mems") }
        if let pids = CgroupRequest.set(resources.pidsLimit) {
            try write("pids", "pids.max", CgroupConversions.limit(pids), "pids.limit")
        }
        try applyBlockIOV2(resources.blockIO, request.ioWeight)
        for (index, limit) in resources.hugepageLimits.enumerated() {
            let value = limit.limit > UInt64(Int64.max) ? "max" : "\(limit.limit)"
            let field = "hugepageLimits[\(index)]"
            try write("hugetlb", "hugetlb.\(limit.pageSize).max", value, field)
            let reserved = "hugetlb.\(limit.pageSize).rsvd.max"
            if cgroup.directories[0].has(reserved) { try write("hugetlb", reserved, value, field) }
        }
        let noNetwork = "cgroup v2 has no network controllers"
        if let classID = resources.network.classID, classID != 0 { try lack("network.classID", noNetwork) }
        if !resources.network.priorities.isEmpty { try lack("network.priorities", noNetwork) }
        try applyRdma(resources.rdma)
        if let rules = request.devices { try apply(rules) }
        // Last: what is said in the kernel's own words stands.
        for key in resources.unified.keys.sorted() { try applyUnified(key, resources.unified[key]!) }
    }

    private mutating func applyUnified(_ key: String, _ text: String) throws(LunetteError) {
        let field = "unified.\(displayable(key, limit: 64))"
        guard !key.isEmpty, !key.hasSlash, key.contains("."), !key.hasPrefix("."), !key.utf8.contains(0) else {
            throw wrong(field, "is no file of a cgroup")
        }
        // Who is in the cgroup and how it is run is the runtime's business: a launch would be in the wrong place, or never run.
        guard !["cgroup.procs", "cgroup.threads", "cgroup.type", "cgroup.kill", "cgroup.freeze"].contains(key) else {
            throw wrong(field, "is no limit: the runtime itself uses this file")
        }
        guard cgroup.directories[0].has(key) else { return try lack(field, "there is no such file in the container's cgroup") }
        // Files of several keys take one a write.
        let lines = text.split(separator: "\n").map(String.init)
        try write(String(key.prefix { $0 != "." }), key, lines.isEmpty ? [text] : lines, field)
    }

    private mutating func applyMemoryV2(_ memory: RuntimeSpec.Resources.Memory) throws(LunetteError) {
        let limit = CgroupRequest.set(memory.limit)
        var swap = CgroupRequest.set(memory.swap)
        if swap == nil, let limit, limit < 0 { swap = -1 }
        if memory.checkBeforeUpdate == true, let limit { try refuseLimitInUse(limit, "memory.current") }
        if let swap {
            // An update may leave the limit as it is.
            let beside = limit ?? cgroup.directories[0].readNumber("memory.max")
            guard let alone = CgroupConversions.swapAlone(swap: swap, memory: beside) else {
                let why =
                    beside.map { $0 < 0 } ?? true
                    ? "limits memory and swap together where memory has no limit"
                    : "\(swap) for memory and swap together is below the \(beside!) for memory"
                throw wrong("memory.swap", why)
            }
            // Before the memory: what lowering that pushes out needs somewhere to go. Without swap there is nothing to limit.
            if alone > 0 || cgroup.directories[0].has("memory.swap.max") || !cgroup.directories[0].has("memory.max") {
                try write("memory", "memory.swap.max", CgroupConversions.limit(alone), "memory.swap")
            }
        }
        if let limit { try write("memory", "memory.max", CgroupConversions.limit(limit), "memory.limit") }
        if let reservation = CgroupRequest.set(memory.reservation) {
            try write("memory", "memory.low", CgroupConversions.limit(reservation), "memory.reservation")
        }
        if memory.swappiness != nil { try lack("memory.swappiness", "cgroup v2 has no swappiness of its own") }
        if memory.disableOOMKiller == true { try lack("memory.disableOOMKiller", "cgroup v2 can't do without its OOM killer") }
        if CgroupRequest.set(memory.kernel) != nil { note("memory.kernel", "kernel memory counts to memory.limit in cgroup v2") }
        if CgroupRequest.set(memory.kernelTCP) != nil { note("memory.kernelTCP", "socket memory counts to memory.limit in cgroup v2") }
        if memory.useHierarchy == false { note("memory.useHierarchy", "cgroup v2 counts hierarchically always") }
    }

    private mutating func applyProcessorV2(_ cpu: RuntimeSpec.Resources.Processor) throws(LunetteError) {
        if cpu.idle == 0 { try write("cpu", "cpu.idle", "0", "cpu.idle") }
        if let shares = CgroupRequest.set(cpu.shares) {
            guard (2...262_144).contains(shares) else { throw wrong("cpu.shares", "\(shares) is not within 2–262144") }
            try write("cpu", "cpu.weight", CgroupConversions.weight(ofShares: shares), "cpu.shares")
        }
        if cpu.idle == 1 { try write("cpu", "cpu.idle", "1", "cpu.idle") }
        let quota = CgroupRequest.set(cpu.quota)
        let period = CgroupRequest.set(cpu.period)
        // A burst is checked against the quota that is there, a quota against the burst: none in between makes every order right.
        if cpu.burst != nil, cgroup.directories[0].readNumber("cpu.max.burst") ?? 0 != 0 {
            try write("cpu", "cpu.max.burst", "0", "cpu.burst")
        }
        if quota != nil || period != nil {
            let kept = cgroup.directories[0].read("cpu.max")?.split(whereSeparator: \.isWhitespace).first.map(String.init)
            let first = quota.map(CgroupConversions.limit) ?? kept ?? "max"
            try write("cpu", "cpu.max", first + (period.map { " \($0)" } ?? ""), quota != nil ? "cpu.quota" : "cpu.period")
        }
        if let burst = cpu.burst { try write("cpu", "cpu.max.burst", burst, "cpu.burst") }
        let noRealtime = "cgroup v2 gives no real-time time"
        if CgroupRequest.set(cpu.realtimeRuntime) != nil { try lack("cpu.realtimeRuntime", noRealtime) }
        if CgroupRequest.set(cpu.realtimePeriod) != nil { try lack("cpu.realtimePeriod", noRealtime) }
    }

    private mutating func applyBlockIOV2(_ block: RuntimeSpec.Resources.BlockIO, _ ioWeight: Int64?) throws(LunetteError) {
        let weights = ["io.bfq.weight", "io.weight"]
        if let weight = CgroupRequest.set(block.weight), let (_, file) = try find("io", weights, "blockIO.weight") {
            // BFQ's scale is the specification's own.
            let value = file == "io.weight" ? CgroupConversions.ioWeight(ofBlockIOWeight: weight) : weight
            try write("io", file, value, "blockIO.weight")
        }
        if let weight = CgroupRequest.set(ioWeight), let (_, file) = try find("io", weights, "blockIO.weight") {
            let text = file == "io.weight" ? "default \(max(1, min(10000, weight)))" : "\(max(1, min(1000, weight)))"
            try write("io", file, text, "blockIO.weight")
        }
        if CgroupRequest.set(block.leafWeight) != nil { try lack("blockIO.leafWeight", "cgroup v2 has no leaf weights") }
        for (index, device) in block.weightDevices.enumerated() {
            let field = "blockIO.weightDevice[\(index)]"
            if let weight = CgroupRequest.set(device.weight), let (_, file) = try find("io", weights, field) {
                let value = file == "io.weight" ? CgroupConversions.ioWeight(ofBlockIOWeight: weight) : weight
                try write("io", file, "\(device.major):\(device.minor) \(value)", field)
            }
            if CgroupRequest.set(device.leafWeight) != nil { try lack(field, "cgroup v2 has no leaf weights") }
        }
        for kind in RuntimeSpec.Resources.BlockIO.ThrottleKind.allCases {
            for (index, throttle) in (block.throttles[kind] ?? []).enumerated() {
                try write("io", "io.max", CgroupConversions.ioMax(kind, throttle), "blockIO.\(kind.rawValue)[\(index)]")
            }
        }
    }
}
