import Foundation
import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

/// Attacks 70–79 on limited states. Where it can be shown, a state without limits shows first that the attack is one.
@Suite(.serialized) struct AttackTests {
    static let limits = LuaState.Limits(memory: 16 << 20, instructions: 2_000_000, wallSeconds: 1, isLimited: true)

    private func limited(_ source: String, permissions: Set<String> = [], wallSeconds: Double = 1) async -> Ran {
        var limits = Self.limits
        limits.wallSeconds = wallSeconds
        return await runLua(source, limits: limits, permissions: permissions)
    }

    /// Runs it in a state without limits for a fifth of a second.
    /// - Returns: whether it had to be interrupted.
    private func runsAway(_ source: String) async -> Bool {
        let ran = await runLua(
            source,
            before: { host in
                let (mailbox, interrupter) = (host.mailbox, host.state.interrupter)
                onOwnThread {
                    usleep(200_000)
                    LuaHost.interrupt(mailbox, interrupter)
                }
            })
        return !ran.ok && ran.code == "cancelled"
    }

    // MARK: 70, 71: what can be reached

    @Test func a70NothingOfTheMachineIsReachable() async {
        let without = await runLua(
            "return io.open('/etc/hostname') ~= nil, os.getenv('PATH') ~= nil, debug.getregistry() ~= nil, load(string.dump(function() return 7 end))()"
        )
        #expect(without.text == "true\ttrue\ttrue\t7", "\(without.text) \(without.error)")
        // Every table, metatable, key and value that leads on from _G and from the nouns, whatever it is called.
        let ran = await limited(
            """
            for noun in ("image container volume hook script plugin system log json fs sandbox task store process http"):gmatch "%a+" do
              local _ = lunette[noun]
            end
            local bad = {}
            for name in ([[open popen lines tmpfile execute exit getenv remove_ setlocale tmpname loadlib searchpath cpath preload searchers
              getregistry sethook gethook getupvalue setupvalue upvalueid upvaluejoin getlocal setlocal setmetatable_ getinfo traceback
              dofile loadfile dump generational incremental setcstacklimit]]):gmatch "%S+" do bad[name] = true end
            local seen, found, count = {}, {}, 0
            local function walk(value, path)
              if type(value) ~= "table" and type(value) ~= "string" and type(value) ~= "userdata" and type(value) ~= "thread" then return end
              if seen[value] or #path > 400 then return end
              seen[value] = true
              local meta = getmetatable(value)
              if type(meta) == "table" then walk(meta, path .. "<meta>") end
              if type(value) ~= "table" then return end
              for key, item in pairs(value) do
                count = count + 1
                local place = path .. "." .. tostring(key)
                if bad[key] and not place:find "store%.open$" then found[#found + 1] = place end
                walk(key, place .. "<key>")
                walk(item, place)
              end
            end
            walk(_G, "") walk(lunette, "lunette") walk("", "string")
            table.sort(found)
            return table.concat(found, " "), count > 100
            """, wallSeconds: 20)
        #expect(ran.text == "\ttrue", "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        "local f = load(('\\27Lua'):rep(2)) assert(f)", "assert(load(function() return '\\27LuaT' end))",
        "assert(load('\\27LuaS', 'x', 'b'))", "local ok, f = pcall(load, '\\27Lua', 'x', 'bt', {}) assert(f)",
    ])
    func a70BytecodeIsNeverLoaded(_ source: String) async {
        let ran = await limited(source)
        #expect(!ran.ok, "\(ran.text)")
    }

    @Test func a71OneStateSeesNothingOfAnother() async {
        _ = await limited("leaked = 1 string.leaked = 1")
        _ = await limited(
            "leaked = 1 lunette.leaked = 1 setmetatable(_G, { __index = function() return 'leaked' end }) rawset(lunette, 'x', 1)")
        let ran = await limited(
            "return rawget(_G, 'leaked'), string.leaked, rawget(lunette, 'leaked'), rawget(lunette, 'x'), getmetatable('').__index == nil")
        #expect(ran.text.hasPrefix("nil\tnil\tnil\tnil") || !ran.ok && ran.message.contains("index a boolean"), "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        "string.x = 1", "math.pi = 3", "rawset(getmetatable(''), '__index', {})", "getmetatable(string).__index = {}",
        "setmetatable(string, {})", "debug.setmetatable(1, {})", "setmetatable('', {})", "setmetatable(lunette, nil)",
        "getmetatable(lunette).__index = print",
    ])
    func a71SharedTablesAreClosed(_ source: String) async {
        let ran = await limited(source)
        #expect(!ran.ok, "\(source)")
    }

    // MARK: 72, 73: time

    @Test(arguments: [
        "while true do end", "coroutine.wrap(function() while true do end end)()",
        "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
        "local x <close> = setmetatable({}, { __close = function() while true do end end })",
        "table.sort({ 3, 2, 1 }, function() while true do end end)", "('x'):gsub('x', function() while true do end end)",
        "load(function() while true do end end)", "setmetatable({}, { __gc = function() while true do end end }) collectgarbage()",
        "for _ in function() while true do end end do end", "return #setmetatable({}, { __len = function() while true do end end })",
        "return setmetatable({}, { __concat = function() while true do end end }) .. 'x'",
        "return tostring(setmetatable({}, { __tostring = function() while true do end end }))",
        "local f f = function() return f() end f()", "goto a ::a:: goto a", "repeat until false",
    ])
    func a72RunawayCodeIsStoppedWhereverItRuns(_ source: String) async {
        // `load` hands the interrupt on as its result; in a finalizer Lua calls no hook at all, so that one would never end.
        if !source.contains("__gc") && !source.contains("load") { #expect(await runsAway(source), "no attack: \(source)") }
        let clock = ContinuousClock()
        var ran: Ran?
        let time = await clock.measure { ran = await limited(source) }
        #expect(ran?.ok == false && time < .seconds(5), "\(time) \(String(describing: ran))")
    }

    /// Swallowing the error is no way out: it comes again until the entry has unwound.
    @Test(arguments: [
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) coroutine.close(co) end",
        "local function again() return pcall(again, pcall(function() while true do end end)) end again() while true do end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do pcall(load, function() while true do end end) end",
        "while true do pcall(table.sort, { 3, 2, 1 }, function() while true do end end) end",
        "while true do pcall(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) error 'x' end) end",
        "while true do pcall(string.gsub, ('x'):rep(100), 'x', function() while true do end end) end",
        "task.spawn(function() while true do pcall(function() while true do end end) end end) task.sleep(0)",
        "while true do lunette.try(function() while true do end end) end",
        "while true do pcall(task.timeout, 1, function() while true do end end) end",
    ])
    func a72SwallowedErrorsComeAgain(_ source: String) async {
        let clock = ContinuousClock()
        var ran: Ran?
        let time = await clock.measure { ran = await limited(source) }
        #expect(time < .seconds(5), "\(time) \(String(describing: ran))")
    }

    /// C functions are one instruction each, whatever they do.
    @Test func a73WorkInsideACFunctionCounts() async {
        // Twenty million steps of Lua's own matcher that no count hook sees.
        let pattern = "local n = ('a'):rep(70) return n:find(('a*'):rep(5) .. 'b')"
        let without = await runLua(pattern)
        #expect(without.ok && without.text == "nil", "\(without.error)")
        let ran = await limited(pattern, wallSeconds: 60)
        #expect(!ran.ok && ran.code == "resource_exhausted", "\(ran.text) \(ran.error)")
        for source in [
            "('a'):rep(1e8)", "(''):rep(1e8, 'ab')", "table.concat(setmetatable({}, { __len = function() return 1e9 // 1 | 0 end }))",
            "table.unpack({}, 1, 1e7)", "('%d'):rep(1e7)", "table.move({}, 1, 1e9, 2)",
            "string.pack(('s'):rep(1e6), table.unpack({}, 1, 100))",
            "('x'):rep(1e6):rep(1e6)", "utf8.char(table.unpack({}, 1, 1e7))", "select('#', table.unpack({}, 1, 1e8))",
        ] {
            let clock = ContinuousClock()
            var ran: Ran?
            let time = await clock.measure { ran = await limited("return #(\(source))") }
            #expect(ran?.ok == false && time < .seconds(3), "\(source): \(time) \(String(describing: ran))")
        }
        #expect(await runLua("return #('a'):rep(1e8)").text == "100000000")
    }

    // MARK: 74, 75, 76: memory, stack, source

    @Test(arguments: [
        "local t = {} for i = 1, 1e7 do t[i] = {} end", "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = { t } end", "local s = ('x'):rep(1 << 20) local t = {} for i = 1, 100 do t[i] = s .. i end",
        "local t = {} for i = 1, 1e6 do t[i] = coroutine.create(function() end) end",
        "local t = {} for i = 1, 1e6 do t[i] = function() return i, t end end",
        "local parts = {} for i = 1, 2e5 do parts[i] = 'x' .. i .. '=' .. i end assert(load(table.concat(parts, ' ')))",
    ])
    func a74MemoryHasAnEnd(_ source: String) async {
        var limits = Self.limits
        (limits.instructions, limits.wallSeconds) = (0, 60)
        let attack = "local ok, problem = pcall(function() \(source) end) "
        let without = await runLua(attack.replacingOccurrences(of: "while true", with: "for _ = 1, 24") + "return ok")
        #expect(without.text == "true", "\(without.error)")
        let ran = await runLua(
            attack + "collectgarbage() local again = {} for i = 1, 1000 do again[i] = i .. '' end return ok, #again, tostring(problem)",
            limits: limits)
        #expect(ran.text.hasPrefix("false\t1000\t") && ran.text.contains("memory"), "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        "local function f(n) return 1 + f(n + 1) end f(1)", "local f f = function(s) return (s:gsub('.', f)) end f('x')",
        "local t = {} for _ = 1, 1e5 do t = setmetatable({}, { __index = t }) end return t.x",
        "local function nest() return coroutine.wrap(function() return nest() end)() end nest()",
        "assert(load('return ' .. ('('):rep(1e5)))", "assert(load('return ' .. ('{'):rep(1e5)))",
        "assert(load(('do '):rep(1e5)))", "assert(load('x = ' .. ('-'):rep(1e5) .. '1'))",
        "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
        "local t = setmetatable({}, {}) getmetatable(t).__eq = function(a, b) return a == b end return t == setmetatable({}, getmetatable(t))",
        "local t = {} t.t = t return json.encode(t)", "local t = {} for _ = 1, 1e4 do t = { t } end return json.encode(t)",
        "json.decode(('['):rep(1e5))", "error(setmetatable({}, { __tostring = function(e) return tostring(e) end }))",
        "string.format('%s', setmetatable({}, { __tostring = function(e) return string.format('%s', e) end }))",
    ])
    func a75DeepRecursionIsAnError(_ source: String) async {
        var limits = Self.limits
        (limits.instructions, limits.wallSeconds, limits.memory) = (50_000_000, 30, 64 << 20)
        let ran = await runLua(
            "local ok = pcall(function() \(source) end) return ok, #tostring({}) > 5, pcall(string.rep, 'x', 3)", limits: limits)
        // Over a limit is an answer too; a crash, or an end that is well, is none.
        #expect(ran.text == "false\ttrue\ttrue\txxx" || !ran.ok, "\(ran.text) \(ran.error)")
    }

    @Test func a76SourceMadeUpAtRandomNeverCrashes() async {
        let ran = await limited(
            """
            local words = { "local", "function", "end", "if", "then", "else", "for", "in", "do", "while", "repeat", "until", "goto", "::", "a", "b",
              "=", "==", "(", ")", "{", "}", "[", "]", "[[", "]]", "--", "--[[", "'", '"', "\\\\", "..", "...", "1e", "0x", "<close>", "<const>",
              "return", "break", "nil", "#", "~=", "//", ">>", "\\0", "\\255", ";", ",", ":", ".", "and", "not", "1", "%" }
            local count = 0
            for seed = 1, 300 do
              local parts = {}
              for i = 1, seed % 40 + 1 do parts[i] = words[(seed * 7919 + i * i * 104729) % #words + 1] end
              local f = load(table.concat(parts, seed % 2 == 0 and " " or ""))
              if f then count = count + 1 end
            end
            return count >= 0
            """, wallSeconds: 30)
        #expect(ran.text == "true" || ran.code == "resource_exhausted", "\(ran.error)")
    }

    // MARK: 77, 78: the border

    /// Every function that code reaches raises for values it wasn't made for, and nothing is left of ten thousand of them.
    @Test func a77ErrorsAtTheBorderLeaveNothing() async {
        let ran = await limited(
            """
            local bad = { 0/0, 1 << 63, "", {}, print, coroutine.create(print), setmetatable({}, { __index = function() error "x" end }) }
            local function storm(n)
              for i = 1, n do
                pcall(json.encode, bad[i % #bad + 1]) pcall(lunette.bytes, bad[i % #bad + 1]) pcall(lunette.seconds, bad[i % #bad + 1])
                pcall(lunette.container.get, bad[i % #bad + 1]) pcall(task.sleep, bad[i % 6 + 2]) pcall(json.decode, "[" .. i)
              end
              collectgarbage() collectgarbage()
              return collectgarbage "count"
            end
            storm(100)
            local before = storm(100)
            return storm(1000) - before < 100
            """, wallSeconds: 60)
        #expect(ran.text == "true", "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        "table.sort({ 3, 2, 1 }, function() task.sleep(0) end)", "('x'):gsub('x', function() task.sleep(0) end)",
        "assert(load(function() task.sleep(0) end))",
    ])
    func a77WaitingAcrossACFunctionIsAnError(_ source: String) async {
        let ran = await limited(source)
        #expect(!ran.ok, "\(ran.text)")
    }

    @Test func a78HandlesOutliveWhatTheyName() async {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            switch request.function {
            case "container.get": return FakeEngine.handle("container", "abc", "web")
            case "container.remove": return .null
            case "hook.register": return ["subscription": request.arguments["subscription"]!]
            case "hook.unregister": return .null
            default: throw LunetteError(.notFound, "no container is called \"web\"")
            }
        }
        let ran = await runLua(
            """
            local c = container.get "web"
            c:remove()
            local ok, e = pcall(c.inspect, c)
            local sub = lunette.on("container.exited", {}, print)
            sub:off() sub:off()
            local forged = pcall(function() return setmetatable({ ["$handle"] = "container", id = "x" }, getmetatable(c)).nothing end)
            return ok, e.code, c == container.get "web", forged, tostring(c)
            """, engine: engine)
        #expect(ran.text == "false\tnot_found\ttrue\tfalse\tcontainer web (abc)", "\(ran.text) \(ran.error)")
    }

    // MARK: 79: modules

    @Test func a79ModulesComeFromBesideTheCodeAlone() async throws {
        let folder = NSTemporaryDirectory() + "lunette-modules-" + randomIdentifier(bytes: 6)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder + "/code/sub", withIntermediateDirectories: true)
        for (name, text) in [("code/near", "return 'near'"), ("code/sub/init", "return 'sub'"), ("outside", "return 'outside'")] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name).lua"))
        }
        try FileManager.default.createSymbolicLink(atPath: folder + "/code/link.lua", withDestinationPath: folder + "/outside.lua")
        try FileManager.default.createSymbolicLink(atPath: folder + "/code/up", withDestinationPath: folder)
        let found = try await limitedHost(
            """
            local names = {}
            for _, name in ipairs { "near", "sub", "link", "up.outside", "../outside", "..outside", "/etc/passwd", "outside", "near\\0", "cjson", "io", "" } do
              local ok, value = pcall(require, name)
              names[#names + 1] = ok and value or "-"
            end
            return table.concat(names, " ")
            """, modules: folder + "/code")
        #expect(found == "near sub - - - - - - - - - -", "\(found)")
        // A user's own script searches its folder, never the working one.
        let paths = await runLua("return package.path:find('./', 1, true) == 1 or package.path:find(';./', 1, true) ~= nil", prints: true)
        #expect(paths.text == "false", "\(paths.text)")
    }

    private func limitedHost(_ source: String, modules: String) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            onOwnThread {
                var options = LuaHost.Options(connector: nil, directory: "/")
                options.limits = Self.limits
                options.permissions = []
                options.moduleDirectory = modules
                do {
                    let host = try LuaHost(options)
                    host.enter("run", ["source": .string(source), "name": "=test", "prints": true])
                    let outcome = host.runToEnd()
                    waitFor { await host.close() }
                    continuation.resume(returning: outcome["text"]?.stringValue ?? JSON.encode(outcome))
                } catch { continuation.resume(throwing: error) }
            }
        }
    }

    /// Debian's C module, in a user's own script; refused in limited code, where it works though for who has Lua's `package`.
    @Test(.enabled(if: FileManager.default.fileExists(atPath: "/usr/lib/x86_64-linux-gnu/lua/5.4/cjson.so"), "lua-cjson isn't installed"))
    func cModulesAreForUsersAlone() async {
        let ran = await runLua("local cjson = require 'cjson' return cjson.encode(cjson.decode '[1,{\"a\":null}]')")
        #expect(ran.text == "[1,{\"a\":null}]", "\(ran.text) \(ran.error)")
        let refused = await limited("require 'cjson'")
        #expect(!refused.ok && refused.message.contains("not found beside this code"), "\(refused.error)")
    }

    // MARK: in the engine

    /// A resident handler that runs away is stopped, and the next event finds the script whole.
    @Test(arguments: [
        "while true do end", "while true do pcall(function() while true do end end) end", "local s = 'x' while true do s = s .. s end",
        "coroutine.wrap(function() while true do pcall(error) end end)()", "return ('a'):rep(30000):find(('.-'):rep(20) .. 'b')",
        "local function f() return 1 + f() end f()", "error(setmetatable({}, { __tostring = function() while true do end end }))",
    ])
    func aResidentHandlerThatRunsAwayIsStopped(_ attack: String) async throws {
        var host = LuaResidentHost()
        (host.memoryLimit, host.instructionLimit, host.sliceSeconds) = (16 << 20, 2_000_000, 1)
        let source = """
            lunette.before("container.create", { name = "x" }, function(ev)
              if ev.spec.attack then \(attack) end
              ev:amend { labels = { seen = "yes" } }
            end)
            """
        struct NoModules: ResidentModules { func source(of module: String) -> [UInt8]? { nil } }
        let script = try await host.load(
            ResidentScript(name: "x", file: "x.lua", source: Array(source.utf8)), modules: NoModules(), connector: FakeEngine(),
            log: { _ in })
        for round in 0..<3 {
            let clock = ContinuousClock()
            var failure: LunetteError?
            let time = await clock.measure {
                do throws(LunetteError) {
                    _ = try await script.receiver.before(
                        subscription: "before/x", event: ["name": "container.create", "spec": ["attack": true]])
                } catch { failure = error }
            }
            #expect(failure != nil && time < .seconds(5), "round \(round): \(time)")
            let answer = try await script.receiver.before(subscription: "before/x", event: ["name": "container.create", "spec": [:]])
            #expect(answer["amend"]?["labels"]?["seen"] == "yes")
        }
        await script.stop(patience: 0)
    }
}
