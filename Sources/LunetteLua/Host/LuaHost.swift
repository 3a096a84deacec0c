internal import Glibc
package import LunetteAPI
package import LunetteSpec

/// Hosts one Lua state on one thread: answers its calls, carries its API calls to the engine, its timers, its handlers.
///
/// Not Sendable: made and used on one thread, which runs `run` or `pump`; the rest of the process posts to its mailbox.
package final class LuaHost {
    /// Says how a host is set up.
    package struct Options: Sendable {
        /// Where the engine is; nothing is contacted before the first call that needs it.
        package var connector: (any EngineConnector)?
        /// Relative host paths are resolved against this: absolute.
        package var directory: String
        /// What calls say they come from (`hello.lua`, `-e`, `repl`).
        package var script: String?
        /// Refuses functions that change something.
        package var isReadOnly = false
        /// Prints what functions would change, and changes nothing.
        package var isDryRun = false
        var limits = LuaState.Limits()
        /// Permissions of a limited state (`fs:/path`); nil: everything.
        var permissions: Set<String>?
        /// The folder that `require` of a limited state looks in.
        var moduleDirectory: String?
        /// Where it finds modules instead.
        var modules: (any ResidentModules)?
        /// Receives log lines of a state with a thread of its own; stderr without it.
        var log: (@Sendable (_ level: String, _ message: String, _ fields: ValueMap) -> Void)?

        package init(connector: (any EngineConnector)?, directory: String, script: String? = nil) {
            self.connector = connector
            self.directory = directory
            self.script = script
        }
    }

    let options: Options
    let mailbox = Mailbox()
    let state: LuaState
    let session: SessionSource
    private var lastToken: Int64 = 0
    /// What a cancel of the token ends.
    var inFlight: [Int64: any Cancellable] = [:]
    private var timers: [(due: Double, token: Int64)] = []
    private var isTimersTurn = false
    var replies: [Int64: HookReply] = [:]
    var handlerCount = 0
    var isStaying = false
    /// Work may be posted from outside though nothing is under way (a plugin's host).
    var isServing = false
    private(set) var outcome: Value?
    /// The REPL's next line: nil while it is being typed, `.some(nil)` at the end of input.
    var line: String??
    var temporaryDirectories: [String] = []
    let dryRun: DryRun?
    /// Shows what the REPL's commands show: a whole screen (`:watch`), or a line above the prompt (`:events`).
    var onShow: ((_ isScreen: Bool, _ text: String) -> Void)?
    /// A prompt stands on the terminal: what is shown goes above it.
    var isPrompting = false
    /// Who waits for completions, by id.
    var completions: [Int64: (Value) -> Void] = [:]
    /// Who gets what a chunk of a prompt prints, by the token of its reply.
    var outputs: [Int64: @Sendable (Value) -> Void] = [:]
    /// The call that is being made is of a session that only reads.
    var asksAsReader = false
    /// Whether what changes something is refused.
    var isReadOnly: Bool { options.isReadOnly || asksAsReader }
    /// Receives log lines; stderr without it.
    var onLog: ((_ level: String, _ message: String, _ fields: ValueMap) -> Void)?

    package init(_ options: Options) throws(LunetteError) {
        self.options = options
        dryRun = options.isDryRun ? DryRun() : nil
        session = SessionSource(connector: options.connector, mailbox: mailbox)
        state = try LuaState(limits: options.limits)
        state.onCall = { [unowned self] request in answer(request) }
        state.onPump = { [unowned self] in pump() }
    }

    // MARK: the loop

    func newToken() -> Int64 {
        lastToken += 1
        return lastToken
    }

    /// Handles one message or timer, waiting for it.
    /// - Returns: false when nothing can come any more.
    @discardableResult
    func pump() -> Bool {
        // Timers and messages take turns: a task that sleeps no time at all would keep every answer unread.
        isTimersTurn.toggle()
        if let due = timers.first?.due, due <= monotonicNow() {
            if !isTimersTurn, let work = mailbox.next(until: 0) {
                work(self)
                return true
            }
            let timer = timers.removeFirst()
            deliver(timer.token, .success(.array([])))
            return true
        }
        if let due = timers.first?.due {
            mailbox.next(until: due)?(self)
            return true
        }
        if inFlight.isEmpty, handlerCount == 0, !isStaying, !isServing, mailbox.isEmpty { return false }
        mailbox.next(until: nil)?(self)
        return true
    }

    /// Runs until the main chunk and what it spawned have ended.
    func runToEnd() -> Value {
        var deadlocks = 0
        while outcome == nil {
            if pump() {
                deadlocks = 0
                continue
            }
            enter("deadlock", Value.map([:]))
            deadlocks += 1
            if outcome == nil, deadlocks > 100 {
                // What was cancelled waits again, and nothing can come: better an end than a loop.
                outcome = ["ok": false, "failed": [], "error": LunetteError(.wouldBlock, "nothing can end what the tasks wait for").value]
            }
        }
        defer { outcome = nil }
        return outcome!
    }

    func addTimer(_ seconds: Double) -> Int64 {
        let token = newToken()
        let due = monotonicNow() + seconds
        let index = timers.firstIndex { $0.due > due } ?? timers.count
        timers.insert((due, token), at: index)
        return token
    }

    func removeTimer(_ token: Int64) { timers.removeAll { $0.token == token } }

    func finish(with outcome: Value) { self.outcome = outcome }

    /// Ends what runs and what waits, as Ctrl-C does; callable from any thread while the state is open.
    ///
    /// The state is marked first: code that starts to run before the message is read raises too, instead of keeping it unread for ever.
    static func interrupt(_ mailbox: Mailbox, _ interrupter: LuaState.Interrupter) {
        interrupter.interrupt()
        mailbox.post { host in
            host.state.forgetInterrupt()
            host.enter("interrupt", ["text": "interrupted"])
        }
    }

    // MARK: into Lua

    /// Calls an entry; an error there is a defect of the stdlib and is said so.
    @discardableResult
    func enter(_ entry: String, _ argument: Value) -> [Value] {
        do {
            return try state.enter(entry, argument)
        } catch {
            defect(entry, error)
            return []
        }
    }

    func deliver(_ token: Int64, _ result: Result<Value, LunetteError>) {
        inFlight[token] = nil
        let (isError, value): (Bool, Value) =
            switch result {
            case .success(let value): (false, value)
            case .failure(let error): (true, error.value)
            }
        deliverBytes(token, isError: isError, MessagePack.encode(value))
    }

    func deliverBytes(_ token: Int64, isError: Bool, _ bytes: [UInt8]) {
        do {
            try state.deliver(token, isError: isError, bytes)
        } catch {
            defect("deliver", error)
        }
    }

    private func defect(_ entry: String, _ error: LunetteError) {
        // Out of memory in a limited state ends up here too: the main task can't be told, so it ends.
        writeError("lunette: Lua host, \(entry): \(error)\n")
        if outcome == nil, !isServing {
            outcome = ["ok": false, "failed": [], "error": error.value]
        }
    }

    // MARK: what Lua calls

    private func answer(_ request: Value) -> LuaState.Answer {
        guard var arguments = request.arrayValue, let operation = arguments.first?.stringValue else {
            return .failure(LunetteError(.internal, "unreadable call from Lua"))
        }
        arguments.removeFirst()
        do throws(LunetteError) {
            return try perform(operation, Arguments(arguments))
        } catch {
            return .failure(error)
        }
    }

    /// Ends what the host holds: calls under way, handlers in flight, the session, temporary folders.
    package func close() async {
        for operation in inFlight.values { operation.cancel() }
        inFlight = [:]
        for reply in replies.values { reply.fail(LunetteError(.cancelled, "the script has ended")) }
        replies = [:]
        removeTemporaryDirectories()
        await session.close()
    }
}

/// What can be ended before its time.
protocol Cancellable: Sendable {
    func cancel()
}

/// The arguments of one call from Lua, by position.
struct Arguments {
    private let values: [Value]
    init(_ values: [Value]) { self.values = values }
    subscript(_ index: Int) -> Value { index < values.count ? values[index] : .null }
    func text(_ index: Int) -> String { self[index].stringValue ?? "" }
    func dropFirst() -> Arguments { Arguments(Array(values.dropFirst())) }
}

/// Writes to stderr as it is.
func writeError(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        while !rest.isEmpty {
            let written = write(2, rest.baseAddress, rest.count)
            if written < 0, errno == EINTR { continue }
            if written <= 0 { return }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
        }
    }
}
