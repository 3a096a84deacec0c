import LunetteSpec

/// A generator that gives the same sequence for the same seed (SplitMix64), so that a failing case can be run again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    mutating func bytes(upTo limit: Int) -> [UInt8] { (0..<below(limit)).map { _ in UInt8(truncatingIfNeeded: next()) } }

    mutating func text(upTo limit: Int) -> String {
        let alphabet: [Unicode.Scalar] = Array("aZ09_-./ \"\\\n\t\u{0}\u{1f}\u{7f}äß€😀\u{202e}\u{2028}".unicodeScalars)
        var result = String.UnicodeScalarView()
        for _ in 0..<below(limit) { result.append(alphabet[below(alphabet.count)]) }
        return String(result)
    }

    /// Any value; `isJSON` leaves out what JSON has no form for.
    mutating func value(depth: Int = 0, isJSON: Bool) -> Value {
        switch below(depth > 3 ? 6 : 8) {
        case 0: .null
        case 1: .bool(next() & 1 == 0)
        case 2: .int(Int64(bitPattern: next()) >> Int64(below(64)))
        case 3: .double(Double(below(1 << 20)) + 0.5)
        case 4: .string(text(upTo: 40))
        case 5: isJSON ? .string(text(upTo: 300)) : .text(bytes(upTo: 300))
        case 6: .array((0..<below(6)).map { _ in value(depth: depth + 1, isJSON: isJSON) })
        default: .map(map(depth: depth, isJSON: isJSON))
        }
    }

    private mutating func map(depth: Int, isJSON: Bool) -> ValueMap {
        var result = ValueMap()
        for _ in 0..<below(6) { result[text(upTo: 12)] = value(depth: depth + 1, isJSON: isJSON) }
        return result
    }
}

/// The error that `body` throws; nil when it doesn't.
func failure(_ body: () throws(LunetteError) -> Void) -> LunetteError? {
    do {
        try body()
        return nil
    } catch {
        return error
    }
}
