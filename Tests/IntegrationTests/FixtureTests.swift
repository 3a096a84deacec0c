import Foundation
import LunetteTesting
import Testing

/// The fixtures do what the tests stand on, so that a red test means Lunette.
@Suite struct FixtureTests {
    @Test(.requires(.dockerRegistry, .skopeo, .command("jq"), .command("htpasswd")), arguments: [false, true])
    func aRegistryServesWhatSkopeoPushed(secure: Bool) async throws {
        var template = Array("/tmp/l.XXXXXX".utf8CString)
        let folder = String(cString: try #require(mkdtemp(&template)))
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let registry = try await RegistryFixture(folder: folder, secure: secure)
        let reference = try await registry.push(layout: try await TestImage.busybox.layout(), as: "busybox:1")
        var inspect = ["skopeo", "inspect", "--raw", "--tls-verify=false"]
        if secure { inspect += ["--creds", "\(RegistryFixture.username):\(RegistryFixture.password)"] }
        #expect(try await Command(inspect + ["docker://\(reference)"]).run().text.contains("\"layers\""))
        try await registry.stop()
    }

    @Test(.requires(.command("jq"), .file("/usr/lib/python3/dist-packages/jsonschema")), arguments: [TestImage.busybox, .redis, .nginx])
    func testImagesAreValidLayouts(image: TestImage) async throws {
        try await Command("\(LunetteHome.package)/scripts/dev/validate-layout", try await image.folder()).run()
    }

    @Test func aCommandsOutputInputAndExitAreKept() async throws {
        let echoed = try await Command(["cat"], input: Data("in".utf8)).run()
        #expect(echoed.text == "in")
        let killed = try await Command.shell("kill -9 $$").run(expecting: nil)
        #expect(killed.code == 137 && killed.signal == 9)
        await #expect(throws: CommandFailure.self) { try await Command("sleep", "10").run(timeout: .milliseconds(50)) }
        await #expect(throws: CommandFailure.self) { try await Command("false").run() }
    }

    @Test func cleaningUpGoesBackwardsAndReportsEveryFailure() async throws {
        let cleanUp = CleanUp()
        cleanUp.add("first") { throw CommandFailure("one") }
        cleanUp.add("second") {}
        cleanUp.add("third") { throw CommandFailure("three") }
        #expect(await cleanUp.run() == ["third: three", "first: one"])
        #expect(await cleanUp.run() == [])
    }

    @Test func theFakeClockWakesSleepersInOrder() async throws {
        let clock = FakeClock()
        let (stream, continuation) = AsyncStream.makeStream(of: Int.self)
        for seconds in [3, 1, 2] {
            Task {
                try await clock.sleep(for: .seconds(seconds))
                continuation.yield(seconds)
            }
        }
        while clock.sleeperCount < 3 { await Task.yield() }
        var woken: [Int] = []
        var iterator = stream.makeAsyncIterator()
        for _ in 1...3 {
            clock.advance(by: .seconds(1))
            if let next = await iterator.next() { woken.append(next) }
        }
        #expect(woken == [1, 2, 3])
        let sleeper = Task { try await clock.sleep(for: .seconds(100)) }
        while clock.sleeperCount < 1 { await Task.yield() }
        sleeper.cancel()
        await #expect(throws: CancellationError.self) { try await sleeper.value }
    }
}
