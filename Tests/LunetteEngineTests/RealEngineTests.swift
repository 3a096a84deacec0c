import Foundation
import LunetteAPI
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteEngine

/// The engine on the real runtime, in process: what the fakes can't show.
@Suite(.requires(.root, .overlay, .userNamespaces, .command("busybox")), .serialized) struct RealEngineTests {
    static let shim = Bundle.main.executableURL!.deletingLastPathComponent().path

    /// An engine of its own on a short state path, and a root file system with busybox.
    private func withRealEngine(_ body: (Engine, TestSession, String) async throws -> Void) async throws {
        let tag = String(UInt32.random(in: 0...UInt32.max), radix: 36)
        let (root, state) = ("/tmp/lr-\(tag)", "/tmp/ls-\(tag)")
        let rootfs = root + "/busybox"
        try FileManager.default.createDirectory(atPath: rootfs + "/bin", withIntermediateDirectories: true)
        for folder in ["proc", "sys", "dev", "etc", "tmp", "data"] {
            try FileManager.default.createDirectory(atPath: "\(rootfs)/\(folder)", withIntermediateDirectories: true)
        }
        try FileManager.default.copyItem(atPath: Programs.find("busybox")!, toPath: rootfs + "/bin/busybox")
        for name in ["sh", "true", "false", "sleep", "cat", "echo", "id"] {
            try FileManager.default.createSymbolicLink(atPath: "\(rootfs)/bin/\(name)", withDestinationPath: "busybox")
        }
        func removeAll() { for path in [root, state] { try? FileManager.default.removeItem(atPath: path) } }  // Best effort: the leak is told below.
        do {
            let configuration = EngineConfiguration(root: root, state: state, shimPath: shimPath())
            let engine = try await Engine.open(configuration)
            let session = TestSession(try await engine.connect(receiver: nil))
            do {
                try await body(engine, session, rootfs)
                for record in await engine.state.containers.values {
                    try await session.call("container.remove", ["container": .string(record.id), "force": true])
                }
                let problems = try await session.call("system.check")["problems"]
                #expect(problems == .array([]))
            } catch {
                for id in await engine.state.containers.keys { _ = try? await session.call("container.remove", ["container": .string(id), "force": true]) }
                await engine.close()
                throw error
            }
            await engine.close()
        } catch {
            removeAll()
            throw error
        }
        removeAll()
    }

    /// The shim that was built beside these tests.
    private func shimPath() -> String? {
        var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        for _ in 0..<4 {
            let path = folder.appendingPathComponent("lunette-shim").path
            if FileManager.default.isExecutableFile(atPath: path) { return path }
            folder = folder.deletingLastPathComponent()
        }
        return nil
    }

    private func spec(_ rootfs: String, _ args: String...) -> ValueMap { ["rootfs": .string(rootfs), "args": .array(args.map(Value.string))] }

    @Test func aRealContainerRunsAndItsExitIsKnown() async throws {
        try await withRealEngine { engine, session, rootfs in
            let run = try await session.call("container.run", ["spec": .map(spec(rootfs, "/bin/sh", "-c", "echo hello; exit 3"))])
            let exit = try await session.call("container.wait", ["container": run])
            #expect(exit["code"] == 3 && exit["reason"] == "exited")
            #expect(try await session.call("container.logs", ["container": run]) == "hello\n")
            let profile = try await session.call("container.inspect", ["container": run])["start_profile"]
            #expect(profile?["create"] != nil)
        }
    }
}
