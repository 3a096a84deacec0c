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

    /// Askers and the state's thread look out for each other after quick answers, and go to sleep where one is slow.
    @Test func aHandlerThatIsSlowEveryThirdTimeAnswersAll() async throws {
        let worker = try await worker(
            """
            local count = 0
            lunette.before("container.create", function(ev)
              count = count + 1
              if count % 3 == 0 then task.sleep "3ms" end
              ev:amend { labels = { count = tostring(count) } }
            end)
            """)
        for count in 1...90 {
            let answer = try await ask(worker).get()
            #expect(answer["amend"]?["labels"]?["count"]?.stringValue == String(count))
        }
        await worker.drain(seconds: 5)
        await worker.stop()
    }

    /// The state's thread comes and goes while many ask at once.
    @Test func manyWhoAskAtOnceAreAllAnswered() async throws {
        let worker = try await worker("lunette.before('container.create', function(ev) ev:amend { labels = { seen = 'yes' } } end)")
        let answered = await withTaskGroup(of: Int.self) { group in
            for number in 0..<8 {
                group.addTask {
                    var answered = 0
                    for turn in 0..<200 {
                        // Some in a row, some after a pause in which a thread that looks has given up.
                        if turn % 20 == number { try? await Task.sleep(for: .microseconds(300)) }
                        if (try? await ask(worker).get())?["amend"] != nil { answered += 1 }
                    }
                    return answered
                }
            }
            return await group.reduce(0, +)
        }
        #expect(answered == 1600)
        await worker.stop()
    }

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
