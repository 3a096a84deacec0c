internal import Glibc
package import LunetteAPI
package import LunetteLinux
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
        /// The clock that a test moves; nil: the system's.
        package var time: VirtualTime?
        /// Asked before calls that need no engine; set in tests.
        var watch: (any CallWatch)?
        /// Gets how often each line ran, when the state is done.
        var coverage: Coverage?
        /// Permissions of a limited state (`fs:/path`); nil: everything.
        var permissions: Set<String>?
        /// How a function that isn't among them can be granted, for errors.
        var grantHint: (@Sendable (String) -> String)?
        /// The folder that `require` of a limited state looks in.
        var moduleDirectory: String?
        /// Where it finds modules instead.
        var modules: (any ResidentModules)?
        /// Whose values `store.*` keeps (`user/0/srv/backup.lua`, `resident/init`); nil: the user's own, of all lines that are typed.
        var store: String?
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
    private var timers = TimerQueue()
    private var isTimersTurn = false
    /// Cron expressions and time zones that were asked for, as they were written.
    var schedules: [String: CronSchedule] = [:]
    var zones: [String: TimeZoneRules] = [:]
    var replies: [Int64: HookReply] = [:]
    /// Events that handlers are busy with, by token, and the tokens.
    var batches: [Int64: HookBatch] = [:]
    var tokens: [ObjectIdentifier: Int64] = [:]
    var handlerCount = 0
    var isStaying = false
    /// Work may be posted from outside though nothing is under way (a plugin's host).
    var isServing = false
    /// The last `pump` found nothing to do for a moment.
    var isAtRest = false
    var hasTimers: Bool { timers.count > 0 }
    private(set) var outcome: Value?
    /// The REPL's next line: nil while it is being typed, `.some(nil)` at the end of input.
    var line: String??
    var temporaryDirectories: [String] = []
    let dryRun: DryRun?
    /// Of a limited state.
    let budget: CallBudget?
    var logAllowance: LogAllowance?
    /// Shows what the REPL's commands show: a whole screen (`:watch`), or a line above the prompt (`:events`).
    var onShow: ((_ isScreen: Bool, _ text: String) -> Void)?
    /// A prompt stands on the terminal: what is shown goes above it.
    var isPrompting = false
    /// Pieces of work under way on this thread, one within another, that `Activity` counts.
    var activities = 0
    /// What `test.*` does.
    var testing: TestHost?
    /// What is kept of a script under test.
    var program: LoadedProgram?
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
        budget = options.limits.isLimited ? CallBudget() : nil
        logAllowance = options.limits.isLimited ? LogAllowance() : nil
        session = SessionSource(connector: options.connector, mailbox: mailbox)
        state = try LuaState(limits: options.limits, time: options.time, countsLines: options.coverage != nil)
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
        if let due = timers.nextDue, due <= monotonicNow() {
            if !isTimersTurn, let work = mailbox.next(until: 0) {
                work(self)
                return true
            }
            if let token = timers.takeFirst() { deliverBytes(token, isError: false, Self.noResults) }
            return true
        }
        if let due = timers.nextDue {
            mailbox.next(until: due)?(self)
            return true
        }
        if inFlight.isEmpty, handlerCount == 0, !isStaying, !isServing, mailbox.isEmpty { return false }
        // Who waits within a piece of work is at rest all the same: time may be moved meanwhile.
        let resting = activities
        Activity.shared.end(resting)
        let work = mailbox.next(until: nil)
        Activity.shared.begin(resting)
        work?(self)
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
        if let time = options.time {
            let mailbox = mailbox
            let timer = time.schedule(after: seconds) { mailbox.post { host in host.deliver(token, .success(.array([]))) } }
            inFlight[token] = VirtualTimer(time: time, id: timer)
            return token
        }
        timers.add(token, due: monotonicNow() + seconds)
        return token
    }

    func removeTimer(_ token: Int64) { timers.remove(token) }

    private static let noResults = MessagePack.encode(.array([]))

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
        for batch in batches.values { batch.fail() }
        (batches, tokens) = ([:], [:])
        removeTemporaryDirectories()
        await session.close()
    }
}

/// A sleep in a time that a test moves.
struct VirtualTimer: Cancellable {
    let time: VirtualTime
    let id: Int
    func cancel() { time.cancel(id) }
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
