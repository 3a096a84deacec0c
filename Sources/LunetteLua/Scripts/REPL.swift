internal import CLuaBridge
internal import Glibc
package import LunetteAPI
internal import LunetteSpec
internal import Synchronization

/// Reads lines, runs them, prints what they return. Handlers run while the prompt waits.
package struct REPL {
    /// Reads one line after showing the prompt; nil at the end of input. Called on a thread of its own.
    package typealias LineReader = @Sendable (_ prompt: String) -> String?

    package var connector: (any EngineConnector)?
    package var isReadOnly = false
    package var isVerbose = false
    package var readLine: LineReader = REPL.plainLine

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
        let signals = SignalWatch(host, endsOnSecond: false)
        let mailbox = host.mailbox
        Self.live.withLock { $0 = mailbox }
        defer { Self.live.withLock { $0 = nil } }
        show("Lunette REPL. :help lists what there is, :quit or Ctrl-D leaves.\n")
        var pending = ""
        while let line = nextLine(host, pending.isEmpty ? "> " : ">> ") {
            signals.forget()
            if pending.isEmpty, line.hasPrefix(":") {
                if line == ":quit" || line == ":q" { break }
                command(line, host)
                continue
            }
            let source = pending.isEmpty ? line : pending + "\n" + line
            // An empty line ends what can't be completed.
            if source.allSatisfy(\.isWhitespace) || !evaluate(source, isLast: !pending.isEmpty && line.isEmpty, host) {
                pending = source.allSatisfy(\.isWhitespace) ? "" : source
            } else {
                pending = ""
            }
        }
        signals.stop()
        lnt_lua_print(nil, 0)
        waitFor { await host.close() }
        return 0
    }

    private func show(_ text: String) { lnt_lua_print(text, text.utf8.count) }

    /// Waits for a line while the host's messages are handled.
    private func nextLine(_ host: LuaHost, _ prompt: String) -> String? {
        let mailbox = host.mailbox
        let readLine = readLine
        host.line = nil
        onOwnThread {
            let line = readLine(prompt)
            mailbox.post { host in host.line = .some(line) }
        }
        while host.line == nil { host.pump() }
        return host.line ?? nil
    }

    /// - Returns: false when the source wants another line.
    private func evaluate(_ source: String, isLast: Bool = false, asJSON: Bool = false, _ host: LuaHost) -> Bool {
        let answer = host.enter("repl_line", ["source": .string(source), "is_last": .bool(isLast), "as_json": .bool(asJSON)])
        if answer.first?.stringValue == "incomplete" { return false }
        let outcome = host.runToEnd()
        if let text = outcome["text"]?.byteString { lnt_lua_print(text + [10], text.count + 1) }
        lnt_lua_print(nil, 0)
        for failure in outcome["failed"]?.arrayValue ?? [] { ScriptRunner.printError(failure, isVerbose: isVerbose) }
        if outcome["ok"]?.boolValue != true { ScriptRunner.printError(outcome["error"] ?? .null, isVerbose: isVerbose) }
        return true
    }

    private func command(_ line: String, _ host: LuaHost) {
        let word = line.prefix { $0 != " " }
        let rest = String(line.dropFirst(word.count).drop { $0 == " " })
        switch word {
        case ":help": show(APIHelp.text(rest) + "\n")
        case ":json": _ = evaluate(rest, isLast: true, asJSON: true, host)
        case ":time":
            let start = monotonicNow()
            _ = evaluate(rest, isLast: true, host)
            let milliseconds = (monotonicNow() - start) * 1000
            show("\((milliseconds * 100).rounded() / 100) ms\n")
        case ":hooks": _ = evaluate("hook.list()", host)
        default:
            writeError("lunette: the REPL has no command \(word)\nhint: :help [NAME], :json EXPR, :time EXPR, :hooks, :quit\n")
        }
    }

    /// The mailbox of the REPL that runs, for completion from its live values.
    private static let live = Mutex<Mailbox?>(nil)

    /// What the name at the end of a text could become (`container.li` → `container.list`); with the session's values while a REPL runs.
    package static func completions(_ text: String) -> [String] {
        guard let mailbox = live.withLock({ $0 }) else {
            guard let host = try? LuaHost(LuaHost.Options(connector: nil, directory: "/")) else { return [] }
            return completions(text, host)
        }
        let answer = Answer()
        mailbox.post { host in answer.give(completions(text, host)) }
        // A handler may keep the host busy: a Tab is not worth waiting for it.
        return answer.wait(seconds: 0.5) ?? []
    }

    private static func completions(_ text: String, _ host: LuaHost) -> [String] {
        host.enter("complete", ["text": .string(text)]).first?.arrayValue?.compactMap(\.stringValue) ?? []
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
