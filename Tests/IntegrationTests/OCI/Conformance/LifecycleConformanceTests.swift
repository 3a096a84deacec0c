import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// runtime.md: state, create, start, kill, delete; bundle.md.
@Suite(.runtimeUnderTest) struct LifecycleConformanceTests {
    @Test(
        .proves(
            "runtime.scope.operations", "runtime.operations.all", "runtime.create.creates", "runtime.create.args-wait",
            "runtime.lifecycle.program-waits", "runtime.lifecycle.program", "runtime.state.status", "runtime.state.created",
            "runtime.state.running", "runtime.state.stopped", "runtime.state.pid", "runtime.start.runs", "runtime.kill.sends",
            "runtime.query.answer", "bundle.config"))
    func aContainerIsCreatedRunsStopsAndIsDeleted() async throws {
        try await withBundle { bundle in
            bundle.asks("print=it runs", "await=signals")
            try await bundle.create()
            let created = try await bundle.state()
            #expect(created["status"] == "created")
            let pid = try #require(created["pid"]?.intValue)
            #expect(FileManager.default.fileExists(atPath: "/proc/\(pid)"))
            #expect(!bundle.output.contains("it runs"))

            try await bundle.start()
            try await bundle.says("awaiting")
            let running = try await bundle.state()
            #expect(running["status"] == "running")
            #expect(running["pid"]?.intValue == pid)

            try await bundle.call("kill", bundle.id, "USR1")
            try await bundle.says("signal USR1")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(try await bundle.call("state", bundle.id, expecting: nil).code != 0)
        }
    }

    @Test(
        .proves(
            "runtime.state.ociVersion", "runtime.state.id", "runtime.state.bundle", "runtime.state.annotations", "runtime.state.schema",
            "config.annotations.empty-value", "config.annotations.unknown"))
    func theStateSaysWhatTheContainerIs() async throws {
        try await withBundle { bundle in
            bundle.asks("pause")
            bundle.change(["annotations": ["org.example.key": "value", "org.example.empty": ""]])
            try await bundle.create()
            for _ in 0..<2 {
                let state = try await bundle.state()
                #expect(state["id"] == .string(bundle.id))
                #expect(state["bundle"] == .string(bundle.folder))
                #expect(state["ociVersion"]?.stringValue?.hasPrefix("1.") == true)
                #expect(state["annotations"]?["org.example.key"] == "value")
                #expect(state["annotations"]?["org.example.empty"] == "")
                try await Schemas.check(state, "state-schema.json")
                if state["status"] == "created" { try await bundle.start() }
            }
        }
    }

    @Test(.proves("runtime.state.further-status"))
    func aPausedContainerIsPaused() async throws {
        try await withBundle { bundle in
            bundle.asks("pause")
            try await bundle.create()
            try await bundle.start()
            try await bundle.call("pause", bundle.id)
            let status = try await bundle.state()["status"]?.stringValue
            try await bundle.call("resume", bundle.id)
            #expect(status == "paused")
            #expect(try await bundle.state()["status"] == "running")
        }
    }

    @Test(.proves("runtime.lifecycle.config-read-once"))
    func aChangeOfTheConfigurationAfterCreateIsNotSeen() async throws {
        try await withBundle { bundle in
            bundle.asks("print=first", "env")
            try await bundle.create()
            bundle.change(["process": ["env": ["SECOND=1"]]])
            bundle.asks("print=second")
            try bundle.write()
            try await bundle.start()
            try await bundle.becomes("stopped")
            #expect(bundle.output.contains("first"))
            #expect(!bundle.output.contains("SECOND") && !bundle.output.contains("second"))
        }
    }

    @Test(.proves("runtime.lifecycle.environment", "runtime.create.applies"))
    func theEnvironmentIsThereBeforeTheStart() async throws {
        try await withBundle { bundle in
            bundle.asks("pause")
            bundle.change(["hostname": "early"])
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "early", "options": ["size=64k"]])
            try await bundle.create()
            let pid = try await bundle.pid()
            let name = try await Command("nsenter", "-t", "\(pid)", "-u", "uname", "-n").run().text
            #expect(name == "early")
            let mounts = try String(contentsOfFile: "/proc/\(pid)/mountinfo", encoding: .utf8)
            #expect(mounts.contains(" /data ") && mounts.contains("early"))
            for kind in ["net", "ipc", "uts", "mnt", "pid"] {
                let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/\(kind)")
                #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/\(kind)") != own)
            }
        }
    }

    @Test(
        .proves(
            "runtime.lifecycle.environment-error", "runtime.create.cannot-apply", "runtime.errors.leave-nothing",
            "config.mounts.source-missing"))
    func whatCannotBeMadeIsAnErrorAndNothingStays() async throws {
        try await withBundle { bundle in
            bundle.mount(["destination": "/data", "type": "none", "source": "/does/not/exist", "options": ["bind"]])
            let said = try await bundle.refusal(mentioning: "/does/not/exist")
            #expect(!said.isEmpty)
            #expect(bundle.leaks().filter { !$0.hasPrefix("process") }.isEmpty)
            // The same id can be used at once.
            bundle.change(["mounts": OCIBundle.standard["mounts"] ?? []])
            bundle.asks("print=again")
            #expect(try await bundle.run().text.contains("again"))
        }
    }

    @Test(
        .proves(
            "runtime.query.without-id", "runtime.create.without-id", "runtime.start.without-id", "runtime.kill.without-id",
            "runtime.delete.without-id"), arguments: ["state", "create", "start", "kill", "delete"])
    func anOperationWithoutAnIDIsAnError(operation: String) async throws {
        try await withBundle { bundle in
            try bundle.write()
            let said = try await bundle.call(operation, expecting: nil)
            #expect(said.code != 0)
            #expect(!said.errorText.isEmpty || !said.text.isEmpty)
            #expect(
                try FileManager.default.fileExists(atPath: bundle.root)
                    ? FileManager.default.contentsOfDirectory(atPath: bundle.root).isEmpty : true)
        }
    }

    @Test(
        .proves("runtime.query.unknown", "runtime.kill.not-running", "runtime.start.not-created"),
        arguments: ["state", "start", "kill", "delete"])
    func anOperationOnAnUnknownContainerIsAnError(operation: String) async throws {
        try await withBundle { bundle in
            let said = try await bundle.call(operation, "nobody", expecting: nil)
            #expect(said.code != 0)
            #expect(!said.errorText.isEmpty)
        }
    }

    @Test(.proves("runtime.create.without-bundle", "bundle.config"))
    func aBundleWithoutAConfigurationIsAnError() async throws {
        try await withBundle { bundle in
            #expect(try await bundle.call("create", "--bundle", "\(bundle.folder)/absent", bundle.id, expecting: nil).code != 0)
            try bundle.write("Config.json")
            #expect(try await bundle.call("create", "--bundle", bundle.folder, bundle.id, expecting: nil).code != 0)
            #expect(try await bundle.call("state", bundle.id, expecting: nil).code != 0)
        }
    }

    @Test(.proves("runtime.create.duplicate", "runtime.state.id-unique"))
    func anIDInUseIsRefusedAndItsContainerUntouched() async throws {
        try await withBundle { bundle in
            bundle.asks("await=signals")
            try await bundle.create()
            let before = try await bundle.state()
            #expect(try await bundle.create(expecting: nil).code != 0)
            #expect(try await bundle.state() == before)
            try await bundle.start()
            try await bundle.says("awaiting")
            #expect(try await bundle.create(expecting: nil).code != 0)
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("kill", bundle.id, "USR2")
            try await bundle.says("signal USR2")
        }
    }

    @Test(.proves("runtime.create.invalid-id"), arguments: ["", "a/b", "../up", "..", "."])
    func anIDThatIsNoneIsRefused(id: String) async throws {
        try await withBundle { bundle in
            #expect(try await bundle.create(id: id, expecting: nil).code != 0)
            let left =
                FileManager.default.fileExists(atPath: bundle.root) ? try FileManager.default.contentsOfDirectory(atPath: bundle.root) : []
            #expect(left.isEmpty)
            #expect(!FileManager.default.fileExists(atPath: "\(bundle.folder)/up"))
        }
    }

    @Test(.proves("runtime.start.not-created"))
    func onlyACreatedContainerCanBeStarted() async throws {
        try await withBundle { bundle in
            bundle.asks("print=once", "await=signals")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("awaiting")
            #expect(try await bundle.start(expecting: nil).code != 0)
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("kill", bundle.id, "TERM")
            try await bundle.becomes("stopped")
            #expect(try await bundle.start(expecting: nil).code != 0)
            #expect(try await bundle.state()["status"] == "stopped")
            #expect(bundle.output.components(separatedBy: "once").count == 2)
        }
    }

    @Test(.proves("runtime.start.without-process"))
    func aStartWithoutAProcessIsAnError() async throws {
        try await withBundle { bundle in
            bundle.change(["process": nil])
            if try await bundle.create(expecting: nil).code == 0 {
                #expect(try await bundle.start(expecting: nil).code != 0)
                try await bundle.call("delete", "--force", bundle.id)
            }
        }
    }

    @Test(.proves("runtime.kill.sends"))
    func aCreatedContainerCanBeKilled() async throws {
        try await withBundle { bundle in
            bundle.asks("print=never")
            try await bundle.create()
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            #expect(!bundle.output.contains("never"))
        }
    }

    @Test(.proves("runtime.kill.sends"), arguments: ["SIGHUP", "INT", "15", "SIGUSR2", "WINCH"])
    func aSignalIsTakenByNameAndByNumber(signal: String) async throws {
        try await withBundle { bundle in
            bundle.asks("await=signals")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("awaiting")
            try await bundle.call("kill", bundle.id, signal)
            try await bundle.says("signal \(signal == "15" ? "TERM" : signal.replacingOccurrences(of: "SIG", with: ""))")
        }
    }

    @Test(.proves("runtime.kill.not-running"))
    func aStoppedContainerCannotBeKilled() async throws {
        try await withBundle { bundle in
            bundle.asks("noop")
            try await bundle.create()
            try await bundle.start()
            try await bundle.becomes("stopped")
            #expect(try await bundle.call("kill", bundle.id, "TERM", expecting: nil).code != 0)
            #expect(try await bundle.state()["status"] == "stopped")
        }
    }

    @Test(.proves("runtime.kill.sends"))
    func aSignalThatIsNoneIsAnError() async throws {
        try await withBundle { bundle in
            bundle.asks("pause")
            try await bundle.create()
            try await bundle.start()
            #expect(try await bundle.call("kill", bundle.id, "NONSENSE", expecting: nil).code != 0)
            #expect(try await bundle.state()["status"] == "running")
        }
    }

    @Test(.proves("runtime.delete.running"))
    func aRunningContainerIsNotDeleted() async throws {
        try await withBundle { bundle in
            bundle.asks("await=signals")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("awaiting")
            #expect(try await bundle.call("delete", bundle.id, expecting: nil).code != 0)
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("kill", bundle.id, "USR1")
            try await bundle.says("signal USR1")
        }
    }

    @Test(.proves("runtime.delete.created"))
    func aCreatedContainerIsNotDeleted() async throws {
        try await withBundle { bundle in
            bundle.asks("print=still here")
            try await bundle.create()
            #expect(try await bundle.call("delete", bundle.id, expecting: nil).code != 0)
            try #require(try await bundle.state()["status"] == "created")
            try await bundle.start()
            try await bundle.says("still here")
            try await bundle.becomes("stopped")
        }
    }

    @Test(.proves("runtime.delete.resources", "runtime.lifecycle.destroyed", "runtime.delete.id-again"))
    func deleteLeavesNothing() async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["cgroupsPath": .string("/lunette-conform-\(bundle.id)")]])
            for round in 1...2 {
                bundle.asks("print=round \(round)", "pause")
                try await bundle.create()
                #expect(!bundle.cgroups().isEmpty)
                try await bundle.start()
                try await bundle.call("kill", bundle.id, "KILL")
                try await bundle.becomes("stopped")
                try await bundle.call("delete", bundle.id)
                #expect(bundle.cgroups().isEmpty)
                #expect(!FileManager.default.fileExists(atPath: "\(bundle.root)/\(bundle.id)"))
                #expect(bundle.leaks().isEmpty)
            }
        }
    }

    @Test(.proves("runtime.delete.others"), .requires(.cgroupV1))
    func deleteLeavesWhatTheContainerDidNotMake() async throws {
        try await withBundle { bundle in
            let parent = "/sys/fs/cgroup/memory/lunette-conform-\(bundle.id)"
            try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: false)
            mkdir("\(parent)/beside", 0o755)
            bundle.cleanUp.add("remove \(parent)") {
                // All hierarchies have the parent: which of them the runtime made is not the question here.
                for path in bundle.cgroups().sorted(by: { $0.count > $1.count }) {
                    rmdir("\(path)/beside")
                    rmdir(path)
                }
            }
            let holder = try Command("unshare", "--uts", "sleep", "1000").start()
            bundle.cleanUp.add("end the namespace's holder") { holder.signal(SIGKILL) }
            let uts = "/proc/\(holder.pid)/ns/uts"
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/uts")
            try await eventually("the holder has its namespace") { try FileManager.default.destinationOfSymbolicLink(atPath: uts) != own }
            bundle.withoutNamespace("uts")
            bundle.namespace(["type": "uts", "path": .string(uts)])
            bundle.change(["linux": ["cgroupsPath": .string("/lunette-conform-\(bundle.id)/inner")]])
            let source = try bundle.makeFolder("source")
            try bundle.makeFile("source/file", "kept")
            bundle.mount(["destination": "/data", "type": "none", "source": .string(source), "options": ["bind"]])
            bundle.asks("noop")
            try await bundle.create()
            try await bundle.start()
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(FileManager.default.fileExists(atPath: "\(parent)/beside"))
            #expect(!FileManager.default.fileExists(atPath: "\(parent)/inner"))
            #expect(bundle.file("source/file") == "kept")
            #expect(FileManager.default.fileExists(atPath: "\(bundle.rootfs)/probe"))
            #expect(holder.isRunning)
        }
    }
}
