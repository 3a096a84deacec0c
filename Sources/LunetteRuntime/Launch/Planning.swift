internal import LunetteLinux
package import LunetteSpec

extension ContainerRuntime {
    /// The OCI runtime spec of a request on this machine. Reads the machine, changes nothing. Blocks.
    func runtimeSpec(_ request: CreateRequest) throws(LunetteError) -> RuntimeSpec {
        try checkLimits(request.spec.rlimits)
        var spec = try RuntimeSpec(container: request.spec, image: request.image, facts: try facts(request))
        if let size = request.io.size { spec.process?.consoleSize = .init(height: UInt32(size.rows), width: UInt32(size.columns)) }
        return spec
    }

    /// The kernel would say EPERM of all of them, whichever it was.
    private func checkLimits(_ limits: [Rlimit]) throws(LunetteError) {
        for limit in limits {
            var most: (UInt64, why: String, hint: String)?
            if let own = machine.hardLimits[limit.resource] {
                most = (
                    own, "the engine's own hard limit is", "raise that where the engine starts (ulimit -H, limits.conf), or ask for less"
                )
            } else if limit.name == "nofile", let text = readSmallFile("/proc/sys/fs/nr_open"), let bound = UInt64(text.trimmed) {
                most = (bound, "the kernel's bound (fs.nr_open) is", "ask for less, or raise the bound: sysctl -w fs.nr_open=NUMBER")
            }
            guard let (bound, why, hint) = most, limit.hard > bound else { continue }
            let asked = limit.hard == Rlimit.infinity ? "no limit" : "\(limit.hard)"
            throw LunetteError(.denied, "\(limit.name) can't be \(asked): \(why) \(bound)", path: "spec.rlimits.\(limit.name)", hint: hint)
        }
    }

    /// The printable launch plan of a request (`inspect --launch-plan`) and its runtime spec. Changes nothing.
    package func describeLaunch(_ request: CreateRequest) async throws(LunetteError) -> (plan: String, spec: Value) {
        try await blocking { [self] () throws(LunetteError) in
            let spec = try runtimeSpec(request)
            return (try plan(request, spec).plan.description, spec.value)
        }
    }

    /// With one id the launch keeps the groups that it has (setgroups(2) is denied there): those that were asked for would be dropped unsaid.
    package static func refuse(groups: [UInt32]) throws(LunetteError) {
        guard !groups.isEmpty else { return }
        throw LunetteError(
            .unsupported, "add the groups \(groups.map(String.init).joined(separator: ", ")): the engine's user has one id and no other",
            path: "spec.oci.process.user.additionalGids", hint: "give the user ranges in /etc/subuid and /etc/subgid (docs/rootless.md)")
    }

    /// Asks the pure planner for the container's plan. Its cgroup need not exist yet.
    func plan(_ request: CreateRequest, _ spec: RuntimeSpec) throws(LunetteError) -> LaunchInput {
        if userNamespace.isSingle { try Self.refuse(groups: spec.process?.user.additionalGids ?? []) }
        let places = ContainerPlaces(configuration, id: request.id)
        let cgroup = cgroups.container(request.id)
        let program = try seccomp.program(for: spec)
        var input = LaunchInputs(
            containerID: request.id, root: try root(request, places), cgroupsV1: cgroup.version == .v1 ? cgroup.paths : [],
            cgroupV2: cgroup.version == .v2 ? cgroup.paths.first : nil, joinedIDBase: request.idRange?.first, seccompProgram: program.bytes,
            seccompFlags: program.flags, keepsStdinOpen: request.spec.hasStdin)
        // Without a cgroup of its own, the container would see its user's.
        input.cgroupView =
            cgroup.directories.isEmpty
            ? .none : cgroup.version == .v2 ? .v2 : .v1(cgroup.directories.map { $0.controllers.joined(separator: ",") })
        if !userNamespace.isInitial {
            input.rootless = RootlessPlan(usesUserAttributes: true, keepsGroups: userNamespace.isSingle)
            input.mapsTrees = false
        }
        input.holdsNamespaces = request.spec.isPod
        input.monitor = MonitorPlan(
            initProcess: request.spec.hasInit, logMaximumSize: UInt64(clamping: request.spec.log.maximumSize),
            logMaximumFiles: UInt64(clamping: request.spec.log.maximumFiles), oomEvents: cgroup.outOfMemoryFile)
        var passed: [FileDescriptor] = []
        for (kind, process) in joins(request) {
            input.joins.append(.init(kind: kind.cloneFlag, source: .passed(passed.count)))
            passed.append(try Self.openNamespace(kind, of: process))
        }
        var plan = try LaunchPlanner.plan(spec, input)
        try Self.confine(&plan.process, by: request.spec)
        return LaunchInput(id: request.id, plan: plan, passed: passed, cgroup: cgroup)
    }

    /// Adds `security.landlock`, and to the filter what its ports take.
    /// - Throws: `unsupported` when all of it must hold and this kernel can't.
    static func confine(_ process: inout ProcessPlan, by spec: ContainerSpec) throws(LunetteError) {
        guard let landlock = spec.security.landlock else { return }
        if landlock.isRequired, let missing = landlock.notEnforced(abi: Landlock.abi).first {
            throw LunetteError(
                .unsupported, "not enforced: \(missing.text)", path: "security.landlock",
                hint: "leave out required to run without that part")
        }
        process.landlock = landlock.plan
        if landlock.plan.handledPorts != [] { process.seccompProgram = SeccompCompiler.holdingPorts(process.seccompProgram) }
    }

    private func root(_ request: CreateRequest, _ places: ContainerPlaces) throws(LunetteError) -> LaunchInputs.Root {
        switch request.root {
        case .directory(let path): return .directory(.path(path))
        case .empty: return .directory(.path("\(places.storage)/root"))
        case .layers(let layers):
            // One detached, id-mapped clone of the engine's root serves layers, upper and work: all are named below it.
            let prefix = configuration.root + "/"
            var lowers: [String] = []
            for layer in layers {
                guard layer.hasPrefix(prefix) else {
                    throw LunetteError(.internal, "layer \(layer) is not below \(configuration.root)", target: request.id)
                }
                lowers.append(String(layer.dropFirst(prefix.count)))
            }
            let own = "containers/\(request.id)"
            return .overlay(store: .path(configuration.root), lowers: lowers, upper: "\(own)/upper", work: "\(own)/work")
        }
    }

    /// A namespace of a process that is proven to be the one that was meant.
    private static func openNamespace(
        _ kind: RuntimeSpec.LinuxSection.NamespaceKind, of process: ProcessIdentity
    ) throws(LunetteError) -> FileDescriptor {
        let gone = LunetteError(
            .invalidState, "join the \(kind.rawValue) namespace of process \(process.pid): the container isn't running any more")
        let path = "/proc/\(process.pid)/ns"
        let descriptor: FileDescriptor
        do throws(SystemCallError) { descriptor = try Directory(path).open(kind.procName, scope: []) } catch {
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.noProcess { throw gone }
            throw error.lunette
        }
        // Compared after the opening: still the same process now, so what was opened is its.
        guard process.isAlive else { throw gone }
        return descriptor
    }
}

extension RuntimeSpec.LinuxSection.NamespaceKind {
    var cloneFlag: NamespacePlan.Kinds {
        switch self {
        case .mount: .mount
        case .pid: .pid
        case .network: .network
        case .uts: .uts
        case .ipc: .ipc
        case .user: .user
        case .cgroup: .cgroup
        case .time: []
        }
    }
}

extension Container {
    /// Runs one more process; returns when its program runs.
    /// - Throws: as `start`.
    package func exec(_ request: ExecRequest) async throws(LunetteError) -> ExecProcess {
        let cgroup = cgroup
        let first = record.initProcess?.pid
        let plan = try await blocking { [runtime, id] () throws(LunetteError) in
            // Only the process section counts: what the machine says about root and mounts doesn't matter to an exec.
            let range: Range<UInt32>? = request.container.security.hasUserNamespace ? 0..<65536 : nil
            var bare = request.container
            bare.mounts = []
            bare.devices = []
            let facts = HostFacts(containerID: id, idRange: range, rootPath: "/", hardLimits: runtime.machine.hardLimits)
            let spec = try RuntimeSpec(container: bare, image: request.image, facts: facts)
            let program = try runtime.seccomp.program(for: spec)
            let size = request.io.size
            var plan = try LaunchPlanner.exec(
                request.spec, in: spec, seccompProgram: program.bytes, seccompFlags: program.flags,
                cgroupsV1: cgroup.version == .v1 ? cgroup.paths : [],
                cgroupV2: first.map { cgroup.joinPathV2(beside: $0) } ?? cgroup.joinPathV2, hasStdin: request.io.stdin != nil,
                rows: size?.rows ?? 0,
                columns: size?.columns ?? 0)
            try ContainerRuntime.confine(&plan.process, by: request.container)
            return plan
        }
        return try await exec(plan, id: request.id, request.io)
    }
}
