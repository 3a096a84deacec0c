public import LunetteSpec

/// An engine without a kernel, for tests of scripts: its own state machines, hooks, events and resident code over programs that a test plays.
///
/// One is made for each test and closed after it.
public protocol SimulatedEngine: EngineConnector {
    /// The number of the last event.
    func newestEvent() async -> Int64

    /// Makes an image be there.
    /// - Parameter config: its OCI image configuration's `config` (`Entrypoint`, `Cmd`, `Labels` …), or null.
    /// - Throws: `invalid_argument` when the reference can't be read.
    func declare(image reference: String, config: Value) async throws(LunetteError)

    /// Ends the program of a running container.
    /// - Throws: `not_found`; `invalid_state` when it isn't running.
    func end(container: String, _ end: SimulatedEnd) async throws(LunetteError)

    /// Gives `on` handlers an event, or asks `before` handlers.
    /// - Parameter fields: of the event: `container`, `image` or `volume` (a handle or a name), `spec`, `labels` and its own.
    /// - Returns: for `before` events `{allowed, spec, reason, hook, notes}`, else null.
    /// - Throws: `invalid_argument` for an event that there is not.
    func emit(_ event: String, _ fields: Value) async throws(LunetteError) -> Value

    /// Loads a script as resident: its handlers are registered, its timers begin.
    /// - Returns: `{handlers, has_timers}`.
    /// - Throws: what is wrong with it.
    func load(_ script: ResidentScript, modules: any ResidentModules) async throws(LunetteError) -> Value

    /// Loads a plugin's folder and starts it: its drivers are those of the engine.
    /// - Returns: the plugin's description.
    /// - Throws: what is wrong with it.
    func load(plugin directory: String) async throws(LunetteError) -> Value

    /// Stops what was loaded and forgets everything.
    func close() async
}

/// How a program that a test plays ends.
public struct SimulatedEnd: Sendable, Hashable {
    /// 0–255; with a signal 128 + its number.
    public var code: Int32
    /// `SIGKILL`; nil when it returned.
    public var signal: String?
    /// Whether the kernel ended it for want of memory.
    public var isOutOfMemory: Bool

    /// A program that returned, or was ended by a signal.
    public init(code: Int32 = 0, signal: String? = nil, isOutOfMemory: Bool = false) {
        self.code = code
        self.signal = signal
        self.isOutOfMemory = isOutOfMemory
    }
}

/// What a program that a test plays does.
public struct SimulatedProgram: Sendable, Hashable {
    /// Nil: it runs until it is stopped.
    public var end: SimulatedEnd?
    /// Seconds until then.
    public var after: Double
    /// What it writes at its start (a container's program) or its end (an exec).
    public var stdout: [UInt8]
    /// As `stdout`.
    public var stderr: [UInt8]
    /// Signals that don't end it (`SIGTERM`).
    public var ignored: [String]

    /// One that runs until it is stopped, and writes nothing.
    public init(end: SimulatedEnd? = nil, after: Double = 0, stdout: [UInt8] = [], stderr: [UInt8] = [], ignored: [String] = []) {
        self.end = end
        self.after = after
        self.stdout = stdout
        self.stderr = stderr
        self.ignored = ignored
    }
}

/// Says what programs do: the test.
public protocol SimulationDirector: Sendable {
    /// Asked when a container's program or an exec starts.
    /// - Parameter start: `{kind = "program" | "exec", container, image, args, env, workdir, user, stdin}`.
    /// - Throws: what the start answers instead; `unsupported` when the test doesn't say what it does.
    func program(_ start: Value) async throws(LunetteError) -> SimulatedProgram
}
