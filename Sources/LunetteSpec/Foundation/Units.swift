/// Reads sizes and durations as people write them; numbers are bytes and seconds.
public enum Units {
    // Decimal and binary units both exist in the field; MB is 10^6 and MiB 2^20, as the words say. Docker's bare k, m, g are binary.
    private static let sizeUnits: [(String, Int64)] = [
        ("b", 1), ("kb", 1_000), ("mb", 1_000_000), ("gb", 1_000_000_000), ("tb", 1_000_000_000_000),
        ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("tib", 1 << 40),
        ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40),
    ]
    private static let timeUnits: [(String, Double)] = [
        ("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86400), ("w", 604_800),
    ]

    /// A hundred years in seconds: what is added to a time or counted in nanoseconds stays a number that the kernel takes.
    private static let longest = 3.2e9
    /// The end of the year 9999, in unix seconds.
    public static let latestTime = 253_402_300_799.0

    /// - Returns: bytes, never negative.
    /// - Throws: `invalid_argument` for an unknown unit, a negative number or one too large.
    public static func bytes(_ value: Value) throws(LunetteError) -> Int64 {
        if let number = value.doubleValue {
            guard let whole = Int64(exactly: number.rounded(.towardZero)), whole >= 0 else {
                throw LunetteError(.invalidArgument, "\(value.intValue.map(String.init) ?? String(number)) is not a size in bytes")
            }
            return whole
        }
        guard let text = value.stringValue else { throw LunetteError(.invalidArgument, "expected a size, got \(value.kind)") }
        let hint = "write a number of bytes, or a string such as \"256MiB\" or \"1.5GB\""
        guard let (number, unit) = split(text) else { throw LunetteError(.invalidArgument, "\"\(text)\" is not a size", hint: hint) }
        guard let factor = unit.isEmpty ? 1 : sizeUnits.first(where: { $0.0 == unit.lowercased() })?.1 else {
            throw LunetteError(.invalidArgument, "\"\(text)\" has an unknown unit \"\(unit)\"", hint: hint)
        }
        guard let whole = Int64(exactly: (number * Double(factor)).rounded(.towardZero)) else {
            throw LunetteError(.invalidArgument, "\"\(text)\" is too large", hint: hint)
        }
        return whole
    }

    /// - Returns: seconds, never negative; compound forms such as `1h30m` are added up.
    /// - Throws: `invalid_argument` for an unknown unit, a negative number and more than a hundred years.
    public static func seconds(_ value: Value) throws(LunetteError) -> Double {
        if let number = value.doubleValue {
            guard number.isFinite, number >= 0 else { throw LunetteError(.invalidArgument, "\(number) is not a duration in seconds") }
            guard number <= longest else { throw LunetteError(.invalidArgument, "\(number) seconds are longer than a hundred years") }
            return number
        }
        guard let text = value.stringValue else { throw LunetteError(.invalidArgument, "expected a duration, got \(value.kind)") }
        let failure = LunetteError(
            .invalidArgument, "\"\(text)\" is not a duration",
            hint: "write a number of seconds, or a string such as \"500ms\", \"30s\", \"1h30m\""
        )
        var total = 0.0
        var rest = text[...]
        repeat {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            guard let (number, _) = split(String(digits)) else { throw failure }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.drop { $0.isLetter }
            guard let factor = unit.isEmpty && digits.count == text.count ? 1 : timeUnits.first(where: { $0.0 == unit })?.1 else {
                throw failure
            }
            total += number * factor
        } while !rest.isEmpty
        guard total <= longest else { throw LunetteError(.invalidArgument, "\"\(text)\" is longer than a hundred years") }
        return total
    }

    /// A size as messages show it: in the largest unit that has no fraction (`64MiB`), so that it can be given again.
    package static func text(bytes: Int64) -> String {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes) bytes"
    }

    private static func split(_ text: String) -> (Double, String)? {
        let digits = text.prefix { $0.isNumber || $0 == "." }
        guard let number = Double(digits), number >= 0, number.isFinite else { return nil }
        return (number, String(text.dropFirst(digits.count).drop { $0 == " " }))
    }
}
