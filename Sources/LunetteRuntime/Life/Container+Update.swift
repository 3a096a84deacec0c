internal import LunetteLinux
package import LunetteSpec

extension Container {
    /// Changes the limits of the running container from what they are to what they shall be: all of them, or none.
    ///
    /// The kernel takes limits file by file. One that it refuses puts those before it back.
    /// - Returns: what of the new limits this machine doesn't enforce.
    /// - Throws: with the limit's field as path, when the kernel refuses a value or more is in use than would be allowed.
    package func update(from old: ResourceSpec, to new: ResourceSpec) async throws(LunetteError) -> [NotEnforced] {
        let notEnforced = try await blocking { [cgroup, id] () throws(LunetteError) in
            try Self.check(new, old, cgroup, id)
            do throws(LunetteError) { return try Self.apply(Self.change(from: old, to: new, cgroup), cgroup, id) } catch {
                var failure = error
                // What was right a moment ago is taken again; if not, both failures are told.
                do throws(LunetteError) { _ = try Self.apply(Self.change(from: new, to: old, cgroup), cgroup, id) } catch {
                    failure.causes.append(error)
                }
                throw failure
            }
        }
        if new.oom != old.oom { try await endsGroupOnOOM(new.oom == .group) }
        return notEnforced
    }

    /// Sees to it that one out-of-memory kill ends all processes, or no longer does.
    ///
    /// v2's kernel does it (memory.oom.group). v1's kills single processes: there the shim, which watches the counter, kills the others.
    package func endsGroupOnOOM(_ isWanted: Bool) async throws(LunetteError) {
        switch cgroup.version {
        case .v2:
            try await blocking { [cgroup, id] () throws(LunetteError) in
                try atBorder(
                    "set memory.oom.group of container \(id)", { () throws(SystemCallError) in try cgroup.setKillsGroup(isWanted) })
            }
        case .v1: try await tellOOMPolicy(isGroup: isWanted)
        }
    }

    /// What can be refused before anything is written.
    private static func check(_ new: ResourceSpec, _ old: ResourceSpec, _ cgroup: ContainerCgroup, _ id: String) throws(LunetteError) {
        if new.shmSize != old.shmSize {
            throw LunetteError(
                .invalidState, "the size of /dev/shm can't change while the container runs", path: "resources.shm_size", target: id,
                hint: "stop it first")
        }
        if let wanted = new.cpuset, wanted != old.cpuset, let online = readSmallFile("/sys/devices/system/cpu/online")?.trimmed,
            let missing = CPUList.first(of: wanted, notIn: online)
        {
            throw LunetteError(
                .invalidArgument, "this machine has no processor \(missing)", path: "resources.cpuset", target: id,
                hint: "its processors are \(online)")
        }
        if let limit = new.memory, limit < old.memory ?? .max {
            // v2 would kill until it fits; v1 refuses by itself what it can't reclaim.
            let used = cgroup.statistics().memoryWorkingSet
            guard used <= limit else {
                throw LunetteError(
                    .conflict, "the container uses \(used) bytes of memory, more than the limit of \(limit) asked for",
                    path: "resources.memory", target: id, hint: "give more, or stop it first")
            }
        }
    }

    /// The new limits, and "none" in so many words for those that are taken away.
    private static func change(from old: ResourceSpec, to new: ResourceSpec, _ cgroup: ContainerCgroup) -> CgroupLimits {
        var limits = CgroupLimits(new)
        limits.killGroupOnOOM = nil
        if new.memory == nil, old.memory != nil { (limits.memory, limits.memorySwap) = (-1, -1) }
        if new.memoryReservation == nil, old.memoryReservation != nil { limits.memoryReservation = -1 }
        if new.cpus == nil, old.cpus != nil { limits.cpus = 0 }
        if new.cpuShares == nil, old.cpuShares != nil { limits.cpuShares = 1024 }
        if new.ioWeight == nil, old.ioWeight != nil { limits.ioWeight = 100 }
        if new.cpuset == nil, old.cpuset != nil { limits.cpuset = cgroup.parentsProcessors("cpuset.cpus") }
        if new.cpusetMemory == nil, old.cpusetMemory != nil { limits.memoryNodes = cgroup.parentsProcessors("cpuset.mems") }
        return limits
    }

    /// What the cgroup calls by the runtime spec's names is told by the engine's.
    private static func apply(_ limits: CgroupLimits, _ cgroup: ContainerCgroup, _ id: String) throws(LunetteError) -> [NotEnforced] {
        do throws(LunetteError) { return try cgroup.apply(limits) } catch {
            var failure = error
            failure.target = id
            guard let path = error.path, path.hasPrefix("linux.resources.") else { throw failure }
            failure.path = ResourceSpec.field(ofRuntime: String(path.dropFirst("linux.resources.".count)))
            throw failure
        }
    }
}
