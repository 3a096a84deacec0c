import LunetteAPI
import LunetteSpec

/// A named program for the life of containers, registered by a resident script (contract §3, §5.13).
///
/// What it does before creation and what it observes are ordinary handlers (`prepare` is asked before `container.create`, `started` after
/// `container.started` …); this holds what runs inside operations and the states of its own.
struct Lifecycle: Sendable {
    /// What is called in the operation, and may decide.
    enum Function: String, Sendable, CaseIterable { case stop, exited }

    /// A state of its own: containers in it are `running` to all who don't know it.
    struct OwnState: Sendable {
        /// States that it may be entered from; nil: from any.
        var from: [String]?
        /// States that may follow; nil: any.
        var to: [String]?
        var hasEnter = false
        var hasLeave = false
        /// Seconds after which `onTimeout` follows.
        var timeout: Double?
        var onTimeout: String?
    }

    let name: String
    let functions: Set<Function>
    let states: [String: OwnState]
    /// What is told as `container.pressure`.
    let pressure: [PressureLimit]
    /// Whether its `unhealthy` takes the place of `on_unhealthy`.
    let handlesUnhealthy: Bool
    let receiver: any HookReceiver
    /// Where it is registered: `conf.d/db.lua:12`.
    let place: String
    let session: String

    /// The built-in states that stand in the graph beside its own.
    static let builtInStates = ["running", "stopped"]

    /// - Parameter value: what a resident script has registered.
    /// - Throws: `invalid_argument` for a name, a state or a limit that can't be.
    init(_ value: Value, receiver: any HookReceiver, place: String, session: String) throws(LunetteError) {
        var reader = try FieldReader(value)
        reader.ignore("kind", "subscription")
        name = try reader.required("name")
        try Names.validate(name, kind: "lifecycle", path: "name")
        let named = try reader.strings("functions") ?? []
        functions = Set(named.compactMap(Function.init))
        handlesUnhealthy = named.contains("unhealthy")
        var states: [String: OwnState] = [:]
        for (state, value) in reader.value("states")?.mapValue ?? [:] {
            try Names.validate(state, kind: "state", path: "states.\(displayable(state, limit: 40))")
            guard ContainerState.Status(rawValue: state) == nil else {
                throw LunetteError(
                    .invalidArgument, "\"\(state)\" is a built-in state", path: "states.\(state)", hint: "give the state a name of its own")
            }
            var table = try FieldReader(value, path: "states.\(state)")
            states[state] = try OwnState(reading: &table)
        }
        var limits: [PressureLimit] = []
        for (resource, value) in reader.value("pressure")?.mapValue ?? [:] {
            limits.append(try PressureLimit(resource, value, path: "pressure.match.\(displayable(resource, limit: 40))"))
        }
        pressure = limits
        try reader.finish()
        let known = Self.builtInStates + states.keys.sorted()
        for (state, own) in states.sorted(by: { $0.key < $1.key }) {
            for (key, list) in [("from", own.from ?? []), ("to", own.to ?? []), ("on_timeout", own.onTimeout.map { [$0] } ?? [])] {
                for word in list where !known.contains(word) || key == "from" && word == "stopped" {
                    throw LunetteError(
                        .invalidArgument, "\"\(displayable(word, limit: 40))\" is no state that can stand here",
                        path: "states.\(state).\(key)",
                        hint: nearest(to: word, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
                }
            }
        }
        self.states = states
        (self.receiver, self.place, self.session) = (receiver, place, session)
    }

    /// - Throws: `invalid_state` when a container in state `from` can't go to `to`; `invalid_argument` for a state that it doesn't have.
    func check(from: String, to: String) throws(LunetteError) {
        let known = Self.builtInStates + states.keys.sorted()
        guard known.contains(to) else {
            throw LunetteError(
                .invalidArgument, "the lifecycle \"\(name)\" has no state \"\(displayable(to, limit: 40))\"", path: "state",
                hint: nearest(to: to, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
        }
        let following = states[from]?.to
        let preceding = states[to]?.from
        guard following?.contains(to) ?? true, preceding?.contains(from) ?? true else {
            let possible = known.filter { word in
                word != from && (states[from]?.to?.contains(word) ?? true) && (states[word]?.from?.contains(from) ?? true)
            }
            throw LunetteError(
                .invalidState, "the lifecycle \"\(name)\" has no way from \(from) to \(to)",
                hint: possible.isEmpty ? "\(from) has none at all" : "from \(from) it goes to " + possible.joined(separator: ", "))
        }
    }

    /// Seconds that a state of its own lasts at least, and that a restart waits: events of a circle shall not flood the log.
    static let leastTime = 0.1

    /// Under which the receiver knows a function.
    func subscription(_ function: String) -> String { "lifecycle/\(name)/\(function)" }

    /// As `hook.list` shows it.
    var value: Value {
        [
            "subscription": .string("lifecycle/\(name)"), "kind": "lifecycle", "event": "", "source": "resident", "suspended": false,
            "priority": 0, "timeout": 30, "on_failure": "ignore", "name": .string(name), "place": .string(place),
        ]
    }
}

extension Lifecycle.OwnState {
    fileprivate init(reading table: inout FieldReader) throws(LunetteError) {
        from = try table.strings("from")
        to = try table.strings("to")
        hasEnter = try table.bool("enter") ?? false
        hasLeave = try table.bool("leave") ?? false
        timeout = try table.seconds("timeout")
        onTimeout = try table.string("on_timeout")
        if let timeout, timeout < Lifecycle.leastTime {
            throw table.failure(
                "timeout", "is shorter than \(Lifecycle.leastTime) s", hint: "two states that follow each other at once never end")
        }
        if timeout == nil, onTimeout != nil { throw table.failure("on_timeout", "stands without a timeout") }
        if timeout != nil, onTimeout == nil {
            throw table.failure(
                "timeout", "says nothing without on_timeout", hint: "on_timeout = \"running\" or \"stopped\", or a state of its own")
        }
        try table.finish()
    }
}

/// How long processes may stand still for want of a resource: `">10% 10s"`.
struct PressureLimit: Sendable, Hashable {
    static let resources = ["cpu", "io", "memory"]
    /// Of a handler that names none. Half of the time without a processor is nothing special where many share it.
    static let usual = [
        PressureLimit(resource: "memory", share: 10, window: 10), PressureLimit(resource: "io", share: 10, window: 10),
        PressureLimit(resource: "cpu", share: 50, window: 10),
    ]

    var resource: String
    /// Percent of the time in which some process waited.
    var share: Double
    /// Seconds that it is averaged over: the kernel keeps 10, 60 and 300.
    var window: Int

    private init(resource: String, share: Double, window: Int) {
        (self.resource, self.share, self.window) = (resource, share, window)
    }

    init(_ resource: String, _ value: Value, path: String) throws(LunetteError) {
        guard Self.resources.contains(resource) else {
            throw LunetteError(.invalidArgument, "the kernel tells no pressure of it", path: path, hint: "known: cpu, io, memory")
        }
        let words = (value.stringValue ?? "").split(separator: " ")
        guard words.count == 2, words[0].hasPrefix(">"), words[0].hasSuffix("%"), let share = Double(words[0].dropFirst().dropLast()),
            share > 0, share < 100, let window = ["10s": 10, "60s": 60, "1m": 60, "300s": 300, "5m": 300][words[1]]
        else {
            throw LunetteError(
                .invalidArgument, "expected a limit like \">10% 10s\", got \(displayable(JSON.encode(value), limit: 40))", path: path,
                hint: "the share of the time that some process waits, over 10s, 60s or 300s")
        }
        (self.resource, self.share, self.window) = (resource, share, window)
    }

    /// - Parameter pressure: as `container.pressure` has it.
    func isTold(by pressure: Value) -> Bool {
        pressure["resource"]?.stringValue == resource && pressure["limit"]?.doubleValue == share
            && pressure["window"]?.intValue == Int64(window)
    }

    /// - Parameter stats: as `container.stats` has them.
    /// - Returns: nil where the kernel tells none.
    func average(in stats: Value) -> Double? { stats["pressure"]?[resource]?["some"]?["avg\(window)"]?.doubleValue }
}
