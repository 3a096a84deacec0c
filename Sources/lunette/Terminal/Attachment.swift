import Glibc
import LunetteAPI
import LunetteSpec
import Synchronization

/// A container's (or an exec's) streams on the user's own, with signals, terminal size and the keys that leave.
final class Attachment: Sendable {
    struct Streams {
        var stdin: Bool
        var stdout = true
        var stderr = true
        var tty: Bool

        /// - Parameter named: what `-a` asks for; none: all.
        init(_ named: [String] = [], stdin: Bool, tty: Bool) throws(LunetteError) {
            self.stdin = stdin
            self.tty = tty
            guard !named.isEmpty else { return }
            let known = ["stdin", "stdout", "stderr"]
            for name in named.map({ $0.lowercased() }) where !known.contains(name) {
                throw LunetteError(.invalidArgument, "attach to \"\(name)\"", hint: "known: stdin, stdout, stderr")
            }
            self.stdin = named.contains { $0.lowercased() == "stdin" } && stdin
            stdout = named.contains { $0.lowercased() == "stdout" }
            stderr = named.contains { $0.lowercased() == "stderr" }
        }
    }

    private let client: Client
    private let streams: Streams
    private let relay: StreamRelay
    private let sigProxy: Bool
    /// What the resize and the signals are for; set once it is known.
    private let target = Mutex<ValueMap?>(nil)

    /// - Throws: `invalid_argument` for keys that can't be read, and when a terminal is asked for where there is none.
    init(_ client: Client, streams: Streams, keys: String?, sigProxy: Bool) throws(LunetteError) {
        if streams.tty, streams.stdin, !Output.isTerminal(0) {
            throw LunetteError(.invalidArgument, "use -t: the input is not a terminal", hint: "leave -t out, or -i")
        }
        self.client = client
        self.streams = streams
        self.sigProxy = sigProxy
        relay = try StreamRelay(
            stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, tty: streams.tty, detachKeys: try DetachKeys.read(keys))
    }

    var stdio: [Value] { relay.stdio.map(Value.string) }
    var files: [Int32] { relay.files }
    /// Whether the user left by the keys: the program goes on.
    var isDetached: Bool { relay.isDetached }

    /// Starts (or attaches to) a container and stays until it ends.
    /// - Parameter begin: makes the call that takes the streams.
    /// - Returns: how it ended; code 0 after a detach.
    func run(
        container id: String, begin: @Sendable ([Int32], [Value]) async throws(LunetteError) -> Void
    ) async throws(LunetteError) -> Value {
        target.withLock { $0 = ["container": .string(id)] }
        try await begin(files, stdio)
        let detach = Latch()
        try relay.start { detach.open() }
        try takeTerminal()
        defer { TerminalMode.restore() }
        let client = client
        let exit = Task { () async -> Result<Value, LunetteError> in
            do throws(LunetteError) { return .success(try await ContainerExit.wait(id, client)) } catch { return .failure(error) }
        }
        let waiting = Task {
            let result = await exit.value
            detach.open()
            return result
        }
        await detach.opened()
        if relay.isDetached {
            TerminalMode.restore()
            exit.cancel()
            waiting.cancel()
            Self.say("detached")
            return ["code": 0]
        }
        let result = try await waiting.value.get()
        // A signal has nobody to go to any more: from now on it ends the command.
        target.withLock { $0 = nil }
        await relay.drained(patience: 10)
        return result
    }

    /// What `container.start` is called with: the streams, and the terminal's size, so that the program finds it set at its first look.
    func startArguments(_ id: String, _ stdio: [Value]) -> ValueMap {
        var arguments: ValueMap = ["container": .string(id), "stdio": .array(stdio)]
        if streams.tty, let size = TerminalSize.of(1) ?? TerminalSize.of(0) {
            arguments["rows"] = .int(Int64(size.rows))
            arguments["columns"] = .int(Int64(size.columns))
        }
        return arguments
    }

    /// Runs a call that takes the streams and ends with the program (exec).
    func run(
        function: String, id: String, _ arguments: ValueMap, resize: ValueMap
    ) async throws(LunetteError) -> Int32 {
        var arguments = arguments
        arguments["stdio"] = .array(stdio)
        // A new pty is made in the right size; one that is there gets it by `resize`.
        if streams.tty, function == "container.exec", let size = TerminalSize.of(1) ?? TerminalSize.of(0) {
            arguments["rows"] = .int(Int64(size.rows))
            arguments["columns"] = .int(Int64(size.columns))
        }
        target.withLock { $0 = resize }
        let detach = Latch()
        let (client, files, call) = (client, files, arguments)
        let work = Task { () async -> Result<Value, LunetteError> in
            defer { detach.open() }
            do throws(LunetteError) { return .success(try await client.call(function, call, files: files, id: id)) } catch {
                return .failure(error)
            }
        }
        // Our copies stay open until the call has ended: it may have to be repeated with them. The relay reads to its end all the same,
        // because it stops when the call is over.
        try relay.start(closing: false) { detach.open() }
        try takeTerminal()
        defer { TerminalMode.restore() }
        await detach.opened()
        if relay.isDetached {
            TerminalMode.restore()
            if function == "container.exec" {
                // Said first, so that the end of our call doesn't end the command; one that has just ended needs it no more.
                _ = try? await client.call("container.detach", resize)
            }
            work.cancel()
            Self.say("detached")
            return 0
        }
        let result = try await work.value.get()
        relay.closeFiles()
        await relay.drained(patience: 10)
        return ContainerExit.code(result)
    }

    /// On a line of its own: the program's last one is hardly ever at its end.
    private static func say(_ word: String) {
        if Output.isTerminal(2) { Output.write(2, Array("\r\n\(word)\r\n".utf8)) }
    }

    private func takeTerminal() throws(LunetteError) {
        if streams.tty, streams.stdin, Output.isTerminal(0) { TerminalMode.makeRaw() }
        if streams.tty { resize() }
        try SignalRelay.start { [self] name, number in
            if number == SIGWINCH {
                if streams.tty { resize() }
            } else if sigProxy {
                forward(name)
            } else {
                TerminalMode.restore()
                exit(128 + number)
            }
        }
    }

    private func resize() {
        guard let size = TerminalSize.of(1) ?? TerminalSize.of(0), var arguments = target.withLock({ $0 }) else { return }
        arguments["rows"] = .int(Int64(size.rows))
        arguments["columns"] = .int(Int64(size.columns))
        // The program may have ended in this moment: its size is nobody's concern then.
        Task { [client, arguments] in _ = try? await client.call("container.resize", arguments) }
    }

    private func forward(_ signal: String) {
        guard let container = target.withLock({ $0?["container"] }), target.withLock({ $0?["exec"] }) == nil else {
            // An exec's program can't be signalled by name; leaving ends it.
            TerminalMode.restore()
            exit(128 + (SignalRelay.names.first { $0.name == signal }?.number ?? 0))
        }
        // The program may have ended in this moment: the signal has nobody to go to.
        Task { [client] in _ = try? await client.call("container.kill", ["container": container, "signal": .string(signal)]) }
    }
}

/// Opens once; any number may wait.
final class Latch: Sendable {
    private let state = Mutex<(isOpen: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func opened() async {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state in
                if state.isOpen { return true }
                state.waiters.append(continuation)
                return false
            }
            if now { continuation.resume() }
        }
    }
}

/// How a container ended.
enum ContainerExit {
    /// Waits for it, also when it is removed the moment it ends (`--rm`).
    static func wait(_ id: String, _ client: Client) async throws(LunetteError) -> Value {
        do throws(LunetteError) {
            return try await client.call("container.wait", ["container": .string(id)])
        } catch  where error.code == .notFound {
            // Gone already: its exit stands in the event log.
            let found = Mutex<Value?>(nil)
            _ = try await client.call(
                "events.follow", ["since": "1h", "until": "0s", "match": ["name": "container.exited", "target": .string(id)]]
            ) { (event) throws(LunetteError) in
                if let exit = event["exit"] { found.withLock { $0 = exit } }
            }
            guard let exit = found.withLock({ $0 }) else { throw error }
            return exit
        }
    }

    /// Returns when a container that is removed at its end is gone, with its name and its volumes free again. A removal that failed is said.
    static func removal(_ id: String, of name: String, _ client: Client) async {
        do throws(LunetteError) {
            // Queues behind the engine's own removal, then finds nothing, and makes one that was refused answer why.
            _ = try await client.call("container.remove", ["container": .string(id), "volumes": true])
        } catch {
            if error.code == .notFound { return }
            Output.note("lunette: warning: \(Text.safe(name)) is still there: \(Text.safe(error.message))")
        }
    }

    static func code(_ exit: Value) -> Int32 {
        let code = exit["code"]?.intValue.flatMap { Int32(exactly: $0) } ?? 125
        return (0...255).contains(code) ? code : 125
    }
}

enum DetachKeys {
    /// Reads `ctrl-p,ctrl-q`; nil: that; empty: none.
    static func read(_ text: String?) throws(LunetteError) -> [UInt8] {
        guard let text else { return [0x10, 0x11] }
        var keys: [UInt8] = []
        for part in text.split(separator: ",") {
            let key = part.lowercased()
            if key.hasPrefix("ctrl-"), key.utf8.count == 6, let last = key.utf8.last, (0x40...0x7e).contains(last) {
                keys.append(last & 0x1f)
            } else if part.utf8.count == 1, let only = part.utf8.first {
                keys.append(only)
            } else {
                throw LunetteError(
                    .invalidArgument, "read --detach-keys \"\(text)\"", hint: "write keys such as ctrl-p,ctrl-q or a single letter")
            }
        }
        return keys
    }
}
