import LunetteLinux
import LunetteSpec

extension Engine {
    func inspectContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let withPlan = try arguments.bool("launch_plan") ?? false
        try arguments.finish()
        let record = try await state.container(word)
        guard withPlan, var map = describe(record).mapValue else { return describe(record) }
        let request = try await launchRequest(record, call, streams: Streams(), isDry: true)
        map["launch_plan"] = .string(try await host.launchPlan(request))
        return .map(map)
    }

    func inspectContainers(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let selection = try ContainerFields(&arguments)
        return .array(try await matchingContainers(&arguments).map { record in selection?.describe(record) ?? describe(record) })
    }

    /// The contract's `c:inspect()`.
    func describe(_ record: ContainerRecord) -> Value {
        var map = ValueMap()
        for field in ContainerFields.all { map[field] = ContainerFields.value(field, record) }
        return .map(map)
    }
}

/// Chooses what of `ContainerInfo` a listing wants: one over hundreds of containers is mostly specs that nobody looks at.
struct ContainerFields {
    static let all = [
        "id", "name", "status", "state", "spec", "labels", "health", "restarts", "created_at", "ports", "mounts", "history", "image",
        "networks", "pid", "exit", "started_at", "restart_at", "degraded", "not_enforced", "start_profile", "id_range", "actor", "landlock",
    ]

    /// Each field with the parts of it that are wanted; none: all of it.
    private var wanted: [(field: String, parts: [String])] = []

    /// Reads `fields`: a list of names, or of `spec.args` for a part of a table.
    /// - Returns: nil when it isn't given: then all are wanted.
    init?(_ arguments: inout FieldReader) throws(LunetteError) {
        guard let paths = try arguments.strings("fields") else { return nil }
        for (index, path) in paths.enumerated() {
            let words = path.split(separator: ".", maxSplits: 1).map(String.init)
            guard let field = words.first, Self.all.contains(field) else {
                throw arguments.failure(
                    "fields[\(index + 1)]", "\"\(displayable(path, limit: 80))\" is no field of a container",
                    hint: nearest(to: words.first ?? "", in: Self.all).map { "did you mean \"\($0)\"?" }
                        ?? "known: " + Self.all.joined(separator: ", "))
            }
            if let place = wanted.firstIndex(where: { $0.field == field }) {
                if words.count == 1 {
                    wanted[place].parts = []
                } else if !wanted[place].parts.isEmpty {
                    wanted[place].parts.append(words[1])
                }
            } else {
                wanted.append((field, Array(words.dropFirst())))
            }
        }
    }

    func describe(_ record: ContainerRecord) -> Value {
        var map = ValueMap()
        for (field, parts) in wanted {
            guard let value = Self.value(field, record) else { continue }
            guard !parts.isEmpty, let whole = value.mapValue else {
                map[field] = value
                continue
            }
            var some = ValueMap()
            for part in parts { some[part] = whole[part] }
            map[field] = .map(some)
        }
        return .map(map)
    }

    static func value(_ field: String, _ record: ContainerRecord) -> Value? {
        let state = record.state
        switch field {
        case "id": return .string(record.id)
        case "name": return .string(record.name)
        case "state": return .string(state.ownState ?? state.status.rawValue)
        case "status": return .string(state.status.rawValue)
        case "spec": return record.spec
        case "labels": return .map(record.labels)
        case "health": return state.health.value
        case "restarts": return .int(Int64(state.restarts))
        case "created_at": return .double(record.createdAt)
        case "ports": return .array([])
        case "mounts": return record.spec["mounts"] ?? .array([])
        case "history": return .array(record.history.map(\.value))
        case "image": return record.image.map { ["ref": .string($0.reference), "digest": .string($0.digest), "id": .string($0.id)] } ?? [:]
        case "networks": return networks(record)
        case "pid": return state.pid.map { .int(Int64($0)) }
        case "exit": return state.exit?.value
        case "started_at": return state.startedAt.map(Value.double)
        case "restart_at": return state.restartAt.map(Value.double)
        case "degraded": return .array((record.degraded + record.notEnforced.map { "not enforced: \($0.text)" }).map(Value.string))
        case "not_enforced": return record.lacking()
        case "start_profile": return record.profile.isEmpty ? nil : .map(ValueMap(phases: record.profile))
        case "id_range": return record.idRange.map { ["first": .int(Int64($0.first)), "count": .int(Int64($0.count))] }
        case "actor": return record.actor.value
        case "landlock": return record.spec["security"]?["landlock"].map { _ in ["abi": .int(Int64(Landlock.abi))] }
        default: return nil
        }
    }

    private static func networks(_ record: ContainerRecord) -> Value {
        let mode = record.spec["network"]?.stringValue ?? "none"
        let addresses: [Value] = mode == "none" ? ["127.0.0.1/8", "::1/128"] : []
        return [["network": .string(mode), "addresses": .array(addresses)]]
    }
}
