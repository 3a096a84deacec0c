extension APIRegistry {
    /// The options that a function's table takes, or a table inside it (`container.run`, `["resources"]`); an empty key is a list's item.
    package static func optionNames(of name: String, at keys: [String]) -> [String] {
        guard let function = function(name) else { return [] }
        var types: [APIType]
        if let rest = function.lua.rest, let argument = function.argument(rest) {
            types = [argument.type]
        } else {
            let options = function.arguments.filter { !function.lua.positional.contains($0.name) && $0.name != "stdio" }
            guard let key = keys.first else { return options.map(\.name) }
            guard let option = options.first(where: { $0.name == key }) else { return [] }
            return names(in: descend([option.type], keys.dropFirst()))
        }
        types = descend(types, keys[...])
        return names(in: types)
    }

    private static func descend(_ types: [APIType], _ keys: ArraySlice<String>) -> [APIType] {
        keys.reduce(types) { types, key in
            types.flatMap(alternatives).compactMap { type in
                switch type {
                case .record(let name): record(name)?.fields.first { $0.name == key }?.type
                case .list(let item): key.isEmpty ? item : nil
                case .map(let item): key.isEmpty ? nil : item
                default: nil
                }
            }
        }
    }

    private static func alternatives(_ type: APIType) -> [APIType] {
        if case .union(let types) = type { types.flatMap(alternatives) } else { [type] }
    }

    private static func names(in types: [APIType]) -> [String] {
        types.flatMap(alternatives).flatMap { type -> [String] in
            if case .record(let name) = type { record(name)?.fields.map(\.name) ?? [] } else { [] }
        }
    }
}
