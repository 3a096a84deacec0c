internal import LunetteLinux

extension Container {
    /// Every process of the container: those of its cgroup, or of its pid namespace where it has no cgroup. Blocks.
    func processIDs() -> [Int32] {
        if !cgroup.directories.isEmpty { return cgroup.processes() }
        guard let initProcess = record.initProcess, initProcess.isAlive else { return [] }
        return PIDNamespace.processes(besides: initProcess.pid)
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
}
