import Foundation
import LunetteAPI
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteEngine

/// `store.*`: what scripts keep.
@Suite struct StoreTests {
    private static let mine = Value.string("user/\(getuid())/srv/backup.lua")

    private func put(
        _ session: TestSession, _ key: String, _ value: Value, version: Int64? = nil, store: Value = mine
    ) async throws(LunetteError) -> Int64 {
        var arguments: ValueMap = ["store": store, "key": .string(key), "value": value]
        arguments["version"] = version.map(Value.int)
        return try await session.call("store.put", .map(arguments)).intValue ?? 0
    }

    private func fetch(_ session: TestSession, _ key: String, store: Value = mine) async throws(LunetteError) -> Value {
        try await session.call("store.fetch", ["store": store, "key": .string(key)])
    }

    @Test func aValueIsKeptUntilItIsDeleted() async throws {
        try await withEngine { _, session in
            let value: Value = ["runs": 3, "names": ["a", "b"], "raw": .bytes([0, 255])]
            let version = try await put(session, "last", value)
            let found = try await fetch(session, "last")
            #expect(found["value"] == value && found["version"] == .int(version))
            #expect(try await session.call("store.drop", ["store": Self.mine, "key": "last"]) == true)
            #expect(try await session.call("store.drop", ["store": Self.mine, "key": "last"]) == false)
            #expect(try await fetch(session, "last") == ["version": 0])
        }
    }

    @Test func aVersionThatIsPastIsAConflict() async throws {
        try await withEngine { _, session in
            let first = try await put(session, "n", 1, version: 0)
            let second = try await put(session, "n", 2, version: first)
            #expect(second > first)
            await expectError(.conflict) { () async throws(LunetteError) in _ = try await put(session, "n", 3, version: first) }
            await expectError(.conflict) { () async throws(LunetteError) in _ = try await put(session, "n", 3, version: 0) }
            // One that was deleted and made anew is another.
            _ = try await session.call("store.drop", ["store": Self.mine, "key": "n"])
            let third = try await put(session, "n", 1, version: 0)
            #expect(third > second)
        }
    }

    @Test func keysAreListedByPrefixWithoutWildcards() async throws {
        try await withEngine { _, session in
            for key in ["a%", "a%1", "ab", "b", "ä"] { _ = try await put(session, key, true) }
            let call: (String) async throws -> Value = {
                try await session.call("store.keys", ["store": Self.mine, "prefix": .string($0)])
            }
            #expect(try await call("a%") == ["a%", "a%1"])
            #expect(try await call("ä") == ["ä"])
            #expect(try await session.call("store.keys", ["store": "shared/other"]) == [])
        }
    }

    @Test func aStoreHasBounds() async throws {
        try await withEngine { _, session in
            await expectError(.resourceExhausted) { () async throws(LunetteError) in
                _ = try await put(session, "big", .string(String(repeating: "x", count: 1 << 20)))
            }
            let most = Value.string(String(repeating: "x", count: (1 << 20) - 10))
            for number in 1...15 { _ = try await put(session, "k\(number)", most) }
            await expectError(.resourceExhausted) { () async throws(LunetteError) in
                for number in 16...17 { _ = try await put(session, "k\(number)", most) }
            }
            // What is changed counts once, and what is deleted no more.
            _ = try await put(session, "k1", most)
            _ = try await session.call("store.drop", ["store": Self.mine, "key": "k1"])
            _ = try await put(session, "k16", most)
            await expectError(.invalidArgument) { () async throws(LunetteError) in
                _ = try await put(session, String(repeating: "k", count: 513), 1)
            }
        }
    }

    @Test(arguments: ["user/4294967294/x.lua", "user/", "nobody/x", "", "user", "resident"]) func aStoreOfSomebodyElseIsRefused(
        _ store: String
    ) async throws {
        try await withEngine { fixture, _ in
            let session = try await fixture.engine.connect(receiver: nil)
            let request = APIRequest(
                id: "x", function: "store.fetch", arguments: ["store": .string(store), "key": "k"],
                actor: Actor(uid: 54321, gid: 54321, pid: 1))
            var code: ErrorCode?
            do throws(LunetteError) { _ = try await session.call(request, files: [], onChunk: nil) } catch { code = error.code }
            #expect(code == .denied)
        }
    }

    @Test func aRepeatedRequestGetsTheFirstOutcome() async throws {
        try await withEngine { fixture, session in
            let arguments: Value = ["store": Self.mine, "key": "n", "value": 1, "version": 0]
            let first = try await session.call("store.put", arguments, id: "one")
            #expect(try await session.call("store.put", arguments, id: "one") == first)
            #expect(try await fetch(session, "n")["version"] == first)
        }
    }

    @Test func theNextEngineHasWhatTheLastOneStored() async throws {
        let folder = "/tmp/lunette-store-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let call = Call.ownCall("store.put")
        let place = StorePlace(store: "resident/init", key: "n")
        func open() async throws -> State {
            try await State(path: folder + "/state.sqlite", clock: SystemClock(), bootID: "b", eventLimit: 100, outcomeLimit: 100)
        }
        let state = try await open()
        let version = try await state.store(MessagePack.encode(7), at: place, expecting: 0, for: call)
        try await state.close()
        let again = try await open()
        let stored = try #require(try await again.stored(place))
        #expect(try MessagePack.decode(stored.value) == 7 && stored.version == version)
        #expect(try await again.store(MessagePack.encode(8), at: place, expecting: version, for: call) > version)
        try await again.close()
    }
}
