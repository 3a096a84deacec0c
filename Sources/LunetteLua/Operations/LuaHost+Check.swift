internal import LunetteAPI
internal import LunetteSpec

extension LuaHost {
    /// `check.result`, function → the noun of the handle it returns; nil when it returns something else.
    func checkResult(_ name: String) -> Value {
        guard let function = APIRegistry.function(name) else { return .null }
        if case .handle(let noun) = function.result { return .string(noun) }
        return .null
    }

    /// `check.call`, {kind, noun, verb, arguments, is_call, is_loading} → {problems, call}: what is wrong with one call as it is written, and
    /// which function it is of.
    func checkCall(_ call: Value) -> Value {
        let noun = call["noun"]?.stringValue ?? ""
        let verb = call["verb"]?.stringValue
        let functions = APIRegistry.functions(of: noun)
        let own = verb == nil ? APIRegistry.function("lunette.\(noun)") : nil
        if let own { return answer(own, checkOwn(own, call), call) }
        guard !functions.isEmpty else {
            let known = APIRegistry.nouns + APIRegistry.functions(of: "lunette").map(\.verb) + ["null", "jobs"] + Self.laterNouns
            if known.contains(noun) { return .map([:]) }
            let hint = nearest(to: noun, in: known).map { "did you mean \"lunette.\($0)\"?" }
            return ["problems": .array([Self.problem("lunette has no \"\(noun)\"", hint)])]
        }
        guard let verb else { return .map([:]) }
        let isMethod = call["kind"]?.stringValue == "method"
        let candidates = functions.filter { isMethod ? $0.lua.methodOf == noun : !$0.lua.isHidden }
        // `test.clock` is a table of functions.
        if candidates.contains(where: { $0.verb.hasPrefix(verb + ".") }) { return .map([:]) }
        guard let function = candidates.first(where: { $0.verb == verb }) else {
            let what = isMethod ? "a \(noun) has no method \"\(verb)\"" : "\(noun) has no function \"\(verb)\""
            let hint = nearest(to: verb, in: candidates.map(\.verb)).map { "did you mean \"\($0)\"?" }
            return ["problems": .array([Self.problem(what, hint)])]
        }
        guard function.place == .engine || function.name == "sandbox.run", var given = Self.written(call) else {
            return answer(function, [], call)
        }
        if isMethod { given.insert(["$unknown": true], at: 0) }
        if verb == "inspect", !isMethod { return answer(function, [], call) }
        return answer(function, check(function, given), call)
    }

    /// The arguments as they are written; nil when they can't be read.
    private static func written(_ call: Value) -> [Value]? {
        // No arguments at all cross as an empty table, which is neither list nor map.
        guard let written = call["arguments"] else { return nil }
        return written.arrayValue ?? (written.mapValue?.isEmpty == true ? [] : nil)
    }

    private func answer(_ function: APIFunction, _ problems: [Value], _ call: Value) -> Value {
        var problems = problems
        let isCall = call["is_call"]?.boolValue == true
        if isCall, call["is_loading"]?.boolValue == true, Self.hasEffect(function) {
            problems.append(
                Self.problem(
                    "\(function.name) isn't called while a resident script is loaded",
                    "in a handler, a timer, or the function start that the script returns"))
        }
        var map: ValueMap = ["problems": .array(problems)]
        if isCall {
            var fields: ValueMap = ["name": .string(function.name)]
            // As limited states ask for it.
            fields["permission"] = (function.permission ?? (function.place == .engine ? "api:\(function.name)" : nil)).map(Value.string)
            map["call"] = .map(fields)
        }
        return .map(map)
    }

    /// What only registers, or makes desired state, and is for loading.
    private static let registering: Set<String> = [
        "lunette.before", "lunette.on", "lunette.lifecycle", "lunette.apply", "task.every", "task.cron", "task.spawn",
    ]

    private static func hasEffect(_ function: APIFunction) -> Bool {
        guard !registering.contains(function.name), function.verb != "apply", function.verb != "policy" else { return false }
        return function.place == .engine || function.waits || function.mutates || function.permission != nil
    }

    /// Calls of `lunette.*`: of handlers the event's name and the options are looked at.
    private func checkOwn(_ function: APIFunction, _ call: Value) -> [Value] {
        guard function.name == "lunette.before" || function.name == "lunette.on", let given = Self.written(call), let first = given.first
        else {
            return []
        }
        var problems: [Value] = []
        let isBefore = function.name == "lunette.before"
        let known = isBefore ? EventNames.before : EventNames.on
        if let event = first.stringValue {
            let fits =
                known.contains(event)
                || !isBefore && (event == "*" || event.hasSuffix(".*") && known.contains { $0.hasPrefix(event.dropLast()) })
            if !fits {
                let hint = nearest(to: event, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", ")
                problems.append(Self.problem("\(function.name): \"\(displayable(event, limit: 80))\" is not an event for it", hint))
            }
        } else if !Self.isUnknown(first) {
            problems.append(Self.problem("\(function.name): expected an event's name, got \(first.kind)", nil))
        }
        if given.count > 1, case .map(let options) = given[1], options["$unknown"] == nil, options["$function"] == nil {
            // As the engine takes them.
            let own: Set = ["subscription", "kind", "event"]
            let fields = APIRegistry.function("hook.register")?.arguments.filter { !own.contains($0.name) } ?? []
            do throws(LunetteError) {
                try Self.check(.map(options), fields: fields, isOpen: false, isPartial: false, path: "")
            } catch {
                problems.append(Self.problem("\(function.name): \(error)", error.hint))
            }
        }
        if given.count > 2, given[2]["$function"] == nil, !Self.isUnknown(given[2]) {
            problems.append(Self.problem("\(function.name): expected a handler, got \(given[2].kind)", nil))
        }
        return problems
    }

    private static let laterNouns = [
        "network", "service", "job", "node", "secret", "config", "sandbox", "scheduler", "http", "process", "store",
    ]

    private static func problem(_ message: String, _ hint: String?) -> Value {
        var map: ValueMap = ["message": .string(message)]
        map["hint"] = hint.map(Value.string)
        return .map(map)
    }

    /// Spreads literal arguments over names as the Lua side does, then checks what is known of them.
    private func check(_ function: APIFunction, _ given: [Value]) -> [Value] {
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
                return [Self.problem("\(function.name): too many arguments", nil)]
            }
        }
        do throws(LunetteError) {
            try Self.check(.map(arguments), fields: function.arguments, isOpen: false, isPartial: isPartial, path: "")
        } catch {
            return [Self.problem("\(function.name): \(error)", error.hint)]
        }
        return []
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
        case (.map(let item), .map(let map)):
            for (key, element) in map where hasUnknown(element) { try check(element, is: item, path: "\(path).\(key)") }
        case (.union(let types), _):
            var failure: LunetteError?
            for type in types {
                do throws(LunetteError) { return try check(value, is: type, path: path) } catch { failure = failure ?? error }
            }
            if let failure { throw failure }
        default: return
        }
    }
}
