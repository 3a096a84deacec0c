/// Reads a table's fields one by one, remembers which were asked for, and refuses the rest by name.
///
/// Every error carries the field's path (`mounts[2].source`). Usage: read each field, then call `finish()`.
/// `.null` counts as absent.
public struct FieldReader {
    public let path: String
    private let map: ValueMap
    private var known: [String] = []
    let notation: Notation
    private let inventory: FieldInventory?
    private let entry: Int

    /// - Parameters:
    ///   - path: where this table stands in the whole input; empty at the top.
    ///   - notation: `.json` for a file of JSON.
    ///   - inventory: is told which fields there are, and which are asked for, here and in the tables below.
    /// - Throws: `invalid_argument` when `value` is not a table.
    public init(_ value: Value, path: String = "", notation: Notation = .lua, inventory: FieldInventory? = nil) throws(LunetteError) {
        self.path = path
        self.notation = notation
        self.inventory = inventory
        switch value {
        case .map(let map): self.map = map
        case .null: self.map = ValueMap()
        case .array(let items) where items.isEmpty && notation == .lua: self.map = ValueMap()
        default:
            throw LunetteError(
                .invalidArgument, "expected \(notation.table), got \(notation.kind(of: value))", path: path.isEmpty ? nil : path)
        }
        entry = inventory?.add(path: path, keys: map.keys) ?? 0
    }

    /// An item of a list as errors call it: `env[2]`.
    public func item(_ key: String, _ index: Int) -> String { "\(key)[\(index + notation.firstIndex)]" }

    /// The full path of one of this table's fields.
    public func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    public func failure(_ key: String, _ message: String, hint: String? = nil) -> LunetteError {
        LunetteError(.invalidArgument, message, path: path(of: key), hint: hint)
    }

    /// All keys of the table as they stand (for free-form maps such as labels).
    public var keys: [String] { map.keys }

    public mutating func value(_ key: String) -> Value? {
        known.append(key)
        inventory?.ask(entry, key)
        guard let value = map[key], !value.isNull else { return nil }
        return value
    }

    /// The table as it stands; the caller looks at all of it.
    var entries: ValueMap { map }
    func isKnown(_ key: String) -> Bool { known.contains(key) }
    /// A field as it stands, without making it known.
    func raw(_ key: String) -> Value? { map[key] }

    /// Makes keys known that this version reads elsewhere or on purpose ignores.
    public mutating func ignore(_ keys: String...) { known += keys }

    /// Says of fields of the format's own, which stay among `unread` as they came, that they are none that nobody knows.
    func keep(_ keys: String...) { for key in keys { inventory?.ask(entry, key) } }

    private mutating func typed<T>(_ key: String, _ want: String, _ read: (Value) -> T?) throws(LunetteError) -> T? {
        guard let value = value(key) else { return nil }
        guard let result = read(value) else { throw failure(key, "expected \(want), got \(notation.kind(of: value))") }
        return result
    }

    public mutating func string(_ key: String) throws(LunetteError) -> String? { try typed(key, "a string") { $0.stringValue } }
    public mutating func bool(_ key: String) throws(LunetteError) -> Bool? { try typed(key, "true or false") { $0.boolValue } }
    public mutating func int(_ key: String) throws(LunetteError) -> Int64? { try typed(key, "a whole number") { $0.intValue } }
    public mutating func double(_ key: String) throws(LunetteError) -> Double? { try typed(key, "a number") { $0.doubleValue } }
    public mutating func bytes(_ key: String) throws(LunetteError) -> [UInt8]? { try typed(key, "a string") { $0.byteString } }

    public mutating func required(_ key: String) throws(LunetteError) -> String {
        guard let text = try string(key) else { throw failure(key, "is required") }
        return text
    }

    /// A size: bytes as a number, or a string with a unit (`"256MiB"`).
    public mutating func size(_ key: String) throws(LunetteError) -> Int64? {
        guard let value = value(key) else { return nil }
        do { return try Units.bytes(value) } catch { throw failure(key, error.message, hint: error.hint) }
    }

    /// A duration in seconds: a number, or a string with a unit (`"500ms"`).
    public mutating func seconds(_ key: String) throws(LunetteError) -> Double? {
        guard let value = value(key) else { return nil }
        do { return try Units.seconds(value) } catch { throw failure(key, error.message, hint: error.hint) }
    }

    public mutating func strings(_ key: String) throws(LunetteError) -> [String]? {
        guard let items = try list(key) else { return nil }
        var result: [String] = []
        for (index, item) in items.enumerated() {
            guard let text = item.stringValue else {
                throw failure(self.item(key, index), "expected a string, got \(notation.kind(of: item))")
            }
            result.append(text)
        }
        return result
    }

    public mutating func list(_ key: String) throws(LunetteError) -> [Value]? {
        let notation = notation
        return try typed(key, notation.list) { value in
            if let items = value.arrayValue { return items }
            if case .map(let map) = value, map.isEmpty, notation == .lua { return [] }
            return nil
        }
    }

    /// A free-form map of text to text; numbers and booleans are taken as their text, as people write env and labels.
    public mutating func stringMap(_ key: String) throws(LunetteError) -> [(key: String, value: String)]? {
        guard let value = value(key) else { return nil }
        let reader = try FieldReader(value, path: path(of: key), notation: notation)
        var result: [(key: String, value: String)] = []
        for (name, item) in reader.map {
            switch item {
            case .string(let text): result.append((name, text))
            case .int(let number): result.append((name, String(number)))
            case .double(let number): result.append((name, String(number)))
            case .bool(let flag): result.append((name, String(flag)))
            default: throw reader.failure(name, "expected a string, got \(notation.kind(of: item))")
            }
        }
        return result
    }

    /// A nested table; nil when absent.
    public mutating func table(_ key: String) throws(LunetteError) -> FieldReader? {
        guard let value = value(key) else { return nil }
        return try FieldReader(value, path: path(of: key), notation: notation, inventory: inventory)
    }

    /// A list of tables, each with its own path (`mounts[1]`); empty when absent.
    public mutating func tables(_ key: String) throws(LunetteError) -> [FieldReader] {
        guard let items = try list(key) else { return [] }
        var result: [FieldReader] = []
        for (index, item) in items.enumerated() {
            let path = path(of: self.item(key, index))
            result.append(try FieldReader(item, path: path, notation: notation, inventory: inventory))
        }
        return result
    }

    /// One of a closed set of words.
    public mutating func choice<T: RawRepresentable & CaseIterable>(_ key: String, _: T.Type) throws(LunetteError) -> T?
    where T.RawValue == String {
        guard let text = try string(key) else { return nil }
        guard let choice = T(rawValue: text) else {
            let words = T.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            throw failure(
                key, "\"\(text)\" is not one of \(words)",
                hint: nearest(to: text, in: T.allCases.map(\.rawValue)).map { "did you mean \"\($0)\"?" })
        }
        return choice
    }

    /// Refuses every field that nothing asked for.
    /// - Throws: `invalid_argument` that names the first such field, the nearest known one, and the others.
    public func finish() throws(LunetteError) {
        let unknown = map.keys.filter { !known.contains($0) }.sorted()
        guard let key = unknown.first else { return }
        var hint = nearest(to: key, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.sorted().joined(separator: ", ")
        if unknown.count > 1 {
            hint +=
                (hint.hasSuffix("?") ? " " : "; ") + "unknown as well: "
                + unknown.dropFirst().map { displayable($0) }.joined(separator: ", ")
        }
        throw failure(key, "unknown option", hint: hint)
    }
}
