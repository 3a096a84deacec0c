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

    @Test(arguments: [
        // Blocks end before the chunk does; what is in texts and comments is none.
        (["do local x = 1 end", "x"], ["", ""]),
        (["local s, t = 'local q = 1', [[local r]] -- local u", "s, t, q, r, u"], ["", "\"local q = 1\"\t\"local r\"\tnil\tnil\tnil"]),
        (["local function f(n) if n == 0 then return 1 end return n * f(n - 1) end", "f(5)"], ["", "120"]),
        (["local a <const>, b = 1, 2", "a + b"], ["", "3"]), (["local a = 1 return a + 1", "a"], ["2", "1"]),
        (["local x = 1", "local function up() x = x + 1 return x end", "up()", "up()"], ["", "", "2", "3"]),
        (["for i = 1, 3 do local y = i end repeat local z = 1 until z", "y or z"], ["", ""]),
        (["local n = 0 while n < 3 do n = n + 1 end", "n"], ["", "3"]), (["local x = 5 goto done ::done::", "x"], ["", "5"]),
        (["return 1, 2", "_"], ["1\t2", "1"]), (["local t = { f = function() local w = 1 return w end }", "w, t.f()"], ["", "nil\t1"]),
        (["-- only a comment", "1 -- and one behind"], ["", "1"]), (["local q; q = 7", "q"], ["", "7"]),
        (["local x <close> = setmetatable({}, { __close = function() closed = true end })", "x, closed"], ["", "nil\ttrue"]),
    ])
    func whatIsALocalOfTheSession(_ lines: [String], _ expected: [String]) async {
        #expect(await session(lines) == expected)
    }

    /// A hook that every call would have to pass would make this last for minutes.
    @Test func aBusyLineRunsAtLuasOwnPace() async {
        let results = await session(["local n = 0 for i = 1, 3000000 do n = n + math.max(i, 0) end", "n"])
        #expect(results == ["", "4500001500000"])
    }

    @Test(arguments: [
        ("x.y = 1", "  2 | x.y = 1\n    | ^"),
        ("local t = {}; t.name.len = 5", "  2 | local t = {}; t.name.len = 5\n    |                 ^^^^"),
        (
            "container.run { image = 'x', resources = { memroy = 1 } }",
            "  2 | container.run { image = 'x', resources = { memroy = 1 } }\n    |                                            ^^^^^^"
        ),
        ("x = = 1", "  2 | x = = 1\n    |   ^"), ("local ä = 1", "  2 | local ä = 1"),
        ("one.two.three", "  2 | one.two.three\n    | ^^^"), ("nope()", "  2 | nope()\n    | ^^^^"),
        ("if true then\n  error 'late'\nend", "  3 |   error 'late'"),
    ])
    func anErrorPointsAtWhatItIsAbout(_ source: String, _ expected: String) throws {
        let host = try LuaHost(LuaHost.Options(connector: FakeEngine(), directory: "/"))
        host.enter("repl_line", ["source": "function earlier()"])
        host.enter("repl_line", ["source": "one = 1"])
        _ = host.runToEnd()
        host.enter("repl_line", ["source": .string(source), "is_last": true])
        let error = host.runToEnd()["error"] ?? .null
        #expect(error["point"]?.stringValue == expected, "\(error)")
    }

    @Test func anErrorInAnEarlierLinesFunctionPointsThere() throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        for line in ["function f(x)\n  return x.a.b\nend", "f {}"] {
            host.enter("repl_line", ["source": .string(line)])
            let outcome = host.runToEnd()
            guard line == "f {}" else { continue }
            #expect(outcome["error"]?["message"]?.stringValue?.hasPrefix("repl:2: ") == true)
            #expect(outcome["error"]?["point"] == "  2 |   return x.a.b\n    |            ^")
        }
    }

    @Test func valuesAreSetOffByKindWhereThatIsWanted() throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        func shown(_ source: String, _ fields: ValueMap = [:]) -> String {
            var argument = fields
            argument["source"] = .string(source)
            host.enter("repl_line", .map(argument))
            return host.runToEnd()["text"]?.stringValue ?? ""
        }
        let source = "{ a = 'x', b = { 1, true }, c = task }"
        #expect(shown("'x', 1", ["has_colour": true]) == "\u{1b}[32m\"x\"\u{1b}[0m\t\u{1b}[36m1\u{1b}[0m")
        #expect(shown("{ b = true }", ["has_colour": true]) == "{ b = \u{1b}[35mtrue\u{1b}[0m }")
        #expect(shown("{ b = true }") == "{ b = true }")
        // What is set off takes no more room.
        let coloured = shown(source, ["has_colour": true, "width": 200]).replacing(/\u{1b}\[\d+m/, with: "")
        #expect(coloured == shown(source, ["width": 200]))
        #expect(shown("{ start_profile = { ['a.b'] = 1 }, user = 'u' }") == "{ user = \"u\", start_profile = { [\"a.b\"] = 1 } }")
    }

    @Test func timesAreWatchedAsHowLongAgoTheyWere() throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        var screens: [String] = []
        host.onShow = { _, text in screens.append(text) }
        host.enter(
            "repl_watch",
            [
                "source":
                    "{ { name = 'a', created_at = lunette.now() - 185, image = { ref = 'web:1', digest = 'x' } }, { name = 'b', created_at = lunette.now() - 3 * 86400 } }",
                "period": 0.001, "width": 80,
            ])
        host.enter("interrupt", [:])
        _ = host.runToEnd()
        #expect(
            screens.first == "NAME   IMAGE   CREATED_AT\na      web:1   3 minutes ago\nb              3 days ago", "\(screens)")
    }

    @Test func aListOfRecordsIsWatchedAsATable() throws {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        var screens: [String] = []
        host.onShow = { _, text in screens.append(text) }
        host.enter(
            "repl_watch",
            [
                "source":
                    "{ { name = 'web', id = ('0f'):rep(32), status = 'running', pid = 12, labels = {}, spec = { args = { 'a', 'b' } } }, { name = 'db', status = 'stopped' } }",
                "period": 0.001, "width": 80,
            ])
        host.enter("interrupt", [:])
        _ = host.runToEnd()
        #expect(
            screens.first
                == "NAME   ID             STATUS    PID   SPEC\nweb    0f0f0f0f0f0f   running   12    { args = { \"a\", \"b\" } }\ndb                    stopped         ",
            "\(screens)")
        #expect(REPL.screen("a\nb\nc\nd", rows: 4) == "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n… 2 more lines\u{1b}[K\u{1b}[J")
    }

    @Test func aChunkOfSeveralLinesIsOneEntryOfTheHistory() {
        #expect(REPL.onOneLine("for i = 1, 2 do\n\tprint(i)\n  end") == "for i = 1, 2 do print(i) end")
        #expect(REPL.onOneLine("x = 1 -- one\ny = 2") == nil && REPL.onOneLine("x = [[a\nb]]") == nil)
    }

    @Test func errorsLeaveTheSessionUsable() async {
        let results = await session(["local a = 1", "error('boom')", "nope.x", "a"])
        #expect(results[1] == "repl:2: boom" && results[2].contains("nil value (global 'nope')") && results[3] == "1", "\(results)")
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
        #expect(results[1] == "\"task (ready)\"" && results[2] == "repl:3: boom" && results[3] == results[1], "\(results)")
        #expect(results[5] == "\"done\"" && results[6] == "true" && results[7].hasPrefix("false"), "\(results)")
    }

    @Test(arguments: [
        "fs.write(d .. '/x', 'a')", "fs.mkdir(d .. '/x')", "fs.remove(d)", "fs.rename(d, d .. '2')", "container.run { image = 'x' }",
        "container.remove 'web'", "lunette.apply {}", "container.copy_out('web', '/x', '/y')", "image.save('x', '/y')", "image.push 'x'",
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
        #expect(REPL.completions(text).map(\.text) == expected)
    }

    @Test(arguments: [
        ("container.run { na", "na", "name", "string?  unique; letters, digits, `_`, `.` and `-`", " = "),
        ("container.run { resources = { memory_s", "memory_s", "memory_swap", "number|string?  memory and swap together", " = "),
        ("container.run { reso", "reso", "resources", "Resources?  limits", " = { "),
        ("x = json.dec", "json.dec", "json.decode", "read JSON; null becomes `json.null`", ""),
        ("lunette.onc", "lunette.onc", "", "", ""),
    ])
    func whatIsOfferedSaysWhatItIs(_ line: String, _ word: String, _ text: String, _ detail: String, _ suffix: String) {
        let found = REPL.completions(word, line: line)
        #expect(found == (text.isEmpty ? [] : [.init(text: text, detail: detail, suffix: suffix)]), "\(found)")
    }

    @Test(arguments: [
        // Words of a choice, in quotes and before them; words that only a description has.
        ("image.pull('x', { policy = \"al", "al", ["always"]),
        ("image.pull('x', { policy = ", "", ["\"always\"", "\"missing\"", "\"never\""]),
        ("container.run { network = \"", "", ["host", "none"]), ("container.run { tty = ", "", ["false", "true"]),
        ("container.run { tty = t", "t", ["true"]), ("container.run { mounts = { { type = 'tm", "tm", ["tmpfs"]),
        ("container.run { restart = \"on", "on", ["on_failure"]),
        // Events, with patterns for `on` alone.
        ("lunette.on(\"container.ex", "container.ex", ["container.exited"]),
        ("lunette.before(\"container.ex", "container.ex", ["container.exec"]),
        ("lunette.on 'volume.", "volume.", ["volume.*", "volume.created", "volume.removed"]),
        // What the table has already isn't offered again.
        ("container.run { name = 'a', na", "na", []), ("container.run { image = 'x', labels = { a = 1 }, lab", "lab", []),
        // Words of Lua, and the locals of the chunk that is being typed.
        ("fun", "fun", ["function"]), ("local counter = 1 return coun", "coun", ["counter"]), ("local na", "na", []),
        // What a call gives.
        ("container.get('web'):inspect().restarts", ".restarts", [".restarts"]),
        ("container.get('web'):inspect().exit.oom", ".exit.oom", [".exit.oom_killed"]),
        ("local c = container.get 'web'\nc:pau", "c:pau", ["c:pause"]),
        ("for _, v in ipairs(volume.list()) do v:usa", "v:usa", ["v:usage"]),
        ("('x'):rep(2) -- contai", "contai", []), ("string.rep(\"a--b\", 2); contai", "contai", ["container"]),
        ("x = 'it\\'s'; contai", "contai", ["container"]), ("s = [[a ' b]] contai", "contai", ["container"]),
        ("string.for", "string.for", ["string.format"]),
    ])
    func whatMayStandThereIsOffered(_ line: String, _ word: String, _ expected: [String]) {
        #expect(REPL.completions(word, line: line).map(\.text) == expected)
    }

    @Test(arguments: [
        ("container.run { na", "na", ["name"]),
        ("container.run { image = 'x', resources = { mem", "mem", ["memory", "memory_reservation", "memory_swap"]),
        ("container.run { mounts = { { rea", "rea", ["readonly"]),
        ("container.run { mounts = { { type = 'tmpfs' }, { tar", "tar", ["target"]),
        ("container.get('web'):exec({ 'ls' }, { tim", "tim", ["timeout"]),
        ("lunette.image.pull('x', { pol", "pol", ["policy"]),
        ("lunette.apply { con", "con", ["containers"]), ("lunette.apply { containers = { web = { ima", "ima", ["image"]),
        ("lunette.apply { volumes = { data = { dri", "dri", ["driver"]), ("lunette.apply({}).cha", ".cha", [".changed"]),
        ("container.run { name = imag", "imag", ["image"]),
        ("container.run { name = 'x', nosuch", "nosuch", []),
        ("print { ta", "ta", ["table", "task"]),
        ("fs.read 'so", "so", []), ("container.get('web'):rena", ":rena", [":rename"]), ("volume.get 'v':us", ":us", [":usage", ":users"]),
    ])
    func optionsAreCompletedWhereTheyStand(_ line: String, _ word: String, _ expected: [String]) {
        #expect(REPL.completions(word, line: line).map(\.text) == expected)
    }
}
