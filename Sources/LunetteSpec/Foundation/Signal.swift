/// Names a signal in both its forms. Linux numbers, equal on x86-64 and arm64 (signal(7)).
public struct Signal: Hashable, Sendable, CustomStringConvertible {
    public let number: Int32

    public static let hup = Signal(knownNumber: 1)
    public static let int = Signal(knownNumber: 2)
    public static let quit = Signal(knownNumber: 3)
    public static let kill = Signal(knownNumber: 9)
    public static let term = Signal(knownNumber: 15)
    public static let winch = Signal(knownNumber: 28)

    private static let names: [String] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
        "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ]
    private static let aliases: [String: Int32] = ["IOT": 6, "CLD": 17, "POLL": 29]
    /// glibc keeps 32 and 33 for itself, so its SIGRTMIN is 34; Docker counts the same way.
    private static let realTimeMinimum: Int32 = 34
    private static let realTimeMaximum: Int32 = 64

    private init(knownNumber: Int32) { number = knownNumber }

    /// - Returns: nil unless 1–64.
    public init?(number: Int64) {
        guard (1...64).contains(number) else { return nil }
        self.number = Int32(number)
    }

    /// Reads `SIGTERM`, `TERM`, `term`, `15` or `RTMIN+3`.
    /// - Throws: `invalid_argument` with the nearest name.
    public init(_ text: String) throws(LunetteError) {
        let upper = text.uppercased()
        let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        if let number = Int64(text), String(number) == text, let signal = Signal(number: number) {
            self = signal
        } else if let index = Self.names.firstIndex(of: name) {
            number = Int32(index + 1)
        } else if let number = Self.aliases[name] {
            self.number = number
        } else if let number = Self.realTime(name) {
            self.number = number
        } else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(text, limit: 32))\" is not a signal",
                hint: nearest(to: name, in: Self.names).map { "did you mean \"SIG\($0)\"?" }
            )
        }
    }

    private static func realTime(_ name: String) -> Int32? {
        if name == "RTMIN" { return realTimeMinimum }
        if name == "RTMAX" { return realTimeMaximum }
        let base: Int32
        if name.hasPrefix("RTMIN+") {
            base = realTimeMinimum
        } else if name.hasPrefix("RTMAX-") {
            base = realTimeMaximum
        } else {
            return nil
        }
        let digits = name.dropFirst(6)
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let offset = Int32(digits), offset <= 30 else { return nil }
        return base == realTimeMinimum ? base + offset : base - offset
    }

    /// `SIGKILL`, `SIGRTMIN+3`.
    public var name: String {
        if number <= Int32(Self.names.count) { return "SIG" + Self.names[Int(number) - 1] }
        if number == Self.realTimeMinimum { return "SIGRTMIN" }
        return number > Self.realTimeMinimum ? "SIGRTMIN+\(number - Self.realTimeMinimum)" : "SIG\(number)"
    }

    public var description: String { name }
}

extension FieldReader {
    /// A signal by name or number.
    public mutating func signal(_ key: String) throws(LunetteError) -> Signal? {
        guard let value = value(key) else { return nil }
        if let number = value.intValue {
            guard let signal = Signal(number: number) else { throw failure(key, "\(number) is not a signal") }
            return signal
        }
        guard let text = value.stringValue else { throw failure(key, "expected a signal's name or number, got \(value.kind)") }
        do { return try Signal(text) } catch { throw failure(key, error.message, hint: error.hint) }
    }

    /// Says that a field is known and that this version can't act on it; used instead of "unknown option".
    public func unsupported(_ key: String, _ message: String, hint: String? = nil) -> LunetteError {
        LunetteError(.unsupported, message, path: path(of: key), hint: hint)
    }
}
