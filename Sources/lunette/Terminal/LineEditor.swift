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
            guard let line = read(prompt) else {
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

    /// `~/.local/state/lunette/history`, whose folder is made; nil without a home.
    private static func historyPath() -> String? {
        guard let home = Environment["HOME"] else { return nil }
        let folder = Environment["XDG_STATE_HOME"] ?? home + "/.local/state"
        for part in [home + "/.local", folder, folder + "/lunette"] { mkdir(part, 0o700) }
        return folder + "/lunette/history"
    }

    /// Whole words: what stands before the last dot or colon belongs to each.
    private static func complete(_ text: String, line: String) -> [String] {
        let head = text.lastIndex { $0 == "." || $0 == ":" }.map { String(text[...$0]) } ?? ""
        return REPL.completions(text, line: line).map { $0.hasPrefix(head) ? $0 : head + $0 }
    }

    private static func complete(_ library: UnsafeMutableRawPointer) {
        guard let variable = dlsym(library, "rl_attempted_completion_function"), let matches = dlsym(library, "rl_completion_matches")
        else { return }
        rlMatches = unsafeBitCast(matches, to: Matches.self)
        lineBuffer = dlsym(library, "rl_line_buffer")?.assumingMemoryBound(to: UnsafePointer<CChar>?.self)
        let attempt: Attempt = { text, _, end in
            let word = text.map { String(cString: $0) } ?? ""
            // Up to the cursor: where a name stands decides what it can be.
            let line = LineEditor.lineBuffer?.pointee.map { buffer in
                String(decoding: UnsafeRawBufferPointer(start: buffer, count: min(Int(end), strlen(buffer))), as: UTF8.self)
            }
            LineEditor.candidates = LineEditor.complete(word, line: line ?? word)
            return LineEditor.rlMatches?(text) { _, state in
                guard Int(state) < LineEditor.candidates.count else { return nil }
                return strdup(LineEditor.candidates[Int(state)])
            }
        }
        variable.assumingMemoryBound(to: Attempt?.self).pointee = attempt
        // Names of the API have dots in them: they are one word.
        if let breaks = dlsym(library, "rl_completer_word_break_characters") {
            breaks.assumingMemoryBound(to: UnsafePointer<CChar>?.self).pointee = UnsafePointer(strdup(" \t\n\"'(){}[]=,;<>+-*/^%#~|&"))
        }
        if let over = dlsym(library, "rl_attempted_completion_over") { over.assumingMemoryBound(to: Int32.self).pointee = 1 }
        if let append = dlsym(library, "rl_completion_append_character") { append.assumingMemoryBound(to: Int32.self).pointee = 0 }
    }

    // SAFETY: all three are touched by the one thread that reads lines; C callbacks can carry no context.
    nonisolated(unsafe) private static var rlMatches: Matches?
    nonisolated(unsafe) private static var candidates: [String] = []
    nonisolated(unsafe) private static var lineBuffer: UnsafeMutablePointer<UnsafePointer<CChar>?>?
}
