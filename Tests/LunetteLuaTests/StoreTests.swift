import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// `store.*` over an engine that keeps values as the real one does, in memory.
@Suite struct StoreTests {
    /// - Parameter rival: how many times somebody else is quicker.
    private func engine(rival: Int = 0) -> FakeEngine {
        let stored = Mutex<[String: (version: Int64, value: Value)]>([:])
        let left = Mutex(rival)
        return FakeEngine { (_, request, _, _) async throws(LunetteError) in
            let store = request.arguments["store"]!.stringValue!
            let place = store + "\n" + (request.arguments["key"]?.stringValue ?? "")
            switch request.function {
            case "store.fetch":
                guard let entry = stored.withLock({ $0[place] }) else { return ["version": 0] }
                return ["version": .int(entry.version), "value": entry.value]
            case "store.put", "store.drop":
                let isLate = left.withLock { left in
                    left -= 1
                    return left >= 0
                }
                let wanted = request.arguments["version"]?.intValue
                return try stored.withLock { stored throws(LunetteError) in
                    if isLate { stored[place] = ((stored[place]?.version ?? 0) + 1, 100) }
                    let old = stored[place]?.version ?? 0
                    if let wanted, wanted != old { throw LunetteError(.conflict, "it was changed meanwhile") }
                    stored[place] = request.function == "store.put" ? (old + 1, request.arguments["value"]!) : nil
                    return request.function == "store.put" ? .int(old + 1) : .bool(old != 0)
                }
            default:
                let prefix = store + "\n" + (request.arguments["prefix"]?.stringValue ?? "")
                return .array(
                    stored.withLock { $0.keys.filter { $0.hasPrefix(prefix) }.sorted() }.map {
                        .string(String($0.dropFirst(store.count + 1)))
                    })
            }
        }
    }

    @Test(arguments: [
        ("store.set('a', { 1, 2, { b = 'c' } }) local v = store.get 'a' return v[3].b, #v", "c\t3"),
        ("return store.get 'nothing', store.delete 'nothing'", "nil\tfalse"),
        ("store.set('a', 1) store.set('a', nil) return store.get 'a', #store.list()", "nil\t0"),
        ("store.set('a', 1) store.set('b', 2) store.set('ab', 3) return table.concat(store.list 'a', ' ')", "a ab"),
        ("store.update('n', function(n) assert(n == nil) return 1 end) return store.update('n', function(n) return n + 1 end)", "2"),
        ("store.set('n', 1) store.update('n', function() return nil end) return store.get 'n'", "nil"),
        ("local ok, e = pcall(store.update, 'n', function() error('no', 0) end) return ok, e, store.get 'n'", "false\tno\tnil"),
        (
            "local s = store.open 'x' s:set('k', true) return store.get 'k', store.open('x'):get 'k', store.open('y'):get 'k'",
            "nil\ttrue\tnil"
        ),
        ("local ok, e = pcall(store.open, '../x') return ok, e.code", "false\tinvalid_argument"),
        ("local ok, e = pcall(store.get, 1) return ok, e.code, e.operation", "false\tinvalid_argument\tstore.get"),
        ("local ok, e = pcall(store.set, 'f', print) return ok, e.code", "false\tinvalid_argument"),
    ])
    func aScriptKeepsValues(_ source: String, _ expected: String) async {
        let ran = await runLua(source, engine: engine())
        #expect(ran.text == expected, "\(ran.text) \(ran.error)")
    }

    @Test func anUpdateIsTriedAgainWhenAnotherWasQuicker() async {
        let ran = await runLua(
            "local runs = 0 local n = store.update('n', function(n) runs = runs + 1 return (n or 0) + 1 end) return n, runs",
            engine: engine(rival: 3))
        #expect(ran.text == "101\t4", "\(ran.text) \(ran.error)")
    }

    @Test func anUpdateThatNeverComesThroughIsAConflict() async {
        let ran = await runLua("store.update('n', function() return 1 end)", engine: engine(rival: 1000))
        #expect(ran.code == "conflict" && ran.message.contains("100 tries"), "\(ran.error)")
    }

    @Test func whatIsTypedHasTheUsersOwnStore() async {
        let engine = engine()
        _ = await runLua("store.set('a', 1)", engine: engine)
        #expect(engine.requests.first?.arguments["store"]?.stringValue?.hasPrefix("user/") == true)
    }

    @Test func limitedCodeNeedsThePermission() async {
        var limits = LuaState.Limits()
        limits.isLimited = true
        let refused = await runLua("store.get 'a'", engine: engine(), limits: limits, permissions: [])
        #expect(refused.code == "denied", "\(refused.error)")
        let allowed = await runLua("return store.get 'a'", engine: engine(), limits: limits, permissions: ["store"])
        #expect(allowed.ok, "\(allowed.error)")
    }
}
