public import LunetteSpec

extension APIRegistry {
    /// Checks a call's arguments against the function's description: names, types, closed words, required ones.
    ///
    /// The Lua host does this before anything is sent, so that a typo is an error on the line that wrote it; the engine decodes again.
    /// - Throws: `invalid_argument` with the field's path and the nearest known name.
    public static func check(_ arguments: Value, for function: APIFunction) throws(LunetteError) {
        try checkFields(arguments, of: function.arguments, isOpen: false, path: "")
    }

    /// Checks one value against a type.
    /// - Parameter path: where the value stands in the whole input (`spec.mounts[2].source`).
    public static func check(_ value: Value, is type: APIType, path: String) throws(LunetteError) {
        if let problem = problem(value, type, path) { throw problem }
    }

    private static func checkFields(_ value: Value, of fields: [APIField], isOpen: Bool, path: String) throws(LunetteError) {
        let map: ValueMap
        switch value {
        case .map(let fields): map = fields
        case .null: map = ValueMap()
        case .array(let items) where items.isEmpty: map = ValueMap()
        default: throw LunetteError(.invalidArgument, "expected a table, got \(value.kind)", path: path.isEmpty ? nil : path)
        }
        for (key, item) in map {
            let place = path.isEmpty ? key : "\(path).\(key)"
            guard let field = fields.first(where: { $0.name == key }) else {
                if isOpen { continue }
                throw LunetteError(.invalidArgument, "unknown option", path: place, hint: hint(for: key, in: fields))
            }
            // Null stands for "left out".
            if !item.isNull { try check(item, is: field.type, path: place) }
        }
        for field in fields where field.isRequired && !isOpen {
            if (map[field.name] ?? .null).isNull {
                throw LunetteError(.invalidArgument, "is required", path: path.isEmpty ? field.name : "\(path).\(field.name)")
            }
        }
    }

    /// What Docker, Compose and Dockerfiles call our options, where no typo's distance leads there.
    private static let otherWords = [
        "cmd": "args", "command": "args", "cwd": "workdir", "working_dir": "workdir", "environment": "env", "ports": "publish",
        "volumes": "mounts", "binds": "mounts", "read_only": "readonly_rootfs", "auto_remove": "remove_on_exit", "ulimits": "rlimits",
        "healthcheck": "health", "restart_policy": "restart", "network_mode": "network", "platforms": "platform",
    ]

    /// The field that was meant by an unknown one: a near one beside it, or one of that name inside a table beside it
    /// (`memory` for `resources.memory`, however spelled).
    private static func hint(for key: String, in fields: [APIField]) -> String {
        let names = fields.map(\.name)
        if let ours = otherWords[key], names.contains(ours) { return "it is called \"\(ours)\" here" }
        // Nested names in the order of the record: `resources.memory` before what another table calls so.
        let nested = fields.flatMap { field in nestedNames(field.type).map { (name: $0, path: "\(field.name).\($0)") } }
        let inside = nearest(to: key, in: nested.map(\.name))
        if let beside = nearest(to: key, in: names) {
            let isFurther = inside.map { editDistance(key, beside) > editDistance(key, $0) } ?? false
            if !isFurther { return "did you mean \"\(beside)\"?" }
        }
        if let inside, let path = nested.first(where: { $0.name == inside })?.path { return "did you mean \"\(path)\"?" }
        return names.isEmpty ? "it takes no options" : "known: " + names.sorted().joined(separator: ", ")
    }

    private static func nestedNames(_ type: APIType) -> [String] {
        switch type {
        case .record(let name): record(name)?.fields.map(\.name) ?? []
        case .union(let types): types.flatMap(nestedNames)
        default: []
        }
    }

    private static func problem(_ value: Value, _ type: APIType, _ path: String) -> LunetteError? {
        func expected(_ what: String) -> LunetteError {
            LunetteError(.invalidArgument, "expected \(what), got \(value.kind)", path: path)
        }
        func units(_ read: (Value) throws(LunetteError) -> Void) -> LunetteError? {
            do { try read(value) } catch { return LunetteError(.invalidArgument, error.message, path: path, hint: error.hint) }
            return nil
        }
        switch type {
        case .any: return nil
        case .nothing, .null: return value.isNull ? nil : expected("nothing")
        case .boolean: return value.boolValue == nil ? expected("a boolean") : nil
        case .integer: return value.intValue == nil ? expected("a whole number") : nil
        case .number: return value.doubleValue?.isFinite != true ? expected("a number") : nil
        case .time:
            guard let time = value.doubleValue, time.isFinite else { return expected("a number") }
            return abs(time) <= Units.latestTime
                ? nil : LunetteError(.invalidArgument, "\(time) is no unix time in seconds", path: path)
        case .string: return value.byteString == nil ? expected("a string") : nil
        case .path: return value.stringValue == nil ? expected("a path") : nil
        case .size: return units { (value) throws(LunetteError) in _ = try Units.bytes(value) }
        case .duration: return units { (value) throws(LunetteError) in _ = try Units.seconds(value) }
        case .choice(let words): return choiceProblem(value, words, path)
        case .list(let item):
            if case .map(let map) = value, map.isEmpty { return nil }
            guard let items = value.arrayValue else { return expected("a list") }
            for (index, element) in items.enumerated() {
                if let problem = problem(element, item, "\(path)[\(index + 1)]") { return problem }
            }
            return nil
        case .map(let item):
            if let items = value.arrayValue, items.isEmpty { return nil }
            guard let map = value.mapValue else { return expected("a table") }
            for (key, element) in map {
                // Env and labels take numbers and booleans as their text, as people write them.
                if item == .string, element.doubleValue != nil || element.boolValue != nil { continue }
                if let problem = problem(element, item, "\(path).\(key)") { return problem }
            }
            return nil
        case .record(let name):
            guard let record = record(name) else { return nil }
            do { try checkFields(value, of: record.fields, isOpen: record.isOpen, path: path) } catch { return error }
            return nil
        case .handle(let noun):
            if let kind = value["$handle"]?.stringValue {
                return kind == noun ? nil : LunetteError(.invalidArgument, "expected a \(noun), got a \(kind)", path: path)
            }
            guard let name = value.stringValue else { return expected("a \(noun) or its name") }
            return name.isEmpty ? LunetteError(.invalidArgument, "the name is empty", path: path) : nil
        case .callback: return value.boolValue == nil ? expected("a function") : nil
        case .union(let types): return unionProblem(value, types, path)
        }
    }

    private static func choiceProblem(_ value: Value, _ words: [String], _ path: String) -> LunetteError? {
        guard let text = value.stringValue else {
            return LunetteError(.invalidArgument, "expected one of \(quoted(words)), got \(value.kind)", path: path)
        }
        guard !words.contains(text) else { return nil }
        return LunetteError(
            .invalidArgument, "\"\(text)\" is not one of \(quoted(words))", path: path,
            hint: nearest(to: text, in: words).map { "did you mean \"\($0)\"?" })
    }

    /// The problem of the alternative that was most likely meant: one of the value's own kind, else all of them.
    private static func unionProblem(_ value: Value, _ types: [APIType], _ path: String) -> LunetteError? {
        var deepest: LunetteError?
        for type in types {
            guard let problem = problem(value, type, path) else { return nil }
            let isOfItsKind =
                switch (type, value) {
                case (.record, .map), (.map, .map), (.list, .array): true
                case (.choice, .string): true
                default: false
                }
            if isOfItsKind, deepest == nil { deepest = problem }
        }
        return deepest
            ?? LunetteError(
                .invalidArgument, "expected \(types.map(\.phrase).joined(separator: " or ")), got \(value.kind)", path: path)
    }

    private static func quoted(_ words: [String]) -> String { words.map { "\"\($0)\"" }.joined(separator: ", ") }
}

extension APIType {
    /// What to call the type in a sentence.
    package var phrase: String {
        switch self {
        case .any: "anything"
        case .boolean: "a boolean"
        case .integer: "a whole number"
        case .number: "a number"
        case .time: "a time"
        case .string: "a string"
        case .size: "a size"
        case .duration: "a duration"
        case .path: "a path"
        case .choice(let words): words.map { "\"\($0)\"" }.joined(separator: ", ")
        case .list: "a list"
        case .map: "a table"
        case .record(let name): name
        case .union(let types): types.map(\.phrase).joined(separator: " or ")
        case .handle(let noun): "a \(noun) or its name"
        case .callback: "a function"
        case .nothing, .null: "nothing"
        }
    }
}
