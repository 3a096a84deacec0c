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
    /// - Returns: several of a `lunette.apply`, volumes first.
    /// - Throws: `invalid_argument` with the place.
    static func all(_ value: Value, script: ResidentScript) throws(LunetteError) -> [DesiredObject] {
        let line = value["line"]?.intValue
        let place = "\(value["file"]?.stringValue ?? script.file)\(line.map { ":\($0)" } ?? "")"
        let function = value["function"]?.stringValue ?? ""
        let arguments = value["arguments"] ?? .map([:])
        do throws(LunetteError) {
            guard let described = APIRegistry.function(function), function.hasSuffix(".apply") else {
                throw LunetteError(.invalidArgument, "\(displayable(function, limit: 60)) is no function that says what shall be there")
            }
            try APIRegistry.check(arguments, for: described)
            guard function == "lunette.apply" else {
                guard let name = arguments["name"]?.stringValue else { throw LunetteError(.invalidArgument, "is required", path: "name") }
                return [DesiredObject(kind: described.noun, name: name, arguments: arguments, place: place, script: script.name)]
            }
            let objects = try AppliedObjects(arguments)
            guard !objects.isDry else {
                throw LunetteError(
                    .invalidArgument, "has no meaning in what shall be there", path: "dry_run", hint: "lunette plan says what would be done"
                )
            }
            return try objects.calls().map { call in
                let noun = String(call.function.prefix { $0 != "." })
                return DesiredObject(kind: noun, name: call.name, arguments: call.arguments, place: place, script: script.name)
            }
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

    mutating func take(_ comparison: Comparison) {
        action = comparison.isSame ? .same : comparison.isConflict ? .conflict : .update
        fields = comparison.isConflict ? comparison.fixed : comparison.updatable
    }

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
            change.take(record.comparison(with: spec))
        case "volume":
            let spec = try VolumeSpec(object.arguments)
            guard let record = try await state.findVolume(spec.name), record.name == spec.name else { return change }
            change.take(record.comparison(with: spec))
        default: throw LunetteError(.unsupported, "\(object.place): \(object.kind).apply isn't built yet")
        }
        return change
    }
}
