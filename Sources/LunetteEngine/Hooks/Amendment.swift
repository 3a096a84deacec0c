import LunetteAPI
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

    /// What differs, a line for each field: `resources.memory set to 64MiB`, `labels.tier removed`.
    /// - Parameter event: before which it was amended; what it is about says which fields are sizes.
    static func changes(from old: Value, to new: Value, of event: String) -> [String] {
        var lines: [String] = []
        collect(from: old, to: new, keys: [], of: event, into: &lines)
        return lines
    }

    private static func collect(from old: Value, to new: Value, keys: [String], of event: String, into lines: inout [String]) {
        guard case .map(let before) = old, case .map(let after) = new else {
            if old != new { lines.append("\(text(keys)) set to \(shown(new, keys, of: event))") }
            return
        }
        var new = after.count
        for (key, was) in before {
            let now = after[key]
            if now != nil { new -= 1 }
            // Most stay as they are: nothing is written for those.
            if was == now { continue }
            if let now {
                collect(from: was, to: now, keys: keys + [key], of: event, into: &lines)
            } else {
                lines.append("\(text(keys + [key])) removed")
            }
        }
        if new == 0 { return }
        for (key, now) in after where before[key] == nil {
            // A table that is new is its fields.
            collect(from: now.mapValue == nil ? .null : .map([:]), to: now, keys: keys + [key], of: event, into: &lines)
        }
    }

    private static func text(_ keys: [String]) -> String { keys.map { displayable($0, limit: 40) }.joined(separator: ".") }

    /// Sizes as people write them.
    private static func shown(_ value: Value, _ keys: [String], of event: String) -> String {
        if let bytes = value.intValue, bytes >= 1024, APIRegistry.type(of: keys, in: fields(of: event)) == .size {
            return Units.text(bytes: bytes)
        }
        return displayable(JSON.encode(value), limit: 80)
    }

    /// Of what is amended.
    private static func fields(of event: String) -> [APIField] {
        event.hasPrefix("container.") ? APIRegistry.record("ContainerSpec")?.fields ?? [] : APIRegistry.function(event)?.arguments ?? []
    }
}
