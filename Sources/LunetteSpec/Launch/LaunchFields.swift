/// Says which field of `config.json` each record of a plan comes from, so that a launch's failure can be told by the field to mend.
///
/// Looked up when a launch has failed: the others, nearly all, don't pay for it.
package struct LaunchFields: Sendable {
    private struct Namespace {
        var kind: String
        var path: String?
        var field: String
    }

    private struct Record {
        var step: LaunchOpcode
        var field: String?
    }

    private var plan: LaunchPlan?
    private var spec: RuntimeSpec?
    /// What was given in a field's place: `--user` for `process.user`.
    package var options: [String: String] = [:]

    private var process: RuntimeSpec.ProcessSection?

    /// Knows only what there is one record of: an exec, or a plan that isn't at hand any more.
    /// - Parameter process: whose settings those records are.
    package init(process: RuntimeSpec.ProcessSection?) { self.process = process }

    /// - Parameters:
    ///   - plan: whose records a failure counts.
    ///   - spec: what it was planned from.
    package init(_ plan: LaunchPlan, _ spec: RuntimeSpec) {
        self.plan = plan
        self.spec = spec
        process = spec.process
    }

    /// As they stand in the plan.
    private var records: [Record] {
        guard let plan else { return [] }
        var records = zip(plan.steps, plan.fields).map { Record(step: $0.record.opcode, field: $1) }
        // Behind the steps each kind stands once, but for hooks.
        var hooks = 0
        for record in plan.process.records {
            var field = Self.field(of: record.opcode)
            if record.opcode == .startHook {
                field = "hooks.startContainer[\(hooks)]"
                hooks += 1
            }
            records.append(Record(step: record.opcode, field: field))
        }
        return records
    }

    private var namespaces: [Namespace] {
        (spec?.linux.namespaces ?? []).enumerated().map { index, namespace in
            Namespace(kind: namespace.kind.rawValue, path: namespace.path, field: "linux.namespaces[\(index)]")
        }
    }

    /// The error with its field, where one is known and none is named yet.
    package func naming(_ error: LunetteError) -> LunetteError {
        guard error.path == nil, let details = error.details, let name = details["step"]?.stringValue,
            let step = LaunchOpcode.allCases.first(where: { $0.name == name }), let index = details["index"]?.intValue
        else { return error }
        var named = error
        let field = field(step, Int(index), details["call"]?.stringValue ?? "", details["path"]?.stringValue ?? "")
        named.path = field.map { options[$0] ?? $0 }
        if step == .setUp { tellLowMemory(&named, details) }
        if step == .namespaces, details["call"] == "setns", error.errno == Self.invalid { tellWrongNamespace(&named, details) }
        if step == .mount, details["call"] == "fsopen", error.errno == Self.noDevice { tellUnknownFileSystem(&named) }
        return named
    }

    private static let noDevice: Int32 = 19
    private static let invalid: Int32 = 22
    /// No launch fits into less.
    private static let leastMemory: Int64 = 1 << 20

    /// A process that was killed below a limit that is far too low was killed for it, whether the kernel's counter tells or not: it is read when
    /// the killed process may be gone from it already.
    private func tellLowMemory(_ error: inout LunetteError, _ details: Value) {
        guard details["call"] == "killed", details["signal"] == "SIGKILL", let limit = spec?.linux.resources.memory.limit,
            (1..<Self.leastMemory).contains(limit)
        else { return }
        error.path = "linux.resources.memory.limit"
        error.code = .resourceExhausted
        error.hint = "\(limit) bytes leave too little for a launch: raise it"
    }

    /// EINVAL of setns(2): another kind of namespace, or none; for two kinds also one that can't be joined from here.
    private func tellWrongNamespace(_ error: inout LunetteError, _ details: Value) {
        guard let joined = joined(details["path"]?.stringValue ?? ""), let path = joined.path else { return }
        let further =
            switch joined.kind {
            case "user": ", or it is the caller's own"
            case "pid": ", or one that isn't below the caller's own"
            default: ""
            }
        error.code = .invalidArgument
        error.message = "join \(displayable(path, limit: 200)): it is no \(joined.kind) namespace\(further)"
    }

    /// - Parameter path: the kind in the shim's words ("network namespace").
    private func joined(_ path: String) -> Namespace? { namespaces.first { $0.path != nil && path.hasPrefix($0.kind + " ") } }

    /// fsopen(2) takes nothing but the type.
    private func tellUnknownFileSystem(_ error: inout LunetteError) {
        guard let field = error.path, field.hasSuffix(".type"), let number = Int(field.dropFirst("mounts[".count).prefix { $0 != "]" }),
            let spec, spec.mounts.indices.contains(number), let type = spec.mounts[number].type
        else { return }
        error.message =
            "mount \(displayable(spec.mounts[number].destination, limit: 200)): the kernel has no file system \(displayable(type, limit: 60))"
        error.hint = "/proc/filesystems lists those that it has; a module may have to be loaded"
    }

    private func field(_ step: LaunchOpcode, _ index: Int, _ call: String, _ path: String) -> String? {
        switch step {
        case .setUp: return call == "out of memory" ? "linux.resources.memory.limit" : nil
        case .namespaces, .rootless: return namespace(call, path)
        // One record has them all; the call says on which it failed.
        case .rlimits where call == "prlimit":
            return process?.rlimits.firstIndex { $0.ociName == path }.map { "process.rlimits[\($0)]" } ?? "process.rlimits"
        default: break
        }
        let records = records
        // Stages that no record asks for tell the last one's index.
        let isRecord = records.indices.contains(index) && records[index].step == step
        guard let field = isRecord ? records[index].field : Self.field(of: step) else { return nil }
        guard field.hasPrefix("mounts["), let part = Self.part(step, call, path) else { return field }
        return "\(field).\(part)"
    }

    /// The part of a mount that a call is about.
    private static func part(_ step: LaunchOpcode, _ call: String, _ path: String) -> String? {
        switch (step, call) {
        case (.openTree, "mount_setattr"), (.mountAttributes, "mount_setattr"): "options"
        case (.openTree, _): "source"
        case (.mount, "fsopen"): "type"
        case (.mount, "fsconfig"): path == "source" ? "source" : "options"
        // All options together, and where it came from: nobody knows which of them.
        case (.mount, "fsconfig create"), (.mount, "fsmount"): nil
        case (.mount, _), (.attach, _), (.mountAttributes, _): "destination"
        default: nil
        }
    }

    private func namespace(_ call: String, _ path: String) -> String? {
        if let joined = namespaces.first(where: { $0.path == path && !path.isEmpty }) { return "\(joined.field).path" }
        switch (call, path) {
        case ("setns", _):
            return joined(path).map { "\($0.field).path" }
        case (_, "uid_map"): return "linux.uidMappings"
        case (_, "gid_map"): return "linux.gidMappings"
        default: return "linux.namespaces"
        }
    }

    private static func field(of step: LaunchOpcode) -> String? {
        switch step {
        case .workingDirectory: "process.cwd"
        case .user: "process.user"
        case .umask: "process.user.umask"
        case .rlimits: "process.rlimits"
        case .capabilities: "process.capabilities"
        case .noNewPrivileges: "process.noNewPrivileges"
        case .seccomp: "linux.seccomp"
        case .seccompListener: "linux.seccomp.listenerPath"
        case .environment: "process.env"
        case .arguments: "process.args"
        case .scheduler: "process.scheduler"
        case .ioPriority: "process.ioPriority"
        case .affinity: "process.execCPUAffinity"
        case .personality: "linux.personality"
        case .memoryPolicy: "linux.memoryPolicy"
        case .startHook: "hooks.startContainer"
        case .terminal: "process.terminal"
        case .joinCgroups: "linux.cgroupsPath"
        default: nil
        }
    }
}
