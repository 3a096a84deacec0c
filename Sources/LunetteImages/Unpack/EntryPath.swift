internal import LunetteSpec

/// A tar entry's path, split and cleaned: no leading slash, no `.`, never `..`.
///
/// A leading slash is dropped, as every runtime does: `/etc/x` means the layer's own etc/x.
struct EntryPath {
    /// The parts before the last, joined by `/`, with a NUL at the end; just the NUL at the top.
    var parent: [CChar] = [0]
    /// The last part with a NUL; just the NUL for the root itself.
    var name: [CChar] = [0]
    var depth = 0

    var isRoot: Bool { name.count == 1 }
    var text: String { (parent.count > 1 ? parent.text + "/" : "") + name.text }

    private static let slash = CChar(UInt8(ascii: "/"))
    private static let dot = CChar(UInt8(ascii: "."))

    /// - Returns: nil when a part is `..` .
    init?(_ raw: UnsafePointer<CChar>) {
        var parts: [Range<Int>] = []
        var start = 0
        var index = 0
        var isPlain = true
        while true {
            let byte = raw[index]
            if byte == Self.slash || byte == 0 {
                let length = index - start
                if length == 2, raw[start] == Self.dot, raw[start + 1] == Self.dot { return nil }
                if length == 0 || (length == 1 && raw[start] == Self.dot) {
                    // A slash at the very end leaves what stands before it as it is.
                    if byte != 0 { isPlain = false }
                } else {
                    parts.append(start..<index)
                }
                start = index + 1
            }
            if byte == 0 { break }
            index += 1
        }
        guard let last = parts.last else { return }
        depth = parts.count
        name = Array(UnsafeBufferPointer(start: raw + last.lowerBound, count: last.count)) + [0]
        guard parts.count > 1 else { return }
        if isPlain {
            parent = Array(UnsafeBufferPointer(start: raw, count: parts[parts.count - 2].upperBound)) + [0]
        } else {
            parent = []
            for part in parts.dropLast() {
                if !parent.isEmpty { parent.append(Self.slash) }
                parent.append(contentsOf: UnsafeBufferPointer(start: raw + part.lowerBound, count: part.count))
            }
            parent.append(0)
        }
    }

    /// `parent/name` with a NUL.
    var full: [CChar] { parent.count > 1 ? Array(parent.dropLast()) + [Self.slash] + name : name }

    /// Each folder above the entry, the highest first, with a NUL each.
    var ancestors: [[CChar]] {
        var result: [[CChar]] = []
        for (index, byte) in parent.enumerated() where (byte == Self.slash || byte == 0) && index > 0 {
            result.append(Array(parent[..<index]) + [0])
        }
        return result
    }
}

extension [CChar] {
    /// The characters before the NUL, made fit for a message.
    var text: String { displayable(String(decoding: prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self), limit: 300) }

    func hasPrefix(_ prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { wanted in
            count > wanted.count && zip(wanted, self).allSatisfy { CChar(bitPattern: $0) == $1 }
        }
    }

    func equals(_ text: StaticString) -> Bool { count == text.utf8CodeUnitCount + 1 && hasPrefix(text) }
}
