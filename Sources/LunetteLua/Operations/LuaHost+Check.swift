internal import LunetteAPI
internal import LunetteSpec

extension LuaHost {
    /// `check.result`, function → `{handle = noun}` or `{list = noun}` when it returns a handle or a list of them; else null.
    func checkResult(_ name: String) -> Value {
        for type in APIRegistry.results(of: name, at: []).flatMap(APIRegistry.alternatives) {
            switch type {
            case .handle(let noun): return ["handle": .string(noun)]
            case .list(.handle(let noun)): return ["list": .string(noun)]
            default: break
            }
        }
        return .null
    }

    /// `check.call`, {kind, noun, verb, arguments, is_call, is_loading} → {problems, call}: what is wrong with one call as it is written, and
    /// which function it is of.
    func checkCall(_ call: Value) -> Value {
        let noun = call["noun"]?.stringValue ?? ""
        let verb = call["verb"]?.stringValue
        let functions = APIRegistry.functions(of: noun)
        if verb == nil, let own = APIRegistry.function("lunette.\(noun)") { return answer(own, check(own, call), call) }
        guard !functions.isEmpty else {
            let known = APIRegistry.nouns + APIRegistry.functions(of: "lunette").map(\.verb) + ["null", "jobs"] + Self.laterNouns
            if known.contains(noun) { return .map([:]) }
            let hint = nearest(to: noun, in: known).map { "did you mean \"lunette.\($0)\"?" }
            return ["problems": .array([Self.problem("lunette has no \"\(noun)\"", hint)])]
        }
        guard let verb else { return .map([:]) }
        let kind = call["kind"]?.stringValue
        let isOfHandle = kind == "method" || kind == "field"
        if kind == "field", verb == "id" || verb == "name" { return .map([:]) }
        let candidates = functions.filter { isOfHandle ? $0.lua.methodOf == noun : !$0.lua.isHidden }
        // `test.clock` is a table of functions.
        if candidates.contains(where: { $0.verb.hasPrefix(verb + ".") }) { return .map([:]) }
        guard let function = candidates.first(where: { $0.verb == verb }) else {
            return ["problems": .array([Missing.function(noun, verb, isMethod: isOfHandle)])]
        }
        if kind == "field" { return .map([:]) }
        return answer(function, check(function, call), call)
    }

    private func answer(_ function: APIFunction, _ problems: [Value], _ call: Value) -> Value {
        var problems = problems
        let isCall = call["is_call"]?.boolValue == true
        if isCall, call["is_loading"]?.boolValue == true, Self.hasEffect(function) {
            problems.append(
                Self.problem(
                    "\(function.name) isn't called while a resident script is loaded",
                    Grant.covers(function, ["*"]) || Self.permission(function) != function.name
                        ? "in a handler, a timer, or the function start that the script returns"
                        : "resident code has it where it was granted: lunette apply FILE --grant \(function.name)"))
        }
        var map: ValueMap = ["problems": .array(problems)]
        if isCall {
            var fields: ValueMap = ["name": .string(function.name)]
            fields["permission"] = Self.permission(function).map(Value.string)
            map["call"] = .map(fields)
        }
        return .map(map)
    }

    /// What limited code is to be given for it: as `lunette apply --grant` takes it, of files as a plugin's manifest does. What it stores is
    /// its own, and what is applied while it is loaded is shown as an object.
    private static func permission(_ function: APIFunction) -> String? {
        if function.verb == "apply" || function.noun == "store" { return nil }
        return Grant.grantable.contains { $0.name == function.name } ? function.name : function.permission
    }

    /// What only registers, or makes desired state, and is for loading.
    private static let registering: Set<String> = [
        "lunette.before", "lunette.on", "lunette.lifecycle", "lunette.socket", "lunette.apply", "task.every", "task.cron", "task.spawn",
    ]

    private static func hasEffect(_ function: APIFunction) -> Bool {
        guard !registering.contains(function.name), function.verb != "apply", function.verb != "policy" else { return false }
        return function.place == .engine || function.waits || function.mutates || function.permission != nil
    }

    private static let laterNouns = [
        "network", "service", "job", "node", "secret", "config", "sandbox", "scheduler", "http", "process", "store",
    ]

    private static func problem(_ message: String, _ hint: String?) -> Value {
        var map: ValueMap = ["message": .string(message)]
        map["hint"] = hint.map(Value.string)
        return .map(map)
    }

    // MARK: Arguments

    /// Those whose arguments stand in more than one order.
    private static let flexible: Set<String> = ["test.program", "test.exec", "test.stub", "test.events", "test.load", "test.expect"]

    /// What is wrong with the arguments of a call, in an order that is the same each time.
    private func check(_ function: APIFunction, _ call: Value) -> [Value] {
        guard call["is_call"]?.boolValue == true, !Self.flexible.contains(function.name), var given = Self.written(call) else { return [] }
        let isMethod = call["kind"]?.stringValue == "method"
        if isMethod { given.insert(["$unknown": true], at: 0) }
        // Of all that match: a table of what is wanted.
        if function.verb == "inspect", function.lua.methodOf != nil, !isMethod { return [] }
        guard let (arguments, isPartial) = Self.spread(given, over: function) else {
            return [Self.problem("\(function.name): too many arguments", nil)]
        }
        let own = Self.ownProblems(function, arguments)
        var found = APIRegistry.problems(written: .map(arguments), for: function, isPartial: isPartial)
        if found.isEmpty { found = Self.valueProblems(arguments) }
        return own + found.map { Self.problem("\(function.name): \($0)", $0.hint) }
    }

    /// What no type says of a spec's values: `cpus = -1` is a number. Field by field, each with nothing beside it: what isn't known before the
    /// call could change what two of them mean together.
    private static func valueProblems(_ arguments: ValueMap) -> [LunetteError] {
        var specs: [(path: String, spec: Value)] = []
        if let spec = arguments["spec"] { specs.append(("spec", spec)) }
        for (name, spec) in arguments["containers"]?.mapValue ?? [:] { specs.append(("containers.\(name)", spec)) }
        var found: [LunetteError] = []
        for (path, spec) in specs where spec["image"] != nil {
            for (key, value) in spec.mapValue ?? [:] where isKnown(value) {
                do throws(LunetteError) {
                    _ = try ContainerSpec(key == "image" ? ["image": value] : ["image": "x", key: value], path: path)
                } catch  where error.code == .invalidArgument && error.path?.hasPrefix("\(path).\(key)") == true {
                    found.append(error)
                } catch {
                    // What isn't built, or is wrong only beside another field, is told when it runs.
                }
            }
        }
        return found.sorted { ($0.path ?? "") < ($1.path ?? "") }
    }

    /// Whether all of a value is written where it stands.
    private static func isKnown(_ value: Value) -> Bool {
        switch value {
        case .map(let map): map["$unknown"] == nil && map["$function"] == nil && map.allSatisfy { isKnown($0.value) }
        case .array(let items): items.allSatisfy(isKnown)
        default: true
        }
    }

    // MARK: Events

    /// `check.event`, {kind, event, verb, arguments} → {problems}: a method called on what a handler got.
    func checkEvent(_ call: Value) -> Value {
        let (verb, isBefore) = (call["verb"]?.stringValue ?? "", call["kind"]?.stringValue == "before")
        guard verb == "deny" || verb == "amend" else {
            let hint = nearest(to: verb, in: ["deny", "amend"]).map { "did you mean \"\($0)\"?" }
            return [
                "problems": .array([
                    Self.problem("an event has no method \"\(displayable(verb, limit: 80))\"", hint ?? "ev:deny and ev:amend")
                ])
            ]
        }
        guard isBefore else {
            return ["problems": .array([Self.problem("only a before handler may \(verb)", "an on handler comes after it")])]
        }
        guard verb == "amend", let changes = Self.written(call)?.first, !Self.isUnknown(changes) else { return .map([:]) }
        let fields: [APIField]? =
            switch call["event"]?.stringValue {
            case "container.create": APIRegistry.record("ContainerSpec")?.fields
            case "volume.create": APIRegistry.record("VolumeSpec")?.fields
            case "container.update": APIRegistry.function("container.update")?.arguments.filter { !$0.isRequired }
            default: nil
            }
        guard let fields else { return .map([:]) }
        let shape = APIFunction("ev.amend", "", fields, example: "")
        let found = APIRegistry.problems(written: changes, for: shape, isPartial: true)
        return ["problems": .array(found.map { Self.problem("ev:amend: \($0)", $0.hint) })]
    }

    /// The arguments as they are written; nil when they can't be read.
    private static func written(_ call: Value) -> [Value]? {
        // No arguments at all cross as an empty table, which is neither list nor map.
        guard let written = call["arguments"] else { return nil }
        return written.arrayValue ?? (written.mapValue?.isEmpty == true ? [] : nil)
    }

    private static func isUnknown(_ value: Value) -> Bool { value["$unknown"] != nil }
    private static func isFunction(_ value: Value) -> Bool { value["$function"] != nil }

    /// Spreads arguments over names as the Lua side does; nil when there are too many. `isPartial`: there may be options that aren't known.
    private static func spread(_ given: [Value], over function: APIFunction) -> (arguments: ValueMap, isPartial: Bool)? {
        var arguments = ValueMap()
        var isPartial = false
        var names = function.lua.positional[...]
        let hasRest = names.last == "..."
        if hasRest { names.removeLast() }
        // Options in the middle may be left out.
        if let place = names.firstIndex(of: "options"), given.count < names.count { names.remove(at: place) }
        for (index, value) in given.enumerated() {
            let isLast = index == given.count - 1
            let name = names.popFirst()
            let takesTable = name.flatMap { function.argument($0) }?.type.takesTable ?? false
            let isTable = (value.mapValue != nil || value.arrayValue != nil) && !isFunction(value)
            if isUnknown(value) {
                // May be the options as well as the argument: then nothing is known of the options.
                if let name, name != "options" { arguments[name] = value } else { isPartial = true }
                if isLast { isPartial = true }
            } else if name == nil, hasRest {
                continue
            } else if name == "options" || isTable && isLast && !takesTable {
                if let rest = function.lua.rest, name != "options" {
                    arguments[rest] = value
                } else {
                    for (key, item) in value.mapValue ?? [:] { arguments[key] = item }
                }
            } else if let name {
                arguments[name] = value
            } else if !hasRest {
                return nil
            }
        }
        return (arguments, isPartial)
    }

    /// What the registry's types don't say: an event's name, a cron expression.
    private static func ownProblems(_ function: APIFunction, _ arguments: ValueMap) -> [Value] {
        switch function.name {
        case "lunette.before", "lunette.on":
            guard let event = arguments["event"]?.stringValue else { return [] }
            let isBefore = function.name == "lunette.before"
            let known = isBefore ? EventNames.before : EventNames.on
            let isPattern = event == "*" || event.hasSuffix(".*") && known.contains { $0.hasPrefix(event.dropLast()) }
            if known.contains(event) || !isBefore && isPattern { return [] }
            let hint = EventNames.hint(for: event, in: known)
            return [problem("\(function.name): \"\(displayable(event, limit: 80))\" is not an event for it", hint)]
        case "task.cron":
            guard let text = arguments["expression"]?.stringValue else { return [] }
            do throws(LunetteError) { _ = try CronSchedule(text) } catch { return [problem("\(error)", error.hint)] }
            return []
        default: return []
        }
    }
}

/// What is said of a name that a noun or a handle doesn't have, at run time as by `lunette check`.
enum Missing {
    /// What the API's contract has and this version doesn't.
    private static let later: [String: Set<String>] = [
        "volume": ["policy", "resize", "rename", "snapshot", "snapshots", "restore", "clone", "fork", "export", "import", "check"],
        "plugin": ["load", "reload", "enable", "disable"],
    ]

    /// - Returns: `{code, message, hint}`.
    static func function(_ noun: String, _ word: String, isMethod: Bool) -> Value {
        if later[noun]?.contains(word) == true {
            return ["code": "unsupported", "message": .string("\(noun)\(isMethod ? ":" : ".")\(word) is not in this version")]
        }
        let shown = displayable(word, limit: 80)
        let article = "aeio".contains(noun.first ?? "x") ? "an" : "a"
        var map: ValueMap = [
            "code": "invalid_argument",
            "message": .string(isMethod ? "\(article) \(noun) has no method \"\(shown)\"" : "\(noun) has no function \"\(shown)\""),
        ]
        map["hint"] = hint(noun, word, isMethod).map(Value.string)
        return .map(map)
    }

    private static func hint(_ noun: String, _ word: String, _ isMethod: Bool) -> String? {
        if isMethod, let inspect = APIRegistry.function("\(noun).inspect"), case .record(let name) = inspect.result,
            APIRegistry.record(name)?.fields.contains(where: { $0.name == word }) == true
        {
            return "data come from \(noun):inspect().\(word)"
        }
        let known = APIRegistry.functions(of: noun).filter { isMethod ? $0.lua.methodOf == noun : !$0.lua.isHidden }.map(\.verb)
        if let near = nearest(to: word, in: known) { return "did you mean \"\(isMethod ? near : "\(noun).\(near)")\"?" }
        return isMethod ? "data come from \(noun):inspect()" : nil
    }
}
