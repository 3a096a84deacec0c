import Foundation

/// Makes tar archives byte by byte, so that a test can write what no tool would.
struct TarBuilder {
    private(set) var bytes: [UInt8] = []

    struct Options {
        var type: Character = "0"
        var link = ""
        var mode = 0o644
        var uid = 0
        var gid = 0
        var time = 1_000_000
        var major = 0
        var minor = 0
        /// pax records: path, size, SCHILY.xattr.* …
        var pax: [(String, String)] = []
        /// What the header says, when it is to lie.
        var claimedSize: Int?
        var badChecksum = false
    }

    mutating func add(_ name: String, _ content: [UInt8] = [], _ change: (inout Options) -> Void = { _ in }) {
        var options = Options()
        change(&options)
        if !options.pax.isEmpty {
            var records: [UInt8] = []
            for (key, value) in options.pax { records += Self.record(key, value) }
            header("PaxHeader", size: records.count, type: "x", Options())
            pad(records)
        }
        header(name, size: options.claimedSize ?? content.count, type: options.type, options)
        pad(content)
    }

    mutating func folder(_ name: String, mode: Int = 0o755, uid: Int = 0) {
        add(name) {
            $0.type = "5"
            $0.mode = mode
            $0.uid = uid
        }
    }

    mutating func link(_ name: String, to target: String) {
        add(name) {
            $0.type = "2"
            $0.link = target
        }
    }

    mutating func hardLink(_ name: String, to target: String) {
        add(name) {
            $0.type = "1"
            $0.link = target
        }
    }

    mutating func raw(_ more: [UInt8]) { bytes += more }

    /// The archive with its two empty blocks.
    var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }

    private static func record(_ key: String, _ value: String) -> [UInt8] {
        var length = key.utf8.count + value.utf8.count + 3
        while String(length).utf8.count + key.utf8.count + value.utf8.count + 3 != length {
            length = String(length).utf8.count + key.utf8.count + value.utf8.count + 3
        }
        return Array("\(length) \(key)=\(value)\n".utf8)
    }

    private mutating func pad(_ content: [UInt8]) {
        bytes += content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    private mutating func header(_ name: String, size: Int, type: Character, _ options: Options) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int, limit: Int) {
            for (index, byte) in text.utf8.prefix(limit).enumerated() { block[offset + index] = byte }
        }
        func octal(_ number: Int, at offset: Int, width: Int) {
            if number < 1 << (3 * (width - 1)) {
                let digits = String(number, radix: 8)
                put(String(repeating: "0", count: width - 1 - digits.count) + digits, at: offset, limit: width)
            } else {
                // GNU's base 256.
                block[offset] = 0x80
                var rest = number
                for index in stride(from: offset + width - 1, to: offset, by: -1) {
                    block[index] = UInt8(truncatingIfNeeded: rest)
                    rest >>= 8
                }
            }
        }
        put(name, at: 0, limit: 100)
        octal(options.mode, at: 100, width: 8)
        octal(options.uid, at: 108, width: 8)
        octal(options.gid, at: 116, width: 8)
        octal(size, at: 124, width: 12)
        octal(options.time, at: 136, width: 12)
        block[156] = type.asciiValue!
        put(options.link, at: 157, limit: 100)
        put("ustar\u{0}00", at: 257, limit: 8)
        octal(options.major, at: 329, width: 8)
        octal(options.minor, at: 337, width: 8)
        for index in 148..<156 { block[index] = 0x20 }
        let sum = block.reduce(0) { $0 + Int($1) } + (options.badChecksum ? 7 : 0)
        let digits = String(sum, radix: 8)
        put(String(repeating: "0", count: 6 - digits.count) + digits, at: 148, limit: 6)
        block[154] = 0
        bytes += block
    }
}
