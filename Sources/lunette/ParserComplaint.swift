import ArgumentParser
import LunetteSpec

/// What the parser has against a command's words, in our own form: its suggestions are for words that are nowhere near, and its help is the group's.
enum ParserComplaint {
    static func error(_ error: any Error, of type: any ParsableCommand.Type, _ words: [String]) -> LunetteError {
        // Where a group of letters may be read in two ways the parser says both, on two lines: the first will do.
        var message = String(type.message(for: error).prefix { $0 != "\n" })
        if message.hasSuffix(".") { message.removeLast() }
        if let first = message.first, first.isUppercase { message = first.lowercased() + message.dropFirst() }
        if let mark = message.firstRange(of: ". Did you mean ") { message.removeSubrange(mark.lowerBound...) }
        var word = message.split(separator: "'").dropFirst().first.map(String.init)
        message = message.replacing("'", with: "\"")

        let (command, name) = command(type, words)
        let options = CommandTable.options(of: command)
        // Of two mistakes the parser names the argument that is missing; the option that nobody knows is why, as a rule.
        if message.hasPrefix("missing expected argument"), let unknown = unknownOption(words, options) {
            word = unknown
            message = "unknown option \"\(Text.safe(unknown))\""
        }
        var near: String?
        // Where others have their help.
        if message == "missing value for \"-h\"" { near = "-h NAME is the container's host name; for help: \"lunette \(name) --help\"" }
        if let word, near == nil {
            if word.hasPrefix("-") {
                near = nearest(to: word, in: options).map { "did you mean \"\($0)\"?" }
            } else {
                // A group's verb that isn't there reads as an argument that nobody wants.
                near = nearest(to: word, in: CommandTable.verbs(of: type)).map { "did you mean \"lunette \(name) \($0)\"?" }
            }
        }
        return LunetteError(
            .invalidArgument, "read the options of \(name): \(message)", hint: near ?? "see \"lunette \(name) --help\"")
    }

    /// The verb that is meant of a group, and both their names; a command itself.
    private static func command(_ type: any ParsableCommand.Type, _ words: [String]) -> (any ParsableCommand.Type, String) {
        let name = type.configuration.commandName ?? ""
        let verb = words.first.flatMap { word in
            type.configuration.subcommands.first { $0.configuration.commandName == word || $0.configuration.aliases.contains(word) }
        }
        guard let verb else { return (type, name) }
        return (verb, "\(name) \(verb.configuration.commandName ?? "")")
    }

    private static func unknownOption(_ words: [String], _ known: [String]) -> String? {
        words.prefix { $0 != "--" }.lazy.filter { $0.hasPrefix("--") }.map { String($0.prefix { $0 != "=" }) }
            .first { !known.contains($0) }
    }
}
