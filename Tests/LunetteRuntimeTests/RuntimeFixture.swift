import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

/// A runtime with a root and a state directory of its own and one layer that holds busybox; takes everything apart afterwards.
struct RuntimeFixture {
    let runtime: ContainerRuntime
    let folder: String
    var configuration: RuntimeConfiguration { runtime.configuration }
    var layer: String { "\(configuration.root)/snapshots/busybox/fs" }

    /// The programs that containers of these tests find in /bin.
    private static let applets = [
        "sh", "cat", "echo", "sleep", "id", "ls", "true", "false", "kill", "ps", "touch", "mkdir", "hostname", "stat", "head", "dd", "tail",
        "env", "ln",
        "rm", "mount", "test", "seq", "stty", "tty", "readlink", "chmod", "grep", "wc", "od", "find", "usleep",
    ]

    static func with(_ body: (RuntimeFixture) async throws -> Void) async throws {
        let fixture = try await RuntimeFixture()
        var failure: (any Error)?
        do { try await body(fixture) } catch { failure = error }
        try await fixture.tearDown()
        if let failure { throw failure }
    }

    private init() async throws {
        folder = "/tmp/lr.\(UInt32.random(in: 0...UInt32.max))"
        let root = try Directory(making: "\(folder)/r")
        let layer = try Directory(making: "\(folder)/r/snapshots/busybox/fs")
        for (name, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700), ("home", 0o755), ("var", 0o755)] {
            _ = try layer.makeDirectory(name)
            #expect(chmod("\(layer.label)/\(name)", mode_t(mode)) == 0)
        }
        #expect(chmod(layer.label, 0o755) == 0)
        var copy = TreeCopy(ownership: .keep, keepsAttributes: false)
        try copy.copy("busybox", of: try Directory("/usr/bin"), to: try layer.openDirectory("bin"), as: "busybox")
        for applet in Self.applets { #expect(symlink("busybox", "\(layer.label)/bin/\(applet)") == 0) }
        try layer.openDirectory("etc").write("passwd", Array("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/home:/bin/sh\n".utf8), mode: 0o644)
        try layer.openDirectory("etc").write("group", Array("root:x:0:\nweb:x:33:\nextra:x:50:web\n".utf8), mode: 0o644)
        withExtendedLifetime(root) {}
        runtime = try await ContainerRuntime.open(RuntimeConfiguration(root: "\(folder)/r", state: "\(folder)/s"))
    }

    private func tearDown() async throws {
        for id in try await runtime.survey().ids {
            let report = await runtime.reap(id: id, ReapOptions(storage: true))
            #expect(report.isClean, "\(String(describing: report.error))")
        }
        #expect(try await runtime.survey().ids.isEmpty)
        await runtime.close()
        try Directory("/tmp").removeTree(String(folder.dropFirst(5)))
    }

    /// A container of busybox with its own user namespace, not created yet.
    func request(_ id: String = "c1", _ args: [String], _ change: (inout ContainerSpec) -> Void = { _ in }) -> CreateRequest {
        var spec = ContainerSpec(.image("busybox"))
        spec.args = args
        spec.env = ["PATH": "/bin"]
        change(&spec)
        return CreateRequest(
            id: id, spec: spec, image: ImageProcessConfig(), root: .layers([layer]),
            idRange: IDRange(first: IDRangeAllocator.base, count: 65536))
    }

    /// Runs a shell line to its end and reaps it.
    func run(
        _ line: String, id: String = "c1", _ change: (inout ContainerSpec) -> Void = { _ in }
    ) async throws -> (output: String, exit: ContainerExit) {
        try await run(request(id, ["sh", "-c", line], change))
    }

    func run(_ request: CreateRequest) async throws -> (output: String, exit: ContainerExit) {
        let container = try await runtime.create(request)
        try await container.start()
        let exit = try await container.exit()
        let report = await runtime.reap(id: request.id, ReapOptions(storage: false))
        #expect(report.isClean, "\(String(describing: report.error))")
        let output = try await log(request.id)
        let last = await runtime.reap(id: request.id, ReapOptions(storage: true))
        #expect(last.isClean, "\(String(describing: last.error))")
        return (output, exit)
    }

    /// Both streams as the program wrote them.
    func log(_ id: String = "c1", _ options: LogOptions = LogOptions()) async throws -> String {
        let collected = Collected()
        try await runtime.readLog(id: id, options) { (entry) async throws(LunetteError) in await collected.add(entry.bytes) }
        return String(decoding: await collected.bytes, as: UTF8.self)
    }
}

actor Collected {
    private(set) var bytes: [UInt8] = []
    func add(_ more: [UInt8]) { bytes += more }
}
