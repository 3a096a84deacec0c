import ArgumentParser

/// A value with a `=` in it right behind its letter, as in `-eA=b`: the parser reads a long option called `eA` there, so it gets the two
/// words apart.
enum JoinedValues {
    /// The words of a command that takes options anywhere.
    static func separated(_ words: [String], for type: any ParsableCommand.Type) -> [String] {
        guard !(type is any PassthroughCommand.Type), words.contains(where: isJoined) else { return words }
        let letters = letters(of: type)
        let own = words.prefix { $0 != "--" }
        return own.flatMap { split($0, letters) ?? [$0] } + words.dropFirst(own.count)
    }

    /// The words of a command that leaves all from the first unknown word on to a program, when that word is such a pair; else nil.
    /// - Parameter rest: what the parser left to the program.
    static func separated(_ words: [String], before rest: [String], for type: any ParsableCommand.Type) -> [String]? {
        guard let first = rest.first, isJoined(first), let pair = split(first, letters(of: type)) else { return nil }
        return words.dropLast(rest.count) + pair + rest.dropFirst()
    }

    private static func isJoined(_ word: String) -> Bool {
        word.count > 3 && word.hasPrefix("-") && !word.hasPrefix("--") && word.dropFirst(2).dropFirst().contains("=")
    }

    private static func split(_ word: String, _ letters: Set<Character>) -> [String]? {
        guard isJoined(word), let letter = word.dropFirst().first, letters.contains(letter) else { return nil }
        return ["-\(letter)", String(word.dropFirst(2))]
    }

    /// The letters that take a value, as the command's help page has them: `-e, --env <name=value>`.
    private static func letters(of type: any ParsableCommand.Type) -> Set<Character> {
        var found: Set<Character> = []
        for line in type.helpMessage(columns: 400).split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count > 2, words[0].count == 3, words[0].hasPrefix("-"), words[0].hasSuffix(",") else { continue }
            if words.prefix(4).contains(where: { $0.hasPrefix("<") }) { found.insert(words[0].dropFirst().first!) }
        }
        return found
    }
}
