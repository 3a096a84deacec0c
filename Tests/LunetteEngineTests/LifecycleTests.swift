import LunetteAPI
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteEngine

@Suite struct LifecycleTests {
    private func lifecycle(_ fields: ValueMap, _ receiver: TestReceiver = TestReceiver()) throws -> Lifecycle {
        var map: ValueMap = ["kind": "lifecycle", "name": "db"]
        for (key, value) in fields { map[key] = value }
        return try Lifecycle(.map(map), receiver: receiver, place: "conf.d/db.lua:3", session: "resident/db")
    }

    private func withLifecycle(
        _ fields: ValueMap, _ body: (EngineFixture, TestSession, TestReceiver) async throws -> Void
    ) async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            await fixture.engine.hooks.replaceResident([], [try lifecycle(fields, receiver)])
            try await body(fixture, session, receiver)
        }
    }

    @Test(
        arguments: [
            ("keep", "stopped", false), ("remove", "gone", false), ("restart", "running", true),
            (["restart": ["after": 3]], "running", true),
        ] as [(Value, String, Bool)])
    func whatItSaysOfAnExitWinsOverThePolicy(decision: Value, becomes: String, restarts: Bool) async throws {
        try await withLifecycle(["functions": ["exited"]]) { fixture, session, receiver in
            receiver.before("lifecycle/db/exited") { event throws(LunetteError) in
                if event["exit"]?["code"] != 7 || event["attempts"] != 0 { throw LunetteError(.internal, "\(event)") }
                return ["result": decision]
            }
            // Its policy would do the opposite.
            let id = try await session.run("one", ["lifecycle": "db", "restart": restarts ? "never" : "always"])
            fixture.host.container(id)?.finish(code: 7)
            if restarts {
                try await fixture.clock.pass(seconds: decision["restart"]?["after"]?.doubleValue ?? 0.1) {
                    try await session.inspect(id)["restarts"] == 1
                }
            }
            for _ in 0..<200 where (try? await session.status(id)) ?? "gone" != becomes { try await Task.sleep(for: .milliseconds(5)) }
            #expect((try? await session.status(id)) ?? "gone" == becomes)
            if !restarts { #expect(try await session.call("container.wait", ["container": .string(id)])["code"] == 7) }
        }
    }

    @Test func aFailingDecisionIsToldAndThePolicyHolds() async throws {
        try await withLifecycle(["functions": ["exited"]]) { fixture, session, receiver in
            receiver.before("lifecycle/db/exited") { _ throws(LunetteError) in ["result": "reboot"] }
            let id = try await session.run("one", ["lifecycle": "db", "restart": "always"])
            fixture.host.container(id)?.finish(code: 1)
            try await fixture.clock.pass(seconds: 0.1) { try await session.inspect(id)["restarts"] == 1 }
            let failed = try await session.events(since: 0, "hook.failed")
            #expect(failed.first?["reason"]?.stringValue?.contains("reboot") == true)
            let history = try await session.inspect(id)["history"]?.arrayValue?.compactMap { $0["detail"]?.stringValue } ?? []
            #expect(history.contains { $0.contains("conf.d/db.lua:3") && $0.contains("built-in") })
        }
    }

    @Test func aUsersStopHoldsWhateverItSays() async throws {
        try await withLifecycle(["functions": ["exited", "stop"]]) { fixture, session, receiver in
            receiver.before("lifecycle/db/exited") { _ throws(LunetteError) in ["result": "restart"] }
            let seen = Collected()
            let host = fixture.host
            receiver.before("lifecycle/db/stop") { event throws(LunetteError) in
                seen.add(event["container"]?["id"] ?? .null)
                // Its own way to end needs no signal.
                host.container(event["container"]?["id"]?.stringValue ?? "")?.finish(code: 0)
                return ["result": .null]
            }
            let id = try await session.run("one", ["lifecycle": "db"])
            let exit = try await session.call("container.stop", ["container": .string(id)])
            #expect(exit["reason"] == "stopped" && seen.values == [.string(id)])
            #expect(fixture.host.container(id)?.state.withLock { $0.signals } == [])
            try await Task.sleep(for: .milliseconds(50))
            #expect(try await session.inspect(id)["restart_at"] == nil)
        }
    }

    @Test func aSlowStopIsFollowedByTheSignals() async throws {
        try await withLifecycle(["functions": ["stop"]]) { fixture, session, receiver in
            receiver.before("lifecycle/db/stop") { _ throws(LunetteError) in
                do { try await Task.sleep(for: .seconds(100)) } catch { throw LunetteError(.cancelled, "cancelled") }
                return .null
            }
            let id = try await session.run("one", ["lifecycle": "db"])
            fixture.host.container(id)?.state.withLock { $0.diesOf = [9] }
            async let stopping = session.call("container.stop", ["container": .string(id), "grace_period": 5])
            try await fixture.clock.pass(seconds: 5) { try await session.status(id) == "stopped" }
            #expect(try await stopping["signal"] == "SIGKILL")
            #expect(fixture.host.container(id)?.state.withLock { $0.signals } == [15, 9])
        }
    }

    @Test func itsStatesFollowTheirGraph() async throws {
        let states: Value = [
            "draining": ["from": ["running"], "to": ["drained"], "enter": true, "leave": true],
            "drained": ["from": ["draining"], "to": ["stopped", "running"], "timeout": 30, "on_timeout": "stopped"],
        ]
        try await withLifecycle(["states": states]) { fixture, session, receiver in
            let id = try await session.run("one", ["lifecycle": "db", "labels": ["a": "b"]])
            let go = { (state: String) async throws(LunetteError) in
                _ = try await session.call("container.transition", ["container": .string(id), "state": .string(state)])
            }
            let unknown = await expectError(.invalidArgument) { () async throws(LunetteError) in try await go("drainin") }
            #expect(unknown?.hint == "did you mean \"draining\"?")
            let noWay = await expectError(.invalidState) { () async throws(LunetteError) in try await go("drained") }
            #expect(noWay?.hint == "from running it goes to stopped, draining")
            let seen = Collected()
            receiver.before("lifecycle/db/states/draining/enter") { event throws(LunetteError) in
                seen.add(["enter": event["from"] ?? .null])
                // Made in the operation, it passes it.
                _ = try await session.call(
                    "container.update", ["container": .string(id), "labels": ["phase": "draining"]],
                    cause: (event["cause"]?.arrayValue ?? []).compactMap(\.stringValue))
                return .null
            }
            receiver.before("lifecycle/db/states/draining/leave") { event throws(LunetteError) in
                seen.add(["leave": event["to"] ?? .null])
                return .null
            }
            try await go("draining")
            #expect(try await session.inspect(id)["state"] == "draining")
            #expect(try await session.inspect(id)["labels"]?["phase"] == "draining")
            #expect(try await session.status(id) == "running")
            try await go("drained")
            #expect(seen.values == [["enter": "running"], ["leave": "drained"]])
            let events = try await session.events(since: 0, "container.transitioned")
            #expect(events.map { $0["to"] } == ["draining", "drained"] && events[0]["lifecycle"] == "db")
            try await fixture.clock.pass(seconds: 30) { try await session.status(id) == "stopped" }
            #expect(try await session.inspect(id)["state"] == "stopped")
            _ = await expectError(.invalidState) { () async throws(LunetteError) in try await go("draining") }
        }
    }

    /// A hook's word holds for now, not for ever.
    @Test func aStateThatAHookHasHeldIsLeftLater() async throws {
        try await withLifecycle(["states": ["draining": ["timeout": 1, "on_timeout": "stopped"]]]) { fixture, session, _ in
            let id = try await session.run("one", ["lifecycle": "db"])
            let hook = TestReceiver()
            hook.before("keep") { _ throws(LunetteError) in ["deny": "not yet"] }
            let hooks = try await fixture.session(hook)
            try await hooks.call("hook.register", ["subscription": "keep", "kind": "before", "event": "container.stop"])
            try await session.call("container.transition", ["container": .string(id), "state": "draining"])
            try await fixture.clock.pass(seconds: 1) { hook.seen.values.count == 1 }
            try await fixture.clock.pass(seconds: Engine.deniedWait) { hook.seen.values.count == 2 }
            #expect(try await session.status(id) == "running")
            let history = try await session.inspect(id)["history"]?.arrayValue?.compactMap { $0["detail"]?.stringValue } ?? []
            #expect(history.contains { $0.contains("not to stopped") && $0.contains("not yet") }, "\(history)")
            hook.before("keep") { _ throws(LunetteError) in .null }
            try await fixture.clock.pass(seconds: Engine.deniedWait) { try await session.status(id) == "stopped" }
        }
    }

    @Test func aStateSurvivesTheEngine() throws {
        var state = ContainerState()
        _ = try state.apply(.created, now: 0)
        _ = try state.apply(.startRequested, now: 0)
        _ = try state.apply(.started(pid: 7), now: 0)
        let effects = try state.apply(.transitioned(to: "draining", timeout: 30, onTimeout: "stopped"), now: 5)
        #expect(effects == [.emit("container.transitioned"), .armOwnState(after: 30)])
        var record = ContainerRecord(
            id: "a", name: "web", spec: ["image": "x", "lifecycle": "db"], image: nil, state: state, createdAt: 0, requestID: "r",
            actor: Actor(uid: 0, gid: 0, pid: 0))
        record.use(health: HealthSpec(.tcp(port: 80)))
        record.state.health.begin()
        record.state.awaitsDecision = true
        let again = try ContainerRecord(encoded: record.encoded)
        #expect(again.state == record.state && again.health == record.health)
    }

    @Test func aNameThatIsNotLoadedIsNotFound() async throws {
        try await withLifecycle([:]) { _, session, _ in
            let error = await expectError(.notFound) { () async throws(LunetteError) in try await session.run("x", ["lifecycle": "dbs"]) }
            #expect(error?.path == "spec.lifecycle" && error?.hint == "did you mean \"db\"?")
        }
    }

    @Test(
        arguments: [
            (["states": ["running": [:]]], "states.running"), (["states": ["a": ["from": ["b"]]]], "states.a.from"),
            (["states": ["a": ["timeout": 1]]], "states.a.timeout"), (["states": ["a": ["on_timeout": "stopped"]]], "states.a.on_timeout"),
            (["pressure": ["disk": ">10% 10s"]], "pressure.match.disk"), (["pressure": ["memory": "10%"]], "pressure.match.memory"),
            (["states": ["a": ["frm": []]]], "states.a.frm"),
        ] as [(ValueMap, String)])
    func mistakesAreNamed(fields: ValueMap, path: String) throws {
        let error = #expect(throws: LunetteError.self) { try lifecycle(fields) }
        #expect(error?.path == path && error?.code == .invalidArgument)
    }
}
