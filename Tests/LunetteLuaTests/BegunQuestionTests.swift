import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

/// Questions that are begun without waiting for them.
@Suite struct BegunQuestionTests {
    private func worker(_ source: String, longestStep: Double? = nil) async throws -> StateWorker {
        var options = LuaHost.Options(connector: nil, directory: "/", script: "init.lua")
        options.limits = .init(memory: 64 << 20, instructions: 200_000_000, wallSeconds: 2, isLimited: true)
        options.permissions = []
        let worker = try await StateWorker.start(.script("init.lua"), options, longestStep: longestStep)
        _ = try await worker.call("load_resident", ["source": .string(source), "name": "@init.lua", "timeout": 10])
        return worker
    }

    private func ask(_ worker: StateWorker) async -> Result<Value, LunetteError> {
        await withCheckedContinuation { continuation in
            worker.begin("before#1", ["name": "container.create", "spec": ["args": ["true"]]]) { continuation.resume(returning: $0) }
        }
    }

    private static func seconds(since began: ContinuousClock.Instant) -> Double { (ContinuousClock.now - began) / .seconds(1) }

    /// What the handler has begun has its own time.
    @Test func whoIsAnsweredDoesNotWaitForWhatTheHandlerLeaves() async throws {
        let worker = try await worker(
            """
            lunette.before("container.create", function(ev)
              task.spawn(function() local till = 2e9 while till > 0 do till = till - 1 end end)
              ev:amend { labels = { seen = "yes" } }
            end)
            """)
        let began = ContinuousClock.now
        let answer = await ask(worker)
        #expect((try? answer.get())?["amend"] != nil, "\(answer)")
        #expect(Self.seconds(since: began) < 1)
        await worker.stop()
    }

    /// A handler that was quick and then doesn't come back doesn't keep its asker.
    @Test func whoAsksWhatDoesNotComeBackIsTold() async throws {
        let worker = try await worker(
            """
            local count = 0
            lunette.before("container.create", function(ev)
              count = count + 1
              if count < 100 then return end
              local t, m = {}, (1 << 18) - 1
              for k = 1, (1 << 17) + 1 do t[k * m] = true end
            end)
            """, longestStep: 0.3)
        let began = ContinuousClock.now
        var (answered, last) = (0, "")
        while last.isEmpty {
            switch await ask(worker) {
            case .success: answered += 1
            case .failure(let error): last = error.message
            }
        }
        #expect(answered == 99)
        #expect(last.contains("has not come back from one step"), "\(last)")
        #expect(Self.seconds(since: began) < 5)
        await worker.stop()
    }
}
