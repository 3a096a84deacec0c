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

    /// Sizes as people write them.
    private static func shown(_ value: Value, _ path: String) -> String {
        let isSize = ["resources.memory", "resources.memory_swap", "resources.memory_reservation", "resources.shm_size"].contains(path)
        if isSize, let bytes = value.intValue, bytes >= 1024 { return Units.text(bytes: bytes) }
        return displayable(JSON.encode(value), limit: 80)
    }

    /// What differs, a line for each field: `resources.memory set to 67108864`, `labels.tier removed`.
    static func changes(from old: Value, to new: Value, path: String = "") -> [String] {
        guard case .map(let before) = old, case .map(let after) = new else {
            return old == new ? [] : ["\(path) set to \(shown(new, path))"]
        }
        let keys = before.keys + after.keys.filter { before[$0] == nil }
        return keys.flatMap { key -> [String] in
            // Most stay as they are: nothing is written for those.
            if let was = before[key], was == after[key] { return [] }
            let place = path.isEmpty ? displayable(key, limit: 40) : "\(path).\(displayable(key, limit: 40))"
            guard let now = after[key] else { return ["\(place) removed"] }
            // A table that is new is its fields.
            return changes(from: before[key] ?? (now.mapValue == nil ? .null : .map([:])), to: now, path: place)
        }
    }
}
