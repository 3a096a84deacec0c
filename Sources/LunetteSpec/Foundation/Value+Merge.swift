extension Value {
    /// Merges a change into this value: tables merge key by key, `.null` deletes, everything else (lists too) replaces.
    ///
    /// The rule of `ev:amend`, `c:update` and `oci = {…}`; the same as JSON Merge Patch (RFC 7396).
    public func merged(with change: Value) -> Value {
        guard case .map(let changes) = change else { return change }
        let old = mapValue ?? ValueMap()
        // What goes is left out rather than removed: each removal makes a long map's index anew.
        var result = ValueMap()
        for (key, item) in old {
            let change = changes[key]
            guard change?.isNull != true else { continue }
            result[key] = change.map { item.merged(with: $0).withoutNulls } ?? item
        }
        for (key, item) in changes where old[key] == nil && !item.isNull { result[key] = Value.null.merged(with: item).withoutNulls }
        return .map(result)
    }

    /// A null inside a replaced or new table means nothing there either.
    private var withoutNulls: Value {
        guard case .map(let map) = self else { return self }
        var result = ValueMap()
        for (key, item) in map where !item.isNull { result[key] = item.withoutNulls }
        return .map(result)
    }
}
