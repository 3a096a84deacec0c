import LunetteAPI
import LunetteImages
import LunetteLinux
import LunetteSpec

extension Functions {
    static let apply: [String: Function] = [
        "lunette.apply": .changing { engine, call, session async throws(LunetteError) in try await engine.applyObjects(call, session) }
    ]
}

/// What becomes of the objects of one `lunette.apply`.
private struct ApplyPlan: Sendable {
    /// A container that is there.
    struct Present: Sendable {
        var record: ContainerRecord
        let spec: ContainerSpec
        var comparison: Comparison
    }

    var newVolumes: [VolumeSpec] = []
    /// Those whose labels change.
    var volumes: [(record: VolumeRecord, spec: VolumeSpec)] = []
    /// Whose namespaces others share comes before them.
    var newContainers: [ContainerSpec] = []
    var containers: [Present] = []
    /// Handles of what is there, by name.
    var volumeHandles: ValueMap = [:]
    var containerHandles: ValueMap = [:]
    var conflicts: [(kind: String, name: String, comparison: Comparison)] = []
}

extension Engine {
    /// Makes volumes and containers as described and changes what may change, all of it or nothing; see `Draft`.
    func applyObjects(_ call: Call, _ session: Session) async throws(LunetteError) -> Value {
        let objects = try AppliedObjects(call.request.arguments)
        var volumes: [VolumeSpec] = []
        for (name, spec) in objects.volumes { volumes.append(try VolumeSpec(.map(spec), path: AppliedObjects.path("volume", name))) }
        var containers: [ContainerSpec] = []
        for (name, spec) in try objects.inOrder() {
            containers.append(try decodeSpec(.map(spec), path: AppliedObjects.path("container", name)))
        }
        let (wantedVolumes, wantedContainers) = (volumes, containers)
        return try await drafted(call) { draft async throws(LunetteError) in
            try await hold(objects.containers.map { "container-name/\($0.name)" }, for: call, &draft)
            try await hold(objects.volumes.map { "volume-name/\($0.name)" }, for: call, &draft)
            var plan = try await compare(wantedVolumes, wantedContainers, call)
            if let conflict = plan.conflict { throw conflict }
            try await holdChanging(&plan, call, &draft)
            try await check(plan, of: wantedContainers)
            if objects.isDry { return try await answer(plan, draft, isDry: true) }

            try await ask(plan, call, session, &draft)
            try call.checkCancellation()
            faultPoint("apply.asked")
            try await make(&draft, call)
            try call.checkCancellation()
            faultPoint("apply.made")
            let answer = try await answer(plan, draft)
            if !draft.isEmpty { try await commit(&draft, call, outcome: answer) }
            faultPoint("apply.committed")
            return answer
        }
    }

    // MARK: Comparing

    private func compare(
        _ volumes: [VolumeSpec], _ containers: [ContainerSpec], _ call: Call
    ) async throws(LunetteError) -> ApplyPlan {
        var plan = ApplyPlan()
        for spec in volumes {
            guard let record = try await state.findVolume(spec.name), record.name == spec.name else {
                plan.newVolumes.append(spec)
                continue
            }
            plan.volumeHandles[spec.name] = record.handle
            let comparison = record.comparison(with: spec)
            if comparison.isConflict { plan.conflicts.append(("volume", spec.name, comparison)) }
            if !comparison.isSame { plan.volumes.append((record, spec)) }
        }
        for spec in containers {
            let name = spec.name!
            let found = try state.findContainer(name).flatMap { $0.name == name ? $0 : nil }
            try call.checkJudged(name, about: found?.id)
            guard let record = found else {
                plan.newContainers.append(spec)
                continue
            }
            plan.containerHandles[name] = record.handle
            let comparison = record.comparison(with: spec)
            if comparison.isConflict { plan.conflicts.append(("container", name, comparison)) }
            if !comparison.isSame { plan.containers.append(.init(record: record, spec: spec, comparison: comparison)) }
        }
        return plan
    }

    /// Keeps others from the containers that will change; what they were changed to meanwhile is compared anew.
    private func holdChanging(_ plan: inout ApplyPlan, _ call: Call, _ draft: inout Draft) async throws(LunetteError) {
        try await hold(plan.containers.map { "container/\($0.record.id)" }, for: call, &draft)
        for index in plan.containers.indices {
            let present = plan.containers[index]
            guard let record = await state.containers[present.record.id], record.name == present.record.name else {
                throw LunetteError(
                    .conflict, "the container \(present.record.name) was removed or renamed while the call waited",
                    target: present.record.name, hint: "ask again")
            }
            plan.containers[index].record = record
            plan.containers[index].comparison = record.comparison(with: present.spec)
        }
        plan.containers.removeAll(where: \.comparison.isSame)
    }

    /// Looks for what new containers name before anybody is asked anything.
    private func check(_ plan: ApplyPlan, of all: [ContainerSpec]) async throws(LunetteError) {
        let names = Set(all.compactMap(\.name))
        for spec in plan.newContainers {
            try await within(spec) { () async throws(LunetteError) in
                _ = try await image(of: spec)
                try await checkLifecycle(spec)
                try checkBinds(spec)
                for (field, name) in spec.shared where !names.contains(name) {
                    do throws(LunetteError) { _ = try await state.container(name) } catch {
                        var error = error
                        error.path = "spec.\(field)"
                        throw error
                    }
                }
            }
        }
    }

    /// Runs what knows a container's spec by itself; its errors get the path in this call.
    private func within<T: Sendable>(_ spec: ContainerSpec, _ body: () async throws(LunetteError) -> T) async throws(LunetteError) -> T {
        do throws(LunetteError) { return try await body() } catch {
            var error = error
            if let path = error.path {
                let inside = path == "spec" ? "" : path.hasPrefix("spec.") ? "." + path.dropFirst(5) : "." + path
                error.path = AppliedObjects.path("container", spec.name!) + inside
            }
            throw error
        }
    }

    // MARK: Asking

    /// Asks the hooks about each thing that would be made or changed, and drafts what they let pass.
    private func ask(_ plan: ApplyPlan, _ call: Call, _ session: Session, _ draft: inout Draft) async throws(LunetteError) {
        for spec in plan.newVolumes {
            let record = try await draftVolume(spec, call, requestID: "\(call.request.id)/volume/\(spec.name)", &draft)
            try refuseRenamed("volume", spec.name, to: record.name)
        }
        for (record, spec) in plan.volumes { draft.volumeLabels[record.id] = spec.labels }
        var wanted: [WantedContainer] = []
        for spec in plan.newContainers {
            let container = try await within(spec) { () async throws(LunetteError) in try await askForContainer(spec, call, &draft) }
            try refuseRenamed("container", spec.name!, to: container.spec.name)
            wanted.append(container)
        }
        for present in plan.containers {
            let change = try await asked(present.comparison.change, of: present.record, call)
            draft.updates.append(try draftUpdate(present.record, by: change, requested: present.spec.value))
        }
        try await holdMissingVolumes(of: wanted.map(\.spec), call, &draft)
        for container in wanted {
            let requestID = "\(call.request.id)/container/\(container.spec.name!)"
            try await within(container.spec) { () async throws(LunetteError) in
                try await draftContainer(container, call, session, requestID: requestID, &draft)
            }
        }
    }

    /// What is applied is found again by its name.
    private func refuseRenamed(_ kind: String, _ name: String, to other: String?) throws(LunetteError) {
        guard other != name else { return }
        throw LunetteError(
            .conflict, "a hook gives the \(kind) \(name) the name \(displayable(other ?? "", limit: 80)): the next apply wouldn't find it",
            target: name, hint: "let the hook leave the name, or deny")
    }

    // MARK: Answering

    private func answer(_ plan: ApplyPlan, _ draft: Draft, isDry: Bool = false) async throws(LunetteError) -> Value {
        var (volumes, containers) = (plan.volumeHandles, plan.containerHandles)
        var changed: [String] = []
        var made = draft.volumes.filter { !$0.isAnonymous }.map(\.name)
        if isDry { made = try await volumesToMake(plan) }
        for record in draft.volumes where plan.newVolumes.contains(where: { $0.name == record.name }) {
            volumes[record.name] = record.handle
        }
        for record in draft.containers { containers[record.name] = record.handle }
        changed += made.map { "volume \($0): made" }
        changed += plan.volumes.map { "volume \($0.spec.name): labels" }
        changed += (isDry ? plan.newContainers.map { $0.name! } : draft.containers.map(\.name)).map { "container \($0): made" }
        if isDry {
            for present in plan.containers {
                let update = try draftUpdate(present.record, by: present.comparison.change, requested: present.spec.value)
                changed.append("container \(present.record.name): \(update.changed.joined(separator: ", "))")
            }
        } else {
            changed += draft.updates.map { "container \($0.record.name): \($0.changed.joined(separator: ", "))" }
        }
        return ["volumes": .map(volumes), "containers": .map(containers), "changed": .array(changed.map(Value.string))]
    }

    /// Those of the call, and those that only mounts name.
    private func volumesToMake(_ plan: ApplyPlan) async throws(LunetteError) -> [String] {
        var names = plan.newVolumes.map(\.name)
        for mount in plan.newContainers.flatMap(\.mounts) where mount.kind == .volume && !mount.source.isEmpty {
            if names.contains(mount.source) { continue }
            if try await state.findVolume(mount.source) == nil { names.append(mount.source) }
        }
        return names
    }
}

extension ApplyPlan {
    /// One error that names all that is in the way.
    fileprivate var conflict: LunetteError? {
        guard let first = conflicts.first else { return nil }
        var error = first.comparison.conflict(first.kind, first.name, path: AppliedObjects.path(first.kind, first.name))
        if conflicts.count > 1 {
            let shown = conflicts.prefix(10).map { "\($0.kind) \($0.name) (\($0.comparison.fixed.joined(separator: ", ")))" }
            error?.message =
                "\(conflicts.count) objects exist with what can't change while they exist: \(shown.joined(separator: ", "))"
                + (conflicts.count > 10 ? " and \(conflicts.count - 10) more" : "")
            error?.hint = "remove them first, or apply under other names"
        }
        error?.details = [
            "conflicts": .array(
                conflicts.map {
                    ["kind": .string($0.kind), "name": .string($0.name), "fields": .array($0.comparison.fixed.map(Value.string))]
                })
        ]
        return error
    }
}

extension ContainerSpec {
    /// The containers whose namespaces it shares, by field.
    fileprivate var shared: [(field: String, name: String)] {
        [("network", network), ("pid", pid), ("ipc", ipc)].compactMap { field, mode in
            if case .container(let name) = mode { (field, name) } else { nil }
        }
    }
}
