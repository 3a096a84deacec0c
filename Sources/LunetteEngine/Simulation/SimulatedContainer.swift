import LunetteAPI
import LunetteLinux
import LunetteRuntime
import LunetteSpec
import Synchronization

/// One container of a test: its program is what the director says.
final class SimulatedContainer: LiveContainer {
    let record: LunetteRuntime.ContainerRecord
    let profile: [(phase: String, seconds: Double)] = []
    let outcome = OneShot<ContainerExit>()
    private let request: CreateRequest
    private let host: SimulatedHost
    private let logs: SimulatedLogs
    private struct State {
        var ignored: Set<Int32> = []
        var timer: Int?
        var hasBegun = false
        var execs: [SimulatedExec] = []
    }
    private let state = Mutex(State())

    init(_ request: CreateRequest, host: SimulatedHost, pid: Int32, logs: SimulatedLogs) {
        self.request = request
        self.host = host
        self.logs = logs
        let process = ProcessIdentity(pid: pid, startTime: 1, bootID: "test")
        record = LunetteRuntime.ContainerRecord(id: request.id, shim: process, initProcess: process)
    }

    func start() async throws(LunetteError) {
        // A pod runs nothing.
        if request.spec.isPod { return }
        let args =
            (request.spec.entrypoint ?? request.image?.entrypoint ?? [])
            + (request.spec.args.isEmpty ? request.image?.cmd ?? [] : request.spec.args)
        var start: ValueMap = [
            "kind": "program", "container": Handle.container(id: request.id, name: request.spec.name ?? request.id),
            "args": .array(args.map(Value.string)), "env": .strings(request.spec.env),
        ]
        if case .image(let name) = request.spec.root { start["image"] = .string(name) }
        start["workdir"] = request.spec.workdir.map(Value.string)
        start["user"] = request.spec.user.map { .string($0.description) }
        let program = try await host.director.program(.map(start))
        logs.add(program.stdout, .stdout, to: request.id, at: host.time.now)
        logs.add(program.stderr, .stderr, to: request.id, at: host.time.now)
        state.withLock { $0.ignored = Set(program.ignored.compactMap { (try? Signal($0))?.number }) }  // Checked where they were written.
        guard let end = program.end else { return }
        guard program.after > 0 else { return finish(end) }
        let timer = host.time.schedule(after: program.after) { self.finish(end) }
        state.withLock { $0.timer = timer }
    }

    func finish(_ end: SimulatedEnd) {
        let (timer, execs) = state.withLock { state in
            defer { (state.timer, state.execs) = (nil, []) }
            return (state.timer, state.execs)
        }
        if let timer { host.time.cancel(timer) }
        // The kernel ends what is left when a pid namespace's first process ends.
        for exec in execs { exec.finish(SimulatedEnd(code: 137, signal: "SIGKILL")) }
        outcome.fulfil(ContainerExit(end, at: host.time.now))
        logs.ended(request.id)
    }

    func exit() async throws(LunetteError) -> ContainerExit {
        guard let exit = await outcome.valueUnlessCancelled() else { throw LunetteError(.cancelled, "the wait was cancelled") }
        return exit
    }

    func kill(signal: Int32, all: Bool) async throws(LunetteError) {
        guard outcome.known == nil else { throw LunetteError(.invalidState, "signal a program that has ended") }
        if signal != Signal.kill.number, state.withLock({ $0.ignored.contains(signal) }) || Self.harmless.contains(signal) { return }
        finish(SimulatedEnd(code: 128 + signal, signal: Signal(number: Int64(signal))?.name))
    }

    /// Those that don't end a program that has no handler (signal(7)): CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH; 0 only asks.
    private static let harmless: Set<Int32> = [0, 17, 18, 19, 20, 21, 22, 23, 28]

    func run(_ request: ExecRequest) async throws(LunetteError) -> any LiveExec {
        let spec = self.request.spec
        var start: ValueMap = [
            "kind": "exec", "container": Handle.container(id: self.request.id, name: spec.name ?? self.request.id),
            "args": .array(request.spec.args.map(Value.string)), "env": .strings(request.spec.env),
        ]
        if case .image(let name) = spec.root { start["image"] = .string(name) }
        start["workdir"] = request.spec.workdir.map(Value.string)
        start["user"] = request.spec.user.map { .string($0.description) }
        if let stdin = request.io.stdin {
            let input = try await blocking { () throws(LunetteError) in
                try atBorder("read an exec's stdin") { () throws(SystemCallError) in try stdin.readAll(limit: 16 << 20) }
            }
            start["stdin"] = .text(input)
        }
        let program = try await host.director.program(.map(start))
        let exec = try SimulatedExec(request, pid: host.newPID(), time: host.time)
        state.withLock { $0.execs.append(exec) }
        try await exec.play(program)
        return exec
    }

    func attach(stdin: FileDescriptor?, stdout: FileDescriptor?, stderr: FileDescriptor?, key: String?) async throws(LunetteError) {}
    func detach(key: String) async throws(LunetteError) {}
    func resize(rows: UInt16, columns: UInt16, exec: String?) async throws(LunetteError) {}
    func pause() async throws(LunetteError) {}
    func resume() async throws(LunetteError) {}
    func whenOutOfMemory(_ body: @escaping @Sendable (OutOfMemoryNews) -> Void) {}

    func stats() async throws(LunetteError) -> Value {
        ["time": .double(host.time.now), "cpu": ["usage": 0], "memory": ["usage": 0], "pids": ["current": 1]]
    }

    func processes() async throws(LunetteError) -> Value { .array([]) }

    /// A health check is what the test says of the command `connect PORT`.
    func connect(port: UInt16, timeout: Double) async throws(LunetteError) -> FileDescriptor {
        guard try await check(["connect", "\(port)"]) == 0 else {
            throw LunetteError(.io, "connect to port \(port): connection refused")
        }
        return try atBorder { () throws(SystemCallError) in try FileDescriptor.pipe().read }
    }

    /// What the test says of the command `GET PORT/PATH`: 200 for its code 0, else 503.
    func httpStatus(port: UInt16, path: String, timeout: Double) async throws(LunetteError) -> Int {
        try await check(["GET", "\(port)\(path)"]) == 0 ? 200 : 503
    }

    private func check(_ args: [String]) async throws(LunetteError) -> Int32 {
        let exec = try await run(
            ExecRequest(id: "check-\(Identifier.short())", spec: ExecSpec(args: args), container: request.spec, image: nil))
        return try await exec.exit().code
    }

    func update(from old: ResourceSpec, to new: ResourceSpec) async throws(LunetteError) -> [NotEnforced] { [] }
}

/// One exec of a test.
final class SimulatedExec: LiveExec {
    let id: String
    let pid: Int32
    private let time: VirtualTime
    private let outcome = OneShot<ContainerExit>()
    private let stdout: FileDescriptor?
    private let stderr: FileDescriptor?
    private let timer = Mutex<Int?>(nil)

    /// Keeps the streams: its caller closes its own.
    init(_ request: ExecRequest, pid: Int32, time: VirtualTime) throws(LunetteError) {
        id = request.id
        self.pid = pid
        self.time = time
        (stdout, stderr) = try atBorder("take an exec's streams") { () throws(SystemCallError) in
            (
                try request.io.stdout.map { file throws(SystemCallError) in try .duplicate(of: file.number) },
                try request.io.stderr.map { file throws(SystemCallError) in try .duplicate(of: file.number) }
            )
        }
    }

    func play(_ program: SimulatedProgram) async throws(LunetteError) {
        guard let end = program.end else { return }
        guard program.after > 0 else { return await write(program, end) }
        let timer = time.schedule(after: program.after) { Task { await self.write(program, end) } }
        self.timer.withLock { $0 = timer }
    }

    private func write(_ program: SimulatedProgram, _ end: SimulatedEnd) async {
        guard outcome.known == nil else { return }
        let (stdout, stderr) = (stdout, stderr)
        await blocking {
            // A reader that has gone is the program's trouble, as with a real one.
            try? stdout?.writeAll(program.stdout)
            try? (stderr ?? stdout)?.writeAll(program.stderr)
        }
        finish(end)
    }

    func finish(_ end: SimulatedEnd) {
        guard outcome.known == nil else { return }
        if let timer = timer.withLock({ $0 }) { time.cancel(timer) }
        stdout?.close()
        stderr?.close()
        outcome.fulfil(ContainerExit(end, at: time.now))
    }

    func exit() async throws(LunetteError) -> ContainerExit { await outcome.value() }

    func kill(signal: Int32) async throws(LunetteError) {
        finish(SimulatedEnd(code: 128 + signal, signal: Signal(number: Int64(signal))?.name))
    }
}

extension ContainerExit {
    init(_ end: SimulatedEnd, at now: Double) {
        self.init(
            code: end.code, signal: end.signal, oomKilled: end.isOutOfMemory,
            reason: end.isOutOfMemory ? .oom : end.signal == nil ? .exited : .signal,
            finishedAt: now)
        if end.isOutOfMemory { oomKills = 1 }
    }
}

extension Value {
    fileprivate static func strings(_ map: [String: String]) -> Value {
        var value = ValueMap()
        for (key, text) in map.sorted(by: { $0.key < $1.key }) { value[key] = .string(text) }
        return .map(value)
    }
}
