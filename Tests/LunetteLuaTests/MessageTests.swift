import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// What errors and log lines say: the function, the value, the place, and always the same of several.
@Suite struct MessageTests {
    private static let limits = LuaState.Limits(memory: 32 << 20, instructions: 5_000_000, wallSeconds: 60, isLimited: true)

    @Test(arguments: [
        ("task.cron('0 33 * * *', f)", "task.cron: \"33\" is not an hour of a cron expression", "hour: 0 to 23"),
        ("task.cron('* * * * foo', f)", "task.cron: \"foo\" is not a weekday of a cron expression", "weekday: 0 to 7, or sun to sat"),
        ("task.cron('x', f)", "task.cron: \"x\" is not a cron expression", "five fields"),
        ("container.run { image = 3 }", "container.run: spec.image: expected an image or its name, got a number", ""),
        ("container.run('a')", "container.run: expected a table of options, got string", ""),
        ("container.list({}, 1)", "container.list: too many arguments", ""),
        ("task.every(-1, f)", "task.every: -1.0 is not a duration in seconds", ""),
        ("task.every(1e-9, f)", "task.every: the period 1e-09 is shorter than 1ms", ""),
        ("task.every('100us', f)", "task.every: the period 100us is shorter than 1ms", ""),
        ("task.timeout('10ms', task.sleep, '1s')", "task.timeout: not done within 10ms", ""),
        (
            "lunette.on('container.exited', { match = { name = 'container.exitd' } }, f)", "match.name: \"container.exitd\" is no event",
            "container.exited"
        ),
        (
            "for _ in lunette.events { match = { name = 'container.exitd' } } do end",
            "lunette.events: match.name: \"container.exitd\" is no event", "container.exited"
        ),
        ("for _ in lunette.events { since = 'foo' } do end", "lunette.events: since: \"foo\" is not a duration", "30s"),
        ("volume.policy('x', {})", "volume.policy is not in this version", ""),
        ("volume.polcy('x', {})", "volume has no function \"polcy\"", ""),
        ("container.lst()", "container has no function \"lst\"", "did you mean \"container.list\"?"),
        ("json.encode(setmetatable({}, { __index = 1 }), 1) local t = {} t.a = t json.encode(t)", "a.a.a.a.a.a.…: nested too deep", ""),
    ])
    func whatIsWrongIsSaid(_ source: String, _ message: String, _ hint: String) async {
        let ran = await runLua("local function f() end " + source, engine: FakeEngine())
        #expect(ran.message.contains(message), "\(ran.error)")
        #expect(ran.hint.contains(hint), "\(ran.error)")
    }

    @Test func whatReturnsNothingPrintsNothing() async {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            request.function == "container.get" ? FakeEngine.handle("container", "1", "web") : .null
        }
        let ran = await runLua("container.get('web'):pause()", engine: engine)
        #expect(ran.ok && ran.text == "", "\(ran.text) \(ran.error)")
        // What was looked for and isn't there is a nil that somebody may wait for.
        #expect(await runLua("container.find 'db'", engine: engine).text == "nil")
        #expect(await runLua("select('#', container.get('web'):pause())", engine: engine).text == "0")
    }

    @Test func aHandleSaysWhereItsDataAre() async {
        let engine = FakeEngine { (_, _, _, _) async throws(LunetteError) in FakeEngine.handle("container", "1", "web") }
        let ran = await runLua("local c = container.get 'web' return c.status", engine: engine)
        #expect(
            ran.message.contains("a container has no method \"status\"") && ran.hint == "data come from container:inspect().status",
            "\(ran.error)")
        let attach = await runLua("container.get('web'):attach { timeout = '1s' }", engine: engine)
        #expect(attach.hint == "known: logs", "\(attach.error)")
    }

    /// A table's keys have another order in each process, and in each state.
    @Test(arguments: [
        ("lunette.before('container.create', { zz = 1, nme = 2, match = {}, tiemout = 3 }, f)", "lunette.before: nme: unknown option"),
        ("task.cron('* * * * *', { zz = 1, nam = 2, overlp = 3 }, f)", "task.cron: nam: unknown option"),
        ("lunette.on(1, f)", "lunette.on: expected an event's name, got number"),
        ("lunette.on('container.exited', 'x')", "lunette.on: expected a handler, got nil"),
    ])
    func ofSeveralUnknownOptionsTheFirstByNameIsTold(_ source: String, _ message: String) async {
        for _ in 1...5 {
            let ran = await runLua("local function f() end " + source, engine: FakeEngine())
            #expect(ran.message.contains(message), "\(ran.error)")
        }
    }

    @Test func ofSeveralMistakesTheFirstByNameIsTold() async {
        for _ in 1...8 {
            let ran = await runLua(
                "container.run { image = 'a', zz = 1, restrt = 'x', nme = 'x', mounts = { { type = 'x', target = 1 } } }",
                engine: FakeEngine())
            #expect(ran.message.contains("spec.mounts[1].target: expected a string"), "\(ran.error)")
        }
    }

    @Test func fieldsAndKeysAreSorted() async {
        let lines = Mutex<[String]>([])
        let source =
            "log.info('x', { c = 1, a = 2, b = { z = 1, y = 2 } }) return json.encode { d = 1, c = 2, a = { z = 1, y = 2 }, b = 3 }"
        let ran = await runLua(source) { host in
            host.onLog = { _, message, fields in lines.withLock { $0.append(message + JSON.encode(.map(fields))) } }
        }
        #expect(ran.text == "{\"a\":{\"y\":2,\"z\":1},\"b\":3,\"c\":2,\"d\":1}")
        #expect(lines.withLock { $0 } == ["x{\"a\":2,\"b\":{\"y\":2,\"z\":1},\"c\":1}"])
    }

    @Test(arguments: [
        ("return tostring(lunette.null), tostring(json.null)", "lunette.null\tlunette.null"),
        (
            "local t = task.every('1h', print) return tostring(t), task.cron('0 3 * * *', { name = 'a' }, print)",
            "timer every 1h\t<timer cron \"0 3 * * *\" a>"
        ),
        ("local t = task.every('1h', print) t:off() return t", "<timer every 1h (off)>"),
        (
            "local seen, count = {}, 0 for name, value in pairs(lunette) do seen[name] = type(value) count = count + 1 end return seen.container, seen.http, seen.on, seen.null, seen.network, count > 25",
            "table\ttable\tfunction\tuserdata\tnil\ttrue"
        ),
    ])
    func valuesSayWhatTheyAre(_ source: String, _ text: String) async {
        let ran = await runLua(source)
        #expect(ran.text == text, "\(ran.text) \(ran.error)")
    }

    @Test func aLimitIsToldWithItsValueAndThePlace() async {
        let source = "local t = {}\nlocal function f()\n  while true do end\nend\nf()"
        var limits = Self.limits
        let counted = await runLua(source, limits: limits)
        #expect(counted.message == "-e:3: the code ran longer than it may (5 million instructions)", "\(counted.error)")
        #expect(counted.code == "resource_exhausted")
        (limits.instructions, limits.wallSeconds) = (0, 0.25)
        let timed = await runLua(source, limits: limits)
        #expect(timed.message == "-e:3: the code ran longer than it may (0.25 s)", "\(timed.error)")
    }

    @Test func aLackOfMemoryIsToldWithTheLimitAndThePlace() async {
        var limits = Self.limits
        limits.instructions = 0
        for body in ["t[i] = ('x'):rep(1000) .. i", "t[i] = { i }", "t[i] = i"] {
            let ran = await runLua("local t = {}\nfor i = 1, 1e9 do\n  \(body)\nend", limits: limits)
            let isPlaced = ran.message == "-e:3: not enough memory (32 MiB)"
            // A table that only grows asks for a larger block: the place can't be looked at then.
            #expect(isPlaced || body == "t[i] = i" && ran.message.hasSuffix("not enough memory (32 MiB)"), "\(ran.error)")
            #expect(ran.code == "resource_exhausted", "\(ran.error)")
        }
    }
}
