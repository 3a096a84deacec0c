import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct AdoptionTests {
    /// A second engine of the same directories, after the first has let go of its container as a killed one would.
    private func successor(_ fixture: RuntimeFixture, _ container: Container) async throws -> ContainerRuntime {
        container.connection?.close()
        return try await ContainerRuntime.open(fixture.configuration)
    }

    @Test func aRunningContainerIsAdoptedAndItsExitComesToTheNewEngine() async throws {
        try await RuntimeFixture.with { fixture in
            let first = try await fixture.runtime.create(fixture.request("c1", ["sh", "-c", "echo before; sleep 1000"]))
            try await first.start()
            let next = try await successor(fixture, first)
            let record = try #require(ContainerRecord(value: first.record.value))
            guard case .running(let container) = await next.adopt(record) else { throw CommandFailure("not running") }
            #expect(container.programPID ?? 0 > 0)
            let exec = try await container.exec(
                ExecRequest(
                    id: "e", spec: ExecSpec(args: ["sh", "-c", "echo after > /proc/1/fd/1"]), container: fixture.request("c1", ["x"]).spec,
                    image: ImageProcessConfig()))
            _ = try await exec.exit()
            try await container.kill(signal: SIGKILL)
            #expect(try await container.exit().signal == "SIGKILL")
            #expect(await next.reap(id: "c1", ReapOptions(storage: false)).isClean)
            #expect(try await fixture.log().hasPrefix("before\n"))
            #expect(try await next.survey().cgroups.isEmpty)
        }
    }

    @Test func aContainerAtTheGateIsAdoptedAndStarted() async throws {
        try await RuntimeFixture.with { fixture in
            let first = try await fixture.runtime.create(fixture.request("c1", ["echo", "late"]))
            let next = try await successor(fixture, first)
            guard case .created(let container) = await next.adopt(first.record) else { throw CommandFailure("not created") }
            try await container.start()
            #expect(try await container.exit().code == 0)
            #expect(await next.reap(id: "c1", ReapOptions(storage: false)).isClean)
            #expect(try await fixture.log() == "late\n")
        }
    }

    @Test func anExitWhileNobodyLookedIsReadFromTheRecord() async throws {
        try await RuntimeFixture.with { fixture in
            let first = try await fixture.runtime.create(fixture.request("c1", ["sh", "-c", "usleep 100000; exit 5"]))
            try await first.start()
            let next = try await successor(fixture, first)
            try await eventually("the shim left") { !first.record.shim.isAlive }
            guard case .exited(let exit) = await next.adopt(first.record) else { throw CommandFailure("not exited") }
            #expect(exit.code == 5)
            #expect(exit.reason == .exited)
        }
    }

    @Test func aPausedContainerIsFoundPaused() async throws {
        try await RuntimeFixture.with { fixture in
            let first = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await first.start()
            try await first.pause()
            let next = try await successor(fixture, first)
            guard case .paused(let container) = await next.adopt(first.record) else { throw CommandFailure("not paused") }
            // Nobody need resume it to take it apart.
            #expect(await next.reap(id: "c1", ReapOptions(storage: false)).isClean)
            #expect(try await container.exit().code != 0)
        }
    }

    @Test func aKilledShimEndsTheContainerAndTheExitIsLost() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            try #require(container.record.shim.open()).signal(SIGKILL)
            let exit = try await container.exit()
            #expect(exit.reason == .lost)
            #expect(container.record.initProcess?.isAlive == false)
            guard case .absent = await fixture.runtime.adopt(container.record) else { throw CommandFailure("not absent") }
            #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: true)).isClean)
        }
    }

    @Test func reapingTwiceAndReapingNothingIsHarmless() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            let process = container.record.initProcess
            #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: true)).isClean)
            #expect(process?.isAlive == false)
            #expect(container.record.shim.isAlive == false)
            #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: true)).isClean)
            #expect(await fixture.runtime.reap(id: "never", ReapOptions(storage: true)).isClean)
        }
    }

    @Test func aRecordOfAnotherBootIsNeverAdopted() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            var record = container.record
            record.shim.bootID = "another"
            record.initProcess?.bootID = "another"
            guard case .absent = await fixture.runtime.adopt(record) else { throw CommandFailure("not absent") }
            #expect(container.record.initProcess?.isAlive == true)
        }
    }

    @Test func theSurveyFindsWhatIsThere() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            let survey = try await fixture.runtime.survey()
            #expect(survey.cgroups == ["c1"])
            #expect(survey.runDirectories == ["c1"])
            #expect(survey.storage == ["c1"])
            #expect(survey.shims["c1"] == container.record.shim)
        }
    }
}
