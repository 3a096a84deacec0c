import Dispatch
import LunetteAPI
import LunetteLinux
import LunetteRuntime
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

@Suite struct ContainerFlowTests {
    @Test func aRunIsCreatedStartedAndWaitedFor() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["args": ["true"]])
            let exit = try await session.call("container.wait", ["container": .string(id)])
            #expect(exit["code"] == 0 && exit["reason"] == "exited")
            #expect(try await session.status("web") == "stopped")
            let names = try await session.events().map { $0["name"]!.stringValue! }
            #expect(names == ["engine.ready", "container.created", "container.started", "container.exited"])
        }
    }

    @Test func theStartPathCommitsOnceDurablyAndTwiceCheaply() async throws {
        try await withEngine { fixture, session in
            let before = await fixture.engine.state.commits
            let id = try await session.run("web")
            let after = await fixture.engine.state.commits
            #expect(after.desired - before.desired == 1)
            #expect(after.observed - before.observed == 2)
            #expect(!id.isEmpty)
        }
    }

    /// A commit may wait for a slow disk.
    @Test func whoLooksUpContainersDoesNotWaitForTheStatesThread() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            let (held, goOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
            let change = Task {
                try await fixture.engine.state.update(id) { record in
                    held.signal()
                    // Not for ever where the test fails.
                    _ = goOn.wait(timeout: .now() + 20)
                    record.name = "renamed"
                }
            }
            await blocking { held.wait() }
            #expect(try await session.call("container.find", ["container": "web"])["name"] == "web")
            #expect(try await session.call("container.find", ["container": "renamed"]) == .null)
            #expect(try await session.call("container.list").arrayValue?.count == 1)
            goOn.signal()
            _ = try await change.value
            #expect(try await session.call("container.find", ["container": "web"]) == .null)
            #expect(try await session.call("container.find", ["container": "renamed"])["id"]?.stringValue == id)
        }
    }

    @Test func aClosedSessionAnswersNoLookUp() async throws {
        try await withEngine { fixture, _ in
            let session = try await fixture.session()
            await session.session.close()
            await expectError(.cancelled) { () async throws(LunetteError) in try await session.call("container.list") }
            await expectError(.cancelled) { () async throws(LunetteError) in
                try await session.call("hook.register", ["subscription": "a", "kind": "before", "event": "container.create"])
            }
        }
    }

    @Test func aNameIsMadeUpAndTakenNamesAreRefused() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run()
            let name = try await session.inspect(id)["name"]!.stringValue!
            #expect(name.contains("_"))
            let error = await expectError(.alreadyExists) { () async throws(LunetteError) in try await session.run(name) }
            #expect(error?.hint?.contains("rm") == true)
        }
    }

    @Test func aListingCanAskForFewFields() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["args": ["true"], "labels": ["tier": "front"]])
            let few = try await session.call(
                "container.inspect_all", ["all": true, "fields": ["name", "spec.args", "spec.rootfs", "labels", "labels.tier"]])
            #expect(few == [["name": "web", "spec": ["args": ["true"]], "labels": ["tier": "front"]]])
            // What the start has still to write down comes between two questions.
            try await eventually("all of them is what one is") {
                let all = try await session.call("container.inspect_all", ["all": true])
                return all.arrayValue?.first == (try await session.inspect(id))
            }
            let error = await expectError(.invalidArgument) { () async throws(LunetteError) in
                _ = try await session.call("container.inspect_all", ["fields": ["nam"]])
            }
            #expect(error?.path == "fields[1]" && error?.hint == "did you mean \"name\"?")
        }
    }

    @Test func aMissingImageIsNamedWithAHint() async throws {
        try await withEngine { fixture, session in
            let error = await expectError(.notFound) { () async throws(LunetteError) in try await session.run("x", ["image": "bass:latest"])
            }
            #expect(error?.path == "spec.image")
            #expect(await fixture.engine.state.containers.isEmpty)
        }
    }

    @Test func aStartThatFailsTakesARunBackWhole() async throws {
        try await withEngine { fixture, session in
            fixture.host.state.withLock {
                $0.createFailures = [LunetteError(.notFound, "execute /nope: no such file or directory", details: ["exit_code": 127])]
            }
            let error = await expectError(.notFound) { () async throws(LunetteError) in
                try await session.run("web", ["mounts": [["type": "volume", "target": "/data"]]])
            }
            #expect(error?.details?["exit_code"] == 127)
            #expect(await fixture.engine.state.containers.isEmpty)
            #expect(await fixture.engine.state.volumes.isEmpty)
            #expect(await fixture.engine.state.ledger.isEmpty)
        }
    }

    @Test func aStopSignalsThenKillsAfterTheGrace() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["stop": ["grace_period": 5]])
            let container = fixture.host.container(id)!
            container.state.withLock { $0.diesOf = [9] }
            async let stopped = session.call("container.stop", ["container": "web"])
            try await eventually("the stop waits out its grace") {
                fixture.clock.fake.sleeperCount > 0 && !container.state.withLock { $0.signals }.isEmpty
            }
            fixture.clock.fake.advance(by: .seconds(5))
            let exit = try await stopped
            #expect(container.state.withLock { $0.signals } == [15, 9])
            #expect(exit["reason"] == "stopped" && exit["code"] == 137)
        }
    }

    /// A deadline comes as the client wrote it.
    @Test(.timeLimit(.minutes(1)), arguments: [Double.nan, -.infinity, -1e300]) func aTimeThatIsNoneIsDueAtOnce(
        _ seconds: Double
    ) async throws {
        try await SystemClock().sleep(seconds)
    }

    /// The monitor leaves with the container, sometimes before it has answered the signal that ended it.
    @Test(.timeLimit(.minutes(1))) func aMonitorThatLeavesWithoutAnAnswerIsAnEnd() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            fixture.host.container(id)!.state.withLock { $0.leavesUnanswered = true }
            let exit = try await session.call("container.stop", ["container": "web"])
            #expect(exit["reason"] == "stopped" && exit["code"] == 143, "\(exit)")
        }
    }

    @Test(.timeLimit(.minutes(1))) func stoppingWhatNeverRanEndsAtOnce() async throws {
        try await withEngine { fixture, session in
            try await session.call("container.create", ["spec": ["image": "base:latest", "name": "web"]])
            #expect(try await session.call("container.stop", ["container": "web"]) == .null)
            // And nobody holds it.
            try await session.call("container.start", ["container": "web"])
        }
    }

    @Test func startingWhatRunsLeavesItAsItIs() async throws {
        try await withEngine { fixture, session in
            try await session.run("web")
            let before = try await session.inspect("web")
            #expect(try await session.call("container.start", ["container": "web"]) == ["started": false, "not_enforced": []])
            #expect(try await session.inspect("web") == before)
            // Whoever wants its output would wait for ever.
            let output = try FileDescriptor.pipe().write
            await expectError(.invalidState) { () async throws(LunetteError) in
                try await session.call("container.start", ["container": "web", "stdio": ["stdout"]], files: [output.number])
            }
            try await session.call("container.pause", ["container": "web"])
            await expectError(.invalidState) { () async throws(LunetteError) in
                try await session.call("container.start", ["container": "web"])
            }
        }
    }

    /// A template's field that the registry doesn't know is an error as long as it isn't there.
    @Test func everyFieldOfAContainerIsDeclared() throws {
        let info = try #require(APIRegistry.record("ContainerInfo"))
        #expect(Set(ContainerFields.all).subtracting(info.fields.map(\.name)) == [])
    }

    @Test func whatNothingHoldsIsInTheAnswers() async throws {
        try await withEngine { fixture, session in
            func lacking(_ fields: [(String, Bool)]) -> Value {
                .array(fields.map { ["field": .string($0.0), "why": "it is a fake", "asked": .bool($0.1)] })
            }
            let asked = lacking([("resources.memory", true), ("resources.pids", false)])
            let spec: Value = ["image": "base:latest", "name": "web", "args": ["serve"], "resources": ["memory": "64MiB"]]
            let run = try await session.call("container.run", ["spec": spec])
            #expect(run["not_enforced"] == asked && run["$handle"] == "container")
            #expect(try await session.inspect("web")["not_enforced"] == asked)
            let restarted = try await session.call("container.restart", ["container": "web"], id: "again")
            #expect(restarted == ["started": true, "not_enforced": asked])
            // The repetition of a request gets its first answer.
            #expect(try await session.call("container.restart", ["container": "web"], id: "again") == restarted)
            let updated = try await session.call("container.update", ["container": "web", "resources": ["pids": 9]], id: "more")
            #expect(updated["not_enforced"] == lacking([("resources.memory", false), ("resources.pids", true)]))
            #expect(try await session.call("container.update", ["container": "web", "resources": ["pids": 9]], id: "more") == updated)
            let labels = try await session.call("container.update", ["container": "web", "labels": ["a": "b"]])
            #expect(labels["not_enforced"] == lacking([("resources.memory", false), ("resources.pids", false)]))
        }
    }

    @Test func anApplyThatUpdatesAnswersItsRepetitionToo() async throws {
        try await withEngine { fixture, session in
            let spec: ValueMap = ["image": "base:latest", "args": ["serve"]]
            let made = try await session.call("container.apply", ["name": "web", "spec": .map(spec)])
            var other = spec
            other["labels"] = ["a": "b"]
            for _ in 0..<2 {
                let applied = try await session.call("container.apply", ["name": "web", "spec": .map(other)], id: "apply")
                #expect(applied == made)
            }
        }
    }

    @Test func theImagesStopSignalIsUsed() async throws {
        try await withEngine { fixture, session in
            fixture.images.add("quitter:1", stopSignal: "SIGQUIT")
            let id = try await session.run("web", ["image": "quitter:1"])
            fixture.host.container(id)!.state.withLock { $0.diesOf = [3] }
            try await session.call("container.stop", ["container": "web"])
            #expect(fixture.host.container(id)!.state.withLock { $0.signals } == [3])
        }
    }

    @Test func aPolicyRestartsAfterItsBackOff() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["restart": "always"])
            fixture.host.container(id)!.finish(code: 1)
            try await eventually("the restart is scheduled") { fixture.clock.fake.sleeperCount == 1 }
            #expect(try await session.status("web") == "stopped")
            #expect(await fixture.engine.stayReasons() == ["restart of web"])
            #expect(try await session.call("container.inspect_all").arrayValue?.count == 1, "listed with what runs")
            fixture.clock.fake.advance(by: .seconds(1))
            try await eventually("it runs again") { try await session.status("web") == "running" }
            #expect(try await session.inspect("web")["restarts"] == 1)
            #expect(await fixture.engine.stayReasons() == ["restart policy of web"])
            fixture.host.container(id)!.finish(code: 1)
            try await eventually("the next one is scheduled") { try await session.inspect("web")["restart_at"] != nil }
            try await session.call("container.stop", ["container": "web"])
            #expect(try await session.call("container.inspect_all").arrayValue?.count == 0, "stopped for good")
        }
    }

    @Test func aTimeLimitEndsIt() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("job", ["time_limit": 60])
            try await eventually("the limit is armed") { fixture.clock.fake.sleeperCount == 1 }
            fixture.clock.fake.advance(by: .seconds(60))
            let exit = try await session.call("container.wait", ["container": .string(id)])
            #expect(exit["reason"] == "time_limit")
        }
    }

    @Test func aContainerRemovedAtItsExitCanStillBeWaitedForById() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("once", ["args": ["false"], "remove_on_exit": true])
            try await eventually("it is removed") { await fixture.engine.state.containers.isEmpty }
            let exit = try await session.call("container.wait", ["container": .string(id)])
            #expect(exit["code"] == 1)
        }
    }

    @Test func removingNeedsForceWhileItRuns() async throws {
        try await withEngine { fixture, session in
            try await session.run("web")
            await expectError(.invalidState) { () async throws(LunetteError) in
                try await session.call("container.remove", ["container": "web"])
            }
            try await session.call("container.remove", ["container": "web", "force": true])
            #expect(await fixture.engine.state.containers.isEmpty)
            #expect(await fixture.engine.state.ledger.isEmpty)
        }
    }

    @Test func aRepeatedRequestGetsItsFirstOutcome() async throws {
        try await withEngine { fixture, session in
            let first = try await session.run("web", id: "request-1")
            #expect(try await session.run("web", id: "request-1") == first)
            try await session.call("container.remove", ["container": "web", "force": true], id: "request-2")
            try await session.call("container.remove", ["container": "web", "force": true], id: "request-2")
            #expect(try await session.run("web", id: "request-1") == first)
            #expect(await fixture.engine.state.containers.isEmpty)
        }
    }

    @Test func operationsOnOneTargetQueueAndOthersGoOn() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["stop": ["grace_period": 100]])
            fixture.host.container(id)!.state.withLock { $0.diesOf = [9] }
            async let stopping = session.call("container.stop", ["container": "web"])
            try await eventually("the stop holds web") { fixture.clock.fake.sleeperCount == 1 }
            async let starting = session.call("container.start", ["container": "web"])
            try await session.run("other")
            try await session.call("container.kill", ["container": "web", "signal": "KILL"])
            _ = try await stopping
            _ = try await starting
            #expect(try await session.status("web") == "running")
        }
    }

    @Test(arguments: ["container.copy_in", "container.copy_out"])
    func aCopyWaitsForWhatIsUnderWayAndTouchesNothingThatIsGone(_ function: String) async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["stop": ["grace_period": 100]])
            fixture.host.container(id)!.state.withLock { $0.diesOf = [9] }
            async let stopping = session.call("container.stop", ["container": "web"])
            try await eventually("the stop holds web") { fixture.clock.fake.sleeperCount == 1 }
            async let removing = session.call("container.remove", ["container": "web"])
            try await eventually("the removal waits") { await fixture.engine.targets.count == 2 }
            let copying = Task {
                _ = await expectError(.notFound) { () async throws(LunetteError) in
                    try await session.call(function, ["container": "web", "source": "/a", "destination": "/b"])
                }
            }
            try await eventually("the copy waits") { await fixture.engine.targets.count == 3 }
            #expect(!fixture.host.journal.contains { $0.hasPrefix("copy") })
            try await session.call("container.kill", ["container": "web", "signal": "KILL"])
            _ = try await stopping
            _ = try await removing
            await copying.value
            #expect(!fixture.host.journal.contains { $0.hasPrefix("copy") }, "\(fixture.host.journal)")
        }
    }

    @Test func aCopyOfWhatEndsMeanwhileTakesTheStoppedOnesFiles() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            fixture.host.state.withLock { state in
                state.whileCopying = { (container) throws(LunetteError) in
                    guard container != nil else { return }
                    fixture.host.container(id)!.finish()
                    throw LunetteError(.invalidState, "container web isn't running any more")
                }
            }
            try await session.call("container.copy_out", ["container": "web", "source": "/a", "destination": "/b"])
            let done = fixture.host.journal.filter { $0.hasPrefix("copy") || $0.hasPrefix("reap") }
            #expect(done == ["copy out web", "reap \(id.prefix(8)) false", "copy out web"])
        }
    }

    @Test func whatHoldsAContainerMayReadItsFiles() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web", ["stop": ["grace_period": 100]])
            fixture.host.container(id)!.state.withLock { $0.diesOf = [9] }
            async let stopping = session.call("container.stop", ["container": "web"], id: "the-stop")
            try await eventually("the stop holds web") { fixture.clock.fake.sleeperCount == 1 }
            try await session.call(
                "container.copy_out", ["container": "web", "source": "/a", "destination": "/b"], cause: ["the-stop"])
            #expect(fixture.host.journal.contains("copy out web"))
            try await session.call("container.kill", ["container": "web", "signal": "KILL"])
            _ = try await stopping
        }
    }

    @Test func aDeadlineEndsAWait() async throws {
        try await withEngine { fixture, session in
            try await session.run("web")
            async let waiting: Value = session.call("container.wait", ["container": "web"], deadline: fixture.clock.now() + 3)
            try await eventually("the deadline runs") { fixture.clock.fake.sleeperCount == 1 }
            fixture.clock.fake.advance(by: .seconds(3))
            do { _ = try await waiting } catch let error as LunetteError { #expect(error.code == .timeout) }
        }
    }

    @Test func anExecOutOfTimeIsKilled() async throws {
        try await withEngine { fixture, session in
            try await session.run("web")
            let result = try await session.call("container.exec", ["container": "web", "args": ["false"]])
            #expect(result["code"] == 1)
            async let slow: Value = session.call("container.exec", ["container": "web", "args": ["sleep", "9"], "timeout": 2])
            try await eventually("the time-out runs") { fixture.clock.fake.sleeperCount == 1 }
            fixture.clock.fake.advance(by: .seconds(2))
            do { _ = try await slow } catch let error as LunetteError { #expect(error.code == .timeout) }
            await expectError(.exitStatus) { () async throws(LunetteError) in
                try await session.call("container.exec", ["container": "web", "args": ["false"], "check": true])
            }
        }
    }

    @Test func applyMakesUpdatesOrRefuses() async throws {
        try await withEngine { fixture, session in
            let spec: ValueMap = ["image": "base:latest", "args": ["serve"], "labels": ["tier": "front"]]
            let first = try await session.call("container.apply", ["name": "web", "spec": .map(spec)])
            let again = try await session.call("container.apply", ["name": "web", "spec": .map(spec)])
            #expect(first == again)
            var changed = spec
            changed["labels"] = ["tier": "back"]
            try await session.call("container.apply", ["name": "web", "spec": .map(changed)])
            #expect(try await session.inspect("web")["labels"]?["tier"] == "back")
            changed["args"] = ["other"]
            let conflict = await expectError(.conflict) { () async throws(LunetteError) in
                try await session.call("container.apply", ["name": "web", "spec": .map(changed)])
            }
            #expect(conflict?.path == "spec.args")
        }
    }

    @Test func aScriptsContainersGoWithIt() async throws {
        try await withEngine { fixture, session in
            let script = try await fixture.session()
            try await script.run("mine", ["lifetime": "script"])
            try await session.run("stays")
            await script.session.close()
            #expect(await fixture.engine.state.containers.values.map(\.name) == ["stays"])
        }
    }

    @Test func unknownFunctionsAndOptionsAreNamedWithTheNearest() async throws {
        try await withEngine { fixture, session in
            let function = await expectError(.unsupported) { () async throws(LunetteError) in try await session.call("container.rnu") }
            #expect(function?.hint == "did you mean \"container.run\"?")
            let option = await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.run("x", ["mmory": "1GiB"])
            }
            #expect(option?.message.contains("unknown option") == true)
        }
    }

    @Test func aPausedContainerIsThawedForItsStop() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            try await session.call("container.pause", ["container": "web"])
            #expect(try await session.status("web") == "paused")
            await expectError(.invalidState) { () async throws(LunetteError) in
                try await session.call("container.pause", ["container": "web"])
            }
            try await session.call("container.stop", ["container": "web"])
            #expect(fixture.host.container(id)!.state.withLock { !$0.isPaused })
        }
    }

    @Test func aRenameFreesTheOldName() async throws {
        try await withEngine { fixture, session in
            try await session.run("old")
            try await session.call("container.rename", ["container": "old", "name": "new"])
            try await session.run("old")
            #expect(try await session.inspect("new")["spec"]?["name"] == "new")
        }
    }

    @Test func aTeardownThatFailsIsNotedAndKeepsItsLedgerRow() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            fixture.host.state.withLock { $0.reapFailures[id] = LunetteError(.io, "rmdir: device or resource busy") }
            fixture.host.container(id)!.finish()
            try await eventually("the failure is noted") {
                try await session.inspect("web")["degraded"]?.arrayValue?.first?.stringValue?.contains("busy") == true
            }
            #expect(await fixture.engine.state.ledger.keys.contains("container_run/\(id)"))
            fixture.host.state.withLock { $0.reapFailures = [:] }
            let check = try await session.call("system.check", ["repair": true])
            #expect(check["repaired"] == 1)
            #expect(try await session.call("system.check")["problems"] == .array([]))
        }
    }
}
