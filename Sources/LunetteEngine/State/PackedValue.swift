import LunetteSpec

/// A value at rest, as its bytes: a tenth of what its tables take, of which an engine of five hundred containers would hold fifteen thousand. Read anew at
/// each look, which takes some microseconds: look once where it matters.
struct PackedValue: Sendable, Hashable {
    private enum Form: Sendable, Hashable {
        case bytes([UInt8])
        /// What is nested deeper than is read back.
        case whole(Value)
    }
    private let form: Form

    init(_ value: Value) {
        let bytes = MessagePack.encode(value)
        form = (try? MessagePack.decode(bytes)) == nil ? .whole(value) : .bytes(bytes)
    }

    var value: Value {
        switch form {
        case .bytes(let bytes): (try? MessagePack.decode(bytes)) ?? .null  // It was read when it was packed.
        case .whole(let value): value
        }
    }
}
