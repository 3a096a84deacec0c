internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// The cgroup that a config asks for, on this machine and by the driver that was asked for.
struct CgroupPlan {
    private enum Place {
        /// Nothing is given to this user.
        case none
        case site(CgroupSite)
        /// systemd makes it, and says where.
        case scope(SystemdScope, SystemdConnection, CgroupLayout)
    }

    /// What `make` has made.
    struct Made {
        /// Keeps a scope from being empty until the container is in it.
        var holder: ScopeHolder?
        /// Keeps others from taking a cgroup that looks free until the container is in it.
        var claim: FileLock?
    }

    private let place: Place
    private let id: String
    private let resources: RuntimeSpec.Resources
    private let goesOnWithout: Bool
    /// Annotations in which runc's callers hand properties of the unit on.
    private let foreign: [String]
    /// What the record says before anything is made.
    let record: CgroupRecord
    /// Whether `make` gives just what the record says, or fails.
    var isCertain: Bool { if case .site = place { !goesOnWithout } else { false } }

    /// - Throws: `unsupported` without cgroups, or without the systemd that was asked for; `invalid_argument` for a path that can't be one.
    init(_ spec: RuntimeSpec, id: String, _ global: GlobalOptions) throws(LunetteError) {
        guard let layout = CgroupLayout.detect() else {
            throw LunetteError(.unsupported, "find cgroups: no cgroup file system is mounted", hint: "mount cgroup2 on /sys/fs/cgroup")
        }
        self.id = id
        resources = spec.linux.resources
        goesOnWithout = global.ignoresCgroupPermissions ?? (Caller.current != .machine)
        foreign = spec.annotations.keys.filter { $0.hasPrefix("org.systemd.property.") }.sorted()
        switch try CgroupPath(spec.linux.cgroupsPath, id: id, usesSystemd: global.driver == .systemd) {
        case .components(let names):
            guard let layout = try Self.given(layout, to: .current, spec.linux) else {
                place = .none
                record = .none
                return
            }
            let site = CgroupSite(layout: layout, components: names)
            place = .site(site)
            record = CgroupRecord(site.cgroup, owned: site.missing(), isTaken: false)
        case .systemd(let slice, let prefix, let name):
            guard layout.version == .v2 else {
                throw LunetteError(
                    .unsupported, "--systemd-cgroup: this machine has cgroup v1, where the systemd driver isn't built",
                    hint: "use the cgroupfs driver (without --systemd-cgroup), or boot with systemd.unified_cgroup_hierarchy=1")
            }
            let user = SystemdUser.current
            let connection = try SystemdConnection(socketPath: user.socket)
            let scope = SystemdScope(slice: slice, prefix: prefix, name: name, defaultSlice: user.defaultSlice)
            place = .scope(scope, connection, layout)
            let expected = CgroupSite(layout: layout, components: scope.expectedPath(below: connection.controlGroup))
            // Not ours before systemd has made it: one of that name may be there.
            record = CgroupRecord(
                expected.cgroup, owned: CgroupOwnership(), isTaken: false,
                scope: .init(unit: scope.unit, slice: scope.slice, socket: user.socket))
        }
    }

    /// The part of the machine's hierarchies where a container without a path of its own can be.
    /// - Returns: nil where there is none, and none is needed.
    /// - Throws: `denied` when limits are asked for that nobody would hold.
    private static func given(
        _ layout: CgroupLayout, to caller: Caller, _ linux: RuntimeSpec.LinuxSection
    ) throws(LunetteError) -> CgroupLayout? {
        // Whoever names a place from the root on knows what there is; root has all of it.
        guard caller != .machine, linux.cgroupsPath?.utf8.first != UInt8(ascii: "/") else { return layout }
        let given = CgroupLayout.given(toUser: caller.machineUID)
        guard given.hierarchies.isEmpty else { return given }
        guard !linux.resources.limitsAnything else {
            throw LunetteError(
                .denied, "limit the container: no cgroup is delegated to this user", path: "linux.resources",
                hint: "leave the limits out, or see \"Limits\" in docs/rootless.md; with a systemd of the user's, --systemd-cgroup")
        }
        return nil
    }

    /// Makes it, and writes the limits.
    /// - Parameters:
    ///   - container: its record says at every moment what its removal may touch.
    ///   - note: gets what the kernel ignores of them.
    func make(for container: inout Container, note: (String) -> Void) throws(LunetteError) -> Made {
        var made = Made()
        switch place {
        case .none:
            note("no cgroup is delegated to this user: the container has none, and can't be paused (docs/rootless.md)")
            return made
        case .site(let site):
            do throws(LunetteError) { made.claim = try take(site, &container.record.cgroup) } catch {
                // An ordinary user to whom nothing is delegated: no limits, but also no failure, unless the config asks for some.
                guard goesOnWithout, error.code == .denied, !resources.limitsAnything else { throw error }
                note("\(error.message): the container has no cgroup, and can't be paused")
                container.record.cgroup = .none
                return made
            }
        case .scope(let scope, let connection, let layout):
            for name in foreign {
                note("annotations.\(displayable(name, limit: 80)): properties of the unit aren't taken from annotations; left out")
            }
            // Thrown away by a failure below, it leaves the scope empty, and systemd takes that away.
            let holder = try atBorder("make a scope for container \(id)") { () throws(SystemCallError) in try ScopeHolder() }
            made.holder = holder
            let path: [String]
            do throws(LunetteError) {
                path = try scope.start(
                    on: connection, pid: holder.pid, description: "container \(id) of lunette-oci", resources: resources,
                    version: layout.version)
            } catch {
                // A unit that systemd doesn't take, it tells in its own words; what it was asked for is the field's.
                var failure = error
                if failure.path == nil, failure.message.contains("StartTransientUnit") { failure.path = "linux.cgroupsPath" }
                throw failure
            }
            let site = CgroupSite(layout: layout, components: path)
            container.record.cgroup.cgroup = site.cgroup
            // The directory is there; what is wanted besides systemd's own controllers isn't.
            container.record.cgroup.owned = try site.create(for: resources, holder: holder.pid)
            container.record.cgroup.mark(isMade: false)
        }
        faultPoint("oci.create.made")
        try container.noteCgroupTaken()
        for line in try container.record.cgroup.cgroup.apply(resources) { note(line) }
        return made
    }

    /// Makes the directories and claims them. Two that want the same place at the same moment don't both get it, and whoever doesn't leaves alone who
    /// is in it: without a claim `record` owns nothing.
    private func take(_ site: CgroupSite, _ record: inout CgroupRecord) throws(LunetteError) -> FileLock {
        record.owned = CgroupOwnership()
        func taken() -> LunetteError {
            LunetteError(
                .conflict, "the cgroup \(displayable(site.cgroup.paths.first ?? "")) has just been taken by somebody else",
                path: "linux.cgroupsPath", hint: "give the container a cgroupsPath of its own")
        }
        let mark = CgroupMark(owner: CgroupMark.newOwner(), isMade: true)
        guard let claim = try site.claim(mark) else { throw taken() }
        var owned = CgroupOwnership(made: claim.made)
        do throws(LunetteError) {
            // Parents first, also the one that all containers share.
            let others = try site.create(for: resources).made
            owned.made = others + claim.made.filter { !others.contains($0) }
        } catch {
            site.cgroup.removeUnused(owned: owned)
            throw error
        }
        // Left by a container that has ended, or by a creation that didn't get the lock: they go with this one.
        if let former = site.cgroup.mark, former.owner != mark.owner, former.isMade {
            owned.made += site.cgroup.paths.filter { !owned.made.contains($0) }
        }
        record.owned = owned
        record.mark(isMade: site.cgroup.paths.allSatisfy(owned.made.contains))
        return claim.lock
    }
}

/// The systemd that manages what the calling user runs.
struct SystemdUser {
    let socket: String
    let defaultSlice: String

    static var current: SystemdUser {
        let uid = Caller.current.machineUID
        return SystemdUser(
            socket: SystemdConnection.socket(ofUser: uid, runtimeDirectory: Environment["XDG_RUNTIME_DIR"]),
            defaultSlice: uid == 0 ? "system.slice" : "user.slice")
    }
}

extension CgroupRecord {
    /// Marks it as this container's, where the kernel lets us.
    fileprivate mutating func mark(isMade: Bool) {
        let mark = CgroupMark(owner: CgroupMark.newOwner(), isMade: isMade)
        owner = cgroup.put(mark) ? mark.owner : nil
    }

    /// Writes other limits into one that exists.
    /// - Returns: what the kernel ignores of them.
    func update(_ resources: RuntimeSpec.Resources) throws(LunetteError) -> [String] {
        if let scope {
            // systemd first: what it rounds is then written exactly.
            try scope.scope.update(
                cgroup.completed(resources), on: try SystemdConnection(socketPath: scope.socket), version: cgroup.version)
        }
        try cgroup.handDown(for: resources)
        return try cgroup.apply(resources)
    }

    /// Has systemd forget the scope, with whatever is left in it. One that has gone is done.
    func stopScope() throws(LunetteError) {
        guard let scope else { return }
        let connection: SystemdConnection
        do throws(LunetteError) { connection = try SystemdConnection(socketPath: scope.socket) } catch {
            // No systemd, no scope: the directory is all there is.
            if error.code == .unsupported { return }
            throw error
        }
        try scope.scope.stop(on: connection)
    }
}

extension Container {
    /// Why something can't be done that takes a cgroup.
    func lacksCgroup(_ operation: String, _ purpose: String) -> LunetteError {
        var hint = "mount the controller, or use cgroup v2"
        if Caller.current != .machine {
            hint = "have a cgroup delegated to this user (docs/rootless.md, \"Limits\")"
            if CgroupLayout.detect()?.version == .v2 { hint += ", or create it with --systemd-cgroup" }
        }
        return LunetteError(.unsupported, "\(operation): it has no cgroup \(purpose)", target: id, hint: hint)
    }
}

extension RuntimeSpec.Resources {
    /// Whether somebody has to hold something. Not so with device rules alone where there is no cgroup: an ordinary user's container can make no
    /// device nodes, and opens those that it is given with its user's own rights.
    fileprivate var limitsAnything: Bool {
        var rest = self
        rest.devices = []
        return rest != .init()
    }
}
