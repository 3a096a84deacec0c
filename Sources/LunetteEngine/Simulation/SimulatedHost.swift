import LunetteAPI
import LunetteLinux
import LunetteRuntime
import LunetteSpec
import Synchronization

/// A runtime without a kernel: what its programs do says the test.
final class SimulatedHost: ContainerHost {
    private struct State {
        var containers: [String: SimulatedContainer] = [:]
        var nextPID: Int32 = 1000
    }

    let director: any SimulationDirector
    let time: VirtualTime
    private let state = Mutex(State())
    private let logs = SimulatedLogs()

    init(director: any SimulationDirector, time: VirtualTime) {
        self.director = director
        self.time = time
    }

    func close() async {}

    func container(_ id: String) -> SimulatedContainer? { state.withLock { $0.containers[id] } }

    func newPID() -> Int32 {
        state.withLock { state in
            state.nextPID += 1
            return state.nextPID
        }
    }

    func hasPath(_ path: String) -> Bool { true }

    func create(_ request: CreateRequest, launched: LaunchNotice?) async throws(LunetteError) -> any LiveContainer {
        let container = SimulatedContainer(request, host: self, pid: newPID(), logs: logs)
        state.withLock { $0.containers[request.id] = container }
        try await launched?(container.record)
        return container
    }

    /// Nothing outlives a simulated engine.
    func adopt(_ record: LunetteRuntime.ContainerRecord) async -> HostObservation { .absent }

    func reap(id: String, storage: Bool) async -> CleanupReport {
        let container = state.withLock { $0.containers.removeValue(forKey: id) }
        container?.finish(SimulatedEnd(code: 137, signal: "SIGKILL"))
        if storage { logs.forget(id) }
        return CleanupReport()
    }

    func survey() async throws(LunetteError) -> RuntimeSurvey { RuntimeSurvey() }

    func readLog(
        id: String, _ options: LogOptions, onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        try await logs.read(id, options, end: container(id)?.outcome, onEntry)
    }

    func copyIn(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) { throw Self.hasNoFiles(files.name) }

    func copyOut(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) { throw Self.hasNoFiles(files.name) }

    private static func hasNoFiles(_ name: String) -> LunetteError {
        LunetteError(
            .unsupported, "copy files of \(name): a container of a test has none", target: name,
            hint: "test.stub(\"container.copy_in\", …) says what the call answers")
    }

    func copyUp(layers: [String], from target: String, to directory: String) async throws(LunetteError) -> Bool { false }
    func changes(id: String, name: String, layers: [String], hidden: Set<String>) async throws(LunetteError) -> [FileChange] { [] }

    func launchPlan(_ request: CreateRequest) async throws(LunetteError) -> String {
        throw LunetteError(.unsupported, "plan the launch of \(request.spec.name ?? request.id): a test launches nothing")
    }
}

/// What the programs of simulated containers wrote, by container.
final class SimulatedLogs: Sendable {
    private struct Log {
        var entries: [LogEntry] = []
        var waiters: [OneShot<Void>] = []
    }
    private let logs = Mutex<[String: Log]>([:])

    func add(_ bytes: [UInt8], _ stream: LogEntry.Stream, to id: String, at now: Double) {
        guard !bytes.isEmpty else { return }
        var lines = bytes.split(separator: 10, omittingEmptySubsequences: false).map(Array.init)
        let isComplete = lines.last?.isEmpty == true
        if isComplete { lines.removeLast() }
        let waiters = logs.withLock { logs in
            for (index, line) in lines.enumerated() {
                let sequence = UInt64(logs[id]?.entries.count ?? 0) + 1
                logs[id, default: Log()].entries.append(
                    LogEntry(
                        stream: stream, timestamp: Self.timestamp(now), sequence: sequence, line: line,
                        isComplete: isComplete || index < lines.count - 1))
            }
            defer { logs[id]?.waiters = [] }
            return logs[id]?.waiters ?? []
        }
        for waiter in waiters { waiter.fulfil(()) }
    }

    func forget(_ id: String) { logs.withLock { $0[id] = nil } }

    /// Wakes who follows a log: the program has ended.
    func ended(_ id: String) {
        let waiters = logs.withLock { logs in
            defer { logs[id]?.waiters = [] }
            return logs[id]?.waiters ?? []
        }
        for waiter in waiters { waiter.fulfil(()) }
    }

    func read(
        _ id: String, _ options: LogOptions, end: OneShot<ContainerExit>?,
        _ onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        func wants(_ entry: LogEntry) -> Bool {
            (entry.stream == .stdout ? options.stdout : options.stderr)
                && (options.since == nil || (Timestamp.seconds(entry.timestamp) ?? 0) >= options.since!)
        }
        var known = logs.withLock { $0[id]?.entries ?? [] }.filter(wants)
        if let tail = options.tail { known = Array(known.suffix(tail)) }
        var position = logs.withLock { $0[id]?.entries.last?.sequence ?? 0 }
        for entry in known { try await onEntry(entry) }
        while options.follow {
            let isOver = end == nil || end!.known != nil
            let news = OneShot<Void>()
            let more = logs.withLock { logs -> [LogEntry] in
                let more = (logs[id]?.entries ?? []).filter { $0.sequence > position }
                if more.isEmpty, !isOver { logs[id, default: Log()].waiters.append(news) }
                return more
            }
            for entry in more {
                position = entry.sequence
                if wants(entry) { try await onEntry(entry) }
            }
            if !more.isEmpty { continue }
            if isOver { return }
            guard await news.valueUnlessCancelled() != nil else { throw LunetteError(.cancelled, "the reading was cancelled") }
        }
    }

    private static func timestamp(_ now: Double) -> String { Timestamp.text(now) }
}
