import LunetteAPI
import LunetteLinux
import LunetteRuntime
import LunetteSpec

extension Engine {
    /// Brings the state and the machine together after whatever ended the last engine: adopts what runs, undoes what nobody owns.
    ///
    /// Order: containers first (what is adopted is owned), then ledger rows whose owner is gone; what the machine has that no row knows is
    /// swept while calls are answered already.
    /// - Throws: what the database throws. A single undo that fails is noted and stays in the ledger.
    func recover() async throws(LunetteError) {
        try await forEachConcurrently(Array(await state.containers.values)) { record async throws(LunetteError) in
            try await self.recover(record)
        }
        for row in await state.ledger.values { try await undo(row) }
        for record in await state.containers.values { await resume(record) }
        var changes = Changes()
        changes.events = [PendingEvent(name: "engine.ready", target: .init(kind: "engine", id: "engine", name: "engine"))]
        try await state.commit(changes)
        // Not waited for: it looks through all processes of the machine, and answers nothing that a caller asks.
        sweeping.start { [weak self] in await self?.sweepUnknown() }
    }

    /// Runs `body` for every item, sixteen at a time: adopting is mostly waiting for shims to answer.
    /// - Throws: the first failure, after all have ended.
    private func forEachConcurrently<Item: Sendable>(
        _ items: [Item], _ body: @escaping @Sendable (Item) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        let failure = await withTaskGroup(of: LunetteError?.self) { group in
            var first: LunetteError?
            for (index, item) in items.enumerated() {
                if index >= 16, let failed = await group.next() { first = first ?? failed }
                group.addTask {
                    do throws(LunetteError) { try await body(item) } catch { return error }
                    return nil
                }
            }
            for await failed in group { first = first ?? failed }
            return first
        }
        if let failure { throw failure }
    }

    /// Looks at what is there of a container that ran when the last engine ended.
    private func recover(_ record: ContainerRecord) async throws(LunetteError) {
        guard record.state.isAlive else { return try await recoverStart(record) }
        guard let run = record.run.flatMap(LunetteRuntime.ContainerRecord.init(value:)) else {
            try await lost(record, "nothing says how to find it")
            return
        }
        switch await host.adopt(run) {
        case .running(let container):
            if record.state.status == .paused {
                _ = try await state.apply(.resumed, to: record.id, note: ("adopted", "it was resumed meanwhile"))
            }
            await adopt(record, container)
        case .paused(let container):
            if record.state.status == .running {
                _ = try await state.apply(.paused, to: record.id, note: ("adopted", "it was paused meanwhile"))
            }
            await adopt(record, container)
        case .unmonitored(let container):
            await state.note(degraded: "its shim was killed: what it writes is lost, and how it ends will not be known", record.id)
            await adopt(record, container)
        case .exited(let exit):
            try await ended(record, ExitRecord(exit), note: ("exited", "while no engine ran"))
        case .created, .absent:
            try await lost(
                record, record.run?["shim"]?["boot_id"]?.stringValue == state.bootID ? "its shim was killed" : "the machine was restarted")
        }
    }

    /// A start whose engine died between the program's first instruction and the commit: it has happened, so it is committed now. The
    /// repetition of its request then finds it done instead of running the program a second time.
    private func recoverStart(_ record: ContainerRecord) async throws(LunetteError) {
        guard let row = await state.ledger[LedgerRow(.containerRun, record.id).key], let request = row.detail["request"]?.stringValue,
            request != record.startRequest, let value = row.detail["run"], let run = LunetteRuntime.ContainerRecord(value: value)
        else { return }
        var found: (any LiveContainer)?
        var ended: ContainerExit?
        switch await host.adopt(run) {
        case .running(let container), .paused(let container), .unmonitored(let container): found = container
        case .exited(let exit) where exit.reason != .startFailed: ended = exit
        case .exited, .created, .absent: return
        }
        var extra = Changes()
        if row.detail["function"]?.stringValue == "container.start" || row.detail["function"]?.stringValue == "container.restart" {
            var running = record
            running.notEnforced = run.notEnforced
            extra.outcomes = [Outcome(requestID: request, function: "container.start", result: .success(running.started(now: true)))]
        }
        let (started, effects) = try await state.apply(
            .started(pid: run.initProcess?.pid ?? 0), to: record.id, note: ("started", "found running"), extra: extra
        ) { record in
            record.run = value
            record.startRequest = request
            record.notEnforced = run.notEnforced
        }
        if let found {
            await supervisor.watch(record.id, found, effects: effects, record: started)
            await volumes.adopt(user: record.id, volumes: record.volumes)
        } else if let ended {
            try await self.ended(started, ExitRecord(ended), note: ("exited", "while no engine ran"))
        }
    }

    private func lost(_ record: ContainerRecord, _ why: String) async throws(LunetteError) {
        let exit = ExitRecord(code: 255, reason: .lost, finishedAt: clock.now(), message: why)
        try await ended(record, exit, note: ("lost", why))
    }

    /// Takes an exit that happened without an engine. What a lifecycle decides is asked when all is recovered.
    private func ended(_ record: ContainerRecord, _ exit: ExitRecord, note: (String, String?)) async throws(LunetteError) {
        let decides = await lifecycle(of: record)?.functions.contains(.exited) ?? false
        let (record, effects) = try await state.apply(decides ? .exitedUndecided(exit) : .exited(exit), to: record.id, note: note)
        await supervisor.carryOut(effects.filter { $0 != .decide }, record)
    }

    private func adopt(_ record: ContainerRecord, _ container: any LiveContainer) async {
        var effects: [ContainerState.Effect] = record.state.hasTimeLimit ? [.armTimeLimit] : []
        if let end = record.state.ownStateEnds { effects.append(.armOwnState(after: max(0, end.time - clock.now()))) }
        await supervisor.watch(record.id, container, effects: effects, record: record)
        await volumes.adopt(user: record.id, volumes: record.volumes)
    }

    /// Runs the undo of one ledger row, unless its owner lives.
    private func undo(_ row: LedgerRow) async throws(LunetteError) {
        let report: CleanupReport
        switch row.kind {
        case .containerRun:
            if let record = await state.containers[row.object], record.state.isAlive { return }
            await supervisor.waitForTeardown(row.object)
            guard await state.ledger[row.key] != nil else { return }
            report = await host.reap(id: row.object, storage: false)
        case .containerFiles:
            report = await host.reap(id: row.object, storage: true)
        case .volume:
            if await state.volumes[row.object] != nil {
                var changes = Changes()
                changes.closedLedger = [row.key]
                try await state.commit(changes)
                return
            }
            report = await volumes.undo(row)
        case .limits: report = await putLimitsBack(row)
        // Resident code goes on with these when it begins.
        case .unwanted: return
        case .imageRemoval:
            // Gone from the store: it has happened, and its repetition shall hear so. Still there: the repetition does it again.
            var changes = Changes()
            changes.closedLedger = [row.key]
            if let word = row.detail["image"]?.stringValue, try await images.find(word) == nil {
                let result: Value = ["untagged": [.string(word)], "removed": true, "reclaimed": 0]
                changes.outcomes = [Outcome(requestID: row.object, function: "image.remove", result: .success(result))]
            }
            try await state.commit(changes)
            return
        }
        if report.isClean {
            var changes = Changes()
            changes.closedLedger = [row.key]
            try await state.commit(changes)
        }
    }

    /// Sweeps what the machine has of containers that no row knows.
    private func sweepUnknown() async {
        do throws(LunetteError) {
            let survey = try await host.survey()
            // Read after looking: what exists had its row or its ledger row before it existed.
            let known = await state.containers
            let ledger = await state.ledger
            for id in survey.ids where known[id] == nil && ledger[LedgerRow(.containerFiles, id).key] == nil {
                if isClosing { return }
                _ = await host.reap(id: id, storage: true)
            }
        } catch {
            await state.log(
                PendingEvent(
                    name: "engine.sweep_failed", target: .init(kind: "engine", id: "engine", name: "engine"),
                    fields: ["reason": .string(error.message)]))
        }
    }

    /// Takes up what was pending: restarts, removals, the end of the script that a container was made for.
    private func resume(_ record: ContainerRecord) async {
        if let due = record.state.restartAt { await supervisor.carryOut([.restart(after: max(0, due - clock.now()))], record) }
        if record.state.awaitsDecision {
            await supervisor.carryOut([.decide], record)
        } else if record.state.removesOnExit, record.state.status == .stopped, record.state.restartAt == nil {
            await supervisor.carryOut([.remove], record)
        }
        guard record.sessionID != nil else { return }
        guard let owner = record.owner?.open() else {
            await removeAtScriptEnd(record.id)
            return
        }
        // The script may reconnect under a new session: from here on its process is what counts.
        own(
            Task { [weak self] in
                while !Task.isCancelled {
                    if await blocking({ owner.waitForExit(milliseconds: 1000) }) {
                        await self?.removeAtScriptEnd(record.id)
                        return
                    }
                }
            })
    }
}
