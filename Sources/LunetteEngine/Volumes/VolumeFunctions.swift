import LunetteAPI
import LunetteLinux
import LunettePlugins
import LunetteSpec
import Synchronization

extension Functions {
    static let volumes: [String: Function] = [
        "volume.create": .changing { engine, call, _ async throws(LunetteError) in try await engine.createVolume(call).handle },
        "volume.apply": .changing { engine, call, _ async throws(LunetteError) in try await engine.applyVolume(call).handle },
        "volume.get": .reading { engine, call, _ async throws(LunetteError) in try await engine.volumeTarget(call).handle },
        "volume.find": .reading { engine, call, _ async throws(LunetteError) in try await engine.findVolume(call)?.handle ?? .null },
        "volume.list": .reading { engine, call, _ async throws(LunetteError) in .array(try await engine.matchingVolumes(call).map(\.handle))
        },
        "volume.inspect_all": .reading { engine, call, _ async throws(LunetteError) in
            var result: [Value] = []
            for record in try await engine.matchingVolumes(call) { result.append(await engine.describe(record)) }
            return .array(result)
        },
        "volume.inspect": .reading { engine, call, _ async throws(LunetteError) in
            await engine.describe(try await engine.volumeTarget(call))
        },
        "volume.remove": .changing { engine, call, _ async throws(LunetteError) in try await engine.removeVolume(call) },
        "volume.prune": .changing { engine, call, _ async throws(LunetteError) in try await engine.pruneVolumes(call) },
        "volume.usage": .reading { engine, call, _ async throws(LunetteError) in
            let record = try await engine.volumeTarget(call)
            return try await engine.volumes.usage(record, operation: call.request.id).value
        },
        "volume.users": .reading { engine, call, _ async throws(LunetteError) in
            let record = try await engine.volumeTarget(call)
            return .array(await engine.state.users(ofVolume: record.id).map(\.handle))
        },
    ]
}

/// What `volume.create` is asked for.
struct VolumeSpec: Sendable, Hashable {
    var name: String
    var driver = "local"
    var size: Int64?
    var labels: ValueMap = [:]
    var options: ValueMap = [:]

    init(name: String) { self.name = name }

    /// - Parameter path: where it stands in what was written.
    init(_ value: Value, path: String = "") throws(LunetteError) {
        var reader = try FieldReader(value, path: path)
        name = try reader.required("name")
        try Names.validate(name, kind: "volume", path: reader.path(of: "name"))
        driver = try reader.string("driver") ?? "local"
        size = try reader.size("size")
        for (key, value) in try reader.stringMap("labels") ?? [] { labels[key] = .string(value) }
        options = reader.value("options")?.mapValue ?? [:]
        try reader.finish()
    }

    var value: Value {
        var map: ValueMap = ["name": .string(name), "driver": .string(driver), "labels": .map(labels), "options": .map(options)]
        map["size"] = size.map(Value.int)
        return .map(map)
    }
}

extension Engine {
    func volumeTarget(_ call: Call) async throws(LunetteError) -> VolumeRecord {
        var arguments = try call.arguments()
        let word = try arguments.target("volume")
        try arguments.finish()
        return try await state.volume(word)
    }

    func findVolume(_ call: Call) async throws(LunetteError) -> VolumeRecord? {
        var arguments = try call.arguments()
        let word = try arguments.target("volume")
        try arguments.finish()
        return try await state.findVolume(word)
    }

    func matchingVolumes(_ call: Call) async throws(LunetteError) -> [VolumeRecord] {
        var arguments = try call.arguments()
        let labels = try LabelFilter(reading: &arguments)
        let driver = try arguments.string("driver")
        try arguments.finish()
        return await state.volumes.values.filter { record in
            (driver == nil || driver == record.driver) && labels.matches(record.labels)
        }.sorted { $0.name < $1.name }
    }

    func describe(_ record: VolumeRecord) async -> Value {
        var map: ValueMap = [
            "id": .string(record.id), "name": .string(record.name), "driver": .string(record.driver), "labels": .map(record.labels),
            "options": .map(record.options), "created_at": .double(record.createdAt), "anonymous": .bool(record.isAnonymous),
            "users": .array(await state.users(ofVolume: record.id).map { .string($0.name) }),
        ]
        map["size"] = record.size.map(Value.int)
        return .map(map)
    }

    // MARK: Making

    func createVolume(_ call: Call) async throws(LunetteError) -> VolumeRecord {
        if state.knownRequests.withLock({ $0.contains(call.request.id) }), let made = await state.volumeMade(by: call.request.id) {
            return made
        }
        return try await createVolume(try VolumeSpec(call.request.arguments), call, requestID: call.request.id)
    }

    /// Makes a volume: hooks, the ledger's row, the driver's `create`, the row.
    private func createVolume(_ spec: VolumeSpec, _ call: Call, requestID: String) async throws(LunetteError) -> VolumeRecord {
        try await drafted(call) { draft async throws(LunetteError) in
            try await draftVolume(spec, call, requestID: requestID, &draft)
            try await make(&draft, call)
            try await commit(&draft, call)
            if requestID == call.request.id { call.markOutcomeStored() }
            return draft.volumes[0]
        }
    }

    /// Asks the hooks and keeps the name; nothing is made yet.
    @discardableResult
    func draftVolume(
        _ asked: VolumeSpec, _ call: Call, requestID: String, isAnonymous: Bool = false, _ draft: inout Draft
    ) async throws(LunetteError) -> VolumeRecord {
        var spec = asked
        let id = Identifier.short()
        if await hooks.wants("volume.create") {
            let amended = try await hooks.ask(
                .init(
                    event: "volume.create", target: .init(kind: "volume", id: id, name: spec.name), spec: spec.value, labels: spec.labels,
                    driver: spec.driver,
                    isAmendable: true, isOfNew: true), for: call, normalise: { value throws(LunetteError) in try VolumeSpec(value).value })
            spec = try VolumeSpec(amended)
        }
        // A driver that isn't there, or doesn't load, is told before anything is written.
        _ = try await plugins.volumeDriver(spec.driver)
        try call.checkCancellation()
        try await promise(spec.name, kind: "volume", &draft)
        let record = VolumeRecord(
            id: id, name: spec.name, driver: spec.driver, size: spec.size, labels: spec.labels, options: spec.options,
            createdAt: clock.now(), requestID: requestID, isAnonymous: isAnonymous)
        draft.volumes.append(record)
        return record
    }

    func applyVolume(_ call: Call) async throws(LunetteError) -> VolumeRecord {
        let spec = try VolumeSpec(call.request.arguments)
        return try await targets.withTarget("volume-name/\(spec.name)", for: call) { () async throws(LunetteError) in
            guard let record = try await state.findVolume(spec.name) else {
                return try await createVolume(spec, call, requestID: call.request.id)
            }
            let comparison = record.comparison(with: spec)
            if let conflict = comparison.conflict("volume", spec.name, path: "") { throw conflict }
            if !comparison.isSame { try await state.updateVolume(record.id, .desired) { $0.labels = spec.labels } }
            return try await state.volume(record.id)
        }
    }

    // MARK: Removing

    func removeVolume(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("volume")
        let force = try arguments.bool("force") ?? false
        try arguments.finish()
        let record = try await state.volume(word)
        try await removeVolume(record, force: force, call)
        return .null
    }

    func askForRemoval(of record: VolumeRecord, _ call: Call) async throws(LunetteError) {
        guard await hooks.wants("volume.remove") else { return }
        _ = try await hooks.ask(
            .init(
                event: "volume.remove", target: .init(kind: "volume", id: record.id, name: record.name), spec: await describe(record),
                labels: record.labels, driver: record.driver), for: call)
    }

    /// - Parameter isAsked: whether the hooks have let it pass already.
    /// - Throws: `invalid_state` that names the users.
    func removeVolume(_ record: VolumeRecord, force: Bool, isAsked: Bool = false, _ call: Call) async throws(LunetteError) {
        try await targets.withTarget("volume/\(record.id)", for: call) { () async throws(LunetteError) in
            let users = await state.users(ofVolume: record.id).map(\.name)
            guard users.isEmpty else {
                throw LunetteError(
                    .invalidState,
                    "remove volume \(record.name): in use by \(users.prefix(5).joined(separator: ", "))\(users.count > 5 ? " and \(users.count - 5) more" : "")",
                    target: record.name, hint: "remove those containers first", details: ["users": .array(users.map(Value.string))])
            }
            if !isAsked { try await askForRemoval(of: record, call) }
            try call.checkCancellation()
            // The row goes first, under a ledger row that names the driver: a death in between is finished by recovery.
            let row = LedgerRow(
                .volume, record.id,
                detail: [
                    "name": .string(record.name), "driver": .string(record.driver), "options": .map(record.options),
                    "state": record.driverState,
                ])
            if !force { _ = try await plugins.volumeDriver(record.driver) }
            var changes = Changes()
            changes.removedVolumes = [record.id]
            changes.ledger = [row]
            changes.outcomes = [call.outcome(.null)]
            changes.events = [
                PendingEvent(
                    name: "volume.removed", target: .init(kind: "volume", id: record.id, name: record.name),
                    fields: ["labels": .map(record.labels), "driver": .string(record.driver)], actor: call.request.actor.value,
                    cause: call.causeOfConsequences)
            ]
            try await state.commit(changes, .desired)
            faultPoint("volume.remove.committed")
            let report = await volumes.undo(row)
            if let error = report.error, !force { throw error }
            var closing = Changes()
            closing.closedLedger = [row.key]
            try await state.commit(closing)
        }
    }

    func pruneVolumes(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let labels = try LabelFilter(reading: &arguments)
        try arguments.finish()
        return try await pruneVolumes(labels: labels, call)
    }

    func pruneVolumes(labels: LabelFilter, _ call: Call) async throws(LunetteError) -> Value {
        var removed: [Value] = []
        var reclaimed: Int64 = 0
        for record in await state.volumes.values.sorted(by: { $0.name < $1.name }) {
            guard labels.matches(record.labels), await state.users(ofVolume: record.id).isEmpty
            else { continue }
            let usage = try? await volumes.usage(record, operation: call.request.id)  // Only for the figure in the answer.
            do throws(LunetteError) { try await removeVolume(record, force: false, call.part()) } catch {
                // Taken by a new container in this moment, or kept by a hook: neither is prune's to decide.
                if error.code == .invalidState || error.code == .denied { continue }
                throw error
            }
            removed.append(.string(record.name))
            reclaimed += usage?.used ?? 0
        }
        return ["removed": .array(removed), "reclaimed": .int(reclaimed)]
    }
}
