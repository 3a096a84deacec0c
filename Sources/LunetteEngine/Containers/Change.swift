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
            let now = clock.now()
            do throws(LunetteError) {
                try await state.update(id, .desired, extra: changes) { record in
                    record.remember("renamed", "from \(record.name)", at: now)
                    record.name = name
                    record.spec = record.spec.merged(with: ["name": .string(name)])
                }
            } catch {
                await state.withdraw(name: name, kind: "container")
                throw error
            }
        }
        return .null
    }

    private func event(
        _ what: String, _ record: ContainerRecord, _ call: Call, name: String? = nil, fields: ValueMap = [:]
    ) -> PendingEvent {
        var fields = fields
        if !record.labels.isEmpty { fields["labels"] = .map(record.labels) }
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
        try await targets.withTarget("container/\(id)", for: call) { () async throws(LunetteError) in
            let record = try await state.container(id)
            var amended = wanted
            if await hooks.wants("container.update") {
                var question = question("container.update", record)
                question.spec = wanted
                question.isAmendable = true
                amended = try await hooks.ask(question, for: call)
            }
            try call.checkCancellation()
            _ = try await update(record, to: try ContainerSpec(record.spec.merged(with: amended)), call)
        }
        return .null
    }

    /// The caller holds the target.
    func update(_ record: ContainerRecord, to spec: ContainerSpec, _ call: Call) async throws(LunetteError) -> ContainerRecord {
        let old = try ContainerSpec(record.spec)
        if old.resources != spec.resources, record.state.isAlive {
            try await live(record).update(CgroupLimits(spec.resources))
        }
        var changes = Changes()
        changes.outcomes = [call.outcome(.null)]
        var merged = record.spec.mapValue ?? [:]
        for key in ["resources", "labels", "restart"] { merged[key] = spec.value[key] }
        var requested = record.requested.mapValue ?? [:]
        for key in ["resources", "labels", "restart"] { requested[key] = spec.value[key] }
        var updated = record
        updated.spec = .map(merged)
        changes.events = [event("container.updated", updated, call)]
        let (newSpec, newRequested, now) = (Value.map(merged), Value.map(requested), clock.now())
        return try await state.update(record.id, .desired, extra: changes) { record in
            record.spec = newSpec
            record.requested = newRequested
            record.state.policy = RestartPolicy(spec.restart)
            record.remember("updated", at: now)
        }
    }

    // MARK: Files

    func copyIntoContainer(_ call: Call) async throws(LunetteError) -> Value {
        let (record, source, destination) = try await copyArguments(call)
        try await targets.withTarget("container/\(record.id)", for: call) { () async throws(LunetteError) in
            try await host.copyIn(
                id: record.id, container: await supervisor.container(record.id), layers: try await layers(of: record), from: source,
                to: destination)
        }
        return .null
    }

    func copyOutOfContainer(_ call: Call) async throws(LunetteError) -> Value {
        let (record, source, destination) = try await copyArguments(call)
        try await host.copyOut(
            id: record.id, container: await supervisor.container(record.id), layers: try await layers(of: record), from: source,
            to: destination)
        return .null
    }

    private func copyArguments(_ call: Call) async throws(LunetteError) -> (ContainerRecord, String, String) {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let source = try arguments.required("source")
        let destination = try arguments.required("destination")
        try arguments.finish()
        return (try await state.container(word), source, destination)
    }

    private func layers(of record: ContainerRecord) async throws(LunetteError) -> [String] {
        guard let image = record.image else { return [] }
        return try await images.get(image.id).snapshotPaths
    }
}
