internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Turns a bundle into the bytes of a launch plan and the descriptors that it names. Reads the machine, changes nothing but the filters' cache.
struct LaunchPreparation {
    var id: String
    var bundle: Bundle
    var cgroup: ContainerCgroup
    /// Whether the plan is carried out while the cgroups are being made.
    var awaitsCgroups: Bool
    var terminal: TerminalOwner
    var preservedDescriptors: Int
    var keepsKeyring: Bool
    var store: ContainerStore
    var log: ErrorLog

    struct Planned {
        var bytes: [UInt8]
        /// fd 7 and on.
        var passed: [FileDescriptor]
        /// By which a failure of this launch is told.
        var fields: LaunchFields
    }

    /// Says what of the bundle will not be done, which is no failure.
    func warn() {
        for warning in bundle.unknownFields { log.warn(warning) }
        if let process = bundle.spec.process { Privileges.warn(process, in: bundle.spec, grantable: Privileges.grantable, log) }
    }

    func plan() throws(LunetteError) -> Planned {
        var passed: [FileDescriptor] = []
        let seccomp = try SeccompCompiler(cacheDirectory: "\(store.root)/\(ContainerStore.seccompFolder)").program(for: bundle.spec)
        var inputs = LaunchInputs(
            containerID: id, root: .directory(.path(bundle.rootfs)), cgroupsV1: cgroup.joinPathsV1,
            cgroupV2: cgroup.joinPathV2, seccompProgram: seccomp.bytes, seccompFlags: seccomp.flags,
            keepsStdinOpen: true)
        inputs.cgroupView = Self.view(cgroup)
        inputs.monitor = MonitorPlan(initProcess: false, shimDeath: .goOn, log: false)
        // A limit may be too low for the launch itself, which only the counter tells from another kill.
        if let limit = bundle.spec.linux.resources.memory.limit, limit > 0 { inputs.monitor.oomEvents = cgroup.outOfMemoryFile }
        inputs.bundle = bundle.path
        inputs.seccompListener = SeccompListenerPlan(bundle.spec, containerID: id, bundle: bundle.path, status: .creating)
        inputs.handover = try HandoverPlan(terminal, preservedDescriptors, newKeyring: !keepsKeyring, passed: &passed)
        inputs.handover?.awaitsCgroups = awaitsCgroups
        inputs.grantable = Privileges.grantable
        if !bundle.spec.linux.sysctl.isEmpty { inputs.hostNamespaces = Self.hostNamespaces(bundle.spec.linux) }
        try Caller.current.adapt(&inputs, to: bundle.spec)
        let plan = try LaunchPlanner.plan(bundle.spec, inputs)
        return Planned(bytes: try plan.encoded(), passed: passed, fields: LaunchFields(plan, bundle.spec))
    }

    /// Those that are joined by a path and are our own: a namespace is a file's device and inode (namespaces(7)). What isn't there is the shim's to
    /// refuse.
    private static func hostNamespaces(_ linux: RuntimeSpec.LinuxSection) -> NamespacePlan.Kinds {
        var kinds: NamespacePlan.Kinds = []
        for (kind, flag, own) in [
            (RuntimeSpec.LinuxSection.NamespaceKind.network, NamespacePlan.Kinds.network, "net"), (.ipc, .ipc, "ipc"), (.uts, .uts, "uts"),
        ] {
            var (joined, ours) = (lnt_host_stat(), lnt_host_stat())
            guard let path = linux.namespace(kind)?.path, lnt_host_stat(-100, path, 0, &joined) == 0,
                lnt_host_stat(-100, "/proc/self/ns/\(own)", 0, &ours) == 0, (joined.device, joined.inode) == (ours.device, ours.inode)
            else { continue }
            kinds.insert(flag)
        }
        return kinds
    }

    /// A container without a cgroup of its own sees the machine's hierarchies from where its caller is.
    private static func view(_ cgroup: ContainerCgroup) -> LaunchInputs.CgroupView {
        var (version, controllers) = (cgroup.version, cgroup.directories.map(\.controllers))
        if controllers.isEmpty, let layout = CgroupLayout.detect() {
            (version, controllers) = (layout.version, layout.hierarchies.map(\.controllers))
        }
        return version == .v2 ? .v2 : .v1(controllers.map { $0.joined(separator: ",") })
    }
}
