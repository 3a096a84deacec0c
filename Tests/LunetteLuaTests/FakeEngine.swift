import LunetteAPI
import LunetteSpec
import Synchronization

/// An engine for tests: answers calls by a closure, remembers requests, can call handlers down.
final class FakeEngine: EngineConnector {
    typealias Chunk = @Sendable (Value) async throws(LunetteError) -> Void
    typealias Answer = @Sendable (FakeEngine, APIRequest, [Int32], Chunk?) async throws(LunetteError) -> Value

    private struct State {
        var requests: [APIRequest] = []
        var receiver: (any HookReceiver)?
        var connections = 0
        var closed = 0
    }

    private let state = Mutex(State())
    private let answer: Answer

    init(
        _ answer: @escaping Answer = { (_, request, _, _) async throws(LunetteError) in
            throw LunetteError(.notFound, "the fake engine has no \(request.function)")
        }
    ) {
        self.answer = answer
    }

    var requests: [APIRequest] { state.withLock { $0.requests } }
    var connections: Int { state.withLock { $0.connections } }
    var closed: Int { state.withLock { $0.closed } }
    var receiver: (any HookReceiver)? { state.withLock { $0.receiver } }

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        state.withLock {
            $0.receiver = receiver
            $0.connections += 1
        }
        return Session(engine: self)
    }

    struct Session: EngineSession {
        let engine: FakeEngine

        func call(
            _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
        ) async throws(LunetteError) -> Value {
            engine.state.withLock { $0.requests.append(request) }
            return try await engine.answer(engine, request, files, onChunk)
        }

        func close() async { engine.state.withLock { $0.closed += 1 } }
    }

    static func handle(_ noun: String, _ id: String, _ name: String) -> Value {
        ["$handle": .string(noun), "id": .string(id), "name": .string(name)]
    }
}
