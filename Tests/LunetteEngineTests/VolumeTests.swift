import LunetteRuntime
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

@Suite struct VolumeTests {
    private let mount: Value = [["type": "volume", "source": "data", "target": "/data"]]

    @Test func aVolumeIsMadeMountedReleasedAndRemoved() async throws {
        try await withEngine { fixture, session in
            try await session.call("volume.create", ["name": "data"])
            let id = try await session.run("web", ["mounts": mount])
            #expect(fixture.host.state.withLock { $0.requests.last?.mounts.first?.sources.first?.hasPrefix(fixture.directory) } == true)
            let inUse = await expectError(.invalidState) { () async throws(LunetteError) in
                try await session.call("volume.remove", ["volume": "data"])
            }
            #expect(inUse?.message.contains("in use by web") == true)
            fixture.host.container(id)!.finish()
            try await eventually("the driver lets go of it") { fixture.drivers.driver.journal.values.contains("unmount data") }
            try await session.call("container.remove", ["container": "web"])
            try await session.call("volume.remove", ["volume": "data"])
            #expect(fixture.drivers.driver.journal.values == ["create data", "mount data", "unmount data", "remove data"])
            #expect(try await session.call("volume.find", ["volume": "data"]) == .null)
        }
    }

    @Test func aNamedVolumeIsMadeByItsFirstContainerAndStays() async throws {
        try await withEngine { fixture, session in
            try await session.run("web", ["mounts": mount])
            try await session.call("container.remove", ["container": "web", "force": true, "volumes": true])
            #expect(await fixture.engine.state.volumes.values.map(\.name) == ["data"])
        }
    }

    @Test func anImagesVolumesGoWithTheirContainerWhenAsked() async throws {
        try await withEngine { fixture, session in
            fixture.images.add("redis:7", volumes: ["/data"])
            try await session.run("redis", ["image": "redis:7"])
            #expect(await fixture.engine.state.volumes.values.first?.isAnonymous == true)
            try await session.call("container.remove", ["container": "redis", "force": true, "volumes": true])
            #expect(await fixture.engine.state.volumes.isEmpty)
        }
    }

    /// A call that is denied has done nothing.
    @Test func aRemovalWhoseVolumeIsKeptByAHookDoesNothing() async throws {
        try await withEngine { fixture, session in
            fixture.images.add("redis:7", volumes: ["/data"])
            try await session.run("redis", ["image": "redis:7"])
            let receiver = TestReceiver()
            receiver.before("keep") { _ throws(LunetteError) in ["deny": "kept"] }
            let hooks = try await fixture.session(receiver)
            try await hooks.call("hook.register", ["subscription": "keep", "kind": "before", "event": "volume.remove"])
            await expectError(.denied) { () async throws(LunetteError) in
                try await session.call("container.remove", ["container": "redis", "force": true, "volumes": true])
            }
            #expect(try await session.status("redis") == "running")
            #expect(await fixture.engine.state.volumes.count == 1)
            receiver.before("keep") { _ throws(LunetteError) in .null }
            try await session.call("container.remove", ["container": "redis", "force": true, "volumes": true])
            #expect(await fixture.engine.state.volumes.isEmpty)
            #expect(receiver.seen.values.count == 2, "once a call")
        }
    }

    @Test func oneDriverCallMountsForSeveralUsers() async throws {
        try await withEngine { fixture, session in
            for name in ["one", "two", "three"] { try await session.run(name, ["mounts": mount]) }
            #expect(fixture.drivers.driver.journal.values == ["create data", "mount data"])
        }
    }

    @Test func aDriverThatFailsLeavesNothing() async throws {
        try await withEngine { fixture, session in
            fixture.drivers.driver.createFailure.withLock { $0 = LunetteError(.pluginFailed, "no space") }
            await expectError(.pluginFailed) { () async throws(LunetteError) in try await session.call("volume.create", ["name": "data"]) }
            #expect(await fixture.engine.state.ledger.isEmpty)
            #expect(await fixture.engine.state.volumes.isEmpty)
            fixture.drivers.driver.createFailure.withLock { $0 = nil }
            try await session.call("volume.create", ["name": "data"])
        }
    }

    @Test func anUnknownDriverNamesTheNearest() async throws {
        try await withEngine { fixture, session in
            let error = await expectError(.notFound) { () async throws(LunetteError) in
                try await session.call("volume.create", ["name": "x", "driver": "locall"])
            }
            #expect(error?.hint == "did you mean \"local\"?")
        }
    }

    @Test func applyIsIdempotentAndRefusesAnotherDriver() async throws {
        try await withEngine { fixture, session in
            let first = try await session.call("volume.apply", ["name": "data", "labels": ["a": "b"]])
            #expect(try await session.call("volume.apply", ["name": "data", "labels": ["a": "c"]]) == first)
            #expect(try await session.call("volume.inspect", ["volume": "data"])["labels"]?["a"] == "c")
            await expectError(.conflict) { () async throws(LunetteError) in
                try await session.call("volume.apply", ["name": "data", "driver": "slow"])
            }
        }
    }

    @Test func pruneTakesOnlyWhatNobodyUses() async throws {
        try await withEngine { fixture, session in
            try await session.run("web", ["mounts": mount])
            try await session.call("volume.create", ["name": "spare"])
            let result = try await session.call("volume.prune")
            #expect(result["removed"] == ["spare"])
        }
    }
}
