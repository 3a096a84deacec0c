package import LunetteSpec

/// Finds where one MessagePack value ends in bytes that arrive in pieces, without recursion and without reading a byte twice.
package struct WireScanner {
    /// A value of one byte takes some forty in memory: without this bound a frame within its length could take a gigabyte.
    package static let maximumItems = 1 << 20

    private let limit: Int
    private let maximumItems: Int
    /// Values so far.
    private(set) var items = 0
    /// How many values are still to come at each level of nesting.
    private var open: [Int] = []
    private var started = false
    private var offset = 0

    /// - Parameters:
    ///   - limit: bytes that a value may have.
    ///   - maximumItems: values that may be in it, itself included.
    package init(limit: Int, maximumItems: Int = WireScanner.maximumItems) {
        self.limit = limit
        self.maximumItems = maximumItems
    }

    /// Goes on over `bytes`, which start where the value starts and have grown since the last call.
    /// - Returns: the value's length once all of it is there.
    /// - Throws: `invalid_argument` when the value is longer or deeper than allowed, or of a type that we don't use.
    package mutating func end(in bytes: ArraySlice<UInt8>) throws(LunetteError) -> Int? {
        if !started {
            // Every frame is a list of three or four: anything else (an HTTP client, a stray text) is refused at its first byte.
            guard let first = bytes.first else { return nil }
            guard first == 0x93 || first == 0x94 else { throw WireFrame.malformed("it starts with byte \(first)") }
            started = true
            open = [1]
        }
        while let left = open.last {
            if left == 0 {
                open.removeLast()
                continue
            }
            guard let (header, payload, children) = try item(in: bytes) else { return nil }
            guard payload <= limit, offset + header + payload <= limit else {
                throw WireFrame.malformed("it is longer than \(limit) bytes")
            }
            // A payload that is still on its way is asked for again with its header: one look, not one for each byte.
            guard offset + header + payload <= bytes.count else { return nil }
            items += 1
            guard items <= maximumItems else { throw WireFrame.malformed("it holds more than \(maximumItems) values") }
            offset += header + payload
            open[open.count - 1] -= 1
            if children > 0 {
                guard children <= limit else { throw WireFrame.malformed("it is longer than \(limit) bytes") }
                guard open.count < MessagePack.maximumDepth else {
                    throw WireFrame.malformed("it nests deeper than \(MessagePack.maximumDepth)")
                }
                open.append(children)
            }
        }
        return offset
    }

    /// The length of the header at `offset`, of what follows it, and how many values it opens; nil when cut short.
    private func item(in bytes: ArraySlice<UInt8>) throws(LunetteError) -> (header: Int, payload: Int, children: Int)? {
        guard offset < bytes.count else { return nil }
        func length(_ size: Int) -> Int? {
            guard offset + 1 + size <= bytes.count else { return nil }
            var result = 0
            for index in 0..<size { result = result << 8 | Int(bytes[bytes.startIndex + offset + 1 + index]) }
            return result
        }
        let code = bytes[bytes.startIndex + offset]
        switch code {
        case 0x00...0x7f, 0xe0...0xff, 0xc0, 0xc2, 0xc3: return (1, 0, 0)
        case 0x80...0x8f: return (1, 0, 2 * Int(code & 0x0f))
        case 0x90...0x9f: return (1, 0, Int(code & 0x0f))
        case 0xa0...0xbf: return (1, Int(code & 0x1f), 0)
        case 0xc4, 0xd9: return length(1).map { (2, $0, 0) }
        case 0xc5, 0xda: return length(2).map { (3, $0, 0) }
        case 0xc6, 0xdb: return length(4).map { (5, $0, 0) }
        case 0xcc, 0xd0: return (1, 1, 0)
        case 0xcd, 0xd1: return (1, 2, 0)
        case 0xca, 0xce, 0xd2: return (1, 4, 0)
        case 0xcb, 0xcf, 0xd3: return (1, 8, 0)
        case 0xdc: return length(2).map { (3, 0, $0) }
        case 0xdd: return length(4).map { (5, 0, $0) }
        case 0xde: return length(2).map { (3, 0, 2 * $0) }
        case 0xdf: return length(4).map { (5, 0, 2 * $0) }
        default: throw WireFrame.malformed("type byte \(code) is not one we use")
        }
    }
}
