internal import LunetteSpec

/// One option of the command line, with runc's name: engines write these.
struct Option: Sendable {
    enum Argument: Sendable, Equatable {
        case none
        /// Takes one; a later one wins.
        case value(String)
        /// May be given several times.
        case list(String)
    }

    var name: String
    var short: Character?
    var argument: Argument
    var help: String

    init(_ name: String, _ short: Character? = nil, _ argument: Argument = .none, _ help: String) {
        self.name = name
        self.short = short
        self.argument = argument
        self.help = help
    }
}

/// What was found on the command line.
///
/// Go's rules, which runc's callers rely on: `--name value`, `--name=value`, one dash or two, `--flag=false`, `--` ends the options. There is no
/// bundling of short options, because `-ab` is one name to Go.
struct Options: Sendable {
    // Lists, not tables: there are a handful, and a table's type is one more to set up at every start.
    private var values: [(name: String, value: String)] = []
    private var flags: [(name: String, isOn: Bool)] = []
    private(set) var arguments: [String] = []

    enum Order { case anywhere, beforeArguments }

    /// - Parameters:
    ///   - order: `.beforeArguments` leaves everything from the first argument on alone (`exec ID COMMAND -x`).
    ///   - stopsAtFirst: also leaves the rest unread after the first argument of the whole line (global options).
    /// - Throws: `invalid_argument` that names the option.
    init(_ words: ArraySlice<String>, _ known: [Option], order: Order) throws(LunetteError) {
        var rest = words
        while let word = rest.popFirst() {
            if word == "--" {
                arguments += rest
                return
            }
            guard word.utf8.count > 1, word.utf8.first == UInt8(ascii: "-") else {
                arguments.append(word)
                if order == .beforeArguments {
                    arguments += rest
                    return
                }
                continue
            }
            try read(word, &rest, known)
        }
    }

    private mutating func read(_ word: String, _ rest: inout ArraySlice<String>, _ known: [Option]) throws(LunetteError) {
        // By bytes: of characters, one with a mark behind it is another.
        let body = word.utf8.drop { $0 == UInt8(ascii: "-") }
        let name = String(Substring(body.prefix { $0 != UInt8(ascii: "=") }))
        let attached = body.firstIndex(of: UInt8(ascii: "=")).map { String(Substring(body[body.index(after: $0)...])) }
        guard !word.utf8.starts(with: "---".utf8),
            let option = known.first(where: { $0.name == name || $0.short.map(String.init) == name })
        else {
            let names = known.map(\.name)
            throw LunetteError(
                .invalidArgument, "unknown option \(displayable(word, limit: 60))",
                hint: nearest(to: name, in: names).map { "did you mean --\($0)?" } ?? "see --help")
        }
        switch option.argument {
        case .none:
            switch attached {
            case nil, "true", "1"?: flags.append((option.name, true))
            case "false"?, "0"?: flags.append((option.name, false))
            default: throw LunetteError(.invalidArgument, "--\(option.name) takes no value but true or false")
            }
        case .value, .list:
            guard let value = attached ?? rest.popFirst() else {
                throw LunetteError(.invalidArgument, "--\(option.name) needs a value")
            }
            guard !value.utf8.contains(0) else { throw LunetteError(.invalidArgument, "--\(option.name) has a NUL byte") }
            values.append((option.name, value))
        }
    }

    func flag(_ name: String) -> Bool { flags.last { $0.name == name }?.isOn ?? false }
    func value(_ name: String) -> String? { values.last { $0.name == name }?.value }
    func list(_ name: String) -> [String] { values.filter { $0.name == name }.map(\.value) }

    /// A size in bytes, or with a unit of 1024's powers as runc takes it (`64m`, `1.5g`, `2 GiB`); -1 is no limit.
    func size(_ name: String) throws(LunetteError) -> Int64? {
        guard let text = value(name) else { return nil }
        if text == "-1" { return -1 }
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        var unit = text.dropFirst(digits.count).lowercased()[...]
        if unit.first == " " { unit = unit.dropFirst() }
        for suffix: Character in ["b", "i"] where unit.last == suffix { unit = unit.dropLast() }
        let powers: [Substring: Int64] = ["": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50]
        if let power = powers[unit], let size = Self.multiply(digits, by: 1 << power) { return size }
        throw LunetteError(
            .invalidArgument, "--\(name): \"\(displayable(text, limit: 40))\" is no size",
            hint: "such as 67108864, 64m or 1g; -1 is no limit")
    }

    private static func multiply(_ digits: Substring, by unit: Int64) -> Int64? {
        if let whole = Int64(digits) {
            let product = whole.multipliedReportingOverflow(by: unit)
            return product.overflow ? nil : product.partialValue
        }
        guard digits.first != ".", digits.last != ".", let number = Double(digits) else { return nil }
        return Int64(exactly: (number * Double(unit)).rounded(.down))
    }

    /// A whole number of an option, decimal.
    func number(_ name: String, in range: ClosedRange<Int64> = Int64.min...Int64.max) throws(LunetteError) -> Int64? {
        guard let text = value(name) else { return nil }
        guard let number = Int64(text), range.contains(number) else {
            let bounds = range == Int64.min...Int64.max ? "" : " from \(range.lowerBound) to \(range.upperBound)"
            throw LunetteError(.invalidArgument, "--\(name): \"\(displayable(text, limit: 40))\" is not a whole number\(bounds)")
        }
        return number
    }
}
