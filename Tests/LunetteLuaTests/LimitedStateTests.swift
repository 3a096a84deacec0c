import Glibc
import LunetteSpec
import Testing

@testable import LunetteLua

/// Attacks 70–77: what code in a limited state must not reach, and what must not stop it from being stopped.
@Suite(.serialized) struct LimitedStateTests {
    static let limits = LuaState.Limits(memory: 32 << 20, instructions: 5_000_000, wallSeconds: 1, isLimited: true)

    private func run(_ source: String) async -> Ran {
        await runLua(source, limits: Self.limits, permissions: ["fs:/nowhere"], prints: false)
    }

    /// What a chunk returned, as `-e` would print it.
    private func value(_ source: String) async -> Ran { await runLua(source, limits: Self.limits, permissions: ["fs:/nowhere"]) }

    @Test(arguments: [
        "io", "os", "debug", "package", "dofile", "loadfile", "warn", "string.dump", "arg",
    ])
    func dangerousNamesAreAbsent(_ name: String) async {
        let ran = await value("return \(name) == nil")
        #expect(ran.text == "true", "\(name): \(ran.text) \(ran.error)")
    }

    /// Attack 73: a task's coroutine, resumed by who got hold of it, calls no handler of his where the count hook raises.
    @Test func aTasksCoroutineTakesNoMessageHandler() async {
        let ran = await value(
            """
            local called = false
            local t = task.spawn(function() end)
            local ok, inner, problem = coroutine.resume(t.co, function() error("x", 0) end, function() called = true return "handled" end)
            return called, ok, inner, problem
            """)
        #expect(ran.text == "false\ttrue\tfalse\tx", "\(ran.text) \(ran.error)")
    }

    /// Attack 70: everything that can be walked to from _G, by name.
    @Test func onlyKnownNamesAreReachable() async {
        let ran = await value(
            """
            local names = {}
            -- Made when they are first named.
            for name in ("fs json log task store process http sandbox"):gmatch "%a+" do local _ = _G[name] end
            for name, value in pairs(_G) do
              if type(value) == "table" and name ~= "_G" and name ~= "lunette" then
                for inner in pairs(value) do names[#names + 1] = name .. "." .. inner end
              else
                names[#names + 1] = name
              end
            end
            table.sort(names)
            return table.concat(names, " ")
            """)
        #expect(ran.ok, "\(ran.error)")
        #expect(ran.text == Self.known, "\(ran.text)")
    }

    @Test(arguments: [
        ("load(string.char(27) .. 'Lua')", "attempt to load a binary chunk"),
        ("return load(function() return nil end, 'x', 'b')", nil),
        ("getmetatable('').__index = nil", "index a boolean value"),
        ("string.format = nil", "string can't be written here"),
        ("table.x = 1", "table can't be written here"),
        ("setmetatable({}, { __gc = function() end })", "__gc is not for limited code"),
        ("getmetatable(task.spawn(function() end)).__gc = print", "index a boolean value"),
        ("for _, library in next, { string, table } do local _, l = pairs(library) l.x = 1 end", "index a nil value"),
        ("collectgarbage('stop')", "only \"count\" and \"collect\""),
        ("collectgarbage('generational')", "only \"count\" and \"collect\""),
        ("setmetatable(lunette, {})", "cannot change a protected metatable"),
        ("lunette.container.list()", "is not among what this code may call"),
        ("fs.read('/etc/passwd')", "outside of what this code may touch"),
        ("fs.read('/nowhere/../etc/passwd')", "outside of what this code may touch"),
        ("require '../x'", "not found beside this code"), ("require 'nothing'", "not found beside this code"),
        ("local ok, e = pcall(require, 'a/b') error(tostring(e), 0)", "a/b"),
    ])
    func whatIsForbiddenIsRefused(_ source: String, _ message: String?) async {
        let ran = await run(source.hasPrefix("load(") ? "assert(\(source))" : source)
        if let message {
            #expect(!ran.ok && ran.message.contains(message), "\(ran.message)")
        } else {
            #expect(ran.ok, "\(ran.error)")
        }
    }

    /// Attack 71: a finalizer in a metatable that is used again would run where no limit reaches.
    @Test func noMetatableOfOursIsReachable() async {
        let ran = await value(
            """
            local values = { lunette = lunette, noun = lunette.container, missing = lunette.network, log = log, text = "",
              task = task.spawn(function() end), timer = task.every("1h", print), list = json.decode("[]"),
              inner = json.decode("{\\"a\\":[]}").a, string = string, table = table }
            values.timer:off()
            task.scope(function(scope) values.scope, values.tasks = scope, scope.tasks end)
            values.error = select(2, lunette.try(lunette.fail, "denied", "no"))
            values.host_error = select(2, pcall(lunette.bytes, "x"))
            values.limit_error = select(2, pcall(error))
            local found = {}
            for name, value in pairs(values) do
              if type(getmetatable(value)) == "table" then found[#found + 1] = name end
            end
            -- And none is handed to a function that stands for Lua's own.
            local original, seen = setmetatable, 0
            setmetatable = function(value, meta) seen = seen + 1 return original(value, meta) end
            lunette.merge({}, {})
            return table.concat(found, " "), seen, #values.list, json.encode(values.list), values.error:is("denied")
            """)
        #expect(ran.text == "\t0\t0\t[]\ttrue", "\(ran.text) \(ran.error)")
    }

    /// Lists behave as Lua's manual says, whoever counts.
    @Test func listsAreWhatTheyWere() async {
        let ran = await value(
            """
            local t = { 1, 2, 3 }
            table.insert(t, 4) table.insert(t, 1, 0)
            assert(table.concat(t, ",") == "0,1,2,3,4" and table.concat(t, ",", 2, 3) == "1,2" and table.concat({}) == "")
            assert(table.concat(t, "", 5, 4) == "" and table.concat({ 1, "b", 2.5 }, "-") == "1-b-2.5")
            assert(table.remove(t) == 4 and table.remove(t, 1) == 0 and table.remove(t, 4) == nil and #t == 3)
            assert(table.remove({}) == nil and table.remove({}, 0) == nil and table.remove({ [0] = 5 }, 0) == 5)
            assert(table.concat(table.move({ 1, 2, 3, 4 }, 1, 3, 2), ",") == "1,1,2,3")
            assert(table.concat(table.move({ 1, 2, 3, 4 }, 2, 4, 1), ",") == "2,3,4,4")
            local target = {}
            assert(table.move({ 1, 2 }, 1, 2, 3, target) == target and target[3] == 1 and target[4] == 2)
            local proxy = setmetatable({}, { __index = function(_, i) return i * 2 end, __len = function() return 3 end })
            assert(table.concat(proxy, " ") == "2 4 6")
            for _, wrong in ipairs {
              function() table.insert({}, 5, 1) end, function() table.insert({}) end, function() table.insert({}, 1, 2, 3) end,
              function() table.remove({ 1 }, 5) end, function() table.concat({ {} }) end, function() table.concat(1) end,
              function() table.move({}, -1, math.maxinteger, 1) end, function() table.move({}, 1, 2, math.maxinteger) end,
              function() table.sort({ 1, "x" }) end,
            } do assert(not pcall(wrong)) end
            local words = { "c", "a", "b" }
            table.sort(words)
            assert(table.concat(words) == "abc")
            table.sort(words, function(a, b) return a > b end)
            assert(table.concat(words) == "cba")
            local numbers = {}
            for i = 1, 2000 do numbers[i] = i * 7919 % 2003 end
            table.sort(numbers)
            for i = 2, #numbers do assert(numbers[i - 1] <= numbers[i]) end
            local f = assert(load("local a = ... return a, b", "=x", "t", { b = 2 }))
            local a, b = f(1)
            local parts = { "return ", "4", "2" }
            assert(a == 1 and b == 2 and load(function() return table.remove(parts, 1) end)() == 42)
            assert(select(2, load("x =", "=name")):match("^name:1:") and load("")() == nil)
            assert(not pcall(load, 5) and not load(function() return 5 end))
            return "as in the manual"
            """)
        #expect(ran.text == "as in the manual", "\(ran.error)")
    }

    /// What is under way outside of Lua is bounded too.
    @Test func callsUnderWayHoldNoMoreThanTheirBudget() async {
        let engine = FakeEngine { (_, _, _, _) async throws(LunetteError) in
            // Answered by nothing but its cancellation.
            try? await Task.sleep(for: .seconds(600))
            throw LunetteError(.cancelled, "cancelled")
        }
        var limits = Self.limits
        limits.memory = 64 << 20
        limits.wallSeconds = 60
        limits.instructions = 0
        let ran = await runLua(
            """
            local big, tasks, refused = ("x"):rep(6 << 20), {}, nil
            for i = 1, 20 do
              tasks[i] = task.spawn(function() return lunette.try(lunette.container.wait, big) end)
            end
            task.sleep(0)
            local last, problem = tasks[20]:await()
            -- What has ended gives back what it held.
            for i = 1, 20 do tasks[i]:cancel() end
            for _ = 1, 200 do
              task.sleep(0.05)
              local t = task.spawn(function() return lunette.try(lunette.container.wait, big) end)
              task.sleep(0)
              t:cancel()
              refused = select(2, t:await()).code
              if refused == "cancelled" then break end
            end
            local list = {}
            for i = 1, 800000 do list[i] = 1 end
            local _, long = pcall(json.encode, list)
            return last, problem.code, refused, long.message
            """, engine: engine, limits: limits, permissions: ["api:container.wait", "container.wait"])
        #expect(ran.text == "false\tresource_exhausted\tcancelled\ttoo large to send", "\(ran.text) \(ran.error)")
    }

    /// Attacks 72 and 73: all stop within twice the budget.
    @Test(arguments: [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(pcall, error) end",
        "coroutine.wrap(function() while true do end end)()",
        "local co = coroutine.wrap(function() while true do pcall(coroutine.wrap(function() while true do end end)) end end) co()",
        "local x <close> = setmetatable({}, { __close = function() while true do end end })",
        "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
        "('x'):gsub('x', function() while true do end end)",
        "load(function() while true do end end)",
        "xpcall(error, function() while true do end end)",
        "while true do xpcall(error, function() while true do end end) end",
        "local s = ('a'):rep(30000) return s:find(('.-'):rep(20) .. 'b')",
        "local s = ('a'):rep(30000) return s:match(('a*'):rep(20) .. 'b')",
        "for _ in ('a'):rep(30000):gmatch(('.-'):rep(20) .. 'b') do end",
        "return ('a'):rep(30000):gsub(('a?'):rep(1000) .. 'b', '')",
        "table.concat({}, '', 1, 1 << 40)", "table.move({}, 1, 1 << 40, 2)",
        "table.insert(setmetatable({}, { __len = function() return 1 << 40 end }), 1, 0)",
        "table.remove(setmetatable({}, { __len = function() return 1 << 40 end }), 1)",
        "return (''):rep(1 << 60) .. ('x'):rep(1 << 60)", "return ('a'):rep(1e9)", "return ('a'):rep(1 << 20, ('b'):rep(1 << 20))",
        "local t = {} for i = 1, 1e9 do t[i] = i end", "local s = 'x' while true do s = s .. s end",
        "return select('#', table.unpack({}, 1, 1 << 30))", "return string.format('%99999d', 1)",
        "while true do task.spawn(function() task.sleep(1000) end) end",
        "local function f() return f() + 1 end f()",
        "local function f(...) return f(1, ...) end f()",
        "local s = ('('):rep(100000) assert(load('return ' .. s))", "assert(load('return ' .. ('{'):rep(100000)))",
        "local t = {} for i = 1, 300 do t[i] = 'local a' .. i end assert(load(table.concat(t, '\\n')))",
        "local f f = function(s) return (s:gsub('.', f)) end f('x')",
        "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
        "local function nest(n) return coroutine.wrap(function() nest(n + 1) end)() end nest(1)",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        // Loops in C, with metamethods in C.
        "table.concat(setmetatable({}, { __index = getmetatable, __metatable = '' }), '', math.mininteger, math.maxinteger)",
        "table.insert(setmetatable({}, { __len = function() return 1 << 60 end, __index = rawlen, __newindex = rawlen }), 1, 5)",
        "table.remove(setmetatable({}, { __len = function() return 1 << 60 end, __index = rawlen, __newindex = rawlen }), 1)",
        "table.move(setmetatable({}, { __index = rawlen }), 1, 1 << 60, 2, setmetatable({}, { __newindex = rawlen }))",
        "table.sort(setmetatable({}, { __len = function() return (1 << 31) - 2 end, __index = rawlen, __newindex = rawlen }))",
        "table.sort(setmetatable({}, { __len = function() return (1 << 31) - 2 end, __index = rawlen, __newindex = rawlen }), rawequal)",
        "local s, t = ('x'):rep(1 << 20), {} for i = 1, 100000 do t[i] = s end table.sort(t)",
        "while true do print(table.unpack({}, 1, 400000)) end",
        "local s = ('x'):rep(4 << 20) while true do utf8.len(s) end", "local s = ('b'):rep(4 << 20) while true do string.packsize(s) end",
        "local s = ('x'):rep(4 << 20) while true do s:upper() end", "local s = ('1'):rep(4 << 20) while true do local x = s + 0 end",
        "local s = ('x'):rep(4 << 20) while true do s:find('y', 1, true) end",
        "local t = {} for i = 1, 100000 do t[i] = {} end while true do collectgarbage() end",
        "local s = ('1'):rep(4 << 20) while true do tonumber(s, 10) end",
        "local t = {} for i = 1, 500000 do t[i] = 1 end for i = 1, 500000 do t[i] = nil end while true do next(t) end",
        // The parser takes quadratic time for these.
        "load('return ' .. ('a and '):rep(900000) .. 'a') while true do end",
        "load('if a then ' .. ('elseif a then '):rep(400000) .. 'end') while true do end",
        "local s = (' '):rep(4 << 20) load(function() return s end)",
        // Each coroutine has a count of its own.
        "local function f(d) if d > 0 then for i = 1, 35 do coroutine.wrap(f)(d - 1) end end end f(12)",
        "local function f(d) if d > 0 then for i = 1, 70 do coroutine.resume(coroutine.create(f), d - 1) end end end f(12)",
        // What a limit ended is closed with hooks off.
        """
        local x = setmetatable({}, { __close = function() while true do end end })
        local co = coroutine.create(function() local y <close> = x while true do end end)
        pcall(coroutine.resume, co) pcall(coroutine.close, co) while true do end
        """,
        // The stdlib's own loops, and what is sent: one table in many places.
        "local t = {} for i = 1, 60 do t = { a = t, b = t } end lunette.merge(t, t)",
        "local t = {} for i = 1, 60 do t = { t, t } end json.encode(t)",
        """
        local big, t = {}, {} for i = 1, 200000 do big[i] = 1 end for i = 1, 200000 do big[i] = nil end
        for i = 1, 200000 do t[i] = big end json.encode(t)
        """,
    ])
    func runawayCodeIsStopped(_ source: String) async {
        let clock = ContinuousClock()
        var ran: Ran?
        let time = await clock.measure { ran = await run(source) }
        if getenv("TRACE") != nil { writeError("DONE \(time) \(ran?.message.prefix(60) ?? "") <- \(source.prefix(80))\n") }
        #expect(ran?.ok == false, "it ended well")
        #expect(time < .seconds(6), "it took \(time)")
    }

    /// Of tasks that each end soon there is one after the other: the last of them is told that it went on for too long.
    @Test func tasksThatSpawnTheNextAreStopped() async {
        let ran = await run("local function f() task.spawn(f) end f()")
        #expect(ran.failed.contains { $0["error"]?["code"] == "resource_exhausted" || $0["code"] == "resource_exhausted" }, "\(ran.failed)")
    }

    /// Attack 74: the state stays usable after it ran out of memory.
    @Test func aStateSurvivesRunningOutOfMemory() async {
        // Time is no part of this: the machine may be busy.
        var limits = Self.limits
        limits.wallSeconds = 60
        let ran = await runLua(
            """
            local ok, problem = pcall(function() local t = {} while true do t[#t + 1] = ("x"):rep(100000) .. #t end end)
            local again = {}
            for i = 1, 1000 do again[i] = i end
            return ok, tostring(problem):match("not enough memory"), #again
            """, limits: limits)
        #expect(ran.text == "false\tnot enough memory\t1000", "\(ran.text) \(ran.error)")
    }

    /// Attack 76: the parser's own limits, and ten megabytes of source.
    @Test(arguments: [
        "('x = 1 '):rep(1500000)", "'return ' .. ('-'):rep(5000000) .. '1'", "'x = ' .. ('a.'):rep(2000000) .. 'b'",
        "'local ' .. ('a,'):rep(300) .. 'a'", "'local function f() ' .. ('if x then '):rep(100000)",
        "'x = [' .. ('='):rep(1000000) .. '['", "'x = \"' .. ('\\\\z '):rep(1000000)", "('goto a '):rep(100000) .. '::a::'",
        "('::a' .. '::'):rep(1000)", "'return ' .. ('function() return '):rep(100000)", "'x = ' .. ('1 .. '):rep(1000000) .. '1'",
        "('do local a <close> = nil '):rep(10000)", "'\\0\\255\\1' .. ('\\0'):rep(100000)",
    ])
    func enormousSourceIsRefusedOrRead(_ source: String) async {
        var limits = Self.limits
        limits.wallSeconds = 60
        let ran = await runLua("local f, problem = load(\(source)) return f ~= nil or #problem > 0, #{ 1, 2, 3 }", limits: limits)
        // Out of memory and too many instructions are answers too; a crash is none.
        #expect(ran.text == "true\t3" || !ran.message.isEmpty, "\(ran.error)")
    }

    @Test func waitingWhereLuaCannotYieldIsRefused() async {
        let ran = await run("table.sort({ 2, 1 }, function() task.sleep(1) end)")
        #expect(ran.code == "would_block", "\(ran.error)")
    }

    /// Attack 77: wrong values at every host function that limited code reaches raise, and nothing else.
    @Test func wrongArgumentsRaise() async {
        let ran = await value(
            """
            local values = { 0/0, 1/0, -1/0, 1 << 63, -1, "", ("x"):rep(100), {}, { {} }, true, print, coroutine.create(print), lunette.null }
            local count = 0
            for _, f in ipairs { lunette.bytes, lunette.seconds, lunette.merge, lunette.require_api, lunette.fail, json.encode, json.decode,
              fs.read, fs.write, fs.list, fs.exists, fs.mkdir, fs.remove, fs.rename, fs.stat, fs.usage, log.info, task.spawn, task.await,
              task.all, task.any, task.timeout, task.scope, task.cancel, lunette.on, lunette.before, lunette.events, lunette.try } do
              for i = 0, #values do
                for j = 0, #values do
                  if not pcall(f, values[i], values[j]) then count = count + 1 end
                end
              end
            end
            return count > 1000
            """)
        #expect(ran.text == "true", "\(ran.error)")
    }

    @Test func aThousandStatesAreOpenedAndClosed() async throws {
        var options = LuaHost.Options(connector: nil, directory: "/")
        options.limits = Self.limits
        for _ in 0..<200 {
            let host = try LuaHost(options)
            #expect(host.state.memory < 2 << 20)
        }
    }

    static let known =
        "_G _VERSION assert collectgarbage coroutine.close coroutine.create coroutine.isyieldable coroutine.resume coroutine.running "
        + "coroutine.status coroutine.wrap coroutine.yield error fs.exists fs.list fs.mkdir fs.read fs.remove fs.rename fs.stat fs.temporary "
        + "fs.usage fs.write getmetatable http.get http.request ipairs json.decode json.encode json.null load log.debug log.error log.info log.warn lunette "
        + "math.abs math.acos math.asin math.atan math.atan2 math.ceil math.cos math.cosh math.deg math.exp math.floor math.fmod math.frexp math.huge math.ldexp math.log math.log10 math.max "
        + "math.maxinteger math.min math.mininteger math.modf math.pi math.pow math.rad math.random math.randomseed math.sin math.sinh math.sqrt math.tan math.tanh "
        + "math.tointeger math.type math.ult next pairs pcall print process.run rawequal rawget rawlen rawset require sandbox.run select setmetatable store.delete "
        + "store.get store.list store.open store.set store.update string.byte "
        + "string.char string.find string.format string.gmatch string.gsub string.len string.lower string.match string.pack string.packsize "
        + "string.rep string.reverse string.sub string.unpack string.upper table.concat table.insert table.move table.pack table.remove "
        + "table.sort table.unpack task.all task.any task.await task.cancel task.cron task.every task.next_cron_time task.scope task.shield "
        + "task.sleep task.spawn task.timeout tonumber tostring type utf8.char utf8.charpattern utf8.codepoint utf8.codes utf8.len "
        + "utf8.offset xpcall"
}
