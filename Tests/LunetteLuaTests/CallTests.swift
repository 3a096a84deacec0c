import Glibc
import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct CallTests {
    /// Answers as an engine with one container `web` does.
    private func engine() -> FakeEngine {
        FakeEngine { (engine, request, files, onChunk) async throws(LunetteError) in
            switch request.function {
            case "container.run", "container.create", "container.get": return FakeEngine.handle("container", "abc123", "web")
            case "container.find": return .null
            case "container.list": return [FakeEngine.handle("container", "abc123", "web"), FakeEngine.handle("container", "def", "db")]
            case "container.inspect": return ["name": "web", "status": "running", "labels": [:]]
            case "container.inspect_all": return [["name": "web"], ["name": "db"]]
            case "container.wait": return ["code": 3, "oom_killed": false]
            case "container.exec":
                let streams = request.arguments["stdio"]?.arrayValue?.compactMap(\.stringValue) ?? []
                for (file, stream) in zip(files, streams) where stream != "stdin" {
                    let text = Array("to \(stream)\n".utf8)
                    _ = write(file, text, text.count)
                }
                return ["code": request.arguments["args"]?.arrayValue?.first == "false" ? 1 : 0]
            case "image.pull":
                for number in 1...3 { try await onChunk?(["phase": "download", "current": .int(Int64(number))]) }
                return FakeEngine.handle("image", "sha256:1", "redis:7")
            case "container.follow_logs":
                var number = 0
                while !Task.isCancelled {
                    number += 1
                    try await onChunk?(["stream": "stdout", "data": .string("line \(number)"), "sequence": .int(Int64(number))])
                }
                throw LunetteError(.cancelled, "cancelled")
            case "container.kill":
                throw LunetteError(.invalidState, "send SIGKILL to web: it does not run", target: "web", hint: "start it")
            default: return .null
            }
        }
    }

    @Test(arguments: [
        ("local c = container.run { image = 'x' } return c.name, c.id, tostring(c)", "web\tabc123\tcontainer web (abc123)"),
        ("local c = container.get 'web' c:rename 'web-old' return c.name, tostring(c)", "web-old\tcontainer web-old (abc123)"),
        ("local c = container.get 'web' container.rename('web', 'web-old') return c.name", "web-old"),
        ("return container.get 'web' == container.run { image = 'x' }", "true"),
        ("local t = { [container.get 'web'] = 1 } return t[container.list()[1]]", "1"),
        ("return container.find 'web'", "nil"), ("return container.get('web'):inspect().status", "running"),
        ("return #container.inspect { all = true }, container.inspect('web').name", "2\tweb"),
        ("return container.get('web'):wait { timeout = '5s' }.code, container.wait('web', { timeout = 5 }).code", "3\t3"),
        ("return container.get('web'):exec { 'true' }.stdout", "to stdout\n"),
        ("return container.get('web'):exec({ 'true' }, { stderr = 'null', env = { A = 1 } }).stderr", "nil"),
        ("local n = 0 image.pull('redis:7', { progress = function(p) n = n + p.current end }) return n", "6"),
        ("local s = '' container.get('web'):exec({ 'x' }, { stdout = function(d) s = s .. d end }) return s", "to stdout\n"),
        ("local n = 0 for line in container.get('web'):follow_logs {} do n = n + 1 if n == 500 then return line end end", "line 500"),
        ("local r = container.get('web'):exec({ 'cat' }, { stdin = 'data' }) return r.code", "0"),
    ])
    func callsReachTheEngineAndComeBack(_ source: String, _ expected: String) async {
        let ran = await runLua(source, engine: engine())
        #expect(ran.ok, "\(ran.error)")
        #expect(ran.text == expected)
    }

    @Test(arguments: [
        ("container.run { image = 'x', memroy = 1 }", "container.run: spec.memroy: unknown option", "did you mean \"resources.memory\"?"),
        ("container.run { image = 'x', pids = 3 }", "spec.pids: unknown option", "did you mean \"resources.pids\"?"),
        ("container.run { image = 'x', volumes = {} }", "spec.volumes: unknown option", "it is called \"mounts\" here"),
        ("container.rnu { image = 'x' }", "container has no function \"rnu\"", "did you mean \"container.run\"?"),
        ("contianer.run { image = 'x' }", "global 'contianer'", "did you mean \"container\"?"),
        ("network.create 'n'", "global 'network'", "lunette.network is not in this version"),
        ("container.get('web'):exec({ 'x' }, { detach = true, stdout = print })", "nobody reads what a detached", "{ file ="),
        ("container.run { image = 'x', resources = { memroy = 1 } }", "spec.resources.memroy: unknown option", "did you mean \"memory\"?"),
        ("container.run { image = 'x', resources = { memory = '12 parsecs' } }", "spec.resources.memory: ", ""),
        ("container.get('web'):stop { grace = 1 }", "container.stop: grace: unknown option", ""),
        ("container.run { image = 'x', args = { print } }", "a function can't be sent or stored", ""),
        ("container.get()", "container: is required", ""),
        ("container.get('web'):stopp()", "has no method \"stopp\"", "did you mean \"stop\"?"),
        ("container.get('web', 'x', 'y')", "expected a table of options, got string", ""),
        ("image.pull('x', { policy = 'sometimes' })", "is not one of", ""),
        ("container.get('web').status = 1", "a handle has no fields", ""),
        ("volume.create { name = 'v', driver = 3 }", "volume.create: driver: expected a string, got a number", ""),
    ])
    func mistakesAreErrorsBeforeAnythingIsSent(_ source: String, _ message: String, _ hint: String) async {
        let engine = engine()
        let ran = await runLua("\n" + source, engine: engine, prints: false)
        #expect(!ran.ok && ran.message.contains(message), "\(ran.message)")
        #expect(ran.message.contains("-e:2:"), "\(ran.message)")
        #expect(ran.hint.contains(hint))
        #expect(engine.requests.allSatisfy { $0.function == "container.get" })
    }

    @Test func theEngineIsNotContactedWithoutACall() async {
        let engine = engine()
        _ = await runLua("return 1", engine: engine)
        #expect(engine.connections == 0)
    }

    @Test func requestsSayWhoAsks() async throws {
        let engine = engine()
        _ = await runLua("\n\ncontainer.list()", engine: engine, prints: false)
        let request = try #require(engine.requests.first)
        #expect(request.actor.script == "-e" && request.actor.line == 3 && request.actor.pid == getpid())
        #expect(request.id.count == 32)
        #expect(engine.closed == 1)
    }

    @Test func hostPathsAreMadeAbsolute() async throws {
        let engine = engine()
        _ = await runLua(
            "container.run { image = 'x', mounts = { { type = 'bind', source = './data', target = '/d' }, { type = 'volume', source = 'v', target = '/v' } } }",
            engine: engine, directory: "/home/me")
        let mounts = engine.requests.first?.arguments["spec"]?["mounts"]?.arrayValue
        #expect(mounts?[0]["source"]?.stringValue == "/home/me/data")
        #expect(mounts?[1]["source"]?.stringValue == "v")
        _ = await runLua(
            "lunette.apply { containers = { a = { image = 'x', mounts = { { type = 'bind', source = '../data', target = '/d' } } }, b = { rootfs = 'root' } } }",
            engine: engine, directory: "/home/me")
        let containers = engine.requests.last?.arguments["containers"]
        #expect(containers?["a"]?["mounts"]?.arrayValue?.first?["source"] == "/home/me/../data")
        #expect(containers?["b"]?["rootfs"] == "/home/me/root")
    }

    @Test func severalObjectsComeBackAsHandles() async throws {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            [
                "containers": ["web": FakeEngine.handle("container", "abc123", "web")],
                "volumes": ["data": FakeEngine.handle("volume", "v1", "data")], "changed": ["container web: made"],
            ]
        }
        let ran = await runLua(
            """
            local r = lunette.apply { containers = { web = { image = "x" } } }
            local ok, e = lunette.try(lunette.apply, { services = { a = {} } })
            local same = lunette.apply {}
            return tostring(r.containers.web), r.volumes.data.name, r.changed[1], same.containers.web == r.containers.web, e.code, e.path
            """, engine: engine)
        #expect(ran.text == "container web (abc123)\tdata\tcontainer web: made\ttrue\tunsupported\tservices", "\(ran.text) \(ran.error)")
    }

    @Test func engineErrorsAreErrorObjects() async {
        let ran = await runLua(
            "local ok, e = pcall(container.kill, 'web', 'KILL') return e:is 'invalid_state', e.target, e.hint, e.operation, e.traceback ~= nil",
            engine: engine())
        #expect(ran.text == "true\tweb\tstart it\tcontainer.kill\ttrue", "\(ran.text) \(ran.error)")
    }

    @Test func checkRaisesExitStatus() async {
        let ran = await runLua("container.get('web'):exec({ 'false' }, { check = true })", engine: engine())
        #expect(ran.code == "exit_status")
        #expect(ran.message.contains("false ended with exit code 1: to stderr"))
    }

    @Test func cancellingATaskCancelsItsCall() async {
        let cancelled = CancelProbe()
        let engine = FakeEngine { (_, _, _, _) async throws(LunetteError) in
            await cancelled.waitUntilCancelled()
            throw LunetteError(.cancelled, "cancelled")
        }
        let ran = await runLua(
            "local ok, e = pcall(task.timeout, 0.01, function() container.wait('web') end) return ok, e.code", engine: engine)
        #expect(ran.text == "false\ttimeout", "\(ran.error)")
        await cancelled.waitUntilSeen()
    }

    @Test func callsOfSeveralTasksRunAtOnce() async {
        // Each answers only when all twenty are there.
        let barrier = Barrier(20)
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            await barrier.arrive()
            return request.arguments["container"] ?? .null
        }
        let ran = await runLua(
            "local f = {} for i = 1, 20 do f[i] = function() return container.logs(tostring(i)) end end return #task.all(f)", engine: engine
        )
        #expect(ran.text == "20", "\(ran.error)")
    }
}

actor Barrier {
    private var missing: Int
    private var waiters: [CheckedContinuation<Void, Never>] = []
    init(_ count: Int) { missing = count }
    func arrive() async {
        missing -= 1
        if missing > 0 { return await withCheckedContinuation { waiters.append($0) } }
        for waiter in waiters { waiter.resume() }
    }
}

actor CancelProbe {
    private var isSeen = false
    func waitUntilCancelled() async {
        while !Task.isCancelled { await Task.yield() }
        isSeen = true
    }
    func waitUntilSeen() async { while !isSeen { await Task.yield() } }
}
