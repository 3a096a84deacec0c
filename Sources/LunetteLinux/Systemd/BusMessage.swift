/// D-Bus's wire format, as much of it as talking to systemd takes. Pure. Source: the D-Bus specification, "Message Protocol".
///
/// A library would be better, but libsystemd can't be opened from a static executable, which `lunette-oci` is, and it is one format of two
/// hundred lines that hasn't changed since 2006.
struct BusWriter {
    private(set) var bytes: [UInt8] = []

    mutating func align(_ boundary: Int) { while bytes.count % boundary != 0 { bytes.append(0) } }
    mutating func byte(_ value: UInt8) { bytes.append(value) }

    mutating func u32(_ value: UInt32) {
        align(4)
        for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func u64(_ value: UInt64) {
        align(8)
        for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    /// A string or an object path.
    mutating func string(_ text: String) {
        u32(UInt32(text.utf8.count))
        bytes += text.utf8
        bytes.append(0)
    }

    mutating func signature(_ text: String) {
        bytes.append(UInt8(text.utf8.count))
        bytes += text.utf8
        bytes.append(0)
    }

    /// An array: its length counts from the first element, behind the padding before it.
    mutating func array(alignment: Int, _ body: (inout BusWriter) -> Void) {
        u32(0)
        let place = bytes.count - 4
        align(alignment)
        let start = bytes.count
        body(&self)
        let length = UInt32(bytes.count - start)
        for index in 0..<4 { bytes[place + index] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(index))) }
    }

    /// An array of `(sv)`, as systemd takes a unit's properties.
    mutating func properties(_ properties: [SystemdProperty]) {
        array(alignment: 8) { writer in
            for property in properties {
                writer.align(8)
                writer.string(property.name)
                property.value.write(to: &writer)
            }
        }
    }
}

/// A property of a unit: what its file would have as `Name=`.
package struct SystemdProperty: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        case bool(Bool)
        case text(String)
        case number(UInt64)
        case texts([String])
        /// Process ids.
        case numbers([UInt32])
        /// A bit mask of processors or memory nodes.
        case mask([UInt8])
    }

    package var name: String
    package var value: Value

    package init(_ name: String, _ value: Value) {
        self.name = name
        self.value = value
    }
}

extension SystemdProperty.Value {
    /// As a variant: its signature, then itself.
    func write(to writer: inout BusWriter) {
        switch self {
        case .bool(let flag):
            writer.signature("b")
            writer.u32(flag ? 1 : 0)
        case .text(let text):
            writer.signature("s")
            writer.string(text)
        case .number(let number):
            writer.signature("t")
            writer.u64(number)
        case .texts(let texts):
            writer.signature("as")
            writer.array(alignment: 4) { writer in for text in texts { writer.string(text) } }
        case .numbers(let numbers):
            writer.signature("au")
            writer.array(alignment: 4) { writer in for number in numbers { writer.u32(number) } }
        case .mask(let mask):
            writer.signature("ay")
            writer.array(alignment: 1) { writer in for byte in mask { writer.byte(byte) } }
        }
    }
}

/// One message of D-Bus.
struct BusMessage {
    enum Kind: UInt8 { case call = 1, reply = 2, error = 3, signal = 4 }

    var kind: Kind
    var serial: UInt32
    var path: String?
    var interface: String?
    var member: String?
    var error: String?
    var destination: String?
    var replySerial: UInt32?
    var signature = ""
    var body: [UInt8] = []

    /// More than systemd's own limit of a message would be nonsense.
    static let largest = 1 << 27

    var encoded: [UInt8] {
        var writer = BusWriter()
        writer.byte(UInt8(ascii: "l"))
        writer.byte(kind.rawValue)
        writer.byte(0)
        writer.byte(1)
        writer.u32(UInt32(body.count))
        writer.u32(serial)
        writer.array(alignment: 8) { writer in
            func field(_ code: UInt8, _ type: String, _ write: (inout BusWriter) -> Void) {
                writer.align(8)
                writer.byte(code)
                writer.signature(type)
                write(&writer)
            }
            if let path { field(1, "o") { $0.string(path) } }
            if let interface { field(2, "s") { $0.string(interface) } }
            if let member { field(3, "s") { $0.string(member) } }
            if let error { field(4, "s") { $0.string(error) } }
            if let replySerial { field(5, "u") { $0.u32(replySerial) } }
            if let destination { field(6, "s") { $0.string(destination) } }
            if !signature.isEmpty { field(8, "g") { $0.signature(signature) } }
        }
        writer.align(8)
        return writer.bytes + body
    }

    /// How long the message that begins with these bytes is; nil when more are needed to know.
    /// - Returns: -1 for what is no message.
    static func length(of bytes: ArraySlice<UInt8>) -> Int? {
        guard bytes.count >= 16 else { return nil }
        let reader = BusReader(Array(bytes.prefix(16)))
        guard bytes.first == UInt8(ascii: "l"), let body = reader.u32(at: 4), let fields = reader.u32(at: 12) else { return -1 }
        let total = 16 + (Int(fields) + 7) / 8 * 8 + Int(body)
        return total <= largest ? total : -1
    }

    /// - Returns: nil for what is no message.
    init?(_ bytes: [UInt8]) {
        guard let length = Self.length(of: bytes[...]), length == bytes.count, let kind = Kind(rawValue: bytes[1]) else { return nil }
        self.kind = kind
        var reader = BusReader(bytes)
        guard let bodyLength = reader.u32(at: 4), let serial = reader.u32(at: 8), let fields = reader.u32(at: 12) else { return nil }
        self.serial = serial
        reader.position = 16
        let end = 16 + Int(fields)
        guard end <= bytes.count else { return nil }
        while reader.position < end {
            reader.align(8)
            guard let code = reader.byte(), let type = reader.signature() else { return nil }
            switch type {
            case "s", "o":
                guard let text = reader.string() else { return nil }
                switch code {
                case 1: path = text
                case 2: interface = text
                case 3: member = text
                case 4: error = text
                case 6: destination = text
                default: break
                }
            case "u":
                guard let number = reader.u32() else { return nil }
                if code == 5 { replySerial = number }
            case "g":
                guard let text = reader.signature() else { return nil }
                if code == 8 { signature = text }
            // Every field that the specification has is one of these.
            default: return nil
            }
        }
        body = Array(bytes.suffix(Int(bodyLength)))
    }

    init(call member: String, path: String, interface: String, signature: String, body: [UInt8], serial: UInt32) {
        kind = .call
        self.serial = serial
        self.path = path
        self.interface = interface
        self.member = member
        destination = "org.freedesktop.systemd1"
        self.signature = signature
        self.body = body
    }
}

/// Reads what `BusWriter` writes; nil for what doesn't fit.
struct BusReader {
    private let bytes: [UInt8]
    var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func align(_ boundary: Int) { position = (position + boundary - 1) / boundary * boundary }

    func u32(at place: Int) -> UInt32? {
        guard place >= 0, place + 4 <= bytes.count else { return nil }
        return (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1)) }
    }

    mutating func byte() -> UInt8? {
        guard position < bytes.count else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func u32() -> UInt32? {
        align(4)
        guard let number = u32(at: position) else { return nil }
        position += 4
        return number
    }

    mutating func string() -> String? {
        guard let length = u32().map(Int.init), length < bytes.count, position + length < bytes.count else { return nil }
        defer { position += length + 1 }
        return String(decoding: bytes[position..<(position + length)], as: UTF8.self)
    }

    mutating func signature() -> String? {
        guard let length = byte().map(Int.init), position + length < bytes.count else { return nil }
        defer { position += length + 1 }
        return String(decoding: bytes[position..<(position + length)], as: UTF8.self)
    }
}
