internal import Glibc
internal import LunetteSpec

/// Gets a connection to an engine, starting one when nobody listens.
///
///   client A                    client B                     engine
///     │ connect: ENOENT           │ connect: ECONNREFUSED
///     │ spawn, fd 3 = pipe ───────┼─────────────────────────► takes the lock, listens, writes "ready\n"
///     │                           │ spawn ──────────────────► (another) lock is taken: writes its error, leaves
///     │ reads "ready", connects   │ reads `conflict`, connects again until it is answered
///
/// Who becomes the engine is settled by the engine's lock alone; a client only ever tries again.
struct EngineStarter: Sendable {
    let socket: String
    let start: EngineStart?
    /// Seconds in which an engine must answer: it may have containers to adopt and what a crash left to undo.
    var patience = 30.0
    /// Seconds in which an engine with another state directory may leave the root.
    var rootPatience = 8.0
    /// Seconds in which the next engine may come that somebody else starts: there was one before.
    var nextPatience = 0.0

    func connected() async throws(LunetteError) -> Int32 {
        let deadline = MonotonicClock.now + patience
        // An engine that only lingers leaves the root within that; one that stays with another state directory won't.
        let rootDeadline = MonotonicClock.now + min(patience, rootPatience)
        let nextDeadline = MonotonicClock.now + nextPatience
        var conflict: LunetteError?
        var pause = 0.002
        var mayStart = true
        while true {
            let failure: Errno
            switch try WireSocket.connect(socket) {
            case .success(let fd): return fd
            case .failure(let error): failure = error
            }
            let nobodyListens = failure.number == ENOENT || failure.number == ECONNREFUSED
            guard nobodyListens || failure.number == EAGAIN else {
                throw LunetteError(
                    .io, "connect to the engine at \(socket): \(failure)", errno: failure.number,
                    hint: failure.number == EACCES ? "the engine belongs to another user; try as root" : nil)
            }
            if nobodyListens {
                if start == nil, MonotonicClock.now < nextDeadline {
                    do { try await Task.sleep(for: .seconds(pause)) } catch {
                        throw LunetteError(.cancelled, "connect to the engine: cancelled")
                    }
                    pause = min(pause * 1.5, 0.2)
                    continue
                }
                guard let start else {
                    throw LunetteError(
                        .io, "connect to the engine at \(socket): \(failure)", errno: failure.number,
                        hint: "start it with \"lunette daemon\"")
                }
                if mayStart {
                    let report = try await OwnThread.run { EngineStarter.spawn(start, patience: patience) }.get()
                    if report.hasPrefix("ready") { continue }
                    let error = EngineStarter.error(in: report)
                    // Another starter was faster: its engine answers soon.
                    guard error.code == .conflict else { throw error }
                    if error.details?["directory"] == "root", MonotonicClock.now >= rootDeadline { throw error }
                    conflict = error
                    mayStart = false
                } else if pause > 0.1 {
                    // The faster engine may have left again (it was stopped, it failed): then it is our turn.
                    mayStart = true
                }
            }
            guard MonotonicClock.now < deadline else {
                throw conflict
                    ?? LunetteError(
                        .timeout, "connect to the engine at \(socket): \(failure) for \(Int(patience)) s", errno: failure.number,
                        hint: "see engine.log in the state directory")
            }
            do { try await Task.sleep(for: .seconds(pause)) } catch { throw LunetteError(.cancelled, "connect to the engine: cancelled") }
            pause = min(pause * 1.5, 0.2)
        }
    }

    private static func error(in report: String) -> LunetteError {
        // Text of an engine that fell over before it could write a record is shown as it stands.
        if let value = try? JSON.decode(Array(report.utf8), source: "the engine's report") { return LunetteError(value: value) }
        return LunetteError(
            .io, "start the engine: it ended without a word\(report.isEmpty ? "" : ": \(report)")",
            hint: "run \"lunette daemon\" in the foreground to see why")
    }

    /// Starts the program in a session of its own and reads what it reports. Blocks; runs on a thread of its own.
    private static func spawn(_ start: EngineStart, patience: Double) -> Result<String, LunetteError> {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return .failure(WireSocket.failure("make a pipe", errno)) }
        for end in ends { WireSocket.closeOnExec(end, nonBlocking: false) }
        defer { close(ends[0]) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)
        posix_spawn_file_actions_adddup2(&actions, 0, 1)
        posix_spawn_file_actions_adddup2(&actions, 0, 2)
        // dup2 onto itself clears close-on-exec too (posix_spawn does so since glibc 2.29).
        posix_spawn_file_actions_adddup2(&actions, ends[1], 3)
        // posix_spawn_file_actions_addclosefrom_np (glibc 2.34) is declared for GNU sources only, so Swift finds it by name.
        typealias CloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
        if let found = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") {
            _ = unsafeBitCast(found, to: CloseFrom.self)(&actions, 4)
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // POSIX_SPAWN_SETSID is 0x80 (spawn.h, GNU): no terminal's hang-up or Ctrl-C reaches the engine.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | 0x80))

        let arguments = ["lunette"] + start.arguments + ["daemon", "--on-demand"]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = []
        var entry = environ
        while let variable = entry.pointee {
            environment.append(variable)
            entry += 1
        }
        let ready = strdup("LUNETTE_READY_FD=3")
        environment += [ready, nil]
        defer {
            for pointer in pointers { free(pointer) }
            free(ready)
        }
        var pid: pid_t = 0
        let failed = posix_spawn(&pid, start.executable, &actions, &attributes, &pointers, &environment)
        close(ends[1])
        guard failed == 0 else {
            return .failure(LunetteError(.io, "start the engine \(start.executable): \(Errno(failed))", errno: failed))
        }
        // Reaps it should it end before us; a thread that sleeps costs nothing.
        let child = pid
        try? OwnThread.start {  // Without a thread it stays a zombie until we end: harmless.
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        }
        return .success(read(ends[0], until: MonotonicClock.now + patience))
    }

    /// Reads a line, or what comes until the end.
    private static func read(_ fd: Int32, until deadline: Double) -> String {
        var bytes: [UInt8] = []
        while bytes.last != 0x0a, bytes.count < 64 << 10 {
            var waiting = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            let left = deadline - MonotonicClock.now
            guard left > 0 else { return "{\"code\":\"timeout\",\"message\":\"start the engine: no word from it in time\"}" }
            if poll(&waiting, 1, Int32(left * 1000)) <= 0 { continue }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = Glibc.read(fd, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
