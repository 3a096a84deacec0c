import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct CrashTests {
    /// As if the engine had died between the spawn and the shim's socket: nobody can connect.
    @Test func aShimThatCannotBeReachedIsFoundAndEnded() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["true"]))
            container.connection?.close()
            try Directory("\(fixture.folder)/s/containers/c1").removeFile("shim.sock")
            let next = try await ContainerRuntime.open(fixture.configuration)
            #expect(try await next.survey().shims["c1"] == container.record.shim)
            undefended("it doesn't end by itself", container.record.shim.isAlive && container.record.initProcess?.isAlive == true)
            let report = await next.reap(id: "c1", ReapOptions(storage: true))
            #expect(report.isClean, "\(String(describing: report.error))")
            #expect(!container.record.shim.isAlive)
            #expect(container.record.initProcess?.isAlive == false)
            let survey = try await next.survey()
            #expect(survey.ids.isEmpty)
        }
    }

    @Test func aHungShimThatCannotBeReachedIsKilledToo() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            try #require(container.record.shim.open()).signal(SIGSTOP)
            container.connection?.close()
            try Directory("\(fixture.folder)/s/containers/c1").removeFile("shim.sock")
            let next = try await ContainerRuntime.open(fixture.configuration)
            undefended("it doesn't end by itself", container.record.shim.isAlive && container.record.initProcess?.isAlive == true)
            let report = await next.reap(id: "c1", ReapOptions(storage: true))
            #expect(report.isClean, "\(String(describing: report.error))")
            #expect(!container.record.shim.isAlive)
            #expect(container.record.initProcess?.isAlive == false)
        }
    }

    @Test func aHungShimIsKilled() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            let shim = try #require(container.record.shim.open())
            try shim.signal(SIGSTOP)
            container.connection?.close()
            let next = try await ContainerRuntime.open(fixture.configuration)
            let report = await next.reap(id: "c1", ReapOptions(storage: true))
            #expect(report.isClean, "\(String(describing: report.error))")
            #expect(!container.record.shim.isAlive)
            #expect(container.record.initProcess?.isAlive == false)
        }
    }

    @Test func creatingFortyAtOnceWhileHalfAreAbandonedLeavesNothing() async throws {
        try await RuntimeFixture.with { fixture in
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        var request = fixture.request("n\(number)", ["true"])
                        request.idRange = IDRange(first: IDRangeAllocator.base + UInt32(number) * 65536, count: 65536)
                        // Every other one is reaped while it is being made: either may win.
                        async let made = try? fixture.runtime.create(request)
                        if number % 2 == 0 { _ = await fixture.runtime.reap(id: request.id, ReapOptions(storage: true)) }
                        _ = await made
                        _ = await fixture.runtime.reap(id: request.id, ReapOptions(storage: true))
                    }
                }
            }
            let survey = try await fixture.runtime.survey()
            #expect(survey.ids.isEmpty)
        }
    }
}
