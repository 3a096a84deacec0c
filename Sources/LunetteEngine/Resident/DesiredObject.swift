import LunetteAPI
import LunetteSpec

/// One object that resident code wants there to be: `container.apply("web", { … })` while it is loaded.
struct DesiredObject: Sendable {
    let kind: String
    let name: String
    /// Those of `container.apply`, `volume.apply` …
    let arguments: Value
    /// Where it is written: `web.lua:3`.
    let place: String
    /// The script's.
    let script: String

    /// - Parameter value: as the script's host gives it.
    /// - Throws: `invalid_argument` with the place.
    init(_ value: Value, script: ResidentScript) throws(LunetteError) {
        let line = value["line"]?.intValue
        place = "\(value["file"]?.stringValue ?? script.file)\(line.map { ":\($0)" } ?? "")"
        self.script = script.name
        let function = value["function"]?.stringValue ?? ""
        arguments = value["arguments"] ?? .map([:])
        do throws(LunetteError) {
            guard let described = APIRegistry.function(function), function.hasSuffix(".apply") else {
                throw LunetteError(.invalidArgument, "\(displayable(function, limit: 60)) is no function that says what shall be there")
            }
            try APIRegistry.check(arguments, for: described)
            guard let name = arguments["name"]?.stringValue else { throw LunetteError(.invalidArgument, "is required", path: "name") }
            (kind, self.name) = (String(function.dropLast(6)), name)
        } catch {
            var failure = error
            failure.message = "\(place): \(failure.path.map { "\($0): " } ?? "")\(failure.message)"
            failure.path = nil
            throw failure
        }
    }

    var key: String { "\(kind)/\(name)" }
}

/// What bringing an object about would do, or has done.
struct ObjectChange: Sendable {
    enum Action: String, Sendable {
        case create, update, same
        /// It is there with something that can't be changed.
        case conflict
        /// No longer wanted: taken away, or left where it is.
        case remove, leave
    }

    var kind: String
    var name: String
    var action: Action
    /// What differs, as `resources.memory`.
    var fields: [String] = []
    var place: String?
    /// What a container that is created or changed has of the machine: `privileged`, `spec.mounts[1].source: "/"`.
    var reaches: [String] = []
    /// Why it didn't come about.
    var error: LunetteError?

    var value: Value {
        var map: ValueMap = [
            "kind": .string(kind), "name": .string(name), "action": .string(action.rawValue), "fields": .array(fields.map(Value.string)),
        ]
        map["place"] = place.map(Value.string)
        if !reaches.isEmpty { map["reaches"] = .array(reaches.map(Value.string)) }
        map["error"] = error.map { .string($0.description) }
        return .map(map)
    }
}

/// How resident code reaches the engine's objects.
struct ObjectSteps: Sendable {
    /// What `bring` would do.
    var compare: @Sendable (DesiredObject) async throws(LunetteError) -> ObjectChange = { object in
        ObjectChange(kind: object.kind, name: object.name, action: .same)
    }
    var bring: @Sendable (DesiredObject) async throws(LunetteError) -> Void = { _ in }
    /// Takes an object away that a script no longer wants: kind, name, script.
    var drop: @Sendable (String, String, String) async throws(LunetteError) -> Void = { _, _, _ in }
}

extension Engine {
    var objectSteps: ObjectSteps {
        ObjectSteps(
            compare: { [weak self] object async throws(LunetteError) in
                guard let self else { throw LunetteError(.invalidState, "the engine is closing") }
                return try await self.change(for: object)
            },
            bring: { [weak self] object async throws(LunetteError) in
                try await self?.call("\(object.kind).apply", object.arguments, place: object.place)
            },
            drop: { [weak self] kind, name, script async throws(LunetteError) in
                if kind == "container" { try await self?.call("container.stop", ["container": .string(name)], place: script) }
                try await self?.call("\(kind).remove", .map([kind: .string(name)]), place: script)
            })
    }

    /// A call that resident code is the actor of.
    private func call(_ function: String, _ arguments: Value, place: String) async throws(LunetteError) {
        let session = try open(Session(engine: self, receiver: nil, isInternal: true))
        let request = APIRequest(
            id: "resident-" + Identifier.short(), function: function, arguments: arguments,
            actor: Actor(uid: 0, gid: 0, pid: 0, script: place))
        do throws(LunetteError) { _ = try await session.call(request, files: [], onChunk: nil) } catch {
            await session.close()
            throw error
        }
        await session.close()
    }

    private func change(for object: DesiredObject) async throws(LunetteError) -> ObjectChange {
        var change = ObjectChange(kind: object.kind, name: object.name, action: .create, place: object.place)
        switch object.kind {
        case "container":
            var map = object.arguments["spec"]?.mapValue ?? [:]
            map["name"] = .string(object.name)
            let spec = try decodeSpec(.map(map))
            change.reaches = spec.reaches + APIRegistry.hostPaths(in: object.arguments, for: APIRegistry.function("container.apply")!)
            guard let record = try state.findContainer(object.name), record.name == object.name else { return change }
            let (updatable, fixed) = record.differences(from: spec)
            change.action = fixed.isEmpty ? updatable.isEmpty ? .same : .update : .conflict
            change.fields = fixed.isEmpty ? updatable : fixed
        case "volume":
            let spec = try VolumeSpec(object.arguments)
            guard let record = try await state.findVolume(spec.name), record.name == spec.name else { return change }
            let fixed = record.fixedDifferences(from: spec)
            change.action = fixed.isEmpty ? record.labels == spec.labels ? .same : .update : .conflict
            change.fields = fixed.isEmpty ? record.labels == spec.labels ? [] : ["labels"] : fixed
        default: throw LunetteError(.unsupported, "\(object.place): \(object.kind).apply isn't built yet")
        }
        return change
    }
}

extension ContainerRecord {
    /// The fields in which a spec differs from what was asked for: those that can change on a container that is there, and those that can't.
    func differences(from spec: ContainerSpec) -> (updatable: [String], fixed: [String]) {
        let wanted = spec.value.mapValue ?? [:]
        let present = requested.mapValue ?? [:]
        let differing = Set(wanted.keys).union(present.keys).filter { wanted[$0] != present[$0] }.sorted()
        return (differing.filter(Engine.updatable.contains), differing.filter { !Engine.updatable.contains($0) })
    }

    /// What `container.update` would be given to make of what was asked for what is asked for now: null where something goes.
    func change(to spec: ContainerSpec) -> Value {
        let wanted = spec.value
        var change = ValueMap()
        for key in Engine.updatable where wanted[key] != requested[key] {
            if key == "restart" {
                change[key] = wanted[key] ?? .null
                continue
            }
            let (now, before) = (wanted[key]?.mapValue ?? [:], requested[key]?.mapValue ?? [:])
            var fields = ValueMap()
            for name in Set(now.keys).union(before.keys).sorted() where now[name] != before[name] { fields[name] = now[name] ?? .null }
            change[key] = .map(fields)
        }
        return .map(change)
    }
}

extension VolumeRecord {
    /// The fields in which a spec differs that can't change on a volume that is there.
    func fixedDifferences(from spec: VolumeSpec) -> [String] {
        [("driver", driver != spec.driver), ("size", size != spec.size), ("options", options != spec.options)].filter(\.1).map(\.0)
    }
}
