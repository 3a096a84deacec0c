public import LunetteSpec

extension APIRegistry {
    /// Checks a call's arguments against the function's description: names, types, closed words, required ones.
    ///
    /// The Lua host does this before anything is sent, so that a typo is an error on the line that wrote it; the engine decodes again.
    /// - Throws: `invalid_argument` with the field's path and the nearest known name; of several the first by name.
    public static func check(_ arguments: Value, for function: APIFunction) throws(LunetteError) {
        var check = ArgumentCheck()
        check.arguments(arguments, of: function)
        if let problem = check.problems.first { throw problem }
    }

    /// Checks one value against a type.
    /// - Parameter path: where the value stands in the whole input (`spec.mounts[2].source`).
    public static func check(_ value: Value, is type: APIType, path: String) throws(LunetteError) {
        var check = ArgumentCheck()
        check.value(value, is: type, path)
        if let problem = check.problems.first { throw problem }
    }

    /// Everything that is wrong with a call as it is written in a source: what isn't known before it runs is
    /// `{"$unknown": true}` there, a function `{"$function": true}`.
    /// - Parameter isPartial: more arguments may be given than are known of.
    package static func problems(written arguments: Value, for function: APIFunction, isPartial: Bool) -> [LunetteError] {
        var check = ArgumentCheck(isWritten: true)
        check.arguments(arguments, of: function, isPartial: isPartial)
        return check.problems
    }
}

/// Goes through values and what they should be, and collects what is wrong, by name, so that it is the same at each run.
struct ArgumentCheck {
    /// The values are those of a source's text.
    let isWritten: Bool
    private(set) var problems: [LunetteError] = []
    /// More are not looked for: a table may have a million wrong keys.
    private static let most = 32

    init(isWritten: Bool = false) { self.isWritten = isWritten }

    private mutating func add(_ message: String, _ path: String?, hint: String? = nil) {
        problems.append(LunetteError(.invalidArgument, message, path: path, hint: hint))
    }

    private mutating func expected(_ what: String, _ value: Value, _ path: String) {
        add("expected \(what), got \(Self.isFunction(value) ? "a function" : value.kind)", path.isEmpty ? nil : path)
    }

    private static func isUnknown(_ value: Value) -> Bool { value["$unknown"] != nil }
    private static func isFunction(_ value: Value) -> Bool { value["$function"] != nil }

    /// Has each pair of a map looked at. Lua's tables have no order: where something is wrong they are gone through again by name.
    private mutating func each(_ map: ValueMap, _ look: (inout ArgumentCheck, String, Value) -> Void) {
        let before = problems.count
        for (key, item) in map {
            look(&self, key, item)
            if problems.count > before { break }
        }
        guard problems.count > before else { return }
        problems.removeSubrange(before...)
        for key in map.keys.sorted() where problems.count < Self.most { look(&self, key, map[key] ?? .null) }
    }

    mutating func arguments(_ value: Value, of function: APIFunction, isPartial: Bool = false) {
        // What is written as an option: the rest stands before the table.
        fields(value, of: function.arguments, isPartial: isPartial, "") { !function.lua.positional.contains($0.name) && $0.name != "stdio" }
    }

    private mutating func fields(
        _ value: Value, of fields: [APIField], isOpen: Bool = false, isPartial: Bool = false, _ path: String,
        isOption: (APIField) -> Bool = { _ in true }
    ) {
        let map: ValueMap
        switch value {
        case .map(let fields): map = fields
        case .null: map = ValueMap()
        case .array(let items) where items.isEmpty: map = ValueMap()
        default: return expected("a table", value, path)
        }
        func place(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
        each(map) { check, key, item in
            guard let field = fields.first(where: { $0.name == key }) else {
                if !isOpen { check.add("unknown option", place(key), hint: Self.hint(for: key, in: fields.filter(isOption))) }
                return
            }
            // Null stands for "left out".
            if !item.isNull { check.value(item, is: field.type, place(key)) }
        }
        guard !isOpen, !isPartial else { return }
        for field in fields where field.isRequired && (map[field.name] ?? .null).isNull { add("is required", place(field.name)) }
    }

    mutating func value(_ value: Value, is type: APIType, _ path: String) {
        guard problems.count < Self.most else { return }
        if isWritten {
            if Self.isUnknown(value) { return }
            if Self.isFunction(value) {
                if type != .any, !type.takesFunction { expected(type.phrase, value, path) }
                return
            }
        }
        func units(_ check: inout ArgumentCheck, _ read: (Value) throws(LunetteError) -> Void) {
            do { try read(value) } catch { check.add(error.message, path, hint: error.hint) }
        }
        switch type {
        case .any: return
        case .nothing, .null: if !value.isNull { expected("nothing", value, path) }
        case .boolean: if value.boolValue == nil { expected("a boolean", value, path) }
        case .integer: if value.intValue == nil { expected("a whole number", value, path) }
        case .number: if value.doubleValue?.isFinite != true { expected("a number", value, path) }
        case .time:
            guard let time = value.doubleValue, time.isFinite else { return expected("a number", value, path) }
            if abs(time) > Units.latestTime { add("\(time) is no unix time in seconds", path) }
        case .string: if value.byteString == nil { expected("a string", value, path) }
        case .path: if value.stringValue == nil { expected("a path", value, path) }
        case .size: units(&self) { (value) throws(LunetteError) in _ = try Units.bytes(value) }
        case .duration: units(&self) { (value) throws(LunetteError) in _ = try Units.seconds(value) }
        case .choice(let words): choice(value, words, path)
        case .list(let item):
            if case .map(let map) = value, map.isEmpty { return }
            guard let items = value.arrayValue else { return expected("a list", value, path) }
            for (index, element) in items.enumerated() { self.value(element, is: item, "\(path)[\(index + 1)]") }
        case .map(let item):
            if let items = value.arrayValue, items.isEmpty { return }
            guard let map = value.mapValue else { return expected("a table", value, path) }
            each(map) { check, key, element in
                // Env and labels take numbers and booleans as their text, as people write them.
                if item == .string, element.doubleValue != nil || element.boolValue != nil { return }
                check.value(element, is: item, "\(path).\(key)")
            }
        case .record(let name):
            guard let record = APIRegistry.record(name) else { return }
            let before = problems.count
            fields(value, of: record.fields, isOpen: record.isOpen, path)
            if name == "EventMatch" { eventNames(value["name"], "\(path).name") }
            // A misspelt one is told already.
            let isTold = problems.count > before
            if isWritten, !isTold, !record.needsOneOf.isEmpty, !record.needsOneOf.contains(where: { value[$0] != nil }) {
                add("one of \(record.needsOneOf.joined(separator: ", ")) is required", path)
            }
        case .handle(let noun):
            if let kind = value["$handle"]?.stringValue {
                if kind != noun { add("expected \(noun.withArticle), got \(kind.withArticle)", path) }
                return
            }
            guard let name = value.stringValue else { return expected("\(noun.withArticle) or its name", value, path) }
            if name.isEmpty { add("the name is empty", path) }
        case .callback: if isWritten || value.boolValue == nil { expected("a function", value, path) }
        case .union(let types): union(value, types, path)
        }
    }

    private mutating func choice(_ value: Value, _ words: [String], _ path: String) {
        func quoted() -> String { words.map { "\"\($0)\"" }.joined(separator: ", ") }
        guard let text = value.stringValue else { return expected("one of \(quoted())", value, path) }
        guard !words.contains(text) else { return }
        add("\"\(text)\" is not one of \(quoted())", path, hint: nearest(to: text, in: words).map { "did you mean \"\($0)\"?" })
    }

    /// The problems of the alternative that was most likely meant: one of the value's own kind, else all of them in one.
    private mutating func union(_ value: Value, _ types: [APIType], _ path: String) {
        var likely: [LunetteError]?
        for type in types {
            var trial = ArgumentCheck(isWritten: isWritten)
            trial.value(value, is: type, path)
            if trial.problems.isEmpty { return }
            let isOfItsKind =
                switch (type, value) {
                case (.record, .map), (.map, .map), (.list, .array): true
                case (.choice, .string), (.duration, .string), (.size, .string): true
                default: false
                }
            if isOfItsKind, likely == nil { likely = trial.problems }
        }
        if let likely { problems += likely } else { expected(types.map(\.phrase).joined(separator: " or "), value, path) }
    }

    /// An event that there is not would be waited for for ever.
    private mutating func eventNames(_ value: Value?, _ path: String) {
        guard let value, !value.isNull else { return }
        let names = value.arrayValue ?? [value]
        for (index, item) in names.enumerated() {
            guard let name = item.stringValue, !EventNames.isKnown(name) else { continue }
            add(
                "\"\(displayable(name, limit: 80))\" is no event", value.arrayValue == nil ? path : "\(path)[\(index + 1)]",
                hint: EventNames.hint(for: name))
        }
    }

    // MARK: Hints

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
        case .record(let name): APIRegistry.record(name)?.fields.map(\.name) ?? []
        case .union(let types): types.flatMap(nestedNames)
        default: []
        }
    }
}

extension String {
    /// `an image`, `a container`.
    fileprivate var withArticle: String { ("aeio".contains(first ?? "x") ? "an " : "a ") + self }
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
        case .handle(let noun): "\(noun.withArticle) or its name"
        case .callback: "a function"
        case .nothing, .null: "nothing"
        }
    }

    /// Whether a function may stand for it.
    package var takesFunction: Bool {
        switch self {
        case .callback: true
        case .union(let types): types.contains(where: \.takesFunction)
        default: false
        }
    }
}
