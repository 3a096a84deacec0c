import Glibc
import LunetteAPI
import LunetteServer
import LunetteSpec
import Synchronization

/// An engine that does nothing but show what reaches it.
final class FakeEngine: EngineConnector {
    struct State {
        var opened = 0
        var closed = 0
        var underWay = 0
        var most = 0
        var cancelled = 0
        var actors: [Actor] = []
        var outcomes: [String: Value] = [:]
        var calls: [String] = []
    }

    let state = Mutex(State())

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        state.withLock { $0.opened += 1 }
        return FakeSession(engine: self, receiver: receiver)
    }

    var now: State { state.withLock { $0 } }
}

struct FakeSession: EngineSession {
    let engine: FakeEngine
    let receiver: (any HookReceiver)?

    func call(
        _ request: APIRequest, files: [Int32], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        engine.state.withLock {
            $0.underWay += 1
            $0.most = max($0.most, $0.underWay)
            $0.actors.append(request.actor)
            $0.calls.append("\(request.function) \(request.id)")
        }
        defer { engine.state.withLock { $0.underWay -= 1 } }
        do {
            return try await answer(request, files, onChunk)
        } catch {
            if error.code == .cancelled { engine.state.withLock { $0.cancelled += 1 } }
            throw error
        }
    }

    private func answer(
        _ request: APIRequest, _ files: [Int32], _ onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async throws(LunetteError) -> Value {
        let arguments = request.arguments
        switch request.function {
        case "echo": return arguments
        case "fail": throw LunetteError(.notFound, "find nothing", path: "a.b", hint: "look elsewhere", cause: LunetteError(.io, "beneath"))
        case "big": return .bytes([UInt8](repeating: 7, count: Int(arguments["size"]!.intValue!)))
        case "count":
            for number in 1...Int(arguments["to"]!.intValue!) { try await onChunk?(["sequence": .int(Int64(number))]) }
            return "done"
        case "progress":
            for number in 1...Int(arguments["to"]!.intValue!) { try await onChunk?(["phase": "unpack", "current": .int(Int64(number))]) }
            return "done"
        case "flood":
            let data = Value.bytes([UInt8](repeating: 1, count: 32 << 10))
            while !Task.isCancelled { try await onChunk?(["data": data]) }
            throw LunetteError(.cancelled, "flood: cancelled")
        case "wait":
            do { try await Task.sleep(for: .seconds(600)) } catch { throw LunetteError(.cancelled, "wait: cancelled") }
            return nil
        case "container.list":
            do { try await Task.sleep(for: .milliseconds(5)) } catch { throw LunetteError(.cancelled, "list: cancelled") }
            return []
        case "container.stop":
            do { try await Task.sleep(for: .milliseconds(400)) } catch { throw LunetteError(.cancelled, "stop: cancelled") }
            return "stopped"
        case "container.remove":
            do { try await Task.sleep(for: .seconds(600)) } catch { throw LunetteError(.cancelled, "remove: cancelled") }
            return nil
        case "copy":
            // Reads the first descriptor to its end into the second.
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(files[0], &buffer, buffer.count)
            _ = write(files[1], buffer, max(0, count))
            return .int(Int64(count))
        case "ask": return try await receiver?.before(subscription: arguments["subscription"]!.stringValue!, event: arguments) ?? nil
        case "hook.register": return ["subscription": .string("engine-" + arguments["subscription"]!.stringValue!)]
        default: throw LunetteError(.unsupported, "call \(request.function)")
        }
    }

    func close() async { engine.state.withLock { $0.closed += 1 } }
}

/// A server over a fake engine in a directory of its own.
final class ServedEngine: Sendable {
    let directory: String
    let engine = FakeEngine()
    let server: LunetteServer

    init(maximumClients: Int = 512, limits: WireLimits = .engine) throws {
        var template = Array("/tmp/lnt-srv.XXXXXX".utf8CString)
        directory = String(cString: mkdtemp(&template))
        server = LunetteServer(state: directory, connector: engine, maximumClients: maximumClients, limits: limits, log: { _ in })
        try server.start()
    }

    func session(_ receiver: (any HookReceiver)? = nil) async throws -> any EngineSession {
        try await EngineClient(state: directory, start: nil).connect(receiver: receiver)
    }

    /// Connects without any protocol.
    func raw() throws -> Int32 { try WireSocket.connect(directory + "/engine.sock").get() }

    func end() async {
        await server.stop()
        rmdir(directory)
    }
}

func request(_ function: String, _ arguments: Value = [:]) -> APIRequest {
    APIRequest(
        id: RequestID.fresh(), function: function, arguments: arguments, actor: Actor(uid: 7, gid: 7, pid: 7, script: "x.lua", line: 3))
}

func with<T>(_ served: ServedEngine, _ body: (ServedEngine) async throws -> T) async throws -> T {
    do {
        let result = try await body(served)
        await served.end()
        return result
    } catch {
        await served.end()
        throw error
    }
}

/// The descriptors of this process that are one of these files, pipes or sockets. Tests beside this one open others all the time.
func openDescriptors(of files: Set<FileKey>) -> Int { (0..<Int32(4096)).count(where: { FileKey($0).map(files.contains) ?? false }) }

/// The descriptors of this process that are the server's: its listener and its ends of connections, which bear the listener's name.
func openDescriptors(of served: ServedEngine) -> Int {
    (0..<Int32(4096)).count(where: { fd in
        var address = sockaddr_un()
        var size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutableBytes(of: &address) { getsockname(fd, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &size) }
        guard result == 0, address.sun_family == sa_family_t(AF_UNIX) else { return false }
        let name = withUnsafeBytes(of: &address.sun_path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return name == served.directory + "/engine.sock"
    })
}

/// Names an open file, whatever descriptors lead to it.
struct FileKey: Hashable {
    private let device: UInt64
    private let inode: UInt64

    init?(_ fd: Int32) {
        var status = stat()
        guard fstat(fd, &status) == 0 else { return nil }
        (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
    }
}
