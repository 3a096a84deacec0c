/// Figures of one container, the same for v1 and v2.
package struct CgroupStatistics: Sendable, Equatable {
    /// Bytes charged, page cache included.
    package var memoryUsage: Int64 = 0
    /// Usage without inactive page cache: what `docker stats` shows.
    package var memoryWorkingSet: Int64 = 0
    package var memoryPeak: Int64?
    /// nil = no limit.
    package var memoryLimit: Int64?
    package var swapUsage: Int64?
    package var outOfMemoryKills: Int64 = 0
    package var cpuSeconds: Double = 0
    package var cpuUserSeconds: Double = 0
    package var cpuSystemSeconds: Double = 0
    package var throttledPeriods: Int64 = 0
    package var throttledSeconds: Double = 0
    package var processes: Int64 = 0
    package var processLimit: Int64?
    package var readBytes: Int64 = 0
    package var writtenBytes: Int64 = 0
    /// By resource (`cpu`, `memory`, `io`), as far as the kernel tells: empty on v1.
    package var pressure: [String: Pressure] = [:]
    /// How often processes asked for more memory than the limit gives, and for more processes; nil where the kernel doesn't count.
    package var memoryLimitHits: Int64?
    package var processLimitHits: Int64?
    package init() {}
}

extension ContainerCgroup {
    /// Reads the figures; what a kernel doesn't count stays nil or 0.
    package func statistics() -> CgroupStatistics {
        switch version {
        case .v1: statisticsV1()
        case .v2: statisticsV2()
        }
    }

    private func statisticsV1() -> CgroupStatistics {
        var result = CgroupStatistics()
        if let memory = directory("memory") {
            let table = memory.readTable("memory.stat")
            result.memoryUsage = memory.readNumber("memory.usage_in_bytes") ?? 0
            result.memoryWorkingSet = max(0, result.memoryUsage - (table["total_inactive_file"] ?? table["inactive_file"] ?? 0))
            result.memoryPeak = memory.readNumber("memory.max_usage_in_bytes")
            // "No limit" is the largest page-aligned number; anything beyond 2^62 is it.
            result.memoryLimit = memory.readNumber("memory.limit_in_bytes").flatMap { $0 >= 1 << 62 ? nil : $0 }
            result.swapUsage = table["total_swap"] ?? table["swap"]
            result.memoryLimitHits = memory.readNumber("memory.failcnt")
        }
        if let accounting = directory("cpuacct") {
            result.cpuSeconds = Double(accounting.readNumber("cpuacct.usage") ?? 0) / 1e9
            result.cpuUserSeconds = Double(accounting.readNumber("cpuacct.usage_user") ?? 0) / 1e9
            result.cpuSystemSeconds = Double(accounting.readNumber("cpuacct.usage_sys") ?? 0) / 1e9
        }
        if let table = directory("cpu")?.readTable("cpu.stat") {
            result.throttledPeriods = table["nr_throttled"] ?? 0
            result.throttledSeconds = Double(table["throttled_time"] ?? 0) / 1e9
        }
        if let pids = directory("pids") {
            result.processes = pids.readNumber("pids.current") ?? 0
            result.processLimit = pids.readNumber("pids.max")
            result.processLimitHits = pids.readTable("pids.events")["max"]
        }
        if let text = directory("blkio")?.read("blkio.throttle.io_service_bytes") {
            (result.readBytes, result.writtenBytes) = Self.serviceBytes(text)
        }
        result.outOfMemoryKills = outOfMemoryKills()
        return result
    }

    /// Adds up `8:0 Read 4096` lines of all devices.
    static func serviceBytes(_ text: String) -> (read: Int64, written: Int64) {
        var sum: (read: Int64, written: Int64) = (0, 0)
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count == 3, let bytes = Int64(fields[2]) else { continue }
            if fields[1] == "Read" { sum.read += bytes } else if fields[1] == "Write" { sum.written += bytes }
        }
        return sum
    }

    private func statisticsV2() -> CgroupStatistics {
        var result = CgroupStatistics()
        guard let directory = directories.first else { return result }
        result.memoryUsage = directory.readNumber("memory.current") ?? 0
        result.memoryWorkingSet = max(0, result.memoryUsage - (directory.readTable("memory.stat")["inactive_file"] ?? 0))
        result.memoryPeak = directory.readNumber("memory.peak")
        result.memoryLimit = directory.readNumber("memory.max")
        result.swapUsage = directory.readNumber("memory.swap.current")
        let cpu = directory.readTable("cpu.stat")
        result.cpuSeconds = Double(cpu["usage_usec"] ?? 0) / 1e6
        result.cpuUserSeconds = Double(cpu["user_usec"] ?? 0) / 1e6
        result.cpuSystemSeconds = Double(cpu["system_usec"] ?? 0) / 1e6
        result.throttledPeriods = cpu["nr_throttled"] ?? 0
        result.throttledSeconds = Double(cpu["throttled_usec"] ?? 0) / 1e6
        result.processes = directory.readNumber("pids.current") ?? 0
        result.processLimit = directory.readNumber("pids.max")
        result.memoryLimitHits = directory.readTable("memory.events")["max"]
        result.processLimitHits = directory.readTable("pids.events")["max"]
        (result.readBytes, result.writtenBytes) = Self.ioStat(directory.read("io.stat") ?? "")
        result.outOfMemoryKills = outOfMemoryKills()
        for resource in ["cpu", "memory", "io"] { result.pressure[resource] = pressure(resource) }
        return result
    }

    /// Adds up `8:0 rbytes=1 wbytes=2 …` lines of all devices.
    static func ioStat(_ text: String) -> (read: Int64, written: Int64) {
        var sum: (read: Int64, written: Int64) = (0, 0)
        for field in text.split(whereSeparator: \.isWhitespace) {
            if field.hasPrefix("rbytes=") { sum.read += Int64(field.dropFirst(7)) ?? 0 }
            if field.hasPrefix("wbytes=") { sum.written += Int64(field.dropFirst(7)) ?? 0 }
        }
        return sum
    }
}
