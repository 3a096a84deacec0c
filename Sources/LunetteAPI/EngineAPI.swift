public import LunetteSpec
internal import Synchronization

/// Says who asks: the peer of the socket (never what it claims), and the script line where it knows one.
public struct Actor: Sendable, Hashable {
    /// Who the calling process runs as.
    public var uid: UInt32
    /// Its group.
    public var gid: UInt32
    /// The calling process.
    public var pid: Int32
    /// The script's path, `-e`, `repl`, or the command (`lunette run`).
    public var script: String?
    /// The line of the script; nil outside scripts.
    public var line: Int?
    /// The socket that it came over, when that is one of a resident script's: its filter judges the call.
    public var socket: String?

    public init(uid: UInt32, gid: UInt32, pid: Int32, script: String? = nil, line: Int? = nil, socket: String? = nil) {
        self.uid = uid
        self.gid = gid
        self.pid = pid
        self.script = script
        self.line = line
        self.socket = socket
    }
}

/// One call of an API function. The same bytes travel in a frame on the socket (see `Wire`).
public struct APIRequest: Sendable {
    /// Chosen by the client, unique for ever (128 random bits in hex). Sent again after a lost engine, it gets the first outcome.
    public var id: String
    /// `container.create`, `image.pull` …: a name of the registry.
    public var function: String
    /// A map of the function's named arguments.
    public var arguments: Value
    /// Who asks.
    public var actor: Actor
    /// What this call was made because of: event or request ids, the oldest first. Nine are one too many.
    public var cause: [String]
    /// Unix seconds; the engine stops the call with `timeout` then. Nil waits for ever.
    public var deadline: Double?
    /// The version of the API that the caller speaks.
    public var version: Int

    public init(
        id: String, function: String, arguments: Value, actor: Actor, cause: [String] = [], deadline: Double? = nil, version: Int = 1
    ) {
        self.id = id
        self.function = function
        self.arguments = arguments
        self.actor = actor
        self.cause = cause
        self.deadline = deadline
        self.version = version
    }
}

/// Whether a handler's turn has come: what it waits before that is not its own doing.
public final class HookTurn: Sendable {
    private let isTaken = Atomic(false)

    /// One that has not come.
    public init() {}

    /// Whether the handler runs, or has run.
    public var hasCome: Bool { isTaken.load(ordering: .relaxed) }
    /// The handler runs from now on; on any thread.
    public func take() { isTaken.store(true, ordering: .relaxed) }
}

/// What a client offers the engine: its session handlers, called over the same connection.
public protocol HookReceiver: Sendable {
    /// Runs one `before` handler.
    /// - Parameter event: the contract's `ev` (name, sequence, time, target, spec, actor, cause …).
    /// - Returns: `{deny = reason}`, `{amend = {…}}` or `.null`.
    func before(subscription: String, event: Value) async throws(LunetteError) -> Value
    /// Begins one `before` handler without waiting for it, where that is cheaper.
    /// - Parameters:
    ///   - turn: is taken when the handler runs: until then it waits for others of its script.
    ///   - answered: gets what `before` returns or throws, once, on any thread.
    /// - Returns: false when `before` is to be called instead.
    func begin(
        subscription: String, event: Value, turn: HookTurn, answered: @escaping @Sendable (Result<Value, LunetteError>) -> Void
    ) -> Bool
    /// Runs one `on` handler; returning acknowledges the event.
    func on(subscription: String, event: Value) async throws(LunetteError)
    /// Whether it answers nothing any more: what it fails with then is no failure of a handler.
    var isStopped: Bool { get }
    /// Whether it takes many events at once; else `on(subscription:events:…)` is never called.
    var takesBatches: Bool { get }
    /// Runs one `on` handler for many events; those with one key after each other, in order, until one of them fails.
    /// - Parameters:
    ///   - keys: of the events, in their order.
    ///   - ended: is told what came of them, soon after it did, each once.
    func on(subscription: String, events: [Value], keys: [String], ended: @escaping @Sendable ([HookEnding]) -> Void)
}

extension HookReceiver {
    /// Most are called.
    public func begin(
        subscription: String, event: Value, turn: HookTurn, answered: @escaping @Sendable (Result<Value, LunetteError>) -> Void
    ) -> Bool { false }
    /// Most answer as long as they are there.
    public var isStopped: Bool { false }
    /// Most take one event at a time.
    public var takesBatches: Bool { false }
    /// Not called where `takesBatches` is false.
    public func on(subscription: String, events: [Value], keys: [String], ended: @escaping @Sendable ([HookEnding]) -> Void) {}
}

/// What came of one event of a batch.
public struct HookEnding: Sendable {
    /// How it went.
    public enum Outcome: Sendable {
        case acknowledged
        case failed
        /// An event before it, of the same key, has failed: it was not run.
        case skipped
    }
    /// Which, from zero.
    public var index: Int
    /// How it went.
    public var outcome: Outcome

    /// - Parameter index: which of the batch, from zero.
    public init(index: Int, outcome: Outcome) {
        self.index = index
        self.outcome = outcome
    }
}

/// One client's conversation with the engine: a direct call in process, or frames on a socket. Ends release what the client held.
public protocol EngineSession: Sendable {
    /// Calls an API function.
    ///
    /// Cancelling the surrounding Swift task cancels the call in the engine.
    /// - Parameters:
    ///   - files: descriptors that go with the call (a process's stdin, stdout, stderr); the callee duplicates what it keeps.
    ///   - onChunk: receives what the call streams (progress, log lines, events), in order; a throw cancels the call.
    /// - Throws: the function's own errors; `cancelled`; `timeout`; `io` when no engine can be reached.
    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value

    /// Ends the conversation; calls under way are cancelled, session handlers leave.
    func close() async
}

/// Opens sessions: the engine itself in process, or the socket's client.
public protocol EngineConnector: Sendable {
    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession
}

extension LunetteError {
    /// What an engine that is about to end answers: the next one does the call, or knows what came of it.
    public static func leaving(_ function: String) -> LunetteError {
        LunetteError(
            .io, "call \(displayable(function, limit: 80)): the engine is ending", operation: function,
            hint: "connect again and send it once more with the same id", details: ["retry": true])
    }

    /// Whether it is that answer.
    public var isOfLeavingEngine: Bool { code == .io && details?["retry"]?.boolValue == true }
}
