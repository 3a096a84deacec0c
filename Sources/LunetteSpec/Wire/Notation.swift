/// Whose words a document is in: what its lists begin with, what `{}` is, and what errors call its values.
public enum Notation: Sendable {
    /// Lists begin at 1. An empty table is both an empty list and an empty map.
    case lua
    /// Lists begin at 0. `[]` and `{}` are two things, and one in the place of the other is a slip that would go unseen.
    case json

    /// What the first of a list's items is called.
    package var firstIndex: Int { self == .lua ? 1 : 0 }
    var table: String { self == .lua ? "a table" : "an object" }
    var list: String { self == .lua ? "a list" : "an array" }

    /// What an error calls a value's kind.
    package func kind(of value: Value) -> String {
        switch value {
        case .array: list
        case .map: table
        default: value.kind
        }
    }
}
