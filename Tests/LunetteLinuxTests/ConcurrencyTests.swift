import LunetteLinux
import LunetteSpec
import Synchronization
import Testing

@Suite struct ConcurrencyTests {
    @Test func blockingWorkRunsInParallelAndGivesResultsAndErrors() async throws {
        let (output, input) = try FileDescriptor.pipe()
        // More readers than the machine has processors, all blocked, then freed by one more job.
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<16 { group.addTask { try await blocking { () throws(SystemCallError) in try output.read(upTo: 1).count } } }
            try await blocking { () throws(SystemCallError) in try input.writeAll([UInt8](repeating: 1, count: 16)) }
            var sum = 0
            for try await count in group { sum += count }
            return sum
        }
        #expect(sum == 16)
        await #expect(throws: SystemCallError.self) {
            try await blocking { () throws(SystemCallError) in throw SystemCallError("test", "x", errno: 5) }
        }
    }

    @Test func thePollerWakesForDataForTheEndAndForCancellation() async throws {
        let (output, input) = try FileDescriptor.pipe()
        async let first = Poller.shared.wait(for: output, .readable)
        try input.writeAll([1])
        #expect(try await first.contains(.readable))
        _ = try output.read(upTo: 1)
        let waiting = Task { try await Poller.shared.wait(for: output, .readable) }
        waiting.cancel()
        await #expect(throws: LunetteError.self) { try await waiting.value }
        input.close()
        #expect(try await Poller.shared.wait(for: output, .readable).contains(.hungUp))
    }

    @Test func aOneShotGivesItsFirstValueToAll() async {
        let shot = OneShot<Int>()
        let tasks = (0..<8).map { _ in Task { await shot.valueUnlessCancelled() } }
        let cancelled = Task { await shot.valueUnlessCancelled() }
        cancelled.cancel()
        #expect(await cancelled.value == nil)
        shot.fulfil(1)
        shot.fulfil(2)
        for task in tasks { #expect(await task.value == 1) }
        #expect(await shot.value() == 1)
    }

    @Test func aOneShotCallsBackOnceBeforeAndAfterItsValueCame() {
        let shot = OneShot<Int>()
        let calls = Mutex<[Int]>([])
        shot.whenFulfilled { value in calls.withLock { $0.append(value) } }
        #expect(calls.withLock { $0 } == [])
        shot.fulfil(1)
        shot.fulfil(2)
        shot.whenFulfilled { value in calls.withLock { $0.append(10 * value) } }
        #expect(calls.withLock { $0 } == [1, 10])
    }
}
