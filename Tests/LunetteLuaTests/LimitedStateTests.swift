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
        ("collectgarbage('stop')", "only \"count\" and \"collect\""),
        ("collectgarbage('generational')", "only \"count\" and \"collect\""),
        ("setmetatable(lunette, {})", "cannot change a protected metatable"),
        ("lunette.container.list()", "is not among what this code may call"),
        ("fs.read('/etc/passwd')", "outside of what this code may touch"),
        ("fs.read('/nowhere/../etc/passwd')", "outside of what this code may touch"),
        ("require '../x'", "not found beside this code"), ("require 'nothing'", "not found beside this code"),
    ])
    func whatIsForbiddenIsRefused(_ source: String, _ message: String?) async {
        let ran = await run(source.hasPrefix("load(") ? "assert(\(source))" : source)
        if let message {
            #expect(!ran.ok && ran.message.contains(message), "\(ran.message)")
        } else {
            #expect(ran.ok, "\(ran.error)")
        }
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
    ])
    func runawayCodeIsStopped(_ source: String) async {
        let clock = ContinuousClock()
        var ran: Ran?
        let time = await clock.measure { ran = await run(source) }
        if getenv("TRACE") != nil { writeError("DONE \(time) \(ran?.message.prefix(60) ?? "") <- \(source.prefix(80))\n") }
        #expect(ran?.ok == false, "it ended well")
        #expect(time < .seconds(6), "it took \(time)")
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
