/// Which labels an object must have to be meant: a value each, or null for any.
package struct LabelFilter: Sendable, Hashable {
    /// nil: the label is there, whatever its value.
    private struct Label: Sendable, Hashable {
        var name: String
        var value: String?
    }
    private var wanted: [Label] = []

    /// Takes everything.
    package init() {}

    /// Reads `labels = { tier = "front", keep = lunette.null }`.
    /// - Throws: `invalid_argument` for a value that no label has.
    package init(reading reader: inout FieldReader, key: String = "labels") throws(LunetteError) {
        guard let table = try reader.table(key) else { return }
        for (name, value) in table.entries {
            if value.isNull {
                wanted.append(Label(name: name))
            } else if let text = value.stringValue ?? value.intValue.map(String.init) ?? value.boolValue.map({ $0 ? "true" : "false" }) {
                wanted.append(Label(name: name, value: text))
            } else {
                throw table.failure(name, "expected a label's value, or null for any, got \(value.kind)")
            }
        }
    }

    /// As it is read.
    package var value: ValueMap {
        wanted.reduce(into: ValueMap()) { $0[$1.name] = $1.value.map(Value.string) ?? .null }
    }

    /// Whether an object with these labels is meant.
    package func matches(_ labels: ValueMap) -> Bool { matches { labels[$0]?.stringValue } }
    package func matches(_ labels: [String: String]) -> Bool { matches { labels[$0] } }

    private func matches(_ value: (String) -> String?) -> Bool {
        wanted.allSatisfy { label in value(label.name).map { label.value == nil || label.value == $0 } ?? false }
    }
}
