/// What is mounted in the root: binds, file systems, the cgroup view.
extension LaunchPlanBuilder {
    mutating func addMounts() throws(LunetteError) {
        var hasDevices = false
        for (index, mount) in spec.mounts.enumerated() {
            let path = "mounts[\(index)]"
            let target = try destination(mount, path)
            guard target != "/" else {
                throw LunetteError(.invalidArgument, "nothing can be mounted over the root", path: "\(path).destination")
            }
            let options = try MountOptions(mount.options, path: "\(path).options")
            if options.isRemount {
                try refuseIdleRemount(options, target, before: index)
                let change = AttributeChange(
                    set: options.whole.set.union(options.top.set), clear: options.whole.clear.union(options.top.clear))
                initSteps.append(.setMountAttributes(path: target, change: change, recursive: false))
            } else if options.isBind || mount.type == "bind" {
                try addBind(mount, target, options, path)
            } else if mount.type == "cgroup" || mount.type == "cgroup2" {
                try addCgroupView(target, options)
            } else {
                try addFilesystem(mount, target, options, path)
            }
            note(path)
            if target == "/dev" {
                try addDevices(isMounted: !options.isBind && mount.type != "bind", binds: options.isBind || mount.type == "bind")
                hasDevices = true
            }
        }
        if !hasDevices { try addDevices(isMounted: false, binds: false) }
    }

    /// What would be dropped in silence: an option of the file system's own, and a change of nothing where nothing is mounted.
    private func refuseIdleRemount(_ options: MountOptions, _ target: String, before index: Int) throws(LunetteError) {
        let path = "mounts[\(index)]"
        if let option = options.data.first(where: { !MountOptions.superblockFlags.contains($0.key) || $0.value != nil }) {
            throw LunetteError(
                .unsupported, "\"\(displayable(option.text, limit: 60))\" can't be changed by a remount, which isn't built for it",
                path: "\(path).options", hint: "give it to the mount that is changed")
        }
        guard options.whole == AttributeChange(), options.top == AttributeChange() else { return }
        for (number, earlier) in spec.mounts[..<index].enumerated() {
            if try destination(earlier, "mounts[\(number)]") == target { return }
        }
        throw LunetteError(
            .invalidArgument, "remount: nothing is mounted on \(displayable(target, limit: 120))", path: "\(path).options",
            hint: "leave remount out to mount there")
    }

    /// Callers of older versions of the specification write relative ones, which start at the root.
    private func destination(_ mount: RuntimeSpec.MountEntry, _ path: String) throws(LunetteError) -> String {
        let isRelative = isHandover && mount.destination.utf8.first != UInt8(ascii: "/") && !mount.destination.isEmpty
        return try ContainerPath.normalise(isRelative ? "/" + mount.destination : mount.destination, path: "\(path).destination")
    }

    /// What lxcfs and its like emulate, as on every OCI runtime.
    private static let coverableInProc = [
        "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg", "/proc/slabinfo",
        "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
    ]

    /// What the kernel says there, programs inside believe, and a launch writes there (CVE-2019-16884).
    private func refuseInProc(_ target: String, _ path: String) throws(LunetteError) {
        guard ContainerPath.isWithin(target, "/proc"), !Self.coverableInProc.contains(target) else { return }
        throw LunetteError(
            .invalidArgument, "\(displayable(target, limit: 120)) lies in /proc, where nothing may be mounted",
            path: "\(path).destination", hint: "allowed are binds on " + Self.coverableInProc.joined(separator: ", "))
    }

    private mutating func addBind(
        _ mount: RuntimeSpec.MountEntry, _ target: String, _ options: MountOptions, _ path: String
    ) throws(LunetteError) {
        guard var source = mount.source, !source.isEmpty, !source.utf8.contains(0) else {
            throw LunetteError(.invalidArgument, "is required: a host path", path: "\(path).source")
        }
        // On /proc itself the shim looks at the source.
        if target != "/proc" { try refuseInProc(target, path) }
        if source.utf8.first != UInt8(ascii: "/") {
            guard let bundle = inputs.bundle else {
                throw LunetteError(.invalidArgument, "is required: an absolute host path", path: "\(path).source")
            }
            source = "\(bundle)/\(source)"
        }
        if let propagation = options.propagation, propagation != .private, !isHandover {
            throw LunetteError(
                .unsupported, "mounts are always private to the container: \(propagation.word) isn't built", path: "\(path).options")
        }
        // Flags of a file system as a whole; mount(2) passes over them, too, when it binds.
        let foreign = options.data.first { !isHandover || !MountOptions.superblockFlags.contains($0.key) || $0.value != nil }
        if let foreign {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(foreign.text, limit: 60))\" means nothing for a bind mount",
                path: "\(path).options")
        }
        let mapping: TreePlan.Mapping
        if !mount.uidMappings.isEmpty || !mount.gidMappings.isEmpty {
            mapping = .custom(uid: mount.uidMappings, gid: mount.gidMappings)
        } else {
            mapping = options.isIDMapped ? self.mapping : .none
        }
        if options.isIDMapped, mapping == .none {
            throw LunetteError(
                .invalidArgument, "an id-mapped mount needs uidMappings and gidMappings, or a user namespace", path: "\(path).options")
        }
        // Of a single mount, the top is the whole.
        let whole = AttributeChange(
            set: options.isRecursive ? options.whole.set : options.whole.set.union(options.top.set),
            clear: options.isRecursive ? options.whole.clear : options.whole.clear.union(options.top.clear))
        guard mapping == .none || inputs.mapsTrees else {
            throw LunetteError(.unsupported, "only the machine's root can id-map a tree of the host", path: "\(path).options")
        }
        var plan = TreePlan(slot: try slot(), source: .path(source))
        plan.recursive = options.isRecursive
        plan.mapping = mapping
        plan.attributes = whole.set
        plan.cleared = whole.clear
        if options.isRecursive { plan.top = options.top }
        plan.propagation = options.propagation ?? .private
        plan.mapsTopOnly = options.isRecursive && !options.mapsWhole && mapping != .none
        let isOwnFile =
            !isHandover && ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(target) && source.hasSuffix(target.dropFirst(4))
        if isOwnFile { (plan.expectation, plan.refusesSymlinks) = (.regularFile, true) }
        hostSteps.append(.openTree(plan))
        let isSystem = target == "/sys" || target == "/proc" || target == "/dev"
        initSteps.append(.attach(AttachPlan(slot: plan.slot, target: target, creation: .asSource, refusesSymlinks: isSystem)))
    }

    private mutating func addFilesystem(
        _ mount: RuntimeSpec.MountEntry, _ target: String, _ options: MountOptions, _ path: String
    ) throws(LunetteError) {
        guard let type = mount.type, !type.isEmpty else { throw LunetteError(.invalidArgument, "is required", path: "\(path).type") }
        // Types that a user namespace may mount; a block device's file system would be the host's to mount. Another runtime's caller may
        // ask for any, and the kernel decides.
        guard isHandover || ["proc", "sysfs", "tmpfs", "devpts", "mqueue"].contains(type) else {
            throw LunetteError(
                .unsupported, "file systems of type \"\(displayable(type, limit: 40))\" aren't mounted for containers", path: "\(path).type"
            )
        }
        guard !type.utf8.contains(0) else { throw LunetteError(.invalidArgument, "has a NUL byte", path: "\(path).type") }
        if type != "proc" || target != "/proc" { try refuseInProc(target, path) }
        // The container's own file systems must stand where their names say (attack 10); a tmpfs of the user's follows the image's links.
        let isOwn =
            type != "tmpfs" || ContainerPath.isWithin(target, "/dev") || ContainerPath.isWithin(target, "/sys")
            || ContainerPath.isWithin(target, "/proc")
        var data = options.data
        if isHandover, let source = mount.source, !source.isEmpty, source != "none" { data.insert(.init("source", source), at: 0) }
        if options.copiesUp, type != "tmpfs" {
            throw LunetteError(.invalidArgument, "tmpcopyup is for a tmpfs alone", path: "\(path).options")
        }
        initSteps.append(
            .mount(
                FilesystemPlan(
                    type: type, target: target, options: data, attributes: options.whole.set.union(options.top.set),
                    refusesSymlinks: isOwn, copiesUp: options.copiesUp, propagation: options.propagation ?? .unchanged)
            )
        )
    }

    /// The container's own cgroup, read-only, where the JVM, Go and Node look for their limits.
    private mutating func addCgroupView(_ target: String, _ options: MountOptions) throws(LunetteError) {
        let wanted = options.whole.set.union(options.top.set)
        // Without a cgroup namespace a new mount would show the whole machine's: the container's own folder is bound instead.
        let binds = isHandover && spec.linux.namespace(.cgroup) == nil
        switch inputs.cgroupView {
        case .none: return
        case .v2:
            if binds, let source = inputs.cgroupV2 {
                try bindCgroup(source, target, wanted)
            } else {
                initSteps.append(.mount(FilesystemPlan(type: "cgroup2", target: target, attributes: wanted, optional: !isHandover)))
            }
        case .v1(let hierarchies):
            initSteps.append(
                .mount(
                    FilesystemPlan(
                        type: "tmpfs", target: target, options: [.init("mode", "755"), .init("size", "64k")],
                        attributes: wanted.subtracting(.readonly)))
            )
            for hierarchy in hierarchies {
                let controllers = hierarchy.split(separator: ",").map(String.init)
                let place = "\(target)/\(hierarchy)"
                if binds {
                    guard let source = inputs.cgroupsV1.first(where: { $0.hasPrefix("/sys/fs/cgroup/\(hierarchy)/") }) else { continue }
                    try bindCgroup(source, place, wanted)
                } else {
                    initSteps.append(
                        .mount(
                            FilesystemPlan(
                                type: "cgroup", target: place, options: controllers.map { .init($0) }, attributes: wanted, optional: true))
                    )
                }
                if controllers.count > 1 {
                    for controller in controllers { initSteps.append(.makeSymlink(path: "\(target)/\(controller)", target: hierarchy)) }
                }
            }
            if wanted.contains(.readonly) {
                initSteps.append(.setMountAttributes(path: target, change: AttributeChange(set: wanted), recursive: false))
            }
        }
    }

    private mutating func bindCgroup(_ source: String, _ target: String, _ attributes: MountAttributes) throws(LunetteError) {
        let tree = try slot()
        hostSteps.append(.openTree(TreePlan(slot: tree, source: .path(source), attributes: attributes, expectation: .directory)))
        initSteps.append(.attach(AttachPlan(slot: tree, target: target, creation: .asSource, refusesSymlinks: true)))
    }
}
