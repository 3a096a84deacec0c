package import LunetteAPI
internal import LunetteSpec

/// Writes descriptions of the registry for people: `:help`, the reference pages, LuaCATS types.
package enum APIHelp {
    /// What `:help NAME` prints: a function, a noun, a record, or what there is.
    package static func text(_ name: String) -> String {
        if let function = APIRegistry.function(name) { return describe(function) }
        if let record = APIRegistry.record(name) { return describe(record) }
        let functions = APIRegistry.functions(of: name).filter { !$0.lua.isHidden }
        if !functions.isEmpty {
            return functions.map { "\(signature($0))  — \($0.summary)" }.joined(separator: "\n")
        }
        if !name.isEmpty {
            let names = APIRegistry.all.map(\.name) + APIRegistry.nouns
            return "there is no \(name)" + (nearest(to: name, in: names).map { "; did you mean \($0)?" } ?? "")
        }
        return "nouns: " + APIRegistry.nouns.joined(separator: ", ")
            + "\n:help NOUN lists its functions, :help NOUN.VERB describes one, :help ContainerSpec a table"
    }

    static func describe(_ function: APIFunction) -> String {
        var lines = [signature(function), "  " + function.summary]
        for field in function.arguments
        where field.name != "stdio" && (!function.lua.positional.contains(field.name) || field.name != function.lua.methodOf) {
            lines.append("  \(field.name): \(typeName(field.type))\(field.isRequired ? "" : "?") — \(field.summary)" + defaultText(field))
        }
        if function.result != .nothing { lines.append("  returns \(typeName(function.result))") }
        if let chunk = function.chunk { lines.append("  streams \(typeName(chunk))") }
        if !function.errors.isEmpty { lines.append("  errors: " + function.errors.map(\.rawValue).joined(separator: ", ")) }
        lines.append("  example:")
        lines += function.example.split(separator: "\n").map { "    \($0)" }
        return lines.joined(separator: "\n")
    }

    static func describe(_ record: APIRecord) -> String {
        (["\(record.name): \(record.summary)"]
            + record.fields.map { "  \($0.name): \(typeName($0.type)) — \($0.summary)" + defaultText($0) })
            .joined(separator: "\n")
    }

    package static func defaultText(_ field: APIField) -> String { field.defaultText.map { " (default: \($0))" } ?? "" }

    /// `image.pull(ref, { policy=, … })`, `c:stop { grace_period= }`.
    package static func signature(_ function: APIFunction) -> String {
        let isMethod = function.lua.methodOf != nil
        var positional = function.lua.positional
        if isMethod { positional.removeFirst() }
        let options = function.arguments.map(\.name).filter { name in
            !function.lua.positional.contains(name) && name != function.lua.rest && name != "stdio"
        }
        var parts = positional
        if let rest = function.lua.rest {
            parts.append(rest)
        } else if !options.isEmpty {
            let table = "{ " + options.map { "\($0)=" }.joined(separator: ", ") + " }"
            if let place = parts.firstIndex(of: "options") { parts[place] = table } else { parts.append(table) }
        }
        let inner = parts.joined(separator: ", ")
        let name = isMethod ? "\(function.noun):\(function.verb)" : function.name
        return parts.count == 1 && inner.hasPrefix("{") ? "\(name) \(inner)" : "\(name)(\(inner))"
    }

    /// The type as LuaCATS writes it.
    package static func typeName(_ type: APIType) -> String {
        switch type {
        case .any: "any"
        case .boolean: "boolean"
        case .integer: "integer"
        case .number: "number"
        case .string, .path: "string"
        case .size, .duration: "number|string"
        case .time: "number"
        case .choice(let words): words.map { "\"\($0)\"" }.joined(separator: "|")
        case .list(let item): item.isSimple ? "\(typeName(item))[]" : "(\(typeName(item)))[]"
        case .map(let item): "table<string, \(typeName(item))>"
        case .record(let name): "lunette.\(name)"
        case .union(let types): types.map(typeName).joined(separator: "|")
        case .handle(let noun): "lunette.\(noun)"
        case .callback(let argument): "fun(value: \(typeName(argument)))"
        case .nothing, .null: "nil"
        }
    }
}

extension APIType {
    var isSimple: Bool {
        switch self {
        case .union, .callback, .size, .duration: false
        case .choice(let words): words.count == 1
        default: true
        }
    }
}
