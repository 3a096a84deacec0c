import LunetteLinux
import LunetteSpec
import Synchronization

/// The engine's memory: what the database holds, held ready. The one writer of it.
///
/// Everything runs on one thread of its own, and nothing here awaits between reading and committing: each call is atomic. What is
/// read is what was committed.
actor State {
    nonisolated let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let database: Database
    nonisolated let clock: any EngineClock
    nonisolated let bootID: String

    /// For readers on any thread: what they ask for doesn't wait for a commit that is on its way to the disk.
    nonisolated let directory = Mutex(ContainerDirectory())
    nonisolated var knownContainers: [String: ContainerRecord] { directory.withLock { $0.records } }
    var containers: [String: ContainerRecord] { knownContainers }
    var containerNames: [String: String] { directory.withLock { $0.names } }
    private(set) var volumes: [String: VolumeRecord] = [:]
    var volumeNames: [String: String] = [:]
    private(set) var ledger: [String: LedgerRow] = [:]
    /// How far named resident handlers have come, by name.
    private(set) var cursors: [String: Int64] = [:]
    /// Names and id ranges promised to creations under way.
    var promisedNames: Set<String> = []
    var promisedRanges: Set<IDRange> = []
    var madeBy: [String: String] = [:]
    /// Request ids with an outcome, or with a container or volume they made: tells without a hop whether a call is a repetition.
    nonisolated let knownRequests = Mutex<Set<String>>([])
    private var exitWaiters: [String: [Int: CheckedContinuation<Void, Never>]] = [:]

    private(set) var newestEvent: Int64 = 0
    private(set) var oldestEvent: Int64 = 1
    /// The last events, so that live readers don't go to the database.
    var recentEvents: [LoggedEvent] = []
    private static let recentLimit = 512
    var eventWaiters: [Int: CheckedContinuation<Void, Never>] = [:]
    var nextWaiter = 0
    private var commitsSincePrune = 0
    /// How much each store of a script holds, from its first change on.
    var storeSizes: [String: StoreSize] = [:]
    var lastStoreVersion: Int64 = 0
    private let eventLimit: Int
    private let outcomeLimit: Int
    /// Commits since the engine opened, by durability: what the start path costs is counted in the tests.
    private(set) var commits: (observed: Int, desired: Int) = (0, 0)

    /// - Throws: as `Database.init`.
    init(path: String, clock: any EngineClock, bootID: String, eventLimit: Int, outcomeLimit: Int) async throws(LunetteError) {
        executor = ThreadExecutor(name: "lunette-state")
        self.clock = clock
        self.bootID = bootID
        self.eventLimit = eventLimit
        self.outcomeLimit = outcomeLimit
        do {
            database = try Database(path: path)
        } catch {
            executor.close()
            throw error
        }
        try load()
    }

    private func load() throws(LunetteError) {
        let known = try database.containers()
        directory.withLock { directory in for record in known { directory.add(record) } }
        for record in try database.volumes() {
            volumes[record.id] = record
            volumeNames[record.name] = record.id
        }
        for row in try database.ledger() { ledger[row.key] = row }
        cursors = try database.cursors()
        lastStoreVersion = try database.newestStoreVersion()
        for record in containers.values { madeBy[record.requestID] = record.id }
        for record in volumes.values { madeBy[record.requestID] = record.id }
        let requests = try Set(database.outcomeIDs()).union(madeBy.keys)
        knownRequests.withLock { $0 = requests }
        (oldestEvent, newestEvent) = try database.eventBounds()
    }

    /// Prunes, writes the log back into the file and ends the thread.
    func close() throws(LunetteError) {
        defer { executor.close() }
        for waiter in eventWaiters.values { waiter.resume() }
        eventWaiters = [:]
        for id in Array(exitWaiters.keys) { wakeExitWaiters(id) }
        try database.prune(events: eventLimit, outcomes: outcomeLimit)
        try database.close()
    }

    func integrityProblems() throws(LunetteError) -> [String] { try database.integrityProblems() }

    // MARK: Committing

    /// Commits `changes` as one transaction, then lets readers see them.
    /// - Returns: the events with their sequence numbers.
    @discardableResult
    func commit(_ changes: Changes, _ durability: Changes.Durability = .observed) throws(LunetteError) -> [LoggedEvent] {
        if changes.isEmpty { return [] }
        let now = clock.now()
        let first = newestEvent + 1
        try database.write(changes, firstSequence: first, now: now, bootID: bootID, durability: durability)
        if durability == .desired { commits.desired += 1 } else { commits.observed += 1 }
        let removed = directory.withLock { directory in
            for record in changes.containers { directory.add(record) }
            return changes.removedContainers.compactMap { directory.remove($0) }
        }
        for record in changes.containers {
            promisedNames.remove("container/\(record.name)")
            if let range = record.idRange { promisedRanges.remove(range) }
            madeBy[record.requestID] = record.id
            if !record.state.isAlive, record.state.exit != nil { wakeExitWaiters(record.id) }
        }
        for old in removed {
            madeBy[old.requestID] = nil
            wakeExitWaiters(old.id)
        }
        for record in changes.volumes {
            if let old = volumes[record.id], old.name != record.name { volumeNames[old.name] = nil }
            volumes[record.id] = record
            volumeNames[record.name] = record.id
            promisedNames.remove("volume/\(record.name)")
            madeBy[record.requestID] = record.id
        }
        for id in changes.removedVolumes { if let old = volumes.removeValue(forKey: id) { volumeNames[old.name] = nil } }
        for row in changes.ledger {
            var row = row
            row.bootID = bootID
            ledger[row.key] = row
        }
        for key in changes.closedLedger { ledger[key] = nil }
        for (name, sequence) in changes.cursors { cursors[name] = sequence }
        for name in changes.removedCursors { cursors[name] = nil }
        if !changes.outcomes.isEmpty || !changes.containers.isEmpty || !changes.volumes.isEmpty {
            knownRequests.withLock { known in
                for outcome in changes.outcomes { known.insert(outcome.requestID) }
                for record in changes.containers { known.insert(record.requestID) }
                for record in changes.volumes { known.insert(record.requestID) }
            }
        }
        let logged = changes.events.enumerated().map { LoggedEvent(sequence: first + Int64($0.offset), time: now, event: $0.element) }
        if !logged.isEmpty { publish(logged) }
        return logged
    }

    /// Commits what a call has made together with what it changes: of what is there the record of this moment is changed, for what was
    /// observed meanwhile stays.
    /// - Parameters:
    ///   - updates: of containers, by id.
    ///   - volumeUpdates: of volumes, by id.
    /// - Returns: the updated containers, in their order.
    /// - Throws: `not_found` when one of them is gone, or what a new container needs.
    func commit(
        _ changes: Changes, containers updates: [(id: String, body: @Sendable (inout ContainerRecord) -> Void)],
        volumes volumeUpdates: [(id: String, body: @Sendable (inout VolumeRecord) -> Void)]
    ) throws(LunetteError) -> [ContainerRecord] {
        var changes = changes
        for record in changes.containers {
            let isWhole =
                record.volumes.allSatisfy { id in volumes[id] != nil || changes.volumes.contains { $0.id == id } }
                && record.shares.values.allSatisfy { id in containers[id] != nil || changes.containers.contains { $0.id == id } }
            guard isWhole else {
                throw LunetteError(
                    .notFound, "a volume or container that \(record.name) needs was removed meanwhile", target: record.name,
                    hint: "ask again")
            }
        }
        var updated: [ContainerRecord] = []
        for (id, body) in updates {
            guard var record = containers[id] else { throw LunetteError(.notFound, "no container with the id \(id)", target: id) }
            body(&record)
            updated.append(record)
        }
        changes.containers += updated
        for (id, body) in volumeUpdates {
            guard var record = volumes[id] else { throw LunetteError(.notFound, "no volume with the id \(id)", target: id) }
            body(&record)
            changes.volumes.append(record)
        }
        try commit(changes, .desired)
        return updated
    }

    private func publish(_ logged: [LoggedEvent]) {
        newestEvent = logged.last!.sequence
        recentEvents += logged
        if recentEvents.count > 2 * State.recentLimit { recentEvents.removeFirst(recentEvents.count - State.recentLimit) }
        let waiters = eventWaiters
        eventWaiters = [:]
        for waiter in waiters.values { waiter.resume() }
        commitsSincePrune += logged.count
        // A quarter over the limit at most: pruning in big steps keeps it off the usual commit.
        if commitsSincePrune > eventLimit / 4 {
            commitsSincePrune = 0
            do { try database.prune(events: eventLimit, outcomes: outcomeLimit) } catch {
                // Pruning is tidiness; the commit that led here stands, and a disk that fails says so at the next commit.
            }
            oldestEvent = max(oldestEvent, newestEvent - Int64(eventLimit) + 1)
        }
    }

    /// Runs the state machine of one container and commits what it became, with its events, in one transaction.
    /// - Parameters:
    ///   - note: a line for the container's history.
    ///   - update: changes other facts of the record (name, degraded …) in the same commit.
    ///   - extra: further changes of the same step (ledger rows, the call's outcome).
    /// - Returns: the new record and what the caller must now carry out.
    /// - Throws: `not_found` when the container is gone; what the machine and the database throw. Nothing changed then.
    func apply(
        _ event: ContainerState.Event, to id: String, note: (String, String?)? = nil, durability: Changes.Durability = .observed,
        extra: Changes = Changes(), fields: ValueMap = [:], actor: Value = .null, cause: [String] = [],
        update: (@Sendable (inout ContainerRecord) -> Void)? = nil
    ) throws(LunetteError) -> (record: ContainerRecord, effects: [ContainerState.Effect]) {
        guard var record = containers[id] else { throw LunetteError(.notFound, "no container with the id \(id)", target: id) }
        let now = clock.now()
        let effects = try record.state.apply(event, now: now)
        if let note { record.remember(note.0, note.1, at: now) }
        update?(&record)
        var changes = extra
        changes.containers.append(record)
        for case .emit(let name) in effects {
            var fields = fields
            if let exit = record.state.exit, name == "container.exited" || name == "container.oom" { fields["exit"] = exit.value }
            if name == "container.oom" {
                fields["kills"] = .int(Int64(record.state.oomKills))
                fields["policy"] = record.spec["resources"]?["oom"]
            }
            for (key, value) in record.eventFields { fields[key] = value }
            changes.events.append(
                PendingEvent(
                    name: name, target: .init(kind: "container", id: id, name: record.name), fields: fields, actor: actor, cause: cause))
        }
        try commit(changes, durability)
        return (record, effects)
    }

    /// Tells a container's machine how a health check ended; commits only what has changed.
    /// - Throws: as `apply`.
    func note(check failure: String?, of id: String) throws(LunetteError) -> [ContainerState.Effect] {
        guard let record = containers[id] else { throw LunetteError(.notFound, "no container with the id \(id)", target: id) }
        var next = record.state
        let effects = try next.apply(.checked(failure: failure), now: clock.now())
        if next == record.state { return [] }
        let isNews = next.health.status != record.state.health.status
        _ = try apply(
            .checked(failure: failure), to: id, note: isNews ? (next.health.status.rawValue, failure) : nil,
            fields: failure.map { ["failures": .int(Int64(next.health.failures)), "message": .string($0)] } ?? [:])
        return effects
    }

    /// Changes facts of a container that the state machine doesn't know (name, degraded, profile).
    @discardableResult
    func update(
        _ id: String, _ durability: Changes.Durability = .observed, extra: Changes = Changes(),
        _ body: @Sendable (inout ContainerRecord) -> Void
    ) throws(LunetteError) -> ContainerRecord {
        guard var record = containers[id] else { throw LunetteError(.notFound, "no container with the id \(id)", target: id) }
        body(&record)
        var changes = extra
        changes.containers.append(record)
        try commit(changes, durability)
        return record
    }

    func updateVolume(
        _ id: String, _ durability: Changes.Durability = .observed, extra: Changes = Changes(),
        _ body: @Sendable (inout VolumeRecord) -> Void
    ) throws(LunetteError) {
        guard var record = volumes[id] else { throw LunetteError(.notFound, "no volume with the id \(id)", target: id) }
        body(&record)
        var changes = extra
        changes.volumes.append(record)
        try commit(changes, durability)
    }

    // MARK: Waiting

    /// Returns when the container has stopped or is gone, or the task is cancelled; at once when it has stopped already.
    func waitForExit(_ id: String) async {
        guard let record = containers[id], record.state.isAlive || record.state.exit == nil, !Task.isCancelled else { return }
        let number = nextWaiter
        nextWaiter += 1
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { continuation.resume() } else { exitWaiters[id, default: [:]][number] = continuation }
            }
        } onCancel: {
            Task { await self.wakeExitWaiter(id, number) }
        }
    }

    /// Waits as `waitForExit` and reads the exit in the same turn; nil when the container is gone or the task was cancelled.
    func exit(of id: String) async -> ExitRecord? {
        await waitForExit(id)
        return Task.isCancelled ? nil : containers[id]?.state.exit
    }

    private func wakeExitWaiter(_ id: String, _ number: Int) { exitWaiters[id]?.removeValue(forKey: number)?.resume() }
    private func wakeExitWaiters(_ id: String) { for waiter in (exitWaiters.removeValue(forKey: id) ?? [:]).values { waiter.resume() } }

}

extension State {
    /// Notes on a container that something holds less well than asked. Never fails: it is itself the report of a failure.
    func note(degraded reason: String, _ id: String) {
        do throws(LunetteError) {
            try update(id) { record in if !record.degraded.contains(reason) { record.degraded.append(reason) } }
        } catch {
            // The container is gone, or the database can't be written, which every other call says.
        }
    }
}
