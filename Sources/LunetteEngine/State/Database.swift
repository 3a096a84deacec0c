import Foundation
import GRDB
import LunetteLinux
import LunetteSpec

/// The SQLite file and its statements. Not Sendable: the `State` actor alone holds it, on its own thread.
final class Database {
    private let queue: DatabaseQueue
    let path: String
    private var synchronous = Changes.Durability.observed

    /// The path of a database in memory: gone with its engine.
    static let inMemory = ":memory:"

    /// Opens or makes the database and brings it to this version.
    /// - Throws: `unsupported` when it is from a newer Lunette, `io` when it is damaged or can't be written, `resource_exhausted` when the disk is full.
    init(path: String) throws(LunetteError) {
        self.path = path
        if path != Self.inMemory { try Self.keepPrivate(path) }
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(5)
            configuration.prepareDatabase { db in
                try db.execute(sql: "PRAGMA journal_mode=WAL")
                try db.execute(sql: "PRAGMA synchronous=NORMAL")
                try db.execute(sql: "PRAGMA wal_autocheckpoint=4000")
                // KiB: the engine holds what it reads, and the system the file.
                try db.execute(sql: "PRAGMA cache_size=-256")
            }
            queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = Migrations.migrator
            // One query decides on the usual path; the migrator's own checks cost milliseconds.
            let known = migrator.migrations
            let applied = try queue.read { db in
                try db.tableExists("grdb_migrations") ? String.fetchAll(db, sql: "SELECT identifier FROM grdb_migrations") : []
            }
            guard Set(applied).isSubset(of: known) else {
                throw LunetteError(
                    .unsupported, "open the state database \(path): it was written by a newer version of Lunette",
                    hint: "use that version again, or give this one another --root; nothing was changed"
                )
            }
            if applied.count < known.count { try migrator.migrate(queue) }
        } catch {
            throw Database.failure(error, "open the state database \(path)")
        }
    }

    /// What containers are told in their variables is in there: nobody else's to read, whatever the umask of whoever hosts the engine. SQLite
    /// gives its other files the mode of the first (findCreateFileMode in os_unix.c).
    private static func keepPrivate(_ path: String) throws(LunetteError) {
        let parts = path.pathParts
        guard let name = parts.last.map(String.init) else { return }
        try atBorder("open the state database \(path)") { () throws(SystemCallError) in
            let folder = try Directory("/" + parts.dropLast().joined(separator: "/"))
            try folder.keepPrivate(name, creates: true)
            for suffix in ["-wal", "-shm"] { try folder.keepPrivate(name + suffix, creates: false) }
        }
    }

    func close() throws(LunetteError) {
        do { try queue.close() } catch { throw Database.failure(error, "close the state database \(path)") }
    }

    /// Runs `body` in one transaction.
    func write<T>(_ durability: Changes.Durability, _ body: (GRDB.Database) throws -> T) throws(LunetteError) -> T {
        do {
            return try queue.writeWithoutTransaction { db in
                if durability != synchronous {
                    try db.execute(sql: durability == .desired ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL")
                    synchronous = durability
                }
                var result: T?
                try db.inTransaction(.immediate) {
                    result = try body(db)
                    return .commit
                }
                return result!
            }
        } catch {
            throw Database.failure(error, "write the state database \(path)")
        }
    }

    func read<T>(_ body: (GRDB.Database) throws -> T) throws(LunetteError) -> T {
        do { return try queue.writeWithoutTransaction(body) } catch { throw Database.failure(error, "read the state database \(path)") }
    }

    /// Says what SQLite found wrong with the file; empty when it is whole.
    func integrityProblems() throws(LunetteError) -> [String] {
        try read { db in try String.fetchAll(db, sql: "PRAGMA integrity_check(20)") }.filter { $0 != "ok" }
    }

    static func failure(_ error: any Error, _ what: String) -> LunetteError {
        if let error = error as? LunetteError { return error }
        guard let error = error as? DatabaseError else { return LunetteError(.io, "\(what): \(error)") }
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return LunetteError(
                .io, "\(what): the file is damaged (\(error.message ?? "not a database"))",
                hint:
                    "nothing was changed; restore it from a backup, or move it away with its -wal and -shm files to start with empty state"
            )
        case .SQLITE_FULL:
            return LunetteError(.resourceExhausted, "\(what): the disk is full", hint: "make room below the root directory, then repeat")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            return LunetteError(.io, "\(what): it can't be written", hint: "is the root directory on a read-only file system?")
        case .SQLITE_CANTOPEN:
            return LunetteError(.io, "\(what): it can't be opened or made", hint: "is the root directory writable?")
        case .SQLITE_BUSY:
            return LunetteError(.conflict, "\(what): another program has locked it")
        case .SQLITE_CONSTRAINT:
            return LunetteError(.alreadyExists, "\(what): \(error.message ?? "a name is taken")")
        default:
            return LunetteError(.io, "\(what): \(error.message ?? "SQLite error \(error.extendedResultCode.rawValue)")")
        }
    }
}

extension Database {
    /// Writes `changes`; events get `firstSequence` and up.
    func write(_ changes: Changes, firstSequence: Int64, now: Double, bootID: String, durability: Changes.Durability) throws(LunetteError) {
        try write(durability) { db in
            for record in changes.containers {
                try db.cachedStatement(
                    sql: """
                        INSERT INTO containers (id, name, id_base, record) VALUES (?, ?, ?, ?)
                        ON CONFLICT (id) DO UPDATE SET name = excluded.name, id_base = excluded.id_base, record = excluded.record
                        """
                ).execute(arguments: [
                    record.id, record.name,
                    // One range, one owner: who shares namespaces has another's.
                    record.sharesRangeOf == nil ? record.idRange.map { Int64($0.first) } : nil, Data(record.encoded),
                ])
            }
            for id in changes.removedContainers {
                try db.cachedStatement(sql: "DELETE FROM containers WHERE id = ?").execute(arguments: [id])
            }
            for record in changes.volumes {
                try db.cachedStatement(
                    sql: """
                        INSERT INTO volumes (id, name, record) VALUES (?, ?, ?)
                        ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record
                        """
                ).execute(arguments: [record.id, record.name, Data(record.encoded)])
            }
            for id in changes.removedVolumes {
                try db.cachedStatement(sql: "DELETE FROM volumes WHERE id = ?").execute(arguments: [id])
            }
            for (offset, event) in changes.events.enumerated() {
                try db.cachedStatement(sql: "INSERT INTO events (sequence, time, name, body) VALUES (?, ?, ?, ?)")
                    .execute(arguments: [firstSequence + Int64(offset), now, event.name, Data(event.encoded)])
            }
            for row in changes.ledger {
                try db.cachedStatement(
                    sql: "INSERT OR REPLACE INTO ledger (key, kind, object, boot_id, detail) VALUES (?, ?, ?, ?, ?)"
                ).execute(arguments: [row.key, row.kind.rawValue, row.object, bootID, Data(MessagePack.encode(row.detail))])
            }
            for key in changes.closedLedger {
                try db.cachedStatement(sql: "DELETE FROM ledger WHERE key = ?").execute(arguments: [key])
            }
            if let version = changes.resident {
                try db.cachedStatement(sql: "INSERT OR REPLACE INTO resident (number, version) VALUES (1, ?)")
                    .execute(arguments: [Data(version.encoded)])
            }
            for (name, sequence) in changes.cursors {
                try db.cachedStatement(sql: "INSERT OR REPLACE INTO cursors (name, sequence) VALUES (?, ?)").execute(arguments: [
                    name, sequence,
                ])
            }
            for name in changes.removedCursors {
                try db.cachedStatement(sql: "DELETE FROM cursors WHERE name = ?").execute(arguments: [name])
            }
            for change in changes.store { try write(change, db) }
            for outcome in changes.outcomes {
                let (failed, bytes): (Bool, [UInt8]) =
                    switch outcome.result {
                    case .success(let value): (false, MessagePack.encode(value))
                    case .failure(let error): (true, MessagePack.encode(error.value))
                    }
                try db.cachedStatement(sql: "INSERT OR IGNORE INTO requests (id, function, failed, outcome) VALUES (?, ?, ?, ?)")
                    .execute(arguments: [outcome.requestID, outcome.function, failed, Data(bytes)])
            }
        }
    }

    func containers() throws(LunetteError) -> [ContainerRecord] {
        try read { db in
            try Data.fetchAll(db, sql: "SELECT record FROM containers").map { try ContainerRecord(encoded: Array($0)) }
        }
    }

    func volumes() throws(LunetteError) -> [VolumeRecord] {
        try read { db in try Data.fetchAll(db, sql: "SELECT record FROM volumes").map { try VolumeRecord(encoded: Array($0)) } }
    }

    func ledger() throws(LunetteError) -> [LedgerRow] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT kind, object, boot_id, detail FROM ledger").compactMap { row in
                guard let kind = LedgerRow.Kind(rawValue: row[0]) else { return nil }
                var entry = LedgerRow(kind, row[1], detail: try MessagePack.decode(Array(row[3] as Data)))
                entry.bootID = row[2]
                return entry
            }
        }
    }

    /// The state folder that this root was used with last.
    func stateFolder() throws(LunetteError) -> String? {
        try read { db in try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'state_folder'") }
    }

    func note(stateFolder: String) throws(LunetteError) {
        try write(.desired) { db in
            try db.execute(sql: "INSERT OR REPLACE INTO meta VALUES ('state_folder', ?)", arguments: [stateFolder])
        }
    }

    /// The resident code that was loaded last.
    func resident() throws(LunetteError) -> ResidentVersion? {
        try read { db in
            try Data.fetchOne(db, sql: "SELECT version FROM resident").map { try ResidentVersion(encoded: Array($0)) }
        }
    }

    /// How far named resident handlers have come.
    func cursors() throws(LunetteError) -> [String: Int64] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT name, sequence FROM cursors").reduce(into: [:]) { $0[$1[0]] = $1[1] }
        }
    }

    func outcomeIDs() throws(LunetteError) -> [String] { try read { db in try String.fetchAll(db, sql: "SELECT id FROM requests") } }

    /// The outcome of an earlier call with this request id.
    func outcome(_ requestID: String) throws(LunetteError) -> Outcome? {
        try read { db in
            guard
                let row = try Row.fetchOne(
                    db.cachedStatement(sql: "SELECT function, failed, outcome FROM requests WHERE id = ?"), arguments: [requestID])
            else { return nil }
            let value = try MessagePack.decode(Array(row[2] as Data))
            return Outcome(
                requestID: requestID, function: row[0], result: (row[1] as Bool) ? .failure(LunetteError(value: value)) : .success(value))
        }
    }

    /// Events with a greater sequence number, oldest first.
    func events(after sequence: Int64, limit: Int) throws(LunetteError) -> [LoggedEvent] {
        try read { db in
            let statement = try db.cachedStatement(
                sql: "SELECT sequence, time, name, body FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?")
            // Row by row: what lasts of one is only what is made of it.
            let rows = try Row.fetchCursor(statement, arguments: [sequence, limit])
            var events: [LoggedEvent] = []
            while let row = try rows.next() {
                let body = try row.withUnsafeData(atIndex: 3) { Array($0 ?? Data()) }
                events.append(LoggedEvent(sequence: row[0], time: row[1], event: try PendingEvent(name: row[2], encoded: body)))
            }
            return events
        }
    }

    /// The oldest and the newest sequence number kept; (1, 0) when there is none.
    func eventBounds() throws(LunetteError) -> (oldest: Int64, newest: Int64) {
        try read { db in
            // Two index look-ups; MIN and MAX in one query would walk the table.
            let oldest = try Int64.fetchOne(db, sql: "SELECT MIN(sequence) FROM events")
            let newest = try Int64.fetchOne(db, sql: "SELECT MAX(sequence) FROM events")
            let floor = try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'event_sequence'").flatMap(Int64.init) ?? 0
            return (oldest ?? floor + 1, newest ?? floor)
        }
    }

    /// How many times the usual number of events is kept while a handler wants them, and how many bytes of what is beyond that number.
    static let heldEvents: Int64 = 10
    static let heldEventBytes: Int64 = 64 << 20

    /// Drops the oldest events and outcomes beyond the limits.
    /// - Parameters:
    ///   - wanted: events after this one are held for a handler.
    ///   - cursors: places of handlers that are written down with it.
    /// - Returns: the last sequence number that is dropped; 0 when there is no event.
    func prune(events: Int, outcomes: Int, wanted: Int64?, cursors: [String: Int64]) throws(LunetteError) -> Int64 {
        try write(.observed) { db in
            var floor: Int64 = 0
            if let newest = try Int64.fetchOne(db, sql: "SELECT MAX(sequence) FROM events") {
                floor = newest - Int64(events)
                if let wanted, wanted < floor {
                    let beyond = try Int64.fetchOne(
                        db,
                        sql: """
                            SELECT MAX(sequence) FROM
                            (SELECT sequence, SUM(LENGTH(body)) OVER (ORDER BY sequence DESC) AS bytes FROM events WHERE sequence <= ?)
                            WHERE bytes > ?
                            """, arguments: [floor, Self.heldEventBytes])
                    floor = max(wanted, newest - Self.heldEvents * Int64(events), beyond ?? 0)
                }
                try db.execute(sql: "INSERT OR REPLACE INTO meta VALUES ('event_sequence', ?)", arguments: [String(newest)])
                try db.execute(sql: "DELETE FROM events WHERE sequence <= ?", arguments: [floor])
            }
            for (name, sequence) in cursors {
                try db.execute(sql: "INSERT OR REPLACE INTO cursors (name, sequence) VALUES (?, ?)", arguments: [name, sequence])
            }
            try db.execute(
                sql: "DELETE FROM requests WHERE number <= (SELECT MAX(number) FROM requests) - ?", arguments: [outcomes])
            return floor
        }
    }
}
