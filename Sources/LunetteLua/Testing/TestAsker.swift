internal import LunetteAPI
internal import LunetteSpec
internal import Synchronization

/// Asks the test, in its own Lua state, what programs do and what becomes of calls.
final class TestAsker: SimulationDirector, CallWatch {
    private let mailbox: Mailbox
    /// Of what needs no engine: those that the test has something to say about.
    private let names = Mutex<Set<String>>([])
    private let engine = Mutex<(any SimulatedEngine)?>(nil)
    /// Whether nothing outside may be touched.
    private let isSimulated: Bool

    init(mailbox: Mailbox, isSimulated: Bool) {
        self.mailbox = mailbox
        self.isSimulated = isSimulated
    }

    func use(_ engine: (any SimulatedEngine)?) { self.engine.withLock { $0 = engine } }
    func lookAt(_ names: [String]) { self.names.withLock { $0 = Set(names) } }

    /// Nouns whose functions reach out of the process.
    private static let outside: Set<String> = ["sandbox", "process", "http"]

    func looksAt(_ function: String) -> Bool {
        guard isSimulated, let dot = function.firstIndex(of: ".") else { return false }
        return Self.outside.contains(String(function[..<dot])) && APIRegistry.function(function) != nil
            || names.withLock { $0.contains(function) } && function.hasPrefix("fs.")
    }

    private func ask(_ entry: String, _ what: ValueMap) async throws(LunetteError) -> Value {
        let mailbox = mailbox
        let result: Result<Value, LunetteError> = await withCheckedContinuation { continuation in
            mailbox.post { host in
                let token = host.newToken()
                host.replies[token] = HookReply(continuation)
                var what = what
                what["reply"] = .int(token)
                host.enterPlugin(entry, .map(what), reply: token)
            }
        }
        return try result.get()
    }

    func before(_ function: String, _ arguments: Value, actor: Actor?) async throws(LunetteError) -> CallDecision {
        var what: ValueMap = ["name": .string(function), "arguments": arguments]
        if let engine = engine.withLock({ $0 }) { what["event"] = .int(await engine.newestEvent()) }
        what["script"] = actor?.script.map(Value.string)
        what["line"] = actor?.line.map { .int(Int64($0)) }
        let answer = try await ask("test_call", what)
        if let error = answer["error"] { throw LunetteError(value: error) }
        if answer["answered"]?.boolValue == true { return .answer(answer["value"] ?? .null) }
        return .goesOn(answer["number"]?.intValue ?? 0)
    }

    func after(_ number: Int64, _ failure: LunetteError?) {
        var what: ValueMap = ["number": .int(number)]
        what["code"] = failure.map { .string($0.code.rawValue) }
        what["message"] = failure.map { .string($0.message) }
        let news = Value.map(what)
        mailbox.post { host in host.enter("test_answered", news) }
    }

    func program(_ start: Value) async throws(LunetteError) -> SimulatedProgram {
        let answer = try await ask("test_program", ["start": start])
        if let error = answer["error"] { throw LunetteError(value: error) }
        var end: SimulatedEnd?
        if answer["code"] != nil || answer["signal"] != nil { end = try Self.end(answer) }
        return SimulatedProgram(
            end: end, after: answer["after"]?.doubleValue ?? 0, stdout: answer["stdout"]?.byteString ?? [],
            stderr: answer["stderr"]?.byteString ?? [], ignored: answer["ignores"]?.arrayValue?.compactMap(\.stringValue) ?? [])
    }

    /// Reads `{code, signal, oom_killed}`.
    static func end(_ value: Value) throws(LunetteError) -> SimulatedEnd {
        if value["oom_killed"]?.boolValue == true { return SimulatedEnd(code: 137, signal: "SIGKILL", isOutOfMemory: true) }
        if let name = value["signal"]?.stringValue {
            let signal = try Signal(name)
            return SimulatedEnd(code: 128 + signal.number, signal: signal.name)
        }
        return SimulatedEnd(code: Int32(clamping: value["code"]?.intValue ?? 0))
    }
}
