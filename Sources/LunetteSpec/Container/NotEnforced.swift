/// One thing that a container's spec has and nothing holds against the container: this machine can't, or the spec itself gives it away.
package struct NotEnforced: Sendable, Hashable {
    /// The spec's field (`resources.memory`); `resources` when none of its limits is held.
    package var field: String
    /// Why, in words.
    package var why: String

    /// - Parameters:
    ///   - field: the spec's.
    ///   - why: in words.
    package init(_ field: String, _ why: String) {
        self.field = field
        self.why = why
    }

    /// Reads what `value` gave; nil for anything else, as an older engine's words.
    package init?(value: Value) {
        guard let field = value["field"]?.stringValue, let why = value["why"]?.stringValue else { return nil }
        self.init(field, why)
    }

    /// For records and answers.
    package var value: Value { ["field": .string(field), "why": .string(why)] }

    /// Both in one line for people: `memory is not enforced: no memory controller in cgroup v2 here`.
    package var text: String {
        if field == "resources" { return "no limit is enforced: \(why)" }
        if field == "devices" { return "the device list is not enforced: \(why)" }
        guard let name = limit else { return why }
        let words = ["cpuset_memory": "memory nodes", "oom": "oom=\"group\""]
        return "\(words[name] ?? name) is not enforced: \(why)"
    }

    /// Of one limit its name below `resources`.
    package var limit: String? { field.hasPrefix("resources.") ? String(field.dropFirst("resources.".count)) : nil }

    /// Whether a spec's `resources` give it a value themselves, rather than a default.
    package func isAsked(in resources: ValueMap) -> Bool {
        // What `oom` does by default and the size of /dev/shm need no cgroup.
        let asked = resources.filter { !$0.value.isNull && $0.key != "shm_size" && !($0.key == "oom" && $0.value == "process") }
        if let limit { return asked.contains { $0.key == limit } }
        return field != "resources" || !asked.isEmpty
    }
}

extension ResourceSpec {
    /// The spec's field for one of `linux.resources` in the runtime spec (`memory.limit`): what the engine's users know it by.
    package static func field(ofRuntime name: String) -> String {
        if name == "devices" { return name }
        let words = [
            "memory.limit": "memory", "memory.swap": "memory_swap", "memory.reservation": "memory_reservation", "cpu.quota": "cpus",
            "cpu.period": "cpus", "cpu.shares": "cpu_shares", "cpu.cpus": "cpuset", "cpu.mems": "cpuset_memory", "pids.limit": "pids",
            "blockIO.weight": "io_weight",
        ]
        return "resources." + (words[name] ?? name)
    }
}
