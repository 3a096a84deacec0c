internal import Glibc
internal import LunetteAPI
internal import LunetteLinux
internal import LunetteSandbox
internal import LunetteSpec

extension LuaHost {
    /// `sandbox.run`: in the script's own process, without an engine. A thread of its own waits for the command.
    func runSandbox(_ given: Value) throws(LunetteError) -> LuaState.Answer {
        guard let function = APIRegistry.function("sandbox.run") else {
            throw LunetteError(.internal, "sandbox.run is not in the registry")
        }
        if isReadOnly { try ReadOnly.check(function, given) }
        if let permissions = options.permissions, !permissions.contains("process:run") {
            throw LunetteError(.denied, "sandbox.run is not among what this code may call")
        }
        let arguments = given.mapValue == nil ? Value.map([:]) : given
        try APIRegistry.check(arguments, for: function)
        if let standIn = dryRun?.answer(function, arguments) { return .results([standIn]) }
        var reader = try FieldReader(arguments)
        reader.ignore("stdin", "stdout", "stderr", "check")
        let spec = try SandboxSpec(reading: &reader)
        try reader.finish()
        let actor = Actor(uid: getuid(), gid: getgid(), pid: getpid())
        let request = APIRequest(id: "", function: function.name, arguments: arguments, actor: actor)
        let sandbox = try SandboxRun(spec, directory: options.directory, isOurs: options.permissions == nil)
        guard let streams = try ProcessStreams(for: function, request, directory: options.directory, onChunk: nil) else {
            throw LunetteError(.internal, "sandbox.run takes no streams")
        }
        let (cancelled, wake) = try atBorder("make a pipe", { () throws(SystemCallError) in try FileDescriptor.pipe() })
        let job = SandboxJob(sandbox: sandbox, streams: streams, wake: wake, cancelled: cancelled)
        let token = newToken()
        let mailbox = mailbox
        inFlight[token] = job
        onOwnThread {
            let outcome = job.run()
            Task {
                let result = await job.finish(outcome)
                mailbox.post { host in
                    host.inFlight[token] = nil
                    host.deliver(token, result.map { .array([$0]) })
                }
            }
        }
        return .await(token)
    }
}

/// One sandbox of a script: ended when its task is cancelled, and with the script, whose end closes the socket that keeps it alive.
private final class SandboxJob: Cancellable, Sendable {
    private let sandbox: SandboxRun
    private let streams: ProcessStreams
    /// Closed, it ends the wait: the other end is what the waiting thread looks at.
    private let wake: FileDescriptor
    private let cancelled: FileDescriptor

    init(sandbox: SandboxRun, streams: ProcessStreams, wake: FileDescriptor, cancelled: FileDescriptor) {
        self.sandbox = sandbox
        self.streams = streams
        self.wake = wake
        self.cancelled = cancelled
    }

    func cancel() { wake.close() }

    func run() -> Result<SandboxExit, LunetteError> {
        do throws(LunetteError) { return .success(try sandbox.run(try handedOn(), cancel: cancelled.number)) } catch {
            return .failure(error)
        }
    }

    func finish(_ outcome: Result<SandboxExit, LunetteError>) async -> Result<Value, LunetteError> {
        let output = await streams.finish()
        do throws(LunetteError) {
            let exit = try outcome.get()
            let result = output.merged(into: exit.value)
            guard exit.isTimedOut else { return .success(result) }
            let program = displayable(sandbox.spec.args.first ?? "", limit: 80)
            throw LunetteError(
                .timeout, "\(program) was killed after \(sandbox.spec.timeout ?? 0) s", operation: "sandbox.run", details: result)
        } catch { return .failure(error) }
    }

    /// The files of `streams` by what they are for.
    private func handedOn() throws(LunetteError) -> SandboxRun.Streams {
        var byName: [String: FileDescriptor] = [:]
        let names = streams.arguments["stdio"]?.arrayValue?.compactMap(\.stringValue) ?? []
        for (name, file) in zip(names, streams.files) {
            byName[name] = try atBorder("hand on \(name)", { () throws(SystemCallError) in try .duplicate(of: file) })
        }
        return SandboxRun.Streams(input: byName["stdin"], output: byName["stdout"], error: byName["stderr"])
    }
}
