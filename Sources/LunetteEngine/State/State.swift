import GRDB
import LunetteLinux
import LunetteSpec
import Synchronization

/// Whether two paths lead to one folder.
private func isSameFolder(_ one: String, _ other: String) -> Bool {
    guard let first = try? fileStatus(-100, one, follow: true, label: one),
        let second = try? fileStatus(-100, other, follow: true, label: other)
    else { return false }
    return first.device == second.device && first.inode == second.inode
}

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
    private nonisolated let directory = Mutex(ContainerDirectory())
    nonisolated var knownContainers: [String: ContainerRecord] { directory.withLock { $0.records } }
    var containers: [String: ContainerRecord] { knownContainers }
    private var containerNames: [String: String] { directory.withLock { $0.names } }
    private(set) var volumes: [String: VolumeRecord] = [:]
    private var volumeNames: [String: String] = [:]
    private(set) var ledger: [String: LedgerRow] = [:]
    /// How far named resident handlers have come, by name.
    private(set) var cursors: [String: Int64] = [:]
    /// Names and id ranges promised to creations under way.
    private var promisedNames: Set<String> = []
    private var promisedRanges: Set<IDRange> = []
    private var madeBy: [String: String] = [:]
    /// Request ids with an outcome, or with a container or volume they made: tells without a hop whether a call is a repetition.
    nonisolated let knownRequests = Mutex<Set<String>>([])
    private var exitWaiters: [String: [Int: CheckedContinuation<Void, Never>]] = [:]

    private(set) var newestEvent: Int64 = 0
    private(set) var oldestEvent: Int64 = 1
    /// The last events, so that live readers don't go to the database.
    private var recentEvents: [LoggedEvent] = []
    private static let recentLimit = 512
    private var eventWaiters: [Int: CheckedContinuation<Void, Never>] = [:]
    private var nextWaiter = 0
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

    // MARK: Looking up

    /// By name, whole id, or a prefix of it that is unique and at least four digits long.
    /// - Throws: `not_found` with the nearest name; `invalid_argument` when a prefix means several.
    func container(_ word: String) throws(LunetteError) -> ContainerRecord {
        if let found = try findContainer(word) { return found }
        throw LunetteError(
            .notFound, "no container is called \"\(displayable(word, limit: 80))\"", target: word,
            hint: nearest(to: word, in: Array(containerNames.keys)).map { "did you mean \"\($0)\"?" }
                ?? "`lunette ps -a` lists all containers"
        )
    }

    nonisolated func findContainer(_ word: String) throws(LunetteError) -> ContainerRecord? {
        try directory.withLock { (directory) throws(LunetteError) in try directory.find(word) }
    }

    func volume(_ word: String) throws(LunetteError) -> VolumeRecord {
        if let found = try findVolume(word) { return found }
        throw LunetteError(
            .notFound, "no volume is called \"\(displayable(word, limit: 80))\"", target: word,
            hint: nearest(to: word, in: Array(volumeNames.keys)).map { "did you mean \"\($0)\"?" }
                ?? "`lunette volume ls` lists all volumes"
        )
    }

    func findVolume(_ word: String) throws(LunetteError) -> VolumeRecord? {
        try Self.find(word, in: volumes, names: volumeNames, kind: "volume")
    }

    static func find<Record>(
        _ word: String, in records: [String: Record], names: [String: String], kind: String
    ) throws(LunetteError) -> Record? {
        if let id = names[word] { return records[id] }
        if let record = records[word] { return record }
        guard word.utf8.count >= 4, word.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else { return nil }
        let matches = records.keys.filter { $0.hasPrefix(word) }
        guard matches.count <= 1 else {
            throw LunetteError(
                .invalidArgument, "\(matches.count) \(kind)s have ids that begin with \(word)", target: word, hint: "write more digits")
        }
        return matches.first.flatMap { records[$0] }
    }

    /// The containers whose spec uses a volume.
    func users(ofVolume id: String) -> [ContainerRecord] {
        containers.values.filter { $0.volumes.contains(id) }.sorted { $0.name < $1.name }
    }

    /// Ties this root to a state folder, where the sockets and folders of its containers are.
    /// - Throws: `invalid_state` when containers run whose own are in another.
    func use(stateFolder: String) throws(LunetteError) {
        let earlier = try database.stateFolder()
        guard earlier != stateFolder else { return }
        // What the record says was so when its engine died; a shim or a pid 1 that is there says it still is.
        let running = containers.values.filter { record in
            record.state.isAlive
                && ["shim", "init"].contains { record.run?[$0].flatMap(ProcessIdentity.init(value:))?.isAlive ?? false }
        }.map(\.name).sorted()
        if let earlier, let first = running.first, !isSameFolder(earlier, stateFolder) {
            throw LunetteError(
                .invalidState,
                "containers of this root were started with the state folder \(earlier) and run: \(first)"
                    + (running.count > 1 ? " and \(running.count - 1) more" : ""),
                hint: "--state \(earlier) (or LUNETTE_STATE) reaches them; another folder can be used when none runs")
        }
        try database.note(stateFolder: stateFolder)
    }

    func resident() throws(LunetteError) -> ResidentVersion? { try database.resident() }

    func outcome(_ requestID: String) throws(LunetteError) -> Outcome? { try database.outcome(requestID) }

    func containerMade(by requestID: String) -> ContainerRecord? { madeBy[requestID].flatMap { containers[$0] } }
    func volumeMade(by requestID: String) -> VolumeRecord? { madeBy[requestID].flatMap { volumes[$0] } }

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

    // MARK: Promises to creations under way

    /// Keeps a name for a creation, until it commits or takes it back.
    /// - Throws: `already_exists`.
    func promise(name: String, kind: String) throws(LunetteError) {
        let taken = kind == "container" ? containerNames[name] != nil : volumeNames[name] != nil
        guard !taken, promisedNames.insert("\(kind)/\(name)").inserted else {
            throw LunetteError(
                .alreadyExists, "a \(kind) called \"\(name)\" exists", target: name,
                hint: kind == "container" ? "remove it (`lunette rm \(name)`), or choose another name" : nil
            )
        }
    }

    /// Keeps a name that `isFree` said is free.
    func promiseFree(_ name: String) { promisedNames.insert("container/\(name)") }

    func isFree(containerName name: String) -> Bool { containerNames[name] == nil && !promisedNames.contains("container/\(name)") }

    /// Keeps the lowest free id range.
    /// - Throws: `resource_exhausted`.
    func promiseRange(reserved: [IDRange], count: UInt32 = IDRangeAllocator.size) throws(LunetteError) -> IDRange {
        if let shared = IDRangeAllocator.shared { return shared }
        let taken = containers.values.compactMap(\.idRange) + promisedRanges
        guard let range = IDRangeAllocator.choose(taken: taken, reserved: reserved, count: count) else {
            throw LunetteError(.resourceExhausted, "no range of \(count) ids is free", hint: "remove containers that are no longer used")
        }
        promisedRanges.insert(range)
        return range
    }

    /// Keeps a range that another container has already, for one that shares it.
    func keep(range: IDRange) { promisedRanges.insert(range) }

    func withdraw(name: String, kind: String) { promisedNames.remove("\(kind)/\(name)") }
    func withdraw(range: IDRange) { promisedRanges.remove(range) }

    // MARK: Events

    /// Reads the log.
    /// - Throws: `not_found` when events after `sequence` were pruned; the hint names the oldest kept.
    func events(after sequence: Int64, limit: Int) throws(LunetteError) -> [LoggedEvent] {
        if sequence >= newestEvent { return [] }
        guard sequence + 1 >= oldestEvent else {
            throw LunetteError(
                .notFound, "events after \(sequence) are no longer kept", hint: "the oldest is \(oldestEvent)",
                details: ["oldest": .int(oldestEvent)])
        }
        if let first = recentEvents.first, sequence + 1 >= first.sequence {
            let start = Int(sequence + 1 - first.sequence)
            return Array(recentEvents[start..<min(start + limit, recentEvents.count)])
        }
        return try database.events(after: sequence, limit: limit)
    }

    /// The sequence number after which the events since `time` come.
    func sequence(before time: Double) throws(LunetteError) -> Int64 {
        let result = try database.read { db in
            try Int64.fetchOne(db, sql: "SELECT MIN(sequence) FROM events WHERE time >= ?", arguments: [time])
        }
        return result.map { $0 - 1 } ?? newestEvent
    }

    /// Returns when an event after `sequence` was logged, or the task is cancelled, or the engine closes.
    func waitForEvent(after sequence: Int64) async {
        if newestEvent > sequence || Task.isCancelled { return }
        let id = nextWaiter
        nextWaiter += 1
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { continuation.resume() } else { eventWaiters[id] = continuation }
            }
        } onCancel: {
            Task { await self.wake(id) }
        }
    }

    private func wake(_ id: Int) { eventWaiters.removeValue(forKey: id)?.resume() }
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

extension State {
    /// Puts an event of its own into the log. A failure to do so is lost: the log is where failures are told.
    func log(_ event: PendingEvent) {
        var changes = Changes()
        changes.events = [event]
        do throws(LunetteError) { try commit(changes) } catch {
            // The database can't be written, which every changing call says.
        }
    }
}
