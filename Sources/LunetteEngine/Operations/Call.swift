import LunetteAPI
import LunetteSpec
import Synchronization

/// One call under way: the request, who asked, and the way back to the caller.
struct Call: Sendable {
    let request: APIRequest
    /// The id of the session that made it.
    let session: String
    /// The caller's descriptors; valid until the call returns.
    let files: [Int32]
    private let onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    private let progress: CallProgress
    /// The containers that a socket's filter saw by the names that the call makes or changes something under; nil: nobody judged it.
    private var judged: [String: String]?

    init(
        request: APIRequest, session: String, files: [Int32] = [], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)? = nil
    ) {
        self.request = request
        self.session = session
        self.files = files
        self.onChunk = onChunk
        progress = CallProgress()
    }

    /// A call of the engine's own (a restart by policy, a removal at exit), with no caller to answer.
    static func ownCall(_ function: String, cause: [String] = []) -> Call {
        Call(
            request: APIRequest(
                id: "engine-" + Identifier.short(), function: function, arguments: .map([:]),
                actor: Actor(uid: 0, gid: 0, pid: 0, script: "engine"), cause: cause),
            session: "engine")
    }

    var wantsChunks: Bool { onChunk != nil }

    /// Sends a chunk; returning late is the caller's back-pressure.
    func emit(_ chunk: Value) async throws(LunetteError) {
        try checkCancellation()
        try await onChunk?(chunk)
    }

    /// What an event or a handler's call made by this one is caused by.
    var causeOfConsequences: [String] { request.cause + [request.id] }

    /// - Throws: `cancelled` once the caller gave up. Call it before each step that could still be left undone.
    func checkCancellation() throws(LunetteError) {
        if Task.isCancelled { throw LunetteError(.cancelled, "\(request.function) was cancelled", operation: request.function) }
    }

    func arguments() throws(LunetteError) -> FieldReader { try FieldReader(request.arguments) }

    /// The same call as its socket's filter lets it pass.
    /// - Parameter judged: ids of containers by name; nil where the call is about none by its name.
    func narrowed(to request: APIRequest, judged: [String: String]? = nil) -> Call {
        var call = Call(request, session, files, onChunk, progress)
        call.judged = judged
        return call
    }

    /// A name may be another container's by the time that the call's turn comes: what the filter hasn't seen, its verdict isn't about.
    /// - Parameter id: of the container that the name is now; nil when it is none's.
    /// - Throws: `conflict` when the filter saw another.
    func checkJudged(_ name: String, about id: String?) throws(LunetteError) {
        guard let judged, judged[name] != id else { return }
        throw LunetteError(
            .conflict, "\(request.function): its container came, went or was replaced while the call waited", operation: request.function,
            target: name, hint: "ask again")
    }

    private init(
        _ request: APIRequest, _ session: String, _ files: [Int32], _ onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?,
        _ progress: CallProgress
    ) {
        self.request = request
        self.session = session
        self.files = files
        self.onChunk = onChunk
        self.progress = progress
    }

    /// One of several steps of this call, with an outcome of its own that nobody asks for.
    func part() -> Call {
        var request = request
        request.cause.append(request.id)
        request.id += "/" + Identifier.short()
        return Call(request: request, session: session, files: files, onChunk: onChunk)
    }

    /// Makes the outcome to commit with the step that decides this call; afterwards its repetition gets `value`.
    func outcome(_ value: Value) -> Outcome {
        progress.outcomeIsStored.withLock { $0 = true }
        return Outcome(requestID: request.id, function: request.function, result: .success(value))
    }

    /// Notes that the deadline, not the caller, ends this call.
    func markOutOfTime() { progress.isOutOfTime.withLock { $0 = true } }
    var isOutOfTime: Bool { progress.isOutOfTime.withLock { $0 } }

    /// What this call made carries its request id, so that a repetition finds it: no outcome is stored beside it.
    func markOutcomeStored() { progress.outcomeIsStored.withLock { $0 = true } }

    var outcomeIsStored: Bool { progress.outcomeIsStored.withLock { $0 } }
}

private final class CallProgress: Sendable {
    let outcomeIsStored = Mutex(false)
    let isOutOfTime = Mutex(false)
}

extension FieldReader {
    /// Reads a required handle: a name, an id, or the `{"$handle": …}` table.
    mutating func target(_ key: String) throws(LunetteError) -> String {
        guard let value = value(key) else { throw failure(key, "is required") }
        guard let word = Handle.word(value) else { throw failure(key, "expected a handle, name or id, got \(value.kind)") }
        guard !word.isEmpty else { throw failure(key, "is empty") }
        return word
    }
}

extension Handle {
    /// The id of a handle, or the text itself.
    static func word(_ value: Value) -> String? { value.stringValue ?? value["id"]?.stringValue }
}
