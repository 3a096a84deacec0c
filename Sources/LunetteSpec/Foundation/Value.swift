/// Holds anything that crosses a border: Lua, the socket, JSON. Decoded into typed specs by `FieldReader`.
public enum Value: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    /// Text that is valid UTF-8.
    case string(String)
    /// A byte string that isn't (Lua strings, stdout and file contents are binary-safe).
    case bytes([UInt8])
    case array([Value])
    case map(ValueMap)

    public var stringValue: String? { if case .string(let text) = self { text } else { nil } }
    public var boolValue: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    public var arrayValue: [Value]? { if case .array(let items) = self { items } else { nil } }
    public var mapValue: ValueMap? { if case .map(let map) = self { map } else { nil } }
    public var isNull: Bool { if case .null = self { true } else { false } }

    /// The number when it is whole (Lua's 3.0 counts as 3).
    public var intValue: Int64? {
        switch self {
        case .int(let number): number
        case .double(let number): Int64(exactly: number)
        default: nil
        }
    }

    public var doubleValue: Double? {
        switch self {
        case .int(let number): Double(number)
        case .double(let number): number
        default: nil
        }
    }

    /// The bytes of a `.string` or `.bytes`.
    public var byteString: [UInt8]? {
        switch self {
        case .string(let text): Array(text.utf8)
        case .bytes(let bytes): bytes
        default: nil
        }
    }

    /// Makes a `.string` where the bytes are UTF-8, else `.bytes`.
    public static func text(_ bytes: [UInt8]) -> Value {
        String(validating: bytes, as: UTF8.self).map(Value.string) ?? .bytes(bytes)
    }

    /// The field of a map; nil on anything else.
    public subscript(_ key: String) -> Value? { mapValue?[key] }

    /// What to call this kind in an error message.
    public var kind: String {
        switch self {
        case .null: "nothing"
        case .bool: "a boolean"
        case .int, .double: "a number"
        case .string, .bytes: "a string"
        case .array: "a list"
        case .map: "a table"
        }
    }
}

extension Value: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(arrayLiteral elements: Value...) { self = .array(elements) }
    public init(nilLiteral: ()) { self = .null }
    public init(dictionaryLiteral elements: (String, Value)...) {
        var map = ValueMap()
        for (key, value) in elements { map[key] = value }
        self = .map(map)
    }
}
