import LunetteSpec

/// The limits that somebody asked for: what nothing holds of them, and which of them ended a container, is said on stderr.
struct AskedLimits: Sendable {
    private let memory: Value?
    private let timeLimit: Value?

    /// - Parameter spec: a container's.
    init(_ spec: ValueMap) {
        memory = spec["resources"]?["memory"]
        timeLimit = spec["time_limit"]
    }

    /// Warns of what was asked for and isn't enforced.
    /// - Parameter answer: of `container.start`, `restart`, `run` or `update`.
    static func tell(_ answer: Value) { for line in warnings(answer) { Output.note(line) } }

    static func warnings(_ answer: Value) -> [String] {
        (answer["not_enforced"]?.arrayValue ?? []).filter { $0["asked"] == true }.compactMap(NotEnforced.init(value:))
            .filter { $0.limit != nil || $0.field == "resources" }.map { "lunette: warning: \(Text.safe($0.text))" }
    }

    /// Says which limit ended it, when one did: its exit code is that of any SIGKILL.
    func tell(_ exit: Value, of name: String) { if let line = line(exit, of: name) { Output.note("lunette: \(line)") } }

    func line(_ exit: Value, of name: String) -> String? {
        let name = Text.safe(name)
        if exit["reason"]?.stringValue == "time_limit" {
            return "\(name) was killed: its time limit\(Self.text(timeLimit) { "\($0) s" }) has passed (--time-limit)"
        }
        guard exit["oom_killed"]?.boolValue == true, exit["code"]?.intValue != 0 else { return nil }
        guard let memory, memory.intValue.map({ $0 > 0 }) ?? true else {
            return "\(name) was killed: the machine had no memory left (--memory bounds it)"
        }
        return "\(name) was killed: it needed more than its memory limit\(Self.text(memory) { Units.text(bytes: $0) }) (--memory)"
    }

    /// As it was asked for, else by unit.
    private static func text(_ value: Value?, _ unit: (Int64) -> String) -> String {
        guard let value, !value.isNull else { return "" }
        if let text = value.stringValue { return " of \(Text.safe(text))" }
        if let number = value.intValue { return " of \(unit(number))" }
        return value.doubleValue.map { " of \($0) s" } ?? ""
    }
}
