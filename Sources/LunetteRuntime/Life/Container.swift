package import LunetteLinux
package import LunetteSpec

/// One launched container: the engine's end of its shim. Any task may use it.
package final class Container: Sendable {
    package let record: ContainerRecord
    package var id: String { record.id }
    /// How long each phase of the launch took, in seconds, in order.
    package let profile: [(phase: String, seconds: Double)]

    init(record: ContainerRecord, profile: [(phase: String, seconds: Double)]) {
        self.record = record
        self.profile = profile
    }

    /// Opens the gate: init executes the program. Returns when the program runs (its execve succeeded).
    /// - Throws: a launch failure: `not_found` (exit code 127) or `denied` (126) for the program, else the step's own error;
    ///   `details` = `{step, syscall, errno, path, exit_code}`. `invalid_state` when it runs already.
    package func start() async throws(LunetteError) { throw notYet() }

    /// Returns when the container's first process has ended, at once if it has. Any number may wait. Cancelling stops the waiting.
    package func exit() async throws(LunetteError) -> ContainerExit { throw notYet() }

    /// The exit if it is known already.
    package var knownExit: ContainerExit? { nil }

    /// Sends a signal to the container's first process (through init when there is one), or to every process.
    /// - Throws: `invalid_state` when nothing runs.
    package func kill(signal: Int32, all: Bool = false) async throws(LunetteError) { throw notYet() }

    /// Runs one more process; returns when its program runs.
    /// - Throws: as `start`.
    package func exec(_ request: ExecRequest) async throws(LunetteError) -> ExecProcess { throw notYet() }

    /// Sends a signal to an exec's process.
    package func kill(exec id: String, signal: Int32) async throws(LunetteError) { throw notYet() }

    /// Adds sinks for output from now on (a sink that lags by more than 1 MiB is dropped) and, if asked, feeds stdin from `stdin`.
    package func attach(stdin: FileDescriptor?, stdout: FileDescriptor?, stderr: FileDescriptor?) async throws(LunetteError) { throw notYet() }

    /// Sets the terminal's size; `exec` names an exec with a tty, nil the container's own.
    package func resize(rows: UInt16, columns: UInt16, exec: String? = nil) async throws(LunetteError) { throw notYet() }

    /// Freezes every process (cgroup freezer); returns when all stand still.
    package func pause() async throws(LunetteError) { throw notYet() }
    package func resume() async throws(LunetteError) { throw notYet() }

    /// Figures of now, as `c:stats()` returns them.
    package func stats() async throws(LunetteError) -> Value { throw notYet() }

    /// The container's processes as `c:processes()` returns them, read from the host, running nothing inside.
    package func processes() async throws(LunetteError) -> Value { throw notYet() }

    /// Changes limits of the running container. Absent fields stay.
    package func update(_ resources: CgroupLimits) async throws(LunetteError) { throw notYet() }

    private func notYet() -> LunetteError { LunetteError(.unsupported, "not built yet") }
}
