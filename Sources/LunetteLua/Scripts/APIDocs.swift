internal import LunetteAPI
internal import LunetteSpec

/// Makes the files that are derived from the registry; a test fails when they differ from what is in docs/.
package enum APIDocs {
    private static let notice = "Made from the API registry (Sources/LunetteAPI/Registry); LUNETTE_RECORD=1 records it again."

    /// Path below docs/ → contents.
    package static func files() -> [(path: String, text: String)] {
        var files = APIRegistry.nouns.filter { !visible($0).isEmpty }.map { ("lua/reference/\($0).md", page($0)) }
        files.append(("lua/reference/records.md", recordsPage()))
        files.append(("lua/reference/README.md", index()))
        files.append(("types/lunette.lua", types()))
        return files
    }

    private static func visible(_ noun: String) -> [APIFunction] { APIRegistry.functions(of: noun).filter { !$0.lua.isHidden } }

    private static func index() -> String {
        var lines = ["# The Lua API", "", notice, "", "| noun | functions |", "|---|---|"]
        for noun in APIRegistry.nouns where !visible(noun).isEmpty {
            lines.append("| [\(noun)](\(noun).md) | " + visible(noun).map { "`\($0.verb)`" }.joined(separator: " ") + " |")
        }
        return (lines + ["", "Tables that functions take and return: [records](records.md).", ""]).joined(separator: "\n")
    }

    private static func page(_ noun: String) -> String {
        var lines = ["# \(noun)", "", notice, ""]
        for function in visible(noun) {
            lines += ["## \(APIHelp.signature(function))", "", sentence(function.summary), ""]
            let fields = function.arguments.filter { $0.name != "stdio" }
            if !fields.isEmpty {
                lines += ["| argument | type | |", "|---|---|---|"]
                lines += fields.map(row)
                lines.append("")
            }
            var facts: [String] = []
            if function.result != .nothing { facts.append("Returns \(linked(function.result)).") }
            if let chunk = function.chunk { facts.append("Streams \(linked(chunk)).") }
            if function.waits { facts.append("Waits.") }
            if function.mutates { facts.append("Changes something.") }
            if !function.errors.isEmpty {
                facts.append("Errors: " + function.errors.map { "`\($0.rawValue)`" }.joined(separator: ", ") + ".")
            }
            facts.append("Since API \(function.since).")
            lines += [facts.joined(separator: " "), "", "```lua", function.example, "```", ""]
        }
        return lines.joined(separator: "\n")
    }

    private static func recordsPage() -> String {
        var lines = ["# Records", "", notice, ""]
        for record in APIRegistry.allRecords {
            lines += ["## \(record.name)", "", sentence(record.summary), "", "| field | type | |", "|---|---|---|"]
            lines += record.fields.map(row) + [""]
        }
        return lines.joined(separator: "\n")
    }

    private static func row(_ field: APIField) -> String {
        let type = APIHelp.typeName(field.type).replacing("|", with: "\\|")
        return "| `\(field.name)`\(field.isRequired ? "" : "?") | `\(type)` | \(field.summary)\(APIHelp.defaultText(field)) |"
    }

    private static func linked(_ type: APIType) -> String {
        if case .record(let name) = type { return "[\(name)](records.md#\(name.lowercased()))" }
        if case .list(.record(let name)) = type { return "a list of [\(name)](records.md#\(name.lowercased()))" }
        return "`\(APIHelp.typeName(type))`"
    }

    private static func sentence(_ phrase: String) -> String { phrase.prefix(1).uppercased() + phrase.dropFirst() + "." }

    // MARK: LuaCATS

    private static func types() -> String {
        var lines = [
            "---@meta lunette", "-- \(notice)", "", "---@class lunette.Error", "---@field code string", "---@field message string",
        ]
        lines += ["path", "operation", "target", "hint", "traceback"].map { "---@field \($0) string?" }
        lines += [
            "---@field errno integer?", "---@field details any", "---@field cause lunette.Error?",
            "---@field is fun(self, code: string): boolean", "",
            "---@class lunette.Subscription", "---@field off fun(self)", "", "---@class lunette.Timer", "---@field off fun(self)", "",
            "---@class lunette.Task", "---@field await fun(self): any", "---@field cancel fun(self): boolean", "",
        ]
        for record in APIRegistry.allRecords where record.name != "Subscription" {
            lines += ["---\(sentence(record.summary))", "---@class lunette.\(record.name)"]
            lines += record.fields.flatMap { declaration($0, of: record) } + [""]
        }
        for noun in ["container", "image", "volume"] {
            lines += ["---@class lunette.\(noun)", "---@field id string", "---@field name string", "local \(noun)_handle = {}", ""]
            for function in APIRegistry.functions(of: noun) where function.lua.methodOf == noun {
                lines += declaration(function, on: "\(noun)_handle:", skips: 1)
            }
        }
        lines += ["---@class lunette", "---@field null lightuserdata", "local lunette = {}", ""]
        for noun in APIRegistry.nouns where !visible(noun).isEmpty {
            let prefix = noun == "lunette" ? "lunette." : "lunette.\(noun)."
            if noun != "lunette" { lines += ["lunette.\(noun) = {}", ""] }
            var tables: Set<Substring> = []
            for function in visible(noun) {
                // `test.clock` is a table in a table.
                if let dot = function.verb.firstIndex(of: "."), tables.insert(function.verb[..<dot]).inserted {
                    lines += ["\(prefix)\(function.verb[..<dot]) = {}", ""]
                }
                lines += declaration(function, on: prefix, skips: 0)
            }
        }
        return (lines + ["return lunette", ""]).joined(separator: "\n")
    }

    /// Records whose functions are called with a colon, and return what they are called on.
    private static let objects: Set<String> = ["Expectation", "TestedScript"]

    private static func declaration(_ field: APIField, of record: APIRecord) -> [String] {
        let mark = field.isRequired ? "" : "?"
        guard objects.contains(record.name), case .callback(let argument) = field.type else {
            return ["---@field \(field.name)\(mark) \(APIHelp.typeName(field.type)) \(field.summary)"]
        }
        let own = "lunette.\(record.name)"
        let value =
            argument == .null ? "" : ", value: \(APIHelp.typeName(argument))\(field.name == "to_be_near" ? ", tolerance?: number" : "")"
        let names = record.name == "Expectation" ? [field.name, "not_\(field.name)"] : [field.name]
        return names.map { "---@field \($0) fun(self: \(own)\(value)): \(own) \($0.hasPrefix("not_") ? "not: " : "")\(field.summary)" }
    }

    private static func declaration(_ function: APIFunction, on prefix: String, skips: Int) -> [String] {
        var lines = ["---\(sentence(function.summary))"]
        var names = Array(function.lua.positional.dropFirst(skips))
        for name in names where name != "..." && name != "options" {
            let field = function.argument(name)
            lines.append(
                "---@param \(name)\(field?.isRequired == true ? "" : "?") \(field.map { APIHelp.typeName($0.type) } ?? "any") \(field?.summary ?? "")"
            )
        }
        if names.contains("...") { lines.append("---@param ... any") }
        let options = function.arguments.filter {
            !function.lua.positional.contains($0.name) && $0.name != function.lua.rest && $0.name != "stdio"
        }
        if let rest = function.lua.rest, let field = function.argument(rest) {
            lines.append("---@param \(rest) \(APIHelp.typeName(field.type)) \(field.summary)")
            names.append(rest)
        } else if !options.isEmpty {
            let isRequired = options.contains(where: \.isRequired)
            let fields = options.map { "\($0.name)\($0.isRequired ? "" : "?"): \(APIHelp.typeName($0.type))" }.joined(separator: ", ")
            lines.append("---@param options\(isRequired ? "" : "?") { \(fields) }")
            if !names.contains("options") { names.append("options") }
        }
        if function.lua.iterates {
            lines.append("---@return fun(): \(function.chunk.map(APIHelp.typeName) ?? "any")")
        } else if function.result != .nothing {
            lines.append("---@return \(APIHelp.typeName(function.result))")
        }
        return lines + ["function \(prefix)\(function.verb)(\(names.joined(separator: ", "))) end", ""]
    }
}
