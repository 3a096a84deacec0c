/// Bounds what a container uses. Nil is "no limit of its own".
public struct ResourceSpec: Hashable, Sendable {
    /// Which processes the kernel ends when memory runs out: the one it picks, or the whole container.
    public enum OOM: String, CaseIterable, Sendable { case process, group }

    /// Bytes.
    public var memory: Int64?
    /// Bytes of memory and swap together, as Docker counts; -1 is no limit.
    public var memorySwap: Int64?
    /// Bytes below which memory is reclaimed last.
    public var memoryReservation: Int64?
    /// Processors' worth of time; 1.5 is one and a half.
    public var cpus: Double?
    /// A weight, 2–262144, 1024 in the middle (cgroup v1's scale; translated on v2).
    public var cpuShares: Int64?
    /// Which processors, as the kernel writes them: `0-2,4`.
    public var cpuset: String?
    /// Which memory nodes.
    public var cpusetMemory: String?
    /// Tasks (threads count); nil is the default below.
    public var pids: Int64?
    /// 1–10000, 100 in the middle.
    public var ioWeight: Int64?
    public var oom: OOM
    /// Bytes of /dev/shm.
    public var shmSize: Int64?

    /// A fork bomb must not take the host along, so there is always a limit unless -1 says otherwise.
    public static let defaultPids: Int64 = 4096
    public static let defaultShmSize: Int64 = 64 << 20

    public init(
        memory: Int64? = nil, memorySwap: Int64? = nil, memoryReservation: Int64? = nil, cpus: Double? = nil, cpuShares: Int64? = nil,
        cpuset: String? = nil, cpusetMemory: String? = nil, pids: Int64? = nil, ioWeight: Int64? = nil, oom: OOM = .process,
        shmSize: Int64? = nil
    ) {
        self.memory = memory
        self.memorySwap = memorySwap
        self.memoryReservation = memoryReservation
        self.cpus = cpus
        self.cpuShares = cpuShares
        self.cpuset = cpuset
        self.cpusetMemory = cpusetMemory
        self.pids = pids
        self.ioWeight = ioWeight
        self.oom = oom
        self.shmSize = shmSize
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        self.init()
        memory = try reader.size("memory")
        // The kernel needs about this much to start anything; Docker refuses below 6 MB as well.
        if let memory, memory < 6 << 20 {
            throw reader.failure("memory", "\(memory) bytes are too few to start a process", hint: "give at least 6MiB")
        }
        memorySwap = try reader.sizeOrUnlimited("memory_swap")
        if let memorySwap, memorySwap != -1 {
            guard let memory else {
                throw reader.failure(
                    "memory_swap", "needs a memory limit beside it", hint: "it counts memory and swap together: give memory too")
            }
            guard memorySwap >= memory else {
                throw reader.failure("memory_swap", "counts memory and swap together, so it can't be below memory (\(memory))")
            }
        }
        memoryReservation = try reader.size("memory_reservation")
        if let memory, let memoryReservation, memoryReservation > memory {
            throw reader.failure("memory_reservation", "can't be above memory (\(memory))")
        }
        cpus = try reader.double("cpus")
        if let cpus, !(cpus.isFinite && cpus >= 0.01 && cpus <= 100_000) {
            throw reader.failure("cpus", "\(cpus) is not a number of processors")
        }
        cpuShares = try reader.int("cpu_shares", in: 2...262_144)
        cpuset = try reader.cpuList("cpuset")
        cpusetMemory = try reader.cpuList("cpuset_memory")
        pids = try reader.int("pids")
        if let pids, pids < -1 || pids == 0 { throw reader.failure("pids", "\(pids) is not a number of processes", hint: "-1 is no limit") }
        ioWeight = try reader.int("io_weight", in: 1...10_000)
        if reader.value("storage") != nil { throw reader.unsupported("storage", "a limit on the container's own files isn't built yet") }
        oom = try reader.choice("oom", OOM.self) ?? .process
        shmSize = try reader.size("shm_size")
        // To the kernel a tmpfs of size 0 is one without a limit (tmpfs(5)).
        if shmSize == 0 {
            throw reader.failure("shm_size", "a /dev/shm of no bytes holds nothing", hint: "leave it out for the default of 64MiB")
        }
        try reader.finish()
    }

    public var value: Value {
        var map = ValueMap()
        map.set("memory", memory)
        map.set("memory_swap", memorySwap)
        map.set("memory_reservation", memoryReservation)
        if let cpus { map["cpus"] = .double(cpus) }
        map.set("cpu_shares", cpuShares)
        map.set("cpuset", cpuset)
        map.set("cpuset_memory", cpusetMemory)
        map.set("pids", pids)
        map.set("io_weight", ioWeight)
        map["oom"] = .string(oom.rawValue)
        map.set("shm_size", shmSize)
        return .map(map)
    }
}

extension FieldReader {
    /// A whole number within bounds.
    mutating func int(_ key: String, in range: ClosedRange<Int64>) throws(LunetteError) -> Int64? {
        guard let number = try int(key) else { return nil }
        guard range.contains(number) else { throw failure(key, "\(number) is not within \(range.lowerBound)–\(range.upperBound)") }
        return number
    }

    /// A size, or -1 or `"unlimited"` for none.
    mutating func sizeOrUnlimited(_ key: String) throws(LunetteError) -> Int64? {
        guard let value = value(key) else { return nil }
        if value.intValue == -1 || value.stringValue == "unlimited" { return -1 }
        return try size(key)
    }

    /// A list of processor or node numbers as cpuset(7) writes it.
    mutating func cpuList(_ key: String) throws(LunetteError) -> String? {
        guard let text = try string(key) else { return nil }
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
            guard (1...2).contains(ends.count), !ends.contains(nil), ends[0]! <= ends.last!! else {
                throw failure(key, "\"\(displayable(text, limit: 60))\" is not a list such as \"0-2,4\"")
            }
        }
        return text
    }
}
