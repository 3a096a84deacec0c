import LunetteTesting
import Synchronization
import Testing

@testable import LunetteLinux

/// The clock that tests of scripts move.
@Suite struct VirtualTimeTests {
    private final class Words: Sendable {
        private let words = Mutex<[String]>([])
        func add(_ word: String) { words.withLock { $0.append(word) } }
        var all: [String] { words.withLock { $0 } }
    }

    @Test func timersWakeByInstantThenByAsking() {
        let time = VirtualTime(start: 100)
        let woken = Words()
        for (seconds, word) in [(3.0, "c"), (1, "a"), (3, "d"), (2, "b"), (0, "now")] {
            _ = time.schedule(after: seconds) { woken.add(word) }
        }
        while time.fireNext(until: 103) {}
        #expect(woken.all == ["now", "a", "b", "c", "d"])
        #expect(time.now == 103 && time.monotonic == 1003 && time.nextDue == nil)
    }

    @Test func whatIsDueLaterIsLeft() {
        let time = VirtualTime(start: 0)
        let woken = Words()
        _ = time.schedule(after: 5) { woken.add("five") }
        let cancelled = time.schedule(after: 1) { woken.add("one") }
        #expect(time.cancel(cancelled) && !time.cancel(cancelled))
        #expect(!time.fireNext(until: 4.999999) && time.now == 0 && time.nextDue == 5)
        time.move(to: 4)
        time.move(to: 2)
        #expect(time.now == 4)
        #expect(time.fireNext(until: 5) && time.now == 5 && woken.all == ["five"])
    }

    /// A tenth of a second ten million times is no million seconds in floating point.
    @Test func sumsOfSecondsStayExact() {
        let time = VirtualTime()
        let begin = time.now
        for _ in 0..<36_000 {
            _ = time.schedule(after: 0.1) {}
            #expect(time.fireNext(until: time.now + 0.1))
        }
        #expect(time.now - begin == 3600)
    }

    @Test func aSleeperIsWokenOrCancelled() async throws {
        let time = VirtualTime(start: 0)
        let sleeper = Task { try await time.sleep(60) }
        try await eventually("it sleeps") { time.nextDue == 60 }
        #expect(time.fireNext(until: 60))
        try await sleeper.value
        let other = Task { try await time.sleep(60) }
        try await eventually("it sleeps") { time.nextDue == 120 }
        other.cancel()
        await #expect(throws: CancellationError.self) { try await other.value }
        #expect(time.nextDue == nil)
    }

    @Test func aResetForgetsAll() {
        let time = VirtualTime(start: 7)
        _ = time.schedule(after: 1) {}
        time.move(to: 9)
        time.reset()
        #expect(time.now == 7 && time.nextDue == nil)
    }
}
