import LunetteAPI
import LunetteImages
import LunetteLinux
import LunetteRuntime
import LunetteSpec

extension Engine {
    /// Runs one more process in a container; a non-zero exit is a result. Cancelled or out of time, the process is killed.
    func execInContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let spec = try execSpec(&arguments)
        let timeout = try arguments.seconds("timeout")
        let rows = try arguments.int("rows")
        let columns = try arguments.int("columns")
        let checks = try arguments.bool("check") ?? false
        let isDetached = try arguments.bool("detach") ?? false
        if isDetached, timeout != nil || checks {
            throw arguments.failure(
                "detach", "nobody waits for a detached command: it has no timeout and no check", hint: "leave out \"detach\", or the other")
        }
        let streams = try Streams(&arguments, call)
        defer { streams.close() }
        arguments.ignore("stdin", "stdout", "stderr")
        try arguments.finish()
        let record = try await state.container(word)
        guard !record.isPod else {
            throw LunetteError(
                .unsupported, "exec in \(record.name): a pod runs nothing of its own and has no files", target: record.name,
                hint: "name one of its containers, or run one in it with --pod \(record.name)")
        }
        try await ask(
            "container.exec", record, call, fields: ["exec": ["args": .array(spec.args.map(Value.string)), "tty": .bool(spec.hasTerminal)]])
        try call.checkCancellation()
        let container = try await live(record)
        guard await state.containers[record.id]?.state.status != .paused else {
            throw LunetteError(.invalidState, "the container \(record.name) is paused", target: record.name, hint: "resume it first")
        }

        // The request's id is the exec's: `resize` names it so, and a repetition finds it running.
        var request = ExecRequest(
            id: call.request.id, spec: spec, container: try ContainerSpec(record.spec), image: try await imageConfig(of: record))
        request.io = ProcessIO(stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr)
        if let rows, let columns { request.io.size = TerminalSize(rows: UInt16(clamping: rows), columns: UInt16(clamping: columns)) }
        let process = try await container.run(request)
        streams.close()
        faultPoint("exec.running")
        if isDetached {
            await supervisor.watch(exec: process, key: "\(record.id)/\(process.id)")
            return ["pid": .int(Int64(process.pid))]
        }
        guard let exit = try await wait(for: process, timeout: timeout, record, call) else {
            // Its caller left it running.
            await supervisor.watch(exec: process, key: "\(record.id)/\(process.id)")
            return ["pid": .int(Int64(process.pid))]
        }
        var result: ValueMap = ["code": .int(Int64(exit.code))]
        result["signal"] = exit.signal.map(Value.string)
        if checks, exit.code != 0 {
            throw LunetteError(
                .exitStatus, "\(displayable(spec.args[0], limit: 80)) in \(record.name) ended with \(exit.signal ?? "code \(exit.code)")",
                target: record.name,
                details: .map(result))
        }
        return .map(result)
    }

    private func execSpec(_ arguments: inout FieldReader) throws(LunetteError) -> ExecSpec {
        guard let line = arguments.value("args")?.stringValue else { return try ExecSpec(reading: &arguments) }
        // A command line as one string is the shell's to read; the rest of the fields is read as ever.
        var fields: ValueMap = ["args": ["/bin/sh", "-c", .string(line)]]
        for key in ["env", "workdir", "user", "tty"] { fields[key] = arguments.value(key) }
        var reader = try FieldReader(.map(fields), path: arguments.path)
        return try ExecSpec(reading: &reader)
    }

    /// Waits for an exec's end.
    /// - Returns: nil when its caller left it running (`container.detach`).
    /// - Throws: `timeout` after killing it; `cancelled`, likewise.
    private func wait(
        for process: any LiveExec, timeout: Double?, _ record: ContainerRecord, _ call: Call
    ) async throws(LunetteError) -> ContainerExit? {
        enum Outcome: Sendable { case ended(Result<ContainerExit, LunetteError>), timedOut, cancelled, left }
        let race = Race<Outcome>()
        execWaits.add(call.request.id) { race.finish(.left) }
        defer { execWaits.remove(call.request.id) }
        let waiting = Task {
            do throws(LunetteError) { race.finish(.ended(.success(try await process.exit()))) } catch {
                race.finish(.ended(.failure(error)))
            }
        }
        let timer = Task { [clock] in
            guard let timeout else { return }
            do { try await clock.sleep(timeout) } catch { return }
            race.finish(.timedOut)
        }
        let outcome = await withTaskCancellationHandler {
            await race.value
        } onCancel: {
            race.finish(.cancelled)
        }
        timer.cancel()
        if case .ended(let result) = outcome { return try result.get() }
        if case .left = outcome {
            waiting.cancel()
            return nil
        }
        if case .cancelled = outcome, isLeaving {
            // Its caller asks the next engine, which finds it running.
            waiting.cancel()
            throw LunetteError(.cancelled, "\(call.request.function) was cancelled", operation: call.request.function)
        }
        do throws(LunetteError) { try await process.kill(signal: Signal.kill.number) } catch {
            // It ended in this moment, or the shim is lost, and the process with it.
        }
        // Its output must be whole before the call returns; a shim that is lost ends the waiting too.
        await waiting.value
        if case .timedOut = outcome {
            throw LunetteError(
                .timeout, "the command in \(record.name) did not end within \(timeout ?? 0) s and was killed", target: record.name)
        }
        throw LunetteError(.cancelled, "\(call.request.function) was cancelled", operation: call.request.function)
    }

    /// Leaves an exec running that its caller waits for: the waiting call returns, the process stays.
    func detachFromExec(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let exec = try arguments.required("exec")
        try arguments.finish()
        let record = try await state.container(word)
        guard execWaits.leave(exec) else {
            throw LunetteError(
                .notFound, "nobody waits for an exec \(displayable(exec, limit: 80)) in \(record.name)", target: record.name)
        }
        return .null
    }

    /// The image's own defaults; nil for a `rootfs`.
    private func imageConfig(of record: ContainerRecord) async throws(LunetteError) -> ImageProcessConfig? {
        guard let image = record.image else { return nil }
        return try await images.find(image.id)?.config.config
    }

    func resizeContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let rows = try arguments.int("rows") ?? 24
        let columns = try arguments.int("columns") ?? 80
        let exec = try arguments.string("exec")
        try arguments.finish()
        guard (0...65535).contains(rows), (0...65535).contains(columns) else {
            throw arguments.failure("rows", "is not the size of a terminal")
        }
        let record = try await state.container(word)
        let container = try await live(record)
        try await named(record) { () async throws(LunetteError) in
            try await container.resize(rows: UInt16(rows), columns: UInt16(columns), exec: exec)
        }
        return .null
    }

    /// Adds the caller's streams to a running container's and returns its exit.
    func attachContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let streams = try Streams(&arguments, call)
        defer { streams.close() }
        let withLogs = try arguments.bool("logs") ?? false
        try arguments.finish()
        let record = try await state.container(word)
        let container = try await live(record)
        if withLogs, record.hasRun { try await replayLog(record, to: streams) }
        do throws(LunetteError) {
            try await container.attach(stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, key: call.request.id)
            streams.close()
            await state.waitForExit(record.id)
            try call.checkCancellation()
        } catch {
            // The caller has gone, and may have left its streams to others that wait for their end. A closing engine says nothing: the
            // caller asks the next one again, and shall miss nothing that is written between.
            if error.code == .cancelled, !isLeaving { await leave(container, attachment: call.request.id) }
            throw error
        }
        if let exit = await state.containers[record.id]?.state.exit { return exit.value }
        return try await state.outcome("exit/\(record.id)")?.result.get() ?? .null
    }

    private func leave(_ container: any LiveContainer, attachment: String) async {
        do throws(LunetteError) { try await container.detach(key: attachment) } catch {
            // It ended in this moment, or its shim is lost: either has closed the streams.
        }
    }

    private func replayLog(_ record: ContainerRecord, to streams: Streams) async throws(LunetteError) {
        try await host.readLog(id: record.id, LogOptions()) { entry async throws(LunetteError) in
            guard let sink = entry.stream == .stdout ? streams.stdout : streams.stderr else { return }
            try await blocking { () throws(LunetteError) in
                try atBorder("write to the caller") { () throws(SystemCallError) in
                    try sink.writeAll(entry.line + (entry.isComplete ? [10] : []))
                }
            }
        }
    }
}
