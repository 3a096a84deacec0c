internal import CLinux
internal import LunetteLinux

extension Container {
    /// Every process of the container: those of its cgroup, or of its pid namespace where it has no cgroup. Blocks.
    func processIDs() -> [Int32] {
        if !cgroup.directories.isEmpty { return cgroup.processes() }
        guard let initProcess = record.initProcess, let own = Self.pidNamespace(initProcess.pid), initProcess.isAlive else { return [] }
        // Without /proc there is nothing to list.
        guard let names = try? Directory("/proc").entries() else { return [] }
        return names.compactMap { Int32($0) }.filter { Self.pidNamespace($0) == own }.sorted()
    }

    /// What a container without a cgroup uses, added up over its processes: pages that several share count for each. Blocks.
    func statisticsOfProcesses() -> CgroupStatistics {
        var result = CgroupStatistics()
        for stat in processIDs().compactMap(ProcessStat.read(pid:)) {
            result.processes += Int64(stat.threads)
            result.memoryUsage += Int64(clamping: stat.residentPages) * 4096
            result.cpuUserSeconds += Double(stat.userTicks) / 100
            result.cpuSystemSeconds += Double(stat.systemTicks) / 100
        }
        result.memoryWorkingSet = result.memoryUsage
        result.cpuSeconds = result.cpuUserSeconds + result.cpuSystemSeconds
        return result
    }

    private static func pidNamespace(_ pid: Int32) -> String? {
        var buffer = [CChar](repeating: 0, count: 64)
        let count = lnt_host_readlinkat(-100, "/proc/\(pid)/ns/pid", &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }
}
