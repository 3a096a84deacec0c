import LunetteImages
import LunetteLinux
import LunetteRuntime
import LunetteSpec

/// Checks the health of containers that run, each on its own timer, and tells their state machines.
///
/// Checks of one container never overlap: the next begins a period after the last has ended.
actor HealthChecks {
    private let state: State
    private let clock: any EngineClock
    private let images: any ImageHost
    /// Ends a container that is unhealthy; set by the engine, which knows the whole way.
    private var end: @Sendable (String, HealthSpec.OnUnhealthy) async -> Void = { _, _ in }
    private var tasks: [String: Task<Void, Never>] = [:]
    private var number: UInt64 = 0

    init(state: State, clock: any EngineClock, images: any ImageHost) {
        (self.state, self.clock, self.images) = (state, clock, images)
    }

    func connect(end: @escaping @Sendable (String, HealthSpec.OnUnhealthy) async -> Void) { self.end = end }

    /// Begins with the checks of a run.
    func watch(_ record: ContainerRecord, _ container: any LiveContainer) {
        tasks.removeValue(forKey: record.id)?.cancel()
        guard let spec = record.health else { return }
        let id = record.id
        tasks[id] = Task { await self.check(id, spec, container) }
    }

    func forget(_ id: String) { tasks.removeValue(forKey: id)?.cancel() }

    func shutdown() {
        for task in tasks.values { task.cancel() }
        tasks = [:]
    }

    private func check(_ id: String, _ spec: HealthSpec, _ container: any LiveContainer) async {
        // A run begins with nothing known: this one was unhealthy already when an engine died, which may have been about to end it.
        if let record = await state.containers[id], record.state.isAlive, record.state.health.status == .unhealthy {
            let end = self.end
            Task { await end(id, spec.onUnhealthy) }
        }
        while true {
            guard let record = await state.containers[id], record.state.isAlive else { return }
            let wait = record.state.health.status == .starting ? spec.startInterval : spec.period
            do { try await clock.sleep(wait) } catch { return }
            guard let record = await state.containers[id], record.state.isAlive else { return }
            // A container that stands still answers nothing, and that is no fault of its own.
            if record.state.status == .paused { continue }
            let failure = await outcome(of: spec, record, container)
            if Task.isCancelled { return }
            // What was begun while it ran and ended in its pause or its stop says nothing.
            guard let now = await state.containers[id]?.state, now.status == .running, !now.isStopping else { continue }
            do throws(LunetteError) {
                let effects = try await state.note(check: failure, of: id)
                for case .unhealthy(let action) in effects {
                    let end = self.end
                    // Not in this task: the container's end cancels it.
                    Task { await end(id, action) }
                }
            } catch {
                // It is gone, or the database failed, which every other change of it tells.
                if error.code == .notFound { return }
            }
        }
    }

    /// - Returns: why the check failed; nil when it didn't.
    private func outcome(of spec: HealthSpec, _ record: ContainerRecord, _ container: any LiveContainer) async -> String? {
        do throws(LunetteError) {
            switch spec.check {
            case .exec(let args): return try await run(args, spec, record, container)
            case .tcp(let port):
                try await container.connect(port: port, timeout: spec.timeout).close()
                return nil
            case .http(let path, let port):
                let status = try await container.httpStatus(port: port, path: path, timeout: spec.timeout)
                return (200...399).contains(status) ? nil : "GET \(path) on port \(port): status \(status)"
            }
        } catch { return displayable(error.message, limit: 300) }
    }

    private func run(
        _ args: [String], _ spec: HealthSpec, _ record: ContainerRecord, _ container: any LiveContainer
    ) async throws(LunetteError) -> String? {
        number += 1
        let image: ImageProcessConfig? = if let image = record.image { try await images.find(image.id)?.config.config } else { nil }
        var request = ExecRequest(
            id: "health-\(number)-\(Identifier.short())", spec: ExecSpec(args: args), container: try ContainerSpec(record.spec),
            image: image)
        let output = try CheckOutput()
        request.io = ProcessIO(stdout: output.sink, stderr: output.sink, hasBackPressure: false)
        let process = try await container.run(request)
        output.closeSink()
        enum Outcome: Sendable { case ended(Result<ContainerExit, LunetteError>), timedOut, cancelled }
        let race = Race<Outcome>()
        let waiting = Task {
            do throws(LunetteError) { race.finish(.ended(.success(try await process.exit()))) } catch {
                race.finish(.ended(.failure(error)))
            }
        }
        let timer = Task { [clock] in
            do { try await clock.sleep(spec.timeout) } catch { return }
            race.finish(.timedOut)
        }
        defer { timer.cancel() }
        let outcome = await withTaskCancellationHandler {
            await race.value
        } onCancel: {
            race.finish(.cancelled)
        }
        if case .ended(let result) = outcome {
            let exit = try result.get()
            if exit.code == 0 { return nil }
            let text = await output.text()
            return "\(displayable(args[0], limit: 80)) ended with \(exit.signal ?? "code \(exit.code)")\(text.isEmpty ? "" : ": \(text)")"
        }
        do throws(LunetteError) { try await process.kill(signal: Signal.kill.number) } catch {
            // It ended in this moment, or the shim is lost, and the process with it.
        }
        await waiting.value
        return "\(displayable(args[0], limit: 80)) did not end within \(spec.timeout) s"
    }
}

/// What a check writes: the beginning of it, for the message. A sink that nobody reads fills up and is then dropped by the shim, so
/// that a check that writes much doesn't stand still.
private struct CheckOutput {
    private let source: FileDescriptor
    let sink: FileDescriptor

    init() throws(LunetteError) {
        (source, sink) = try atBorder("make a pipe for a health check") { () throws(SystemCallError) in
            let pipe = try FileDescriptor.pipe()
            try pipe.read.setNonblocking(true)
            return pipe
        }
    }

    func closeSink() { sink.close() }

    /// One line of at most 200 characters.
    func text() async -> String {
        let source = source
        // Nothing was written, or something still holds the other end: either is no text.
        let bytes = await blocking { (try? source.read(upTo: 4096)) ?? [] }
        let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").last.map(String.init) ?? ""
        return displayable(line, limit: 200)
    }
}
