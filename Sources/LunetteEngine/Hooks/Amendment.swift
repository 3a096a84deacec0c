import LunetteSpec

/// Merges what a `before` handler wants changed into what is asked for.
enum Amendment {
    /// The word in which `lunette.null` crosses: MessagePack's nil. In an amendment it deletes the field.
    ///
    /// Maps are merged key by key, lists and everything else replaced.
    static func apply(_ amendment: Value, to value: Value) -> Value {
        guard case .map(let changes) = amendment else { return amendment }
        var result = value.mapValue ?? ValueMap()
        for (key, change) in changes {
            if change.isNull { result[key] = nil } else { result[key] = apply(change, to: result[key] ?? .map([:])) }
        }
        return .map(result)
    }
}
