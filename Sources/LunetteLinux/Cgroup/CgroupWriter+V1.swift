internal import LunetteSpec

/// Limits as the controllers of v1 take them. Source: the kernel's Documentation/admin-guide/cgroup-v1.
extension CgroupWriter {
    mutating func applyV1(_ request: CgroupRequest) throws(LunetteError) {
        let resources = request.resources
        try applyMemoryV1(resources.memory)
        try applyProcessorV1(resources.cpu)
        if let cpus = resources.cpu.cpus { try write("cpuset", "cpuset.cpus", cpus, "cpu.cpus") }
        if let nodes = resources.cpu.mems { try write("cpuset", "cpuset.mems", nodes, "cpu.mems") }
        if let pids = CgroupRequest.set(resources.pidsLimit) {
            try write("pids", "pids.max", CgroupConversions.limit(pids), "pids.limit")
        }
        try applyBlockIOV1(resources.blockIO, request.ioWeight)
        for (index, limit) in resources.hugepageLimits.enumerated() {
            let value = limit.limit > UInt64(Int64.max) ? "-1" : "\(limit.limit)"
            let field = "hugepageLimits[\(index)]"
            try write("hugetlb", "hugetlb.\(limit.pageSize).limit_in_bytes", value, field)
            // Reserved but unused pages count too, where the kernel tells them apart (5.7).
            let reserved = "hugetlb.\(limit.pageSize).rsvd.limit_in_bytes"
            if cgroup.directory("hugetlb")?.has(reserved) == true { try write("hugetlb", reserved, value, field) }
        }
        if let classID = resources.network.classID, classID != 0 {
            try write("net_cls", "net_cls.classid", "\(classID)", "network.classID")
        }
        if !resources.network.priorities.isEmpty {
            let lines = resources.network.priorities.map { "\($0.name) \($0.priority)" }
            try write("net_prio", "net_prio.ifpriomap", lines, "network.priorities")
        }
        try applyRdma(resources.rdma)
        if let rules = request.devices { try apply(rules) }
        if let key = resources.unified.keys.min() { try lack("unified.\(key)", "cgroup v1 has no files of cgroup v2") }
        if request.killGroupOnOOM == true { try lack("oom", "cgroup v1 kills single processes") }
    }

    mutating func applyRdma(_ limits: [RuntimeSpec.Resources.RdmaLimit]) throws(LunetteError) {
        for limit in limits {
            let handles = limit.hcaHandles.map { " hca_handle=\($0)" } ?? ""
            let objects = limit.hcaObjects.map { " hca_object=\($0)" } ?? ""
            guard limit.hcaHandles != nil || limit.hcaObjects != nil else { continue }
            try write("rdma", "rdma.max", limit.device + handles + objects, "rdma.\(limit.device)")
        }
    }

    private mutating func applyMemoryV1(_ memory: RuntimeSpec.Resources.Memory) throws(LunetteError) {
        let limitFile = "memory.limit_in_bytes"
        let swapFile = "memory.memsw.limit_in_bytes"
        let limit = CgroupRequest.set(memory.limit)
        var swap = CgroupRequest.set(memory.swap)
        let hasSwap = cgroup.accountsSwap
        // Without this the memory's own lifting would be above what both may have together.
        if swap == nil, let limit, limit < 0, hasSwap { swap = -1 }
        if swap != nil, !hasSwap, cgroup.directory("memory") != nil {
            // Nothing may be swapped out beyond the limit where nothing can be swapped: kernels without accounting limit memory alone.
            if swap! >= 0, swap != limit { try lack("memory.swap", "this kernel doesn't account swap (swapaccount=1)") }
            swap = nil
        }
        if memory.checkBeforeUpdate == true, let limit { try refuseLimitInUse(limit, "memory.usage_in_bytes") }
        if let limit, let swap {
            if swap >= 0, limit > swap {
                throw wrong("memory.swap", "\(swap) for memory and swap together is below the \(limit) for memory")
            }
            try writeBoth((limitFile, limit), (swapFile, swap))
        } else {
            if let limit {
                let most = hasSwap ? cgroup.directory("memory")?.readNumber(swapFile) ?? .max : .max
                try explaining(limit > most, "memory.swap (--memory-swap)") { writer throws(LunetteError) in
                    try writer.write("memory", limitFile, limit, "memory.limit")
                }
            }
            if let swap {
                let least = cgroup.directory("memory")?.readNumber(limitFile) ?? 0
                try explaining(swap >= 0 && swap < least, "a lower memory.limit (--memory)") { writer throws(LunetteError) in
                    try writer.write("memory", swapFile, swap, "memory.swap")
                }
            }
        }
        if let reservation = CgroupRequest.set(memory.reservation) {
            try write("memory", "memory.soft_limit_in_bytes", reservation, "memory.reservation")
        }
        if let swappiness = memory.swappiness { try write("memory", "memory.swappiness", swappiness, "memory.swappiness") }
        if let disables = memory.disableOOMKiller, disables || isUpdated("memory", "memory.oom_control", from: "oom_kill_disable 1") {
            try write("memory", "memory.oom_control", disables ? "1" : "0", "memory.disableOOMKiller")
        }
        if CgroupRequest.set(memory.kernel) != nil { note("memory.kernel", "kernel memory counts to memory.limit (since Linux 5.16)") }
        if let limit = CgroupRequest.set(memory.kernelTCP) {
            try write("memory", "memory.kmem.tcp.limit_in_bytes", limit, "memory.kernelTCP")
        }
        if memory.useHierarchy == false { note("memory.useHierarchy", "the kernel counts hierarchically always (since Linux 5.11)") }
    }

    /// The kernel says only that a value is invalid.
    /// - Parameter other: what has to be given with it.
    private mutating func explaining(
        _ isOutOfOrder: Bool, _ other: String, _ body: (inout CgroupWriter) throws(LunetteError) -> Void
    ) throws(LunetteError) {
        do throws(LunetteError) { try body(&self) } catch {
            guard isOutOfOrder, error.code == .invalidArgument else { throw error }
            var failure = error
            failure.hint = "memory may not have more than memory and swap together: give \(other) with it"
            throw failure
        }
    }

    private func isUpdated(_ controller: String, _ file: String, from line: String) -> Bool {
        cgroup.directory(controller)?.read(file)?.split(separator: "\n").contains(Substring(line)) ?? false
    }

    /// memory ≤ memory and swap must hold after each write: raising wants the second first. The kernel says EINVAL to the wrong order.
    private mutating func writeBoth(_ memory: (file: String, value: Int64), _ both: (file: String, value: Int64)) throws(LunetteError) {
        guard let directory = cgroup.directory("memory") else { return try lack("memory.limit", "no memory controller in cgroup v1 here") }
        do throws(SystemCallError) { try directory.write(memory.file, "\(memory.value)") } catch {
            guard error.errno == ErrorNumber.invalid else { return try refused(error, "memory.limit") }
            try write("memory", both.file, both.value, "memory.swap")
            return try write("memory", memory.file, memory.value, "memory.limit")
        }
        try write("memory", both.file, both.value, "memory.swap")
    }

    mutating func refuseLimitInUse(_ limit: Int64, _ usageFile: String) throws(LunetteError) {
        guard limit >= 0, let usage = cgroup.directory("memory")?.readNumber(usageFile), usage > limit else { return }
        throw LunetteError(
            .conflict, "\(usage) bytes are in use, more than the limit of \(limit) (checkBeforeUpdate)",
            path: "linux.resources.memory.limit")
    }

    private mutating func applyProcessorV1(_ cpu: RuntimeSpec.Resources.Processor) throws(LunetteError) {
        if cpu.idle == 0 { try write("cpu", "cpu.idle", "0", "cpu.idle") }
        if let shares = CgroupRequest.set(cpu.shares) {
            try write("cpu", "cpu.shares", shares, "cpu.shares")
            // The kernel cuts silently; nobody shall believe otherwise.
            if let taken = cgroup.directory("cpu")?.readNumber("cpu.shares"), taken != shares {
                throw wrong("cpu.shares", "\(shares) is not within 2–262144")
            }
        }
        if cpu.idle == 1 { try write("cpu", "cpu.idle", "1", "cpu.idle") }
        let quota = CgroupRequest.set(cpu.quota)
        let period = CgroupRequest.set(cpu.period)
        if quota != nil || period != nil || cpu.burst != nil { try applyBandwidthV1(quota, period, cpu.burst) }
        if let period = CgroupRequest.set(cpu.realtimePeriod) { try write("cpu", "cpu.rt_period_us", period, "cpu.realtimePeriod") }
        if let runtime = CgroupRequest.set(cpu.realtimeRuntime) { try write("cpu", "cpu.rt_runtime_us", runtime, "cpu.realtimeRuntime") }
    }

    private mutating func applyBandwidthV1(_ quota: Int64?, _ period: Int64?, _ burst: Int64?) throws(LunetteError) {
        let file = "cpu.cfs_quota_us"
        guard let (cpu, _) = try find("cpu", [file], quota != nil ? "cpu.quota" : period != nil ? "cpu.period" : "cpu.burst") else {
            return
        }
        let old = cpu.readNumber(file) ?? -1
        let quota = quota ?? old
        // A period is checked against the quota of before, a burst against the one that is there: without any in between all orders are right.
        if old >= 0 { try write("cpu", file, "-1", "cpu.quota") }
        if let period { try write("cpu", "cpu.cfs_period_us", period, "cpu.period") }
        if let burst { try write("cpu", "cpu.cfs_burst_us", burst, "cpu.burst") }
        if quota > 0 { try write("cpu", file, quota, "cpu.quota") }
    }

    private mutating func applyBlockIOV1(_ block: RuntimeSpec.Resources.BlockIO, _ ioWeight: Int64?) throws(LunetteError) {
        let weights = ["blkio.bfq.weight", "blkio.weight"]
        if let weight = CgroupRequest.set(block.weight), let (_, file) = try find("blkio", weights, "blockIO.weight") {
            try write("blkio", file, weight, "blockIO.weight")
        }
        if let weight = CgroupRequest.set(ioWeight), let (_, file) = try find("blkio", weights, "blockIO.weight") {
            try write("blkio", file, max(file == "blkio.weight" ? 10 : 1, min(1000, weight)), "blockIO.weight")
        }
        if let weight = CgroupRequest.set(block.leafWeight) { try write("blkio", "blkio.leaf_weight", weight, "blockIO.leafWeight") }
        for (index, device) in block.weightDevices.enumerated() {
            let field = "blockIO.weightDevice[\(index)]"
            if let weight = CgroupRequest.set(device.weight),
                let (_, file) = try find("blkio", ["blkio.bfq.weight_device", "blkio.weight_device"], field)
            {
                try write("blkio", file, "\(device.major):\(device.minor) \(weight)", field)
            }
            if let weight = CgroupRequest.set(device.leafWeight) {
                try write("blkio", "blkio.leaf_weight_device", "\(device.major):\(device.minor) \(weight)", field)
            }
        }
        for kind in RuntimeSpec.Resources.BlockIO.ThrottleKind.allCases {
            let file =
                switch kind {
                case .readBps: "blkio.throttle.read_bps_device"
                case .writeBps: "blkio.throttle.write_bps_device"
                case .readIOPS: "blkio.throttle.read_iops_device"
                case .writeIOPS: "blkio.throttle.write_iops_device"
                }
            for (index, throttle) in (block.throttles[kind] ?? []).enumerated() {
                let rate = CgroupConversions.isUnlimited(throttle.rate) ? "0" : "\(throttle.rate)"
                try write("blkio", file, "\(throttle.major):\(throttle.minor) \(rate)", "blockIO.\(kind.rawValue)[\(index)]")
            }
        }
    }
}
