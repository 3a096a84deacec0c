package import LunetteSpec

extension ContainerCgroup {
    /// Writes the limits of a runtime spec; what it leaves out stays as it is.
    ///
    /// - Parameters:
    ///   - resources: `linux.resources`, whole at the start, or what an update changes.
    ///   - missing: what becomes of a limit that this machine can't enforce.
    ///   - allowsDefaultDevices: whether what every OCI runtime allows stands behind the given device rules. Without any rule nothing is
    ///     restricted, and an update without one changes none.
    /// - Returns: for the user, what is not in force (`missing: .report`) and which deprecated fields were ignored.
    /// - Throws: `unsupported`, `invalid_argument` or what the kernel answers, with the field's path (`linux.resources.memory.swap`).
    package func apply(
        _ resources: RuntimeSpec.Resources, missing: MissingLimit = .refuse, allowsDefaultDevices: Bool = true
    ) throws(LunetteError) -> [String] {
        var request = CgroupRequest(resources: resources)
        if !resources.devices.isEmpty {
            var rules = DeviceRules(resources.devices)
            if allowsDefaultDevices { rules.rules += DeviceRules.runtimeDefaults }
            request.devices = rules
        }
        let writer = try apply(request, missing)
        return writer.ignored + writer.lacking.map(\.text)
    }

    /// Whether this kernel limits swap: v1's wants `swapaccount=1`.
    package var accountsSwap: Bool {
        switch version {
        case .v1: directory("memory")?.has("memory.memsw.limit_in_bytes") ?? false
        case .v2: directories.first?.has("memory.swap.max") ?? false
        }
    }

    /// The same change with what it is relative to: memory and swap together need the memory's limit, which an update may leave as it is.
    package func completed(_ resources: RuntimeSpec.Resources) -> RuntimeSpec.Resources {
        guard version == .v2, CgroupRequest.set(resources.memory.swap) != nil, CgroupRequest.set(resources.memory.limit) == nil else {
            return resources
        }
        var complete = resources
        complete.memory.limit = directories.first?.readNumber("memory.max")
        return complete
    }

    /// Writes the engine's limits. What this machine's cgroups can't do is returned; a refused value throws.
    package func apply(_ limits: CgroupLimits) throws(LunetteError) -> [NotEnforced] { try apply(CgroupRequest(limits), .report).lacking }

    private func apply(_ request: CgroupRequest, _ missing: MissingLimit) throws(LunetteError) -> CgroupWriter {
        var writer = CgroupWriter(self, missing)
        if directories.isEmpty, missing == .report {
            writer.lackAll()
            return writer
        }
        switch version {
        case .v1: try writer.applyV1(request)
        case .v2: try writer.applyV2(request)
        }
        return writer
    }
}

/// What is to be written: the runtime spec's limits, and what only the engine has.
struct CgroupRequest {
    var resources: RuntimeSpec.Resources
    /// nil = leave them.
    var devices: DeviceRules?
    /// 1…10000, v2's scale, which is the engine's; `blockIO.weight` is v1's.
    var ioWeight: Int64?
    var killGroupOnOOM: Bool?

    init(resources: RuntimeSpec.Resources) { self.resources = resources }

    init(_ limits: CgroupLimits) {
        resources = RuntimeSpec.Resources()
        resources.memory.limit = limits.memory
        resources.memory.swap = limits.memorySwap
        resources.memory.reservation = limits.memoryReservation
        resources.cpu.period = limits.cpuPeriod
        resources.cpu.quota = limits.cpuQuota.map { $0 <= 0 ? -1 : $0 }
        if let cpus = limits.cpus {
            resources.cpu.period = limits.cpuPeriod ?? 100_000
            resources.cpu.quota = CgroupConversions.quota(cpus: cpus, period: limits.cpuPeriod ?? 100_000)
        }
        resources.cpu.shares = limits.cpuShares
        resources.cpu.cpus = limits.cpuset
        resources.cpu.mems = limits.memoryNodes
        resources.pidsLimit = limits.pids
        ioWeight = limits.ioWeight
        killGroupOnOOM = limits.killGroupOnOOM
        devices = limits.devices.map(DeviceRules.init)
    }

    /// Every runtime takes 0 for "not set" here: engines write it into each config.
    static func set(_ number: Int64?) -> Int64? { number == 0 ? nil : number }
}
