/// Collects the steps of one plan, phase by phase.
struct LaunchPlanBuilder {
    let spec: RuntimeSpec
    let inputs: LaunchInputs
    var hostSteps: [LaunchStep] = []
    var namespaceSteps: [LaunchStep] = []
    var initSteps: [LaunchStep] = []
    private var nextSlot: TreeSlot = 0

    init(spec: RuntimeSpec, inputs: LaunchInputs) {
        self.spec = spec
        self.inputs = inputs
    }

    private var hasUserNamespace: Bool { spec.linux.namespace(.user) != nil }
    private var mapping: TreePlan.Mapping { hasUserNamespace ? .container : .none }

    mutating func build() throws(LunetteError) {
        hostSteps.append(.namespaces(try namespaces()))
        if !inputs.cgroupsV1.isEmpty || inputs.cgroupV2 != nil { hostSteps.append(.joinCgroups(v1: inputs.cgroupsV1, v2: inputs.cgroupV2)) }
        if let score = spec.process?.oomScoreAdj { hostSteps.append(.setOOMScore(Int(score))) }
        try addRoot()
        try addNames()
        try addMounts()
        addSettings()
        initSteps.append(.pivotRoot)
        for path in spec.linux.maskedPaths { initSteps.append(.maskPath(try ContainerPath.normalise(path, path: "linux.maskedPaths"))) }
        for path in spec.linux.readonlyPaths {
            initSteps.append(.makeReadonly(try ContainerPath.normalise(path, path: "linux.readonlyPaths")))
        }
        if spec.root?.readonly == true { initSteps.append(.makeRootReadonly) }
    }

    private mutating func slot() throws(LunetteError) -> TreeSlot {
        guard nextSlot < TreeSlot.limit else {
            throw LunetteError(.resourceExhausted, "more than \(TreeSlot.limit) mounts and devices", path: "mounts")
        }
        defer { nextSlot += 1 }
        return nextSlot
    }

    // MARK: Namespaces

    private func namespaces() throws(LunetteError) -> NamespacePlan {
        guard let mount = spec.linux.namespace(.mount), mount.path == nil else {
            throw LunetteError(.unsupported, "a container always has a mount namespace of its own", path: "linux.namespaces")
        }
        guard spec.linux.namespace(.time) == nil else {
            throw LunetteError(.unsupported, "time namespaces aren't built yet", path: "linux.namespaces")
        }
        var plan = NamespacePlan(create: [.mount])
        for kind in [RuntimeSpec.LinuxSection.NamespaceKind.user, .network, .ipc, .uts, .pid, .cgroup] {
            guard let namespace = spec.linux.namespace(kind), let flag = Self.flag(kind) else { continue }
            if let join = inputs.joins.first(where: { $0.kind == flag }) {
                plan.join.append(join)
            } else if let path = namespace.path {
                plan.join.append(.init(kind: flag, source: .path(path)))
            } else {
                plan.create.insert(flag)
            }
        }
        if plan.create.contains(.user) {
            guard !spec.linux.uidMappings.isEmpty, !spec.linux.gidMappings.isEmpty else {
                throw LunetteError(.invalidArgument, "a user namespace needs id mappings", path: "linux.uidMappings")
            }
            plan.uidMappings = spec.linux.uidMappings
            plan.gidMappings = spec.linux.gidMappings
        } else if !spec.linux.uidMappings.isEmpty || !spec.linux.gidMappings.isEmpty {
            throw LunetteError(.invalidArgument, "id mappings need a user namespace of the container's own", path: "linux.uidMappings")
        }
        return plan
    }

    private static func flag(_ kind: RuntimeSpec.LinuxSection.NamespaceKind) -> NamespacePlan.Kinds? {
        switch kind {
        case .mount: .mount
        case .pid: .pid
        case .network: .network
        case .uts: .uts
        case .ipc: .ipc
        case .user: .user
        case .cgroup: .cgroup
        case .time: nil
        }
    }

    private mutating func addNames() throws(LunetteError) {
        let ownsNames = spec.linux.namespace(.uts).map { $0.path == nil } ?? false
        for (name, path) in [(spec.hostname, "hostname"), (spec.domainname, "domainname")] {
            guard let name else { continue }
            // Without a namespace of its own this would rename the host.
            guard ownsNames else { throw LunetteError(.invalidArgument, "needs a uts namespace of the container's own", path: path) }
            try Names.validateHostname(name, path: path)
            namespaceSteps.append(path == "hostname" ? .setHostname(name) : .setDomainname(name))
        }
        let joinsNetwork = inputs.joins.contains { $0.kind == .network }
        if let network = spec.linux.namespace(.network), network.path == nil, !joinsNetwork { namespaceSteps.append(.raiseLoopback) }
    }

    // MARK: Root

    private mutating func addRoot() throws(LunetteError) {
        let root: TreeSlot
        switch inputs.root {
        case .overlay(let store, let lowers, let upper, let work):
            guard !lowers.isEmpty else {
                throw LunetteError(.invalidArgument, "an image without layers has nothing to run", path: "root.path")
            }
            let storeSlot = try slot()
            hostSteps.append(
                .openTree(TreePlan(slot: storeSlot, source: store, mapping: mapping, attributes: [.nodev], expectation: .directory)))
            root = try slot()
            let base = spec.linux.uidMappings.first { $0.containerID == 0 }?.hostID ?? (hasUserNamespace ? inputs.joinedIDBase : nil) ?? 0
            let groupBase = spec.linux.gidMappings.first { $0.containerID == 0 }?.hostID ?? base
            hostSteps.append(
                .openOverlay(
                    OverlayPlan(
                        slot: root, store: storeSlot, lowers: lowers, upper: upper, work: work, attributes: [.nodev], ownerUID: base,
                        ownerGID: groupBase
                    )
                )
            )
        case .directory(let source):
            root = try slot()
            // What is mounted below it can't always be id-mapped (proc, NFS), so it stays behind then.
            hostSteps.append(
                .openTree(
                    TreePlan(
                        slot: root, source: source, recursive: !hasUserNamespace, mapping: mapping, attributes: [.nodev],
                        expectation: .directory))
            )
        }
        initSteps.append(.attachRoot(root))
    }

    // MARK: Mounts and devices

    private mutating func addMounts() throws(LunetteError) {
        var hasDevices = false
        for (index, mount) in spec.mounts.enumerated() {
            let path = "mounts[\(index + 1)]"
            let target = try ContainerPath.normalise(mount.destination, path: "\(path).destination")
            guard target != "/" else {
                throw LunetteError(.invalidArgument, "nothing can be mounted over the root", path: "\(path).destination")
            }
            let options = try MountOptions(mount.options, path: "\(path).options")
            if options.isBind || mount.type == "bind" {
                try addBind(mount, target, options, path)
            } else if mount.type == "cgroup" || mount.type == "cgroup2" {
                addCgroupView(target, options)
            } else {
                try addFilesystem(mount, target, options, path)
            }
            if target == "/dev" {
                try addDevices()
                hasDevices = true
            }
        }
        if !hasDevices { try addDevices() }
    }

    private mutating func addBind(
        _ mount: RuntimeSpec.MountEntry, _ target: String, _ options: MountOptions, _ path: String
    ) throws(LunetteError) {
        guard let source = mount.source, source.utf8.first == UInt8(ascii: "/"), !source.utf8.contains(0) else {
            throw LunetteError(.invalidArgument, "is required: an absolute host path", path: "\(path).source")
        }
        if let propagation = options.propagation, propagation != "private" {
            throw LunetteError(
                .unsupported, "mounts are always private to the container: \(propagation) isn't built", path: "\(path).options")
        }
        guard options.data.isEmpty else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(options.data[0].text, limit: 60))\" means nothing for a bind mount",
                path: "\(path).options")
        }
        let mapping: TreePlan.Mapping
        if !mount.uidMappings.isEmpty || !mount.gidMappings.isEmpty {
            mapping = .custom(uid: mount.uidMappings, gid: mount.gidMappings)
        } else {
            mapping = options.isIDMapped ? self.mapping : .none
        }
        let tree = try slot()
        let isOwnFile = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(target) && source.hasSuffix(target.dropFirst(4))
        hostSteps.append(
            .openTree(
                TreePlan(
                    slot: tree, source: .path(source), recursive: options.isRecursive, mapping: mapping, attributes: options.attributes,
                    expectation: isOwnFile ? .regularFile : .anything, refusesSymlinks: isOwnFile
                )
            )
        )
        let isSystem = target == "/sys" || target == "/proc" || target == "/dev"
        initSteps.append(.attach(AttachPlan(slot: tree, target: target, creation: .asSource, refusesSymlinks: isSystem)))
    }

    private mutating func addFilesystem(
        _ mount: RuntimeSpec.MountEntry, _ target: String, _ options: MountOptions, _ path: String
    ) throws(LunetteError) {
        guard let type = mount.type else { throw LunetteError(.invalidArgument, "is required", path: "\(path).type") }
        // Types that a user namespace may mount; a block device's file system would be the host's to mount.
        guard ["proc", "sysfs", "tmpfs", "devpts", "mqueue"].contains(type) else {
            throw LunetteError(
                .unsupported, "file systems of type \"\(displayable(type, limit: 40))\" aren't mounted for containers", path: "\(path).type"
            )
        }
        // The container's own file systems must stand where their names say (attack 10); a tmpfs of the user's follows the image's links.
        let isOwn =
            type != "tmpfs" || ContainerPath.isWithin(target, "/dev") || ContainerPath.isWithin(target, "/sys")
            || ContainerPath.isWithin(target, "/proc")
        initSteps.append(
            .mount(
                FilesystemPlan(type: type, target: target, options: options.data, attributes: options.attributes, refusesSymlinks: isOwn)
            )
        )
    }

    /// The container's own cgroup, read-only, where the JVM, Go and Node look for their limits.
    private mutating func addCgroupView(_ target: String, _ options: MountOptions) {
        switch inputs.cgroupView {
        case .none: return
        case .v2:
            initSteps.append(.mount(FilesystemPlan(type: "cgroup2", target: target, attributes: options.attributes, optional: true)))
        case .v1(let hierarchies):
            let attributes = options.attributes.subtracting(.readonly)
            initSteps.append(
                .mount(
                    FilesystemPlan(
                        type: "tmpfs", target: target, options: [.init("mode", "755"), .init("size", "64k")], attributes: attributes))
            )
            for hierarchy in hierarchies {
                let controllers = hierarchy.split(separator: ",").map(String.init)
                initSteps.append(
                    .mount(
                        FilesystemPlan(
                            type: "cgroup", target: "\(target)/\(hierarchy)", options: controllers.map { .init($0) },
                            attributes: options.attributes,
                            optional: true
                        )
                    )
                )
                if controllers.count > 1 {
                    for controller in controllers { initSteps.append(.makeSymlink(path: "\(target)/\(controller)", target: hierarchy)) }
                }
            }
            if options.attributes.contains(.readonly) {
                initSteps.append(.setMountAttributes(path: target, attributes: options.attributes, recursive: false))
            }
        }
    }

    private mutating func addDevices() throws(LunetteError) {
        var devices: [(source: String, target: String, expectation: TreePlan.Expectation)] = []
        for device in RuntimeDefaults.devices where !spec.linux.devices.contains(where: { $0.path == device.path }) {
            devices.append((device.path, device.path, .characterDevice(major: device.major, minor: device.minor)))
        }
        for (index, device) in spec.linux.devices.enumerated() {
            let path = "linux.devices[\(index + 1)]"
            let target = try ContainerPath.normalise(device.path, path: "\(path).path")
            let source = device.source ?? target
            guard device.type == "c" || device.type == "u" || device.type == "b" else {
                throw LunetteError(.unsupported, "only devices are bound, not pipes", path: "\(path).type")
            }
            let isCharacter = device.type != "b"
            guard let major = UInt32(exactly: device.major), let minor = UInt32(exactly: device.minor) else {
                throw LunetteError(.invalidArgument, "\(device.major):\(device.minor) is not a device's number", path: path)
            }
            devices.append((source, target, isCharacter ? .characterDevice(major: major, minor: minor) : .anything))
        }
        for device in devices {
            let tree = try slot()
            hostSteps.append(
                .openTree(
                    TreePlan(
                        slot: tree, source: .path(device.source), attributes: [.nosuid, .noexec], expectation: device.expectation,
                        refusesSymlinks: true)
                )
            )
            initSteps.append(.attach(AttachPlan(slot: tree, target: device.target, creation: .asSource, refusesSymlinks: true)))
        }
        for link in RuntimeDefaults.deviceLinks { initSteps.append(.makeSymlink(path: link.path, target: link.target)) }
    }

    private mutating func addSettings() {
        for key in spec.linux.sysctl.keys.sorted() {
            let value = spec.linux.sysctl[key]!
            initSteps.append(.writeSysctl(key: key, value: value, optional: RuntimeDefaults.networkSysctls[key] == value))
        }
    }
}

/// A mount's options in mount(8)'s words, sorted into what the kernel takes in different places.
struct MountOptions {
    var attributes: MountAttributes = []
    var isBind = false
    var isRecursive = false
    var isIDMapped = false
    /// `private`, `slave`, `shared`, `unbindable`.
    var propagation: String?
    /// What is the file system's own.
    var data: [FilesystemPlan.Option] = []

    init(_ options: [String], path: String) throws(LunetteError) {
        for option in options {
            switch option {
            case "bind": isBind = true
            case "rbind":
                isBind = true
                isRecursive = true
            case "ro", "rro": attributes.insert(.readonly)
            case "rw", "rrw": attributes.remove(.readonly)
            case "nosuid", "rnosuid": attributes.insert(.nosuid)
            case "suid", "rsuid": attributes.remove(.nosuid)
            case "nodev", "rnodev": attributes.insert(.nodev)
            case "dev", "rdev": attributes.remove(.nodev)
            case "noexec", "rnoexec": attributes.insert(.noexec)
            case "exec", "rexec": attributes.remove(.noexec)
            case "noatime", "rnoatime": attributes.insert(.noatime)
            case "strictatime", "rstrictatime": attributes.insert(.strictatime)
            case "nodiratime", "rnodiratime": attributes.insert(.nodiratime)
            case "nosymfollow", "rnosymfollow": attributes.insert(.nosymfollow)
            case "symfollow", "rsymfollow": attributes.remove(.nosymfollow)
            // The kernel's own way when nothing is said.
            case "relatime", "rrelatime", "atime", "ratime", "diratime", "rdiratime", "norelatime", "rnorelatime", "nostrictatime",
                "rnostrictatime", "defaults",
                "async", "silent", "loud":
                break
            case "private", "rprivate": propagation = "private"
            case "slave", "rslave": propagation = "slave"
            case "shared", "rshared": propagation = "shared"
            case "unbindable", "runbindable": propagation = "unbindable"
            case "idmap", "ridmap": isIDMapped = true
            default:
                guard !option.isEmpty, !option.utf8.contains(0) else {
                    throw LunetteError(.invalidArgument, "has an empty option or one with a NUL byte", path: path)
                }
                let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                data.append(.init(String(parts[0]), parts.count == 2 ? String(parts[1]) : nil))
            }
        }
    }
}
