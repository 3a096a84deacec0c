/// Makes ids: random bits in lower-case hex, as the field writes container ids.
enum Identifier {
    /// 64 hex digits, for containers.
    static func container() -> String { hex(4) }
    static func isContainer(_ word: String) -> Bool {
        word.utf8.count == 64 && word.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
    /// 32 hex digits, for volumes, subscriptions and requests.
    static func short() -> String { hex(2) }

    private static func hex(_ words: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        var text = ""
        text.reserveCapacity(words * 16)
        for _ in 0..<words {
            let word = String(generator.next(), radix: 16)
            text += String(repeating: "0", count: 16 - word.count) + word
        }
        return text
    }
}
