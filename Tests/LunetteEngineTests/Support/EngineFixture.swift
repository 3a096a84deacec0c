import Foundation
import LunetteAPI
import LunetteLinux
import LunettePlugins
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

/// Time that a test moves.
struct TestClock: EngineClock {
    let fake = FakeClock()
    func now() -> Double {
        let parts = fake.now.offset.components
        return 1_000_000 + Double(parts.seconds) + Double(parts.attoseconds) / 1e18
    }
    func sleep(_ seconds: Double) async throws {
        try await fake.sleep(until: fake.now.advanced(by: .seconds(min(max(seconds, 0), 1e9))), tolerance: nil)
    }
}

/// An engine over a fake runtime and a fake image store, in a directory of its own.
final class EngineFixture: Sendable {
    let directory: String
    let host: FakeHost
    let images = FakeImages()
    let clock: TestClock
    let drivers: FakePluginHost
    let engine: Engine

    /// - Parameter directory: an earlier fixture's, to open its database again.
    init(
        directory: String? = nil, host: FakeHost = FakeHost(), drivers: FakePluginHost = FakePluginHost(), clock: TestClock = TestClock()
    ) async throws {
        let path = directory ?? "/tmp/lunette-engine-\(UInt64.random(in: 0...UInt64.max))"
        self.directory = path
        self.host = host
        self.drivers = drivers
        self.clock = clock
        let plugin = path + "/bundled/volume-fake"
        try FileManager.default.createDirectory(atPath: plugin, withIntermediateDirectories: true)
        let manifest = """
            {"name":"volume-fake","version":"1.0.0","api":"1","entry":"init.lua","provides":{"volume":["local","slow"]}}
            """
        try manifest.write(toFile: plugin + "/plugin.json", atomically: true, encoding: .utf8)
        let configuration = EngineConfiguration(
            root: path, state: path + "/run", pluginDirectories: [path + "/bundled"], pluginHosts: [drivers], eventLimit: 1000)
        let state = try await State(
            path: path + "/state.sqlite", clock: clock, bootID: "boot", eventLimit: configuration.eventLimit, outcomeLimit: 100)
        engine = await Engine(configuration: configuration, clock: clock, state: state, host: host, images: images, locks: [])
        try await engine.recover()
    }

    func session(_ receiver: (any HookReceiver)? = nil) async throws -> TestSession {
        TestSession(try await engine.connect(receiver: receiver))
    }

    /// Closes the engine and removes the directory.
    func end() async {
        await engine.close()
        try? FileManager.default.removeItem(atPath: directory)  // Gone already is fine.
    }
}

/// Runs a test with an engine of its own.
func withEngine(_ body: (EngineFixture, TestSession) async throws -> Void) async throws {
    let fixture = try await EngineFixture()
    do { try await body(fixture, try await fixture.session()) } catch {
        await fixture.end()
        throw error
    }
    await fixture.end()
}

/// A session with short calls.
struct TestSession: Sendable {
    let session: any EngineSession
    init(_ session: any EngineSession) { self.session = session }

    @discardableResult
    func call(
        _ function: String, _ arguments: Value = .map([:]), id: String = Identifier.short(), cause: [String] = [], deadline: Double? = nil,
        files: [Int32] = [], onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)? = nil
    ) async throws(LunetteError) -> Value {
        let actor = Actor(uid: 0, gid: 0, pid: ProcessInfo.processInfo.processIdentifier, script: "test")
        let request = APIRequest(id: id, function: function, arguments: arguments, actor: actor, cause: cause, deadline: deadline)
        return try await session.call(request, files: files, onChunk: onChunk)
    }

    @discardableResult
    func run(_ name: String? = nil, _ fields: ValueMap = [:], id: String = Identifier.short()) async throws(LunetteError) -> String {
        var spec: ValueMap = ["image": "base:latest", "args": ["serve"]]
        spec["name"] = name.map(Value.string)
        for (key, value) in fields { spec[key] = value }
        return try await call("container.run", ["spec": .map(spec)], id: id)["id"]!.stringValue!
    }

    func inspect(_ word: String) async throws(LunetteError) -> Value { try await call("container.inspect", ["container": .string(word)]) }
    func status(_ word: String) async throws(LunetteError) -> String { try await inspect(word)["status"]!.stringValue! }
    func events(since: Int64 = 0, _ names: String...) async throws(LunetteError) -> [Value] {
        let seen = Collected()
        try await call("events.follow", ["since": .int(since), "until": "0s"]) { event throws(LunetteError) in seen.add(event) }
        return seen.values.filter { names.isEmpty || names.contains($0["name"]!.stringValue!) }
    }
}

/// Gathers values from concurrent callbacks.
final class Collected: Sendable {
    private let storage = Mutex<[Value]>([])
    func add(_ value: Value) { storage.withLock { $0.append(value) } }
    var values: [Value] { storage.withLock { $0 } }
}

/// Expects a `LunetteError` of a code, and gives it back.
@discardableResult
func expectError<T>(
    _ code: ErrorCode, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws(LunetteError) -> T
) async -> LunetteError? {
    do throws(LunetteError) {
        _ = try await body()
        Issue.record("expected \(code), got no error", sourceLocation: sourceLocation)
        return nil
    } catch {
        #expect(error.code == code, "\(error.message)", sourceLocation: sourceLocation)
        return error
    }
}

/// A receiver whose handlers are closures by subscription.
final class TestReceiver: HookReceiver {
    typealias Before = @Sendable (Value) async throws(LunetteError) -> Value
    private let handlers = Mutex<[String: Before]>([:])
    let seen = Collected()

    func before(_ subscription: String, _ body: @escaping Before) { handlers.withLock { $0[subscription] = body } }

    func before(subscription: String, event: Value) async throws(LunetteError) -> Value {
        seen.add(event)
        guard let body = handlers.withLock({ $0[subscription] }) else { return .null }
        return try await body(event)
    }

    func on(subscription: String, event: Value) async throws(LunetteError) {
        seen.add(event)
        if let body = handlers.withLock({ $0[subscription] }) { _ = try await body(event) }
    }
}

/// Volume drivers `local` and `slow`, made of folders; failures can be planted.
final class FakePluginHost: PluginHost {
    let transport = "lua"
    let driver = FakeDriver()
    func load(_ manifest: PluginManifest, directory: String, environment: PluginEnvironment) async throws(LunetteError) -> any LoadedPlugin
    {
        driver.root.withLock { $0 = environment.volumesDirectory }
        return FakePlugin(driver: driver)
    }
}

struct FakePlugin: LoadedPlugin {
    let driver: FakeDriver
    var volumeDrivers: [String: any VolumeDriver] { ["local": driver, "slow": driver] }
    func selfTest() async throws(LunetteError) {}
    func start() async throws(LunetteError) {}
    func stop() async {}
}

final class FakeDriver: VolumeDriver {
    let functions: Set<String> = ["create", "mount", "unmount", "remove"]
    let root = Mutex("")
    let journal = Collected()
    let createFailure = Mutex<LunetteError?>(nil)
    /// The volume that it fails to make; nil: each, where there is a failure.
    let failing = Mutex<String?>(nil)
    /// What a creation waits for.
    let createGate = Mutex<OneShot<Void>?>(nil)

    private func path(_ request: DriverRequest) -> String { root.withLock { $0 } + "/" + request.volume.id }
    func create(_ request: DriverRequest) async throws(LunetteError) -> Value {
        journal.add(.string("create \(request.volume.name)"))
        if let gate = createGate.withLock({ $0 }) { await gate.value() }
        let isMeant = failing.withLock { $0 == nil || $0 == request.volume.name }
        if isMeant, let error = createFailure.withLock({ $0 }) { throw error }
        try? FileManager.default.createDirectory(atPath: path(request), withIntermediateDirectories: true)
        return .null
    }
    func mount(_ request: DriverRequest) async throws(LunetteError) -> (path: String, state: Value) {
        journal.add(.string("mount \(request.volume.name)"))
        return (path(request), .null)
    }
    func unmount(_ request: DriverRequest) async throws(LunetteError) { journal.add(.string("unmount \(request.volume.name)")) }
    func remove(_ request: DriverRequest) async throws(LunetteError) {
        journal.add(.string("remove \(request.volume.name)"))
        try? FileManager.default.removeItem(atPath: path(request))
    }
    func usage(_ request: DriverRequest) async throws(LunetteError) -> VolumeUsage? { nil }
}
