import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

@Suite struct EventTests {
    @Test func aReaderResumesAfterASequenceNumber() async throws {
        try await withEngine { fixture, session in
            try await session.run("one", ["args": ["true"]])
            try await eventually("all is logged") { await fixture.engine.state.newestEvent == 4 }
            let events = try await session.events(since: 2)
            #expect(events.map { $0["sequence"]! } == [3, 4])
            #expect(events.last?["exit"]?["code"] == 0)
        }
    }

    @Test func aReaderThatStopsReadingHoldsNothingUp() async throws {
        try await withEngine { fixture, session in
            let gate = Race<Void>()
            let seen = Collected()
            let reading = Task {
                _ = try await session.call("events.follow", ["since": 0]) { event throws(LunetteError) in
                    if seen.values.isEmpty { await gate.value }
                    seen.add(event)
                }
            }
            for index in 0..<50 { try await session.run("c\(index)") }
            #expect(seen.values.isEmpty)
            gate.finish(())
            try await eventually("it catches up") { seen.values.count == 101 }
            #expect(seen.values.map { $0["sequence"]!.intValue! } == Array(1...101))
            reading.cancel()
            _ = await reading.result
        }
    }

    @Test func whatWasPrunedIsToldWithTheOldestKept() async throws {
        try await withEngine { fixture, session in
            for _ in 0..<1400 { await fixture.engine.state.log(PendingEvent(name: "engine.ready")) }
            let oldest = await fixture.engine.state.oldestEvent
            #expect(oldest > 1)
            let error = await expectError(.notFound) { () async throws(LunetteError) in _ = try await session.events(since: 1) }
            #expect(error?.details?["oldest"] == .int(oldest))
        }
    }

    @Test func aMatchFiltersByPatternAndTarget() async throws {
        try await withEngine { fixture, session in
            try await session.run("one")
            try await session.run("two")
            let seen = Collected()
            try await session.call("events.follow", ["since": 0, "until": "0s", "match": ["name": "container.*", "target": "two"]]) {
                event throws(LunetteError) in
                seen.add(event)
            }
            #expect(seen.values.map { $0["target"]!["name"]! } == ["two", "two"])
        }
    }

    @Test func cancellingEndsAFollower() async throws {
        try await withEngine { fixture, session in
            let following = Task { try await session.call("events.follow") }
            try await eventually("it waits") { fixture.engine.sessionCount > 0 }
            following.cancel()
            if case .failure(let error) = await following.result { #expect((error as? LunetteError)?.code == .cancelled) }
        }
    }
}
