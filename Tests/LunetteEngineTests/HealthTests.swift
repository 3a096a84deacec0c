import LunetteAPI
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

@Suite struct HealthTests {
    private func state(_ spec: HealthSpec) throws -> ContainerState {
        var state = ContainerState()
        state.health.spec = spec
        _ = try state.apply(.created, now: 0)
        _ = try state.apply(.startRequested, now: 0)
        _ = try state.apply(.started(pid: 7), now: 0)
        return state
    }

    @Test func failuresInARowMakeItUnhealthyAndOneSuccessHealthy() throws {
        var state = try state(HealthSpec(.tcp(port: 80), failureThreshold: 2))
        #expect(state.health.status == .starting)
        #expect(try state.apply(.checked(failure: nil), now: 1) == [.emit("container.ready"), .emit("container.healthy")])
        #expect(try state.apply(.checked(failure: nil), now: 2) == [])
        #expect(try state.apply(.checked(failure: "refused"), now: 3) == [])
        #expect(state.health.status == .healthy && state.health.failures == 1)
        #expect(try state.apply(.checked(failure: nil), now: 4) == [])
        #expect(state.health.failures == 0)
        _ = try state.apply(.checked(failure: "a"), now: 5)
        #expect(try state.apply(.checked(failure: "b"), now: 6) == [.emit("container.unhealthy"), .unhealthy(.none)])
        #expect(state.health.message == "b")
        // It is told once.
        #expect(try state.apply(.checked(failure: "c"), now: 7) == [])
        #expect(try state.apply(.checked(failure: nil), now: 8) == [.emit("container.healthy")])
    }

    @Test func failuresInTheStartPeriodDontCount() throws {
        var state = try state(HealthSpec(.tcp(port: 80), failureThreshold: 1, startPeriod: 10))
        #expect(try state.apply(.checked(failure: "x"), now: 9) == [])
        #expect(state.health.status == .starting && state.health.failures == 0)
        #expect(try state.apply(.checked(failure: "x"), now: 10) == [.emit("container.unhealthy"), .unhealthy(.none)])
    }

    @Test func anUnhealthyOneIsRestartedWhateverItsPolicyWithItsBackOff() throws {
        var state = try state(HealthSpec(.tcp(port: 80), failureThreshold: 1, onUnhealthy: .restart))
        #expect(try state.apply(.checked(failure: "x"), now: 1).contains(.unhealthy(.restart)))
        _ = try state.apply(.endUnhealthy(restart: true), now: 1)
        let effects = try state.apply(.exited(ExitRecord(code: 143, reason: .signal, finishedAt: 2)), now: 2)
        #expect(effects.contains(.restart(after: 0.1)) && state.exit?.reason == .stopped)
        #expect(try state.apply(.restartDue, now: 3) == [.launch])
        _ = try state.apply(.started(pid: 8), now: 3)
        #expect(state.health.status == .starting && state.restarts == 1)
        // A user's stop comes before it.
        _ = try state.apply(.endUnhealthy(restart: true), now: 4)
        _ = try state.apply(.stopRequested, now: 4)
        #expect(
            try !state.apply(.exited(ExitRecord(code: 143, reason: .signal, finishedAt: 5)), now: 5).contains {
                if case .restart = $0 { true } else { false }
            })
    }

    @Test func aStoppedUnhealthyOneStaysStopped() throws {
        var state = try state(HealthSpec(.tcp(port: 80), failureThreshold: 1, onUnhealthy: .stop))
        state.policy = RestartPolicy(kind: .always)
        _ = try state.apply(.endUnhealthy(restart: false), now: 1)
        let effects = try state.apply(.exited(ExitRecord(code: 143, reason: .signal, finishedAt: 2)), now: 2)
        #expect(!effects.contains { if case .restart = $0 { true } else { false } } && state.stoppedByUser)
    }

    @Test func theEngineChecksOnItsOwnClock() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run(
                "web",
                [
                    "health": [
                        "http": ["path": "/ready", "port": 8080], "period": 5, "start_interval": 1, "failure_threshold": 2,
                        "on_unhealthy": "restart",
                    ]
                ])
            let container = try #require(fixture.host.container(id))
            #expect(try await session.inspect(id)["health"]?["status"] == "starting")
            container.state.withLock { $0.ports[8080] = 204 }
            try await fixture.clock.pass(seconds: 1) { try await session.inspect(id)["health"]?["status"] == "healthy" }
            #expect(try await session.events(since: 0, "container.ready", "container.healthy").count == 2)
            container.state.withLock { $0.ports[8080] = 503 }
            try await fixture.clock.pass(seconds: 5) { try await session.inspect(id)["health"]?["failures"] == 1 }
            #expect(try await session.inspect(id)["health"]?["message"] == "GET /ready on port 8080: status 503")
            try await fixture.clock.pass(seconds: 5) { try await !session.events(since: 0, "container.unhealthy").isEmpty }
            // The stop sequence, then the back-off, then a new run.
            try await fixture.clock.pass(seconds: 0.1) {
                let now = try await session.inspect(id)
                return now["restarts"] == 1 && now["status"] == "running"
            }
            #expect(container.state.withLock { $0.signals } == [15])
            let reasons = await fixture.engine.stayReasons()
            #expect(reasons.contains("health check of web"))
        }
    }

    @Test func aCommandThatTakesTooLongHasFailedAndIsKilled() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run(
                "web", ["health": ["exec": ["sleep", "100"], "start_interval": 1, "timeout": 2, "failure_threshold": 1]])
            try await fixture.clock.pass(seconds: 1) { !(fixture.host.container(id)?.state.withLock { $0.execs.isEmpty } ?? true) }
            try await fixture.clock.pass(seconds: 2) { try await session.inspect(id)["health"]?["status"] == "unhealthy" }
            #expect(try await session.inspect(id)["health"]?["message"] == "sleep did not end within 2.0 s")
            // Nothing is asked for.
            #expect(try await session.status(id) == "running")
        }
    }

    @Test func anImagesCheckCountsUnlessItIsTurnedOff() async throws {
        let check: Value = ["Test": ["CMD-SHELL", "false"], "Interval": 5_000_000_000, "Retries": 1]
        let spec = try #require(HealthSpec(image: check))
        #expect(spec.check == .exec(["/bin/sh", "-c", "false"]) && spec.period == 5 && spec.failureThreshold == 1)
        #expect(HealthSpec(image: ["Test": ["NONE"]]) == nil && HealthSpec(image: nil) == nil)
        #expect(HealthSpec(image: ["Test": ["CMD"]]) == nil)
        let none = try ContainerSpec(["image": "x", "health": false])
        #expect(none.hasNoHealth && none.value["health"] == false)
    }

    @Test(
        arguments: [
            (["exec": [], "tcp": ["port": 1]], "health.exec"), (["tcp": ["port": 0]], "health.tcp.port"),
            (["tcp": ["port": 1], "http": ["port": 1]], "health.tcp"), ([:], "health.exec"),
            (["http": ["port": 1, "path": "a b"]], "health.http.path"), (["tcp": ["port": 1], "period": 0], "health.period"),
            (["tcp": ["port": 1], "on_unhealthy": "reboot"], "health.on_unhealthy"),
            (["tcp": ["port": 1], "interval": 1], "health.interval"),
        ] as [(Value, String)])
    func mistakesAreNamed(health: Value, path: String) throws {
        let error = #expect(throws: LunetteError.self) { try ContainerSpec(["image": "x", "health": health]) }
        #expect(error?.path == path && error?.code == .invalidArgument)
    }
}

extension TestClock {
    /// Moves the time, then waits until `condition` holds, at most some seconds of real time.
    func pass(seconds: Double, until condition: () async throws -> Bool) async throws {
        // Whoever is about to sleep shall sleep.
        for _ in 0..<4000 where fake.sleeperCount == 0 { try await Task.sleep(for: .milliseconds(5)) }
        try await Task.sleep(for: .milliseconds(30))
        fake.advance(by: .seconds(seconds))
        for _ in 0..<1000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("nothing came of \(seconds) s")
    }
}
