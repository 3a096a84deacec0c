import LunetteAPI
import LunetteImages
import LunetteLinux
import LunetteRuntime
import LunetteSpec

extension Engine {
    func renameContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let name = try arguments.required("name")
        try arguments.finish()
        try Names.validate(name, kind: "container", path: "name")
        let id = try await state.container(word).id
        try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            if record.name == name { return }
            try await state.promise(name: name, kind: "container")
            var changes = Changes()
            changes.outcomes = [call.outcome(.null)]
            changes.events = [
                event("container.renamed", record, call, name: name, fields: ["old_name": .string(record.name)])
            ]
            changes.containers = await state.sharers(of: id, renamed: name)
            let now = clock.now()
            do throws(LunetteError) {
                try await state.update(id, .desired, extra: changes) { record in
                    record.remember("renamed", "from \(record.name)", at: now)
                    record.name = name
                    record.spec = record.spec.merged(with: ["name": .string(name)])
                    record.requested = record.requested.merged(with: ["name": .string(name)])
                }
            } catch {
                await state.withdraw(name: name, kind: "container")
                throw error
            }
        }
        return .null
    }

    func event(
        _ what: String, _ record: ContainerRecord, _ call: Call, name: String? = nil, fields: ValueMap = [:]
    ) -> PendingEvent {
        var fields = fields
        for (key, value) in record.eventFields { fields[key] = value }
        return PendingEvent(
            name: what, target: .init(kind: "container", id: record.id, name: name ?? record.name), fields: fields,
            actor: call.request.actor.value,
            cause: call.causeOfConsequences)
    }

    /// Changes limits, labels and restart policy; limits at once when it runs.
    func updateContainer(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        var change: ValueMap = [:]
        for key in ["resources", "labels", "restart"] { change[key] = arguments.value(key) }
        try arguments.finish()
        guard !change.isEmpty else {
            throw LunetteError(.invalidArgument, "nothing is to be changed", hint: "give resources, labels or restart")
        }
        let wanted = Value.map(change)
        let id = try await state.container(word).id
        return try await targets.withTarget("container/\(id)", for: call, orCause: call.isMadeByLifecycle(of: id)) {
            () async throws(LunetteError) in
            let record = try await state.container(id)
            let amended = try await asked(wanted, of: record, call)
            let changed = amended.spec["resources"]?.mapValue ?? [:]
            let answer = { @Sendable (record: ContainerRecord) -> Value in ["not_enforced": record.lacking(asked: changed)] }
            let requested = try ContainerSpec(record.requested.merged(with: wanted)).value
            return answer(
                try await update(record, by: amended.spec, requested: requested, notes: amended.notes, call, answer: answer))
        }
    }

    /// A change as the hooks let it be. The caller holds the target.
    func asked(_ wanted: Value, of record: ContainerRecord, _ call: Call) async throws(LunetteError) -> Hooks.Amended {
        var amended = Hooks.Amended(spec: wanted)
        if await hooks.wants("container.update") {
            var question = question("container.update", record)
            question.spec = try Self.normalised(wanted, of: record)
            question.isAmendable = true
            amended = try await hooks.amended(question, for: call) { change throws(LunetteError) in
                try Self.normalised(change, of: record)
            }
        }
        try call.checkCancellation()
        return amended
    }

    /// The caller holds the target. A limit that the kernel refuses changes nothing.
    /// - Parameters:
    ///   - change: what differs, null where something goes.
    ///   - asked: what is asked for now, hooks' amendments aside: what a later `apply` is compared with.
    ///   - notes: what hooks have changed, for the history.
    ///   - answer: what the call's repetition gets.
    func update(
        _ record: ContainerRecord, by change: Value, requested asked: Value, notes: [String], _ call: Call,
        answer: (ContainerRecord) -> Value
    ) async throws(LunetteError) -> ContainerRecord {
        try await drafted(call) { draft async throws(LunetteError) in
            draft.updates = [try draftUpdate(record, by: change, requested: asked, notes: notes)]
            try await make(&draft, call)
            return try await commit(&draft, call, outcome: answer(draft.updates[0].record))[0]
        }
    }

    /// - Throws: `invalid_argument` for what the change makes of the spec.
    func draftUpdate(
        _ record: ContainerRecord, by change: Value, requested asked: Value, notes: [String]
    ) throws(LunetteError) -> DraftedUpdate {
        let old = try ContainerSpec(record.spec)
        let spec = try ContainerSpec(record.spec.merged(with: change))
        let value = spec.value
        var updated = record
        for key in Self.updatable {
            updated.spec = updated.spec.with(key, value[key])
            updated.requested = updated.requested.with(key, asked[key])
        }
        return DraftedUpdate(
            id: record.id, record: updated, changed: Self.changes(from: record.spec, to: value), old: old.resources, spec: spec,
            notes: notes, setsLimits: old.resources != spec.resources && record.state.isAlive)
    }

    /// A change as it will be made: sizes as bytes, a restart policy with all its fields; null where something is taken away.
    /// - Throws: `invalid_argument` for what can't be changed so.
    static func normalised(_ change: Value, of record: ContainerRecord) throws(LunetteError) -> Value {
        try checkUpdatable(change)
        let whole = try ContainerSpec(record.spec.merged(with: change)).value
        var result = ValueMap()
        for (key, part) in change.mapValue ?? [:] {
            // A policy is one thing: what isn't said of it is its default.
            result[key] = key == "restart" ? whole[key] ?? .null : named(part, in: whole[key])
        }
        return .map(result)
    }

    /// What a handler adds beside that would be lost without a word.
    private static func checkUpdatable(_ change: Value) throws(LunetteError) {
        for key in change.mapValue?.keys ?? [] where !updatable.contains(key) {
            throw LunetteError(
                .invalidArgument, "an update can't change it", path: displayable(key, limit: 40),
                hint: "an update changes " + updatable.joined(separator: ", "))
        }
    }

    /// Of a whole the fields that a part names; null stands for those that it hasn't.
    private static func named(_ part: Value, in whole: Value?) -> Value {
        guard case .map(let fields) = part else { return whole ?? .null }
        var result = ValueMap()
        for (key, field) in fields { result[key] = named(field, in: whole?[key]) }
        return .map(result)
    }

    static let updatable = ["resources", "labels", "restart"]

    /// The fields that differ, by name: `resources.memory`, `labels.app`, `restart`.
    private static func changes(from old: Value, to new: Value) -> [String] {
        updatable.flatMap { key -> [String] in
            let (before, after) = (old[key], new[key])
            if before == after { return [] }
            guard key != "restart" else { return [key] }
            let names = Set((before?.mapValue ?? [:]).keys).union((after?.mapValue ?? [:]).keys).sorted()
            return names.filter { before?[$0] != after?[$0] }.map { "\(key).\(displayable($0, limit: 64))" }
        }
    }

    /// A failure of the runtime's, which knows only ids, under the container's name.
    func named<T: Sendable>(
        _ record: ContainerRecord, _ body: () async throws(LunetteError) -> T
    ) async throws(LunetteError) -> T {
        do throws(LunetteError) { return try await body() } catch {
            var error = error
            error.message = error.message.replacing(record.id, with: record.name)
            if error.target == record.id { error.target = record.name }
            throw error
        }
    }

    // MARK: Files

    func copyIntoContainer(_ call: Call) async throws(LunetteError) -> Value {
        let (id, copy) = try await copyArguments(call)
        try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            try await copying(id, copy) { (container, files) async throws(LunetteError) in
                try await host.copyIn(id: id, container: container, files: files, from: copy.source, to: copy.destination)
            }
        }
        return .null
    }

    /// Queued like what writes: a start would mount the layers that a stopped container's files are read from.
    func copyOutOfContainer(_ call: Call) async throws(LunetteError) -> Value {
        let (id, copy) = try await copyArguments(call)
        try await targets.withTarget("container/\(id)", for: call, orCause: true) { () async throws(LunetteError) in
            try await copying(id, copy) { (container, files) async throws(LunetteError) in
                try await host.copyOut(id: id, container: container, files: files, from: copy.source, to: copy.destination)
            }
        }
        return .null
    }

    private struct CopyArguments {
        var source: String
        var destination: String
        var keepsOwners: Bool
        var followsLink: Bool
    }

    private func copyArguments(_ call: Call) async throws(LunetteError) -> (id: String, CopyArguments) {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let copy = CopyArguments(
            source: try arguments.required("source"), destination: try arguments.required("destination"),
            keepsOwners: try arguments.bool("archive") ?? false, followsLink: try arguments.bool("follow_link") ?? false)
        try arguments.finish()
        return (try await state.container(word).id, copy)
    }

    /// Runs a copy; once more where the container ended in this moment: then its files are a stopped one's.
    private func copying(
        _ id: String, _ copy: CopyArguments, _ body: ((any LiveContainer)?, CopyFiles) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        let (container, files) = try await copySides(id, copy)
        do throws(LunetteError) { try await body(container, files) } catch {
            guard error.code == .invalidState, container != nil else { throw error }
            await waitForExit(id, seconds: 5)
            let (now, files) = try await copySides(id, copy)
            guard now == nil else {
                // Its processes run on, and the kernel shows the root of none through a leader that is a zombie.
                throw LunetteError(
                    .invalidState, "copy files of \(files.name): the first thread of its pid 1 has ended", target: files.name,
                    hint: "copy from inside (lunette exec), or stop the container first")
            }
            try await body(nil, files)
        }
    }

    private func waitForExit(_ id: String, seconds: Double) async {
        await withTaskGroup(of: Void.self) { [state, clock] group in
            group.addTask { await state.waitForExit(id) }
            // Cancelled when the exit came first.
            group.addTask { try? await clock.sleep(seconds) }
            await group.next()
            group.cancelAll()
        }
    }

    /// What there is to copy from or to, now that the target is held: it may have been started, ended or removed while this waited.
    private func copySides(_ id: String, _ copy: CopyArguments) async throws(LunetteError) -> ((any LiveContainer)?, CopyFiles) {
        let record = try await state.container(id)
        if record.isPod {
            throw LunetteError(
                .unsupported, "copy files of \(record.name): a pod has none", target: record.name, hint: "name one of its containers")
        }
        var files = CopyFiles(name: record.name, layers: [], keepsOwners: copy.keepsOwners, followsLink: copy.followsLink)
        if let image = record.image { files.layers = try await images.get(image.id).snapshotPaths }
        files.rootfs = record.spec["rootfs"]?.stringValue
        let container = await supervisor.container(id)
        // The shim's overlay goes with the shim: until then its upper and work are in use.
        if container == nil { await supervisor.waitForTeardown(id) }
        return (container, files)
    }
}

extension Value {
    /// A table with one of its fields set, or taken away.
    func with(_ key: String, _ field: Value?) -> Value {
        var map = mapValue ?? [:]
        map[key] = field
        return .map(map)
    }
}
