extension Value {
    /// Merges a change into this value: tables merge key by key, `.null` deletes, everything else (lists too) replaces.
    ///
    /// The rule of `ev:amend`, `c:update` and `oci = {…}`; the same as JSON Merge Patch (RFC 7396).
    public func merged(with change: Value) -> Value {
        guard case .map(let changes) = change else { return change }
        var result = mapValue ?? ValueMap()
        for (key, item) in changes {
            // `.none`, not `nil`: a nil literal would be the value null.
            result[key] = item.isNull ? Optional.none : (result[key] ?? .null).merged(with: item).withoutNulls
        }
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
