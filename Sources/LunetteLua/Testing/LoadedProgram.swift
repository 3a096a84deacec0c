internal import LunetteAPI
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// A script under test: it runs as `lunette FILE.lua` would run it, on a thread of its own, and what it prints is kept.
final class LoadedProgram: Sendable {
    private let options: LuaHost.Options
    private let request: Value
    private struct State {
        var outcome: Value?
        var isStaying = false
        var isStopped = false
        var mailbox: Mailbox?
        var interrupter: LuaState.Interrupter?
        var output: [UInt8] = []
        var errors: [UInt8] = []
        var waiters: [(staysCount: Bool, body: @Sendable (Value) -> Void)] = []
    }
    private let state = Mutex(State())

    init(_ options: LuaHost.Options, source: [UInt8], path: String, absolute: String, arguments: [[UInt8]]) {
        self.options = options
        let folder = absolute.pathParts.dropLast().joined(separator: "/")
        request = [
            "source": .text(source), "name": .string("@\(path)"), "script": .string(path),
            "arguments": .array(arguments.map(Value.text)), "directory": .string("/" + folder), "captures": true,
            "has_test_time": .bool(options.time != nil),
        ]
    }

    func start() {
        Activity.shared.begin()
        onOwnThread { self.run() }
    }

    private func run() {
        let host: LuaHost
        do throws(LunetteError) { host = try LuaHost(options) } catch {
            settle(["ok": false, "error": error.value, "failed": []])
            Activity.shared.end()
            return
        }
        host.program = self
        state.withLock { ($0.mailbox, $0.interrupter) = (host.mailbox, host.state.interrupter) }
        // Under way from here to its end is told; its waits give that back meanwhile.
        host.activities += 1
        host.enter("run", request)
        let outcome = host.runToEnd()
        // A stop that was posted meanwhile finds nothing any more.
        state.withLock { ($0.mailbox, $0.interrupter) = (nil, nil) }
        while let work = host.mailbox.next(until: 0) { work(host) }
        let session = host.session
        options.coverage?.add(host.state)
        waitFor {
            await host.close()
            await session.close()
        }
        host.mailbox.close()
        settle(outcome)
        Activity.shared.end()
    }

    func write(_ bytes: [UInt8], toErrors: Bool) {
        state.withLock { state in
            if toErrors { state.errors += bytes } else { state.output += bytes }
        }
    }

    /// It called `lunette.stay()`.
    func stays() {
        let waiters = state.withLock { state in
            state.isStaying = true
            defer { state.waiters.removeAll(where: \.staysCount) }
            return state.waiters.filter(\.staysCount)
        }
        for waiter in waiters { waiter.body(description) }
    }

    private func settle(_ outcome: Value) {
        let waiters = state.withLock { state in
            state.outcome = outcome
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.body(description) }
    }

    /// Calls back when it has ended, or, with `staysCount`, stays.
    func whenSettled(staysCount: Bool, _ body: @escaping @Sendable (Value) -> Void) {
        let isSettled = state.withLock { state in
            if state.outcome != nil || staysCount && state.isStaying { return true }
            state.waiters.append((staysCount, body))
            return false
        }
        if isSettled { body(description) }
    }

    /// `{output, errors, is_running, ok, code, error}`.
    var description: Value {
        state.withLock { state in
            var map: ValueMap = [
                "output": .text(state.output), "errors": .text(state.errors), "is_running": .bool(state.outcome == nil),
            ]
            if let outcome = state.outcome {
                let failed = outcome["failed"]?.arrayValue ?? []
                var error = outcome["ok"]?.boolValue == true ? failed.first : outcome["error"]
                // As after Ctrl-C, which is what the test wanted.
                let isAsWanted = state.isStopped && error?["code"]?.stringValue == "cancelled"
                if isAsWanted { error = nil }
                map["error"] = error
                map["code"] = .int(outcome["exit"]?.intValue ?? (isAsWanted ? 130 : error == nil ? 0 : 1))
                map["ok"] = .bool(map["code"]?.intValue == 0)
            }
            return .map(map)
        }
    }

    /// Ends it as Ctrl-C does, and calls back when it has ended.
    func stop(_ done: @escaping @Sendable () -> Void) {
        state.withLock { state in
            // Under the lock: the state isn't closed meanwhile.
            guard let mailbox = state.mailbox, let interrupter = state.interrupter else { return }
            state.isStopped = true
            LuaHost.interrupt(mailbox, interrupter)
            mailbox.post { host in host.isStaying = false }
        }
        whenSettled(staysCount: false) { _ in done() }
    }

    func stop() async {
        await withCheckedContinuation { continuation in stop { continuation.resume() } }
    }
}
