internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// What this machine says once and doesn't change while an engine runs.
struct MachineFacts: Sendable {
    var throttledProcessors: Int
    var hardLimits: [UInt32: UInt64]

    /// Reads /sys and /proc. Blocks.
    static func read() -> MachineFacts {
        var processors = 0
        var status = lnt_host_stat()
        while lnt_host_stat(-100, "/sys/devices/system/cpu/cpu\(processors)/thermal_throttle", 0, &status) == 0 { processors += 1 }
        return MachineFacts(throttledProcessors: processors, hardLimits: canRaiseLimits ? [:] : ownHardLimits)
    }

    private static var canRaiseLimits: Bool {
        let resource: UInt64 = 1 << 24
        // In a namespace of a user's own it is there and says nothing.
        guard UserNamespace.current.isInitial else { return false }
        let line = readSmallFile("/proc/self/status")?.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        return line.flatMap { UInt64($0.dropFirst(7).trimmed, radix: 16) }.map { $0 & resource != 0 } ?? false
    }

    private static var ownHardLimits: [UInt32: UInt64] {
        var limits: [UInt32: UInt64] = [:]
        for resource in UInt32(0)..<16 {
            var limit = rlimit()
            if getrlimit(__rlimit_resource_t(resource), &limit) == 0 { limits[resource] = UInt64(limit.rlim_max) }
        }
        return limits
    }
}

extension ContainerRuntime {
    /// Asks the machine what the runtime spec needs to know. Blocks.
    func facts(_ request: CreateRequest) throws(LunetteError) -> HostFacts {
        let places = ContainerPlaces(configuration, id: request.id)
        let rootPath: String
        switch request.root {
        case .layers: rootPath = "\(places.storage)/merged"
        case .directory(let path): rootPath = path
        case .empty: rootPath = "\(places.storage)/root"
        }
        var facts = HostFacts(
            containerID: request.id, idRange: request.idRange.map { $0.first..<UInt32($0.end) }, rootPath: rootPath,
            filesDirectory: places.storage,
            throttledProcessors: machine.throttledProcessors, hardLimits: machine.hardLimits,
            cgroupsPath: "/\(Cgroups.parent)/\(cgroups.name(request.id))")
        if !userNamespace.isInitial { facts.idMappings = (userNamespace.uids.identity, userNamespace.gids.identity) }
        for mount in request.mounts {
            guard let source = mount.sources.first, mount.sources.count == 1 else {
                throw LunetteError(.unsupported, "mounting an image isn't built yet", path: "mounts[\(mount.index + 1)]")
            }
            facts.mountSources[mount.index] = source
            if mount.readonly { facts.readonlyMounts.insert(mount.index) }
        }
        for (kind, process) in joins(request) { facts.joins.append(.init(kind, path: "/proc/\(process.pid)/ns/\(kind.procName)")) }
        for device in request.spec.devices { facts.devices[device.source] = try Self.device(device) }
        return facts
    }

    /// Namespaces of other containers, the user namespace first: sharing one implies sharing it.
    func joins(_ request: CreateRequest) -> [(RuntimeSpec.LinuxSection.NamespaceKind, ProcessIdentity)] {
        let shared: [(RuntimeSpec.LinuxSection.NamespaceKind, ProcessIdentity?)] = [
            (.user, request.idRange == nil ? nil : request.joinUserOf ?? request.joinNetworkOf ?? request.joinIPCOf ?? request.joinPIDOf),
            (.network, request.joinNetworkOf), (.ipc, request.joinIPCOf), (.pid, request.joinPIDOf),
        ]
        return shared.compactMap { kind, process in process.map { (kind, $0) } }
    }

    private static func device(_ device: DeviceSpec) throws(LunetteError) -> RuntimeSpec.LinuxSection.Device {
        var status = lnt_host_stat()
        let result = lnt_host_stat(-100, device.source, 0, &status)
        guard result == 0 else { throw SystemCallError("find device", device.source, errno: -result).lunette }
        let kind: String
        switch FileKind(rawValue: status.mode & 0o170000) {
        case .characterDevice?: kind = "c"
        case .blockDevice?: kind = "b"
        default: throw LunetteError(.invalidArgument, "\(displayable(device.source)) is no device", path: "devices")
        }
        return .init(type: kind, path: device.target, major: Int64(status.rdev_major), minor: Int64(status.rdev_minor))
    }
}

extension RuntimeSpec.LinuxSection.NamespaceKind {
    /// The name in /proc/PID/ns.
    var procName: String {
        switch self {
        case .network: "net"
        case .mount: "mnt"
        case .pid: "pid"
        case .ipc: "ipc"
        case .uts: "uts"
        case .user: "user"
        case .cgroup: "cgroup"
        case .time: "time"
        }
    }
}

extension CgroupLimits {
    /// The runtime spec's resources, as the cgroup takes them.
    init(_ resources: RuntimeSpec.Resources) {
        self.init()
        memory = resources.memory.limit
        // As Docker: a memory limit alone allows as much swap again.
        memorySwap = resources.memory.swap ?? resources.memory.limit.map { $0 < 0 ? -1 : $0.doubled }
        memoryReservation = resources.memory.reservation
        cpuQuota = resources.cpu.quota
        cpuPeriod = resources.cpu.period
        cpuShares = resources.cpu.shares
        cpuset = resources.cpu.cpus
        memoryNodes = resources.cpu.mems
        pids = resources.pidsLimit
        ioWeight = resources.blockIO.weight
        // Without rules everything is allowed.
        if !resources.devices.isEmpty { devices = DeviceRules(resources.devices).rules }
    }
}
