internal import LunetteSpec

/// What becomes of a limit that this machine's cgroups have no file for, or don't let us write.
package enum MissingLimit: Sendable {
    /// An error: who asked for a limit gets it or hears that it can't be (OCI runtimes).
    case refuse
    /// It is noted (`lacking`): the container runs without it, and `inspect` says so (the engine).
    case report
}

/// Writes limits into one container's cgroup, each under the name of the field it comes from.
struct CgroupWriter {
    let cgroup: ContainerCgroup
    let missing: MissingLimit
    /// What this machine doesn't hold.
    private(set) var lacking: [NotEnforced] = []
    /// Deprecated fields that were left out, in words.
    private(set) var ignored: [String] = []

    init(_ cgroup: ContainerCgroup, _ missing: MissingLimit) {
        self.cgroup = cgroup
        self.missing = missing
    }

    private var version: String { cgroup.version == .v1 ? "v1" : "v2" }

    /// The first of the files that is there; nil was refused or reported.
    mutating func find(_ controller: String, _ names: [String], _ field: String) throws(LunetteError) -> (CgroupFile, String)? {
        if let directory = cgroup.directory(controller), let name = names.first(where: directory.has) { return (directory, name) }
        try lack(field, reason(controller, names[0]))
        return nil
    }

    private func reason(_ controller: String, _ file: String) -> String {
        guard let directory = cgroup.directory(controller) else { return "no \(controller) controller in cgroup \(version) here" }
        let has = cgroup.version == .v1 || directory.words("cgroup.controllers").contains(controller)
        if has { return "this kernel's \(controller) controller has no \(file)" }
        guard let holder = cgroup.holder(of: controller) else { return "no \(controller) controller in cgroup v2 here" }
        let who = holder.process > 0 ? " (pid \(holder.process))" : ""
        return
            "processes are in the cgroup around it, \(displayable(holder.path))\(who), which can't hand the \(controller) controller down then"
    }

    /// Writes one file.
    /// - Parameter values: each by its own write(2).
    /// - Throws: what the kernel answers, with the field's path.
    mutating func write(_ controller: String, _ file: String, _ values: [String], _ field: String) throws(LunetteError) {
        guard let directory = cgroup.directory(controller) else { return try lack(field, reason(controller, file)) }
        do throws(SystemCallError) { try directory.write(file, values) } catch {
            if error.errno == ErrorNumber.noEntry { return try lack(field, reason(controller, file)) }
            try refused(error, field)
        }
    }

    mutating func write(_ controller: String, _ file: String, _ value: String, _ field: String) throws(LunetteError) {
        try write(controller, file, [value], field)
    }

    mutating func write(_ controller: String, _ file: String, _ value: Int64, _ field: String) throws(LunetteError) {
        try write(controller, file, ["\(value)"], field)
    }

    /// A write that the kernel didn't take: somebody else's cgroup is as good as none, a wrong value is the caller's.
    mutating func refused(_ error: SystemCallError, _ field: String) throws(LunetteError) {
        if missing == .report, [ErrorNumber.access, ErrorNumber.permission, ErrorNumber.readOnly].contains(error.errno) {
            return try lack(field, "its cgroup is not delegated to this user")
        }
        throw Self.failure(error, field)
    }

    static func failure(_ error: SystemCallError, _ field: String) -> LunetteError {
        var failure = error.lunette
        failure.path = "linux.resources.\(field)"
        switch error.errno {
        case ErrorNumber.invalid, CgroupErrorNumber.outOfRange:
            failure.code = .invalidArgument
            failure.hint = "the value is outside of what the kernel takes here; a parent's limit may be narrower"
        case ErrorNumber.noDevice:
            failure.code = .notFound
            failure.hint = "there is no such device on this machine"
        case ErrorNumber.busy:
            failure.hint = "more than that is in use and can't be taken back"
        default: break
        }
        return failure
    }

    /// What can't be enforced: an error or a note, as the caller wants it.
    mutating func lack(_ field: String, _ reason: String) throws(LunetteError) {
        switch missing {
        case .refuse: throw LunetteError(.unsupported, "can't be enforced: \(reason)", path: "linux.resources.\(field)")
        case .report: lacking.append(NotEnforced(ResourceSpec.field(ofRuntime: field), reason))
        }
    }

    /// One for all of them: there is nowhere to write any.
    mutating func lackAll() { lacking.append(NotEnforced("resources", "this user was given no cgroup (docs/rootless.md)")) }

    /// What limits nothing when it is left out (deprecated by the specification, which wants a warning): said in both modes.
    mutating func note(_ field: String, _ reason: String) { ignored.append("\(field) is ignored: \(reason)") }

    func wrong(_ field: String, _ message: String) -> LunetteError {
        LunetteError(.invalidArgument, message, path: "linux.resources.\(field)")
    }
}

enum CgroupErrorNumber {
    /// ERANGE: what cgroup files say to a number beyond their range.
    static let outOfRange: Int32 = 34
}
