import LunetteEngine

/// Writes a manual page in man(7)'s macros, as both groff and mandoc read them.
struct Roff {
    private(set) var text: String
    /// Right behind a heading: a paragraph begins by itself.
    private var isFresh = false

    init(title: String, section: Int) {
        text = ".\\\" Made by \"lunette manual\" from the command's own definitions.\n"
        text += ".TH \(Roff.argument(title.uppercased())) \(section) \"\" \(Roff.argument("Lunette \(LunetteVersion.current)")) Lunette\n"
    }

    mutating func name(_ name: String, _ phrase: String) {
        section("NAME")
        text += "\(Roff.escaped(name)) \\- \(Roff.escaped(phrase))\n"
    }

    mutating func section(_ title: String) {
        text += ".SH \(Roff.argument(title))\n"
        isFresh = true
    }

    mutating func subsection(_ title: String) {
        text += ".SS \(Roff.argument(title))\n"
        isFresh = true
    }

    private mutating func beginParagraph() {
        if !isFresh { text += ".PP\n" }
        isFresh = false
    }

    mutating func paragraph(_ words: String) {
        guard !words.isEmpty else { return }
        beginParagraph()
        text += "\(Roff.lines(words))\n"
    }

    /// Paragraphs with blank lines between; lines that are further in are shown as they are.
    mutating func text(_ words: String) {
        for part in words.split(separator: "\n\n") {
            let lines = part.split(separator: "\n", omittingEmptySubsequences: false)
            if lines.contains(where: { $0.hasPrefix("  ") }) {
                example(part.description)
            } else {
                paragraph(lines.joined(separator: " "))
            }
        }
    }

    mutating func item(_ label: String, _ words: String) {
        isFresh = false
        text += ".TP\n.B \(Roff.argument(label))\n"
        // An item without words would take the next macro for its text.
        text += words.isEmpty ? "\\&\n" : "\(Roff.lines(words))\n"
    }

    mutating func options(_ arguments: [CommandDescription.Argument]) {
        for argument in arguments {
            let label = argument.value.isEmpty ? argument.label : "\(argument.label) <\(argument.value)>"
            let standard = argument.defaultValue.map { " (default: \($0))" } ?? ""
            item(argument.isPositional ? label.uppercased() : label, argument.abstract + standard)
        }
    }

    /// Each line: a command in bold, and the rest.
    mutating func synopsis(_ lines: [[String]]) {
        isFresh = false
        for (index, line) in lines.enumerated() {
            if index > 0 { text += ".br\n" }
            text += ".B \(Roff.argument(line[0]))\n"
            if line.count > 1, !line[1].isEmpty { text += "\(Roff.lines(line[1]))\n" }
        }
    }

    mutating func example(_ code: String) {
        beginParagraph()
        text += ".in +4n\n.nf\n"
        for line in code.split(separator: "\n", omittingEmptySubsequences: false) { text += Roff.line(String(line)) + "\n" }
        text += ".fi\n.in\n"
    }

    mutating func references(_ pages: [String]) {
        for (index, page) in pages.enumerated() {
            let parts = page.split(separator: "(")
            text += ".BR \(Roff.argument(String(parts[0]))) (\(parts[1])\(index == pages.count - 1 ? "" : " ,")\n"
        }
    }

    // MARK: words

    /// "Do this." as "do this"; a name keeps its capital.
    static func phrase(_ sentence: String) -> String {
        var words = sentence
        if words.hasSuffix(".") { words.removeLast() }
        if words.hasPrefix("Lua ") { return words }
        return words.prefix(1).lowercased() + words.dropFirst()
    }

    /// "do this" as "Do this."
    static func sentence(_ phrase: String) -> String { phrase.prefix(1).uppercased() + phrase.dropFirst() + "." }

    /// Backslashes, hyphens that are to be copied, quotes as they are typed.
    static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "'": result += "\\(aq"
            case "`": result += "\\(ga"
            case "^": result += "\\(ha"
            case "~": result += "\\(ti"
            case "…": result += "..."
            case "–", "—": result += "\\(en"
            case "→": result += "\\(->"
            case "≤": result += "\\(<="
            case "×": result += "\\(mu"
            default: result.append(character)
            }
        }
        return result
    }

    /// One word of a macro's.
    static func argument(_ text: String) -> String { "\"\(escaped(text).replacing("\"", with: "\\(dq"))\"" }

    /// A line that isn't taken for a macro.
    private static func line(_ text: String) -> String {
        let text = escaped(text)
        return text.hasPrefix(".") ? "\\&" + text : text
    }

    private static func lines(_ words: String) -> String {
        words.split(separator: "\n").map { line(String($0)) }.joined(separator: "\n")
    }
}
