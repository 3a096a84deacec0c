/// Turns a sandbox's spec and what the machine says into the plan that `lunette-shim` carries out. Pure: golden tests hold it.
///
/// The root is a small tmpfs, read-only when it is done; host trees are attached where they stand on the host, so that every path means the
/// same inside and outside. What no rule names is not there.
package struct SandboxPlanner {
    let spec: SandboxSpec
    let facts: SandboxFacts
    let view: SandboxView
    private var hostSteps: [LaunchStep] = []
    private var initSteps: [LaunchStep] = []
    private var layers: [LaunchStep] = []
    private var nextSlot: TreeSlot = 0

    /// - Throws: `invalid_argument` with the rule's path for what makes no sense; `unsupported` for what a sandbox can't be given.
    package static func plan(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) -> LaunchPlan {
        var planner = SandboxPlanner(spec: spec, facts: facts, view: try SandboxView(spec, facts))
        try planner.addSteps()
        var plan = LaunchPlan(containerID: "sandbox", steps: planner.steps, process: planner.process, monitor: planner.monitor)
        plan.attended = AttendedPlan(listener: spec.reportsDenied ? facts.listenerProgram : [])
        return plan
    }

    private init(spec: SandboxSpec, facts: SandboxFacts, view: SandboxView) {
        self.spec = spec
        self.facts = facts
        self.view = view
    }

    private var steps: [LaunchStep] {
        var namespace: [LaunchStep] = [.setHostname(spec.hostname)]
        if spec.network == .none { namespace.append(.raiseLoopback) }
        return hostSteps + layers + namespace + initSteps
    }

    private mutating func slot() throws(LunetteError) -> TreeSlot {
        guard nextSlot < TreeSlot.limit else {
            throw LunetteError(.resourceExhausted, "more than \(TreeSlot.limit) rules, preset files and devices in one sandbox")
        }
        defer { nextSlot += 1 }
        return nextSlot
    }

    private mutating func addSteps() throws(LunetteError) {
        var kinds: NamespacePlan.Kinds = [.mount, .user, .pid, .ipc, .uts, .cgroup]
        if spec.network == .none { kinds.insert(.network) }
        // One id, the caller's own: whoever it is outside, it is inside, and it has no capability on either side.
        let uid = [IDMapping(containerID: facts.uid, hostID: facts.uid, size: 1)]
        var gid = [IDMapping(containerID: facts.gid, hostID: facts.gid, size: 1)]
        // Root's stages act as group 0.
        if facts.isPrivileged, facts.gid != 0 { gid.insert(IDMapping(containerID: 0, hostID: 0, size: 1), at: 0) }
        hostSteps.append(.namespaces(NamespacePlan(create: kinds, uidMappings: uid, gidMappings: gid)))
        if !facts.isPrivileged {
            hostSteps.append(.rootless(RootlessPlan(usesUserAttributes: true, keepsGroups: true)))
            hostSteps.append(.treesInside)
        }
        if case .cgroup(let v1, let v2, _) = facts.limits { hostSteps.append(.joinCgroups(v1: v1, v2: v2)) }

        initSteps.append(.makeRoot(MakeRootPlan(size: 1 << 20, inodes: 8192)))
        for entry in view.system { try add(entry) }
        var proc: MountAttributes = [.nosuid, .nodev, .noexec]
        // The kernel lets root write its settings, and change modes and owners in every procfs at once, by its number alone, without asking
        // for a capability (proc_sys_permission, proc_notify_change).
        if facts.uid == 0 { proc.insert(.readonly) }
        initSteps.append(.mount(FilesystemPlan(type: "proc", target: "/proc", attributes: proc)))
        try addDevices()
        for item in view.mounts { try add(item) }
        for link in view.links { initSteps.append(.makeSymlink(path: link.path, target: link.target)) }
        initSteps.append(.pivotRoot)
        for path in view.hidden { initSteps.append(.maskPath(path, goesThroughNoLink: true)) }
        if facts.uid == 0 {
            for path in RuntimeDefaults.maskedPaths where path.hasPrefix("/proc/") { initSteps.append(.maskPath(path)) }
        }
        initSteps.append(.makeRootReadonly)
    }

    private mutating func add(_ entry: SandboxFacts.SystemEntry) throws(LunetteError) {
        switch entry {
        case .link(let path, let target): initSteps.append(.makeSymlink(path: path, target: target))
        case .tree(let path, let kind):
            try attach(path, kind, [.readonly, .nosuid, .nodev])
        }
    }

    private mutating func attach(
        _ path: String, _ kind: SandboxFacts.Kind, _ attributes: MountAttributes, _ expectation: TreePlan.Expectation? = nil
    ) throws(LunetteError) {
        let tree = try slot()
        var plan = TreePlan(
            slot: tree, source: .path(path), recursive: kind == .directory, attributes: attributes, expectation: expectation ?? .anything)
        // A rule's path has no link in it; of the system's own, which root alone changes, some files are links.
        plan.goesThroughNoLink = expectation != nil
        hostSteps.append(.openTree(plan))
        initSteps.append(.attach(AttachPlan(slot: tree, target: path, refusesSymlinks: expectation != nil)))
    }

    private mutating func add(_ item: SandboxView.Item) throws(LunetteError) {
        switch item.access {
        case .read: try attach(item.path, item.kind, [.readonly, .nosuid, .nodev], item.expectation)
        case .write: try attach(item.path, item.kind, [.nosuid, .nodev], item.expectation)
        case .layer:
            let lower = try slot()
            let layer = try slot()
            var plan = TreePlan(slot: lower, source: .path(item.path), attributes: [.nosuid, .nodev], expectation: item.expectation)
            plan.goesThroughNoLink = true
            hostSteps.append(.openTree(plan))
            layers.append(.openPrivateLayer(PrivateLayerPlan(slot: layer, lower: lower, size: UInt64(facts.scratch))))
            initSteps.append(.attach(AttachPlan(slot: layer, target: item.path, refusesSymlinks: true)))
        case .memory(let size, let mode):
            var options: [FilesystemPlan.Option] = [.init("mode", String(mode, radix: 8))]
            let size = size ?? facts.scratch
            if size > 0 {
                options.append(.init("size", String(size)))
                // Files cost the kernel memory that the size doesn't count: a million empty ones, a gigabyte.
                options.append(.init("nr_inodes", String(max(16384, size >> 14))))
            }
            initSteps.append(
                .mount(
                    FilesystemPlan(
                        type: "tmpfs", target: item.path, options: options, attributes: [.nosuid, .nodev], refusesSymlinks: false))
            )
        }
    }

    /// Nodes lie on the root itself, which nobody inside can write: no tmpfs of their own to fill.
    private mutating func addDevices() throws(LunetteError) {
        var devices = RuntimeDefaults.devices.map {
            (path: $0.path, expectation: TreePlan.Expectation.characterDevice(major: $0.major, minor: $0.minor))
        }
        for device in facts.devices {
            guard case .characterDevice(let major, let minor) = device.kind else {
                throw LunetteError(.invalidArgument, "\(displayable(device.path)) is no character device", path: "devices")
            }
            devices.append((device.path, .characterDevice(major: major, minor: minor)))
        }
        for device in devices {
            let tree = try slot()
            hostSteps.append(
                .openTree(
                    TreePlan(
                        slot: tree, source: .path(device.path), attributes: .ofNode, expectation: device.expectation,
                        refusesSymlinks: true)))
            initSteps.append(.attach(AttachPlan(slot: tree, target: device.path, refusesSymlinks: true)))
        }
        for link in RuntimeDefaults.deviceLinks { initSteps.append(.makeSymlink(path: link.path, target: link.target)) }
        initSteps.append(
            .mount(
                FilesystemPlan(
                    type: "devpts", target: "/dev/pts", options: [.init("newinstance"), .init("ptmxmode", "0666"), .init("mode", "0620")],
                    attributes: [.nosuid, .noexec])))
        initSteps.append(
            .mount(
                FilesystemPlan(
                    type: "tmpfs", target: "/dev/shm",
                    options: [
                        .init("mode", "1777"), .init("size", String(spec.resources.shmSize ?? ResourceSpec.defaultShmSize)),
                        .init("nr_inodes", "16384"),
                    ],
                    attributes: [.nosuid, .nodev, .noexec])))
    }

    // MARK: The program

    private var process: ProcessPlan {
        var process = ProcessPlan(
            arguments: spec.args, environment: SandboxEnvironment.list(spec, facts), workingDirectory: view.workdir,
            user: "\(facts.uid):\(facts.gid)", rlimits: SandboxLimits.rlimits(spec, facts), capabilities: CapabilityPlan(),
            noNewPrivileges: true, seccompProgram: facts.seccompProgram, terminal: facts.terminal != nil,
            terminalRows: facts.terminal?.rows ?? 0, terminalColumns: facts.terminal?.columns ?? 0, stdin: true)
        if spec.hasLandlock, facts.landlockABI > 0 { process.landlock = view.landlock(spec, facts) }
        return process
    }

    private var monitor: MonitorPlan {
        var monitor = MonitorPlan(log: false)
        if case .cgroup(_, _, let file) = facts.limits { monitor.oomEvents = file }
        return monitor
    }
}

/// The variables of a sandboxed program: a clean set, then what was asked for.
enum SandboxEnvironment {
    /// What a terminal program needs to show itself rightly; tells nothing secret.
    static let handedOn = ["TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "NO_COLOR"]

    static func list(_ spec: SandboxSpec, _ facts: SandboxFacts) -> [String] {
        var variables: [String: String] = [:]
        for (name, value) in facts.environment {
            let passes = spec.inheritsWholeEnv || handedOn.contains(name) || name.hasPrefix("LC_") || spec.inheritEnv.contains(name)
            if passes { variables[name] = value }
        }
        // Before what the user says, after what comes along.
        if !spec.inheritsWholeEnv { variables["PATH"] = RuntimeDefaults.path }
        variables["HOME"] = facts.home
        variables["TMPDIR"] = "/tmp"
        variables["USER"] = facts.userName
        variables["LOGNAME"] = facts.userName
        for name in spec.inheritEnv { if let value = facts.environment[name] { variables[name] = value } }
        for (name, value) in spec.env { variables[name] = value }
        return variables.keys.sorted().map { "\($0)=\(variables[$0]!)" }
    }
}

/// Limits of each process, where no cgroup holds them for all together.
enum SandboxLimits {
    private static let data: UInt32 = 2
    private static let processes: UInt32 = 6

    /// - Returns: for an ordinary user: tasks, which the kernel counts in the sandbox's own user namespace (Linux 5.14), and without a cgroup
    ///   memory of each process. Root's tasks are not counted.
    static func rlimits(_ spec: SandboxSpec, _ facts: SandboxFacts) -> [ResourceLimit] {
        guard facts.uid != 0 else { return [] }
        var limits: [ResourceLimit] = []
        func add(_ resource: UInt32, _ wanted: Int64?) {
            guard let wanted, wanted >= 0 else { return }
            let value = min(UInt64(wanted), facts.hardLimits[resource] ?? .max)
            limits.append(ResourceLimit(resource: resource, soft: value, hard: value))
        }
        if case .none = facts.limits { add(data, spec.resources.memory) }
        add(processes, spec.resources.pids ?? ResourceSpec.defaultPids)
        return limits
    }
}
