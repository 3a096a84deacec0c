import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct HookTests {
    static let event: Value = [
        "name": "container.create", "sequence": 0, "time": 1.5, "target": ["kind": "container", "name": "web"],
        "spec": ["image": "x", "labels": ["a": "1"], "args": ["one", "two"]], "cause": ["r1"], "redelivered": false,
        "container": FakeEngine.handle("container", "abc", "web"),
    ]

    /// An engine that calls the handler from within `container.create` and answers with what it said.
    private func engine() -> FakeEngine {
        FakeEngine { (engine, request, _, _) async throws(LunetteError) in
            switch request.function {
            case "hook.register": return ["subscription": request.arguments["subscription"]!]
            case "container.create":
                guard let registered = engine.requests.first(where: { $0.function == "hook.register" }) else { return .null }
                let answer = try await engine.receiver!.before(
                    subscription: registered.arguments["subscription"]!.stringValue!, event: Self.event)
                return .string(JSON.encode(answer))
            case "container.list": return []
            default: return .null
            }
        }
    }

    @Test(arguments: [
        ("function(ev) ev:deny('no') end", "{\"deny\":\"no\"}"),
        ("function(ev) pcall(ev.deny, ev, 'sticks') end", "{\"deny\":\"sticks\"}"),
        ("function(ev) ev:amend { labels = { b = '2' } } ev:amend { labels = { a = lunette.null }, tty = true } end", nil),
        ("function(ev) end", "null"),
        ("function(ev) assert(ev.spec.labels.a == '1' and #ev.spec.args == 2 and ev.container.name == 'web') end", "null"),
        ("function(ev) local ok, e = pcall(function() ev.spec.labels.a = 2 end) ev:deny(e.code) end", "{\"deny\":\"invalid_state\"}"),
        (
            "function(ev) local n = 0 for k in pairs(ev.spec) do n = n + 1 end ev:deny(json.encode(ev.spec.labels) .. n) end",
            "{\"deny\":\"{\\\"a\\\":\\\"1\\\"}3\"}"
        ),
        ("function(ev) task.sleep(0.001) container.list() ev:deny('after waiting') end", "{\"deny\":\"after waiting\"}"),
    ])
    func beforeHandlersAnswer(_ handler: String, _ expected: String?) async {
        let ran = await runLua(
            """
            local sub <close> = lunette.before("container.create", { name = "test", on_failure = "deny" }, \(handler))
            return container.create { image = "x" }
            """, engine: engine())
        #expect(ran.ok, "\(ran.error)")
        if let expected {
            #expect(ran.text == expected)
        } else {
            #expect(ran.text.contains("\"a\":null") && ran.text.contains("\"b\":\"2\"") && ran.text.contains("\"tty\":true"), "\(ran.text)")
        }
    }

    @Test func aFailingHandlerIsTheEnginesToJudge() async {
        let ran = await runLua(
            "lunette.before('container.create', {}, function() error('broken') end) return container.create { image = 'x' }",
            engine: engine())
        #expect(ran.code == "script_failed" && ran.message.contains("broken"), "\(ran.error)")
    }

    @Test(.timeLimit(.minutes(1))) func aHandlersReplyIsNotLostToItsErrorObject() async {
        let ran = await runLua(
            "lunette.before('container.create', {}, function() error(setmetatable({}, { __tostring = function() error('x') end })) end) "
                + "return container.create { image = 'x' }", engine: engine())
        #expect(ran.code == "script_failed" && ran.message.contains("__tostring fails"), "\(ran.error)")
    }

    @Test func handlersAreRegisteredWithTheirOptions() async throws {
        let engine = engine()
        let ran = await runLua(
            "local sub = lunette.on('container.exited', { name = 'n', match = { labels = { a = 'b' } } }, print) sub:off() sub:off()",
            engine: engine)
        #expect(ran.ok, "\(ran.error)")
        let request = try #require(engine.requests.first)
        #expect(request.function == "hook.register" && request.arguments["kind"] == "on" && request.arguments["name"] == "n")
        #expect(engine.requests.filter { $0.function == "hook.unregister" }.count == 1)
    }

    @Test func handlersDoNotHoldAScript() async {
        let ran = await runLua("lunette.on('container.exited', {}, print) return 'over'", engine: engine())
        #expect(ran.text == "over", "\(ran.error)")
    }

    @Test func aMistakeInAHandlersOptionsIsAnErrorOnItsLine() async {
        let ran = await runLua("\nlunette.before('container.create', { timout = 1 }, print)", engine: engine(), prints: false)
        #expect(ran.message.contains("-e:2: lunette.before: timout: unknown option"), "\(ran.message)")
        #expect(ran.hint == "did you mean \"timeout\"?")
    }

    /// A cause says which handlers are passed by: code that could write it would pass another's `before`.
    @Test func noCodeWritesItsCause() async throws {
        let engine = engine()
        let ran = await runLua(
            """
            lunette.before('container.create', {}, function(ev)
              ev.cause[1], ev.cause[2] = 'hook:a', 'hook:b'
              container.list()
              local t = task.spawn(function() container.list { all = true } end)
              t.cause = { 'hook:c' }
              for key in next, t do if type(t[key]) == 'table' then t[key][1] = 'hook:d' end end
              t:await()
            end)
            container.create { image = 'x' }
            """, engine: engine)
        let lists = engine.requests.filter { $0.function == "container.list" }
        #expect(lists.count == 2 && lists.allSatisfy { $0.cause == ["r1"] }, "\(lists.map(\.cause)) \(ran.error)")
    }

    @Test func callsOfAHandlerCarryItsCause() async throws {
        let engine = engine()
        _ = await runLua(
            "lunette.before('container.create', {}, function() container.list() end) container.create { image = 'x' }", engine: engine)
        #expect(engine.requests.first { $0.function == "container.list" }?.cause == ["r1"])
        #expect(engine.requests.first { $0.function == "container.create" }?.cause == [])
    }

    @Test func eventsAreIterated() async {
        let engine = FakeEngine { (_, _, _, onChunk) async throws(LunetteError) in
            for number in 1...3 {
                try await onChunk?([
                    "name": "container.exited", "sequence": .int(Int64(number)), "container": FakeEngine.handle("container", "a", "web"),
                ])
            }
            return .null
        }
        let ran = await runLua(
            "local n = 0 for ev in lunette.events { match = { name = 'container.*' } } do n = n + ev.sequence assert(ev.container.name == 'web') end return n",
            engine: engine)
        #expect(ran.text == "6", "\(ran.error)")
    }

    @Test func aReadOnlySpecIsReadLikeAnyTable() async {
        let engine = FakeEngine { (engine, request, _, _) async throws(LunetteError) in
            guard request.function == "container.create", let registered = engine.requests.first(where: { $0.function == "hook.register" })
            else { return request.function == "hook.register" ? ["subscription": request.arguments["subscription"]!] : .null }
            var event = Self.event.mapValue!
            event["spec"] = ["labels": ["a": "1", "b": ["c": "2"]], "args": ["one", "two"], "env": [:]]
            return try await engine.receiver!.before(
                subscription: registered.arguments["subscription"]!.stringValue!, event: .map(event))["deny"] ?? .null
        }
        let ran = await runLua(
            """
            local sub <close> = lunette.before("container.create", { name = "test" }, function(ev)
              local spec = ev.spec
              local merged = lunette.merge({ x = "y" }, spec.labels)
              merged.b.c, merged.a = "3", "4"
              local other = lunette.merge(spec, { args = lunette.null })
              other.labels.a = "5"
              local names = {}
              for key, value in next, spec.labels do names[#names + 1] = key .. type(value) end
              table.sort(names)
              local first = next(spec.args)
              local written = pcall(function() select(2, next(spec)).z = 1 end)
              ev:deny(table.concat({
                lunette.inspect(spec.labels), lunette.inspect(spec.env), lunette.inspect(spec.args), #spec.args, json.encode(spec.args),
                merged.b.c .. spec.labels.b.c, other.labels.a .. spec.labels.a, tostring(other.args), table.concat(names, ","),
                tostring(next(spec.env)), first, tostring(written), select("#", table.unpack(spec.args)),
              }, "|"))
            end)
            return container.create { image = "x" }
            """, engine: engine)
        #expect(
            ran.text == #"{ a = "1", b = { c = "2" } }|{}|{ "one", "two" }|2|["one","two"]|32|51|nil|astring,btable|nil|1|false|2"#,
            "\(ran.text) \(ran.error)")
    }

    @Test func whatAnUpdateTakesAwayIsSeen() async {
        let engine = FakeEngine { (engine, request, _, _) async throws(LunetteError) in
            guard request.function == "container.create", let registered = engine.requests.first(where: { $0.function == "hook.register" })
            else { return request.function == "hook.register" ? ["subscription": request.arguments["subscription"]!] : .null }
            var event = Self.event.mapValue!
            event["name"] = "container.update"
            event["spec"] = ["labels": ["a": .null, "b": "1"]]
            return try await engine.receiver!.before(
                subscription: registered.arguments["subscription"]!.stringValue!, event: .map(event))["deny"] ?? .null
        }
        let ran = await runLua(
            """
            local sub <close> = lunette.before("container.update", { name = "test" }, function(ev)
              ev:deny(tostring(ev.spec.labels.a == lunette.null) .. lunette.inspect(ev.spec.labels))
            end)
            return container.create { image = "x" }
            """, engine: engine)
        #expect(ran.text == #"true{ a = lunette.null, b = "1" }"#, "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        ("before", "prioritiy", "did you mean \"priority\"?"), ("on", "xyz", "known: name, match, order"), ("on", "kind", nil),
    ])
    func anUnknownOptionIsToldInTheWordsOfTheFunction(kind: String, option: String, hint: String?) async {
        let ran = await runLua("lunette.\(kind)('container.create', { \(option) = 1 }, print)", engine: engine())
        #expect(ran.code == "invalid_argument", "\(ran.error)")
        let told = ran.error["hint"]?.stringValue ?? ""
        #expect(hint == nil || told == hint, "\(told)")
        #expect(!told.contains("subscription") && !told.contains("event"), "\(told)")
    }

    @Test func aPlaceStandsOnceInAnError() async {
        let ran = await runLua(
            """
            local ok, e = lunette.try(function() error("boom") end)
            local _, again = lunette.try(error, e)
            return tostring(e) .. "|" .. tostring(again)
            """)
        #expect(ran.text.matches(of: /boom/).count == 2, "\(ran.text)")
        #expect(ran.text.matches(of: #/:1: /#).count == 2, "\(ran.text)")
    }
}
