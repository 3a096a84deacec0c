import Glibc
import LunetteAPI
import LunetteServer
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

/// Clients that lie, vanish, stall or come in crowds. Attack 53: memory and descriptors stay bounded.
@Suite(.serialized, .timeLimit(.minutes(2))) struct HostileClientTests {
    /// Sends bytes and reads what comes until the end.
    private func answer(_ fd: Int32, _ bytes: [UInt8]) -> [UInt8] {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0 {
                guard errno == EAGAIN else { break }
                var waiting = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                poll(&waiting, 1, 1000)
                continue
            }
            offset += count
        }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var waiting = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 5000) > 0 else { return result }
            let count = read(fd, &buffer, buffer.count)
            guard count > 0 else { return result }
            result += buffer[..<count]
        }
    }

    private static let malformed: [(String, [UInt8])] = [
        ("text", Array("GET / HTTP/1.1\r\n\r\n".utf8)),
        ("a map", [0x80]),
        ("a list of two", [0x92, 0x00, 0x00]),
        ("an unknown kind", [0x93, 0x07, 0xa1, 0x61, 0x90]),
        ("an extension", [0x94, 0xc7, 0x01, 0x01, 0x00]),
        ("a negative id", [0x94, 0x00, 0xff, 0xa1, 0x61, 0x90]),
        ("parameters that are text", [0x94, 0x00, 0x01, 0xa1, 0x61, 0xa1, 0x61]),
        ("a length beyond the limit", [0x94, 0x00, 0x01, 0xdb, 0x7f, 0xff, 0xff, 0xff]),
        ("four thousand million values", [0x94, 0x00, 0x01, 0xa1, 0x61, 0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("too deep", [0x94, 0x00, 0x01, 0xa1, 0x61] + [UInt8](repeating: 0x91, count: 100)),
        ("descriptors that were not sent", Array(WireFrame.request(id: 1, method: "echo", params: [nil, ["files": 3]]).encoded)),
    ]

    @Test(arguments: malformed.map(\.0)) func aMalformedFrameIsAnsweredOnceAndEndsTheConnection(name: String) async throws {
        let bytes = try #require(Self.malformed.first { $0.0 == name }).1
        try await with(ServedEngine()) { served in
            let fd = try served.raw()
            defer { close(fd) }
            let frame = try WireFrame(decoding: answer(fd, bytes))
            guard case .response(nil, let error?, .null) = frame else {
                Issue.record("not an error that ends: \(frame)")
                return
            }
            #expect(error.code == .invalidArgument)
            // Others don't notice.
            let session = try await served.session()
            #expect(try await session.call(request("echo", ["a": 1]), files: [], onChunk: nil) == ["a": 1])
            await session.close()
        }
    }

    @Test func framesCutAnywhereArriveWhole() async throws {
        try await with(ServedEngine()) { served in
            let fd = try served.raw()
            defer { close(fd) }
            let frames = (1...20).flatMap { WireFrame.request(id: UInt32($0), method: "echo", params: [["n": .int(Int64($0))]]).encoded }
            for byte in frames { send(fd, [byte], 1, 0) }
            var seen = 0
            try await eventually("all arrive") {
                seen = served.engine.now.calls.count
                return seen == 20
            }
        }
    }

    @Test func randomBytesNeverHurtTheServer() async throws {
        try await with(ServedEngine()) { served in
            var generator = Noise(seed: 42)
            for _ in 0..<300 {
                let fd = try served.raw()
                var bytes: [UInt8] = Bool.random(using: &generator) ? [0x94, 0x00] : []
                if Bool.random(using: &generator) {
                    // A good frame with a few bytes changed.
                    bytes = WireFrame.request(id: 1, method: "echo", params: [["a": [1, "b", nil, 2.5]], ["files": 0]]).encoded
                    for _ in 0..<3 {
                        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
                    }
                } else {
                    for _ in 0..<Int.random(in: 1...200, using: &generator) { bytes.append(UInt8.random(in: 0...255, using: &generator)) }
                }
                _ = send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                close(fd)
            }
            let session = try await served.session()
            #expect(try await session.call(request("echo", ["a": 1]), files: [], onChunk: nil) == ["a": 1])
            await session.close()
            try await eventually("all have left") { served.server.clients == 0 }
        }
    }

    @Test func aClientThatStopsReadingHoldsNothingUpAndIsDropped() async throws {
        var limits = WireLimits.engine
        limits.stall = 1
        try await with(ServedEngine(limits: limits)) { served in
            let fd = try served.raw()
            defer { close(fd) }
            let flood = WireFrame.request(id: 1, method: "flood", params: [[:]]).encoded
            send(fd, flood, flood.count, 0)
            try await eventually("it floods") { served.engine.now.underWay == 1 }
            let session = try await served.session()
            for number in Int64(0)..<50 {
                #expect(try await session.call(request("echo", ["n": .int(number)]), files: [], onChunk: nil) == ["n": .int(number)])
            }
            try await eventually("the reader that doesn't is dropped") { served.engine.now.underWay == 0 && served.server.clients == 1 }
            await session.close()
        }
    }

    /// A socket sent over itself: whoever has sent it is gone, but the engine holds the end that would say so.
    @Test func aFrameThatIsNeverWholeEndsTheConnection() async throws {
        var limits = WireLimits.engine
        limits.stall = 1
        try await with(ServedEngine(limits: limits)) { served in
            for _ in 0..<10 {
                let fd = try served.raw()
                let start: [UInt8] = [0x94, 0x00]
                _ = start.withUnsafeBytes { WireSocket.send(fd, $0, files: [fd, fd]) }
                close(fd)
            }
            try await eventually("they are connected") { served.server.clients == 10 }
            try await eventually("all are let go") { served.server.clients == 0 }
            try await eventually("only the listener is left") { openDescriptors(of: served) == 1 }
        }
    }

    @Test func aClientThatGrantsNoCreditGetsNoMoreChunks() async throws {
        try await with(ServedEngine()) { served in
            let fd = try served.raw()
            defer { close(fd) }
            let count = WireFrame.request(id: 1, method: "count", params: [["to": 100], ["credit": 5]]).encoded
            send(fd, count, count.count, 0)
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                var waiting = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
                guard poll(&waiting, 1, bytes.isEmpty ? 10000 : 500) > 0 else { break }
                bytes += buffer[..<max(0, read(fd, &buffer, 4096))]
            }
            var scanned = 0
            while let end = try { (rest) throws(LunetteError) in
                var scanner = WireScanner(limit: 1 << 20)
                return try scanner.end(in: rest)
            }(bytes[...]) {
                bytes.removeFirst(end)
                scanned += 1
            }
            #expect(scanned == 5)
            #expect(served.engine.now.underWay == 1)
            let more = WireFrame.notification(method: "credit", params: [1, 200]).encoded
            send(fd, more, more.count, 0)
            try await eventually("the call ends") { served.engine.now.underWay == 0 }
        }
    }

    @Test func callsOfAVanishedClientAreCancelledAndItsSessionIsClosed() async throws {
        try await with(ServedEngine()) { served in
            for _ in 0..<200 {
                let fd = try served.raw()
                let wait = WireFrame.request(id: 1, method: "wait", params: []).encoded
                send(fd, wait, wait.count, 0)
                close(fd)
            }
            try await eventually("nobody is left") {
                let now = served.engine.now
                return served.server.clients == 0 && now.underWay == 0 && now.opened == now.closed
            }
            try await eventually("only the listener is left") { openDescriptors(of: served) == 1 }
        }
    }

    @Test func aHundredClientsAreServedAtOnce() async throws {
        try await with(ServedEngine()) { served in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 0..<100 {
                    group.addTask {
                        let session = try await served.session()
                        for call in 0..<10 {
                            let arguments: Value = ["client": .int(Int64(client)), "call": .int(Int64(call))]
                            #expect(try await session.call(request("echo", arguments), files: [], onChunk: nil) == arguments)
                        }
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(served.engine.now.opened == 100)
            try await eventually("all have left") { served.server.clients == 0 }
        }
    }

    @Test func oneClientTooManyIsToldSo() async throws {
        try await with(ServedEngine(maximumClients: 2)) { served in
            let first = try await served.session()
            let second = try await served.session()
            _ = try await first.call(request("echo"), files: [], onChunk: nil)
            _ = try await second.call(request("echo"), files: [], onChunk: nil)
            let third = try await served.session()
            let error = await #expect(throws: LunetteError.self) { try await third.call(request("echo"), files: [], onChunk: nil) }
            #expect(error?.code == .resourceExhausted || error?.code == .io, "\(String(describing: error))")
            await first.close()
            await second.close()
            await third.close()
        }
    }

    @Test func moreCallsThanAllowedAreRefusedEach() async throws {
        var limits = WireLimits.engine
        limits.requests = 4
        try await with(ServedEngine(limits: limits)) { served in
            let session = try await served.session()
            let waiting = (0..<4).map { _ in Task { try await session.call(request("wait"), files: [], onChunk: nil) } }
            try await eventually("four wait") { served.engine.now.underWay == 4 }
            let error = await #expect(throws: LunetteError.self) { try await session.call(request("echo"), files: [], onChunk: nil) }
            #expect(error?.code == .resourceExhausted)
            for task in waiting { task.cancel() }
            for task in waiting { _ = await task.result }
            #expect(try await session.call(request("echo"), files: [], onChunk: nil) == [:])
            await session.close()
        }
    }

    @Test func descriptorsThatNoFrameAnnouncesAreClosed() async throws {
        try await with(ServedEngine()) { served in
            var ends: [Int32] = [-1, -1]
            #expect(pipe(&ends) == 0)
            defer { for end in ends { close(end) } }
            let sent: Set = [try #require(FileKey(ends[0]))]
            #expect(openDescriptors(of: sent) == 2)
            for _ in 0..<30 {
                let fd = try served.raw()
                let echo = WireFrame.request(id: 1, method: "echo", params: []).encoded
                _ = echo.withUnsafeBytes { WireSocket.send(fd, $0, files: [ends[0], ends[0], ends[0]]) }
                _ = answer(fd, [])
                close(fd)
            }
            try await eventually("all are closed") { openDescriptors(of: sent) == 2 && openDescriptors(of: served) == 1 }
        }
    }

    @Test func theSocketIsTheOwnersAlone() async throws {
        try await with(ServedEngine()) { served in
            var status = stat()
            #expect(stat(served.directory + "/engine.sock", &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
        }
    }
}

/// The same numbers in every run.
struct Noise: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
