import Glibc
import LunetteLinux
import LunetteLua

/// Edits the REPL's lines by libedit, with history and completion; without the library it is plain reading.
///
/// Found at run time: scripts and commands shouldn't pay for loading it, and a machine without it still has a REPL.
enum LineEditor {
    private typealias ReadLine = @convention(c) (UnsafePointer<CChar>?) -> UnsafeMutablePointer<CChar>?
    private typealias OneText = @convention(c) (UnsafePointer<CChar>?) -> Int32
    private typealias Generator = @convention(c) (UnsafePointer<CChar>?, Int32) -> UnsafeMutablePointer<CChar>?
    private typealias Matches = @convention(c) (UnsafePointer<CChar>?, Generator?) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    private typealias Attempt = @convention(c) (UnsafePointer<CChar>?, Int32, Int32) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?

    /// - Returns: nil when libedit isn't installed.
    static func reader() -> REPL.LineReader? {
        guard let library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL) else { return nil }
        guard let readLine = dlsym(library, "readline"), let addHistory = dlsym(library, "add_history") else { return nil }
        let read = unsafeBitCast(readLine, to: ReadLine.self)
        let add = unsafeBitCast(addHistory, to: OneText.self)
        // Before anything else of the library's: its initialisation looks at both.
        if setlocale(LC_CTYPE, "") == nil || String(cString: nl_langinfo(nl_item(CODESET))) != "UTF-8" { setlocale(LC_CTYPE, "C.UTF-8") }
        EditorInput.install(library)
        let history = historyPath()
        if let history, let load = dlsym(library, "read_history") { _ = unsafeBitCast(load, to: OneText.self)(history) }
        let save = dlsym(library, "write_history").map { unsafeBitCast($0, to: OneText.self) }
        complete(library)
        return { prompt in
            EditorInput.forget()
            beginLine()
            guard let line = read(colored(prompt)) else {
                // The end of input leaves the cursor behind the prompt.
                Output.print("")
                return nil
            }
            defer { free(line) }
            if line.pointee != 0 {
                _ = add(line)
                // At once: a session may end in any way.
                if let history, let save {
                    _ = save(history)
                    chmod(history, 0o600)
                }
            }
            return String(cString: line)
        }
    }

    /// The prompt with its mark set off. What libedit isn't to count stands between the bytes 1 and 2; the blank comes last, because the
    /// editor takes such a part with the character that follows it.
    private static func colored(_ prompt: String) -> String {
        guard Output.hasColor(1), prompt.hasSuffix(" ") else { return prompt }
        return "\u{1}\u{1b}[1;34m\u{2}\(prompt.dropLast())\u{1}\u{1b}[0m\u{2} "
    }

    /// Puts the cursor at the beginning of a line, as the editor expects it, whatever was written or typed ahead: a mark and blanks reach the
    /// next line only from behind the beginning of this one.
    private static func beginLine() {
        guard let columns = TerminalSize.of(1)?.columns, columns > 1, Environment["TERM"] != "dumb" else { return }
        let mark = Output.hasColor(1) ? "\u{1b}[2m⏎\u{1b}[22m" : "⏎"
        Output.write(1, Array("\(mark)\(String(repeating: " ", count: columns - 1))\r\u{1b}[K".utf8))
    }

    /// `~/.local/state/lunette/history`, whose folder is made; nil without a home.
    private static func historyPath() -> String? {
        guard let home = Environment["HOME"] else { return nil }
        let folder = Environment["XDG_STATE_HOME"] ?? home + "/.local/state"
        for part in [home + "/.local", folder, folder + "/lunette"] { mkdir(part, 0o700) }
        return folder + "/lunette/history"
    }

    /// Takes a chunk of several lines into the history as one more entry.
    static func remember(_ line: String) {
        guard let library = dlopen("libedit.so.2", RTLD_NOW | RTLD_NOLOAD), let add = dlsym(library, "add_history") else { return }
        _ = unsafeBitCast(add, to: OneText.self)(line)
        // It is written with the next line.
    }

    // MARK: completion

    /// Whole words: what stands before the last dot or colon belongs to each.
    private static func complete(_ text: String, line: String) -> [REPL.Completion] {
        let head = text.lastIndex { $0 == "." || $0 == ":" }.map { String(text[...$0]) } ?? ""
        return REPL.completions(text, line: line).map { completion in
            var completion = completion
            if !completion.text.hasPrefix(head) { completion.text = head + completion.text }
            return completion
        }
    }

    /// What the word becomes at once: the only candidate, or what all of them begin with; several are shown.
    private static func attempt(_ word: String, line: String) -> String? {
        let candidates = complete(word, line: line)
        guard let first = candidates.first else { return nil }
        if candidates.count == 1 { return first.text + first.suffix }
        let common = candidates.dropFirst().reduce(first.text) { $0.commonPrefix(with: $1.text) }
        let list = CompletionList.text(candidates, size: TerminalSize.of(1))
        Output.write(1, Array("\n\(list)\n".utf8))
        EditorInput.redraw()
        return common.utf8.count > word.utf8.count ? common : nil
    }

    private static func complete(_ library: UnsafeMutableRawPointer) {
        guard let variable = dlsym(library, "rl_attempted_completion_function"), let matches = dlsym(library, "rl_completion_matches")
        else { return }
        rlMatches = unsafeBitCast(matches, to: Matches.self)
        lineBuffer = dlsym(library, "rl_line_buffer")?.assumingMemoryBound(to: UnsafePointer<CChar>?.self)
        isOver = dlsym(library, "rl_attempted_completion_over")?.assumingMemoryBound(to: Int32.self)
        let attempt: Attempt = { text, _, end in
            let word = text.map { String(cString: $0) } ?? ""
            // Up to the cursor, which the editor counts in characters: where a name stands decides what it can be.
            let line = LineEditor.lineBuffer?.pointee.map {
                String(String.UnicodeScalarView(String(cString: $0).unicodeScalars.prefix(Int(end))))
            }
            LineEditor.found = LineEditor.attempt(word, line: line ?? word)
            // Each time anew: the library would offer the names of files.
            LineEditor.isOver?.pointee = 1
            guard LineEditor.found != nil else { return nil }
            return LineEditor.rlMatches?(text) { _, state in
                state == 0 ? LineEditor.found.flatMap { strdup($0) } : nil
            }
        }
        variable.assumingMemoryBound(to: Attempt?.self).pointee = attempt
        // Names of the API have dots in them: they are one word.
        // libedit reads the basic ones, whatever the others say.
        for name in ["rl_completer_word_break_characters", "rl_basic_word_break_characters"] {
            guard let breaks = dlsym(library, name) else { continue }
            breaks.assumingMemoryBound(to: UnsafePointer<CChar>?.self).pointee = wordBreaks
        }
        if let append = dlsym(library, "rl_completion_append_character") { append.assumingMemoryBound(to: Int32.self).pointee = 0 }
    }

    // SAFETY: never written, and never freed.
    nonisolated(unsafe) private static let wordBreaks: UnsafePointer<CChar>? = UnsafePointer(strdup(" \t\n\"'(){}[]=,;<>+-*/^%#~|&"))

    // SAFETY: all four are touched by the one thread that reads lines; C callbacks can carry no context.
    nonisolated(unsafe) private static var rlMatches: Matches?
    nonisolated(unsafe) private static var found: String?
    nonisolated(unsafe) private static var lineBuffer: UnsafeMutablePointer<UnsafePointer<CChar>?>?
    nonisolated(unsafe) private static var isOver: UnsafeMutablePointer<Int32>?
}

extension String {
    /// What both begin with.
    fileprivate func commonPrefix(with other: String) -> String {
        String(String.UnicodeScalarView(zip(unicodeScalars, other.unicodeScalars).prefix { $0 == $1 }.map(\.0)))
    }
}
