import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

/// What the kernel tells of pressure and of limits that are met reaches plain handlers: no health check and no lifecycle is needed.
@Suite struct LimitEventTests {
    private func register(_ session: TestSession, _ event: String, _ fields: ValueMap = [:]) async throws {
        var arguments: ValueMap = ["subscription": .string(event), "kind": "on", "event": .string(event)]
        for (key, value) in fields { arguments[key] = value }
        try await session.call("hook.register", .map(arguments))
    }

    private func pressure(_ resource: String, _ percent: Double) -> ValueMap {
        ["time": 1, "pressure": .map([resource: ["some": ["avg10": .double(percent), "avg60": 0, "avg300": 0]]])]
    }

    /// Lets the engine look once at what a container's figures are.
    private func look(_ fixture: EngineFixture, _ id: String, at stats: ValueMap) async throws {
        let container = try #require(fixture.host.container(id))
        container.state.withLock { ($0.stats, $0.looks) = (stats, 0) }
        try await fixture.clock.pass(seconds: 1) { container.state.withLock { $0.looks } > 0 }
    }

    private func eventually(_ condition: () async throws -> Bool) async throws {
        for _ in 0..<400 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("it never came to that")
    }

    @Test func pressureIsToldToAPlainHandlerEachTimeItIsPassed() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            let id = try await session.run("web", ["labels": ["app": "db"]])
            try await register(try await fixture.session(receiver), "container.pressure")
            for (percent, told) in [(5.0, 0), (12, 1), (30, 1), (3, 1), (11, 2)] {
                try await look(fixture, id, at: pressure("memory", percent))
                try await eventually { try await session.events(since: 0, "container.pressure").count >= told }
                #expect(try await session.events(since: 0, "container.pressure").count == told, "\(percent)")
            }
            let event = try await session.events(since: 0, "container.pressure")[0]
            #expect(event["pressure"]?["resource"] == "memory" && event["pressure"]?["limit"] == 10.0 && event["labels"]?["app"] == "db")
            try await eventually { receiver.seen.values.count == 2 }
            #expect(receiver.seen.values.first?["target"]?["name"] == "web")
        }
    }

    @Test func aHandlersOwnLimitIsItsOwn() async throws {
        try await withEngine { fixture, session in
            let (strict, lax) = (TestReceiver(), TestReceiver())
            try await register(try await fixture.session(strict), "container.pressure", ["match": ["cpu": ">5% 10s"]])
            try await register(
                try await fixture.session(lax), "container.pressure", ["match": ["cpu": ">80% 10s", "labels": ["app": "db"]]])
            let id = try await session.run("web", ["labels": ["app": "db"]])
            try await look(fixture, id, at: pressure("cpu", 20))
            try await eventually { strict.seen.values.count == 1 }
            #expect(lax.seen.values.isEmpty)
            try await look(fixture, id, at: pressure("cpu", 90))
            try await eventually { lax.seen.values.count == 1 }
            #expect(strict.seen.values.count == 1 && lax.seen.values[0]["pressure"]?["limit"] == 80.0)
        }
    }

    @Test func aLimitThatIsMetIsTold() async throws {
        try await withEngine { fixture, session in
            let old = try await session.run("old")
            fixture.host.container(old)?.state.withLock { $0.stats = ["memory": ["limit": 10, "limit_hits": 7]] }
            fixture.clock.fake.advance(by: .seconds(1))
            let receiver = TestReceiver()
            try await register(try await fixture.session(receiver), "container.limited")
            fixture.clock.fake.advance(by: .seconds(1))
            let id = try await session.run("new")
            try await look(fixture, id, at: ["pids": ["limit": 5, "limit_hits": 2]])
            try await eventually { receiver.seen.values.count == 1 }
            // What was there before anybody asked is no news.
            #expect(receiver.seen.values[0]["limited"] == ["resource": "pids", "limit": 5, "hits": 2])
            try await look(fixture, old, at: ["memory": ["limit": 10, "limit_hits": 8]])
            try await eventually { receiver.seen.values.count == 2 }
            #expect(receiver.seen.values[1]["target"]?["name"] == "old")
        }
    }

    @Test func noHandlerCostsNoLook() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            fixture.host.container(id)?.state.withLock { $0.stats = pressure("memory", 90) }
            for _ in 0..<5 {
                fixture.clock.fake.advance(by: .seconds(1))
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(fixture.host.container(id)?.state.withLock { $0.looks } == 0)
            #expect(fixture.clock.fake.sleeperCount == 0)
        }
    }

    @Test func aLimitOfAnotherEventIsAMistake() async throws {
        try await withEngine { fixture, _ in
            let session = try await fixture.session(TestReceiver())
            let error = await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.call(
                    "hook.register", ["subscription": "a", "kind": "on", "event": "container.exited", "match": ["io": ">5% 10s"]])
            }
            #expect(error?.path == "match.io")
        }
    }
}
