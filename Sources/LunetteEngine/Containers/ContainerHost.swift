import LunetteLinux
import LunetteRuntime
import LunetteSpec

/// What the engine needs of the runtime; tests put one with planted failures in its place.
protocol ContainerHost: Sendable {
    /// - Parameter launched: given, the program runs as soon as all is ready; called before that is asked for, with what finds it again.
    func create(_ request: CreateRequest, launched: LaunchNotice?) async throws(LunetteError) -> any LiveContainer
    func adopt(_ record: LunetteRuntime.ContainerRecord) async -> HostObservation
    func reap(id: String, storage: Bool) async -> CleanupReport
    func survey() async throws(LunetteError) -> RuntimeSurvey
    func readLog(
        id: String, _ options: LogOptions, onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError)
    func copyIn(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String) async throws(LunetteError)
    func copyOut(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String) async throws(LunetteError)
    /// Fills an empty directory with what an image's layers have at a path, owners kept.
    /// - Returns: whether there was anything.
    func copyUp(layers: [String], from target: String, to directory: String) async throws(LunetteError) -> Bool
    func changes(id: String, name: String, layers: [String], hidden: Set<String>) async throws(LunetteError) -> [FileChange]
    /// The launch plan in its printable form.
    func launchPlan(_ request: CreateRequest) async throws(LunetteError) -> String
    /// Whether there is such a path on the host.
    func hasPath(_ path: String) -> Bool
    /// Gives back what all containers share, when none is left. The engine's last call.
    func close() async
}

extension ContainerHost {
    func hasPath(_ path: String) -> Bool {
        do throws(SystemCallError) {
            _ = try fileStatus(-100, path, follow: true, label: path)
            return true
        } catch { return false }
    }
}

/// What is really there of a container.
enum HostObservation: Sendable {
    case created(any LiveContainer)
    case running(any LiveContainer)
    case paused(any LiveContainer)
    case exited(ContainerExit)
    /// The shim is gone but the program runs on, without log.
    case unmonitored(any LiveContainer)
    case absent
}

/// The engine's end of one launched container.
protocol LiveContainer: Sendable {
    var record: LunetteRuntime.ContainerRecord { get }
    var profile: [(phase: String, seconds: Double)] { get }
    func start() async throws(LunetteError)
    func exit() async throws(LunetteError) -> ContainerExit
    /// Calls `body` once with what `exit` gives or throws, without a task that waits for it.
    func whenEnded(_ body: @escaping @Sendable (Result<ContainerExit, LunetteError>) -> Void)
    func kill(signal: Int32, all: Bool) async throws(LunetteError)
    func run(_ request: ExecRequest) async throws(LunetteError) -> any LiveExec
    func attach(stdin: FileDescriptor?, stdout: FileDescriptor?, stderr: FileDescriptor?, key: String?) async throws(LunetteError)
    /// Lets go what an attach with this key brought.
    func detach(key: String) async throws(LunetteError)
    func resize(rows: UInt16, columns: UInt16, exec: String?) async throws(LunetteError)
    func pause() async throws(LunetteError)
    func resume() async throws(LunetteError)
    func whenOutOfMemory(_ body: @escaping @Sendable (OutOfMemoryNews) -> Void)
    func stats() async throws(LunetteError) -> Value
    func processes() async throws(LunetteError) -> Value
    /// Connects to a port on the container's own loopback, for its health.
    /// - Parameter timeout: seconds.
    /// - Throws: `io` when nobody listens, `timeout`.
    func connect(port: UInt16, timeout: Double) async throws(LunetteError) -> FileDescriptor
    /// The status of a GET on the container's own loopback.
    func httpStatus(port: UInt16, path: String, timeout: Double) async throws(LunetteError) -> Int
    /// All of it or nothing; see `Container.update`.
    func update(from old: ResourceSpec, to new: ResourceSpec) async throws(LunetteError) -> [NotEnforced]
}

extension LiveContainer {
    func whenEnded(_ body: @escaping @Sendable (Result<ContainerExit, LunetteError>) -> Void) {
        Task {
            do throws(LunetteError) { body(.success(try await exit())) } catch { body(.failure(error)) }
        }
    }
}

/// One more process in a container.
protocol LiveExec: Sendable {
    var id: String { get }
    /// As the host sees it.
    var pid: Int32 { get }
    func exit() async throws(LunetteError) -> ContainerExit
    func kill(signal: Int32) async throws(LunetteError)
}

extension ExecProcess: LiveExec {}

extension Container: LiveContainer {
    func run(_ request: ExecRequest) async throws(LunetteError) -> any LiveExec { try await exec(request) }
}

/// The real runtime.
struct RuntimeHost: ContainerHost {
    let runtime: ContainerRuntime

    func close() async { await runtime.close() }

    func create(_ request: CreateRequest, launched: LaunchNotice?) async throws(LunetteError) -> any LiveContainer {
        try await runtime.create(request, launched: launched)
    }

    func adopt(_ record: LunetteRuntime.ContainerRecord) async -> HostObservation {
        switch await runtime.adopt(record) {
        case .created(let container): .created(container)
        case .running(let container): .running(container)
        case .paused(let container): .paused(container)
        case .exited(let exit): .exited(exit)
        case .unmonitored(let container): .unmonitored(container)
        case .absent: .absent
        }
    }

    func reap(id: String, storage: Bool) async -> CleanupReport { await runtime.reap(id: id, ReapOptions(storage: storage)) }
    func survey() async throws(LunetteError) -> RuntimeSurvey { try await runtime.survey() }

    func readLog(
        id: String, _ options: LogOptions, onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError) { try await runtime.readLog(id: id, options, onEntry: onEntry) }

    func copyIn(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) {
        try await runtime.copyIn(id: id, container: container as? Container, files: files, from: source, to: target)
    }

    func copyOut(
        id: String, container: (any LiveContainer)?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) {
        try await runtime.copyOut(id: id, container: container as? Container, files: files, from: source, to: target)
    }
}

extension RuntimeHost {
    func copyUp(layers: [String], from target: String, to directory: String) async throws(LunetteError) -> Bool {
        try await runtime.copyUp(layers: layers, from: target, to: directory)
    }

    func changes(id: String, name: String, layers: [String], hidden: Set<String>) async throws(LunetteError) -> [FileChange] {
        try await runtime.changes(id: id, name: name, layers: layers, hidden: hidden)
    }

    func launchPlan(_ request: CreateRequest) async throws(LunetteError) -> String { try await runtime.describeLaunch(request).plan }
}

extension ExitRecord {
    init(_ exit: ContainerExit) {
        let reason: Reason =
            switch exit.reason {
            case .exited: .exited
            case .signal: .signal
            case .oom: .oom
            case .seccomp: .seccomp
            case .startFailed: .startFailed
            case .lost: .lost
            }
        self.init(
            code: Int(exit.code), signal: exit.signal, oomKilled: exit.oomKilled, reason: reason, finishedAt: exit.finishedAt,
            message: exit.launchFailure?.message)
        oomKills = Int(exit.oomKills)
    }
}
