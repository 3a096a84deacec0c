/// The help of the program and of each command.
enum Help {
    static var text: String {
        var text = """
            lunette-oci - runs containers as the OCI runtime specification says

            usage: lunette-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]

            commands:

            """
        text += table(Command.all.map { ($0.name, $0.summary) })
        text += "\nglobal options:\n"
        text += table(GlobalOptions.options.map { (form($0), $0.help) })
        return text + "\nlunette-oci COMMAND --help tells of one command.\n"
    }

    static func text(_ command: Command) -> String {
        var text = "usage: lunette-oci \(command.name)\(command.options.isEmpty ? "" : " [OPTIONS]")"
        if !command.arguments.isEmpty { text += " \(command.arguments)" }
        text += "\n\n\(command.summary)\n"
        if !command.options.isEmpty { text += "\noptions:\n" + table(command.options.map { (form($0), $0.help) }) }
        return text
    }

    private static func form(_ option: Option) -> String {
        let short = option.short.map { "-\($0), " } ?? ""
        switch option.argument {
        case .none: return "\(short)--\(option.name)"
        case .value(let what), .list(let what): return "\(short)--\(option.name) \(what)"
        }
    }

    private static func table(_ rows: [(String, String)]) -> String {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { name, help in "  \(name)\(String(repeating: " ", count: width - name.count + 2))\(help)\n" }.joined()
    }
}
