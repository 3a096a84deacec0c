/// Reads and writes MessagePack, the one encoding between Lua, the engine and its clients.
///
/// Source: https://github.com/msgpack/msgpack/blob/master/spec.md. Extension types are refused: nothing of ours sends one.
public enum MessagePack {
    /// Deeper nesting than this is refused, so that hostile input can't exhaust the stack.
    public static let maximumDepth = 64

    public static func encode(_ value: Value) -> [UInt8] {
        var out: [UInt8] = []
        append(value, to: &out)
        return out
    }

    public static func append(_ value: Value, to out: inout [UInt8]) {
        switch value {
        case .null: out.append(0xc0)
        case .bool(let flag): out.append(flag ? 0xc3 : 0xc2)
        case .int(let number): appendInt(number, to: &out)
        case .double(let number):
            out.append(0xcb)
            appendBigEndian(number.bitPattern, to: &out)
        case .string(let text): appendText(text, to: &out)
        case .bytes(let bytes):
            bytes.withUnsafeBufferPointer { appendRaw($0, fix: nil, fixLimit: 0, codes: (0xc4, 0xc5, 0xc6), to: &out) }
        case .array(let items):
            appendHeader(items.count, fix: 0x90, codes: (0xdc, 0xdd), to: &out)
            for item in items { append(item, to: &out) }
        case .map(let map):
            appendHeader(map.count, fix: 0x80, codes: (0xde, 0xdf), to: &out)
            for (key, item) in map {
                appendText(key, to: &out)
                append(item, to: &out)
            }
        }
    }

    private static func appendText(_ text: String, to out: inout [UInt8]) {
        var text = text
        text.withUTF8 { appendRaw($0, fix: 0xa0, fixLimit: 32, codes: (0xd9, 0xda, 0xdb), to: &out) }
    }

    private static func appendInt(_ number: Int64, to out: inout [UInt8]) {
        switch number {
        case 0..<128: out.append(UInt8(number))
        case -32..<0: out.append(UInt8(bitPattern: Int8(number)))
        default:
            out.append(0xd3)
            appendBigEndian(UInt64(bitPattern: number), to: &out)
        }
    }

    private static func appendRaw(
        _ bytes: UnsafeBufferPointer<UInt8>, fix: UInt8?, fixLimit: Int, codes: (UInt8, UInt8, UInt8), to out: inout [UInt8]
    ) {
        if let fix, bytes.count < fixLimit {
            out.append(fix | UInt8(bytes.count))
        } else if bytes.count < 1 << 8 {
            out.append(codes.0)
            out.append(UInt8(bytes.count))
        } else if bytes.count < 1 << 16 {
            out.append(codes.1)
            appendBigEndian(UInt16(bytes.count), to: &out)
        } else {
            out.append(codes.2)
            appendBigEndian(UInt32(bytes.count), to: &out)
        }
        out.append(contentsOf: bytes)
    }

    private static func appendHeader(_ count: Int, fix: UInt8, codes: (UInt8, UInt8), to out: inout [UInt8]) {
        if count < 16 {
            out.append(fix | UInt8(count))
        } else if count < 1 << 16 {
            out.append(codes.0)
            appendBigEndian(UInt16(count), to: &out)
        } else {
            out.append(codes.1)
            appendBigEndian(UInt32(count), to: &out)
        }
    }

    private static func appendBigEndian<T: FixedWidthInteger>(_ number: T, to out: inout [UInt8]) {
        withUnsafeBytes(of: number.bigEndian) { out.append(contentsOf: $0) }
    }

    /// Decodes exactly one value that fills `bytes`.
    /// - Throws: `invalid_argument` when the bytes are cut short, run on, nest too deep or use an extension type.
    public static func decode(_ bytes: [UInt8]) throws(LunetteError) -> Value {
        var reader = MessagePackReader(bytes: bytes)
        let value = try reader.value(depth: 0)
        guard reader.offset == bytes.count else { throw reader.failure("\(bytes.count - reader.offset) bytes left over") }
        return value
    }
}

/// Walks MessagePack bytes; never reads past the end and never trusts a length.
public struct MessagePackReader {
    let bytes: [UInt8]
    public private(set) var offset = 0

    public init(bytes: [UInt8]) { self.bytes = bytes }

    func failure(_ why: String) -> LunetteError { LunetteError(.invalidArgument, "decode MessagePack at byte \(offset): \(why)") }

    private mutating func byte() throws(LunetteError) -> UInt8 {
        guard offset < bytes.count else { throw failure("cut short") }
        defer { offset += 1 }
        return bytes[offset]
    }

    private mutating func number<T: FixedWidthInteger>(_: T.Type) throws(LunetteError) -> T {
        let size = MemoryLayout<T>.size
        guard bytes.count - offset >= size else { throw failure("cut short") }
        var result: T = 0
        for index in 0..<size { result = (result << 8) | T(truncatingIfNeeded: bytes[offset + index]) }
        offset += size
        return result
    }

    private mutating func raw(_ count: Int) throws(LunetteError) -> ArraySlice<UInt8> {
        guard count <= bytes.count - offset else { throw failure("a length of \(count) runs past the end") }
        defer { offset += count }
        return bytes[offset..<offset + count]
    }

    private mutating func text(_ count: Int) throws(LunetteError) -> Value {
        let raw = try raw(count)
        let text = raw.withUnsafeBufferPointer { String(validating: $0, as: UTF8.self) }
        return text.map(Value.string) ?? .bytes(Array(raw))
    }

    mutating func value(depth: Int) throws(LunetteError) -> Value {
        guard depth < MessagePack.maximumDepth else { throw failure("nested deeper than \(MessagePack.maximumDepth)") }
        let code = try byte()
        switch code {
        case 0x00...0x7f: return .int(Int64(code))
        case 0xe0...0xff: return .int(Int64(Int8(bitPattern: code)))
        case 0x80...0x8f: return try map(Int(code & 0x0f), depth)
        case 0x90...0x9f: return try array(Int(code & 0x0f), depth)
        case 0xa0...0xbf: return try text(Int(code & 0x1f))
        case 0xc0: return .null
        case 0xc2: return .bool(false)
        case 0xc3: return .bool(true)
        case 0xc4: return .bytes(Array(try raw(Int(try number(UInt8.self)))))
        case 0xc5: return .bytes(Array(try raw(Int(try number(UInt16.self)))))
        case 0xc6: return .bytes(Array(try raw(Int(try number(UInt32.self)))))
        case 0xca: return .double(Double(Float(bitPattern: try number(UInt32.self))))
        case 0xcb: return .double(Double(bitPattern: try number(UInt64.self)))
        case 0xcc: return .int(Int64(try number(UInt8.self)))
        case 0xcd: return .int(Int64(try number(UInt16.self)))
        case 0xce: return .int(Int64(try number(UInt32.self)))
        case 0xcf:
            let large = try number(UInt64.self)
            return Int64(exactly: large).map(Value.int) ?? .double(Double(large))
        case 0xd0: return .int(Int64(Int8(bitPattern: try number(UInt8.self))))
        case 0xd1: return .int(Int64(Int16(bitPattern: try number(UInt16.self))))
        case 0xd2: return .int(Int64(Int32(bitPattern: try number(UInt32.self))))
        case 0xd3: return .int(Int64(bitPattern: try number(UInt64.self)))
        case 0xd9: return try text(Int(try number(UInt8.self)))
        case 0xda: return try text(Int(try number(UInt16.self)))
        case 0xdb: return try text(Int(try number(UInt32.self)))
        case 0xdc: return try array(Int(try number(UInt16.self)), depth)
        case 0xdd: return try array(Int(try number(UInt32.self)), depth)
        case 0xde: return try map(Int(try number(UInt16.self)), depth)
        case 0xdf: return try map(Int(try number(UInt32.self)), depth)
        default: throw failure("type byte \(code) is not one we use")
        }
    }

    private mutating func array(_ count: Int, _ depth: Int) throws(LunetteError) -> Value {
        guard count <= bytes.count - offset else { throw failure("a list of \(count) runs past the end") }
        var items: [Value] = []
        items.reserveCapacity(count)
        for _ in 0..<count { items.append(try value(depth: depth + 1)) }
        return .array(items)
    }

    private mutating func map(_ count: Int, _ depth: Int) throws(LunetteError) -> Value {
        guard count <= bytes.count - offset else { throw failure("a table of \(count) runs past the end") }
        var map = ValueMap()
        // No length is trusted with more than what is usual.
        map.reserve(min(count, 16))
        for _ in 0..<count {
            let key: String
            switch try value(depth: depth + 1) {
            case .string(let text): key = text
            case .int(let number): key = String(number)
            default: throw failure("a table's key is not text")
            }
            map[key] = try value(depth: depth + 1)
        }
        return .map(map)
    }
}
