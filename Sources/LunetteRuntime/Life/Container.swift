internal import CLinux
package import LunetteLinux
package import LunetteSpec
internal import Synchronization

/// One launched container: the engine's end of its shim. Any task may use it.
package final class Container: Sendable {
    package let record: ContainerRecord
    package var id: String { record.id }
    let runtime: ContainerRuntime
    let cgroup: ContainerCgroup
    let places: ContainerPlaces
    /// nil when the shim was lost before this engine came.
    let connection: ShimConnection?
    /// The shim when it is our child (not after an adoption): to be reaped.
    private let child: ProcessDescriptor?

    private let outcome = OneShot<ContainerExit>()
    private let initWatch = Mutex<Poller.Watch?>(nil)
    private let preparation: [(phase: String, seconds: Double)]
    /// Given with `create`, for `start()`.
    private let io: ProcessIO
    /// Whether its gate was opened ahead: `start()` only waits.
    private let isOpen: Bool
    /// The shim's numbers of this engine's execs, by the engine's ids.
    private let execs = Mutex<[String: UInt32]>([:])

    init(
        record: ContainerRecord, runtime: ContainerRuntime, cgroup: ContainerCgroup, places: ContainerPlaces, connection: ShimConnection?,
        child: ProcessDescriptor?,
        preparation: [(phase: String, seconds: Double)], io: ProcessIO = .none, isOpen: Bool = false
    ) {
        self.io = io
        self.isOpen = isOpen
        self.runtime = runtime
        self.record = record
        self.cgroup = cgroup
        self.places = places
        self.connection = connection
        self.child = child
        self.preparation = preparation
    }

    /// How long each phase of the launch took, in seconds, in order; complete once the program runs.
    package var profile: [(phase: String, seconds: Double)] {
        guard let marks = connection?.status?.marks else { return preparation }
        var result = preparation
        var last = marks.first ?? 0
        for (name, mark) in zip(ShimStatus.markNames, marks).dropFirst() where mark > 0 && last > 0 {
            result.append((name, max(0, mark - last)))
            last = mark
        }
        return result
    }

    /// Unix seconds at which the program was executed; nil before.
    package var startedAt: Double? { connection?.status.flatMap { $0.startedAt > 0 ? $0.startedAt : nil } }

    /// The program's pid as the host sees it (not pid 1 when there is an init); nil when none runs.
    package var programPID: Int32? { connection?.status.flatMap { $0.programPID > 0 ? $0.programPID : nil } ?? record.initProcess?.pid }

    // MARK: the program's life

    /// Opens the gate: init executes the program. Returns when the program runs (its execve succeeded).
    /// - Throws: a launch failure: `not_found` (exit code 127) or `denied` (126) for the program, else the step's own error;
    ///   `details` = `{step, index, call, path, exit_code}`. `invalid_state` when it was started already.
    package func start() async throws(LunetteError) {
        if isOpen { try await waitForStart() } else { try await start(io) }
    }

    /// As `start()`, with other descriptors than `create` was given.
    package func start(_ io: ProcessIO) async throws(LunetteError) {
        let connection = try monitored()
        if isOpen || connection.status?.state == .running || connection.status?.state == .ended {
            throw LunetteError(.invalidState, "container \(id) was started already", target: id)
        }
        try await Self.open(connection, io)
        try await waitForStart()
    }

    /// Tells a shim to open its gate, which it does when it gets there.
    static func open(_ connection: ShimConnection, _ io: ProcessIO) async throws(LunetteError) {
        let (flags, descriptors) = describe(io)
        try await connection.post(descriptors) { request in
            packet(
                lnt_attach(
                    message: header(LNT_MSG_START, request), flags: flags, process: 0, rows: UInt32(io.size?.rows ?? 0),
                    columns: UInt32(io.size?.columns ?? 0)))
        }
        faultPoint("start.sent")
    }

    private func waitForStart() async throws(LunetteError) {
        guard let started = await connection?.started.valueUnlessCancelled() else {
            throw LunetteError(.cancelled, "waiting for the start of container \(id) was cancelled", target: id)
        }
        _ = try started.get()
    }

    /// Returns when the container's program has ended, at once if it has. Any number may wait.
    /// - Throws: `cancelled`; the container goes on.
    package func exit() async throws(LunetteError) -> ContainerExit {
        guard let exit = await outcome.valueUnlessCancelled() else {
            throw LunetteError(.cancelled, "the wait for container \(id) was cancelled", target: id)
        }
        return exit
    }

    /// Calls `body` once, when the container's program has ended; at once if it has.
    package func whenEnded(_ body: @escaping @Sendable (Result<ContainerExit, LunetteError>) -> Void) {
        outcome.whenFulfilled { body(.success($0)) }
    }

    /// The exit if it is known already.
    package var knownExit: ContainerExit? { outcome.known }

    /// For log readers: comes when nothing more will be written.
    let ended = OneShot<Void>()

    /// Sends a signal to the container's program, or to every process. A killed container that was paused is thawed, so that it can die.
    /// - Throws: `invalid_state` when nothing runs.
    package func kill(signal: Int32, all: Bool = false) async throws(LunetteError) {
        if let connection, connection.closed.known == nil {
            try await connection.request { request in
                packet(lnt_signal(message: header(LNT_MSG_SIGNAL, request), signal: signal, process: 0, everyone: all ? 1 : 0, zero: 0))
            }
        } else {
            try signalUnmonitored(signal, all: all)
        }
        faultPoint("kill.sent")
        if signal == 9 {
            let cgroup = cgroup
            try await blocking { () throws(LunetteError) in
                try atBorder("thaw", { () throws(SystemCallError) in try cgroup.thawForKill() })
            }
        }
    }

    private func signalUnmonitored(_ signal: Int32, all: Bool) throws(LunetteError) {
        guard outcome.known == nil, let process = record.initProcess?.open() else {
            throw LunetteError(.invalidState, "container \(id) isn't running", target: id)
        }
        if all {
            cgroup.signalAll(signal)
        } else {
            try atBorder("signal container \(id)", { () throws(SystemCallError) in _ = try process.signal(signal) })
        }
    }

    /// Adds sinks for output from now on (dropped when they lag by more than 1 MiB) and, if asked, feeds the program's stdin.
    /// - Parameter key: what `detach` names them by.
    package func attach(
        stdin: FileDescriptor?, stdout: FileDescriptor?, stderr: FileDescriptor?, key: String? = nil
    ) async throws(LunetteError) {
        try await attach(ProcessIO(stdin: stdin, stdout: stdout, stderr: stderr, hasBackPressure: false, keepsStdinOpen: true), key: key)
    }

    /// Lets go what an attach brought. Waits for no answer: whoever attached may have been cancelled.
    package func detach(key: String) async throws(LunetteError) {
        try await monitored().post {
            packet(lnt_attach(message: header(LNT_MSG_DETACH, $0), flags: 0, process: 0, rows: 0, columns: 0, key: key))
        }
    }

    /// Sets the terminal's size; `exec` names one of this engine's execs with a tty, nil the container's own.
    package func resize(rows: UInt16, columns: UInt16, exec: String? = nil) async throws(LunetteError) {
        var process: UInt32?
        if let exec { process = try number(ofExec: exec) }
        try await resize(TerminalSize(rows: rows, columns: columns), exec: process)
    }

    /// Sends a signal to an exec's process.
    package func kill(exec: String, signal: Int32) async throws(LunetteError) {
        try await kill(process: try number(ofExec: exec), signal: signal)
    }

    private func number(ofExec exec: String) throws(LunetteError) -> UInt32 {
        guard let number = execs.withLock({ $0[exec] }) else {
            throw LunetteError(.notFound, "container \(id) has no running exec \(exec)", target: id)
        }
        return number
    }

    /// Adds sinks for output from now on and, if asked, feeds stdin; `exec` names an exec's process number, nil the container's program.
    package func attach(_ io: ProcessIO, exec process: UInt32? = nil, key: String? = nil) async throws(LunetteError) {
        let (flags, descriptors) = Self.describe(io)
        try await monitored().request(descriptors) { request in
            packet(
                lnt_attach(
                    message: header(LNT_MSG_ATTACH, request), flags: flags, process: process ?? 0, rows: UInt32(io.size?.rows ?? 0),
                    columns: UInt32(io.size?.columns ?? 0), key: key))
        }
    }

    /// Sets the terminal's size of the container's program, or of an exec.
    package func resize(_ size: TerminalSize, exec process: UInt32? = nil) async throws(LunetteError) {
        do throws(LunetteError) {
            try await monitored().request { request in
                packet(
                    lnt_resize(
                        message: header(LNT_MSG_RESIZE, request), process: process ?? 0, rows: UInt32(size.rows),
                        columns: UInt32(size.columns), zero: 0))
            }
        } catch  where error.errno == ErrorNumber.noDevice {
            throw LunetteError(
                .invalidState, "\(process == nil ? "container \(id)" : "the exec in container \(id)") has no terminal", target: id,
                hint: "only what was made with one has a size (--tty, in Lua tty = true)")
        }
    }

    /// Ends the program's stdin (for one that was kept open).
    package func closeStdin(exec process: UInt32? = nil) async throws(LunetteError) {
        try await monitored().request { request in
            packet(lnt_signal(message: header(LNT_MSG_CLOSE_STDIN, request), signal: 0, process: process ?? 0, everyone: 0, zero: 0))
        }
    }

    // MARK: exec

    /// Runs one more process from its plan; returns when its program runs.
    func exec(_ plan: ExecPlan, id execID: String, _ io: ProcessIO) async throws(LunetteError) -> ExecProcess {
        let connection = try monitored()
        let bytes = try plan.encoded()
        let memory = try await blocking { () throws(LunetteError) in
            try atBorder("hand over the exec's plan", { () throws(SystemCallError) in try SealedMemory.make("lunette-exec", bytes) })
        }
        let (flags, descriptors) = Self.describe(io)
        let exec = try await connection.exec([memory] + descriptors) { request in
            packet(
                lnt_attach(
                    message: header(LNT_MSG_EXEC, request), flags: flags, process: 0, rows: UInt32(io.size?.rows ?? 0),
                    columns: UInt32(io.size?.columns ?? 0), key: execID))
        }
        faultPoint("exec.sent")
        guard let started = await exec.started.valueUnlessCancelled() else {
            throw LunetteError(.cancelled, "waiting for the exec's start was cancelled", target: id)
        }
        let (process, pid) = try started.get()
        execs.withLock { $0[execID] = process }
        return ExecProcess(id: execID, pid: pid, process: process, container: self) { () throws(LunetteError) in
            guard let result = await exec.exited.valueUnlessCancelled() else {
                throw LunetteError(.cancelled, "the wait for the exec was cancelled")
            }
            self.execs.withLock { _ = $0.removeValue(forKey: execID) }
            return try result.get()
        }
    }

    /// Sends a signal to an exec's process.
    func kill(process: UInt32, signal: Int32) async throws(LunetteError) {
        try await monitored().request { request in
            packet(lnt_signal(message: header(LNT_MSG_SIGNAL, request), signal: signal, process: process, everyone: 0, zero: 0))
        }
    }

    // MARK: watching

    func monitored() throws(LunetteError) -> ShimConnection {
        guard let connection, connection.closed.known == nil else {
            throw LunetteError(
                .invalidState, "container \(id) has no monitor: its lunette-shim was killed", target: id,
                hint: "what it runs can still be killed and removed")
        }
        return connection
    }

    /// What the connection tells from now on becomes the exit; called once, before anybody waits.
    func connectionChanged(_ connection: ShimConnection) {
        if let exit = connection.exited.known { settle(exit) }
        guard connection.closed.known != nil else { return }
        // Reaping and reading the record may block, and this is the poller's thread.
        BlockingExecutor.shared.submit { [self] in
            if let child { while !child.waitForExit(milliseconds: 1000) {} }
            // Nobody else waits for it; a failure means that it isn't our child any more.
            _ = try? child?.reap(block: true)
            if outcome.known == nil {
                if let exit = places.exitRecord() { settle(exit) } else { watchInit() }
            }
            ended.fulfil(())
        }
    }

    /// Without a shim, the end of pid 1 is all there is to see.
    func watchInit() {
        guard let process = record.initProcess?.open() else {
            settle(places.exitRecord() ?? .lost(at: SystemClock.now))
            ended.fulfil(())
            return
        }
        do throws(SystemCallError) {
            let watch = try Poller.shared.watch(process.descriptor, .readable, once: true) { [self] _ in
                settle(.lost(at: SystemClock.now))
                ended.fulfil(())
            }
            initWatch.withLock { $0 = watch }
        } catch {
            settle(.lost(at: SystemClock.now))
        }
    }

    private func settle(_ exit: ContainerExit) { outcome.fulfil(exit) }

    private static func describe(_ io: ProcessIO) -> (flags: UInt32, descriptors: [FileDescriptor]) {
        var flags: UInt32 = 0
        if io.stdin != nil { flags |= LNT_HAS_STDIN.rawValue }
        if io.stdout != nil { flags |= LNT_HAS_STDOUT.rawValue }
        if io.stderr != nil { flags |= LNT_HAS_STDERR.rawValue }
        if io.hasBackPressure { flags |= LNT_BACK_PRESSURE.rawValue }
        if io.keepsStdinOpen { flags |= LNT_STDIN_KEEPS_OPEN.rawValue }
        return (flags, [io.stdin, io.stdout, io.stderr].compactMap(\.self))
    }
}

func header(_ type: lnt_message_type, _ id: UInt32) -> lnt_message { lnt_message(type: type.rawValue, id: id) }
