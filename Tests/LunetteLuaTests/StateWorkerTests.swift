import Foundation
import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// States on threads of their own, as of resident scripts and plugins.
@Suite struct StateWorkerTests {
    private func worker(
        _ owner: StateWorker.Owner = .script("init.lua"), longestStep: Double? = nil, grace: Double = 20,
        log: (@Sendable (String) -> Void)? = nil
    ) async throws -> StateWorker {
        var options = LuaHost.Options(connector: nil, directory: "/", script: "init.lua")
        options.limits = .init(memory: 64 << 20, instructions: 200_000_000, wallSeconds: 2, isLimited: true)
        options.permissions = []
        if let log { options.log = { level, message, _ in log("\(level): \(message)") } }
        return try await StateWorker.start(owner, options, longestStep: longestStep, grace: grace)
    }

    @discardableResult
    private func load(_ source: String, in worker: StateWorker) async throws -> Value {
        try await worker.call("load_resident", ["source": .string(source), "name": "@init.lua", "timeout": 10])
    }

    /// One instruction that takes seconds: a table grows to a size in which all its keys have one place.
    private let endless = """
        local t, m = {}, (1 << 18) - 1
        for k = 1, (1 << 17) + 1 do t[k * m] = true end
        """

    @Test(arguments: [StateWorker.Owner.script("init.lua"), .plugin("evil")])
    func aStateThatDoesNotComeBackIsGivenUp(_ owner: StateWorker.Owner) async throws {
        let worker = try await worker(owner, longestStep: 0.3)
        let error = await #expect(throws: LunetteError.self) { try await load(endless, in: worker) }
        let said = try #require(error)
        #expect(said.code == owner.failureCode ?? .timeout)
        #expect(said.message.hasPrefix("\(owner.label) has not come back from one step of its code for "), "\(said)")
        #expect(said.message.hasSuffix("its Lua state is given up") && said.hint?.contains("lunette reload") == true, "\(said)")
        // Nor does anything else wait for it.
        #expect(worker.isStopped)
        let next = await #expect(throws: LunetteError.self) { _ = try await worker.handle("on#1", [:]) }
        #expect(next?.message == said.message)
        await worker.drain(seconds: 10)
        await worker.stop()
    }

    @Test func aHandlerThatDoesNotComeBackIsGivenUpToo() async throws {
        let worker = try await worker(longestStep: 0.3)
        try await load("lunette.on(\"container.created\", function() \(endless) end)", in: worker)
        let error = await #expect(throws: LunetteError.self) { _ = try await worker.handle("on#1", [:]) }
        #expect(error?.message.contains("has not come back") == true, "\(String(describing: error))")
        await worker.stop()
    }

    @Test func aBatchThatDoesNotComeBackHasFailed() async throws {
        let worker = try await worker(longestStep: 0.3)
        try await load("lunette.on(\"container.created\", function() \(endless) end)", in: worker)
        let (endings, continuation) = AsyncStream.makeStream(of: [HookEnding].self)
        worker.handle("on#1", [["cause": []], ["cause": []]], ["a", "b"]) { continuation.yield($0) }
        var failed: Set<Int> = []
        for await list in endings {
            for ending in list { if case .failed = ending.outcome { failed.insert(ending.index) } }
            if failed.count == 2 { break }
        }
        #expect(worker.isStopped)
        await worker.drain(seconds: 10)
    }

    @Test func anAnswerThatIsLostIsNotWaitedForForEver() async throws {
        let worker = try await worker(grace: 0.2)
        // This entry answers nobody.
        let error = await #expect(throws: LunetteError.self) {
            _ = try await worker.call("policy", ["source": "return {}", "name": "@x", "timeout": 0.1])
        }
        #expect(error?.message == "init.lua gave no answer in its time, nor after it")
        try await load("", in: worker)
        await worker.stop()
    }

    /// What runs on and comes back is no reason to give anything up.
    @Test func aHandlerMayWaitAsLongAsItLikes() async throws {
        let worker = try await worker(longestStep: 0.3, grace: 0.1)
        try await load("lunette.on(\"container.created\", function() task.sleep(2) end)", in: worker)
        _ = try await worker.handle("on#1", [:])
        #expect(!worker.isStopped)
        await worker.stop()
    }

    /// Resident code waits most of its life: then it has no thread, and the next event gives it one.
    @Test func aStateAtRestHasNoThreadAndGoesOn() async throws {
        let worker = try await worker()
        try await load(
            "local n = 0 lunette.before('container.create', function() n = n + 1 ev = n if n == 3 then error('third', 0) end end)",
            in: worker)
        for turn in 1...3 {
            let deadline = ContinuousClock.now + .seconds(20)
            while worker.hasThread, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(20)) }
            #expect(!worker.hasThread)
            do {
                _ = try await worker.handle("before#1", [:])
                #expect(turn < 3)
            } catch { #expect(turn == 3 && "\(error)".contains("third")) }
        }
        await worker.stop()
    }

    /// A timer needs one: nobody else would wake the state.
    @Test func aStateWithATimerKeepsItsThread() async throws {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        let worker = try await worker(log: { continuation.yield($0) })
        try await load("task.spawn(function() task.sleep(0.5) log.info 'woken' end)", in: worker)
        _ = try await worker.call("resident_life", ["name": "start", "timeout": 5])
        let line = await lines.first { _ in true }
        #expect(line == "info: woken")
        await worker.stop()
    }

    @Test func onceLoadedAScriptRegistersNothing() async throws {
        let worker = try await worker()
        try await load(
            """
            lunette.before("container.create", function() lunette.on("container.created", function() end) end)
            lunette.before("container.create", function() lunette.lifecycle("l", {}) end)
            """, in: worker)
        for (id, what) in [("before#1", "handlers"), ("before#2", "lifecycles")] {
            let error = await #expect(throws: LunetteError.self) { _ = try await worker.handle(id, [:]) }
            #expect(
                error?.code == .invalidState && error?.message.contains("registers its \(what) while it loads") == true,
                "\(String(describing: error))")
        }
        await worker.stop()
    }

    /// Issue 4: a thousand resident states in 100 MB. What Lua holds of one with a handler is the most of it.
    @Test func aResidentStateIsSmall() throws {
        var options = LuaHost.Options(connector: nil, directory: "/", script: "init.lua")
        options.limits = .init(memory: 64 << 20, instructions: 200_000_000, wallSeconds: 2, isLimited: true)
        let host = try LuaHost(options)
        host.isServing = true
        try host.state.enter(
            "load_resident",
            [
                "source": "lunette.before('container.create', { name = 'b' }, function(ev) ev:amend {} end)", "name": "@s.lua", "reply": 1,
                "timeout": 10,
            ])
        host.state.collect()
        #expect(host.state.memory < 64_000)
    }

    /// What one handler leaves when it meets the limit is no other's failure: the buffers of string functions ask for no collection.
    @Test func aHandlerThatMeetsTheLimitOfMemoryFailsNoOther() async throws {
        let worker = try await worker()
        try await load(
            """
            lunette.before("container.create", { name = "hog" }, function()
              local t = {}
              while true do t[#t + 1] = ("x"):rep(1e5) .. #t end
            end)
            lunette.before("container.create", { name = "gate" }, function(ev) ev:deny(tostring(#("x"):rep(1 << 20))) end)
            """, in: worker)
        let event: Value = ["name": "container.create", "spec": [:], "cause": []]
        for _ in 0..<3 {
            let full = await #expect(throws: LunetteError.self) { _ = try await worker.handle("before/hog", event) }
            #expect(full?.message.contains("not enough memory") == true, "\(String(describing: full))")
            #expect(try await worker.handle("before/gate", event) == ["deny": "1048576"])
        }
        await worker.stop()
    }

    /// Handlers, filters and functions of lifecycles alike: what is asked with a deadline is cancelled behind it, and nobody waits for it.
    @Test func whatIsBeyondItsDeadlineIsCancelled() async throws {
        let lines = Texts()
        let worker = try await worker(log: { lines.add($0) })
        try await load(
            """
            lunette.before("container.create", { name = "late" }, function(ev)
              pcall(task.sleep, 60)
              task.sleep(60)
              log.info "done all the same"
            end)
            lunette.before("container.create", { name = "quick" }, function(ev) task.sleep "1ms" ev:deny "no" end)
            """, in: worker)
        var event: ValueMap = ["name": "container.create", "spec": [:], "cause": [], "deadline": .double(Date().timeIntervalSince1970)]
        let late = await #expect(throws: LunetteError.self) { _ = try await worker.handle("before/late", .map(event)) }
        #expect(late?.code == .timeout, "\(String(describing: late))")
        event["deadline"] = .double(Date().timeIntervalSince1970 + 60)
        #expect(try await worker.handle("before/quick", .map(event)) == ["deny": "no"])
        #expect(lines.all.isEmpty, "\(lines.all)")
        await worker.drain(seconds: 60)
        await worker.stop()
    }

    @Test func noNameIsTheIdOfAHandlerWithoutOne() async throws {
        let worker = try await worker()
        let answer = try await load(
            """
            lunette.on("container.created", function() end) lunette.on("container.created", { name = "1" }, function() end)
            lunette.on("container.created", { name = "#1" }, function() end) lunette.before("container.create", function() end)
            """, in: worker)
        let ids = answer["handlers"]?.arrayValue?.compactMap { $0["subscription"]?.stringValue }
        #expect(ids == ["on#1", "on/1", "on/#1", "before#4"])
        await worker.stop()
    }

    /// Attack 71, in a handler.
    @Test func aHandlerReachesNoMetatableOfOurs() async throws {
        let worker = try await worker()
        try await load(
            """
            local sub = lunette.on("container.created", function() end)
            assert(type(getmetatable(sub)) ~= "table" and type(getmetatable(sub.handler.running)) ~= "table")
            lunette.before("container.create", { name = "look" }, function(ev)
              for _, value in ipairs { ev, ev.spec, ev.spec.labels, ev.container } do
                assert(type(getmetatable(value)) ~= "table")
              end
              ev:amend { labels = { n = tostring(#ev.spec.args) } }
            end)
            """, in: worker)
        let answer = try await worker.handle(
            "before/look",
            [
                "name": "container.create", "spec": ["labels": ["a": "b"], "args": ["x", "y"]], "cause": [],
                "container": ["$handle": "container", "id": "1", "name": "c"],
            ])
        #expect(answer == ["amend": ["labels": ["n": "2"]]])
        await worker.stop()
    }

    @Test func whatAHandlerSaysIsBoundedAndReadable() async throws {
        let worker = try await worker()
        try await load(
            """
            lunette.before("container.create", { name = "long" }, function(ev) ev:deny(("x"):rep(1 << 20)) end)
            lunette.before("container.create", { name = "raise" }, function() error(("x"):rep(1 << 20)) end)
            lunette.before("container.create", { name = "wrong" }, function(ev) ev:amend { labels = { a = print } } end)
            """, in: worker)
        let event: Value = ["name": "container.create", "spec": [:], "cause": []]
        #expect(try await worker.handle("before/long", event)["deny"]?.stringValue?.hasSuffix("bytes left out)") == true)
        let long = await #expect(throws: LunetteError.self) { _ = try await worker.handle("before/raise", event) }
        #expect(long.map { $0.message.utf8.count < 10000 } == true)
        let wrong = await #expect(throws: LunetteError.self) { _ = try await worker.handle("before/wrong", event) }
        #expect(wrong?.code == .invalidArgument && wrong?.message.contains("host:") == false, "\(String(describing: wrong))")
        await worker.stop()
    }

    @Test func whatIsLoggedIsBounded() async throws {
        let lines = Lines()
        let worker = try await worker(log: { lines.add($0.utf8.count) })
        try await load("local big = (\"x\"):rep(1 << 16) for _ = 1, 30 do log.info(big) print(big) end", in: worker)
        #expect(lines.total > 200 << 10 && lines.total < 300 << 10, "\(lines.total)")
        await worker.stop()
    }
}

private final class Texts: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func add(_ text: String) { texts.withLock { $0.append(text) } }
}

private final class Lines: Sendable {
    private let bytes = Mutex(0)
    var total: Int { bytes.withLock { $0 } }
    func add(_ count: Int) { bytes.withLock { $0 += count } }
}
