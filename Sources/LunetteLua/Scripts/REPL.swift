internal import CLuaBridge
internal import Glibc
package import LunetteAPI
package import LunetteSpec
internal import Synchronization

/// Reads lines, runs them, prints what they return. Handlers run while the prompt waits.
package struct REPL {
    /// Reads one line after showing the prompt; nil at the end of input. Called on a thread of its own.
    package typealias LineReader = @Sendable (_ prompt: String) -> String?

    /// Where the engine is found; nil: only what needs none works.
    package var connector: (any EngineConnector)?
    /// Refuses calls that change something.
    package var isReadOnly = false
    /// The resident script or plugin whose state the lines run in; nil: a state of the prompt's own.
    package var inside: String?
    /// Errors come with their causes and tracebacks.
    package var isVerbose = false
    package var readLine: LineReader = REPL.plainLine
    /// Takes a chunk of several lines into the history as one.
    package var remember: (@Sendable (String) -> Void)?
    /// Shows a line above the prompt that `readLine` shows; nil: it is printed where the cursor is.
    package var above: (@Sendable (String) -> Void)?
    /// Called when Ctrl-C comes while `readLine` reads: it drops what was typed and returns an empty line.
    package var onInterrupt: (@Sendable () -> Void)?
    /// The terminal's columns and rows; nil: stdout is none.
    package var terminalSize: @Sendable () -> (columns: Int, rows: Int)? = { nil }
    /// Values and errors are set off by colours.
    package var hasColour = false
    /// Draws a list of handlers as `lunette hook list` does; nil: it is shown as a table of Lua's.
    package var drawHooks: (@Sendable (Value) -> String)?
    /// Switches the terminal to a screen of its own and back, on whichever way the process leaves.
    package var onOwnScreen: (@Sendable (Bool) -> Void)?
    /// Called before a signal ends the process.
    package var onEnd: (@Sendable () -> Void)?

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
    /// - Returns: the exit code: 125 when no session could be opened, as inside code that isn't there.
    package func run() -> Int32 {
        let script = inside.map { "repl --in \($0)" } ?? "repl"
        var options = LuaHost.Options(connector: connector, directory: ScriptRunner.workingDirectory(), script: script)
        options.isReadOnly = isReadOnly
        let host: LuaHost
        do throws(LunetteError) {
            host = try LuaHost(options)
        } catch {
            ScriptRunner.printError(error.value, isVerbose: isVerbose)
            return 1
        }
        host.isServing = true
        let signals = SignalWatch(host, endsOnSecond: false, onInterrupt: onInterrupt, onEnd: onEnd)
        let mailbox = host.mailbox
        Self.live.withLock { $0 = mailbox }
        defer { Self.live.withLock { $0 = nil } }
        host.onShow = noteAbovePrompt(host)
        let isOpen = open(host)
        if isOpen {
            serve(host, signals)
            if host.enter("repl_leave", [:]).first?.boolValue == true { finish(host.runToEnd()) }
        }
        signals.stop()
        lnt_lua_print(nil, 0)
        waitFor { await host.close() }
        return isOpen ? 0 : 125
    }

    /// Says what this is; goes into the code that is named.
    private func open(_ host: LuaHost) -> Bool {
        if let inside {
            host.enter("repl_inside", ["target": .string(inside), "only_reads": .bool(isReadOnly)])
            guard finish(host.runToEnd()) else { return false }
            show(":help lists what there is, :quit or Ctrl-D leaves.\n")
        } else {
            show("Lunette REPL\(isReadOnly ? ", only reading" : ""). :help lists what there is, :quit or Ctrl-D leaves.\n")
        }
        return true
    }

    /// Reads and runs lines until the end.
    private func serve(_ host: LuaHost, _ signals: SignalWatch) {
        let prompt = inside.map { "\($0)> " } ?? "> "
        let more = String(repeating: " ", count: max(0, prompt.count - 3)) + ">> "
        var pending = ""
        var session = Session()
        while let line = nextLine(host, pending.isEmpty ? prompt : more, pending) {
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
            let outcome = evaluate(source, isLast: !pending.isEmpty && line.isEmpty, host)
            guard outcome != .incomplete else {
                pending = source
                continue
            }
            if !pending.isEmpty, let whole = Self.onOneLine(source) { remember?(whole) }
            pending = ""
            if outcome == .done { session.lines.append(source) }
        }
    }

    /// A chunk of several lines as one, for the history; nil where lines mean something.
    static func onOneLine(_ source: String) -> String? {
        guard !source.contains("--"), !source.contains("[["), !source.contains("[="), !source.contains("\\\n") else { return nil }
        return source.split(separator: "\n").map { line in
            String(line.drop { $0 == " " || $0 == "\t" })
        }.joined(separator: " ")
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
    private func nextLine(_ host: LuaHost, _ prompt: String, _ pending: String) -> String? {
        let mailbox = host.mailbox
        let readLine = readLine
        Self.pending.withLock { $0 = pending }
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
    func evaluate(_ source: String, isLast: Bool = false, asJSON: Bool = false, isOutside: Bool = false, _ host: LuaHost) -> Evaluation {
        var argument: ValueMap = [
            "source": .string(source), "is_last": .bool(isLast), "as_json": .bool(asJSON), "is_outside": .bool(isOutside),
        ]
        argument["width"] = terminalSize().map { .int(Int64($0.columns)) }
        if hasColour { argument["has_colour"] = true }
        let answer = host.enter("repl_line", .map(argument))
        if answer.first?.stringValue == "incomplete" { return .incomplete }
        return finish(host.runToEnd()) ? .done : .failed
    }

    /// Prints what a line came to.
    @discardableResult
    func finish(_ outcome: Value) -> Bool {
        if let text = outcome["text"]?.byteString { lnt_lua_print(text + [10], text.count + 1) }
        lnt_lua_print(nil, 0)
        for failure in outcome["failed"]?.arrayValue ?? [] { ScriptRunner.printError(failure, isVerbose: isVerbose, hasColour: hasColour) }
        let isDone = outcome["ok"]?.boolValue == true
        guard !isDone else { return true }
        var error = outcome["error"] ?? .null
        if error["is_cancelled"] == true, case .map(var fields) = error {
            // Whoever pressed the keys knows where; the terminal shows ^C, and the cursor behind it.
            fields["point"] = nil
            error = .map(fields)
            if terminalSize() != nil { show("\n") }
            lnt_lua_print(nil, 0)
        }
        ScriptRunner.printError(error, isVerbose: isVerbose, hasColour: hasColour)
        return false
    }

    /// The mailbox of the REPL that runs, for completion from its live values.
    static let live = Mutex<Mailbox?>(nil)
    /// The lines before the one that is typed, of the same chunk.
    static let pending = Mutex("")
}
