import Foundation
import LunetteAPI
import LunetteLinux
import LunetteRuntime
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
        // Best effort: the leak is told below.
        func removeAll() { for path in [root, state] { try? FileManager.default.removeItem(atPath: path) } }
        do {
            let configuration = EngineConfiguration(root: root, state: state, shimPath: shimPath(), pluginDirectories: [])
            let engine = try await Engine.open(configuration)
            let session = TestSession(try await engine.connect(receiver: nil))
            do {
                try await body(engine, session, rootfs)
                for record in await engine.leftToRemove {
                    try await session.call("container.remove", ["container": .string(record.id), "force": true])
                }
                try await eventually("the teardowns are done") { await engine.supervisor.pendingWork == 0 }
                if !engine.isClosing {
                    let problems = try await session.call("system.check")["problems"]
                    #expect(problems == .array([]))
                }
            } catch {
                for id in await engine.state.containers.keys {
                    _ = try? await session.call("container.remove", ["container": .string(id), "force": true])
                }
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

    private func spec(_ rootfs: String, _ args: String...) -> ValueMap {
        ["rootfs": .string(rootfs), "args": .array(args.map(Value.string))]
    }

    /// A script hands its own streams over: who reads them waits for the end of all writers, the script's container included.
    @Test func aClientThatGoesTakesItsAttachedStreamsAlong() async throws {
        try await withRealEngine { engine, session, rootfs in
            let run = try await session.call("container.run", ["spec": .map(spec(rootfs, "/bin/sleep", "1000"))])
            let client = TestSession(try await engine.connect(receiver: nil))
            let pipe = Pipe()
            let shim = try #require(await engine.supervisor.container(run["id"]!.stringValue!)).record.shim.pid
            func pipes() -> Int {
                (0..<64).count {
                    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(shim)/fd/\($0)"))?.hasPrefix("pipe:") == true
                }
            }
            let before = pipes()
            let attaching = Task {
                // Cancelled by its session's end.
                _ = try? await client.call(
                    "container.attach", ["container": run, "stdio": ["stdout"]], files: [pipe.fileHandleForWriting.fileDescriptor])
            }
            try await eventually("the shim has the stream") { pipes() == before + 1 }
            try pipe.fileHandleForWriting.close()
            await client.session.close()
            await attaching.value
            try await eventually("the shim let it go") { pipes() == before }
            #expect(try pipe.fileHandleForReading.readToEnd() == nil)
            #expect(try await session.status(run["id"]!.stringValue!) == "running")
        }
    }

    @Test func aResizeWithoutATerminalSaysSo() async throws {
        try await withRealEngine { _, session, rootfs in
            var map = spec(rootfs, "/bin/sleep", "1000")
            map["name"] = "plain"
            try await session.call("container.run", ["spec": .map(map)])
            let error = await expectError(.invalidState) { () async throws(LunetteError) in
                try await session.call("container.resize", ["container": "plain", "rows": 10, "columns": 20])
            }
            #expect(error?.message == "container plain has no terminal" && error?.hint?.contains("tty = true") == true)
        }
    }

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

    @Test func anEngineThatWentAwayIsFollowedByOneThatAdopts() async throws {
        try await withRealEngine { engine, session, rootfs in
            var longer = spec(rootfs, "/bin/sh", "-c", "echo before; until [ -e /go-on ]; do sleep 0.1; done; echo after; exit 5")
            longer["name"] = "long"
            let run = try await session.call("container.run", ["spec": .map(longer)])
            var brief = spec(rootfs, "/bin/sh", "-c", "exit 4")
            brief["name"] = "brief"
            let configuration = engine.configuration
            await engine.close()
            let next = try await Engine.open(configuration)
            let later = TestSession(try await next.connect(receiver: nil))
            #expect(try await later.status("long") == "running")
            try Data().write(to: URL(fileURLWithPath: rootfs + "/go-on"))
            let exit = try await later.call("container.wait", ["container": run])
            #expect(exit["code"] == 5)
            #expect(try await later.call("container.logs", ["container": run]) == "before\nafter\n")
            try await later.call("container.remove", ["container": "long"])
            #expect(try await later.call("system.check")["problems"] == .array([]))
            await next.close()
        }
    }

    @Test func aSecondEngineOnTheSameDirectoriesIsRefused() async throws {
        try await withRealEngine { engine, _, _ in
            let error = await expectError(.conflict) { () async throws(LunetteError) in try await Engine.open(engine.configuration) }
            #expect(error?.message.contains("another engine (pid") == true)
        }
    }

    @Test func execKillPauseAndRestartReachTheRealThing() async throws {
        try await withRealEngine { engine, session, rootfs in
            var fields = spec(rootfs, "/bin/sleep", "1000")
            fields["name"] = "web"
            fields["restart"] = "always"
            try await session.call("container.run", ["spec": .map(fields)])
            let exec = try await session.call("container.exec", ["container": "web", "args": "exit 6"])
            #expect(exec["code"] == 6)
            try await session.call("container.pause", ["container": "web"])
            #expect(try await session.status("web") == "paused")
            try await session.call("container.resume", ["container": "web"])
            #expect(try await session.call("container.processes", ["container": "web"]).arrayValue?.isEmpty == false)
            let before = try await session.inspect("web")["pid"]
            try await session.call("container.kill", ["container": "web"])
            try await eventually("the policy starts it again") {
                let info = try await session.inspect("web")
                return info["status"] == "running" && info["pid"] != before
            }
            try await session.call("container.restart", ["container": "web", "grace_period": 0])
            let exit = try await session.call("container.stop", ["container": "web", "grace_period": 0])
            #expect(exit["reason"] == "stopped")
        }
    }

    @Test func aProgramThatIsNotThereIsNamedAndNothingStays() async throws {
        try await withRealEngine { engine, session, rootfs in
            let error = await expectError(.notFound) { () async throws(LunetteError) in
                try await session.call("container.run", ["spec": .map(spec(rootfs, "/bin/nothing"))])
            }
            #expect(error?.details?["exit_code"] == 127)
            #expect(await engine.state.containers.isEmpty)
        }
    }

    @Test func anImageIsBuiltWithRunStepsAndRuns() async throws {
        try await withRealEngine { engine, session, _ in
            let lines = Collected()
            let image = try await session.call(
                "image.build",
                [
                    "tag": "test.example/built:1", "copy": [["from": "/bin/busybox", "to": "/bin/busybox", "mode": "0755"]],
                    "run": ["/bin/busybox --install -s /bin", "mkdir -p /data && echo made > /data/file && echo building"],
                    "config": ["cmd": ["/bin/cat", "/data/file"], "env": ["PATH": "/bin"]], "progress": true,
                ]
            ) { chunk throws(LunetteError) in lines.add(chunk) }
            #expect(lines.values.contains { $0["message"]?.stringValue?.contains("building") == true })
            let run = try await session.call("container.run", ["spec": ["image": image]])
            #expect(try await session.call("container.wait", ["container": run])["code"] == 0)
            #expect(try await session.call("container.logs", ["container": run]) == "made\n")
            let info = try await session.call("container.inspect", ["container": run, "launch_plan": true])
            #expect(info["launch_plan"]?.stringValue?.contains("overlay") == true)
            await expectError(.exitStatus) { () async throws(LunetteError) in
                try await session.call("image.build", ["from": "test.example/built:1", "run": ["exit 3"]])
            }
        }
    }

    @Test func aBindMountIsSeenAndItsFilesKeepTheirOwners() async throws {
        try await withRealEngine { engine, session, rootfs in
            let folder = engine.configuration.root + "/shared"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            var fields = spec(rootfs, "/bin/sh", "-c", "id -u > /data/uid")
            fields["mounts"] = [["type": "bind", "source": .string(folder), "target": "/data"]]
            let run = try await session.call("container.run", ["spec": .map(fields)])
            #expect(try await session.call("container.wait", ["container": run])["code"] == 0)
            let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/uid")
            #expect(attributes[.ownerAccountID] as? Int == 0)
            #expect(try String(contentsOfFile: folder + "/uid", encoding: .utf8) == "0\n")
        }
    }

    @Test func twentyStartsAtOnceDoNotDisturbEachOther() async throws {
        try await withRealEngine { engine, session, rootfs in
            let fields = spec(rootfs, "/bin/true")
            try await withThrowingTaskGroup(of: Value.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        let run = try await session.call("container.run", ["spec": .map(fields)])
                        return try await session.call("container.wait", ["container": run])
                    }
                }
                for try await exit in group { #expect(exit["code"] == 0) }
            }
            // Ended is not taken apart yet: the reaper comes after.
            try await eventually("the teardowns are done") { await engine.supervisor.pendingWork == 0 }
        }
    }
}

extension Engine {
    /// What a test that didn't close the engine itself has left.
    fileprivate var leftToRemove: [LunetteEngine.ContainerRecord] {
        get async { isClosing ? [] : Array(await state.containers.values) }
    }
}
