internal import CLuaBridge
internal import Glibc
internal import LunetteAPI
internal import LunetteSpec

/// What the REPL does for a line that begins with a colon.
extension REPL {
    static let commands: [(name: String, use: String, summary: String)] = [
        (":help", "[NAME]", "what there is; what a function does"),
        (":json", "EXPR", "the value as JSON"),
        (":time", "EXPR", "the value, and how long it took"),
        (":watch", "[PERIOD] EXPR", "the value again and again (every second), a list as a table, until Ctrl-C"),
        (":tasks", "", "tasks and timers that run beside the prompt"),
        (":hooks", "", "the handlers of all sessions and plugins"),
        (":events", "[on|off]", "show each event as it happens"),
        (":save", "FILE.lua", "write this session's lines as a script"),
        (":quit", "", "leave (Ctrl-D does too)"),
    ]

    static var commandHelp: String {
        commands.map { command in
            let head = command.use.isEmpty ? command.name : "\(command.name) \(command.use)"
            return "  \(head)\(String(repeating: " ", count: max(1, 24 - head.count)))\(command.summary)"
        }.joined(separator: "\n")
    }

    func command(_ line: String, _ host: LuaHost, _ session: inout Session) {
        let word = line.prefix { $0 != " " }
        let rest = String(line.dropFirst(word.count).drop { $0 == " " })
        func needs(_ what: String) -> Bool {
            if !rest.isEmpty { return false }
            writeError(
                "lunette: \(word): \(what) is missing\nhint: \(Self.commands.first { $0.name == word }.map { "\($0.name) \($0.use)" } ?? "")\n"
            )
            return true
        }
        switch word {
        case ":help":
            show(APIHelp.text(rest) + "\n")
            if rest.isEmpty { show("\nAt the prompt:\n\(Self.commandHelp)\n") }
        case ":json" where !needs("an expression"): evaluate(rest, isLast: true, asJSON: true, host)
        case ":time" where !needs("an expression"):
            let start = monotonicNow()
            evaluate(rest, isLast: true, host)
            let milliseconds = (monotonicNow() - start) * 1000
            show("\((milliseconds * 100).rounded() / 100) ms\n")
        case ":hooks": hooks(host)
        case ":watch" where !needs("an expression"): watch(rest, host)
        case ":tasks":
            host.enter("repl_tasks", [:])
            finish(host.runToEnd())
        case ":events": events(rest, host, &session)
        case ":save" where !needs("a file's name"): save(rest, host, session)
        case ":json", ":time", ":watch", ":save": break
        default:
            let near = nearest(to: String(word), in: Self.commands.map(\.name)).map { "did you mean \($0)?" }
            writeError("lunette: the REPL has no command \(word)\nhint: \(near ?? ":help lists them")\n")
        }
    }

    private func hooks(_ host: LuaHost) {
        guard let drawHooks else {
            evaluate("hook.list()", isOutside: true, host)
            return
        }
        host.enter("repl_line", ["source": "hook.list()", "is_last": true, "as_json": true, "is_outside": true])
        var outcome = host.runToEnd()
        if case .map(var map) = outcome, let text = map["text"]?.byteString {
            // It is JSON of our own making.
            if let list = try? JSON.decode(text, source: ":hooks") { map["text"] = .string(drawHooks(list)) }
            outcome = .map(map)
        }
        finish(outcome)
    }

    /// `:watch [PERIOD] EXPR`
    private func watch(_ rest: String, _ host: LuaHost) {
        var (period, source) = (1.0, rest)
        let first = String(rest.prefix { $0 != " " })
        if first.count < rest.count, first.first?.isNumber == true, let seconds = Self.seconds(first), seconds > 0 {
            (period, source) = (seconds, String(rest.dropFirst(first.count).drop { $0 == " " }))
        }
        let size = terminalSize()
        // The last screen stays when the watching ends.
        var last = ""
        host.onShow = { [terminalSize] _, text in
            last = text
            let screen = size == nil ? text + "\n" : Self.screen(text, rows: terminalSize()?.rows ?? 24)
            lnt_lua_print(screen, screen.utf8.count)
            lnt_lua_print(nil, 0)
        }
        defer { host.onShow = noteAbovePrompt(host) }
        if size != nil { onOwnScreen?(true) }
        var argument: ValueMap = ["source": .string(source), "period": .double(period)]
        argument["width"] = size.map { .int(Int64($0.columns)) }
        host.enter("repl_watch", .map(argument))
        let outcome = host.runToEnd()
        if size != nil {
            onOwnScreen?(false)
            if !last.isEmpty { show(last + "\n") }
        }
        finish(outcome)
        host.enter("repl_watched", [:])
    }

    /// A whole screen: home, each line with its rest cleared, then what is below: nothing flickers. What doesn't fit is counted.
    static func screen(_ text: String, rows: Int) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.count > rows - 1 {
            let left = lines.count - (rows - 2)
            lines = lines.prefix(max(0, rows - 2)) + ["… \(left) more lines"]
        }
        return "\u{1b}[H" + lines.map { "\($0)\u{1b}[K" }.joined(separator: "\n") + "\u{1b}[J"
    }

    private static func seconds(_ text: String) -> Double? {
        // What is no duration is the expression's first word.
        do { return try Units.seconds(.string(text)) } catch { return Double(text) }
    }

    private func events(_ rest: String, _ host: LuaHost, _ session: inout Session) {
        guard ["", "on", "off"].contains(rest) else { return writeError("lunette: :events \(rest): on or off\n") }
        session.showsEvents = rest.isEmpty ? !session.showsEvents : rest == "on"
        host.enter("repl_events", ["on": .bool(session.showsEvents)])
        show(session.showsEvents ? "events are shown from now on; :events off ends that\n" : "events are no longer shown\n")
    }

    /// A line where the prompt stands, and the prompt again.
    func noteAbovePrompt(_ host: LuaHost) -> (Bool, String) -> Void {
        { [above] _, text in
            if let above { return above(text) }
            let line = "\r\u{1b}[K\(text)\n> "
            lnt_lua_print(line, line.utf8.count)
            lnt_lua_print(nil, 0)
        }
    }

    // MARK: :save

    /// Writes the lines that worked as a script that does the same.
    private func save(_ path: String, _ host: LuaHost, _ session: Session) {
        var source = "#!/usr/bin/env lunette\n"
        if let inside {
            source += "-- Typed inside \(inside), whose globals it needs: lunette repl --in \(inside) < \(path)\n"
        } else {
            source += "local lunette = require \"lunette\"\n"
        }
        let text = session.lines.joined(separator: "\n")
        // Nouns are globals only here and in -e.
        let words = Set(text.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init))
        let used = (host.enter("repl_globals", [:]).first?.arrayValue ?? []).compactMap(\.stringValue).filter(words.contains)
        if !used.isEmpty, inside == nil {
            source += "local \(used.joined(separator: ", ")) = \(used.map { "lunette.\($0)" }.joined(separator: ", "))\n"
        }
        let lines = host.enter("repl_script", ["lines": .array(session.lines.map(Value.string))]).first?.stringValue ?? ""
        source += "\n\(lines)\n"
        do throws(LunetteError) {
            let absolute = APIRegistry.absolutePath(path, directory: ScriptRunner.workingDirectory())
            try FileTree.write(absolute, Array(source.utf8), isAppending: false, mode: 0o644, roots: nil)
            show("\(session.lines.count) line\(session.lines.count == 1 ? "" : "s") in \(path)\n")
        } catch {
            ScriptRunner.printError(error.value, isVerbose: isVerbose)
        }
    }
}
