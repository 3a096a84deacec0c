import LunetteAPI
import LunetteSpec
import Synchronization

/// One client's conversation with the engine, in process. The server's connections each hold one.
final class Session: EngineSession {
    let id: String
    let receiver: (any HookReceiver)?
    /// Resident code's, not a client's.
    let isInternal: Bool
    private let engine: Engine
    private struct Calls {
        var tasks: [Int: Task<Result<Value, LunetteError>, Never>] = [:]
        var next = 0
        var isClosed = false
    }
    private let calls = Mutex(Calls())
    /// Prompts that it has open inside resident code, by their ids.
    private let prompts = Mutex<[String: any CodePrompt]>([:])

    init(engine: Engine, receiver: (any HookReceiver)?, isInternal: Bool = false) {
        self.isInternal = isInternal
        id = Identifier.short()
        self.engine = engine
        self.receiver = receiver
    }

    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        let call = Call(request: request, session: id, files: files, onChunk: onChunk)
        // What is over in a moment needs no task that `close` could cancel and wait for.
        if request.deadline == nil, Self.isBrief(request.function) {
            if calls.withLock({ $0.isClosed }) { throw Self.closed }
            do throws(LunetteError) { return try await engine.perform(call, in: self) } catch { throw Self.named(error, request) }
        }
        let gate = calls.withLock { calls -> (number: Int, task: Task<Result<Value, LunetteError>, Never>)? in
            guard !calls.isClosed else { return nil }
            let number = calls.next
            calls.next += 1
            let task = Task { [engine, self] () -> Result<Value, LunetteError> in
                do throws(LunetteError) { return .success(try await engine.perform(call, in: self)) } catch { return .failure(error) }
            }
            calls.tasks[number] = task
            return (number, task)
        }
        guard let (number, task) = gate else { throw Self.closed }
        let timer = request.deadline.map { deadline in
            Task { [clock = engine.clock] in
                do { try await clock.sleep(deadline - clock.now()) } catch { return }
                call.markOutOfTime()
                task.cancel()
            }
        }
        let result = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        timer?.cancel()
        calls.withLock { _ = $0.tasks.removeValue(forKey: number) }
        switch result {
        case .success(let value): return value
        case .failure(var error):
            if error.code == .cancelled, call.isOutOfTime {
                error = LunetteError(
                    .timeout, "\(request.function) did not end before its deadline", operation: request.function, target: error.target)
            }
            throw Self.named(error, request)
        }
    }

    /// Look-ups of what isn't the session's own.
    private static func isBrief(_ function: String) -> Bool { APIRegistry.isLookup(function) && !function.hasPrefix("hook.") }

    private static let closed = LunetteError(.cancelled, "the session is closed")

    private static func named(_ error: LunetteError, _ request: APIRequest) -> LunetteError {
        var error = error
        if error.operation == nil { error.operation = request.function }
        return error
    }

    func close() async {
        let tasks = calls.withLock { calls -> [Task<Result<Value, LunetteError>, Never>]? in
            if calls.isClosed { return nil }
            calls.isClosed = true
            return Array(calls.tasks.values)
        }
        guard let tasks else { return }
        for task in tasks { task.cancel() }
        for task in tasks { _ = await task.value }
        let left = prompts.withLock { prompts in
            defer { prompts = [:] }
            return prompts
        }
        for (id, prompt) in left {
            // Code that is stopped has forgotten them already.
            _ = try? await prompt.answer(["ask": "close", "session": .string(id), "target": ""], onOutput: { _ in })
        }
        await engine.sessionEnded(self)
    }

    /// Has a prompt closed with this session.
    func keep(prompt: any CodePrompt, id: String) { prompts.withLock { $0[id] = prompt } }
}
