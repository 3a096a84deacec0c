import ArgumentParser
import LunetteSpec

/// What the parser knows of a command: its `_dumpHelp`, read.
struct CommandDescription {
    var name: String
    var abstract: String
    var discussion: String
    var aliases: [String]
    /// As the command writes it itself; empty: it is made from the arguments.
    var usage: String
    var arguments: [Argument]
    var verbs: [CommandDescription]

    struct Argument {
        /// `-n, --name`, or a positional's name.
        var label: String
        /// `<value>`, `a|b`; empty for a flag.
        var value: String
        var abstract: String
        var defaultValue: String?
        var isPositional: Bool
        var isOptional: Bool
        var isRepeating: Bool
    }

    /// - Parameters:
    ///   - value: the command of a `ToolInfoV0`.
    ///   - types: its verbs' own definitions, which alone have their usage.
    init(_ value: Value, usage: String?, types: [any ParsableCommand.Type]) {
        name = value["commandName"]?.stringValue ?? ""
        abstract = value["abstract"]?.stringValue ?? ""
        discussion = value["discussion"]?.stringValue ?? ""
        aliases = value["aliases"]?.arrayValue?.compactMap(\.stringValue) ?? []
        self.usage = usage ?? ""
        arguments = (value["arguments"]?.arrayValue ?? []).filter { $0["shouldDisplay"]?.boolValue != false }.map(Argument.init)
        verbs = (value["subcommands"]?.arrayValue ?? []).filter { $0["shouldDisplay"]?.boolValue != false }.compactMap { verb in
            guard let type = types.first(where: { $0.configuration.commandName == verb["commandName"]?.stringValue }) else { return nil }
            return CommandDescription(verb, usage: type.configuration.usage, types: [])
        }
    }

    /// Lines of a synopsis, each in the command's own words and the rest.
    func usages(_ head: String) -> [[String]] {
        guard usage.isEmpty else {
            return usage.split(separator: "\n" as Character).map { line in
                let line = line.drop { $0 == " " }
                return line.hasPrefix(head) ? [head, String(line.dropFirst(head.count).drop { $0 == " " })] : [head, String(line)]
            }
        }
        let positional = arguments.filter(\.isPositional).map { argument in
            let word = argument.label.uppercased() + (argument.isRepeating ? " ..." : "")
            return argument.isOptional ? "[\(word)]" : word
        }
        return [[head, (["[OPTION ...]"] + positional).joined(separator: " ")]]
    }
}

extension CommandDescription.Argument {
    init(_ value: Value) {
        let kind = value["kind"]?.stringValue
        let names = (value["names"]?.arrayValue ?? []).map { name -> String in
            (name["kind"]?.stringValue == "long" ? "--" : "-") + (name["name"]?.stringValue ?? "")
        }
        isPositional = kind == "positional"
        let valueName = value["valueName"]?.stringValue ?? ""
        label = isPositional ? valueName : names.sorted { $0.count < $1.count }.joined(separator: ", ")
        let all = value["allValues"]?.arrayValue?.compactMap(\.stringValue) ?? []
        self.value = kind != "option" ? "" : all.isEmpty ? valueName : all.joined(separator: "|")
        abstract = value["abstract"]?.stringValue ?? ""
        defaultValue = value["defaultValue"]?.stringValue
        isOptional = value["isOptional"]?.boolValue ?? false
        isRepeating = value["isRepeating"]?.boolValue ?? false
    }
}
