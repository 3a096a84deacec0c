import LunetteLinux
import LunetteSpec

/// What an ordinary user's engine can't do for its containers, in words; nothing for the machine's root.
struct UserLimits: Sendable {
    var isRootless = false
    var notEnforced: [String] = []

    /// Reads what the user was given now. Blocks.
    static func read(_ namespace: UserNamespace = .current) -> UserLimits {
        guard !namespace.isInitial else { return UserLimits() }
        var limits = UserLimits(isRootless: true)
        if namespace.isSingle {
            let gid = namespace.gids.lines.first { $0.containerID == 0 }?.hostID ?? 0
            let shortage = UserNamespace.offer(uid: namespace.outsideUID, gid: gid).shortage
            limits.notEnforced.append(
                shortage.map { "\($0.message); \($0.hint ?? "")" }
                    ?? "only one id can be used in containers: the ranges of /etc/subuid count once no container of this engine runs")
        }
        let cgroups = CgroupLayout.given(to: namespace)
        if cgroups.hierarchies.isEmpty {
            limits.notEnforced.append("no limit is enforced, and pause is not possible: this user was given no cgroup (docs/rootless.md)")
        } else if cgroups.version == .v1 {
            let given = cgroups.hierarchies.flatMap(\.controllers)
            let lacking = (CgroupLayout.detect()?.hierarchies ?? []).flatMap(\.controllers).filter { !given.contains($0) }
            if !lacking.isEmpty {
                limits.notEnforced.append("limits by \(lacking.joined(separator: ", ")): those cgroups were not given to this user")
            }
        }
        return limits
    }
}
