/// Which labels an object must have to be meant: a value each, or `true` for any.
package struct LabelFilter: Sendable {
    /// nil: the label is there, whatever its value.
    private var wanted: [(name: String, value: String?)] = []

    /// Takes everything.
    package init() {}

    /// Reads `labels = { tier = "front", keep = true }`.
    /// - Throws: `invalid_argument` for a value that no label has.
    package init(reading reader: inout FieldReader, key: String = "labels") throws(LunetteError) {
        guard let table = try reader.table(key) else { return }
        for (name, value) in table.entries {
            if value == true {
                wanted.append((name, nil))
            } else if let text = value.stringValue ?? value.intValue.map(String.init) {
                wanted.append((name, text))
            } else {
                throw table.failure(name, "expected a label's value, or true for any, got \(value.kind)")
            }
        }
    }

    package func matches(_ labels: ValueMap) -> Bool { matches { labels[$0]?.stringValue } }
    package func matches(_ labels: [String: String]) -> Bool { matches { labels[$0] } }

    private func matches(_ value: (String) -> String?) -> Bool {
        wanted.allSatisfy { label in value(label.name).map { label.value == nil || label.value == $0 } ?? false }
    }
}
