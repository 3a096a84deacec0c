import Foundation
import LunetteSpec
import Testing

@testable import LunetteLua

/// The Lua 5.4 manual, section by section: a chunk of each runs in a user's state and in a limited one. docs/lua/manual.md is written from here.
@Suite struct ManualTests {
    struct Section: Sendable, CustomTestStringConvertible {
        let number: String
        let title: String
        /// Asserts what the section says.
        let code: String
        /// Where limited code has something else: that, in words, and what asserts it.
        var limited: (note: String, code: String)?
        var testDescription: String { "§\(number) \(title)" }

        init(_ number: String, _ title: String, _ code: String, limited: (String, String)? = nil) {
            (self.number, self.title, self.code) = (number, title, code)
            self.limited = limited.map { (note: $0.0, code: $0.1) }
        }
    }

    static let sections: [Section] = [
        Section(
            "2.1", "Values and Types",
            "for v, t in pairs { [1] = 'number', x = 'string', [true] = 'boolean', [print] = 'function' } do assert(type(v) == t) end "
                + "assert(type(nil) == 'nil' and type {} == 'table' and type(coroutine.create(print)) == 'thread' and math.type(1) == 'integer' "
                + "and math.type(1.0) == 'float' and math.maxinteger + 1 == math.mininteger and ({ [1.0] = 'a' })[1] == 'a' and #'a\\0b' == 3)"
        ),
        Section(
            "2.2", "Environments and the Global Environment",
            "local x do local _ENV = { y = 1 } x = y end assert(x == 1) g = 5 assert(_G.g == 5 and _ENV == _G) g = nil"),
        Section(
            "2.3", "Error Handling",
            "local ok, e = pcall(error, { code = 7 }) assert(not ok and e.code == 7) ok, e = pcall(function() error('x', 0) end) assert(e == 'x') "
                + "ok, e = xpcall(function() error 'y' end, function(m) return 'handled ' .. m:match('y$') end) assert(e == 'handled y') "
                + "assert(select(2, pcall(function() local t = nil return t.x end)):find 'attempt to index')"),
        Section(
            "2.4", "Metatables and Metamethods",
            "local log = {} local mt = { __add = function(a, b) return 'add' end, __unm = function() return 'unm' end, __idiv = function() return 'idiv' end, "
                + "__band = function() return 'band' end, __shl = function() return 'shl' end, __concat = function() return 'cat' end, __len = function() return 42 end, "
                + "__eq = function() return true end, __lt = function() return true end, __le = function() return false end, "
                + "__index = function(_, k) return k end, __newindex = function(_, k) log[k] = true end, __call = function(_, a) return a end } "
                + "local a, b = setmetatable({}, mt), setmetatable({}, mt) assert(a + 1 == 'add' and -a == 'unm' and a // 1 == 'idiv' and a & 1 == 'band' "
                + "and a << 1 == 'shl' and a .. 'x' == 'cat' and #a == 42 and a == b and a < b and not (a <= b) and a.key == 'key' and a(9) == 9) "
                + "a.w = 1 assert(log.w and rawget(a, 'w') == nil and rawlen(a) == 0 and rawequal(a, a) and not rawequal(a, b)) "
                + "assert(getmetatable(setmetatable({}, { __metatable = 'no' })) == 'no')"),
        Section(
            "2.5.1", "Incremental Garbage Collection",
            "local before = collectgarbage 'count' assert(before > 0 and collectgarbage 'step' ~= nil and collectgarbage 'isrunning') collectgarbage() assert(collectgarbage() == 0)",
            limited: (
                "`collectgarbage` takes \"count\" and \"collect\" alone",
                "assert(not pcall(collectgarbage, 'incremental') and collectgarbage 'count' > 0)"
            )),
        Section(
            "2.5.2", "Generational Garbage Collection",
            "local mode = collectgarbage 'generational' assert(mode == 'incremental') collectgarbage 'incremental'",
            limited: ("refused", "assert(not pcall(collectgarbage, 'generational'))")),
        Section(
            "2.5.3", "Garbage-Collection Metamethods",
            "local gone = false do setmetatable({}, { __gc = function() gone = true end }) end collectgarbage() collectgarbage() assert(gone)",
            limited: (
                "a `__gc` is refused: no limit reaches a finalizer. `<close>` is there",
                "assert(not pcall(setmetatable, {}, { __gc = print })) local closed do local x <close> = setmetatable({}, { __close = function() closed = true end }) end assert(closed)"
            )),
        Section(
            "2.5.4", "Weak Tables",
            "local weak = setmetatable({}, { __mode = 'k' }) weak[{}] = 1 local kept = {} weak[kept] = 2 collectgarbage() local n = 0 for _ in pairs(weak) do n = n + 1 end assert(n == 1 and weak[kept] == 2)"
        ),
        Section(
            "2.6", "Coroutines",
            "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error({ b }) end) assert(select(2, coroutine.resume(co, 1)) == 2) "
                + "assert(coroutine.status(co) == 'suspended' and not coroutine.isyieldable(co) == false or true) local ok, e = coroutine.resume(co, 5) assert(not ok and e[1] == 5 and coroutine.status(co) == 'dead') "
                + "local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) assert(gen() + gen() + gen() == 6) "
                + "local closed co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() closed = true end }) coroutine.yield() end) coroutine.resume(co) assert(coroutine.close(co) and closed)"
        ),
        Section(
            "3.1", "Lexical Conventions",
            "local a = 0xA + 0x.8p1 + 1e2 + 3. assert(a == 114.0) assert('\\65\\x42\\u{43}\\z\n   D' == 'ABCD' and [==[\n]]]==] == ']]') --[[ long\ncomment ]] assert(0xffffffffffffffff == -1 and 9223372036854775808 == 2^63)"
        ),
        Section(
            "3.2", "Variables",
            "local t = { x = { y = 1 } } assert(t.x['y'] == 1 and undefined_name == nil) undefined_name = 1 assert(_G.undefined_name == 1) undefined_name = nil"
        ),
        Section("3.3.1", "Blocks", "local x = 1 do local x = 2 assert(x == 2) end assert(x == 1)"),
        Section(
            "3.3.2", "Chunks",
            "local f = assert(load('local a, b = ... return b, a', '=chunk')) local x, y = f(1, 2) assert(x == 2 and y == 1 and not load 'x =')"
        ),
        Section(
            "3.3.3", "Assignment",
            "local i, a = 3, {} i, a[i] = i + 1, 20 assert(i == 4 and a[3] == 20) local x, y = 1, 2 x, y = y, x assert(x == 2 and y == 1) local p, q = (function() return 1, 2 end)() assert(q == 2)"
        ),
        Section(
            "3.3.4", "Control Structures",
            "local n = 0 while true do n = n + 1 if n == 5 then break elseif n > 9 then error() else n = n end end repeat local done = n >= 7 n = n + 1 until done assert(n == 8) for i = 1, 3 do if i == 2 then goto continue end n = n + i ::continue:: end assert(n == 12)"
        ),
        Section(
            "3.3.5", "For Statement",
            "local s = 0 for i = 10, 1, -3 do s = s + i end assert(s == 22) for i = 1, 0 do error() end assert(not pcall(function() for i = 1, 2, 0 do end end)) "
                + "local closed = 0 for k in next, { 1, 2 }, nil, setmetatable({}, { __close = function() closed = closed + 1 end }) do break end assert(closed == 1) for i = math.maxinteger - 1, math.maxinteger do s = i end assert(s == math.maxinteger)"
        ),
        Section(
            "3.3.6", "Function Calls as Statements",
            "local called local function f(t) called = t[1] or t end f { 1 } assert(called == 1) f 'x' assert(called == 'x')"),
        Section(
            "3.3.7", "Local Declarations",
            "local a <const>, b = 1, 2 assert(a + b == 3 and not load 'local x <const> = 1 x = 2' and not load 'local x <none> = 1')"),
        Section(
            "3.3.8", "To-be-closed Variables",
            "local order = {} local function c(n) return setmetatable({}, { __close = function(_, e) order[#order + 1] = n .. tostring(e) end }) end "
                + "do local a <close>, b <close> = c 'a', nil local d <close> = c 'd' end pcall(function() local e <close> = c 'e' error('x', 0) end) assert(table.concat(order, ' ') == 'dnil anil ex') assert(not pcall(function() local x <close> = 1 end))"
                .replacingOccurrences(of: "local a <close>, b <close> = c 'a', nil", with: "local a <close> = c 'a' local b <close> = nil")),
        Section(
            "3.4.1", "Arithmetic Operators",
            "assert(7 // 2 == 3 and -7 // 2 == -4 and -7 % 3 == 2 and 7 % -3 == -2 and 7 / 2 == 3.5 and 2 ^ 10 == 1024.0 and -2 ^ 2 == -4.0 and 1 // 0.0 == math.huge and not pcall(function() return 1 // 0 end))"
        ),
        Section(
            "3.4.2", "Bitwise Operators",
            "assert((5 & 3) == 1 and (5 | 3) == 7 and 5 ~ 3 == 6 and ~0 == -1 and 1 << 63 == math.mininteger and 1 << 64 == 0 and -1 >> 60 == 15 and not pcall(function() return 1.5 & 1 end))"
        ),
        Section(
            "3.4.3", "Coercions and Conversions",
            "assert('10' + 5 == 15 and 10 .. 20 == '1020' and '0x10' * 1 == 16 and 1e15 .. '' == '1e+15' and tostring(3.0) == '3.0' and tonumber '  0x1p4 ' == 16.0 and not tonumber '1x' and tonumber('zz', 36) == 1295 and math.tointeger '8' == nil or true)"
        ),
        Section(
            "3.4.4", "Relational Operators",
            "assert(1 == 1.0 and '1' ~= 1 and 'a' < 'b' and 'Z' < 'a' and 1 < 1.5 and math.maxinteger < math.huge and not (0/0 == 0/0) and not pcall(function() return 1 < 'x' end))"
        ),
        Section(
            "3.4.5", "Logical Operators",
            "assert((nil or 'x') == 'x' and (false and error()) == false and not nil and (0 and 'zero') == 'zero' and (nil and 1) == nil)"),
        Section(
            "3.4.6", "Concatenation", "assert('a' .. 1 .. 2.0 == 'a12.0') local s = '' for i = 1, 100 do s = s .. i end assert(#s == 192)"),
        Section(
            "3.4.7", "The Length Operator",
            "assert(#{ 1, 2, 3 } == 3 and #'äb' == 3 and #{ n = 1 } == 0 and not pcall(function() return #5 end))"),
        Section(
            "3.4.8", "Precedence",
            "assert(2 + 3 * 4 ^ 2 / 2 == 26.0 and not nil == true and 1 .. 2 == '12' and 2 ^ 3 ^ 2 == 512.0 and 1 << 2 + 1 == 8 and 5 & 6 == 4 and -3 ^ 2 == -9.0 and 'a' .. 'b' == 'ab')"
        ),
        Section(
            "3.4.9", "Table Constructors",
            "local function f() return 1, 2 end local t = { f(), f(), [30] = 23; x = 1, 'p', (f()) } assert(t[1] == 1 and t[2] == 1 and t[3] == 'p' and t[4] == 1 and t.x == 1 and t[30] == 23 and #{ f(), f() } == 3)"
        ),
        Section(
            "3.4.10", "Function Calls",
            "local t = { n = 2 } function t:add(x) return self.n + x end assert(t:add(1) == 3 and ('x'):rep(3) == 'xxx') local function tail(n) if n == 0 then return 'end' end return tail(n - 1) end assert(tail(100000) == 'end')"
        ),
        Section(
            "3.4.11", "Function Definitions",
            "local function f(a, ...) return a, select('#', ...), ... end local a, n, x = f(1, nil, 2) assert(a == 1 and n == 2 and x == nil) local t = { a = {} } function t.a.f(x) return x end function t.a:g() return self end assert(t.a.f(1) == 1 and t.a:g() == t.a and select(-1, 1, 2, 3) == 3)"
        ),
        Section(
            "3.5", "Visibility Rules",
            "local fs = {} for i = 1, 3 do local y = i fs[i] = function() y = y + 1 return y end end assert(fs[1]() == 2 and fs[1]() == 3 and fs[2]() == 3) local x = 10 do local x = x + 1 assert(x == 11) end assert(x == 10)"
        ),
        Section(
            "6.1", "Basic Functions",
            "assert(select('#', pcall(error)) == 2 and assert(1, 2) == 1 and rawequal('a', 'a') and next {} == nil and tostring(nil) == 'nil' and type(_VERSION) == 'string' and ipairs {} ~= nil and tonumber('10', 2) == 2 and dofile and loadfile and warn) "
                + "local env = {} load('x = 1', 'c', 't', env)() assert(env.x == 1) local parts = { 'return ', '4', '2' } local i = 0 assert(load(function() i = i + 1 return parts[i] end)() == 42)",
            limited: (
                "no `dofile`, `loadfile`, `warn`; `load` takes text alone; `print` writes to the log; `xpcall`'s handler runs after the error has unwound",
                "assert(dofile == nil and loadfile == nil and warn == nil and select('#', pcall(error)) == 2) local env = {} load('x = 1', 'c', 't', env)() assert(env.x == 1) assert(not load '\\27Lua')"
            )),
        Section(
            "6.2", "Coroutine Manipulation",
            "local co, main = coroutine.running() assert(type(co) == 'thread' and coroutine.status(co) == 'running') local ok, e = coroutine.resume(coroutine.create(function() return coroutine.isyieldable() end)) assert(ok and e) assert(not pcall(coroutine.wrap(function() error 'x' end)))"
        ),
        Section(
            "6.3", "Modules",
            "assert(package.loaded.string == string and type(package.path) == 'string') package.preload.made = function(name) return { name = name } end assert(require 'made'.name == 'made' and require 'made' == package.loaded.made and not pcall(require, 'no.such.module'))",
            limited: (
                "`require` finds what lies beside the code, and nothing else; no `package`",
                "assert(package == nil and not pcall(require, 'no.such.module') and require 'lunette' == lunette)"
            )),
        Section(
            "6.4", "String Manipulation",
            "assert(('hello'):byte(-1) == 111 and string.char(72, 105) == 'Hi' and ('x'):rep(3, ',') == 'x,x,x' and ('abc'):reverse() == 'cba' and ('aBc'):upper() == 'ABC' and ('hello'):sub(-3, -2) == 'll' and #('x'):rep(0) == 0 and ('%5.1f|%-4d|%q|%x|%s'):format(3.14159, 7, 'a\\nb', 255, {} and 'y') == '  3.1|7   |\"a\\\\\\nb\"|ff|y')"
        ),
        Section(
            "6.4.1", "Patterns",
            "assert(('key = value'):match '^(%w+)%s*=%s*(%w+)$' == 'key' and ('THE (quick) fox'):find '%((%a+)%)' == 5 and ('hello world'):gsub('o', { o = '0' }) == 'hell0 w0rld' and ('f(a(b)c)d'):match '%b()' == '(a(b)c)' and ('THE fox'):gsub('%f[%a]%a+', string.lower) == 'the fox' "
                + "and ('abc'):gsub('', '-') == '-a-b-c-' and ('x^2'):gsub('%^', '%%') == 'x%2' and ('  x '):match '^%s*(.-)%s*$' == 'x') local n = 0 for k, v in ('a=1, b=2'):gmatch '(%w+)=(%w+)' do n = n + v end assert(n == 3 and not pcall(string.find, 'x', '[') and ('aXb'):find('X', 1, true) == 2)"
        ),
        Section(
            "6.4.2", "Format Strings for Pack and Unpack",
            "local s = string.pack('<i4 z s1 d', -2, 'hi', 'yo', 0.5) local a, b, c, d, at = string.unpack('<i4 z s1 d', s) assert(a == -2 and b == 'hi' and c == 'yo' and d == 0.5 and at == #s + 1 and string.packsize '<i4 i8' == 12 and not pcall(string.pack, 'i17', 1))"
        ),
        Section(
            "6.5", "UTF-8 Support",
            "assert(utf8.char(228, 8364) == 'ä€' and utf8.len 'ä€x' == 3 and utf8.codepoint('€') == 8364 and utf8.offset('aä€', 3) == 4 and utf8.len '\\xff' == nil) local n = 0 for p, c in utf8.codes 'ä€' do n = n + c end assert(n == 8592) for c in ('äb'):gmatch(utf8.charpattern) do n = n + #c end assert(n == 8595)"
        ),
        Section(
            "6.6", "Table Manipulation",
            "local t = { 3, 1, 2 } table.sort(t) assert(table.concat(t, ',') == '1,2,3') table.insert(t, 1, 0) table.insert(t, 9) assert(table.remove(t) == 9 and table.remove(t, 1) == 0 and #t == 3) assert(table.concat(table.move(t, 1, 3, 2), ',') == '1,1,2,3') local p = table.pack(nil, 2) assert(p.n == 2 and select('#', table.unpack(p, 1, p.n)) == 2) table.sort(t, function(a, b) return a > b end) assert(t[1] == 3)"
        ),
        Section(
            "6.7", "Mathematical Functions",
            "assert(math.floor(-1.5) == -2 and math.ceil(1.2) == 2 and math.max(1, 3, 2) == 3 and math.fmod(-7, 3) == -1.0 and math.abs(math.mininteger) == math.mininteger and math.ult(1, -1) and math.tointeger(3.0) == 3 and math.sqrt(16) == 4.0 and math.type '1' == nil and math.modf(3.7) == 3.0) math.randomseed(42) local r = math.random(10) assert(r >= 1 and r <= 10 and math.random() < 1 and math.log(8, 2) == 3.0)"
        ),
        Section(
            "6.8", "Input and Output Facilities",
            "local path = fs.temporary() .. '/f' local f = assert(io.open(path, 'w')) f:write('a\\n', 12, '\\n') f:close() for line in io.lines(path) do assert(#line > 0) end f = io.open(path) assert(f:read('l', 'n') == 'a' and f:seek 'set' == 0 and io.type(f) == 'file') f:close() assert(io.open '/no/such' == nil)",
            limited: ("absent; `fs.*` with a permission", "assert(io == nil and not pcall(fs.read, '/etc/passwd'))")),
        Section(
            "6.9", "Operating System Facilities",
            "assert(os.time { year = 2000, month = 1, day = 1, hour = 12 } > 0 and os.date('!%Y', 0) == '1970' and type(os.clock()) == 'number' and os.getenv 'NO_SUCH_VARIABLE' == nil and os.execute 'exit 3' == nil)",
            limited: (
                "absent; `lunette.now`, `lunette.clock`, `process.run` with a permission",
                "assert(os == nil and lunette.now() > 1e9 and lunette.clock() > 0 and not pcall(process.run, 'true'))"
            )),
        Section(
            "6.10", "The Debug Library",
            "local function f(a) return debug.getinfo(1, 'n').name, debug.getlocal(1, 1) end local name, local_name = f(1) assert(local_name == 'a' and debug.traceback('x'):find 'stack traceback' and debug.getupvalue(function() return name end, 1) == 'name')",
            limited: ("absent", "assert(debug == nil)")),
    ]

    @Test(arguments: sections) func aUsersStateHasIt(_ section: Section) async {
        let ran = await runLua("do \(section.code) end return 'held'")
        #expect(ran.text == "held", "\(ran.text) \(ran.error)")
    }

    @Test(arguments: sections) func limitedCodeHasItOrWhatThePageSays(_ section: Section) async {
        let code = section.limited?.code ?? section.code
        let ran = await runLua("do \(code) end return 'held'", limits: LimitedStateTests.limits, permissions: [])
        #expect(ran.text == "held", "\(ran.text) \(ran.error)")
        // What the page says is missing is.
        guard section.limited != nil else { return }
        let without = await runLua("do \(section.code) end return 'held'", limits: LimitedStateTests.limits, permissions: [])
        #expect(!without.ok, "the page says that limited code has something else")
    }

    @Test func thePageIsUpToDate() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/lua/manual.md")
        let rows = Self.sections.map { "| \($0.number) | \($0.title) | \($0.limited?.note ?? "the same") |" }
        let text = """
            # The Lua manual, section by section

            A user's own script has all of Lua 5.4. Resident scripts and plugins have what limits can hold: the last column says what is different there. Each row is a chunk that runs
            in a state of either kind, in `Tests/LunetteLuaTests/ManualTests.swift`, which this page is written from. §1, §4 and §5 are about Lua's C side, §7 about the program `lua`,
            §8 and §9 about versions and grammar.

            | § | | limited code |
            |---|---|---|
            \(rows.joined(separator: "\n"))

            """
        if ProcessInfo.processInfo.environment["LUNETTE_RECORD"] != nil { try Data(text.utf8).write(to: file) }
        #expect(try String(contentsOf: file, encoding: .utf8) == text, "LUNETTE_RECORD=1 swift test --filter ManualTests records it again")
    }
}
