internal import LunetteAPI
internal import LunetteSpec

extension LuaHost {
    /// `check.result`, function → the noun of the handle it returns; nil when it returns something else.
    func checkResult(_ name: String) -> Value {
        guard let function = APIRegistry.function(name) else { return .null }
        if case .handle(let noun) = function.result { return .string(noun) }
        return .null
    }

    /// `check.call`, {kind, noun, verb, arguments} → the problems of one call as it is written.
    func checkCall(_ call: Value) -> Value {
        let noun = call["noun"]?.stringValue ?? ""
        let verb = call["verb"]?.stringValue
        let functions = APIRegistry.functions(of: noun)
        guard !functions.isEmpty || APIRegistry.functions(of: "lunette").contains(where: { $0.verb == noun }) else {
            let known = APIRegistry.nouns + APIRegistry.functions(of: "lunette").map(\.verb) + ["null", "jobs"] + Self.laterNouns
            if known.contains(noun) { return .array([]) }
            return problem("lunette has no \"\(noun)\"", nearest(to: noun, in: known).map { "did you mean \"lunette.\($0)\"?" })
        }
        guard let verb, !functions.isEmpty else { return .array([]) }
        let isMethod = call["kind"]?.stringValue == "method"
        let candidates = functions.filter { isMethod ? $0.lua.methodOf == noun : !$0.lua.isHidden }
        // `test.clock` is a table of functions.
        if candidates.contains(where: { $0.verb.hasPrefix(verb + ".") }) { return .array([]) }
        guard let function = candidates.first(where: { $0.verb == verb }) else {
            let what = isMethod ? "a \(noun) has no method \"\(verb)\"" : "\(noun) has no function \"\(verb)\""
            return problem(what, nearest(to: verb, in: candidates.map(\.verb)).map { "did you mean \"\($0)\"?" })
        }
        // No arguments at all cross as an empty table, which is neither list nor map.
        guard function.place == .engine, let written = call["arguments"] else { return .array([]) }
        guard var given = written.arrayValue ?? (written.mapValue?.isEmpty == true ? [] : nil) else { return .array([]) }
        if isMethod { given.insert(["$unknown": true], at: 0) }
        if verb == "inspect", !isMethod { return .array([]) }
        return check(function, given)
    }

    private static let laterNouns = [
        "network", "service", "job", "node", "secret", "config", "sandbox", "scheduler", "http", "process", "store",
    ]

    private func problem(_ message: String, _ hint: String?) -> Value {
        var map: ValueMap = ["message": .string(message)]
        map["hint"] = hint.map(Value.string)
        return .array([.map(map)])
    }

    /// Spreads literal arguments over names as the Lua side does, then checks what is known of them.
    private func check(_ function: APIFunction, _ given: [Value]) -> Value {
        var arguments = ValueMap()
        var isPartial = false
        for (index, value) in given.enumerated() {
            let parameter = index < function.lua.positional.count ? function.lua.positional[index] : nil
            let takesTable = parameter.flatMap { function.argument($0) }?.type.takesTable ?? false
            let isTable = value.mapValue != nil || value.arrayValue != nil
            if Self.isUnknown(value) {
                // May be the options as well as the argument: then nothing is known of the options.
                if let parameter { arguments[parameter] = value } else { isPartial = true }
                if index == given.count - 1 { isPartial = true }
            } else if isTable, index == given.count - 1, !takesTable {
                if let rest = function.lua.rest {
                    arguments[rest] = value
                } else {
                    for (key, item) in value.mapValue ?? [:] { arguments[key] = item }
                }
            } else if let parameter {
                arguments[parameter] = value
            } else {
                return problem("\(function.name): too many arguments", nil)
            }
        }
        do throws(LunetteError) {
            try Self.check(.map(arguments), fields: function.arguments, isOpen: false, isPartial: isPartial, path: "")
        } catch {
            return problem("\(function.name): \(error)", error.hint)
        }
        return .array([])
    }

    private static func isUnknown(_ value: Value) -> Bool { value["$unknown"] != nil }

    /// Whether a literal holds something that is only known at run time.
    private static func hasUnknown(_ value: Value) -> Bool {
        switch value {
        case .map(let map): map["$unknown"] != nil || map["$function"] != nil || map.contains { hasUnknown($0.value) }
        case .array(let items): items.contains(where: hasUnknown)
        default: false
        }
    }

    private static func check(
        _ value: Value, fields: [APIField], isOpen: Bool, isPartial: Bool, path: String
    ) throws(LunetteError) {
        guard case .map(let map) = value else { return }
        var known = ValueMap()
        for (key, item) in map {
            let place = path.isEmpty ? key : "\(path).\(key)"
            if let field = fields.first(where: { $0.name == key }), hasUnknown(item) {
                try check(item, is: field.type, path: place)
            } else {
                known[key] = item
            }
        }
        // The registry's own check for what is wholly literal; required fields that are there but unknown are left out of it.
        let function = APIFunction(
            "check", "",
            fields.map { field in
                var field = field
                if isPartial || isOpen || (map[field.name] != nil && known[field.name] == nil) { field.isRequired = false }
                return field
            }, example: "")
        do throws(LunetteError) {
            try APIRegistry.check(.map(known), for: function)
        } catch  where error.path != nil {
            var error = error
            if !path.isEmpty { error.path = "\(path).\(error.path!)" }
            throw error
        }
    }

    /// Looks into a value of which only parts are known.
    private static func check(_ value: Value, is type: APIType, path: String) throws(LunetteError) {
        if isUnknown(value) { return }
        if value["$function"] != nil {
            guard type.takesFunction || type == .any else {
                throw LunetteError(.invalidArgument, "expected \(type.phrase), got a function", path: path)
            }
            return
        }
        switch (type, value) {
        case (.record(let name), .map):
            guard let record = APIRegistry.record(name) else { return }
            try check(value, fields: record.fields, isOpen: record.isOpen, isPartial: false, path: path)
        case (.list(let item), .array(let items)):
            for (index, element) in items.enumerated() {
                if hasUnknown(element) {
                    try check(element, is: item, path: "\(path)[\(index + 1)]")
                } else {
                    try APIRegistry.check(element, is: item, path: "\(path)[\(index + 1)]")
                }
            }
        default: return
        }
    }
}
