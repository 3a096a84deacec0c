internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// The cgroup of one sandbox: only in the hierarchies that its limits need, since each costs a start its share.
struct SandboxCgroup {
    let cgroup: ContainerCgroup
    /// Those of a user, in whose own folder none of ours stays (on v2 but for the leaf that the caller is in); root's stands for the next.
    let cgroups: Cgroups?

    /// Makes the cgroup that the spec's limits ask for, and notes in `facts` how they are held.
    /// - Returns: nil when there is nothing to hold or nobody to hold it; the reason is in `facts.limits`.
    /// - Throws: what the kernel refuses of a limit.
    static func make(_ spec: SandboxSpec, _ facts: inout SandboxFacts) throws(LunetteError) -> SandboxCgroup? {
        let resources = spec.resources
        // An ordinary user's tasks are counted by the kernel in the user namespace; only root needs a cgroup for them.
        let tasks = facts.uid == 0 ? resources.pids ?? ResourceSpec.defaultPids : -1
        let needed = controllers(resources, tasks)
        guard !needed.isEmpty else { return nil }
        var layout: CgroupLayout
        do throws(LunetteError) { layout = try usable(facts) } catch {
            facts.limits = .none(error.message)
            return nil
        }
        if layout.version == .v1 {
            layout.hierarchies = layout.hierarchies.filter { !needed.isDisjoint(with: $0.controllers) }
            guard !layout.hierarchies.isEmpty else {
                facts.limits = .none(
                    facts.isPrivileged ? "none of the cgroup controllers is mounted" : "the cgroups given to this user hold other limits")
                return nil
            }
        }
        // Told apart from containers by a scope that no engine has, and from each other by pid and time.
        let cgroups = Cgroups(layout: layout, scope: "sandbox")
        sweep(cgroups)
        let cgroup: ContainerCgroup
        do throws(LunetteError) { cgroup = try cgroups.create("s\(getpid())-\(UInt64(SystemClock.monotonic * 1e6))") } catch {
            // A read-only or foreign cgroup tree holds nothing.
            guard error.code == .denied else { throw error }
            facts.limits = .none(error.message)
            return nil
        }
        do throws(LunetteError) {
            try check(resources)
            facts.degraded = try cgroup.apply(limits(resources, tasks, cgroup)).map(\.text)
        } catch {
            _ = cgroup.remove(patience: 0)
            var failure = error
            let prefix = "linux.resources."
            if let path = error.path, path.hasPrefix(prefix) {
                failure.path = ResourceSpec.field(ofRuntime: String(path.dropFirst(prefix.count)))
            }
            throw failure
        }
        facts.limits = .cgroup(
            v1: cgroup.joinPathsV1, v2: cgroup.joinPathV2, oomEvents: resources.memory == nil ? nil : cgroup.outOfMemoryFile)
        return SandboxCgroup(cgroup: cgroup, cgroups: facts.isPrivileged ? nil : cgroups)
    }

    /// What the kernel would refuse without saying what is there.
    private static func check(_ resources: ResourceSpec) throws(LunetteError) {
        guard let wanted = resources.cpuset, let online = readSmallFile("/sys/devices/system/cpu/online")?.trimmed,
            let missing = CPUList.first(of: wanted, notIn: online)
        else { return }
        throw LunetteError(
            .invalidArgument, "this machine has no processor \(missing)", path: "resources.cpuset", hint: "its processors are \(online)")
    }

    /// - Throws: why there is none, in words.
    private static func usable(_ facts: SandboxFacts) throws(LunetteError) -> CgroupLayout {
        guard facts.isPrivileged else {
            let layout = CgroupLayout.prepared(forUser: facts.uid)
            guard !layout.hierarchies.isEmpty else { throw LunetteError(.unsupported, "no cgroup is delegated to this user") }
            return layout
        }
        guard let layout = CgroupLayout.detect() else { throw LunetteError(.unsupported, "no cgroup file system is mounted") }
        return layout
    }

    /// Removes what killed callers left: their sandboxes ended with them, and an empty cgroup stayed.
    private static func sweep(_ cgroups: Cgroups) {
        for id in cgroups.ids() {
            guard let pid = Int32(id.dropFirst().prefix { $0 != "-" }), pid > 0, kill(pid, 0) != 0, errno == ESRCH else { continue }
            // A caller that isn't seen from this pid namespace may be alive: then its sandbox is.
            let cgroup = cgroups.container(id)
            guard cgroup.occupants().isEmpty else { continue }
            // What can't be removed now is somebody else's sweep's.
            _ = cgroup.remove(patience: 0)
        }
    }

    private static func controllers(_ resources: ResourceSpec, _ tasks: Int64) -> Set<String> {
        var needed: Set<String> = []
        if resources.memory != nil || resources.memoryReservation != nil { needed.insert("memory") }
        if resources.cpus != nil || resources.cpuShares != nil { needed.insert("cpu") }
        if resources.cpuset != nil || resources.cpusetMemory != nil { needed.insert("cpuset") }
        if resources.ioWeight != nil { needed.insert("blkio") }
        if tasks > 0 { needed.insert("pids") }
        return needed
    }

    private static func limits(_ resources: ResourceSpec, _ tasks: Int64, _ cgroup: ContainerCgroup) -> CgroupLimits {
        var limits = CgroupLimits()
        limits.memory = resources.memory
        // As Docker: a memory limit alone allows as much swap again. Nobody named it, so a kernel that can't limit it lacks nothing.
        let implied = cgroup.accountsSwap ? resources.memory.map { $0 < 0 ? -1 : $0.doubled } : nil
        limits.memorySwap = resources.memorySwap ?? implied
        limits.memoryReservation = resources.memoryReservation
        limits.cpus = resources.cpus
        limits.cpuShares = resources.cpuShares
        limits.cpuset = resources.cpuset
        limits.memoryNodes = resources.cpusetMemory
        limits.ioWeight = resources.ioWeight
        if tasks > 0 { limits.pids = tasks }
        if resources.oom == .group { limits.killGroupOnOOM = true }
        return limits
    }

    /// Removes it; nothing runs in it any more.
    func remove() -> [SystemCallError] {
        let failures = cgroup.remove()
        cgroups?.removeEmptyParents()
        return failures
    }
}
