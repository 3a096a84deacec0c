/// What the host has to say about one launch; everything else is in the spec and the image.
package struct HostFacts: Sendable, Hashable {
    package var containerID: String
    /// The container's range of host ids; nil without a user namespace.
    package var idRange: Range<UInt32>?
    /// `root.path`: a host folder, or a word for the overlay that the planner is told of.
    package var rootPath: String
    /// Host paths of mounts by their index in `spec.mounts` (a volume's path); a bind without one uses its own source.
    package var mountSources: [Int: String]
    /// Mounts that are read-only whatever the spec says (a volume's policy).
    package var readonlyMounts: Set<Int>
    /// The folder whose `hosts`, `hostname` and `resolv.conf` stand at /etc in the container; nil leaves the image's files.
    package var filesDirectory: String?
    /// How many processors have a `thermal_throttle` folder in sysfs (0 on most virtual machines); each is masked.
    package var throttledProcessors: Int
    /// The engine's own hard limits by the kernel's number: without CAP_SYS_RESOURCE none can be raised.
    package var hardLimits: [UInt32: UInt64]
    /// Namespaces of other containers, by path (`/proc/PID/ns/net`) or a word for a descriptor that the planner is told of.
    package var joins: [RuntimeSpec.LinuxSection.Namespace]
    package var cgroupsPath: String?
    /// The maps of the container's user namespace where they aren't `idRange`'s one line: an ordinary user's ids.
    package var idMappings: (uid: [IDMapping], gid: [IDMapping])? {
        get { mappings.map { ($0.uid, $0.gid) } }
        set { mappings = newValue.map { Mappings(uid: $0.uid, gid: $0.gid) } }
    }
    private struct Mappings: Sendable, Hashable { var uid, gid: [IDMapping] }
    private var mappings: Mappings?
    /// Numbers of the devices that the spec asks for, by source path.
    package var devices: [String: RuntimeSpec.LinuxSection.Device]

    package init(
        containerID: String, idRange: Range<UInt32>?, rootPath: String, mountSources: [Int: String] = [:], readonlyMounts: Set<Int> = [],
        filesDirectory: String? = nil, throttledProcessors: Int = 0, hardLimits: [UInt32: UInt64] = [:],
        joins: [RuntimeSpec.LinuxSection.Namespace] = [], cgroupsPath: String? = nil,
        devices: [String: RuntimeSpec.LinuxSection.Device] = [:]
    ) {
        self.containerID = containerID
        self.idRange = idRange
        self.rootPath = rootPath
        self.mountSources = mountSources
        self.readonlyMounts = readonlyMounts
        self.filesDirectory = filesDirectory
        self.throttledProcessors = throttledProcessors
        self.hardLimits = hardLimits
        self.joins = joins
        self.cgroupsPath = cgroupsPath
        self.devices = devices
    }
}

extension RuntimeSpec {
    /// Turns what a user asked for, what the image says and what the host is into the OCI runtime spec. Pure.
    ///
    /// - Parameter image: nil for `rootfs=`.
    /// - Throws: `invalid_argument` when spec and image together make no sense (no program, a user outside the id range).
    package init(container: ContainerSpec, image: ImageProcessConfig?, facts: HostFacts) throws(LunetteError) {
        self.init()
        hostname =
            container.network == .host && container.hostname == nil ? nil : container.hostname ?? String(facts.containerID.prefix(12))
        root = RootSection(path: facts.rootPath, readonly: container.isRootReadonly)
        process = try ProcessSection(container: container, image: image, facts: facts, hostname: hostname)
        mounts = try Self.mounts(container, facts)
        linux = try LinuxSection(container: container, facts: facts)
        if let oci = container.oci {
            // The user's own words go over what the rest gave, and the whole is read again: nothing skips the checks.
            self = try RuntimeSpec(compactValue.merged(with: oci), notation: .lua)
        }
    }

    private static func mounts(_ container: ContainerSpec, _ facts: HostFacts) throws(LunetteError) -> [MountEntry] {
        // From another user namespace than the one that owns the network namespace, sysfs can't be mounted.
        let bindsHostSys = container.network == .host && container.security.hasUserNamespace
        var result = RuntimeDefaults.mounts(
            shmSize: container.resources.shmSize ?? ResourceSpec.defaultShmSize, bindsHostSys: bindsHostSys,
            hasPrivateIPC: container.ipc == .own
        )
        if container.security.isPrivileged {
            for index in result.indices where ["/sys", "/sys/fs/cgroup"].contains(result[index].destination) && !bindsHostSys {
                result[index].options.removeAll { $0 == "ro" }
            }
        }
        if let groups = facts.idMappings?.gid,
            !groups.contains(where: { $0.containerID <= 5 && UInt64($0.containerID) + UInt64($0.size) > 5 })
        {
            // With one id only there is no group tty to give a terminal to.
            for index in result.indices where result[index].type == "devpts" { result[index].options.removeAll { $0 == "gid=5" } }
        }
        let mapping = container.security.hasUserNamespace && facts.idMappings == nil ? ["idmap"] : []
        if let folder = facts.filesDirectory {
            // Not id-mapped: the runtime gives them to the container's root by its id on the host.
            for name in ["hosts", "hostname", "resolv.conf"] where !container.mounts.contains(where: { $0.target == "/etc/\(name)" }) {
                result.append(
                    MountEntry(
                        destination: "/etc/\(name)", type: "bind", source: "\(folder)/\(name)",
                        options: ["bind", "rprivate", "nosuid", "nodev"])
                )
            }
        }
        // Parents before what lies below them, whatever the order in which they were written.
        let ordered = container.mounts.enumerated().sorted { left, right in
            let depths = (depth(left.element.target), depth(right.element.target))
            return depths.0 != depths.1 ? depths.0 < depths.1 : left.offset < right.offset
        }
        for (index, mount) in ordered { result.append(try entry(for: mount, index: index, facts, mapping: mapping)) }
        return result
    }

    private static func depth(_ path: String) -> Int { path.utf8.count { $0 == UInt8(ascii: "/") } }

    private static func entry(for mount: MountSpec, index: Int, _ facts: HostFacts, mapping: [String]) throws(LunetteError) -> MountEntry {
        let restrictions = ["nosuid", "nodev"] + (mount.isExecutable ? [] : ["noexec"])
        let access = mount.isReadonly || facts.readonlyMounts.contains(index) ? ["ro"] : []
        switch mount.kind {
        case .tmpfs:
            let size = mount.size.map { ["size=\($0)"] } ?? []
            return MountEntry(
                destination: mount.target, type: "tmpfs", source: "tmpfs",
                options: restrictions + ["mode=\(String(mount.mode, radix: 8))"] + size + access
            )
        case .bind, .volume:
            guard let source = facts.mountSources[index] ?? (mount.kind == .bind ? mount.source : nil) else {
                throw LunetteError(.internal, "the volume of the mount at \(mount.target) has no path", path: "mounts[\(index + 1)].source")
            }
            let recursive = mount.kind == .bind && mount.isRecursive
            // What is mounted below the source obeys the same restrictions.
            let words = (restrictions + access).map { recursive ? "r" + $0 : $0 }
            let propagation = (recursive ? "r" : "") + (mount.propagation == .private ? "private" : "slave")
            let idMapping = mapping.isEmpty ? [] : [recursive ? "ridmap" : "idmap"]
            return MountEntry(
                destination: mount.target, type: "bind", source: source,
                options: [recursive ? "rbind" : "bind", propagation] + words + idMapping
            )
        case .image, .secret, .config:
            throw LunetteError(.unsupported, "\(mount.kind.rawValue) mounts aren't built yet", path: "mounts[\(index + 1)].type")
        }
    }
}

extension RuntimeSpec.LinuxSection {
    init(container: ContainerSpec, facts: HostFacts) throws(LunetteError) {
        self.init()
        func joined(_ kind: NamespaceKind) -> Namespace? { facts.joins.first { $0.kind == kind } }
        if let range = facts.idRange {
            namespaces.append(joined(.user) ?? Namespace(.user))
            if joined(.user) == nil {
                uidMappings = [IDMapping(containerID: 0, hostID: range.lowerBound, size: UInt32(range.count))]
                gidMappings = uidMappings
                if let own = facts.idMappings { (uidMappings, gidMappings) = own }
            }
        }
        namespaces += [
            Namespace(.mount), joined(.pid) ?? Namespace(.pid), Namespace(.uts), joined(.ipc) ?? Namespace(.ipc), Namespace(.cgroup),
        ]
        if container.network != .host { namespaces.append(joined(.network) ?? Namespace(.network)) }
        try readLimits(container, facts)
        cgroupsPath = facts.cgroupsPath
        rootfsPropagation = "private"
        if container.network == .own { sysctl = RuntimeDefaults.networkSysctls }
        sysctl.merge(container.sysctls) { _, own in own }
        let security = container.security
        if !security.isPrivileged {
            maskedPaths =
                security.maskedPaths ?? RuntimeDefaults.maskedPaths
                + (0..<facts.throttledProcessors).map { "/sys/devices/system/cpu/cpu\($0)/thermal_throttle" }
            readonlyPaths = security.readonlyPaths ?? RuntimeDefaults.readonlyPaths
        }
        switch security.seccomp {
        case .standard: seccomp = .standard
        case .unconfined: seccomp = nil
        case .profile(let value):
            seccomp = .profile(try SeccompProfile(value, path: "security.seccomp", notation: .lua, dialect: .engine(security.capabilities)))
        case .path(let path):
            throw LunetteError(.internal, "the seccomp profile \(displayable(path)) was not read", path: "security.seccomp")
        }
    }

    private mutating func readLimits(_ container: ContainerSpec, _ facts: HostFacts) throws(LunetteError) {
        let limits = container.resources
        resources.memory.limit = limits.memory
        resources.memory.swap = limits.memorySwap
        resources.memory.reservation = limits.memoryReservation
        resources.cpu.shares = limits.cpuShares
        if let cpus = limits.cpus {
            // The kernel's period of 100 ms; a quota below 1 ms is refused by it.
            resources.cpu.period = 100_000
            resources.cpu.quota = max(1000, Int64((cpus * 100_000).rounded()))
        }
        resources.cpu.cpus = limits.cpuset
        resources.cpu.mems = limits.cpusetMemory
        resources.pidsLimit = limits.pids ?? ResourceSpec.defaultPids
        resources.blockIO.weight = limits.ioWeight
        // Nothing but what is named may be opened or made; what the root's nodev and the bind mounts don't stop ends here.
        if !container.security.isPrivileged {
            resources.devices = [RuntimeSpec.Resources.DeviceRule(allow: false, type: "a", access: "rwm")]
            for device in RuntimeDefaults.devices {
                resources.devices.append(
                    .init(allow: true, type: "c", major: Int64(device.major), minor: Int64(device.minor), access: "rwm"))
            }
            resources.devices.append(.init(allow: true, type: "c", major: 136, minor: nil, access: "rwm"))
            resources.devices.append(.init(allow: true, type: "c", major: 5, minor: 2, access: "rwm"))
        } else if !container.devices.isEmpty {
            // What is named below is no restriction to it.
            resources.devices = [RuntimeSpec.Resources.DeviceRule(allow: true, type: "a", access: "rwm")]
        }
        for device in container.devices {
            guard var found = facts.devices[device.source] else {
                throw LunetteError(.notFound, "there is no device \(displayable(device.source))", path: "devices")
            }
            resources.devices.append(
                .init(allow: true, type: found.type, major: found.major, minor: found.minor, access: device.permissions))
            found.path = device.target
            found.source = device.source == device.target ? nil : device.source
            devices.append(found)
        }
    }
}
