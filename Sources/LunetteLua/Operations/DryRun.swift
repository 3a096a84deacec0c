internal import CLuaBridge
internal import Glibc
internal import LunetteAPI
internal import LunetteSpec

/// Answers for the engine in `lunette --dry-run`: what would change something is printed, and its result is a stand-in; what only reads is done.
///
/// One thread's, like the host it belongs to.
final class DryRun {
    /// Reads by name, yet something comes of them: outside the engine, or in a container.
    private static let touching: Set<String> = [
        "image.save", "image.push", "container.copy_out", "container.attach", "hook.register", "hook.unregister",
    ]
    private static let prefix = "dry-run-"

    /// What would have been made, by noun and name; a container's is its status.
    private var made: [String: [String: String]] = [:]
    private var count = 0

    /// - Returns: the stand-in for a call that must not be made; nil when the engine may be asked.
    func answer(_ function: APIFunction, _ arguments: Value) -> Value? {
        let changes = function.mutates || Self.touching.contains(function.name)
        guard changes || isAboutStandIn(function, arguments) else { return nil }
        if changes, function.verb != "unregister" { Self.say("would \(Self.text(arguments, of: function))") }
        let target = (arguments["container"]?["name"] ?? arguments["container"])?.stringValue
        if let target { follow(target, function.verb) }
        if function.name == "lunette.apply" { return applied(arguments) }
        let result = standIn(for: function.result, function, arguments)
        guard case .record("ContainerInfo") = function.result, let target, case .map(var map) = result else { return result }
        map["name"] = .string(target)
        map["status"] = .string(made["container"]?[target] ?? "running")
        map["state"] = map["status"]
        return .map(map)
    }

    /// What a script that looks at the status would see.
    private func follow(_ container: String, _ verb: String) {
        switch verb {
        case "start", "restart", "resume": made["container"]?[container] = "running"
        case "stop", "kill", "wait": made["container"]?[container] = "stopped"
        case "pause": made["container"]?[container] = "paused"
        default: break
        }
    }

    /// - Returns: true for a file operation that was only printed.
    func covers(_ operation: String, _ arguments: [Value], temporary: [String]) -> Bool {
        guard APIRegistry.function(operation)?.mutates == true else { return false }
        // A temporary folder is the script's own and goes with it.
        if let path = arguments.first?.stringValue, temporary.contains(where: { path.hasPrefix($0 + "/") }) { return false }
        Self.say("would \(operation)(\(arguments.prefix(operation == "fs.rename" ? 2 : 1).map { Self.lua($0) }.joined(separator: ", ")))")
        return true
    }

    private static func say(_ line: String) {
        let line = line + "\n"
        lnt_lua_print(line, line.utf8.count)
    }

    /// Whether a call's target is something that would only be there if this weren't dry.
    private func isAboutStandIn(_ function: APIFunction, _ arguments: Value) -> Bool {
        function.arguments.contains { field in
            guard case .handle(let noun) = field.type, let value = arguments[field.name] else { return false }
            return isStandIn(value, noun)
        }
    }

    private func isStandIn(_ value: Value, _ noun: String) -> Bool {
        if let id = value["id"]?.stringValue { return id.hasPrefix(Self.prefix) }
        return value.stringValue.map { made[noun]?[$0] != nil } ?? false
    }

    // MARK: stand-ins

    private func standIn(for type: APIType, _ function: APIFunction, _ arguments: Value) -> Value {
        if case .handle(let noun) = type { return handle(noun, function, arguments) }
        if case .union(let types) = type, case .handle(let noun)? = types.first { return handle(noun, function, arguments) }
        return Self.plain(type)
    }

    private func handle(_ noun: String, _ function: APIFunction, _ arguments: Value) -> Value {
        count += 1
        let given = [
            arguments["reference"], arguments["tag"], arguments["name"], arguments["spec"]?["name"], arguments["ref"],
            arguments[noun]?["name"],
            arguments[noun],
        ]
        let name = given.lazy.compactMap { $0?.stringValue }.first ?? "\(Self.prefix)\(noun)-\(count)"
        made[noun, default: [:]][name] = function.verb == "create" ? "created" : "running"
        return ["$handle": .string(noun), "id": .string("\(Self.prefix)\(count)"), "name": .string(name)]
    }

    /// What several objects would be made, by name.
    private func applied(_ arguments: Value) -> Value {
        func handles(_ noun: String) -> Value {
            var map = ValueMap()
            for name in (arguments["\(noun)s"]?.mapValue ?? [:]).keys.sorted() {
                count += 1
                made[noun, default: [:]][name] = "created"
                map[name] = ["$handle": .string(noun), "id": .string("\(Self.prefix)\(count)"), "name": .string(name)]
            }
            return .map(map)
        }
        return ["volumes": handles("volume"), "containers": handles("container"), "changed": []]
    }

    /// The emptiest value of a type: what a script can go on with.
    private static func plain(_ type: APIType) -> Value {
        switch type {
        case .boolean: false
        case .integer, .number, .size, .duration, .time: 0
        case .string, .path: ""
        case .choice(let words): words.first.map(Value.string) ?? ""
        case .list: []
        case .map: [:]
        case .record(let name): record(name)
        case .union(let types): types.contains(.null) ? .null : types.first.map(plain) ?? .null
        case .any, .handle, .callback, .nothing, .null: .null
        }
    }

    private static func record(_ name: String) -> Value {
        var map = ValueMap()
        for field in APIRegistry.record(name)?.fields ?? [] {
            let isGiven =
                switch field.type {
                case .list, .map: true
                // What an exec or a log wrote: a script reads it without asking whether it is there.
                case .string: field.isRequired || ["stdout", "stderr"].contains(field.name)
                default: field.isRequired
                }
            // A spec in a description would be the whole of its own record.
            if isGiven { map[field.name] = field.name == "spec" ? [:] : plain(field.type) }
        }
        return .map(map)
    }

    // MARK: text

    private static func text(_ arguments: Value, of function: APIFunction) -> String {
        guard case .map(var map) = arguments else { return function.name }
        if function.name == "hook.register", let kind = map["kind"]?.stringValue, let event = map["event"] {
            return "lunette.\(kind)(\(lua(event)), …)"
        }
        map["password"] = map["password"].map { _ in "…" }
        // As a script writes it: a spec is the call's one table.
        if let rest = function.lua.rest, map.count == 1, let spec = map[rest] { return "\(function.name) \(lua(spec))" }
        return map.isEmpty ? "\(function.name)()" : "\(function.name) \(lua(.map(map)))"
    }

    private static func lua(_ value: Value) -> String {
        switch value {
        case .null: return "nil"
        case .map(let map):
            if let name = map["name"]?.stringValue, map["$handle"] != nil { return JSON.encode(.string(name)) }
            if map.isEmpty { return "{}" }
            // In Lua's tables there is no order: one that stays, so that two runs can be compared.
            return "{ "
                + map.sorted { $0.key < $1.key }.map { key, item in
                    (isName(key) ? key : "[\(JSON.encode(.string(key)))]") + " = " + lua(item)
                }
                .joined(separator: ", ") + " }"
        case .array(let items): return items.isEmpty ? "{}" : "{ " + items.map(lua).joined(separator: ", ") + " }"
        default: return JSON.encode(value)
        }
    }

    private static func isName(_ text: String) -> Bool {
        text.first?.isNumber == false && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    }
}
