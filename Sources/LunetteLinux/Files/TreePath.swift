internal import LunetteSpec

/// Where a walk is below its top: raw names, as long as the tree is deep.
package struct TreePath: Sendable {
    /// The names with `/` between them, without one at either end.
    package private(set) var bytes: [UInt8] = []
    private var lengths: [Int] = []
    private let top: String

    /// - Parameter top: what messages call the tree's top.
    package init(_ top: String) { self.top = top }

    /// Folders below the top.
    package var depth: Int { lengths.count }

    /// Goes into a folder of this name (with its NUL).
    package mutating func enter(_ name: [CChar]) {
        lengths.append(bytes.count)
        if !bytes.isEmpty { bytes.append(UInt8(ascii: "/")) }
        bytes.append(contentsOf: name.lazy.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) })
    }

    /// Goes back up.
    package mutating func leave() { bytes.removeLast(bytes.count - lengths.removeLast()) }

    /// The path of an entry here, raw.
    package func bytes(of name: [CChar]) -> [UInt8] {
        bytes + (bytes.isEmpty ? [] : [UInt8(ascii: "/")]) + name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    }

    /// The same for a message, what is long without its middle: a container makes paths of any length.
    package func shown(_ name: [CChar]? = nil) -> String {
        let below = name.map { Array($0.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }) }
        var text = bytes.count <= 200 ? bytes : bytes.prefix(100) + Array("…".utf8) + bytes.suffix(60)
        if let below { text += (text.isEmpty ? [] : [UInt8(ascii: "/")]) + below }
        return text.isEmpty ? top : top + "/" + String(decoding: text, as: UTF8.self)
    }
}
