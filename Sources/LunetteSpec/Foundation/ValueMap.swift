/// Maps text to values and keeps the order in which keys came, so that what is printed reads as it was written.
///
/// Keys are told apart by their bytes: two spellings of one accented letter are two keys. Most maps are small and most engines hold
/// thousands of them, so a map is one list that is searched; a longer one has an index beside it.
public struct ValueMap: Sendable, Hashable, Sequence, ExpressibleByDictionaryLiteral {
    private var pairs: [(key: String, value: Value)] = []
    /// Where each key stands in `pairs`; empty as long as there are few of them.
    private var places: [ByteKey: Int] = [:]
    private static let searched = 16

    /// An empty one.
    public init() {}
    public init(dictionaryLiteral elements: (String, Value)...) {
        reserve(elements.count)
        for (key, value) in elements { self[key] = value }
    }

    public var count: Int { pairs.count }
    public var isEmpty: Bool { pairs.isEmpty }
    /// In the order in which they came.
    public var keys: [String] { pairs.map(\.key) }

    /// Makes room for so many pairs.
    package mutating func reserve(_ count: Int) { pairs.reserveCapacity(count) }

    /// The value of a key; nil where there is none. Setting nil removes the key.
    public subscript(_ key: String) -> Value? {
        get { place(of: key).map { pairs[$0].value } }
        set {
            switch (place(of: key), newValue) {
            case (let place?, let value?): pairs[place].value = value
            case (let place?, nil):
                pairs.remove(at: place)
                index()
            case (nil, let value?):
                pairs.append((key, value))
                if pairs.count == ValueMap.searched + 1 {
                    index()
                } else if pairs.count > ValueMap.searched {
                    places[ByteKey(text: key)] = pairs.count - 1
                }
            case (nil, nil): break
            }
        }
    }

    private func place(of key: String) -> Int? {
        if pairs.count > ValueMap.searched { return places[ByteKey(text: key)] }
        return pairs.firstIndex { ByteKey.same($0.key, key) }
    }

    private mutating func index() {
        places = [:]
        guard pairs.count > ValueMap.searched else { return }
        places.reserveCapacity(pairs.count)
        for (place, pair) in pairs.enumerated() { places[ByteKey(text: pair.key)] = place }
    }

    public func makeIterator() -> IndexingIterator<[(key: String, value: Value)]> { pairs.makeIterator() }

    /// Two maps are equal when they hold the same pairs, in any order.
    public static func == (left: ValueMap, right: ValueMap) -> Bool {
        left.count == right.count && left.pairs.allSatisfy { right[$0.key] == $0.value }
    }

    public func hash(into hasher: inout Hasher) {
        // Of pairs in any order the same: each by itself, then joined by what doesn't know an order.
        var joined = 0
        for (key, value) in pairs {
            var pair = Hasher()
            pair.combine(ByteKey(text: key))
            pair.combine(value)
            joined ^= pair.finalize()
        }
        hasher.combine(joined)
    }
}

/// Text as a key that is told apart by its bytes.
private struct ByteKey: Hashable {
    let text: String

    static func == (left: ByteKey, right: ByteKey) -> Bool { same(left.text, right.text) }

    static func same(_ left: String, _ right: String) -> Bool {
        let count = left.utf8.count
        guard count == right.utf8.count else { return false }
        var (left, right) = (left, right)
        return left.withUTF8 { left in
            right.withUTF8 { right in
                // The last bytes tell names apart that begin alike.
                for place in (0..<count).reversed() where left[place] != right[place] { return false }
                return true
            }
        }
    }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
