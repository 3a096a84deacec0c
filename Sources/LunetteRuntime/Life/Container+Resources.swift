internal import CLinux
package import LunetteLinux
package import LunetteSpec

extension Container {
    /// Freezes every process; returns when all stand still.
    package func pause() async throws(LunetteError) {
        guard knownExit == nil else { throw LunetteError(.invalidState, "container \(id) isn't running", target: id) }
        try await blocking { [cgroup, id] () throws(LunetteError) in
            guard cgroup.canFreeze else { throw Self.cannotFreeze(id, hasCgroup: !cgroup.directories.isEmpty) }
            try atBorder("pause container \(id)", { () throws(SystemCallError) in try cgroup.freeze() })
        }
    }

    private static func cannotFreeze(_ id: String, hasCgroup: Bool) -> LunetteError {
        let why =
            UserNamespace.current.isInitial
            ? "no freezer cgroup is mounted here" : "this user was given no cgroup" + (hasCgroup ? " of the freezer controller" : "")
        return LunetteError(
            .unsupported, "pause container \(id): \(why)", target: id,
            hint: UserNamespace.current.isInitial
                ? "mount the freezer controller, or run on cgroup v2"
                : "an administrator can give this user a cgroup (docs/rootless.md)")
    }

    package func resume() async throws(LunetteError) {
        try await blocking { [cgroup, id] () throws(LunetteError) in
            try atBorder("resume container \(id)", { () throws(SystemCallError) in try cgroup.thaw() })
        }
    }

    /// Whether it is paused now.
    package var isPaused: Bool { get async { await blocking { [cgroup] in cgroup.isFrozen } } }

    /// Figures of now, as `c:stats()` returns them: bytes, seconds, counts.
    package func stats() async throws(LunetteError) -> Value {
        let figures = await blocking { [self] in cgroup.directories.isEmpty ? statisticsOfProcesses() : cgroup.statistics() }
        return figures.value(time: SystemClock.now)
    }

    /// The container's processes as `c:processes()` returns them, read from the host, running nothing inside.
    package func processes() async throws(LunetteError) -> Value {
        let own = record.initProcess?.pid
        return await blocking { [self] in .array(processIDs().compactMap { Self.describe($0, own) }) }
    }

    private static func describe(_ pid: Int32, _ own: Int32?) -> Value? {
        // Gone since the listing: left out.
        guard let stat = ProcessStat.read(pid: pid), let status = readSmallFile("/proc/\(pid)/status") else { return nil }
        var fields: [Substring: Substring] = [:]
        for line in status.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...]
        }
        func numbers(_ key: Substring) -> [Int64] { (fields[key] ?? "").split(whereSeparator: \.isWhitespace).compactMap { Int64($0) } }
        let arguments = (readSmallFile("/proc/\(pid)/cmdline", limit: 1 << 17) ?? "").split(
            separator: "\0", omittingEmptySubsequences: true)
        // A program can write anything there; what is shown must not move the cursor.
        // Our init is the shim's binary and has its command line.
        let isOurInit = pid == own && ["lunette-init", "lunette-pod"].contains(stat.command)
        let command = isOurInit ? stat.command : arguments.isEmpty ? "[\(stat.command)]" : arguments.joined(separator: " ")
        let ticks = 100.0
        var value: ValueMap = [
            "pid": .int(Int64(pid)), "container_pid": .int(numbers("NSpid").last ?? Int64(pid)), "parent_pid": .int(Int64(stat.parent)),
            "state": .string(String(stat.state)), "name": .string(displayable(stat.command, limit: 64)),
            "command": .string(displayable(command, limit: 4096)), "host_uid": .int(numbers("Uid").first ?? 0),
            "threads": .int(Int64(stat.threads)), "memory": .int((numbers("VmRSS").first ?? 0) * 1024),
            "cpu": .double(Double(stat.userTicks + stat.systemTicks) / ticks), "is_init": .bool(pid == own),
        ]
        if let user = uidInside(pid, numbers("Uid").first ?? 0) { value["user"] = .string(user) }
        if let uptime = readSmallFile("/proc/uptime").flatMap({ Double($0.prefix { $0 != " " }) }) {
            value["started_at"] = .double(SystemClock.now - uptime + Double(stat.startTime) / ticks)
        }
        return .map(value)
    }

    /// The host's uid as the process's own user namespace numbers it.
    private static func uidInside(_ pid: Int32, _ uid: Int64) -> String? {
        for line in (readSmallFile("/proc/\(pid)/uid_map") ?? "").split(separator: "\n") {
            let numbers = line.split(separator: " ").compactMap { Int64($0) }
            guard numbers.count == 3, uid >= numbers[1], uid < numbers[1] + numbers[2] else { continue }
            return String(numbers[0] + uid - numbers[1])
        }
        return nil
    }
}

extension CgroupStatistics {
    /// As `c:stats()` returns it.
    package func value(time: Double) -> Value {
        func optional(_ number: Int64?) -> Value { number.map(Value.int) ?? .null }
        var figures: ValueMap = [
            "time": .double(time),
            // The page cache that can be dropped is no use of the container's, as `docker stats` counts too.
            "memory": [
                "used": .int(memoryWorkingSet), "cache": .int(max(0, memoryUsage - memoryWorkingSet)), "peak": optional(memoryPeak),
                "limit": optional(memoryLimit), "swap": optional(swapUsage), "oom_kills": .int(outOfMemoryKills),
                "limit_hits": optional(memoryLimitHits),
            ],
            "cpu": [
                "used": .double(cpuSeconds), "user": .double(cpuUserSeconds), "system": .double(cpuSystemSeconds),
                "throttled": .double(throttledSeconds), "throttled_periods": .int(throttledPeriods),
            ],
            "pids": ["current": .int(processes), "limit": optional(processLimit), "limit_hits": optional(processLimitHits)],
            "io": ["read": .int(readBytes), "written": .int(writtenBytes)],
        ]
        if !pressure.isEmpty {
            var resources = ValueMap()
            for resource in pressure.keys.sorted() { resources[resource] = pressure[resource]!.value }
            figures["pressure"] = .map(resources)
        }
        return .map(figures)
    }
}

extension CgroupLimits {
    /// A spec's resources, as the cgroup takes them.
    package init(_ resources: ResourceSpec) {
        self.init()
        memory = resources.memory
        // As Docker: a memory limit alone allows as much swap again.
        memorySwap = resources.memorySwap ?? resources.memory.map(\.doubled)
        memoryReservation = resources.memoryReservation
        cpus = resources.cpus
        cpuShares = resources.cpuShares
        cpuset = resources.cpuset
        memoryNodes = resources.cpusetMemory
        pids = resources.pids ?? ResourceSpec.defaultPids
        ioWeight = resources.ioWeight
        killGroupOnOOM = resources.oom == .group ? true : nil
    }
}
