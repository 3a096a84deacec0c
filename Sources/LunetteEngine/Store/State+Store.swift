import Foundation
import GRDB
import LunetteSpec

// What scripts keep. Values stay in the database; only how much each store holds is remembered, from its first change on.
extension State {
    /// What one store may hold.
    enum StoreLimit {
        static let value = 1 << 20
        static let bytes = 16 << 20
        static let keys = 10_000
    }

    /// - Returns: nil when there is none.
    func stored(_ place: StorePlace) throws(LunetteError) -> (value: [UInt8], version: Int64)? { try database.stored(place) }

    /// Sorted by their bytes.
    func storedKeys(_ store: String, prefix: String) throws(LunetteError) -> [String] { try database.storedKeys(store, prefix: prefix) }

    /// Stores a value, or deletes it.
    /// - Parameters:
    ///   - value: nil deletes.
    ///   - expected: the version that it must be at; 0: there must be none; nil: whatever there is.
    /// - Returns: the new version; of a deletion 1, or 0 when there was nothing.
    /// - Throws: `conflict` when another was quicker; `resource_exhausted` beyond the limits.
    func store(_ value: [UInt8]?, at place: StorePlace, expecting expected: Int64?, for call: Call) throws(LunetteError) -> Int64 {
        let old = try database.stored(place)
        if let expected, expected != old?.version ?? 0 {
            throw LunetteError(
                .conflict, "store \"\(displayable(place.key, limit: 80))\": it was changed meanwhile", target: place.key,
                hint: "store.update reads and changes in one step")
        }
        var size: StoreSize
        if let known = storeSizes[place.store] { size = known } else { size = try database.storeSize(place.store) }
        if let old {
            size.keys -= 1
            size.bytes -= place.key.utf8.count + old.value.count
        }
        var version: Int64 = old == nil ? 0 : 1
        if let value {
            size.keys += 1
            size.bytes += place.key.utf8.count + value.count
            try check(value, size, place)
            // Above every other, also those of values that are gone.
            lastStoreVersion = max(lastStoreVersion + 1, Int64(clock.now() * 1e6))
            version = lastStoreVersion
        }
        var changes = Changes()
        if value != nil || old != nil { changes.store = [StoreChange(place: place, value: value, version: version)] }
        changes.outcomes = [call.outcome(value == nil ? .bool(version != 0) : .int(version))]
        try commit(changes, .desired)
        storeSizes[place.store] = size
        return version
    }

    private func check(_ value: [UInt8], _ size: StoreSize, _ place: StorePlace) throws(LunetteError) {
        func full(_ what: String) -> LunetteError {
            LunetteError(
                .resourceExhausted, "store \"\(displayable(place.key, limit: 80))\": \(what)", target: place.key,
                hint: "a store is for what a script remembers; files and volumes hold more")
        }
        if value.count > StoreLimit.value { throw full("the value has \(value.count) bytes, \(StoreLimit.value) is the most") }
        if size.keys > StoreLimit.keys { throw full("the store has \(StoreLimit.keys) keys, more are not kept") }
        if size.bytes > StoreLimit.bytes { throw full("the store would hold more than \(StoreLimit.bytes) bytes") }
    }
}

/// How much a store holds.
struct StoreSize: Sendable {
    var keys = 0
    /// Of keys and values.
    var bytes = 0
}

/// One value that a commit stores; nil deletes.
struct StoreChange: Sendable {
    let place: StorePlace
    let value: [UInt8]?
    let version: Int64
}

extension Database {
    func stored(_ place: StorePlace) throws(LunetteError) -> (value: [UInt8], version: Int64)? {
        try read { db in
            let statement = try db.cachedStatement(sql: "SELECT value, version FROM store WHERE store = ? AND key = ?")
            return try Row.fetchOne(statement, arguments: [place.store, place.key]).map { (Array($0[0] as Data), $0[1]) }
        }
    }

    func storedKeys(_ store: String, prefix: String) throws(LunetteError) -> [String] {
        try read { db in
            // By length, not LIKE: a prefix may hold its wildcards.
            try String.fetchAll(
                db, sql: "SELECT key FROM store WHERE store = ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY key",
                arguments: [store, prefix])
        }
    }

    func storeSize(_ store: String) throws(LunetteError) -> StoreSize {
        try read { db in
            let sql = "SELECT COUNT(*), COALESCE(SUM(LENGTH(CAST(key AS BLOB)) + LENGTH(value)), 0) FROM store WHERE store = ?"
            return try Row.fetchOne(db, sql: sql, arguments: [store]).map { StoreSize(keys: $0[0], bytes: $0[1]) } ?? StoreSize()
        }
    }

    func newestStoreVersion() throws(LunetteError) -> Int64 {
        try read { db in try Int64.fetchOne(db, sql: "SELECT MAX(version) FROM store") ?? 0 }
    }

    func write(_ change: StoreChange, _ db: GRDB.Database) throws {
        if let value = change.value {
            try db.cachedStatement(sql: "INSERT OR REPLACE INTO store (store, key, value, version) VALUES (?, ?, ?, ?)")
                .execute(arguments: [change.place.store, change.place.key, Data(value), change.version])
        } else {
            try db.cachedStatement(sql: "DELETE FROM store WHERE store = ? AND key = ?")
                .execute(arguments: [change.place.store, change.place.key])
        }
    }
}
