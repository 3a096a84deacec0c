/// Reads and writes JSON (RFC 8259) as `Value`, without Foundation; used for OCI documents and plugin manifests.
///
/// Duplicate keys are refused: two readers that pick different ones are an attack (see image-spec's CVE-2021-41190).
public enum JSON {
    public static let maximumDepth = 128

    /// - Parameter source: what is being read, for messages (a path or digest).
    /// - Throws: `invalid_argument` with line and column.
    public static func decode(_ bytes: [UInt8], source: String) throws(LunetteError) -> Value {
        var reader = JSONReader(bytes: bytes, source: source)
        return try reader.document()
    }

    /// - Parameter pretty: two-space indentation and one field a line.
    public static func encode(_ value: Value, pretty: Bool = false) -> String {
        var out = ""
        append(value, to: &out, indent: pretty ? 0 : nil)
        return out
    }

    private static func append(_ value: Value, to out: inout String, indent: Int?) {
        switch value {
        case .null: out += "null"
        case .bool(let flag): out += flag ? "true" : "false"
        case .int(let number): out += String(number)
        case .double(let number):
            // JSON has no word for these; null is what every other encoder that doesn't throw writes.
            if !number.isFinite {
                out += "null"
            } else if let whole = Int64(exactly: number) {
                out += String(whole)
            } else {
                out += String(number)
            }
        case .string(let text): appendString(text, to: &out)
        case .bytes(let bytes): appendString(String(decoding: bytes, as: UTF8.self), to: &out)
        case .array(let items):
            appendList(items.count, "[", "]", to: &out, indent: indent) { index, out, inner in append(items[index], to: &out, indent: inner)
            }
        case .map(let map):
            let keys = map.keys
            appendList(keys.count, "{", "}", to: &out, indent: indent) { index, out, inner in
                appendString(keys[index], to: &out)
                out += inner == nil ? ":" : ": "
                append(map[keys[index]]!, to: &out, indent: inner)
            }
        }
    }

    private static func appendList(
        _ count: Int, _ open: String, _ close: String, to out: inout String, indent: Int?,
        item: (Int, inout String, Int?) -> Void
    ) {
        out += open
        let inner = indent.map { $0 + 1 }
        for index in 0..<count {
            if index > 0 { out += "," }
            if let inner { out += "\n" + String(repeating: "  ", count: inner) }
            item(index, &out, inner)
        }
        if let indent, count > 0 { out += "\n" + String(repeating: "  ", count: indent) }
        out += close
    }

    private static func appendString(_ text: String, to out: inout String) {
        out += "\""
        // Nearly every string is written as it is: asked byte by byte, which is many times faster than scalar by scalar.
        if !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
            out += text
            out += "\""
            return
        }
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        out += "\""
    }
}

private struct JSONReader {
    let bytes: [UInt8]
    let source: String
    var offset = 0

    init(bytes: [UInt8], source: String) {
        self.bytes = bytes
        self.source = source
    }

    func failure(_ why: String) -> LunetteError {
        var line = 1
        var column = 1
        for byte in bytes.prefix(offset) {
            if byte == 0x0a {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return LunetteError(.invalidArgument, "read JSON from \(source), line \(line) column \(column): \(why)")
    }

    mutating func document() throws(LunetteError) -> Value {
        skipSpace()
        guard offset < bytes.count else {
            throw LunetteError(
                .invalidArgument, "read JSON from \(source): " + (bytes.isEmpty ? "it is empty" : "there is nothing but white space"))
        }
        let value = try self.value(depth: 0)
        skipSpace()
        guard offset == bytes.count else { throw failure("text after the end of the document") }
        return value
    }

    private mutating func skipSpace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0a, 0x0d, 0x09: offset += 1
            default: return
            }
        }
    }

    private func peek() -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func expect(_ character: UInt8) throws(LunetteError) {
        guard peek() == character else {
            let expected = "expected '\(Character(UnicodeScalar(character)))'"
            throw failure(peek() == nil ? "cut short: \(expected)" : expected)
        }
        offset += 1
    }

    private mutating func word(_ text: StaticString, _ value: Value) throws(LunetteError) -> Value {
        let matches = text.withUTF8Buffer { bytes.count - offset >= $0.count && bytes[offset..<offset + $0.count].elementsEqual($0) }
        guard matches else {
            let rest = bytes[offset...]
            let isCut = text.withUTF8Buffer { $0.starts(with: rest) }
            throw failure(isCut ? "cut short: expected \(text)" : "expected a value")
        }
        offset += text.utf8CodeUnitCount
        return value
    }

    private mutating func value(depth: Int) throws(LunetteError) -> Value {
        guard depth < JSON.maximumDepth else { throw failure("nested deeper than \(JSON.maximumDepth)") }
        skipSpace()
        switch peek() {
        case UInt8(ascii: "{"): return try map(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case nil: throw failure("cut short")
        default: return try number()
        }
    }

    private mutating func map(_ depth: Int) throws(LunetteError) -> Value {
        try expect(UInt8(ascii: "{"))
        var map = ValueMap()
        skipSpace()
        if peek() == UInt8(ascii: "}") {
            offset += 1
            return .map(map)
        }
        while true {
            skipSpace()
            let key = try string()
            guard map[key] == nil else { throw failure("the key \"\(key)\" stands twice") }
            skipSpace()
            try expect(UInt8(ascii: ":"))
            map[key] = try value(depth: depth + 1)
            skipSpace()
            if peek() == UInt8(ascii: ",") {
                offset += 1
                continue
            }
            try expect(UInt8(ascii: "}"))
            return .map(map)
        }
    }

    private mutating func array(_ depth: Int) throws(LunetteError) -> Value {
        try expect(UInt8(ascii: "["))
        var items: [Value] = []
        skipSpace()
        if peek() == UInt8(ascii: "]") {
            offset += 1
            return .array(items)
        }
        while true {
            items.append(try value(depth: depth + 1))
            skipSpace()
            if peek() == UInt8(ascii: ",") {
                offset += 1
                continue
            }
            try expect(UInt8(ascii: "]"))
            return .array(items)
        }
    }

    private mutating func string() throws(LunetteError) -> String {
        try expect(UInt8(ascii: "\""))
        // Most have no escape: they are taken as they stand.
        let start = offset
        while let byte = peek(), byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { offset += 1 }
        if peek() == UInt8(ascii: "\"") {
            guard let text = Self.text(bytes[start..<offset]) else { throw failure("a string is not UTF-8") }
            offset += 1
            return text
        }
        var out = Array(bytes[start..<offset])
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                guard let text = String(validating: out, as: UTF8.self) else { throw failure("a string is not UTF-8") }
                return text
            case UInt8(ascii: "\\"):
                offset += 1
                try escape(into: &out)
            case 0..<0x20: throw failure("a control character in a string")
            default:
                out.append(byte)
                offset += 1
            }
        }
        throw failure("cut short: a string is not closed")
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        // The quick way for nearly all: validating in general sets up a page of generic types.
        if bytes.allSatisfy({ $0 < 0x80 }) { return String(decoding: bytes, as: UTF8.self) }
        return String(validating: bytes, as: UTF8.self)
    }

    private mutating func escape(into out: inout [UInt8]) throws(LunetteError) {
        guard let byte = peek() else { throw failure("cut short") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0c)
        case UInt8(ascii: "n"): out.append(0x0a)
        case UInt8(ascii: "r"): out.append(0x0d)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "u"):
            var unit = try hex4()
            if (0xd800..<0xdc00).contains(unit) {
                guard peek() == UInt8(ascii: "\\"), offset + 1 < bytes.count, bytes[offset + 1] == UInt8(ascii: "u") else {
                    throw failure("half a surrogate pair")
                }
                offset += 2
                let low = try hex4()
                guard (0xdc00..<0xe000).contains(low) else { throw failure("half a surrogate pair") }
                unit = 0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = UnicodeScalar(unit) else { throw failure("half a surrogate pair") }
            out.append(contentsOf: Array(String(Character(scalar)).utf8))
        default: throw failure("an unknown escape")
        }
    }

    private mutating func hex4() throws(LunetteError) -> UInt32 {
        guard bytes.count - offset >= 4, let text = String(validating: bytes[offset..<offset + 4], as: UTF8.self),
            let unit = UInt32(text, radix: 16), !text.hasPrefix("+")
        else { throw failure("four hex digits expected") }
        offset += 4
        return unit
    }

    private mutating func number() throws(LunetteError) -> Value {
        let start = offset
        while let byte = peek(), "+-.0123456789eE".utf8.contains(byte) { offset += 1 }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        let digits = text.drop { $0 == "-" }
        let wellFormed =
            !text.isEmpty && text.first != "+" && text.first != "." && text.last?.isNumber == true
            && digits.first?.isNumber == true && !(digits.first == "0" && digits.dropFirst().first?.isNumber == true)
        if wellFormed, let whole = Int64(text) { return .int(whole) }
        if wellFormed, let number = Double(text), number.isFinite { return .double(number) }
        offset = start
        throw failure("expected a value")
    }
}
