import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

@Suite struct REPLTests {
    /// Evaluates lines one after another in one session; what each prints, or its error.
    private func session(_ lines: [String]) async -> [String] {
        await withCheckedContinuation { continuation in
            onOwnThread {
                var results: [String] = []
                guard let host = try? LuaHost(LuaHost.Options(connector: nil, directory: "/")) else {
                    continuation.resume(returning: [])
                    return
                }
                for line in lines {
                    let answer = host.enter("repl_line", ["source": .string(line)])
                    if answer.first?.stringValue == "incomplete" {
                        results.append("incomplete")
                        continue
                    }
                    let outcome = host.runToEnd()
                    results.append(
                        outcome["ok"]?.boolValue == true
                            ? outcome["text"]?.stringValue ?? "" : outcome["error"]?["message"]?.stringValue ?? "?")
                }
                continuation.resume(returning: results)
            }
        }
    }

    @Test func localsAndTheLastValueLiveOn() async {
        let results = await session([
            "local x, y = 41, 'a'", "x + 1", "_", "x = x + 1", "x", "y", "local x = 'new'", "x", "z", "function f() return x end", "f()",
        ])
        #expect(results == ["", "42", "42", "", "42", "\"a\"", "", "\"new\"", "", "", "\"new\""])
    }

    @Test func aLineThatGoesOnSaysSo() async {
        let results = await session(["function f()", "function f()\nreturn 1", "function f()\nreturn 1\nend", "f()", "x ="])
        #expect(results == ["incomplete", "incomplete", "", "1", "incomplete"])
    }

    @Test func errorsLeaveTheSessionUsable() async {
        let results = await session(["local a = 1", "error('boom')", "nope.x", "a"])
        #expect(results[1] == "repl:1: boom" && results[2].contains("nil value (global 'nope')") && results[3] == "1", "\(results)")
    }

    @Test func waitsWorkInALine() async {
        #expect(
            await session(["task.sleep(0.001)", "local t = task.spawn(function() task.sleep(0) return 5 end)", "t:await()"]) == [
                "", "", "5",
            ])
    }

    @Test func aSpawnedTaskRunsBesideThePrompt() async {
        let results = await session([
            "t = task.spawn(function() task.sleep '300s' end)", "tostring(t)", "error 'boom'", "tostring(t)",
            "late = task.spawn(function() task.sleep(0.001) return 'done' end)", "late:await()",
            "t:cancel()", "pcall(t.await, t)", "task.spawn(function() task.sleep(0.001) error 'unheard' end) task.sleep(0.01)",
        ])
        #expect(results[1] == "\"task (ready)\"" && results[2] == "repl:1: boom" && results[3] == results[1], "\(results)")
        #expect(results[5] == "\"done\"" && results[6] == "true" && results[7].hasPrefix("false"), "\(results)")
    }

    @Test(arguments: [
        "fs.write(d .. '/x', 'a')", "fs.mkdir(d .. '/x')", "fs.remove(d)", "fs.rename(d, d .. '2')", "container.run { image = 'x' }",
        "container.remove 'web'", "container.copy_out('web', '/x', '/y')", "image.save('x', '/y')", "image.push 'x'",
        "sandbox.run { args = { 'true' } }",
        "lunette.before('container.create', {}, print)", "container.attach 'web'",
    ])
    func aSessionThatOnlyReadsRefusesWhatChanges(_ source: String) async {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            if request.function == "container.get" { return FakeEngine.handle("container", "abc123", "web") }
            throw LunetteError(.internal, "\(request.function) was really called")
        }
        let ran = await runLua("local d = fs.temporary() " + source, engine: engine, isReadOnly: true)
        #expect(ran.code == "denied" && ran.hint == "leave out --read-only", "\(ran.error)")
    }

    @Test func aSessionThatOnlyReadsReadsAndListens() async {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            request.function == "hook.register" ? ["subscription": request.arguments["subscription"]!] : .null
        }
        let ran = await runLua(
            "lunette.on('container.exited', print):off() return fs.exists '/etc', #fs.list(fs.temporary())", engine: engine,
            isReadOnly: true)
        #expect(ran.text == "true\t0", "\(ran.error)")
    }

    @Test func aCancelledLineTakesAlongWhatItSpawned() throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        func line(_ source: String, interrupting: Bool = false) -> Value {
            host.enter("repl_line", ["source": .string(source)])
            if interrupting { host.enter("interrupt", [:]) }
            return host.runToEnd()
        }
        #expect(line("old = task.spawn(function() task.sleep '300s' end)")["ok"] == true)
        // At the prompt it is for what was typed.
        host.enter("interrupt", [:])
        #expect(
            line("new = task.spawn(function() task.sleep '300s' end) task.sleep '300s'", interrupting: true)["error"]?["code"]
                == "cancelled")
        #expect(line("tostring(old) .. ', ' .. tostring(new)")["text"] == "\"task (ready), task (cancelled)\"")
        // Leaving ends all, and what they have open.
        #expect(
            line("task.spawn(function() local c <close> = setmetatable({}, { __close = function() x = 5 end }) task.sleep '300s' end)")[
                "ok"] == true)
        #expect(host.enter("repl_leave", [:]).first == true)
        #expect(host.runToEnd()["ok"] == true)
        #expect(line("x, tostring(old)")["text"] == "5\t\"task (cancelled)\"")
        #expect(host.enter("repl_leave", [:]).first == false)
    }

    @Test func whatOthersSayAppearsAtOnce() throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        var above: [String] = []
        host.onShow = { _, text in above.append(text) }
        host.enter("repl_line", ["source": "task.spawn(function() task.sleep '1ms' error 'unheard' end)"])
        _ = host.runToEnd()
        host.isPrompting = true
        while above.isEmpty, host.pump() {}
        #expect(above == ["lunette: the task at repl:1 failed: repl:1: unheard"])
        // A screen that is drawn again and again doesn't swallow it.
        host.isPrompting = false
        above = []
        host.enter("repl_line", ["source": "task.spawn(function() task.sleep '1ms' print('beside') end)"])
        _ = host.runToEnd()
        host.enter("repl_watch", ["source": "print('own')", "period": 0.005])
        for _ in 0..<6 { host.pump() }
        host.enter("interrupt", [:])
        _ = host.runToEnd()
        host.isPrompting = true
        host.enter("repl_watched", [:])
        #expect(above.last == "beside" && !above.contains("own"), "\(above)")
    }

    @Test(arguments: [
        // What can't stand alone is printed, a call is not, and what isn't asked for again isn't kept.
        (
            ["1 + 1", "print 'x'", "local x = 2", "x -- two"],
            "print(lunette.inspect(1 + 1))\nprint 'x'\nlocal x = 2\nprint(lunette.inspect(x -- two\n))"
        ),
        (["f()", "_", "g()"], "keep(f())\nprint(lunette.inspect(_))\ng()"),
        (
            ["{ 5 }", "_[1]", "_ + 1;", "_ == 6", "keep = 1"],
            "print(lunette.inspect(keep_({ 5 })))\nprint(lunette.inspect(keep_(_[1])))\n"
                + "print(lunette.inspect(keep_(_ + 1)))\nprint(lunette.inspect(_ == 6))\nkeep = 1"
        ),
        (
            ["1; -- c", "_"],
            "for _, value in ipairs { keep((function() return 1; -- c\nend)()) } do print(lunette.inspect(value)) end\nprint(lunette.inspect(_))"
        ),
        (["1, 'a'"], "for _, value in ipairs { 1, 'a' } do print(lunette.inspect(value)) end"),
        (["local a_b = 1", "a_b", "a_b"], "local a_b = 1\nprint(lunette.inspect(a_b))\nprint(lunette.inspect(a_b))"),
    ])
    func aSavedSessionDoesTheSame(_ lines: [String], _ expected: String) throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        let script = try #require(host.enter("repl_script", ["lines": .array(lines.map(Value.string))]).first?.stringValue)
        #expect(script.hasSuffix(expected), "\(script)")
        #expect((script != expected) == lines.contains { $0.hasPrefix("_") }, "the helper stands where it is needed alone: \(script)")
    }

    @Test(arguments: [
        ("contai", ["container"]), ("container.li", ["container.list"]), ("lunette.vol", ["lunette.volume"]),
        ("x = json.d", ["json.decode"]),
        (
            "container.re",
            ["container.remove", "container.rename", "container.resize", "container.restart", "container.restore", "container.resume"]
        ),
        ("nothing.x", []), (":ta", [":tasks"]),
    ])
    func namesAreCompleted(_ text: String, _ expected: [String]) {
        #expect(REPL.completions(text) == expected)
    }

    @Test(arguments: [
        ("container.run { na", "na", ["name"]),
        ("container.run { image = 'x', resources = { mem", "mem", ["memory", "memory_reservation", "memory_swap"]),
        ("container.run { mounts = { { rea", "rea", ["readonly"]),
        ("container.run { mounts = { { type = 'tmpfs' }, { tar", "tar", ["target"]),
        ("container.get('web'):exec({ 'ls' }, { tim", "tim", ["timeout"]),
        ("lunette.image.pull('x', { pol", "pol", ["policy"]),
        ("container.run { name = imag", "imag", ["image"]),
        ("container.run { name = 'x', nosuch", "nosuch", []),
        ("print { ta", "ta", ["table", "task"]),
        ("fs.read 'so", "so", []), ("container.get('web'):rena", ":rena", [":rename"]), ("volume.get 'v':us", ":us", [":usage", ":users"]),
    ])
    func optionsAreCompletedWhereTheyStand(_ line: String, _ word: String, _ expected: [String]) {
        #expect(REPL.completions(word, line: line) == expected)
    }
}
