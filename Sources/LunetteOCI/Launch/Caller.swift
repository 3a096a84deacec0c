internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Who calls, as far as a launch is concerned: decided by capabilities and the user namespace, never by the name.
enum Caller: Sendable, Equatable {
    /// Root of the machine.
    case machine
    /// Root of a user namespace: what Podman makes of an ordinary user.
    case namespace
    /// An ordinary user, by uid and gid: the container's user namespace is all that gives rights.
    case user(UInt32, UInt32)

    /// Read once: neither changes.
    static let current: Caller = {
        guard ProcessCapabilities.own?.isPermitted(.sysAdmin) ?? true else { return .user(geteuid(), getegid()) }
        return UserNamespace.current.isInitial ? .machine : .namespace
    }()

    /// Without any rights of its own.
    var isOrdinary: Bool { if case .user = self { true } else { false } }

    /// Outside of every namespace of its own.
    var machineUID: UInt32 {
        switch self {
        case .machine: 0
        case .namespace: UserNamespace.current.outsideUID
        case .user(let uid, _): uid
        }
    }

    /// Says what is different, in the inputs of a plan.
    /// - Throws: `denied` for a config that takes root; `unsupported` without newuidmap where more ids than one are asked for.
    func adapt(_ inputs: inout LaunchInputs, to spec: RuntimeSpec) throws(LunetteError) {
        guard self != .machine else { return }
        inputs.mapsTrees = false
        try refuseHigherLimits(spec)
        inputs.rootless = try rootless(spec)
        guard case .user = self else { return }
        guard spec.linux.namespace(.user) != nil else {
            throw LunetteError(
                .denied, "an ordinary user's container needs a user namespace", path: "linux.namespaces",
                hint: "lunette-oci spec --rootless writes a config with one")
        }
        inputs.treesInside = true
    }

    /// The record for a container's launch, and for every exec in it; nil for the machine's root.
    func rootless(_ spec: RuntimeSpec) throws(LunetteError) -> RootlessPlan? {
        switch self {
        case .machine: nil
        case .namespace: RootlessPlan(usesUserAttributes: true, keepsGroups: UserNamespace.current.isSingle)
        case .user(let uid, let gid): try Self.maps(spec, uid: uid, gid: gid)
        }
    }

    /// How the maps are written: the kernel takes one's own id from oneself, and the rest from newuidmap and newgidmap (user_namespaces(7)).
    static func maps(_ spec: RuntimeSpec, uid: UInt32, gid: UInt32) throws(LunetteError) -> RootlessPlan {
        let (uids, gids) = (spec.linux.uidMappings, spec.linux.gidMappings)
        // A namespace that is joined has its maps already, and what they hold isn't ours to know.
        guard !uids.isEmpty || !gids.isEmpty else { return RootlessPlan(usesUserAttributes: true) }
        func isAlone(_ maps: [IDMapping], _ id: UInt32) -> Bool { maps.count == 1 && maps[0].size == 1 && maps[0].hostID == id }
        if isAlone(uids, uid), isAlone(gids, gid) { return RootlessPlan(usesUserAttributes: true, keepsGroups: true) }
        guard let helpers = IDMapHelpers.find() else {
            throw LunetteError(
                .unsupported, "mapping other ids than one's own takes newuidmap and newgidmap, which aren't here",
                path: "linux.uidMappings",
                hint: "apt install uidmap, or map \(uid) and \(gid) alone, each with size 1")
        }
        return RootlessPlan(usesUserAttributes: true, newuidmap: helpers.newuidmap, newgidmap: helpers.newgidmap)
    }

    /// Only the machine's root raises a hard limit.
    private func refuseHigherLimits(_ spec: RuntimeSpec) throws(LunetteError) {
        for (index, limit) in (spec.process?.rlimits ?? []).enumerated() {
            var own = rlimit()
            guard getrlimit(__rlimit_resource_t(limit.resource), &own) == 0, limit.hard > own.rlim_max else {
                continue
            }
            throw LunetteError(
                .denied, "a hard limit of \(limit.hard) is above the caller's own, \(own.rlim_max), and only root raises one",
                path: "process.rlimits[\(index)].hard")
        }
    }
}
