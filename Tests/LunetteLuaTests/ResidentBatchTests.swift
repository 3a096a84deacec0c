import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// Many events at once to one resident `on` handler.
@Suite struct ResidentBatchTests {
    private struct NoModules: ResidentModules { func source(of module: String) -> [UInt8]? { nil } }

    /// Runs a handler for events `{key, n}`; what it logged, and what came of each event.
    private func run(_ handler: String, _ events: [(key: String, n: Int)]) async throws -> (log: [String], outcomes: [String]) {
        let log = Mutex<[String]>([])
        var host = LuaResidentHost()
        (host.instructionLimit, host.sliceSeconds) = (2_000_000, 1)
        let source = "lunette.on('container.exited', { name = 'x' }, function(ev) local n, key = ev.n, ev.key \(handler) end)"
        let script = try await host.load(
            ResidentScript(name: "x", file: "x.lua", source: Array(source.utf8)), modules: NoModules(), connector: FakeEngine(),
            log: { line in log.withLock { $0.append(String(line.dropFirst("x.lua: info: ".count))) } })
        let (endings, continuation) = AsyncStream.makeStream(of: [HookEnding].self)
        script.receiver.on(
            subscription: "on/x", events: events.map { ["name": "container.exited", "n": .int(Int64($0.n)), "key": .string($0.key)] },
            keys: events.map(\.key)
        ) { continuation.yield($0) }
        var outcomes = [String](repeating: "", count: events.count)
        var left = events.count
        for await list in endings {
            for ending in list {
                #expect(outcomes[ending.index].isEmpty, "told twice")
                outcomes[ending.index] = "\(ending.outcome)"
            }
            left -= list.count
            if left == 0 { break }
        }
        await script.stop(patience: 1)
        return (log.withLock { $0 }, outcomes)
    }

    private let mixed = (1...6).map { (key: $0 % 2 == 0 ? "b" : "a", n: $0) }

    @Test func theyComeInOrder() async throws {
        let (log, outcomes) = try await run("log.info(n)", mixed)
        #expect(log == ["1", "2", "3", "4", "5", "6"] && Set(outcomes) == ["acknowledged"])
    }

    @Test func onesThatWaitHoldUpTheirOwnTargetAlone() async throws {
        let (log, outcomes) = try await run("if n == 1 then task.sleep(0.05) end log.info(n)", mixed)
        #expect(log == ["2", "4", "6", "1", "3", "5"] && Set(outcomes) == ["acknowledged"])
    }

    @Test func afterAFailureTheRestOfItsTargetIsLeft() async throws {
        let (log, outcomes) = try await run("if n == 3 then error 'no' end log.info(n)", mixed)
        #expect(log == ["1", "2", "4", "6"])
        #expect(outcomes == ["acknowledged", "acknowledged", "failed", "acknowledged", "skipped", "acknowledged"])
        let late = try await run("if n == 1 then task.sleep(0.02) error 'no' end log.info(n)", mixed)
        #expect(late.log == ["2", "4", "6"])
        #expect(late.outcomes == ["failed", "acknowledged", "skipped", "acknowledged", "skipped", "acknowledged"])
    }

    /// Each has the whole of its limits, and one that passes them fails alone.
    @Test func eachHasItsOwnLimits() async throws {
        let many = (1...300).map { (key: "k\($0 % 50)", n: $0) }
        // Together they take ten times what one may.
        let (log, outcomes) = try await run("for _ = 1, 30000 do end if n % 100 == 0 then log.info(n) end", many)
        #expect(log == ["100", "200", "300"] && Set(outcomes) == ["acknowledged"])
        let runaway = try await run("if n == 2 then while true do pcall(error) end end log.info(n)", mixed)
        #expect(runaway.log == ["1", "3", "5"])
        #expect(runaway.outcomes == ["acknowledged", "failed", "acknowledged", "skipped", "acknowledged", "skipped"])
    }

    @Test func aStoppedScriptAcknowledgesNothing() async throws {
        let script = try await LuaResidentHost().load(
            ResidentScript(name: "x", file: "x.lua", source: Array("lunette.on('container.exited', { name = 'x' }, print)".utf8)),
            modules: NoModules(), connector: FakeEngine(), log: { _ in })
        await script.stop(patience: 1)
        let outcome: HookEnding.Outcome = await withCheckedContinuation { continuation in
            script.receiver.on(subscription: "on/x", events: [["name": "container.exited"]], keys: ["a"]) {
                continuation.resume(returning: $0[0].outcome)
            }
        }
        #expect("\(outcome)" == "failed")
    }
}
