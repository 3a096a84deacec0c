internal import Glibc
internal import LunetteAPI
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

extension LuaHost {
    /// `process.run`: a command of the host's, as the user that this process runs as. A thread of its own waits for it.
    /// - Parameter stream: whose chunks the output becomes, where a function of the script takes it; the result is then its end.
    func runProcess(_ given: Value, stream: Int64?) throws(LunetteError) -> LuaState.Answer {
        let (function, arguments) = try clientCall("process.run", given)
        if let standIn = dryRun?.answer(function, arguments) {
            guard let stream else { return .results([standIn]) }
            mailbox.post { host in host.deliver(stream, .success(.array(["end", standIn]))) }
            return .results([])
        }
        let mailbox = mailbox
        let token = stream ?? newToken()
        let actor = Actor(uid: getuid(), gid: getgid(), pid: getpid())
        let request = APIRequest(id: "", function: function.name, arguments: arguments, actor: actor)
        let control = StreamControl(window: 64)
        let streams = try ProcessStreams(for: function, request, directory: options.directory) { chunk in
            control.waitBlocking()
            let bytes = MessagePack.encode(.array(["chunk", chunk]))
            mailbox.post { host in host.deliverBytes(token, isError: false, bytes) }
        }
        guard let streams else { throw LunetteError(.internal, "process.run takes no streams") }
        let hold = try holdCall(stream == nil ? CallBudget.call : CallBudget.stream)
        let job = try ProcessJob(streams: streams, directory: options.directory, sharesTerminal: arguments["stdin"] == "inherit")
        if stream == nil {
            inFlight[token] = job
        } else {
            control.ended = job
            inFlight[token] = control
        }
        onOwnThread {
            let outcome = job.run()
            Task {
                let result = await job.finish(outcome)
                mailbox.post { host in
                    guard withExtendedLifetime(hold, { host.inFlight.removeValue(forKey: token) }) != nil else { return }
                    host.deliver(token, result.map { stream == nil ? .array([$0]) : .array(["end", $0]) })
                }
            }
        }
        return stream == nil ? .await(token) : .results([])
    }
}

/// One command of a script: killed, with what it has started, when its time is over, its task is cancelled or the script ends.
private final class ProcessJob: Cancellable, Sendable {
    private struct State {
        var process: ProcessDescriptor?
        var isCancelled = false
        var isTimedOut = false
    }

    private let streams: ProcessStreams
    private let words: [String]
    /// What errors call it: the program, or the whole line.
    private let label: String
    private let environment: [String: String]
    private let folder: String
    private let timeout: Double?
    /// Whether it reads the script's own terminal, and so has to stay in its session.
    private let sharesTerminal: Bool
    private let state = Mutex(State())

    init(streams: ProcessStreams, directory: String, sharesTerminal: Bool) throws(LunetteError) {
        self.streams = streams
        self.sharesTerminal = sharesTerminal
        var reader = try FieldReader(streams.arguments)
        reader.ignore("stdio")
        if let line = reader.value("args")?.stringValue {
            words = ["/bin/sh", "-c", line]
            label = displayable(line, limit: 80)
        } else {
            words = try reader.strings("args") ?? []
            label = displayable(words.first ?? "", limit: 200)
        }
        guard let program = words.first, !program.isEmpty else { throw reader.failure("args", "names no program") }
        var environment = Environment.all
        for (name, value) in try reader.stringMap("env") ?? [] { environment[name] = value }
        self.environment = environment
        folder = APIRegistry.absolutePath(try reader.string("workdir") ?? directory, directory: directory)
        timeout = try reader.seconds("timeout")
        try reader.finish()
    }

    /// Kills it and what it has started; the thread that waits then sees its end.
    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            if let process = state.process { kill(process) }
        }
    }

    private func kill(_ process: ProcessDescriptor) {
        // Not reaped yet, so its number is nobody else's.
        if !sharesTerminal { _ = Glibc.kill(-process.pid, SIGKILL) }
        _ = Glibc.kill(process.pid, SIGKILL)
    }

    /// Blocks until the command has ended.
    func run() -> Result<WaitStatus, LunetteError> {
        do throws(LunetteError) { return .success(try start()) } catch { return .failure(error) }
    }

    private func start() throws(LunetteError) -> WaitStatus {
        let path = try programPath()
        var request = SpawnRequest(
            .path(path), arguments: words, environment: environment.map { "\($0.key)=\($0.value)" }, descriptors: try handedOn())
        request.newSession = !sharesTerminal
        request.directory = try atBorder("process.run: enter \(folder)") { () throws(SystemCallError) in try Directory(folder) }
        let process = try atBorder("process.run") { () throws(SystemCallError) in
            try spawn(request)
        }
        let isCancelled = state.withLock { state in
            state.process = process
            return state.isCancelled
        }
        if isCancelled { kill(process) }
        if let timeout {
            let end = monotonicNow() + timeout
            while !process.waitForExit(milliseconds: Int32(max(0, min(1e6, (end - monotonicNow()) * 1000).rounded(.up)))) {
                if monotonicNow() < end { continue }
                state.withLock { state in
                    state.isTimedOut = true
                    kill(process)
                }
                break
            }
        }
        _ = process.waitForExit()
        return try state.withLock { state throws(LunetteError) in
            // From here on the number may be another's.
            state.process = nil
            let status = try atBorder("process.run: wait", { () throws(SystemCallError) in try process.reap(block: true) })
            return WaitStatus(raw: status ?? 0)
        }
    }

    /// Where a program without a slash lies, by the PATH that it gets.
    private func programPath() throws(LunetteError) -> String {
        let program = words[0]
        if program.hasSlash { return program.hasPrefix("/") ? program : "\(folder)/\(program)" }
        for entry in (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") where entry.hasPrefix("/") {
            let path = "\(entry)/\(program)"
            if access(path, X_OK) == 0 { return path }
        }
        throw LunetteError(
            .notFound, "process.run: start \(label): no such program in PATH", operation: "process.run",
            target: program)
    }

    /// Its stdin, stdout and stderr; nil is /dev/null.
    private func handedOn() throws(LunetteError) -> [FileDescriptor?] {
        var files: [FileDescriptor?] = [nil, nil, nil]
        let names = streams.arguments["stdio"]?.arrayValue?.compactMap(\.stringValue) ?? []
        for (name, file) in zip(names, streams.files) {
            guard let place = ["stdin", "stdout", "stderr"].firstIndex(of: name) else { continue }
            files[place] = try atBorder("hand on \(name)", { () throws(SystemCallError) in try .duplicate(of: file) })
        }
        return files
    }

    func finish(_ outcome: Result<WaitStatus, LunetteError>) async -> Result<Value, LunetteError> {
        let output = await streams.finish()
        do throws(LunetteError) {
            let status = try outcome.get()
            var map: ValueMap = ["code": .int(Int64(status.code))]
            map["signal"] = status.signal.flatMap { Signal(number: Int64($0)) }.map { .string($0.name) }
            let result = output.merged(into: .map(map))
            guard state.withLock({ $0.isTimedOut }) else { return .success(result) }
            throw LunetteError(
                .timeout, "\(label) was killed after \(timeout ?? 0) s", operation: "process.run",
                details: result)
        } catch { return .failure(error) }
    }
}
