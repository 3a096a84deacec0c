import LunetteAPI
import LunetteLinux
import LunetteSpec

// Records are stored as MessagePack maps with named fields: a field added later is simply absent in older rows.

extension ContainerRecord {
    var encoded: [UInt8] { MessagePack.encode(stored) }

    private var stored: Value {
        var map: ValueMap = [
            "id": .string(id), "name": .string(name), "spec": spec, "created_at": .double(createdAt), "request": .string(requestID),
            "status": .string(state.status.rawValue), "restarts": .int(Int64(state.restarts)), "attempts": .int(Int64(state.attempts)),
            "stopped_by_user": .bool(state.stoppedByUser), "removes_on_exit": .bool(state.removesOnExit),
            "has_time_limit": .bool(state.hasTimeLimit), "actor": actor.value,
            "policy": [
                "kind": .string(state.policy.kind.rawValue), "initial": .double(state.policy.initialBackoff),
                "maximum": .double(state.policy.maximumBackoff), "attempts": state.policy.maximumAttempts.map { .int(Int64($0)) } ?? .null,
            ],
        ]
        if let image { map["image"] = ["reference": .string(image.reference), "digest": .string(image.digest), "id": .string(image.id)] }
        if let idRange { map["id_range"] = [.int(Int64(idRange.first)), .int(Int64(idRange.count))] }
        map["exit"] = state.exit?.value
        if state.oomKills > 0 { map["oom_kills"] = .int(Int64(state.oomKills)) }
        if let health { map["health"] = health.value }
        if state.health.status != .none { map["health_state"] = state.health.value }
        if state.restartsOnce { map["restarts_once"] = true }
        if state.awaitsDecision { map["awaits_decision"] = true }
        map["own_state"] = state.ownState.map(Value.string)
        if let end = state.ownStateEnds { map["own_state_ends"] = ["time": .double(end.time), "next": .string(end.next)] }
        map["pid"] = state.pid.map { .int(Int64($0)) }
        map["started_at"] = state.startedAt.map(Value.double)
        map["restart_at"] = state.restartAt.map(Value.double)
        map["session"] = sessionID.map(Value.string)
        map["owner"] = owner?.value
        map["run"] = run
        map["start_request"] = startRequest.map(Value.string)
        if !requested.isNull { map["requested"] = requested }
        map["shares_range_of"] = sharesRangeOf.map(Value.string)
        if !shares.isEmpty { map["shares"] = .strings(shares) }
        map["stop_signal"] = stopSignal.map { .int(Int64($0)) }
        if !history.isEmpty { map["history"] = .array(history.map(\.value)) }
        if !profile.isEmpty { map["profile"] = .array(profile.map { [.string($0.phase), .int(Int64($0.microseconds))] }) }
        if !degraded.isEmpty { map["degraded"] = .array(degraded.map(Value.string)) }
        if !notEnforced.isEmpty { map["not_enforced"] = .array(notEnforced.map(\.value)) }
        if !volumes.isEmpty { map["volumes"] = .array(volumes.map(Value.string)) }
        return .map(map)
    }

    init(encoded bytes: [UInt8]) throws(LunetteError) {
        let value = try MessagePack.decode(bytes)
        guard let id = value["id"]?.stringValue, let name = value["name"]?.stringValue, let spec = value["spec"],
            let status = (value["status"]?.stringValue).flatMap(ContainerState.Status.init)
        else { throw LunetteError(.io, "decode a container's row: fields are missing") }
        var state = ContainerState()
        state.status = status
        state.pid = (value["pid"]?.intValue).flatMap { Int32(exactly: $0) }
        state.exit = ExitRecord(value: value["exit"])
        state.oomKills = Int(value["oom_kills"]?.intValue ?? 0)
        state.startedAt = value["started_at"]?.doubleValue
        state.restartAt = value["restart_at"]?.doubleValue
        state.restarts = Int(value["restarts"]?.intValue ?? 0)
        state.attempts = Int(value["attempts"]?.intValue ?? 0)
        state.stoppedByUser = value["stopped_by_user"]?.boolValue ?? false
        state.removesOnExit = value["removes_on_exit"]?.boolValue ?? false
        state.hasTimeLimit = value["has_time_limit"]?.boolValue ?? false
        state.restartsOnce = value["restarts_once"]?.boolValue ?? false
        state.awaitsDecision = value["awaits_decision"]?.boolValue ?? false
        state.ownState = value["own_state"]?.stringValue
        if let time = value["own_state_ends"]?["time"]?.doubleValue, let next = value["own_state_ends"]?["next"]?.stringValue {
            state.ownStateEnds = .init(time: time, next: next)
        }
        if let policy = value["policy"] {
            state.policy.kind = (policy["kind"]?.stringValue).flatMap(RestartPolicy.Kind.init) ?? .never
            state.policy.initialBackoff = policy["initial"]?.doubleValue ?? 0.1
            state.policy.maximumBackoff = policy["maximum"]?.doubleValue ?? 60
            state.policy.maximumAttempts = (policy["attempts"]?.intValue).map { Int($0) }
        }
        var image: ImageIdentity?
        if let reference = value["image"]?["reference"]?.stringValue, let digest = value["image"]?["digest"]?.stringValue {
            image = ImageIdentity(reference: reference, digest: digest, id: value["image"]?["id"]?.stringValue ?? "")
        }
        self.init(
            id: id, name: name, spec: spec, image: image, state: state, createdAt: value["created_at"]?.doubleValue ?? 0,
            requestID: value["request"]?.stringValue ?? "", sessionID: value["session"]?.stringValue, actor: Actor(value: value["actor"])
        )
        if let range = value["id_range"]?.arrayValue, range.count == 2, let base = range[0].intValue, let size = range[1].intValue {
            idRange = IDRange(first: UInt32(truncatingIfNeeded: base), count: UInt32(truncatingIfNeeded: size))
        }
        // What was stored was valid; one that a later version wrote counts as none.
        if let stored = value["health"], var reader = try? FieldReader(stored), let spec = try? HealthSpec(reading: &reader) {
            self.use(health: spec)
            self.state.health.restore(value["health_state"])
        }
        owner = value["owner"].flatMap(ProcessIdentity.init(value:))
        run = value["run"]
        startRequest = value["start_request"]?.stringValue
        requested = value["requested"] ?? .null
        sharesRangeOf = value["shares_range_of"]?.stringValue
        for (kind, id) in value["shares"]?.mapValue ?? [:] { shares[kind] = id.stringValue }
        stopSignal = (value["stop_signal"]?.intValue).flatMap { Int32(exactly: $0) }
        history = (value["history"]?.arrayValue ?? []).compactMap { entry in
            guard let time = entry["time"]?.doubleValue, let what = entry["what"]?.stringValue else { return nil }
            return HistoryEntry(time: time, what: what, detail: entry["detail"]?.stringValue)
        }
        profile = (value["profile"]?.arrayValue ?? []).compactMap { entry in
            guard let pair = entry.arrayValue, pair.count == 2, let phase = pair[0].stringValue, let time = pair[1].intValue else {
                return nil
            }
            return Phase(phase: phase, microseconds: Int(time))
        }
        degraded = (value["degraded"]?.arrayValue ?? []).compactMap(\.stringValue)
        notEnforced = (value["not_enforced"]?.arrayValue ?? []).compactMap(NotEnforced.init(value:))
        volumes = (value["volumes"]?.arrayValue ?? []).compactMap(\.stringValue)
    }
}

extension VolumeRecord {
    var encoded: [UInt8] {
        var map: ValueMap = [
            "id": .string(id), "name": .string(name), "driver": .string(driver), "labels": .map(labels), "options": .map(options),
            "state": driverState, "created_at": .double(createdAt), "populated": .bool(isPopulated), "request": .string(requestID),
            "anonymous": .bool(isAnonymous),
        ]
        map["size"] = size.map(Value.int)
        return MessagePack.encode(.map(map))
    }

    init(encoded bytes: [UInt8]) throws(LunetteError) {
        let value = try MessagePack.decode(bytes)
        guard let id = value["id"]?.stringValue, let name = value["name"]?.stringValue, let driver = value["driver"]?.stringValue else {
            throw LunetteError(.io, "decode a volume's row: fields are missing")
        }
        self.init(
            id: id, name: name, driver: driver, size: value["size"]?.intValue, labels: value["labels"]?.mapValue ?? [:],
            options: value["options"]?.mapValue ?? [:], driverState: value["state"] ?? .null,
            createdAt: value["created_at"]?.doubleValue ?? 0,
            isPopulated: value["populated"]?.boolValue ?? false, requestID: value["request"]?.stringValue ?? "",
            isAnonymous: value["anonymous"]?.boolValue ?? false
        )
    }
}

extension Actor {
    /// Encodes as the contract's `ev.actor`.
    var value: Value {
        var map: ValueMap = ["uid": .int(Int64(uid)), "gid": .int(Int64(gid)), "pid": .int(Int64(pid))]
        map["script"] = script.map(Value.string)
        map["line"] = line.map { .int(Int64($0)) }
        map["socket"] = socket.map(Value.string)
        return .map(map)
    }

    init(value: Value?) {
        self.init(
            uid: UInt32(truncatingIfNeeded: value?["uid"]?.intValue ?? 0), gid: UInt32(truncatingIfNeeded: value?["gid"]?.intValue ?? 0),
            pid: Int32(truncatingIfNeeded: value?["pid"]?.intValue ?? 0), script: value?["script"]?.stringValue,
            line: (value?["line"]?.intValue).map { Int($0) }, socket: value?["socket"]?.stringValue
        )
    }
}

extension PendingEvent {
    var encoded: [UInt8] {
        var map: ValueMap = [:]
        if let target { map["target"] = target.value }
        if !fields.isEmpty { map["fields"] = .map(fields) }
        if !actor.isNull { map["actor"] = actor }
        if !cause.isEmpty { map["cause"] = .array(cause.map(Value.string)) }
        return MessagePack.encode(.map(map))
    }

    init(name: String, encoded bytes: [UInt8]) throws(LunetteError) {
        let value = try MessagePack.decode(bytes)
        var target: Target?
        if let kind = value["target"]?["kind"]?.stringValue, let id = value["target"]?["id"]?.stringValue {
            target = Target(kind: kind, id: id, name: value["target"]?["name"]?.stringValue ?? "")
        }
        self.init(
            name: name, target: target, fields: value["fields"]?.mapValue ?? [:], actor: value["actor"] ?? .null,
            cause: (value["cause"]?.arrayValue ?? []).compactMap(\.stringValue)
        )
    }
}
