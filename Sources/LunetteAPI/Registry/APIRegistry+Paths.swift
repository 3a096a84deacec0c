public import LunetteSpec

extension APIRegistry {
    /// Makes every host path in a call's arguments absolute: the engine has another working directory than its caller.
    ///
    /// Host paths are what the registry types `.path`, and the source of bind mounts. Nothing is resolved or looked up.
    /// - Parameter directory: the caller's working directory, absolute.
    public static func withAbsolutePaths(_ arguments: Value, for function: APIFunction, directory: String) -> Value {
        absolute(arguments, fields: function.arguments, directory)
    }

    /// Joins a relative path to `directory`; `.` and `..` stay for the kernel to walk.
    public static func absolutePath(_ path: String, directory: String) -> String {
        if path.hasPrefix("/") || path.isEmpty { return path }
        var rest = path[...]
        while rest.hasPrefix("./") { rest = rest.dropFirst(2) }
        if rest == "." || rest.isEmpty { return directory }
        return directory.hasSuffix("/") ? directory + rest : "\(directory)/\(rest)"
    }

    /// Names every host path in a call's arguments, as `withAbsolutePaths` finds them: `spec.mounts[1].source: /etc`.
    public static func hostPaths(in arguments: Value, for function: APIFunction) -> [String] {
        var found: [String] = []
        collect(arguments, fields: function.arguments, path: "", &found)
        return found
    }

    /// Follows keys from a list of fields through records; what is in a list or a map of the user's own has no type here.
    /// - Returns: nil where the API has no such field.
    package static func type(of keys: [String], in fields: [APIField]) -> APIType? {
        guard let key = keys.first, let field = fields.first(where: { $0.name == key }) else { return nil }
        if keys.count == 1 { return field.type }
        guard case .record(let name) = field.type, let record = record(name) else { return nil }
        return type(of: Array(keys.dropFirst()), in: record.fields)
    }

    private static func collect(_ value: Value, fields: [APIField], path: String, _ found: inout [String]) {
        guard case .map(let map) = value else { return }
        for field in fields {
            if let item = map[field.name] { collect(item, field.type, path.isEmpty ? field.name : "\(path).\(field.name)", &found) }
        }
    }

    private static func collect(_ value: Value, _ type: APIType, _ path: String, _ found: inout [String]) {
        switch type {
        case .path: if let bytes = value.byteString { found.append("\(path): \(displayable(String(decoding: bytes, as: UTF8.self)))") }
        case .list(let item):
            for (index, element) in (value.arrayValue ?? []).enumerated() { collect(element, item, "\(path)[\(index + 1)]", &found) }
        case .map(let item): for (key, element) in value.mapValue ?? [:] { collect(element, item, "\(path).\(key)", &found) }
        case .record(let name):
            if let record = record(name) { collect(value, fields: record.fields, path: path, &found) }
            if name == "Mount", value["type"]?.byteString == Array("bind".utf8) {
                found.append("\(path).source: \(JSON.encode(value["source"] ?? .null))")
            }
        case .union(let types):
            for type in types {
                if case .choice(let words) = type, let text = value.stringValue, words.contains(text) { return }
            }
            for type in types { collect(value, type, path, &found) }
        default: break
        }
    }

    private static func absolute(_ value: Value, fields: [APIField], _ directory: String) -> Value {
        guard case .map(var map) = value else { return value }
        for field in fields {
            if let item = map[field.name] { map[field.name] = absolute(item, field.type, directory) }
        }
        return .map(map)
    }

    private static func absolute(_ value: Value, _ type: APIType, _ directory: String) -> Value {
        switch (type, value) {
        case (.path, .string(let path)): return .string(absolutePath(path, directory: directory))
        case (.list(let item), .array(let items)): return .array(items.map { absolute($0, item, directory) })
        // Specs by name; other maps are labels and the like, in which no path is.
        case (.map(.record(let name)), .map(let map)):
            var result = map
            for (key, element) in map { result[key] = absolute(element, .record(name), directory) }
            return .map(result)
        case (.record(let name), .map):
            guard let record = record(name) else { return value }
            var result = absolute(value, fields: record.fields, directory)
            // A bind mount's source is a host path; a volume's is a name.
            if name == "Mount", value["type"]?.stringValue == "bind", let source = value["source"]?.stringValue, case .map(var map) = result
            {
                map["source"] = .string(absolutePath(source, directory: directory))
                result = .map(map)
            }
            return result
        case (.union(let types), _):
            for type in types {
                if case .choice(let words) = type, let text = value.stringValue, words.contains(text) { return value }
            }
            // The first alternative that changes the value is the one that is meant.
            for type in types {
                let changed = absolute(value, type, directory)
                if changed != value { return changed }
            }
            return value
        default: return value
        }
    }
}
