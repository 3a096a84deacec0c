import GRDB
import LunetteSpec

/// The log of events, read and waited for.
extension State {
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

    /// Puts an event of its own into the log. A failure to do so is lost: the log is where failures are told.
    func log(_ event: PendingEvent) {
        var changes = Changes()
        changes.events = [event]
        do throws(LunetteError) { try commit(changes) } catch {
            // The database can't be written, which every changing call says.
        }
    }
}
