package import LunetteSpec
import Synchronization

/// One conversation that outlives engines: what is under way when one dies is asked of the next with the same id.
struct EngineClientSession: EngineSession {
    /// Engines in a row that may die in one call before it counts as the call's fault.
    private static let patience = 5

    let link: EngineLink

    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        var arguments = request.arguments
        let position = StreamPosition()
        for attempt in 1... {
            let peer = try await link.peer()
            var seen: (@Sendable (Value) async throws(LunetteError) -> Void)?
            if let onChunk {
                seen = { (chunk) throws(LunetteError) in
                    if position.advance(chunk) { try await onChunk(chunk) }
                }
            }
            let context = request.context(files: files.count, credit: onChunk == nil ? nil : WirePeer.window)
            let outcome = await peer.call(request.function, [arguments, context], files: files, onChunk: seen)
            switch outcome.isLeaving ? .lost : outcome {
            case .answer(let result):
                if case .success(let value) = result { await link.note(request, answered: value) }
                return try result.get()
            case .lost:
                if Task.isCancelled { throw LunetteError(.cancelled, "call \(request.function): cancelled", operation: request.function) }
                guard attempt < EngineClientSession.patience else { break }
                await link.lost(peer)
                arguments = position.resumed(arguments, of: request.function)
                continue
            }
            break
        }
        throw LunetteError(
            .io, "call \(request.function): the engine ended \(EngineClientSession.patience) times in this call",
            operation: request.function,
            hint: "see engine.log in the state directory"
        )
    }

    func close() async { await link.close() }
}

extension WirePeer.Outcome {
    /// The engine ends and asks for the call to be made once more, of the next one.
    fileprivate var isLeaving: Bool {
        guard case .answer(.failure(let error)) = self else { return false }
        return error.isOfLeavingEngine
    }
}

/// Remembers how far a stream has come, so that one that is asked for again goes on where it was.
package final class StreamPosition: Sendable {
    private let last = Mutex<Int64?>(nil)

    /// At the stream's beginning.
    package init() {}

    /// Notes a chunk that has come.
    /// - Returns: false for one that was seen before.
    package func advance(_ chunk: Value) -> Bool {
        guard let sequence = chunk["sequence"]?.intValue, sequence > 0 else { return true }
        return last.withLock { last in
            if let before = last, sequence <= before { return false }
            last = sequence
            return true
        }
    }

    /// Changes a stream's arguments for its second engine: from the last chunk on, which `advance` drops when it comes again.
    package func resumed(_ arguments: Value, of function: String) -> Value {
        guard let last = last.withLock({ $0 }), case .map(var map) = arguments else { return arguments }
        switch function {
        case "events.follow": map["since"] = .int(last)
        // "The last 10 lines" are others by now; all lines are asked for and those already seen dropped.
        case "container.follow_logs": map["tail"] = nil
        default: break
        }
        return .map(map)
    }
}
