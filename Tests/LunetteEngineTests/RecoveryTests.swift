import Foundation
import LunetteLinux
import LunetteRuntime
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

/// What a new engine makes of what a killed one left. A killed engine is one that never closes: its database is opened again.
@Suite struct RecoveryTests {
    /// Runs `first`, "kills" that engine, opens another on the same directory over `host`, runs `second`.
    private func across(
        _ first: (EngineFixture, TestSession) async throws -> Void, plant: (FakeHost, EngineFixture) async throws -> Void = { _, _ in },
        _ second: (EngineFixture, TestSession) async throws -> Void
    ) async throws {
        let dead = try await EngineFixture()
        try await first(dead, try await dead.session())
        let host = FakeHost()
        try await plant(host, dead)
        let next = try await EngineFixture(directory: dead.directory, host: host)
        do { try await second(next, try await next.session()) } catch {
            await next.end()
            throw error
        }
        await next.end()
    }

    private func adopted(_ id: String, _ dead: EngineFixture) -> FakeContainer {
        FakeContainer(id: id, spec: dead.host.container(id)!.spec)
    }

    @Test func aRunningContainerIsAdoptedAndItsExitSeen() async throws {
        try await across { _, session in
            try await session.run("web")
        } plant: { host, dead in
            let id = dead.host.state.withLock { $0.containers.keys.first! }
            let container = adopted(id, dead)
            host.state.withLock {
                $0.observations[id] = .running(container)
                $0.containers[id] = container
            }
        } _: { fixture, session in
            #expect(try await session.status("web") == "running")
            #expect(fixture.host.journal.isEmpty)
            fixture.host.state.withLock { $0.containers.values.first! }.finish(code: 7)
            let exit = try await session.call("container.wait", ["container": "web"])
            #expect(exit["code"] == 7)
        }
    }

    @Test func anExitWhileNoEngineRanIsTaken() async throws {
        try await across { _, session in
            try await session.run("web")
        } plant: { host, dead in
            let id = dead.host.state.withLock { $0.containers.keys.first! }
            host.state.withLock { $0.observations[id] = .exited(ContainerExit(code: 3, finishedAt: 5)) }
        } _: { fixture, session in
            #expect(try await session.inspect("web")["exit"]?["code"] == 3)
            try await eventually("its rest is taken apart") { await fixture.engine.state.ledger.isEmpty }
        }
    }

    @Test func aLostContainerOfPolicyAlwaysIsStartedAgain() async throws {
        try await across { _, session in
            try await session.run("web", ["restart": "always"])
            try await session.run("plain")
        } _: { fixture, session in
            #expect(try await session.inspect("plain")["exit"]?["reason"] == "lost")
            try await eventually("the back-off runs") { fixture.clock.fake.sleeperCount > 0 }
            fixture.clock.fake.advance(by: .seconds(1))
            try await eventually("it runs again") { try await session.status("web") == "running" }
        }
    }

    @Test func anUnmonitoredContainerRunsOnDegraded() async throws {
        try await across { _, session in
            try await session.run("web")
        } plant: { host, dead in
            let id = dead.host.state.withLock { $0.containers.keys.first! }
            host.state.withLock { $0.observations[id] = .unmonitored(adopted(id, dead)) }
        } _: { _, session in
            let info = try await session.inspect("web")
            #expect(info["status"] == "running")
            #expect(info["degraded"]?.arrayValue?.first?.stringValue?.contains("shim was killed") == true)
        }
    }

    @Test func whatNoRowKnowsIsSwept() async throws {
        try await across { _, _ in
        } plant: { host, _ in
            host.state.withLock { $0.leftovers = ["orphan01"] }
        } _: { fixture, session in
            await fixture.engine.sweeping.wait()
            #expect(fixture.host.journal == ["reap orphan01 true"])
            let problems = try await session.call("system.check")["problems"]
            #expect(problems == .array([]))
        }
    }

    @Test func aRunCutOffBeforeItsCommitIsUndoneAndItsRepetitionRuns() async throws {
        try await across { fixture, session in
            // The engine dies with the runtime still at work: the ledger's row is there, the start's commit is not.
            try await session.call(
                "container.create", ["spec": ["image": "base:latest", "args": ["serve"], "name": "web"]], id: "the-request")
            let record = await fixture.engine.state.containers.values.first!
            var changes = Changes()
            changes.ledger = [LedgerRow(.containerRun, record.id)]
            try await fixture.engine.state.commit(changes)
        } _: { fixture, session in
            #expect(fixture.host.journal.contains { $0.hasPrefix("reap") && $0.hasSuffix("false") })
            #expect(await fixture.engine.state.ledger.isEmpty)
            let id = try await session.run("web", id: "the-request")
            #expect(await fixture.engine.state.containers.count == 1)
            #expect(try await session.status(id) == "running")
        }
    }

    @Test func aStartCutOffAfterTheProgramRanIsNotRunTwice() async throws {
        try await across { fixture, session in
            try await session.call(
                "container.create", ["spec": ["image": "base:latest", "args": ["serve"], "name": "web"]], id: "the-request")
            let record = await fixture.engine.state.containers.values.first!
            let run = FakeContainer(id: record.id, spec: try ContainerSpec(record.spec)).record.value
            var changes = Changes()
            changes.ledger = [
                LedgerRow(.containerRun, record.id, detail: ["request": "the-request", "function": "container.run", "run": run])
            ]
            try await fixture.engine.state.commit(changes)
        } plant: { host, dead in
            let record = await dead.engine.state.containers.values.first!
            let container = FakeContainer(id: record.id, spec: try ContainerSpec(record.spec))
            host.state.withLock { $0.observations[record.id] = .running(container) }
        } _: { fixture, session in
            #expect(try await session.status("web") == "running")
            let id = try await session.run("web", id: "the-request")
            #expect(try await session.status(id) == "running")
            #expect(fixture.host.journal.isEmpty)
        }
    }

    @Test func aRemovalCutOffAfterItsCommitIsFinished() async throws {
        try await across { fixture, session in
            try await session.call("container.create", ["spec": ["image": "base:latest", "args": ["serve"], "name": "web"]])
            let record = await fixture.engine.state.containers.values.first!
            var changes = Changes()
            changes.removedContainers = [record.id]
            changes.ledger = [LedgerRow(.containerFiles, record.id)]
            try await fixture.engine.state.commit(changes, .desired)
        } _: { fixture, _ in
            #expect(fixture.host.journal.contains { $0.hasSuffix("true") })
            #expect(await fixture.engine.state.ledger.isEmpty)
        }
    }

    @Test func aVolumeThatWasBeingMadeIsRemovedByItsDriver() async throws {
        try await across { fixture, _ in
            var changes = Changes()
            changes.ledger = [LedgerRow(.volume, "v1", detail: ["name": "data", "driver": "local"])]
            try await fixture.engine.state.commit(changes)
        } _: { fixture, _ in
            #expect(fixture.drivers.driver.journal.values.contains("remove data"))
            #expect(await fixture.engine.state.ledger.isEmpty)
        }
    }

    @Test func outcomesAndEventsOutliveTheEngine() async throws {
        try await across { _, session in
            try await session.run("web")
            try await session.call("container.remove", ["container": "web", "force": true], id: "remove-1")
        } _: { _, session in
            try await session.call("container.remove", ["container": "web", "force": true], id: "remove-1")
            let events = try await session.events()
            #expect(events.map { $0["sequence"]!.intValue! } == Array(1...Int64(events.count)))
        }
    }

    @Test func aScriptsContainerIsRemovedWhenItsProcessIsGone() async throws {
        try await across { fixture, session in
            let id = try await session.run("mine", ["lifetime": "script"])
            try await fixture.engine.state.update(id) { record in
                record.owner = ProcessIdentity(pid: 1, startTime: 1, bootID: "another boot")
            }
        } _: { fixture, _ in
            #expect(await fixture.engine.state.containers.isEmpty)
        }
    }

    @Test func anApplyThatDiedWithItsEngineLeavesNothing() async throws {
        let objects: Value = [
            "volumes": ["data": [:], "more": [:]], "containers": ["web": ["image": "base:latest"]],
        ]
        try await across { dead, session in
            dead.drivers.driver.createGate.withLock { $0 = OneShot<Void>() }
            Task { try? await session.call("lunette.apply", objects) }
            try await eventually("the driver is asked") { !dead.drivers.driver.journal.values.isEmpty }
        } _: { fixture, session in
            #expect(Set(fixture.drivers.driver.journal.values) == ["remove data", "remove more"])
            let state = fixture.engine.state
            #expect(await state.ledger.isEmpty)
            #expect(await state.volumes.isEmpty)
            #expect(await state.containers.isEmpty)
            let made = try await session.call("lunette.apply", objects)["changed"]?.arrayValue
            #expect(made?.count == 3)
        }
    }

    @Test func limitsThatWereNeverCommittedAreSetBack() async throws {
        try await across { dead, session in
            let id = try await session.run("web", ["resources": ["memory": "64MiB"]])
            var intent = Changes()
            intent.ledger = [LedgerRow(.limits, id, detail: ["memory": .int(128 << 20)])]
            try await dead.engine.state.commit(intent)
        } plant: { host, dead in
            let id = dead.host.state.withLock { $0.containers.keys.first! }
            let container = adopted(id, dead)
            host.state.withLock {
                $0.observations[id] = .running(container)
                $0.containers[id] = container
            }
        } _: { fixture, session in
            #expect(fixture.host.state.withLock { $0.containers.values.first! }.state.withLock { $0.limits } == [64 << 20])
            #expect(await fixture.engine.state.ledger.values.allSatisfy { $0.kind == .containerRun })
        }
    }
}
