import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// Prompts inside resident code.
@Suite struct PromptTests {
    private struct NoModules: ResidentModules {
        func source(of module: String) throws(LunetteError) -> [UInt8]? { module == "policy" ? Array("return { memory = 64 }".utf8) : nil }
    }

    private final class Output: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ text: Value) { lines.withLock { $0.append(text.stringValue ?? "?") } }
        var all: [String] { lines.withLock { $0 } }
    }

    private static let source = """
        count = 1
        limits = { memory = 64, names = { "foo" } }
        local hidden = 5
        function check(name) print("checking", name) return name ~= "foo" end
        return { start = function() lines = 0 end }
        """

    /// A loaded script, and the log that it writes.
    private func load(_ source: String = source, engine: FakeEngine = FakeEngine()) async throws -> (any LoadedScript & CodePrompt, Output)
    {
        let log = Output()
        var host = LuaResidentHost()
        host.sliceSeconds = 0.5
        let script = try await host.load(
            ResidentScript(name: "conf.d/a", file: "conf.d/a.lua", source: Array(source.utf8)), modules: NoModules(), connector: engine
        ) { log.add(.string($0)) }
        try await script.start()
        return (try #require(script as? any LoadedScript & CodePrompt), log)
    }

    /// What a session inside it answers to chunks, with what each prints.
    private func answers(
        _ script: any CodePrompt, _ chunks: [String], onlyReads: Bool = false, session: String = "s"
    ) async throws -> [String] {
        var answers: [String] = []
        for (ask, source) in [("open", "")] + chunks.map({ ("chunk", $0) }) {
            let output = Output()
            let answer = try await script.answer(
                [
                    "target": "conf.d/a", "session": .string(session), "ask": .string(ask), "source": .string(source),
                    "only_reads": .bool(onlyReads),
                ], onOutput: { output.add($0) })
            let text = answer["text"]?.stringValue ?? answer["error"]?["message"]?.stringValue
            if ask == "chunk" { answers.append((output.all + [text ?? ""]).joined(separator: "|")) }
        }
        return answers
    }

    @Test func chunksSeeTheCodesGlobalsAndKeepLocals() async throws {
        let (script, log) = try await load()
        let found = try await answers(
            script,
            [
                "count, hidden, lines", "local x, y = 5, {}", "x + count", "count = 7", "check 'bar'", "require 'policy'.memory", "_", "io",
                "function twice(n) return 2 * n end", "lunette.on('container.exited', print)", "nope.x", "x = = 1",
            ])
        #expect(
            Array(found.prefix(9)) == ["1\tnil\t0", "", "6", "", "checking\tbar|true", "64", "64", "", ""], "\(found)")
        #expect(found[9].contains("registers its handlers while it loads"))
        #expect(found[10] == "repl in conf.d/a:11: attempt to index a nil value (global 'nope')", "\(found)")
        // Another session has the globals, and no local.
        #expect(try await answers(script, ["count, x, twice(4)"], session: "other") == ["7\tnil\t8"])
        #expect(log.all == [], "what a chunk prints is no log line")
        await script.stop(patience: 0)
    }

    @Test func anErrorPointsAtItsLine() async throws {
        let (script, _) = try await load()
        _ = try await answers(script, ["count"])
        for (source, point) in [("nope.x", "  2 | nope.x\n    | ^^^^"), ("x = = 1", "  3 | x = = 1\n    |   ^")] {
            let answer = try await script.answer(
                ["target": "conf.d/a", "session": "s", "ask": "chunk", "source": .string(source)], onOutput: { _ in })
            #expect(answer["status"] == "failed" && answer["error"]?["point"]?.stringValue == point, "\(answer)")
        }
        await script.stop(patience: 0)
    }

    @Test func theCodesLimitsHold() async throws {
        let (script, log) = try await load()
        _ = try await answers(script, [])
        func ask(_ source: String, ask: String = "chunk") async -> Result<Value, LunetteError> {
            do throws(LunetteError) {
                return .success(
                    try await script.answer(
                        ["target": "conf.d/a", "session": "s", "ask": .string(ask), "source": .string(source)], onOutput: { _ in }))
            } catch { return .failure(error) }
        }
        for source in ["while true do end", "while true do pcall(function() while true do end end) end"] {
            let code =
                switch await ask(source) {
                case .failure(let error): error.code.rawValue
                case .success(let answer): answer["error"]?["code"]?.stringValue
                }
            #expect(code == "resource_exhausted", "\(source)")
        }
        let printed = try await ask("for i = 1, 100 do print(('x'):rep(20000)) end").get()
        #expect(printed["error"]?["code"] == "resource_exhausted", "\(printed)")
        let big = try await ask("('x'):rep(2 << 20)").get()
        #expect(big["error"]?["code"] == "resource_exhausted", "\(big)")
        #expect(try await ask("count").get()["text"] == "1")
        #expect(log.all == [])
        await script.stop(patience: 0)
    }

    @Test func aCancelEndsTheChunkAndNothingElse() async throws {
        let (script, _) = try await load()
        _ = try await answers(script, [])
        let running = Task { () -> Result<Value, LunetteError> in
            do throws(LunetteError) {
                return .success(
                    try await script.answer(
                        ["target": "conf.d/a", "session": "s", "ask": "chunk", "source": "count = 2 task.sleep '300s' count = 3"],
                        onOutput: { _ in }))
            } catch { return .failure(error) }
        }
        while try await answers(script, ["count"], session: "other") != ["2"] {}
        // One chunk of a prompt at a time.
        await #expect(throws: LunetteError.self) {
            try await script.answer(["target": "conf.d/a", "session": "s", "ask": "chunk", "source": "1"], onOutput: { _ in })
        }
        running.cancel()
        let ended = await running.value
        let code = (try? ended.get())?["error"]?["code"]?.stringValue
        #expect(code == "cancelled", "\(ended)")
        #expect(try await answers(script, ["count"], session: "other") == ["2"])
        await script.stop(patience: 0)
    }

    @Test func aSessionThatOnlyReadsChangesNothing() async throws {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            if request.function == "container.list" { return [] }
            throw LunetteError(.internal, "\(request.function) was really called")
        }
        let (script, _) = try await load(engine: engine)
        let found = try await answers(
            script,
            [
                "count = 5", "container.run { image = 'x' }", "#container.list()", "local x = 1", "x = 2", "x, count",
                "task.await(task.spawn(function() container.remove 'web' end))", "fs.write('/tmp/x', 'y')",
                "script.evaluate { target = 'a', session = 's', ask = 'open' }",
            ], onlyReads: true)
        #expect(found[0].contains("\"count\" is the code's own, and this session only reads"), "\(found)")
        #expect(found[1].contains("container.run changes something, and this session only reads"), "\(found)")
        #expect(Array(found[2...5]) == ["0", "", "", "2\t1"], "\(found)")
        #expect(found[6].contains("container.remove changes something"), "\(found)")
        #expect(found[7].contains("only reads"), "\(found)")
        // The plumbing is no function of the noun.
        #expect(found[8].contains("script has no function \"evaluate\""), "\(found)")
        await script.stop(patience: 0)
    }

    @Test func whatASessionSpawnedEndsWithIt() async throws {
        let (script, log) = try await load()
        let found = try await answers(
            script,
            [
                "task.spawn(function() task.sleep '300s' end)", "task.spawn(function() print 'late' error 'unheard' end) task.sleep '1ms'",
                "t = task.spawn(function() local x <close> = setmetatable({}, { __close = function() closed = true end }) task.sleep '300s' end)",
            ])
        #expect(found[1].hasPrefix("late|a task failed: repl in conf.d/a:2: unheard"), "\(found)")
        func ask(_ word: String, session: String = "s") async throws -> Value {
            try await script.answer(["target": "conf.d/a", "session": .string(session), "ask": .string(word)], onOutput: { _ in })
        }
        #expect(try await ask("tasks")["lines"]?.arrayValue?.count == 2)
        #expect(try await ask("close")["status"] == "closed")
        #expect(try await ask("chunk")["status"] == "changed", "a session that isn't there runs nothing")
        #expect(try await answers(script, ["closed, tostring(t)"], session: "other") == ["true\t\"task (cancelled)\""])
        #expect(log.all == [])
        await script.stop(patience: 0)
    }

    @Test func wordsOfTheCodeAreCompleted() async throws {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            [FakeEngine.handle("container", "1", "web"), FakeEngine.handle("container", "2", "worker")]
        }
        let (script, _) = try await load(engine: engine)
        _ = try await answers(script, ["local mine = { first = 1 }"])
        for (line, word, expected) in [
            ("limits.me", "limits.me", ["limits.memory"]), ("cou", "cou", ["count"]), ("mine.f", "mine.f", ["mine.first"]),
            ("container.get('w", "w", ["web", "worker"]), ("container.run { na", "na", ["name"]), ("hidd", "hidd", []), ("io", "io", []),
        ] {
            let found = try await script.complete(
                ["target": "conf.d/a", "session": "s", "text": .string(word), "line": .string(line)])
            #expect((found.arrayValue ?? []).compactMap { $0.arrayValue?.first?.stringValue } == expected, "\(line): \(found)")
        }
        // Of a thousand containers the engine sends those that fit.
        #expect(engine.requests.map { $0.arguments["name"] } == ["w"])
        await script.stop(patience: 0)
    }
}
