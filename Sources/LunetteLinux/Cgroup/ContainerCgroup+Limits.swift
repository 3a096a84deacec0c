extension ContainerCgroup {
    /// Writes limits. What this machine's cgroups can't do is returned in words for `degraded`; a refused value throws.
    package func apply(_ limits: CgroupLimits) throws(SystemCallError) -> [String] {
        switch version {
        case .v1: try applyV1(limits)
        case .v2: try applyV2(limits)
        }
    }

    private func missing(_ what: String, _ controller: String) -> String {
        "\(what) is not enforced: no \(controller) controller in cgroup \(version == .v1 ? "v1" : "v2") here"
    }

    /// Quota and period for a number of CPUs; the kernel wants at least a millisecond of quota.
    static func quota(_ limits: CgroupLimits) -> (quota: Int64, period: Int64)? {
        let period = limits.cpuPeriod ?? 100_000
        if let cpus = limits.cpus { return (cpus <= 0 ? -1 : max(1000, Int64((cpus * Double(period)).rounded())), period) }
        if let quota = limits.cpuQuota { return (quota <= 0 ? -1 : quota, period) }
        return limits.cpuPeriod.map { (-1, $0) }
    }

    private func applyV1(_ limits: CgroupLimits) throws(SystemCallError) -> [String] {
        var degraded: [String] = []
        if let memory = directory("memory") {
            try applyMemoryV1(limits, memory, &degraded)
        } else if limits.memory != nil || limits.memorySwap != nil {
            degraded.append(missing("memory", "memory"))
        }
        if let (quota, period) = Self.quota(limits) {
            if let cpu = directory("cpu"), cpu.has("cpu.cfs_quota_us") {
                // The period first would be checked against the old quota; no quota in between is harmless.
                try cpu.write("cpu.cfs_quota_us", "-1")
                try cpu.write("cpu.cfs_period_us", "\(period)")
                if quota > 0 { try cpu.write("cpu.cfs_quota_us", "\(quota)") }
            } else {
                degraded.append(missing("cpus", "cpu (CFS bandwidth)"))
            }
        }
        if let shares = limits.cpuShares {
            if let cpu = directory("cpu") {
                try cpu.write("cpu.shares", "\(shares)")
            } else {
                degraded.append(missing("cpu_shares", "cpu"))
            }
        }
        if limits.cpuset != nil || limits.memoryNodes != nil {
            if let cpuset = directory("cpuset") {
                if let cpus = limits.cpuset { try cpuset.write("cpuset.cpus", cpus) }
                if let nodes = limits.memoryNodes { try cpuset.write("cpuset.mems", nodes) }
            } else {
                degraded.append(missing("cpuset", "cpuset"))
            }
        }
        if let pids = limits.pids {
            if let directory = directory("pids") {
                try directory.write("pids.max", pids < 0 ? "max" : "\(pids)")
            } else {
                degraded.append(missing("pids", "pids"))
            }
        }
        if let weight = limits.ioWeight {
            let blkio = directory("blkio")
            if let blkio, blkio.has("blkio.bfq.weight") {
                try blkio.write("blkio.bfq.weight", "\(max(1, min(1000, weight)))")
            } else if let blkio, blkio.has("blkio.weight") {
                try blkio.write("blkio.weight", "\(max(10, min(1000, weight)))")
            } else {
                degraded.append("io_weight is not enforced: no weight in this kernel's blkio controller")
            }
        }
        if let rules = limits.devices {
            if let devices = directory("devices") {
                try devices.write("devices.deny", "a")
                var rest = rules[...]
                while let first = rest.first {
                    // Order counts: runs of the same kind go in one opening.
                    let run = rest.prefix { $0.allow == first.allow }
                    try devices.write(first.allow ? "devices.allow" : "devices.deny", run.map(\.text))
                    rest = rest.dropFirst(run.count)
                }
            } else {
                degraded.append(missing("the device list", "devices"))
            }
        }
        if limits.killGroupOnOOM == true { degraded.append("oom=\"group\" is not enforced: cgroup v1 kills single processes") }
        return degraded
    }

    private func applyMemoryV1(_ limits: CgroupLimits, _ memory: CgroupFile, _ degraded: inout [String]) throws(SystemCallError) {
        if let reservation = limits.memoryReservation { try memory.write("memory.soft_limit_in_bytes", "\(reservation)") }
        let swapFile = "memory.memsw.limit_in_bytes"
        let hasSwap = memory.has(swapFile)
        let isSwapMeant = limits.memorySwap.map { $0 != limits.memory } ?? false
        if isSwapMeant, !hasSwap { degraded.append("memory_swap is not enforced: this kernel doesn't account swap (swapaccount=1)") }
        let steps: [(String, Int64?)] = [("memory.limit_in_bytes", limits.memory), (swapFile, hasSwap ? limits.memorySwap : nil)]
        // memory ≤ memory+swap must hold after each write: raising wants the second first. The kernel says EINVAL to the wrong order.
        do throws(SystemCallError) {
            for (file, value) in steps { if let value { try memory.write(file, "\(value)") } }
        } catch {
            guard error.errno == ErrorNumber.invalid, limits.memory != nil, hasSwap else { throw error }
            let swap = limits.memorySwap ?? (limits.memory! < 0 ? -1 : nil)
            guard let swap else { throw error }
            try memory.write(swapFile, "\(swap)")
            try memory.write("memory.limit_in_bytes", "\(limits.memory!)")
        }
    }

    private func applyV2(_ limits: CgroupLimits) throws(SystemCallError) -> [String] {
        var degraded: [String] = []
        guard let directory = directories.first else { return ["no limit is enforced: no cgroup"] }
        func write(_ file: String, _ value: String, _ what: String, _ controller: String) throws(SystemCallError) {
            if directory.has(file) { try directory.write(file, value) } else { degraded.append(missing(what, controller)) }
        }
        if let memory = limits.memory { try write("memory.max", memory < 0 ? "max" : "\(memory)", "memory", "memory") }
        if let swap = limits.memorySwap {
            let own = swap < 0 ? "max" : "\(max(0, swap - max(0, limits.memory ?? directory.readNumber("memory.max") ?? 0)))"
            try write("memory.swap.max", own, "memory_swap", "memory (swap)")
        }
        if let reservation = limits.memoryReservation { try write("memory.low", "\(max(0, reservation))", "memory_reservation", "memory") }
        if limits.killGroupOnOOM == true { try write("memory.oom.group", "1", "oom", "memory") }
        if let (quota, period) = Self.quota(limits) { try write("cpu.max", "\(quota < 0 ? "max" : "\(quota)") \(period)", "cpus", "cpu") }
        if let shares = limits.cpuShares { try write("cpu.weight", "\(Self.weight(ofShares: shares))", "cpu_shares", "cpu") }
        if let cpus = limits.cpuset { try write("cpuset.cpus", cpus, "cpuset", "cpuset") }
        if let nodes = limits.memoryNodes { try write("cpuset.mems", nodes, "memory nodes", "cpuset") }
        if let pids = limits.pids { try write("pids.max", pids < 0 ? "max" : "\(pids)", "pids", "pids") }
        if let weight = limits.ioWeight {
            if directory.has("io.bfq.weight") {
                try directory.write("io.bfq.weight", "\(max(1, min(1000, weight)))")
            } else {
                try write("io.weight", "default \(max(1, min(10000, weight)))", "io_weight", "io (weight)")
            }
        }
        if let rules = limits.devices {
            do throws(SystemCallError) { try DeviceFilter(rules).attach(to: directory.path) } catch {
                // Kernels without CONFIG_CGROUP_BPF; a refusal for any other reason must not pass as "not there".
                guard [ErrorNumber.noSystemCall, ErrorNumber.invalid, ErrorNumber.notSupported].contains(error.errno) else { throw error }
                degraded.append("the device list is not enforced: this kernel has no device filters for cgroup v2 (CONFIG_CGROUP_BPF)")
            }
        }
        return degraded
    }

    /// v1's shares (2…262144, 1024 normal) as v2's weight (1…10000, 100 normal), by the formula runtimes agree on (OCI runtime-spec, config-linux).
    static func weight(ofShares shares: Int64) -> Int64 { 1 + ((max(2, min(262_144, shares)) - 2) * 9999) / 262_142 }
}

extension CgroupLimits.DeviceRule {
    /// As v1's devices.allow takes it: `c 1:3 rwm`.
    package var text: String {
        kind == "a" ? "a" : "\(kind) \(major.map { "\($0)" } ?? "*"):\(minor.map { "\($0)" } ?? "*") \(access)"
    }
}
