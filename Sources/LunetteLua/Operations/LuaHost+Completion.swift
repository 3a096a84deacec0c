internal import LunetteAPI
internal import LunetteSpec

/// What the prompt's completion asks of the registry.
extension LuaHost {
    func completionAnswer(_ operation: String, _ arguments: Arguments) throws(LunetteError) -> Value {
        let name = arguments.text(0)
        var keys: [String] { arguments[1].arrayValue?.compactMap(\.stringValue) ?? [] }
        switch operation {
        case "complete.options": return .array(APIRegistry.options(of: name, at: keys).map { Self.item($0, hasSuffix: true) })
        case "complete.value": return Self.value(APIRegistry.types(of: name, at: keys), field: Self.field(name, keys), name: name)
        case "complete.argument":
            guard let field = APIRegistry.argument(of: name, at: Int(arguments[1].intValue ?? 0)) else { return ["words": []] }
            return Self.value([field.type], field: field, name: name)
        case "complete.result":
            let types = APIRegistry.results(of: name, at: keys)
            var map: ValueMap = ["fields": .array(APIRegistry.fields(in: types).map { Self.item($0, hasSuffix: false) })]
            for case .handle(let noun) in types.flatMap(APIRegistry.alternatives) { map["handle"] = .string(noun) }
            return .map(map)
        case "complete.summary": return .string(APIRegistry.function(name)?.summary ?? "")
        case "complete.members":
            return .array(
                APIRegistry.functions(of: name).filter { !$0.lua.isHidden }.map { .array([.string($0.verb), .string($0.summary)]) })
        default: throw LunetteError(.internal, "the Lua host has no operation \(operation)")
        }
    }

    /// Word, what it is, and what follows it when it is the only one.
    private static func item(_ field: APIField, hasSuffix: Bool) -> Value {
        let isTable = APIRegistry.alternatives(field.type).allSatisfy { type in
            switch type {
            case .record, .map, .list: true
            default: false
            }
        }
        let detail = "\(APIHelp.typeName(field.type).replacing("lunette.", with: ""))\(field.isRequired ? "" : "?")  \(field.summary)"
        return .array([.string(field.name), .string(detail), .string(!hasSuffix ? "" : isTable ? " = { " : " = ")])
    }

    private static func field(_ name: String, _ keys: [String]) -> APIField? {
        keys.last.flatMap { key in APIRegistry.options(of: name, at: keys.dropLast()).first { $0.name == key } }
    }

    /// Texts that may stand somewhere, and the noun whose objects are named there.
    private static func value(_ types: [APIType], field: APIField?, name: String) -> Value {
        let all = types.flatMap(APIRegistry.alternatives)
        var words: [String] = []
        var map = ValueMap()
        for type in all {
            switch type {
            case .choice(let choices): words += choices
            case .handle(let noun): map["noun"] = .string(noun)
            case .boolean: map["is_boolean"] = true
            // Words that only the description has: `"none"`, `"host"`.
            case .string: words += quoted(field?.summary ?? "")
            default: break
            }
        }
        switch (name, field?.name) {
        case ("lunette.before", "event"): words = EventNames.before
        case ("lunette.on", "event"), ("lunette.events", "name"): words = EventNames.on + eventPatterns
        case (_, "source"): map["noun"] = "volume"
        case (_, "from") where name.hasPrefix("image."), ("image.pull", "reference"), ("image.push", "reference"):
            map["noun"] = "image"
        case ("plugin.inspect", "plugin"): map["noun"] = "plugin"
        default: break
        }
        map["words"] = .array(words.map(Value.string))
        return .map(map)
    }

    private static var eventPatterns: [String] {
        var seen: [String] = []
        for name in EventNames.on {
            let pattern = "\(name.prefix { $0 != "." }).*"
            if !seen.contains(pattern) { seen.append(pattern) }
        }
        return seen
    }

    /// The words that a description has as `"word"`, without those that stand for something (`"container:NAME"`).
    private static func quoted(_ summary: String) -> [String] {
        let parts: [Substring] = summary.split(separator: "`" as Character)
        return parts.filter { $0.count > 2 && $0.first == "\"" && $0.last == "\"" }
            .map { String($0.dropFirst().dropLast()) }.filter { !$0.contains { $0.isUppercase || $0 == " " } }
    }
}
