import Glibc
import LunetteAPI
import LunetteServer
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@Suite(.serialized, .timeLimit(.minutes(1))) struct CallTests {
    @Test func aCallComesBackAsItWasSent() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let arguments: Value = ["text": "ü", "bytes": .bytes([0xff, 0]), "list": [1, 2.5, true, nil], "deep": ["a": ["b": []]]]
            #expect(try await session.call(request("echo", arguments), files: [], onChunk: nil) == arguments)
            let actor = try #require(served.engine.now.actors.first)
            #expect(actor == Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: "x.lua", line: 3))
            await session.close()
        }
    }

    @Test func anErrorKeepsAllItsFields() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let error = await #expect(throws: LunetteError.self) { try await session.call(request("fail"), files: [], onChunk: nil) }
            #expect(
                error == LunetteError(.notFound, "find nothing", path: "a.b", hint: "look elsewhere", cause: LunetteError(.io, "beneath")))
            await session.close()
        }
    }

    @Test func chunksArriveInOrderHoweverSlowTheirReader() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let seen = Mutex<[Int64]>([])
            let answer = try await session.call(request("count", ["to": 1000]), files: []) { (chunk) throws(LunetteError) in
                if let number = chunk["sequence"]?.intValue {
                    if number % 100 == 0 { try? await Task.sleep(for: .milliseconds(1)) }  // A slow reader is the point.
                    seen.withLock { $0.append(number) }
                }
            }
            #expect(answer == "done")
            #expect(seen.withLock { $0 } == Array(1...1000))
            await session.close()
        }
    }

    @Test func progressIsDroppedRatherThanWaitedFor() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let seen = Mutex(0)
            let gate = Mutex(false)
            let answer = try await session.call(request("progress", ["to": 5000]), files: []) { (_) throws(LunetteError) in
                // The engine's call ends although its first chunk is still being looked at.
                while !gate.withLock({ $0 }) {
                    if served.engine.now.underWay == 0 { gate.withLock { $0 = true } } else { await Task.yield() }
                }
                seen.withLock { $0 += 1 }
            }
            #expect(answer == "done")
            #expect(seen.withLock { $0 } <= 64 + 16)
            await session.close()
        }
    }

    @Test func aThrowFromTheChunkReaderCancelsTheCall() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let error = await #expect(throws: LunetteError.self) {
                try await session.call(request("flood"), files: []) { (_) throws(LunetteError) in
                    throw LunetteError(.scriptFailed, "enough")
                }
            }
            #expect(error?.code == .scriptFailed)
            #expect(served.engine.now.cancelled == 1)
            await session.close()
        }
    }

    @Test func cancellingTheTaskCancelsTheCall() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let task = Task { try await session.call(request("wait"), files: [], onChunk: nil) }
            try await eventually("the call arrives") { served.engine.now.underWay == 1 }
            task.cancel()
            let error = await #expect(throws: LunetteError.self) { try await task.value }
            #expect(error?.code == .cancelled)
            #expect(served.engine.now.cancelled == 1)
            await session.close()
        }
    }

    @Test func descriptorsTravelAndAreClosed() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            _ = try await session.call(request("echo"), files: [], onChunk: nil)
            var pipes: Set<FileKey> = []
            for round in 1...50 {
                var input: [Int32] = [-1, -1]
                var output: [Int32] = [-1, -1]
                pipe(&input)
                pipe(&output)
                pipes.formUnion([try #require(FileKey(input[0])), try #require(FileKey(output[0]))])
                let text = Array("round \(round)".utf8)
                _ = write(input[1], text, text.count)
                close(input[1])
                let count = try await session.call(request("copy"), files: [input[0], output[1]], onChunk: nil)
                #expect(count == .int(Int64(text.count)))
                close(output[1])
                var buffer = [UInt8](repeating: 0, count: 64)
                let got = read(output[0], &buffer, 64)
                #expect(Array(buffer[..<max(0, got)]) == text)
                close(input[0])
                close(output[0])
            }
            try await eventually("every descriptor is closed") { openDescriptors(of: pipes) == 0 }
            await session.close()
        }
    }

    @Test func theEngineCallsHandlersOverTheSameConnection() async throws {
        struct Receiver: HookReceiver {
            func before(subscription: String, event: Value) async throws(LunetteError) -> Value {
                if subscription != "a" { throw LunetteError(.scriptFailed, "not mine: \(subscription)") }
                return ["deny": .string("no \(event["what"]?.stringValue ?? "?")")]
            }
            func on(subscription: String, event: Value) async throws(LunetteError) {}
        }
        try await with(ServedEngine()) { served in
            let session = try await served.session(Receiver())
            #expect(
                try await session.call(request("ask", ["subscription": "a", "what": "beer"]), files: [], onChunk: nil) == [
                    "deny": "no beer"
                ])
            _ = try await session.call(request("hook.register", ["subscription": "a"]), files: [], onChunk: nil)
            #expect(
                try await session.call(request("ask", ["subscription": "engine-a", "what": "tea"]), files: [], onChunk: nil) == [
                    "deny": "no tea"
                ])
            let error = await #expect(throws: LunetteError.self) {
                try await session.call(request("ask", ["subscription": "b"]), files: [], onChunk: nil)
            }
            #expect(error?.message == "not mine: b")
            await session.close()
        }
    }

    @Test func anAnswerThatIsTooLongFailsItsCallOnly() async throws {
        try await with(ServedEngine()) { served in
            let session = try await served.session()
            let error = await #expect(throws: LunetteError.self) {
                try await session.call(request("big", ["size": .int(50 << 20)]), files: [], onChunk: nil)
            }
            #expect(error?.code == .resourceExhausted)
            let large = try await session.call(request("big", ["size": .int(33 << 20)]), files: [], onChunk: nil)
            #expect(large.byteString?.count == 33 << 20)
            let long = await #expect(throws: LunetteError.self) {
                try await session.call(request("echo", .bytes([UInt8](repeating: 0, count: 21 << 20))), files: [], onChunk: nil)
            }
            #expect(long?.code == .resourceExhausted)
            await session.close()
        }
    }
}
