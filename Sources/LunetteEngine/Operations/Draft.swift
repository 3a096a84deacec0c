import LunetteAPI
import LunetteLinux
import LunetteSpec

/// What one call is about to make and to change: all of it comes about in one transaction, or nothing does.
///
/// ```
/// checks, hooks ─► draft ─► make: one commit of ledger rows ─► drivers' volumes, limits of what runs ─► commit: rows, events, outcome
///  names, ranges, targets       │ fails, is cancelled: withdraw, which undoes what the rows say            │ afterwards it stands
///  are kept for it              │ the engine dies: the next one undoes what the rows say
/// ```
struct Draft: Sendable {
    struct Name: Sendable, Hashable {
        var kind: String
        var name: String
    }

    /// Names and id ranges that are promised to it, targets that it holds.
    var names: Set<Name> = []
    var ranges: [IDRange] = []
    var targets: [String] = []

    var volumes: [VolumeRecord] = []
    var containers: [ContainerRecord] = []
    /// Of containers that start at once: saves the start a commit of its own.
    var runs: [LedgerRow] = []
    var updates: [DraftedUpdate] = []
    /// Labels of volumes that are there, by id.
    var volumeLabels: [String: ValueMap] = [:]

    /// What is undone as long as it isn't committed.
    fileprivate var rows: [LedgerRow] = []
    /// Volumes whose drivers have been asked to make them.
    fileprivate var begun = 0
    fileprivate var isCommitted = false

    var isEmpty: Bool { volumes.isEmpty && containers.isEmpty && updates.isEmpty && volumeLabels.isEmpty }
}

/// A change of a container that is there.
struct DraftedUpdate: Sendable {
    let id: String
    /// As it will be; what is observed meanwhile is the stored record's.
    var record: ContainerRecord
    /// By name what differs: `resources.memory`.
    let changed: [String]
    let old: ResourceSpec
    let spec: ContainerSpec
    /// What hooks have changed.
    let notes: [String]
    /// Whether limits of something that runs have to be set.
    let setsLimits: Bool
    /// They are as they shall be, or were about to be.
    fileprivate(set) var hasSetLimits = false
}

extension Engine {
    /// Runs `body` with an empty draft; what it hasn't committed is withdrawn.
    func drafted<T: Sendable>(_ call: Call, _ body: (inout Draft) async throws(LunetteError) -> T) async throws(LunetteError) -> T {
        var draft = Draft()
        do throws(LunetteError) {
            let result = try await body(&draft)
            await release(&draft)
            return result
        } catch {
            let failure = draft.isCommitted ? error : await withdraw(&draft, after: error)
            await release(&draft)
            throw failure
        }
    }

    /// Waits for a target and keeps it until the draft is through. Several are held in an order that is everybody's: by name.
    func hold(_ keys: some Sequence<String>, for call: Call, _ draft: inout Draft) async throws(LunetteError) {
        for key in Set(keys).subtracting(draft.targets).sorted() {
            try await targets.acquire(key, for: call)
            draft.targets.append(key)
        }
    }

    private func release(_ draft: inout Draft) async {
        for key in draft.targets.reversed() { await targets.release(key) }
        draft.targets = []
    }

    /// - Throws: `already_exists`.
    func promise(_ name: String, kind: String, _ draft: inout Draft) async throws(LunetteError) {
        try await state.promise(name: name, kind: kind)
        draft.names.insert(.init(kind: kind, name: name))
    }

    /// Does what has to be done outside of the database, under rows that tell how it is undone.
    func make(_ draft: inout Draft, _ call: Call) async throws(LunetteError) {
        let rows =
            draft.volumes.map(LedgerRow.init(making:))
            + draft.updates.filter(\.setsLimits).map { LedgerRow(.limits, $0.id, detail: $0.spec.value["resources"] ?? .map([:])) }
        guard !rows.isEmpty else { return }
        try call.checkCancellation()
        var intent = Changes()
        intent.ledger = rows
        try await state.commit(intent)
        draft.rows = rows
        faultPoint("volume.create.ledger")
        for index in draft.volumes.indices {
            try call.checkCancellation()
            draft.begun = index + 1
            let volume = draft.volumes[index]
            do throws(LunetteError) {
                draft.volumes[index].driverState = try await volumes.create(volume, operation: call.request.id)
            } catch {
                // Which of several it was.
                var failure = error
                failure.target = failure.target ?? volume.name
                throw failure
            }
            faultPoint("volume.create.made")
        }
        for index in draft.updates.indices where draft.updates[index].setsLimits {
            try call.checkCancellation()
            let update = draft.updates[index]
            draft.updates[index].hasSetLimits = true
            let limits = try await named(update.record) { () async throws(LunetteError) in
                try await live(update.record).update(from: update.old, to: update.spec.resources)
            }
            // What is no limit stays as it was told of at the start.
            draft.updates[index].record.notEnforced =
                update.record.notEnforced.filter { $0.field != "resources" && $0.limit == nil } + limits
            faultPoint("update.applied")
        }
    }

    /// - Parameter outcome: the call's; nil where what was made carries its request id.
    /// - Returns: what the updated containers have become, in their order.
    @discardableResult
    func commit(_ draft: inout Draft, _ call: Call, outcome: Value? = nil) async throws(LunetteError) -> [ContainerRecord] {
        var changes = Changes()
        changes.volumes = draft.volumes
        changes.containers = draft.containers
        changes.ledger = draft.runs
        changes.closedLedger = draft.rows.map(\.key)
        changes.events =
            draft.volumes.map { event("volume.created", of: $0, call) } + draft.containers.map { event("container.created", $0, call) }
            + draft.updates.map { event("container.updated", $0.record, call, fields: ["changed": .array($0.changed.map(Value.string))]) }
        if let outcome { changes.outcomes = [call.outcome(outcome)] }
        let now = clock.now()
        let committed = try await state.commit(
            changes, containers: draft.updates.map { update in (update.id, { update.carryOver(to: &$0, at: now) }) },
            volumes: draft.volumeLabels.map { id, labels in (id, { $0.labels = labels }) })
        draft.isCommitted = true
        return committed
    }

    /// Puts back what isn't committed: limits, volumes, names. What can't be put back keeps its row: the next engine tries again.
    /// - Returns: the failure to tell, with those of the undoing as causes.
    private func withdraw(_ draft: inout Draft, after failure: LunetteError) async -> LunetteError {
        var failure = failure
        var closing = Changes()
        for update in draft.updates where update.setsLimits {
            if update.hasSetLimits {
                do throws(LunetteError) {
                    _ = try await live(update.record).update(from: update.spec.resources, to: update.old)
                } catch {
                    // Ended meanwhile, it has none any more.
                    if error.code != .invalidState {
                        failure.causes.append(error)
                        continue
                    }
                }
            }
            closing.closedLedger.append(LedgerRow(.limits, update.id).key)
        }
        for (index, row) in draft.rows.enumerated().reversed() where row.kind == .volume {
            let isClean = index < draft.begun ? await volumes.undo(row).isClean : true
            if isClean { closing.closedLedger.append(row.key) }
        }
        if !draft.rows.isEmpty {
            do throws(LunetteError) { try await state.commit(closing) } catch {
                // The rows stay for the next recovery; the first error is the one to tell.
            }
        }
        for name in draft.names { await state.withdraw(name: name.name, kind: name.kind) }
        for range in draft.ranges { await state.withdraw(range: range) }
        return failure
    }

    private func event(_ what: String, of volume: VolumeRecord, _ call: Call) -> PendingEvent {
        PendingEvent(
            name: what, target: .init(kind: "volume", id: volume.id, name: volume.name),
            fields: ["labels": .map(volume.labels), "driver": .string(volume.driver)], actor: call.request.actor.value,
            cause: call.causeOfConsequences)
    }

    /// The undo of limits whose change never was committed: those of the record hold again.
    func putLimitsBack(_ row: LedgerRow) async -> CleanupReport {
        var report = CleanupReport()
        guard let record = await state.containers[row.object], record.state.isAlive, let container = await supervisor.container(record.id)
        else { return report }
        do throws(LunetteError) {
            let held = try ContainerSpec(record.spec)
            let wanted = try ContainerSpec(record.spec.with("resources", row.detail))
            _ = try await container.update(from: wanted.resources, to: held.resources)
            report.record(done: "limits of container \(record.name)")
        } catch {
            report.record("limits of container \(record.name)", failure: error)
            await state.note(degraded: "limits of a change that wasn't finished are in force: \(error.message)", record.id)
        }
        return report
    }
}

extension DraftedUpdate {
    /// Brings what was drafted into the record as it is now.
    fileprivate func carryOver(to record: inout ContainerRecord, at time: Double) {
        record.spec = self.record.spec
        record.requested = self.record.requested
        record.notEnforced = self.record.notEnforced
        record.state.policy = RestartPolicy(spec.restart)
        record.remember("updated", changed.joined(separator: ", "), at: time)
        for note in notes { record.remember("amended", note, at: time) }
    }
}

extension LedgerRow {
    /// The row of a volume that is about to be made.
    init(making record: VolumeRecord) {
        self.init(
            .volume, record.id,
            detail: ["name": .string(record.name), "driver": .string(record.driver), "options": .map(record.options)])
    }
}
