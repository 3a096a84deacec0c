import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct ChunkTests {
    @Test(arguments: [
        ("return 1", "1"), ("1 + 1", "2"), ("return 'a', 2.5, nil", "a\t2.5\tnil"),
        ("return { b = 1, a = { 2, 3 } }", "{ a = { 2, 3 }, b = 1 }"),
        ("local x = 3 return x * 2", "6"), ("", ""), ("return lunette.null", "lunette.null"),
        ("return lunette.bytes '1MiB', lunette.seconds '1h30m'", "1048576\t5400.0"),
        ("return json.decode('[1,{\"a\":null}]')[2].a == json.null", "true"), ("return json.encode({a={1,2}, })", "{\"a\":[1,2]}"),
        ("return json.encode(json.decode('{\"e\":[]}'))", "{\"e\":[]}"),
        ("return lunette.inspect({ [1]=1, x={}, ['a b']='q\"' })", "{ 1, [\"a b\"] = \"q\\\"\", x = {} }"),
        ("return lunette.merge({a={b=1,c=2}}, {a={b=lunette.null,d=3}})", "{ a = { c = 2, d = 3 } }"),
        ("return #json.encode(('x'):rep(1000))", "1002"), ("return require('lunette') == lunette", "true"),
        ("return ('\\255\\0x'):byte(1,-1)", "255\t0\t120"),
    ])
    func printsWhatAChunkReturns(_ source: String, _ expected: String) async {
        let ran = await runLua(source)
        #expect(ran.ok, "\(ran.error)")
        #expect(ran.text == expected)
    }

    @Test func errorsSayWhereTheyHappened() async {
        let ran = await runLua("local t = nil\nreturn t.x")
        #expect(!ran.ok)
        #expect(ran.message.hasPrefix("-e:2: attempt to index a nil value"))
    }

    @Test func syntaxErrorsAreReported() async {
        let ran = await runLua("local = 3")
        #expect(!ran.ok)
        #expect(ran.message.contains("-e:1:"))
    }

    @Test func aTypoInANameIsAnErrorWithAHint() async {
        let ran = await runLua("return lunette.contaner.list()")
        #expect(ran.message.contains("lunette has no \"contaner\""))
        #expect(ran.hint.contains("lunette.container"))
    }

    @Test func aTypoInAFunctionIsAnErrorWithAHint() async {
        let ran = await runLua("return container.lst()")
        #expect(ran.hint.contains("container.list"))
    }

    @Test func laterNounsSayThatTheyAreLater() async {
        let ran = await runLua("lunette.network.create('x', {})")
        #expect(ran.code == "unsupported")
        #expect(ran.message.contains("network.create is not in this version"))
    }

    @Test func tryGivesErrorsAsValues() async {
        let ran = await runLua(
            """
            local ok, e = lunette.try(function() error("boom") end)
            local ok2, e2 = lunette.try(function() lunette.bytes("12 parsecs") end)
            return ok, e.code, e.message, ok2, e2:is "invalid_argument", tostring(e2):match("parsecs")
            """)
        #expect(ran.text == "false\tscript_failed\t-e:1: boom\tfalse\ttrue\tparsecs", "\(ran.error)")
    }

    @Test func userCoroutinesWorkAsInLua() async {
        let ran = await runLua(
            """
            local gen = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) coroutine.yield(b * 2) end)
            local x, y = gen(1), gen(10)
            local co = coroutine.create(function() error({ 1 }) end)
            local ok, e = coroutine.resume(co)
            local ok2, e2 = coroutine.resume(co)
            return x, y, ok, type(e), coroutine.status(co), ok2, e2
            """)
        #expect(ran.text == "2\t20\tfalse\ttable\tdead\tfalse\tcannot resume dead coroutine", "\(ran.error)")
    }

    @Test func waitsPassThroughUserCoroutines() async {
        let ran = await runLua(
            """
            local gen = coroutine.wrap(function() for i = 1, 3 do task.sleep(0.001) coroutine.yield(i) end end)
            local other = 0
            local t = task.spawn(function() for _ = 1, 3 do task.sleep(0.001) other = other + 1 end end)
            local sum = gen() + gen() + gen()
            task.await(t)
            return sum, other
            """)
        #expect(ran.text == "6\t3", "\(ran.error)")
    }

    @Test func waitsWhereLuaCannotYieldBlockAndServe() async {
        let ran = await runLua(
            """
            local ticks = 0
            local t5 = task.spawn(function() for _ = 1, 5 do task.sleep(0.001) ticks = ticks + 1 end end)
            local t = { 3, 1, 2 }
            table.sort(t, function(a, b) task.sleep(0.004) return a < b end)
            local inner = ("ab"):gsub(".", function(c)
              local co = coroutine.wrap(function() task.sleep(0.001) return c:upper() end)
              return co()
            end)
            task.await(t5)
            return t, ticks, inner
            """)
        #expect(ran.text == "{ 1, 2, 3 }\t5\tAB", "\(ran.error)")
    }

    @Test func aStrayYieldIsAnError() async {
        let ran = await runLua("coroutine.yield(1)")
        #expect(ran.message.contains("attempt to yield from outside a coroutine"))
    }

    @Test func aWaitThatNothingCanEndIsAnError() async {
        let ran = await runLua(
            "local t t = task.spawn(function() task.sleep(0) task.await(main) end) main = task.spawn(function() task.await(t) end) task.await(t)"
        )
        #expect(ran.message.contains("every task waits for another"), "\(ran.message)")
    }
}
