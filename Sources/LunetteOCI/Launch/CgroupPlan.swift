internal import LunetteLinux
internal import LunetteSpec

/// The cgroup that a config asks for, on this machine and by the driver that was asked for.
struct CgroupPlan: Sendable {
    private let site: CgroupSite
    private let resources: RuntimeSpec.Resources
    private let goesOnWithout: Bool
    /// What the record says before anything is made.
    let record: CgroupRecord

    /// - Throws: `unsupported` without cgroups; `invalid_argument` for a path that can't be one.
    init(_ spec: RuntimeSpec, id: String, _ global: GlobalOptions) throws(LunetteError) {
        guard let layout = CgroupLayout.detect() else {
            throw LunetteError(.unsupported, "find cgroups: no cgroup file system is mounted", hint: "mount cgroup2 on /sys/fs/cgroup")
        }
        switch try CgroupPath(spec.linux.cgroupsPath, id: id, usesSystemd: global.driver == .systemd) {
        case .components(let names): site = CgroupSite(layout: layout, components: names)
        case .systemd:
            throw LunetteError(
                .unsupported, "--systemd-cgroup: the systemd driver isn't built yet", hint: "take cgroupfs: leave --systemd-cgroup out")
        }
        resources = spec.linux.resources
        goesOnWithout = global.ignoresCgroupPermissions
        let cgroup = site.cgroup
        let missing = site.missing()
        // Directories that aren't there yet have nobody in them.
        let isNew = Set(cgroup.paths).isSubset(of: missing.made)
        record = CgroupRecord(cgroup, owned: missing, isTaken: isNew)
    }

    /// Makes it, and writes the limits.
    /// - Parameter note: gets what the kernel ignores of them.
    /// - Returns: what the record is to say from now on.
    func make(note: (String) -> Void) throws(LunetteError) -> CgroupRecord {
        var made = record
        do throws(LunetteError) { made.owned = try site.create(for: resources) } catch {
            // An ordinary user to whom nothing is delegated: no limits, but also no failure, unless the config asks for some.
            guard goesOnWithout, error.code == .denied, resources == .init() else { throw error }
            return .none
        }
        made.isTaken = true
        for line in try made.cgroup.apply(resources) { note(line) }
        return made
    }
}

extension CgroupRecord {
    /// Writes other limits into one that exists.
    /// - Returns: what the kernel ignores of them.
    func update(_ resources: RuntimeSpec.Resources) throws(LunetteError) -> [String] {
        guard cgroup.exists else { throw LunetteError(.invalidState, "update limits: the container has no cgroup") }
        return try cgroup.apply(resources)
    }
}
