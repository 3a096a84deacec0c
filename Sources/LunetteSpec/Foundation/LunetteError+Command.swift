/// How a command says that it failed: the same from the front and from the whole program.
extension LunetteError {
    /// One line, then the hint, with `--verbose` the code and the causes.
    package func lines(isVerbose: Bool, hasColor: Bool) -> [String] {
        var head = ControlCharacters.shown(description)
        // A name helps; the 64 digits of an id that nobody typed don't.
        if let target, target.utf8.count < 64, !message.contains(target) { head = "\(ControlCharacters.shown(target)): \(head)" }
        var lines = [(hasColor ? "\u{1b}[31mlunette:\u{1b}[0m " : "lunette: ") + head]
        if let hint { lines.append("hint: " + ControlCharacters.shown(hint)) }
        guard isVerbose else { return lines }
        lines.append("code: \(code)" + (operation.map { " in \($0)" } ?? ""))
        if let errno { lines.append("errno: \(errno)") }
        if let details { lines.append("details: " + ControlCharacters.shown(JSON.encode(details))) }
        var cause = causes.first
        while let next = cause {
            lines.append("caused by: " + ControlCharacters.shown(next.description))
            cause = next.causes.first
        }
        return lines
    }

    /// Docker's codes: what the container's program couldn't be started with, else 125 for whatever is ours.
    package var commandExitCode: Int32 {
        if let code = details?["exit_code"]?.intValue, (1...255).contains(code) { return Int32(code) }
        return 125
    }
}
