internal import CLuaBridge
internal import Glibc
package import LunetteAPI
internal import LunetteSpec
internal import Synchronization

/// Reads lines, runs them, prints what they return. Handlers run while the prompt waits.
package struct REPL {
    /// Reads one line after showing the prompt; nil at the end of input. Called on a thread of its own.
    package typealias LineReader = @Sendable (_ prompt: String) -> String?

    /// Where the engine is found; nil: only what needs none works.
    package var connector: (any EngineConnector)?
    /// Refuses calls that change something.
    package var isReadOnly = false
    /// Errors come with their causes and tracebacks.
    package var isVerbose = false
    package var readLine: LineReader = REPL.plainLine
    /// Shows a line above the prompt that `readLine` shows; nil: it is printed where the cursor is.
    package var above: (@Sendable (String) -> Void)?
    /// Called when Ctrl-C comes while `readLine` reads: it drops what was typed and returns an empty line.
    package var onInterrupt: (@Sendable () -> Void)?

    package init(connector: (any EngineConnector)?) { self.connector = connector }

    /// Without line editing: the prompt, then a line of stdin.
    package static let plainLine: LineReader = { prompt in
        lnt_lua_print(prompt, prompt.utf8.count)
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            let count = read(0, &byte, 1)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self) }
            if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(byte)
        }
    }

    /// Blocking, on the calling thread, until the end of input or `:quit`.
    package func run() -> Int32 {
        var options = LuaHost.Options(connector: connector, directory: ScriptRunner.workingDirectory(), script: "repl")
        options.isReadOnly = isReadOnly
        let host: LuaHost
        do throws(LunetteError) {
            host = try LuaHost(options)
        } catch {
            ScriptRunner.printError(error.value, isVerbose: isVerbose)
            return 1
        }
        host.isServing = true
        let signals = SignalWatch(host, endsOnSecond: false, onInterrupt: onInterrupt)
        let mailbox = host.mailbox
        Self.live.withLock { $0 = mailbox }
        defer { Self.live.withLock { $0 = nil } }
        host.onShow = noteAbovePrompt(host)
        show("Lunette REPL. :help lists what there is, :quit or Ctrl-D leaves.\n")
        var pending = ""
        var session = Session()
        while let line = nextLine(host, pending.isEmpty ? "> " : ">> ") {
            let isInterrupted = signals.signal != 0
            signals.forget()
            if isInterrupted, line.isEmpty {
                pending = ""
                continue
            }
            if pending.isEmpty, line.hasPrefix(":") {
                if line == ":quit" || line == ":q" { break }
                command(line, host, &session)
                lnt_lua_print(nil, 0)
                continue
            }
            let source = pending.isEmpty ? line : pending + "\n" + line
            guard !source.allSatisfy(\.isWhitespace) else {
                pending = ""
                continue
            }
            // An empty line ends what can't be completed.
            switch evaluate(source, isLast: !pending.isEmpty && line.isEmpty, host) {
            case .incomplete: pending = source
            case .failed: pending = ""
            case .done:
                pending = ""
                session.lines.append(source)
            }
        }
        if host.enter("repl_leave", [:]).first?.boolValue == true { finish(host.runToEnd()) }
        signals.stop()
        lnt_lua_print(nil, 0)
        waitFor { await host.close() }
        return 0
    }

    /// What a session has come to.
    struct Session {
        /// The lines that worked, for `:save`.
        var lines: [String] = []
        var showsEvents = false
    }

    enum Evaluation { case incomplete, done, failed }

    func show(_ text: String) { lnt_lua_print(text, text.utf8.count) }

    /// Waits for a line while the host's messages are handled.
    private func nextLine(_ host: LuaHost, _ prompt: String) -> String? {
        let mailbox = host.mailbox
        let readLine = readLine
        host.line = nil
        onOwnThread {
            let line = readLine(prompt)
            mailbox.post { host in host.line = .some(line) }
        }
        host.isPrompting = true
        while host.line == nil { host.pump() }
        host.isPrompting = false
        return host.line ?? nil
    }

    @discardableResult
    func evaluate(_ source: String, isLast: Bool = false, asJSON: Bool = false, _ host: LuaHost) -> Evaluation {
        let answer = host.enter("repl_line", ["source": .string(source), "is_last": .bool(isLast), "as_json": .bool(asJSON)])
        if answer.first?.stringValue == "incomplete" { return .incomplete }
        return finish(host.runToEnd()) ? .done : .failed
    }

    /// Prints what a line came to.
    @discardableResult
    func finish(_ outcome: Value) -> Bool {
        if let text = outcome["text"]?.byteString { lnt_lua_print(text + [10], text.count + 1) }
        lnt_lua_print(nil, 0)
        for failure in outcome["failed"]?.arrayValue ?? [] { ScriptRunner.printError(failure, isVerbose: isVerbose) }
        let isDone = outcome["ok"]?.boolValue == true
        if !isDone { ScriptRunner.printError(outcome["error"] ?? .null, isVerbose: isVerbose) }
        return isDone
    }

    /// The mailbox of the REPL that runs, for completion from its live values.
    private static let live = Mutex<Mailbox?>(nil)

    /// What the word at the end of a line could become (`container.li` → `container.list`); with the session's values and the names of live
    /// objects while a REPL runs.
    /// - Parameter line: the whole line up to the cursor; nil: the word is all there is.
    package static func completions(_ text: String, line: String? = nil) -> [String] {
        if text.hasPrefix(":"), line == nil || line == text { return commands.map(\.name).filter { $0.hasPrefix(text) } }
        let argument: ValueMap = ["text": .string(text), "line": .string(line ?? text)]
        guard let mailbox = live.withLock({ $0 }) else {
            // Without a state there is nothing to look in: no completions, and the user goes on typing.
            guard let host = try? LuaHost(LuaHost.Options(connector: nil, directory: "/")) else { return [] }
            return host.enter("complete", .map(argument)).first?.arrayValue?.compactMap(\.stringValue) ?? []
        }
        let answer = Answer()
        mailbox.post { host in
            var argument = argument
            let id = host.newToken()
            argument["id"] = .int(id)
            host.completions[id] = answer.give
            if let words = host.enter("complete", .map(argument)).first?.arrayValue {
                host.completions[id] = nil
                answer.give(words.compactMap(\.stringValue))
            }
        }
        // A handler may keep the host busy, or the engine be slow: a Tab is not worth waiting for them.
        return answer.wait(seconds: 0.5) ?? []
    }

    /// A value that another thread gives once.
    private final class Answer: Sendable {
        private let value = Mutex<[String]?>(nil)

        func give(_ words: [String]) { value.withLock { $0 = words } }

        func wait(seconds: Double) -> [String]? {
            let deadline = monotonicNow() + seconds
            while monotonicNow() < deadline {
                if let words = value.withLock({ $0 }) { return words }
                usleep(500)
            }
            return nil
        }
    }
}
