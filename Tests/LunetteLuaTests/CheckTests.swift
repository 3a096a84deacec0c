import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct CheckTests {
    private static let head = "local lunette = require \"lunette\"\nlocal container, image = lunette.container, lunette.image\n"

    @Test(arguments: [
        ("local x = ", 3, "unexpected symbol"), ("lunette.contaner.list()", 3, "lunette has no \"contaner\""),
        ("container.lst()", 3, "container has no function \"lst\""), ("container.run { imge = 'x' }", 3, "spec.imge: unknown option"),
        ("local c = container.run { image = 'x' }\nc:stpo()", 4, "a container has no method \"stpo\""),
        ("local c = container.run {\n  image = 'x',\n  resources = { memroy = f() },\n}", 3, "spec.resources.memroy: unknown option"),
        ("container.run { image = 'x', tty = 'yes' }", 3, "spec.tty: expected a boolean, got a string"),
        ("image.pull('x', { policy = 'sometimes' })", 3, "is not one of"), ("image.pull()", 3, "ref: is required"),
        ("local c = container.get('x')\nc:exec({ 'ls' }, { chek = true })", 4, "chek: unknown option"),
        ("local c = require('lunette').container\nc.lst()", 4, "container has no function \"lst\""),
        ("--[[ long\ncomment ]] container.lst()", 4, "no function"),
        ("image.build { tag = 't', copy = { { from = 'a' } } }", 3, "copy[1].to: is required"),
        ("lunette.apply { containers = { web = { image = 'x', memroy = 1 } } }", 3, "containers.web.memroy: unknown option"),
        // Values that always fail, whatever stands beside them.
        ("container.run { image = 'x', resources = { cpus = -1 } }", 3, "spec.resources.cpus: -1.0 is not a number of processors"),
        ("container.run { image = 'x', health = { tcp = { port = 99999 } } }", 3, "spec.health.tcp.port"),
        ("container.run { image = name, name = 'a b', args = f() }", 3, "spec.name"),
        ("container.apply('web', { image = 'x', security = { capabilities = { add = { 'CAP_FOO' } } } })", 3, "CAP_FOO"),
        ("lunette.apply { containers = { web = { image = 'x', stop = { signal = 'SIGFOO' } } } }", 3, "containers.web.stop.signal"),
        ("container.run { image = 'x', oci = { proces = {} } }", 3, "spec.oci.proces: unknown option"),
        ("lunette.on('container.exit', {}, print)", 3, "\"container.exit\" is not an event"),
        // What a handler gets.
        ("lunette.before('container.create', {}, function(ev) ev:dney 'x' end)", 3, "an event has no method \"dney\""),
        (
            "lunette.before('container.create', {}, function(ev)\n ev:amend { resources = { memroy = 1 } } end)", 4,
            "ev:amend: resources.memroy: unknown"
        ),
        ("lunette.before('volume.create', function(ev) ev:amend { sise = 1 } end)", 3, "ev:amend: sise: unknown option"),
        ("lunette.on('container.exited', {}, function(ev) ev:deny 'x' end)", 3, "only a before handler may deny"),
        ("lunette.apply { volumes = { data = { sise = 1 } } }", 3, "volumes.data.sise: unknown option"),
        ("lunette.apply { containers = { web = { args = { 'x' } } } }", 3, "containers.web: one of image, rootfs, pod is required"),
    ])
    func problemsAreFoundOnTheirLine(_ source: String, _ line: Int, _ message: String) throws {
        let problems = try ScriptChecker.problems(source: Array((Self.head + source).utf8), name: "x.lua")
        #expect(problems.count == 1 && problems.first?.line == line, "\(problems)")
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
    }

    /// It would be nil there; in resident code and in tests it is one.
    @Test func aScriptHasNoGlobalOfTheName() throws {
        let source = Array("lunette.container.list()\nlunette.container.list()\n".utf8)
        let problems = try ScriptChecker.problems(source: source, name: "x.lua")
        #expect(problems.map(\.line) == [1] && problems.first?.hint == "local lunette = require \"lunette\"", "\(problems)")
        #expect(try ScriptChecker.problems(source: source, name: "x_test.lua") == [])
        let own = Array("lunette = require 'lunette'\nlunette.container.list()".utf8)
        #expect(try ScriptChecker.problems(source: own, name: "x.lua") == [])
    }

    @Test(arguments: [
        "hello.lua", "redis.lua", "pod.lua", "sandboxed-make.lua", "hello_test.lua", "redis_test.lua", "pod_test.lua",
        "sandboxed-make_test.lua",
    ])
    func theScriptsThatShipPass(_ name: String) throws {
        let folder = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        #expect(try ScriptChecker.problems(path: "/\(folder)/scripts/\(name)") == [])
    }

    @Test(arguments: [
        "container.run { image = name, env = { A = f(1, { 2 }) }, args = { 'a', b, 'c' } }", "container.run(spec)",
        "container.run(f { x = 1 })",
        "image.pull(ref, { progress = function(p) if p then print { y = 1 } end end, policy = 'always' })",
        "for _, c in ipairs(container.list { all = true }) do c:stop() end",
        "container.create { image = 'x', restart = { policy = 'always', backoff = { initial = '1s' } }, publish = { '80:80', { container_port = 1 } } }",
        "local t = { container = { lst = 1 } } print(t.container.lst)", "container.inspect { all = true }",
        "lunette.network.create('x', {})",
        "local c = container.get 'x' c = other c:whatever()", "lunette.on('container.exited', {}, function(ev) end)",
        "local r = lunette.apply { volumes = { d = {} }, containers = { w = spec, x = { image = f() } } } r.containers.w:start()",
        "lunette.before('container.create', {}, function(ev) if ev.spec.labels.a then ev:amend { labels = { b = lunette.null } } end ev:deny(f()) end)",
        "lunette.before('container.update', function(ev) ev:amend { resources = { memory = '1GiB' } } end)",
        "lunette.before('image.pull', function(ev) ev:amend(t) end)", "container.run { image = 'x', oci = { process = { a = 1 } } }",
        "container.run { image = x, publish = { '80:80' }, network = 'host', sysctls = { ['kernel.shmmax'] = '1' }, pod = false }",
        "lunette.apply(objects)", "lunette.try(container.get, 'x')", "local t = require('lunette').task t.sleep '1ms'",
        "local f, t = require 'lunette'.fs, require(\"lunette\").task print(f.temporary(), t.sleep)",
        "local sleep = require('lunette').task.sleep sleep '1ms'", "local list = require('lunette').container.list() print(#list)",
        "local last = container.get('x'):logs()\nprint(last:gsub('a', 'b'))", "#!/usr/bin/env lunette",
        "local r = container.get('x'):exec({ 'ls' }, { stdout = function(d) end, stdin = 'x' }) print(r.code)",
    ])
    func goodScriptsPass(_ source: String) throws {
        let text = source.hasPrefix("#!") ? source + "\n" + Self.head : Self.head + source
        #expect(try ScriptChecker.problems(source: Array(text.utf8), name: "x.lua") == [])
    }

    @Test(arguments: [
        ("lunette.before('container.creat', {}, function(ev) end)", "did you mean \"container.create\"?"),
        ("lunette.on('container.create', {}, function(ev) end)", "did you mean \"container.created\"?"),
        ("lunette.before('container.create', { timeot = '3s' }, function(ev) end)", "did you mean \"timeout\"?"),
        ("container.run { image = 'x', env = { A = function() end } }", nil),
        ("lunette.sandbox.run { args = { 'x' }, netwrk = 'none' }", "did you mean \"network\"?"),
    ])
    func handlersAndFunctionsInDataAreLookedAt(_ source: String, _ hint: String?) throws {
        let problems = try ScriptChecker.problems(source: Array((Self.head + source).utf8), name: "x.lua")
        #expect(problems.count == 1 && problems.first?.line == 3 && problems.first?.hint == hint, "\(problems)")
    }

    @Test(arguments: [
        ("lunette.container.list()", "container.list isn't called while a resident script is loaded"),
        ("if true then fs.read('/x') end", "fs.read isn't called"), ("task.sleep '1s'", "task.sleep isn't called"),
        ("local t = os.time()", "resident code has no os"), ("lunette.on('x.*', function() end)", "is not an event"),
        ("lunette.sandbox.run { args = { 'x' } }", "sandbox.run isn't called"),
    ])
    func residentCodeIsToldWhatItMayNot(_ source: String, _ message: String) throws {
        let problems = try ScriptChecker.report(source: Array(source.utf8), name: "x.lua", isResident: true).problems
        #expect(problems.count == 1 && problems.first?.message.contains(message) == true, "\(problems)")
    }

    @Test(arguments: [
        "lunette.before('container.create', { name = 'n', priority = 3 }, function(ev) lunette.image.list() end)",
        "lunette.on('container.*', function(ev) ev.container:start() end)", "lunette.on('*', function() end)",
        "task.every('1h', function() lunette.image.prune {} end)", "local os = { time = 1 } print(os.time)",
        "local c = lunette.container return { start = function() c.list() end }", "log.info('x') local s = lunette.seconds '1h'",
        "lunette.volume.apply('data', {})", "for i = 1, 3 do lunette.on('image.pulled', function() if i then fs.read '/x' end end) end",
    ])
    func goodResidentCodePasses(_ source: String) throws {
        #expect(try ScriptChecker.report(source: Array(source.utf8), name: "x.lua", isResident: true).problems == [])
    }

    /// Each by its line, whatever order a table's keys come in.
    @Test func everyMistakeOfACallIsNamedByNameAtEachRun() throws {
        let source =
            Self.head
            + "container.run { imge = 'x', restart = 'sometimes', tty = 'yes', resources = { memroy = 1, cpus = 'x' }, args = { print, f } }"
        for _ in 1...5 {
            let problems = try ScriptChecker.problems(source: Array(source.utf8), name: "x.lua").map(\.message)
            #expect(
                problems.map { $0.replacing("container.run: spec.", with: "").prefix { $0 != ":" } } == [
                    "imge", "resources.cpus", "resources.memroy", "restart", "tty",
                ], "\(problems)")
        }
    }

    @Test(arguments: [
        ("container.run {}", "container.run: spec: one of image, rootfs, pod is required"),
        ("container.get('x'):exec({ 'a' }, { tiemout = 3 })", "container.exec: tiemout: unknown option"),
        ("container.get('x'):exce { 'a' }", "a container has no method \"exce\""),
        ("image.get('x'):tga('y')", "an image has no method \"tga\""),
        ("lunette.lifecycle('x', { prepar = f })", "lunette.lifecycle: program.prepar: unknown option"),
        ("lunette.task.every('1x', f)", "task.every: period: \"1x\" is not a duration"),
        ("lunette.task.sleep '1zz'", "task.sleep: duration: \"1zz\" is not a duration"),
        ("lunette.task.cron('0 33 * * *', f)", "task.cron: \"33\" is not an hour of a cron expression"),
        ("lunette.http.get('x', { timout = 1 })", "http.get: timout: unknown option"),
        ("lunette.process.run({ 'a' }, { chek = true })", "process.run: chek: unknown option"),
        ("container.run { image = 'a', args = { function() end } }", "spec.args[1]: expected a string, got a function"),
        ("lunette.on('container.exited', { match = { name = 'container.exitd' } }, f)", "match.name: \"container.exitd\" is no event"),
        (
            "for ev in lunette.events { match = { name = { 'volume.*', 'volum.*' } } } do print(ev) end",
            "match.name[2]: \"volum.*\" is no event"
        ),
        ("for _, c in ipairs(container.list()) do c:stpo() end", "a container has no method \"stpo\""),
        ("local c = container.get 'x'\nprint(c.status)", "a container has no method \"status\""),
        ("lunette.on('container.exited', function(ev) ev.container:stpo() end)", "a container has no method \"stpo\""),
        ("lunette.volume.policy('x', {})", "volume.policy is not in this version"),
    ])
    func whatUsedToPass(_ source: String, _ message: String) throws {
        let problems = try ScriptChecker.problems(source: Array((Self.head + source).utf8), name: "x.lua")
        #expect(problems.count == 1 && problems.first?.message.contains(message) == true, "\(problems)")
    }

    /// A name is the API's only where nothing else is meant by it.
    @Test(arguments: [
        "local function f(container) return container.lst() end f {}", "do local container = {} container.lst() end",
        "for _, container in pairs {} do container.lst() end", "local c = container.get 'x' do local c = {} c:stpo() end c:stop()",
        "container = {} container.lst()", "local t = { container = 1, lst = 2 } print(t)",
        "local n = 1-2 local s = 'a\\z\n  b' print(n .. s, 1.5, 0x1p4)",
        "lunette.try(container.run, { imge = 1 })", "lunette.task.timeout('1s', container.run, { imge = 1 })",
        "lunette.on('container.created', function(ev) if ev.redelivered then return end ev.container:stop() end)",
        "lunette.log.info(42, { a = 1 })", "container.run { name = 'p', pod = true }", "print(container.get('x'):inspect().status)",
    ])
    func namesAreFollowedBlockByBlock(_ source: String) throws {
        #expect(try ScriptChecker.problems(source: Array((Self.head + source).utf8), name: "x.lua") == [])
    }

    @Test(arguments: [
        ("container.lst {}", "container has no function \"lst\""),
        ("container.run { image = 'x', resources = { memroy = 1 } }", "memroy: unknown option"),
        ("process.run { { 1 } }", "process.run: args[1]: expected a string"), ("task.evry('1h', f)", "task has no function"),
    ])
    func nounsAreGlobalsInResidentCodeAndInTests(_ source: String, _ message: String) throws {
        let handler = "lunette.on('container.exited', function() \(source) end)"
        let resident = try ScriptChecker.report(source: Array(handler.utf8), name: "x.lua", isResident: true).problems
        #expect(resident.count == 1 && resident.first?.message.contains(message) == true, "\(resident)")
        let test = try ScriptChecker.problems(source: Array("test.it('x', function() \(source) end)".utf8), name: "a/x_test.lua")
        #expect(test.count == 1 && test.first?.message.contains(message) == true, "\(test)")
    }

    @Test func permissionsAreWhatGrantTakes() throws {
        let source = """
            lunette.on("container.exited", function(ev)
              container.start "x" process.run { "a" } ev.container:remove() store.set("a", 1) anything:kill()
            end)
            """
        let value = try ScriptChecker.report(source: Array(source.utf8), name: "x.lua", isResident: true).value(file: "x.lua")
        let permissions = value["permissions"]?.arrayValue?.compactMap(\.stringValue) ?? []
        #expect(permissions == ["container.kill", "container.remove", "container.start", "process.run"])
        try Grant.validate(permissions, path: "grants")
    }

    /// Lua's parser takes quadratic time for it.
    @Test func aSourceThatTakesTooLongIsGivenUp() throws {
        let source = "return " + String(repeating: "a and ", count: 200_000) + "a"
        do {
            _ = try ScriptChecker.problems(source: Array(source.utf8), name: "x.lua")
            Issue.record("it was read")
        } catch {
            #expect(error.code == .resourceExhausted && error.message == "check x.lua: given up, it takes more than 10 s", "\(error)")
        }
    }

    @Test func callsComeWithTheirPermissions() throws {
        let source = "lunette.on('container.exited', function(ev)\n  lunette.image.prune {}\n  fs.read('/x')\nend)"
        let report = try ScriptChecker.report(source: Array(source.utf8), name: "x.lua", isResident: true)
        #expect(
            report.calls == [
                .init(line: 1, name: "lunette.on", permission: nil), .init(line: 2, name: "image.prune", permission: "image.prune"),
                .init(line: 3, name: "fs.read", permission: "fs"),
            ])
        let value = report.value(file: "x.lua")
        #expect(value["permissions"]?.arrayValue?.compactMap(\.stringValue) == ["fs", "image.prune"])
    }
}
