internal import LunetteAPI
internal import LunetteSpec

/// What becomes of a call in a test.
enum CallDecision: Sendable {
    /// It goes on, and is remembered by this number.
    case goesOn(Int64)
    case answer(Value)
}

/// Stands between code and what it calls, in a test.
protocol CallWatch: Sendable {
    /// Whether a call that needs no engine is looked at.
    func looksAt(_ function: String) -> Bool
    /// Decides what becomes of a call.
    /// - Throws: what it answers instead.
    func before(_ function: String, _ arguments: Value, actor: Actor?) async throws(LunetteError) -> CallDecision
    /// Told how a call ended that went on.
    func after(_ number: Int64, _ failure: LunetteError?)
}

extension LuaHost {
    /// Has a call that needs no engine answered by the test, or done after it was looked at.
    /// - Returns: nil when nobody looks.
    func watched(_ operation: String, _ arguments: Arguments) -> LuaState.Answer? {
        guard let watch = options.watch else { return nil }
        if operation == "stream", watch.looksAt(arguments.text(1)) { return watchedStream(watch, arguments) }
        guard watch.looksAt(operation) else { return nil }
        let isFile = operation.hasPrefix("fs.")
        let given = isFile ? named(operation, arguments[0].arrayValue ?? []) : arguments[0]
        let token = newToken()
        let mailbox = mailbox
        let task = Task {
            let answer: Result<CallDecision, LunetteError>
            do throws(LunetteError) { answer = .success(try await watch.before(operation, given, actor: nil)) } catch {
                answer = .failure(error)
            }
            mailbox.post { host in
                switch answer {
                case .failure(let error): host.deliver(token, .failure(error))
                case .success(.answer(let value)): host.deliver(token, .success(.array([value])))
                case .success(.goesOn(let number)): host.goOn(operation, arguments, token, watch, number)
                }
            }
        }
        inFlight[token] = TaskOperation(task: task)
        return .await(token)
    }

    /// What a call streams that reaches out of the process: all that it is answered to write, then its end.
    private func watchedStream(_ watch: any CallWatch, _ arguments: Arguments) -> LuaState.Answer {
        let id = arguments[0].intValue ?? 0
        let (name, given) = (arguments.text(1), arguments[2])
        let mailbox = mailbox
        let task = Task {
            let answer: Result<CallDecision, LunetteError>
            do throws(LunetteError) { answer = .success(try await watch.before(name, given, actor: nil)) } catch {
                answer = .failure(error)
            }
            mailbox.post { host in
                guard host.inFlight.removeValue(forKey: id) != nil else { return }
                switch answer {
                case .failure(let error): host.deliver(id, .failure(error))
                case .success(.goesOn): host.deliver(id, .failure(LunetteError(.internal, "\(name) can't go on")))
                case .success(.answer(let value)):
                    for stream in ["stdout", "stderr"] {
                        guard given[stream]?.boolValue == true, let text = value[stream] else { continue }
                        host.deliver(id, .success(.array(["chunk", ["stream": .string(stream), "data": text]])))
                    }
                    host.deliver(id, .success(.array(["end", value])))
                }
            }
        }
        inFlight[id] = TaskOperation(task: task)
        return .results([])
    }

    private func goOn(_ operation: String, _ arguments: Arguments, _ token: Int64, _ watch: any CallWatch, _ number: Int64) {
        do throws(LunetteError) {
            // What reaches out of the process is answered by the test or refused.
            guard operation.hasPrefix("fs.") else { throw LunetteError(.internal, "\(operation) can't go on") }
            let answer = try fileOperation(operation, arguments[0].arrayValue ?? [], waiting: token)
            watch.after(number, nil)
            if case .results(let results) = answer { deliver(token, .success(.array(results))) }
        } catch {
            watch.after(number, error)
            deliver(token, .failure(error))
        }
    }

    /// Arguments by position as the registry names them.
    private func named(_ operation: String, _ values: [Value]) -> Value {
        guard let function = APIRegistry.function(operation) else { return .array(values) }
        var map = ValueMap()
        for (field, value) in zip(function.arguments, values) where !value.isNull { map[field.name] = value }
        return .map(map)
    }
}

/// An engine whose calls are looked at.
struct WatchedConnector: EngineConnector {
    let engine: any EngineConnector
    let watch: any CallWatch

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        WatchedSession(session: try await engine.connect(receiver: receiver), watch: watch)
    }
}

/// An engine whose answers come when all that the call has caused has happened: a test looks at what came of it with its next line.
struct SettlingConnector: EngineConnector {
    let engine: any EngineConnector
    let conductor: Conductor

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        SettlingSession(session: try await engine.connect(receiver: receiver), conductor: conductor)
    }
}

private struct SettlingSession: EngineSession {
    let session: any EngineSession
    let conductor: Conductor

    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        let result: Result<Value, LunetteError>
        do throws(LunetteError) { result = .success(try await session.call(request, files: files, onChunk: onChunk)) } catch {
            result = .failure(error)
        }
        let conductor = conductor
        await withCheckedContinuation { continuation in conductor.whenIdle { continuation.resume() } }
        return try result.get()
    }

    func close() async { await session.close() }
}

private struct WatchedSession: EngineSession {
    let session: any EngineSession
    let watch: any CallWatch

    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        switch try await watch.before(request.function, request.arguments, actor: request.actor) {
        case .answer(let value): return value
        case .goesOn(let number):
            do throws(LunetteError) {
                let value = try await session.call(request, files: files, onChunk: onChunk)
                watch.after(number, nil)
                return value
            } catch {
                watch.after(number, error)
                throw error
            }
        }
    }

    func close() async { await session.close() }
}
