extension ValueMap {
    /// The same pairs by key, and so in what they hold: Lua's tables have no order, and what people read should have one.
    package var sortedByKey: ValueMap {
        var map = ValueMap()
        for (key, value) in sorted(by: { $0.key < $1.key }) { map[key] = value.sortedByKey }
        return map
    }
}

extension Value {
    /// As it is, with every map in the order of its keys.
    package var sortedByKey: Value {
        switch self {
        case .map(let map): .map(map.sortedByKey)
        case .array(let items): .array(items.map(\.sortedByKey))
        default: self
        }
    }
}
