import Glibc
import LunetteAPI
import LunetteServer
import LunetteSpec
import LunetteTesting
import Testing

/// Users of resident scripts' sockets: what they hold has bounds over all their connections.
@Suite struct GuestTests {
    private func with(_ sockets: Int, _ body: (ServedEngine, [String]) async throws -> Void) async throws {
        let served = try ServedEngine()
        let paths = (0..<sockets).map { "\(served.directory)/g\($0).sock" }
        let problems = served.server.use(paths.enumerated().map { EngineSocket(name: "g\($0.offset)", path: $0.element, mode: 0o600) })
        #expect(problems.isEmpty, "\(problems)")
        do { try await body(served, paths) } catch {
            await served.end()
            throw error
        }
        await served.end()
    }

    /// Sends frames and reads what is answered until the peer ends or enough has come.
    private func send(_ fd: Int32, _ frames: WireFrame...) async throws {
        for frame in frames {
            let bytes = frame.encoded
            var offset = 0
            while offset < bytes.count {
                let count = bytes[offset...].withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                if count > 0 { offset += count } else if errno == EAGAIN { try await Task.sleep(for: .milliseconds(1)) } else { return }
            }
        }
    }

    private func answer(_ fd: Int32, _ seconds: Int32 = 10) async throws -> WireFrame? {
        var bytes: [UInt8] = []
        var scanner = WireScanner(limit: 40 << 20)
        for _ in 0..<seconds * 100 {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(fd, &buffer, buffer.count)
            if count > 0 {
                bytes += buffer[..<count]
            } else if count == 0 {
                return nil
            } else {
                try await Task.sleep(for: .milliseconds(10))
            }
            if let length = try? scanner.end(in: bytes[...]) { return try? WireFrame(decoding: Array(bytes[..<length])) }
        }
        return nil
    }

    private func error(_ frame: WireFrame?) -> LunetteError? {
        if case .response(_, let error, _)? = frame { return error }
        return nil
    }

    private func nils(_ count: Int) -> Value { ["a": .array(Array(repeating: .null, count: count))] }

    @Test func aFrameIsBoundedByItsValues() async throws {
        try await with(1) { served, paths in
            let fd = try WireSocket.connect(paths[0]).get()
            defer { close(fd) }
            try await send(fd, .request(id: 1, method: "echo", params: [nils(15_000)]))
            let first = try await answer(fd)
            #expect(first != nil && error(first) == nil)
            try await send(fd, .request(id: 2, method: "echo", params: [nils(1_000_000)]))
            let refusal = try await error(answer(fd))
            #expect(refusal?.message.contains("more than 20000 values") == true, "\(String(describing: refusal))")
            // The engine's own users may.
            let own = try served.raw()
            defer { close(own) }
            try await send(own, .request(id: 1, method: "echo", params: [nils(100_000)]))
            let same = try await answer(own, 20)
            #expect(same != nil && error(same) == nil)
        }
    }

    @Test func whatAUserHoldsIsCountedOverAllConnections() async throws {
        try await with(2) { served, paths in
            var open: [Int32] = []
            defer { for fd in open { close(fd) } }
            for number in 0..<5 {
                let fd = try WireSocket.connect(paths[number % 2]).get()
                open.append(fd)
                try await send(fd, .request(id: 1, method: "wait", params: [nils(19_000)]))
            }
            try await eventually("five wait") { served.engine.now.underWay == 5 }
            let last = try WireSocket.connect(paths[1]).get()
            open.append(last)
            try await send(last, .request(id: 1, method: "echo", params: [nils(19_000)]))
            let refusal = try await error(answer(last))
            #expect(
                refusal?.code == .resourceExhausted && refusal?.message.contains("100000 values") == true, "\(String(describing: refusal))")
            // A small one has room, and so has the big one once another has ended.
            try await send(last, .request(id: 2, method: "echo", params: [nils(10)]))
            let small = try await answer(last)
            #expect(small != nil && error(small) == nil)
            close(open.removeFirst())
            try await eventually("one has gone") { served.engine.now.underWay == 4 }
            try await eventually("there is room") {
                try await send(last, .request(id: 3, method: "echo", params: [nils(19_000)]))
                return try await error(answer(last)) == nil
            }
        }
    }

    @Test func callsUnderWayOfAUserAreBounded() async throws {
        try await with(1) { served, paths in
            var open: [Int32] = []
            defer { for fd in open { close(fd) } }
            for _ in 0..<4 {
                let fd = try WireSocket.connect(paths[0]).get()
                open.append(fd)
                for id in 1...64 { try await send(fd, .request(id: UInt32(id), method: "wait", params: [])) }
            }
            try await eventually("they wait") { served.engine.now.underWay == 256 }
            let last = try WireSocket.connect(paths[0]).get()
            open.append(last)
            try await send(last, .request(id: 1, method: "echo", params: []))
            let refusal = try await error(answer(last))
            #expect(refusal?.code == .resourceExhausted && refusal?.message.contains("256 calls") == true, "\(String(describing: refusal))")
        }
    }

    @Test func aUserIsOneUserAtHoweverManySockets() async throws {
        try await with(3) { _, paths in
            var open: [Int32] = []
            defer { for fd in open { close(fd) } }
            for number in 0..<64 {
                let fd = try WireSocket.connect(paths[number % 3]).get()
                open.append(fd)
                try await send(fd, .request(id: 1, method: "echo", params: []))
                let echo = try await answer(fd)
                #expect(echo != nil, "client \(number)")
            }
            let late = try WireSocket.connect(paths[2]).get()
            open.append(late)
            let refusal = try await error(answer(late))
            #expect(
                refusal?.code == .resourceExhausted && refusal?.message.contains("64 clients of uid") == true,
                "\(String(describing: refusal))")
        }
    }
}
