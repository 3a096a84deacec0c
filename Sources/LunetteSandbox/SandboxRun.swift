internal import CLinux
internal import Glibc
package import LunetteLinux
package import LunetteSpec

/// How a sandboxed program ended.
package struct SandboxExit: Sendable, Equatable {
    /// The program's exit code, 128+n by signal, 124 when the time ran out.
    package var code: Int32
    /// `SIGKILL`.
    package var signal: String?
    package var isTimedOut = false
    package var isOutOfMemory = false
    /// What was asked for outside the rules, when that was to be reported.
    package var denied: [DeniedAccess] = []
    /// Limits that were asked for and that nothing holds here, in words.
    package var notEnforced: [String] = []
}

extension SandboxExit {
    /// The contract's result of an exec, and what only a sandbox has.
    package var value: Value {
        var map: ValueMap = ["code": .int(Int64(code))]
        map["signal"] = signal.map(Value.string)
        if isTimedOut { map["timed_out"] = true }
        if isOutOfMemory { map["oom_killed"] = true }
        map["denied"] = .array(
            denied.map { ["action": .string($0.action), "path": .string($0.path), "rule": .map([$0.rule.field: .string($0.rule.value)])] })
        map["not_enforced"] = .array(notEnforced.map(Value.string))
        return .map(map)
    }
}

/// Runs one command in a sandbox and waits for its end: plans, spawns lunette-shim, attends it. One thread; every call blocks.
///
///     this process                    lunette-shim
///       │ spawn: 0 1 2 the program's, 3 plan, 4 socket
///       │ START ───────────────────────► │ namespaces, trees, program
///       │ ◄───────────────────── STARTED │   or FAILED: the error that the user sees
///       │ ◄──────────────────── LISTENER │   when denied accesses are reported
///       │ SIGNAL ──────────────────────► │
///       │ ◄────────────────────── EXITED │
///       │ the socket's end: the shim and whatever it still holds go
package struct SandboxRun: Sendable {
    package let spec: SandboxSpec
    package private(set) var facts: SandboxFacts
    private let directory: String

    /// 0, 1 and 2 of the program; nil is /dev/null.
    package struct Streams: Sendable {
        package var input: FileDescriptor?
        package var output: FileDescriptor?
        package var error: FileDescriptor?
        package init(input: FileDescriptor?, output: FileDescriptor?, error: FileDescriptor?) {
            self.input = input
            self.output = output
            self.error = error
        }

        /// The caller's own.
        package static func inherited() throws(LunetteError) -> Streams {
            func own(_ number: Int32) throws(LunetteError) -> FileDescriptor? {
                // A closed stream is as good as /dev/null.
                if fcntl(number, F_GETFD) < 0 { return nil }
                var status = stat()
                if fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
                    throw LunetteError(
                        .invalidArgument, "descriptor \(number) is a folder, which the program could go through to what no rule names",
                        hint: number == 0 ? "lunette sandbox … < /dev/null" : nil)
                }
                return try atBorder("hand on descriptor \(number)", { () throws(SystemCallError) in try .duplicate(of: number) })
            }
            return Streams(input: try own(0), output: try own(1), error: try own(2))
        }
    }

    /// Asks the machine what the plan needs. Nothing is made yet.
    /// - Parameters:
    ///   - directory: where relative paths start.
    ///   - isOurs: it is the folder that this process stands in: then they do whatever becomes of its name.
    ///   - terminal: the size of a terminal of its own; nil where the streams are used as they are.
    /// - Throws: `invalid_argument` and `not_found` for rules that make no sense here.
    package init(_ spec: SandboxSpec, directory: String, isOurs: Bool = true, terminal: SandboxFacts.Terminal? = nil) throws(LunetteError) {
        self.spec = spec
        self.directory = directory
        facts = try SandboxFactsReader.read(spec, directory: directory, isOurs: isOurs)
        let view = try SandboxView(spec, facts)
        try OwnFolders.refuseMovableLinks(EnginePlaces(uid: facts.uid, home: facts.home), view)
        facts.ownFolders = OwnFolders.endangered(facts.ownFolders, view)
        facts.terminal = terminal
        facts.seccompProgram = try SandboxFilter.program(spec)
        if spec.reportsDenied { facts.listenerProgram = SandboxFilter.listener() }
    }

    /// What holds what (`--explain`).
    /// - Throws: as `run` for a spec that can't be planned.
    package func explanation() throws(LunetteError) -> [SandboxExplanation] {
        var facts = facts
        if let cgroup = try SandboxCgroup.make(spec, &facts) { _ = cgroup.remove() }
        return try SandboxExplanation.entries(spec, facts)
    }

    /// Runs the command to its end.
    /// - Parameters:
    ///   - signals: a descriptor of `lnt_signalfd_all`: what comes there is passed on to the program's process group; -1 for none.
    ///   - cancel: readable when everything shall end at once; -1 for none.
    /// - Throws: what kept the program from running; `details.exit_code` is 126 or 127 when it was the program itself.
    package func run(_ streams: Streams, signals: Int32 = -1, cancel: Int32 = -1) throws(LunetteError) -> SandboxExit {
        var facts = facts
        // The plan before anything is made, so that what can be refused is; again only when what was made has changed what is known.
        var plan = try SandboxPlanner.plan(spec, facts)
        facts.ownFolders = try OwnFolders.make(facts.ownFolders, try SandboxView(spec, facts))
        let cgroup = try SandboxCgroup.make(spec, &facts)
        let notEnforced = Self.notEnforced(spec, facts)
        let attendance: SandboxAttendance
        do throws(LunetteError) {
            try Self.refuse(notEnforced, spec, facts)
            if facts != self.facts { plan = try SandboxPlanner.plan(spec, facts) }
            attendance = try SandboxAttendance(try plan.encoded(), streams, spec, facts)
        } catch {
            _ = cgroup?.remove()
            throw error
        }
        let outcome: Result<SandboxExit, LunetteError>
        do throws(LunetteError) { outcome = .success(try attendance.wait(signals: signals, cancel: cancel)) } catch {
            outcome = .failure(error)
        }
        // Nothing runs any more: the shim has gone. What can't be removed says so, unless there is worse to say.
        let leftovers = cgroup?.remove() ?? []
        var exit = try outcome.get()
        if let first = leftovers.first { throw first.lunette }
        exit.notEnforced = notEnforced
        return exit
    }

    /// What was asked for and nothing holds for the sandbox as a whole, in words.
    static func notEnforced(_ spec: SandboxSpec, _ facts: SandboxFacts) -> [String] {
        var words = facts.degraded + unheldLimits(spec, facts)
        if (spec.connectPorts != nil || spec.bindPorts != nil) && (!spec.hasLandlock || facts.landlockABI < 4) {
            words.append("ports are not enforced: Landlock ABI 4 (Linux 6.7) is needed")
        }
        if spec.requiresLandlock, facts.landlockABI == 0 { words.append("landlock is not enforced: this kernel has none") }
        return words
    }

    /// Limits that were asked for where there is no cgroup to hold them.
    private static func unheldLimits(_ spec: SandboxSpec, _ facts: SandboxFacts) -> [String] {
        guard case .none(let reason) = facts.limits else { return [] }
        let resources = spec.resources
        var words: [String] = []
        if resources.memory != nil {
            words.append(
                facts.uid == 0
                    ? "memory is not enforced: \(reason)" : "memory is enforced for each process, not for all together: \(reason)")
        }
        let others: [(String, Bool)] = [
            ("cpus", resources.cpus != nil), ("cpu_shares", resources.cpuShares != nil), ("cpuset", resources.cpuset != nil),
            ("cpuset_memory", resources.cpusetMemory != nil), ("memory_reservation", resources.memoryReservation != nil),
            ("io_weight", resources.ioWeight != nil), ("pids", resources.pids != nil && facts.uid == 0),
        ]
        for (name, isAsked) in others where isAsked { words.append("\(name) is not enforced: \(reason)") }
        return words
    }

    /// A limit that nobody holds is none: whoever can do without it says so.
    private static func refuse(_ words: [String], _ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) {
        guard let first = words.first, !spec.isBestEffort else { return }
        let others = words.count > 1 ? " (and \(words.count - 1) more, see --explain)" : ""
        let canBeGiven = !facts.isPrivileged && !unheldLimits(spec, facts).isEmpty
        let instead = "--best-effort runs it with what can be held (best_effort = true)"
        throw LunetteError(
            .unsupported, "make the sandbox: \(first)\(others)",
            hint: canBeGiven ? "an administrator can give this user a cgroup (docs/sandbox.md); \(instead)" : instead)
    }
}
