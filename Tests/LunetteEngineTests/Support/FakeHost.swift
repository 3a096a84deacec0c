import LunetteLinux
import LunetteRuntime
import LunetteSpec
import Synchronization

@testable import LunetteEngine

/// A runtime without a kernel: containers that end when the test says so, and failures planted at will.
final class FakeHost: ContainerHost {
    struct State {
        var containers: [String: FakeContainer] = [:]
        /// What happened, in order: `create web`, `reap web`, …
        var journal: [String] = []
        var createFailures: [LunetteError] = []
        var observations: [String: HostObservation] = [:]
        var leftovers: Set<String> = []
        var reapFailures: [String: LunetteError] = [:]
        /// What every clean-up waits for.
        var reapGate: OneShot<Void>?
        var requests: [CreateRequest] = []
        var log: [LogEntry] = []
        var whileCopying: (@Sendable ((any LiveContainer)?) throws(LunetteError) -> Void)?
    }

    let state = Mutex(State())

    func close() async {}

    var journal: [String] { state.withLock { $0.journal } }
    func container(_ id: String) -> FakeContainer? { state.withLock { $0.containers[id] } }

    func create(_ request: CreateRequest, launched: LaunchNotice?) async throws(LunetteError) -> any LiveContainer {
        let result = state.withLock { state -> Result<FakeContainer, LunetteError> in
            state.journal.append("create \(request.spec.name ?? request.id)")
            state.requests.append(request)
            if !state.createFailures.isEmpty { return .failure(state.createFailures.removeFirst()) }
            let container = FakeContainer(id: request.id, spec: request.spec)
            state.containers[request.id] = container
            return .success(container)
        }
        let container = try result.get()
        try await launched?(container.record)
        return container
    }

    func adopt(_ record: LunetteRuntime.ContainerRecord) async -> HostObservation {
        state.withLock { $0.observations[record.id] ?? .absent }
    }

    func reap(id: String, storage: Bool) async -> CleanupReport {
        var report = CleanupReport()
        let failure = state.withLock { state in
            state.journal.append("reap \(id.prefix(8)) \(storage)")
            state.leftovers.remove(id)
            return state.reapFailures[id]
        }
        container(id)?.finish(code: 137, signal: "SIGKILL", reason: .signal)
        if let gate = state.withLock({ $0.reapGate }) { await gate.value() }
        if let failure { report.record("planted", failure: failure) }
        return report
    }

    func survey() async throws(LunetteError) -> RuntimeSurvey {
        var survey = RuntimeSurvey()
        survey.runDirectories = state.withLock { $0.leftovers }
        return survey
    }

    func readLog(
        id: String, _ options: LogOptions, onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        for entry in state.withLock({ $0.log }) { try await onEntry(entry) }
    }

    func copyIn(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) { state.withLock { $0.journal.append("copy in \(files.name)") } }
    func copyOut(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) {
        let body = state.withLock { state in
            state.journal.append("copy out \(files.name)")
            return state.whileCopying
        }
        try body?(container)
    }
    func copyUp(layers: [String], from target: String, to directory: String) async throws(LunetteError) -> Bool { false }
    func changes(id: String, name: String, layers: [String], hidden: Set<String>) async throws(LunetteError) -> [FileChange] { [] }
    func launchPlan(_ request: CreateRequest) async throws(LunetteError) -> String { "plan of \(request.spec.name ?? "")" }
}

final class FakeContainer: LiveContainer {
    let record: LunetteRuntime.ContainerRecord
    let spec: ContainerSpec
    let profile: [(phase: String, seconds: Double)] = [("clone", 0.001)]
    private let outcome = OneShot<ContainerExit>()
    struct State {
        var signals: [Int32] = []
        /// Signals that end it; others are only noted.
        var diesOf: Set<Int32> = [9, 15]
        var isPaused = false
        /// Whether a signal ends it and its monitor before the monitor has answered.
        var leavesUnanswered = false
        var startFailure: LunetteError?
        var execs: [ExecRequest] = []
        var startGate: OneShot<Void>?
        /// Ports that are listened on, and the status of every page.
        var ports: [UInt16: Int] = [:]
        var stats: ValueMap = ["time": 1]
        /// How often they were read.
        var looks = 0
        /// Limits of memory as they were set.
        var limits: [Int64?] = []
        /// Limits of memory that its kernel refuses.
        var refusedLimits: Set<Int64> = []
    }
    let state = Mutex(State())

    init(id: String, spec: ContainerSpec) {
        let process = ProcessIdentity(pid: 4242, startTime: 1, bootID: "boot")
        record = LunetteRuntime.ContainerRecord(
            id: id, shim: process, initProcess: process, notEnforced: Self.lacking(spec.resources))
        self.spec = spec
    }

    func finish(code: Int32 = 0, signal: String? = nil, reason: ContainerExit.Reason = .exited, oom: Bool = false) {
        outcome.fulfil(ContainerExit(code: code, signal: signal, oomKilled: oom, reason: reason, finishedAt: 1))
    }

    func start() async throws(LunetteError) {
        if let gate = state.withLock({ $0.startGate }) { await gate.value() }
        if let failure = state.withLock({ $0.startFailure }) { throw failure }
        // Commands of this name end by themselves.
        if spec.args.first == "true" { finish() }
        if spec.args.first == "false" { finish(code: 1) }
    }

    func exit() async throws(LunetteError) -> ContainerExit {
        guard let exit = await outcome.valueUnlessCancelled() else { throw LunetteError(.cancelled, "cancelled") }
        return exit
    }

    func kill(signal: Int32, all: Bool) async throws(LunetteError) {
        if outcome.known != nil { throw LunetteError(.invalidState, "ended") }
        let dies = state.withLock { state in
            state.signals.append(signal)
            return state.diesOf.contains(signal)
        }
        if dies { finish(code: 128 + signal, signal: Signal(number: Int64(signal))?.name, reason: .signal) }
        if dies, state.withLock({ $0.leavesUnanswered }) { throw LunetteError(.io, "the monitor is gone") }
    }

    func run(_ request: ExecRequest) async throws(LunetteError) -> any LiveExec {
        state.withLock { $0.execs.append(request) }
        return FakeExec(id: request.id, command: request.spec.args)
    }

    func attach(stdin: FileDescriptor?, stdout: FileDescriptor?, stderr: FileDescriptor?, key: String?) async throws(LunetteError) {}
    func detach(key: String) async throws(LunetteError) {}
    func resize(rows: UInt16, columns: UInt16, exec: String?) async throws(LunetteError) {}
    func pause() async throws(LunetteError) { state.withLock { $0.isPaused = true } }
    func resume() async throws(LunetteError) { state.withLock { $0.isPaused = false } }
    func stats() async throws(LunetteError) -> Value {
        .map(
            state.withLock { state in
                state.looks += 1
                return state.stats
            })
    }
    func processes() async throws(LunetteError) -> Value { .array([]) }
    func connect(port: UInt16, timeout: Double) async throws(LunetteError) -> FileDescriptor {
        guard state.withLock({ $0.ports[port] }) != nil else { throw LunetteError(.io, "connect to port \(port): connection refused") }
        return try atBorder { () throws(SystemCallError) in try FileDescriptor.pipe().read }
    }
    func httpStatus(port: UInt16, path: String, timeout: Double) async throws(LunetteError) -> Int {
        guard let status = state.withLock({ $0.ports[port] }) else {
            throw LunetteError(.io, "connect to port \(port): connection refused")
        }
        return status
    }
    func whenOutOfMemory(_ body: @escaping @Sendable (OutOfMemoryNews) -> Void) {}
    func update(from old: ResourceSpec, to new: ResourceSpec) async throws(LunetteError) -> [NotEnforced] {
        let isRefused = state.withLock { state in
            if let limit = new.memory, state.refusedLimits.contains(limit) { return true }
            state.limits.append(new.memory)
            return false
        }
        if isRefused { throw LunetteError(.conflict, "the container \(record.id) uses more", path: "resources.memory", target: record.id) }
        return Self.lacking(new)
    }

    /// This machine holds no memory limit, and says so of the default number of processes beside it.
    private static func lacking(_ resources: ResourceSpec) -> [NotEnforced] {
        guard resources.memory != nil else { return [] }
        return [NotEnforced("resources.memory", "it is a fake"), NotEnforced("resources.pids", "it is a fake")]
    }
}

/// Ends at once, except `sleep`, which waits for its SIGKILL.
final class FakeExec: LiveExec {
    let id: String
    let pid: Int32 = 4242
    private let outcome = OneShot<ContainerExit>()

    init(id: String, command: [String]) {
        self.id = id
        if command.first != "sleep" { outcome.fulfil(ContainerExit(code: command.first == "false" ? 1 : 0, finishedAt: 1)) }
    }

    func exit() async throws(LunetteError) -> ContainerExit { await outcome.value() }
    func kill(signal: Int32) async throws(LunetteError) {
        outcome.fulfil(ContainerExit(code: 128 + signal, signal: "SIGKILL", reason: .signal, finishedAt: 1))
    }
}
