/// What a call may be given where, and what comes of it: for completion.
extension APIRegistry {
    /// The options that a function's table takes, or a table inside it (`container.run`, `["resources"]`); an empty key is a list's item.
    /// - Returns: none for a name that API 1 does not have, and where any key may stand.
    package static func options(of name: String, at keys: [String]) -> [APIField] {
        guard let function = function(name) else { return [] }
        if keys.isEmpty, function.lua.rest == nil { return ownOptions(function) }
        return fields(in: types(of: name, at: keys))
    }

    /// What may stand behind a key of a function's table; the last of `keys` is the key.
    package static func types(of name: String, at keys: [String]) -> [APIType] {
        guard let function = function(name) else { return [] }
        if let rest = function.lua.rest, let argument = function.argument(rest) { return descend([argument.type], keys[...]) }
        guard let key = keys.first, let option = ownOptions(function).first(where: { $0.name == key }) else { return [] }
        return descend([option.type], keys.dropFirst())
    }

    /// What the argument at a place is, counted from 1 as the call is written with a dot.
    package static func argument(of name: String, at place: Int) -> APIField? {
        guard let function = function(name), place > 0, place <= function.lua.positional.count else { return nil }
        return function.argument(function.lua.positional[place - 1])
    }

    /// What a call returns, or what stands in it below some keys.
    package static func results(of name: String, at keys: [String]) -> [APIType] {
        function(name).map { descend([$0.result], keys[...]) } ?? []
    }

    /// The fields of every record among the types.
    package static func fields(in types: [APIType]) -> [APIField] {
        types.flatMap(alternatives).flatMap { type -> [APIField] in
            if case .record(let name) = type { record(name)?.fields ?? [] } else { [] }
        }
    }

    /// A union's types one by one.
    package static func alternatives(_ type: APIType) -> [APIType] {
        if case .union(let types) = type { types.flatMap(alternatives) } else { [type] }
    }

    private static func ownOptions(_ function: APIFunction) -> [APIField] {
        function.arguments.filter { !function.lua.positional.contains($0.name) && $0.name != "stdio" }
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
}
