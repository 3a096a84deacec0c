/// What the planner needs beside the runtime spec: where storage lies, what exists already, what was compiled. Everything is resolved.
package struct LaunchInputs: Sendable, Hashable {
    /// Where the root file system comes from.
    package enum Root: Sendable, Hashable {
        /// Layers (top first), upper and work as paths below one tree of the host, which is cloned and id-mapped as one.
        case overlay(store: HostSource, lowers: [String], upper: String, work: String)
        /// A folder of the host as it stands.
        case directory(HostSource)
    }

    /// How the container's cgroup is shown at /sys/fs/cgroup.
    package enum CgroupView: Sendable, Hashable {
        case none
        case v2
        /// One entry a hierarchy, as its controllers are mounted together: `memory`, `cpu,cpuacct`.
        case v1([String])
    }

    package var containerID: String
    package var root: Root
    /// Directories of v1 hierarchies, which exist.
    package var cgroupsV1: [String]
    package var cgroupV2: String?
    package var cgroupView: CgroupView
    /// Descriptors for namespaces that the spec joins; without one the spec's path is used.
    package var joins: [NamespacePlan.Join]
    /// The host id of the container's 0 when the user namespace is another container's.
    package var joinedIDBase: UInt32?
    /// Namespaces that the spec joins by path and that are the caller's own all the same: their settings are the host's.
    package var hostNamespaces: NamespacePlan.Kinds = []
    package var seccompProgram: [UInt8]
    package var seccompFlags: UInt64
    /// For a program that notifies: `SeccompListenerPlan.init(_:…)`.
    package var seccompListener: SeccompListenerPlan?
    package var monitor: MonitorPlan
    package var keepsStdinOpen: Bool
    /// Given: the spec is another program's, obeyed word for word, and that program looks after the container.
    package var handover: HandoverPlan?
    /// The bundle's absolute path, where relative bind sources start.
    package var bundle: String?
    /// Capabilities that whoever launches has to give, by number. What it lacks can't be granted outside a user namespace and is left out,
    /// as config.md asks ("Runtimes SHOULD NOT fail"); `LaunchPlanner.ungranted` names it.
    package var grantable = UInt64.max
    /// nil for the machine's root.
    package var rootless: RootlessPlan?
    /// Whether trees of the host can be id-mapped and device nodes be made: only by the machine's root.
    package var mapsTrees = true
    /// Whoever launches may open no trees on the host: `LaunchStep.treesInside`.
    package var treesInside = false
    /// No program: the container's only process is the shim's own, which waits (a pod). The plan's arguments are empty then.
    package var holdsNamespaces = false

    package init(
        containerID: String, root: Root, cgroupsV1: [String] = [], cgroupV2: String? = nil, cgroupView: CgroupView = .none,
        joins: [NamespacePlan.Join] = [], joinedIDBase: UInt32? = nil, seccompProgram: [UInt8] = [], seccompFlags: UInt64 = 0,
        monitor: MonitorPlan = MonitorPlan(), keepsStdinOpen: Bool = false, handover: HandoverPlan? = nil, bundle: String? = nil
    ) {
        self.handover = handover
        self.bundle = bundle
        self.containerID = containerID
        self.root = root
        self.cgroupsV1 = cgroupsV1
        self.cgroupV2 = cgroupV2
        self.cgroupView = cgroupView
        self.joins = joins
        self.joinedIDBase = joinedIDBase
        self.seccompProgram = seccompProgram
        self.seccompFlags = seccompFlags
        self.monitor = monitor
        self.keepsStdinOpen = keepsStdinOpen
    }
}

extension LaunchInputs {
    /// What a hook reads of the container at a point of its life, without the pid.
    func document(_ status: ContainerDocument.Status, annotations: [String: String] = [:]) -> ContainerDocument {
        ContainerDocument(id: containerID, status: status, bundle: bundle ?? "/", annotations: annotations)
    }
}

/// Turns a runtime spec into the list of steps that `lunette-shim` carries out. A pure function: no file is read, nothing is asked.
///
/// The order is that of docs/launch-plan.md: namespaces, cgroups, detached trees; host name and loopback; root, mounts, devices, settings;
/// pivot; masks. What the spec asks for and a plan can't say is refused by name, never left out.
package enum LaunchPlanner {
    /// - Throws: `invalid_argument` with the field's path for a spec that makes no sense; `unsupported` for what can't be planned.
    package static func plan(_ spec: RuntimeSpec, _ inputs: LaunchInputs) throws(LunetteError) -> LaunchPlan {
        try refuseUnplannable(spec, inputs)
        var builder = LaunchPlanBuilder(spec: spec, inputs: inputs)
        try builder.build()
        var plan = LaunchPlan(
            containerID: inputs.containerID, steps: builder.steps.flatMap(\.steps),
            process: try process(spec, inputs), monitor: inputs.monitor, handover: inputs.handover
        )
        plan.fields = builder.steps.flatMap(\.fields)
        return plan
    }

    /// Plans one more process in a running container: what `exec` says, and the container's own words for the rest.
    package static func exec(
        _ exec: ExecSpec, in spec: RuntimeSpec, seccompProgram: [UInt8], seccompFlags: UInt64 = 0, cgroupsV1: [String] = [],
        cgroupV2: String? = nil, seccompListener: SeccompListenerPlan? = nil, hasStdin: Bool = false, rows: UInt16 = 0, columns: UInt16 = 0
    ) throws(LunetteError) -> ExecPlan {
        guard var section = spec.process else { throw LunetteError(.invalidArgument, "is required", path: "process") }
        section.args = exec.args
        if let workdir = exec.workdir { section.cwd = workdir }
        if let user = exec.user {
            let hasUserNamespace = spec.linux.namespace(.user) != nil
            if hasUserNamespace, user.largestID >= 65536 {
                throw LunetteError(.invalidArgument, "\(user) is outside the container's 65536 ids", path: "user")
            }
            section.user = .init(user)
        }
        section.terminal = exec.hasTerminal
        let changed = Set(exec.env.keys)
        section.env.removeAll { entry in
            let name = String(Substring(entry.utf8.prefix { $0 != UInt8(ascii: "=") }))
            // HOME is another user's; the shim finds the right one.
            return changed.contains(name) || (name == "HOME" && exec.user != nil)
        }
        for name in exec.env.keys.sorted() { section.env.append("\(name)=\(exec.env[name]!)") }
        if exec.hasTerminal, !section.env.contains(where: { $0.utf8.starts(with: "TERM=".utf8) }) { section.env.append("TERM=xterm") }
        var plan = processPlan(section, program: seccompProgram, flags: seccompFlags)
        plan.seccompListener = seccompListener
        plan.stdin = hasStdin || exec.hasTerminal
        plan.terminalRows = rows
        plan.terminalColumns = columns
        return ExecPlan(process: plan, cgroupsV1: cgroupsV1, cgroupV2: cgroupV2)
    }

    private static func process(_ spec: RuntimeSpec, _ inputs: LaunchInputs) throws(LunetteError) -> ProcessPlan {
        guard let section = spec.process else { throw LunetteError(.invalidArgument, "is required", path: "process") }
        guard !section.args.isEmpty || inputs.holdsNamespaces else {
            throw LunetteError(.invalidArgument, "is required: the program and its arguments", path: "process.args")
        }
        var plan = processPlan(section, program: inputs.seccompProgram, flags: inputs.seccompFlags)
        if spec.linux.namespace(.user) == nil { plan.capabilities.limit(to: inputs.grantable) }
        plan.seccompListener = inputs.seccompListener
        try requireListener(spec, inputs.seccompListener)
        plan.stdin = inputs.keepsStdinOpen || section.terminal
        plan.terminalRows = section.consoleSize.map { UInt16(clamping: $0.height) } ?? 0
        plan.terminalColumns = section.consoleSize.map { UInt16(clamping: $0.width) } ?? 0
        // What `execCPUAffinity` says is for execs.
        plan.scheduling.affinity = nil
        plan.scheduling.personality = spec.linux.personality
        plan.scheduling.memoryPolicy = spec.linux.memoryPolicy
        let state = inputs.document(.created, annotations: spec.annotations).template
        plan.startHooks = spec.hooks.startContainer.map { HookPlan(hook: $0, state: state) }
        return plan
    }

    /// Plans one more process from a process section of its own: OCI's `exec`.
    ///
    /// - Parameter spec: the container's, for what every process of it has (personality, memory policy).
    /// - Throws: `invalid_argument` without a program.
    package static func exec(
        _ section: RuntimeSpec.ProcessSection, in spec: RuntimeSpec, seccompProgram: [UInt8], seccompFlags: UInt64 = 0,
        cgroupsV1: [String] = [], cgroupV2: String? = nil, grantable: UInt64 = .max, seccompListener: SeccompListenerPlan? = nil,
        rootless: RootlessPlan? = nil, handover: HandoverPlan
    ) throws(LunetteError) -> ExecPlan {
        try requireListener(spec, seccompListener)
        guard !section.args.isEmpty else {
            throw LunetteError(.invalidArgument, "is required: the program and its arguments", path: "process.args")
        }
        var plan = processPlan(section, program: seccompProgram, flags: seccompFlags)
        if spec.linux.namespace(.user) == nil { plan.capabilities.limit(to: grantable) }
        plan.seccompListener = seccompListener
        plan.stdin = true
        plan.terminalRows = section.consoleSize.map { UInt16(clamping: $0.height) } ?? 0
        plan.terminalColumns = section.consoleSize.map { UInt16(clamping: $0.width) } ?? 0
        plan.scheduling.personality = spec.linux.personality
        plan.scheduling.memoryPolicy = spec.linux.memoryPolicy
        var exec = ExecPlan(process: plan, cgroupsV1: cgroupsV1, cgroupV2: cgroupV2)
        exec.rootless = rootless
        exec.handover = handover
        exec.handover?.kinds = spec.linux.namespaces.reduce(into: NamespacePlan.Kinds()) { $0.insert(LaunchPlanBuilder.flag($1.kind)) }
        return exec
    }

    /// What a process section asks for and nobody here can give, for a warning.
    package static func ungranted(_ section: RuntimeSpec.ProcessSection, in spec: RuntimeSpec, grantable: UInt64) -> [Capability] {
        guard spec.linux.namespace(.user) == nil, let sets = section.capabilities else { return [] }
        let asked = Set(sets.bounding + sets.effective + sets.permitted + sets.inheritable + sets.ambient)
        return asked.filter { [$0].mask & grantable == 0 }.sorted()
    }

    /// A filter that asks nobody would have the kernel answer ENOSYS.
    private static func requireListener(_ spec: RuntimeSpec, _ listener: SeccompListenerPlan?) throws(LunetteError) {
        guard case .profile(let profile)? = spec.linux.seccomp, profile.notifies, listener == nil else { return }
        throw LunetteError(.internal, "the listener was left out of the plan", path: "linux.seccomp.listenerPath")
    }

    private static func processPlan(_ section: RuntimeSpec.ProcessSection, program: [UInt8], flags: UInt64) -> ProcessPlan {
        let sets = section.capabilities ?? .init([])
        var plan = ProcessPlan(
            arguments: section.args, environment: section.env, workingDirectory: section.cwd, user: section.user.text,
            additionalGroups: section.user.additionalGids.map(String.init), umask: section.user.umask ?? 0o022,
            rlimits: section.rlimits.map { ResourceLimit(resource: $0.resource, soft: $0.soft, hard: $0.hard) },
            capabilities: CapabilityPlan(
                bounding: sets.bounding.mask, effective: sets.effective.mask, permitted: sets.permitted.mask,
                inheritable: sets.inheritable.mask,
                // The kernel raises only what is permitted and inheritable (capabilities(7)); `runc spec` asks for more.
                ambient: sets.ambient.mask & sets.permitted.mask & sets.inheritable.mask
            ),
            noNewPrivileges: section.noNewPrivileges, seccompProgram: program, seccompFlags: flags, terminal: section.terminal
        )
        plan.scheduling.scheduler = section.scheduler
        plan.scheduling.ioPriority = section.ioPriority
        plan.scheduling.affinity = section.execCPUAffinity
        return plan
    }

    /// A setting that would silently not hold is worse than an error.
    private static func refuseUnplannable(_ spec: RuntimeSpec, _ inputs: LaunchInputs) throws(LunetteError) {
        if inputs.handover == nil, !spec.hooks.isEmpty {
            throw LunetteError(
                .unsupported, "OCI hooks are run by lunette-oci alone", path: "hooks",
                hint: "lunette.before and lunette.on are the engine's")
        }
        if let rdt = spec.linux.other["intelRdt"], !rdt.isNull {
            throw LunetteError(.unsupported, "resource control (resctrl) isn't built", path: "linux.intelRdt")
        }
        if let profile = spec.process?.apparmorProfile, !profile.isEmpty {
            throw LunetteError(.unsupported, "AppArmor profiles aren't built", path: "process.apparmorProfile")
        }
        if let label = spec.process?.selinuxLabel, !label.isEmpty {
            throw LunetteError(.unsupported, "SELinux labels aren't built", path: "process.selinuxLabel")
        }
        if let label = spec.linux.mountLabel, !label.isEmpty {
            throw LunetteError(.unsupported, "SELinux labels aren't built", path: "linux.mountLabel")
        }
        if inputs.handover == nil {
            if let propagation = spec.linux.rootfsPropagation, propagation != "private" {
                throw LunetteError(.unsupported, "a container's root is always private", path: "linux.rootfsPropagation")
            }
            if let name = spec.process?.capabilities?.unknown.first {
                throw LunetteError(
                    .invalidArgument, "\"\(displayable(name, limit: 40))\" is not a capability", path: "process.capabilities")
            }
        }
    }
}
