import LunetteSpec
import Synchronization

/// The limits that somebody asked for: what nothing holds of them, and which of them ended a container, is said on stderr.
struct AskedLimits: Sendable {
    /// As `inspect` calls them: `memory`, `cpus`.
    private let names: [String]
    private let memory: Value?
    private let timeLimit: Value?

    /// - Parameter spec: a container's, or what an update changes.
    init(_ spec: ValueMap) {
        let resources = spec["resources"]?.mapValue ?? [:]
        let others = ["cpuset_memory": "memory nodes", "oom": "oom=\"group\""]
        names = resources.filter { !$0.value.isNull && $0.key != "shm_size" }.map { others[$0.key] ?? $0.key }
        memory = resources["memory"]
        timeLimit = spec["time_limit"]
    }

    /// Warns of what was asked for and isn't enforced. The container runs; that it can't be asked any more is no failure of it.
    func tell(container: String, _ client: Client) async {
        guard !names.isEmpty else { return }
        do throws(LunetteError) {
            for line in Self.warnings(try await Self.notEnforced(container, client), names) { Output.note(line) }
        } catch { Output.note("lunette: warning: whether its limits are enforced isn't known: \(Text.safe(error.message))") }
    }

    /// The same of a container whose spec isn't at hand, right after its start.
    static func tellStarted(_ container: String, _ client: Client) async {
        // One that has ended and gone can't be asked, and no limit concerns it any more.
        guard let record = try? await client.call("container.inspect", ["container": .string(container)]) else { return }
        let lines = (record["not_enforced"]?.arrayValue ?? []).compactMap(\.stringValue)
        guard !lines.isEmpty else { return }
        for line in warnings(lines, AskedLimits(record["spec"]?.mapValue ?? [:]).names) { Output.note(line) }
    }

    static func warnings(_ lines: [String], _ names: [String]) -> [String] {
        lines.filter { line in line.hasPrefix("no limit ") || names.contains { line.hasPrefix("\($0) is ") } }
            .map { "lunette: warning: \(Text.safe($0))" }
    }

    private static func notEnforced(_ container: String, _ client: Client) async throws(LunetteError) -> [String] {
        let value: Value?
        do throws(LunetteError) {
            value = try await client.call("container.inspect", ["container": .string(container)])["not_enforced"]
        } catch  where error.code == .notFound {
            // It has ended and was removed (`--rm`): its start stands in the event log.
            let found = Mutex<Value?>(nil)
            _ = try await client.call(
                "events.follow", ["since": "1h", "until": "0s", "match": ["name": "container.started", "target": .string(container)]]
            ) { (event) throws(LunetteError) in
                found.withLock { $0 = event["not_enforced"] }
            }
            value = found.withLock { $0 }
        }
        return (value?.arrayValue ?? []).compactMap(\.stringValue)
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
