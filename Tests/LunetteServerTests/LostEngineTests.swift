import Glibc
import LunetteAPI
import LunetteServer
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

/// The engine dies and another takes its socket: who called sees nothing of it.
@Suite(.serialized, .timeLimit(.minutes(1))) struct LostEngineTests {
    @Test func aCallUnderWayIsRepeatedWithItsID() async throws {
        var template = Array("/tmp/lnt-lost.XXXXXX".utf8CString)
        let directory = String(cString: mkdtemp(&template))
        defer { rmdir(directory) }
        let first = FakeEngine()
        let dying = LunetteServer(state: directory, connector: first)
        try dying.start()
        let session = try await EngineClient(state: directory, start: nil).connect(receiver: nil)
        _ = try await session.call(request("hook.register", ["subscription": "s", "event": "container.create"]), files: [], onChunk: nil)
        let waiting = request("wait")
        let call = Task { try await session.call(waiting, files: [], onChunk: nil) }
        try await eventually("the call arrives") { first.now.underWay == 1 }

        // The next engine listens before the first one's connections end, so that there is never none.
        dying.stopListening()
        let second = FakeEngine()
        let next = LunetteServer(state: directory, connector: second)
        try next.start()
        await dying.stop()

        try await eventually("the call arrives again") { second.now.calls.contains("wait \(waiting.id)") }
        // Handlers are offered before calls are repeated.
        #expect(second.now.calls.first?.hasPrefix("hook.register") == true)
        call.cancel()
        _ = await call.result
        await session.close()
        await next.stop()
    }

    /// A script that only waits for its handlers makes no call that would notice.
    @Test func handlersAreOfferedToTheNextEngineWithoutACall() async throws {
        var template = Array("/tmp/lnt-lost.XXXXXX".utf8CString)
        let directory = String(cString: mkdtemp(&template))
        defer { rmdir(directory) }
        let dying = LunetteServer(state: directory, connector: FakeEngine())
        try dying.start()
        let session = try await EngineClient(state: directory, start: nil).connect(receiver: nil)
        _ = try await session.call(request("hook.register", ["subscription": "s", "event": "container.create"]), files: [], onChunk: nil)

        // For a while nobody listens.
        await dying.stop()
        try await Task.sleep(for: .milliseconds(200))
        let second = FakeEngine()
        let next = LunetteServer(state: directory, connector: second)
        try next.start()
        try await eventually("the handler is offered") { second.now.calls.contains { $0.hasPrefix("hook.register") } }
        await session.close()
        await next.stop()
    }

    @Test func aStreamGoesOnAfterItsLastChunk() async throws {
        let position = StreamPosition()
        #expect(position.advance(["sequence": 1]))
        #expect(position.advance(["sequence": 2]))
        #expect(!position.advance(["sequence": 2]))
        #expect(position.resumed(["match": [:]], of: "events.follow") == ["match": [:], "since": 2])
        #expect(position.resumed(["tail": 10, "container": "c"], of: "container.follow_logs") == ["container": "c"])
        #expect(position.advance(["sequence": 3]))
    }

    @Test func withoutAnEngineTheErrorSaysWhere() async throws {
        let session = try await EngineClient(state: "/tmp/there-is-nothing-here", start: nil).connect(receiver: nil)
        let error = await #expect(throws: LunetteError.self) { try await session.call(request("echo"), files: [], onChunk: nil) }
        #expect(error?.code == .io)
        #expect(error?.message.contains("/tmp/there-is-nothing-here/engine.sock") == true)
        await session.close()
    }

    @Test func aProgramThatCannotBecomeTheEngineIsReported() async throws {
        let start = EngineStart(executable: "/bin/false", arguments: [])
        let session = try await EngineClient(state: "/tmp/there-is-nothing-here", start: start).connect(receiver: nil)
        let error = await #expect(throws: LunetteError.self) { try await session.call(request("echo"), files: [], onChunk: nil) }
        #expect(error?.code == .io)
        #expect(error?.message.contains("start the engine") == true)
        await session.close()
    }
}
