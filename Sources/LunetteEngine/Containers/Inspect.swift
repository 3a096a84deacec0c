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

    /// The contract's `c:inspect()`.
    func describe(_ record: ContainerRecord) -> Value {
        let state = record.state
        var map: ValueMap = [
            "id": .string(record.id), "name": .string(record.name), "status": .string(state.status.rawValue),
            "state": .string(state.status.rawValue),
            "spec": record.spec, "labels": .map(record.labels), "health": ["status": "none", "failures": 0],
            "restarts": .int(Int64(state.restarts)),
            "created_at": .double(record.createdAt), "ports": .array([]), "mounts": record.spec["mounts"] ?? .array([]),
            "history": .array(record.history.map(\.value)),
        ]
        map["image"] = record.image.map { ["ref": .string($0.reference), "digest": .string($0.digest), "id": .string($0.id)] } ?? .map([:])
        map["networks"] = networks(record)
        map["pid"] = state.pid.map { .int(Int64($0)) }
        map["exit"] = state.exit?.value
        map["started_at"] = state.startedAt.map(Value.double)
        map["restart_at"] = state.restartAt.map(Value.double)
        map["degraded"] = .array((record.degraded + record.notEnforced.map { "not enforced: \($0)" }).map(Value.string))
        map["not_enforced"] = .array(record.notEnforced.map(Value.string))
        if !record.profile.isEmpty { map["start_profile"] = .map(ValueMap(phases: record.profile)) }
        if let range = record.idRange { map["id_range"] = ["first": .int(Int64(range.first)), "count": .int(Int64(range.count))] }
        map["actor"] = record.actor.value
        return .map(map)
    }

    private func networks(_ record: ContainerRecord) -> Value {
        let mode = record.spec["network"]?.stringValue ?? "none"
        let addresses: [Value] = mode == "none" ? ["127.0.0.1/8", "::1/128"] : []
        return [["network": .string(mode), "addresses": .array(addresses)]]
    }
}
