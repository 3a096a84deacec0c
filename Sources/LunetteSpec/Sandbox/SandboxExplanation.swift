/// Says which layer holds what, for `--explain`: what isn't held is said as plainly.
package struct SandboxExplanation: Sendable, Hashable {
    package var layer: String
    package var text: String

    /// For people.
    package var line: String { layer + String(repeating: " ", count: max(1, 13 - layer.count)) + text }
    /// For programs; `enforced` is false where any part of it isn't.
    package var value: Value {
        ["layer": .string(layer), "text": .string(text), "enforced": .bool(text.firstRange(of: "not enforced") == nil)]
    }

    /// - Throws: as `SandboxPlanner.plan`.
    package static func entries(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) -> [SandboxExplanation] {
        let view = try SandboxView(spec, facts)
        var entries: [SandboxExplanation] = []
        func add(_ layer: String, _ text: String) { entries.append(SandboxExplanation(layer: layer, text: text)) }
        add("namespaces", "user, pid, mount, \(spec.network == .none ? "network, " : "")ipc, uts, cgroup: new")
        if spec.network == .none { add("network", "none: loopback only") }
        if spec.network == .host { add("network", "the host's: everything the host reaches, abstract sockets only as Landlock says") }
        add("identity", "uid \(facts.uid), gid \(facts.gid), as outside; no capabilities; no_new_privs: set-id programs give nothing")
        for (word, wanted) in [("read", SandboxView.Access.read), ("write", .write), ("private", .layer)] {
            let paths = view.items.filter { $0.access == wanted }.map(\.path)
            if !paths.isEmpty { add("files", "\(word): \(paths.map { displayable($0) }.joined(separator: ", "))") }
        }
        let folder = displayable(facts.directory)
        switch view.access(to: facts.directory) {
        case nil: add("files", "the working folder \(folder) isn't there: no rule names it")
        case .memory: add("files", "the working folder \(folder) is empty, in memory: no rule names it")
        case .read, .write, .layer: break
        }
        let memory = view.items.filter(\.access.isMemory).map(\.path)
        let room = facts.scratch > 0 ? " (up to \(facts.scratch >> 20) MiB each)" : ""
        add("files", "empty, in memory\(room): \(memory.map { displayable($0) }.joined(separator: ", "))")
        if spec.preset == .system {
            let folders = view.system.map(\.path).filter { !$0.hasPrefix("/etc/") }
            add(
                "files",
                "read: \(folders.joined(separator: ", ")) and \(view.system.count - folders.count) files of /etc (preset \"system\")")
        }
        if !view.hidden.isEmpty { add("files", "hidden: \(view.hidden.map { displayable($0) }.joined(separator: ", "))") }
        if !view.pinned.isEmpty {
            add(
                "files",
                "can't be renamed, for what narrower rules say in them: \(view.pinned.map { displayable($0.path) }.joined(separator: ", "))"
            )
        }
        add(
            "files",
            "mounts: \(facts.isPrivileged ? "detached trees" : "made in the sandbox's own namespace, locked"), nosuid, nodev; anything else isn't there"
        )
        switch spec.seccomp {
        case .unconfined: add("seccomp", "not enforced: unconfined")
        default:
            add(
                "seccomp",
                "\(facts.seccompProgram.count / 8) instructions; mounts, namespaces, keys, tracing of the kernel, terminal injection refused"
            )
        }
        add("landlock", landlock(spec, facts))
        if spec.connectPorts != nil || spec.bindPorts != nil {
            let isHeld = spec.hasLandlock && facts.landlockABI >= 4
            add("ports", isHeld ? "TCP by Landlock; UDP: not enforced" : "not enforced: Landlock ABI 4 (Linux 6.7) is needed")
        }
        addLimits(spec, facts, add)
        if facts.terminal != nil { add("terminal", "its own; yours is out of its reach, what is typed here is passed on") }
        if let timeout = spec.timeout { add("time", "killed with everything in it after \(timeout) s (exit code 124)") }
        if spec.reportsDenied { add("report", "what is asked for outside of the rules, as far as it exists; observes and decides nothing") }
        return entries
    }

    /// What of Landlock this kernel enforces.
    package static func landlock(_ spec: SandboxSpec, _ facts: SandboxFacts) -> String {
        guard spec.hasLandlock else { return "not enforced: switched off" }
        let abi = facts.landlockABI
        guard abi > 0 else { return "not enforced: this kernel has none (mounts and namespaces hold the same rules)" }
        var parts = ["files"]
        if abi >= 4, spec.connectPorts != nil || spec.bindPorts != nil { parts.append("TCP ports") }
        if abi >= 6 { parts += ["abstract sockets", "signals"] }
        var text = "ABI \(abi): \(parts.joined(separator: ", "))"
        if abi < 3 { text += "; truncate: not enforced (ABI 3)" }
        if abi < 5 { text += "; ioctl of devices: not enforced (ABI 5)" }
        if abi < 6, spec.network == .host { text += "; abstract sockets of the host: not enforced (ABI 6)" }
        return text
    }

    private static func addLimits(_ spec: SandboxSpec, _ facts: SandboxFacts, _ add: (String, String) -> Void) {
        let resources = spec.resources
        let tasks = resources.pids ?? ResourceSpec.defaultPids
        switch facts.limits {
        case .cgroup(let v1, _, _):
            let version = v1.isEmpty ? "v2" : "v1"
            if let memory = resources.memory { add("memory", "\(memory) bytes together (cgroup \(version))") }
            if let cpus = resources.cpus { add("cpus", "\(cpus) (cgroup \(version))") }
            if tasks > 0, facts.uid == 0 { add("tasks", "\(tasks) (cgroup \(version))") }
            for line in facts.degraded { add("limits", line) }
        case .none(let reason):
            if let memory = resources.memory {
                add(
                    "memory",
                    facts.uid == 0
                        ? "not enforced: \(reason)" : "\(memory) bytes for each process (RLIMIT_DATA); together: not enforced: \(reason)")
            }
            if resources.cpus != nil { add("cpus", "not enforced: \(reason)") }
            if tasks > 0, facts.uid == 0 { add("tasks", "not enforced: \(reason)") }
        }
        if tasks > 0, facts.uid != 0 { add("tasks", "\(tasks), counted in the sandbox's user namespace (RLIMIT_NPROC)") }
    }
}
