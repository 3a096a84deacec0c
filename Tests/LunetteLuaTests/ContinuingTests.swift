import Glibc
import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

/// Where those go on whom a state's thread has answered.
@Suite struct ContinuingTests {
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

    /// As the task of a call.
    private func asCall<T: Sendable>(_ body: @escaping @Sendable () async -> T) async -> T {
        await Task(executorPreference: Continuing.shared, operation: body).value
    }

    private static func seconds(since began: ContinuousClock.Instant) -> Double { (ContinuousClock.now - began) / .seconds(1) }

    @Test func whoAsksAgainAndAgainStaysOnTheThreadThatAnswers() async throws {
        let worker = try await worker("lunette.before('container.create', function(ev) ev:amend { labels = { seen = 'yes' } } end)")
        let (answers, threads) = await asCall { [self] in
            var answers: Set<String> = []
            var threads: Set<UInt> = []
            for _ in 0..<200 {
                switch await ask(worker) {
                case .success(let answer): answers.insert(JSON.encode(answer))
                case .failure(let error): answers.insert("\(error)")
                }
                threads.insert(UInt(pthread_self()))
            }
            return (answers, threads)
        }
        #expect(answers == [#"{"amend":{"labels":{"seen":"yes"}}}"#])
        // Another may have had its turn in between where a run of jobs took too long.
        #expect(threads.count < 10, "\(threads.count) threads")
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
        let answer = await asCall { [self] in await ask(worker) }
        #expect((try? answer.get())?["amend"] != nil, "\(answer)")
        #expect(Self.seconds(since: began) < 1)
        await worker.stop()
    }

    /// A handler that doesn't come back keeps neither its asker nor a thread of the pool.
    @Test func whoAsksWhatDoesNotComeBackIsToldOnAnotherThread() async throws {
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
        let (answered, last) = await asCall { [self] in
            var answered = 0
            while true {
                switch await ask(worker) {
                case .success: answered += 1
                case .failure(let error): return (answered, error.message)
                }
            }
        }
        #expect(answered == 99)
        #expect(last.contains("has not come back from one step"), "\(last)")
        #expect(Self.seconds(since: began) < 5)
        await worker.stop()
    }

    /// The thread has answered, and is then kept busy by something else.
    @Test func whoWaitsOnAThreadThatDoesNotComeBackGoesOnElsewhere() async throws {
        let host = JobHost()
        let (stream, next) = AsyncStream.makeStream(of: CheckedContinuation<Void, Never>.self)
        let over = Flag()
        let asker = Task(executorPreference: Continuing.shared) {
            await withCheckedContinuation { _ = next.yield($0) }
            over.isUp.store(true, ordering: .releasing)
        }
        var asking = stream.makeAsyncIterator()
        let continuation = try #require(await asking.next())
        let waits = await withCheckedContinuation { (done: CheckedContinuation<[Bool], Never>) in
            onOwnThread {
                host.begin()
                host.offering { continuation.resume() }
                // Not yet late, then late, then gone.
                let looks = [host.releaseLate(), over.isUp.load(ordering: .acquiring), host.releaseLate()]
                host.end()
                done.resume(returning: looks)
            }
        }
        #expect(waits == [true, false, true])
        await asker.value
        #expect(over.isUp.load(ordering: .acquiring) && !host.releaseLate())
    }

    private final class Flag: Sendable { let isUp = Atomic<Bool>(false) }

    @Test func aThreadThatEndsKeepsNobody() async {
        let host = JobHost()
        let (stream, next) = AsyncStream.makeStream(of: CheckedContinuation<Void, Never>.self)
        let asker = Task(executorPreference: Continuing.shared) {
            await withCheckedContinuation { _ = next.yield($0) }
        }
        for await continuation in stream {
            onOwnThread {
                host.begin()
                host.offering { continuation.resume() }
                host.end()
            }
            break
        }
        await asker.value
    }
}
