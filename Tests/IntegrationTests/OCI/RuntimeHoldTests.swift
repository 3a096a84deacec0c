import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// What a container, or a neighbour of it, does to hold its runtime up, and what removing one must not do to another.
@Suite(.runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own defences"))
struct RuntimeHoldTests {
    private func pid(_ bundle: OCIBundle) async throws -> pid_t {
        pid_t(try #require(try await bundle.state()["pid"]?.intValue))
    }

    /// A pid 1 that was stopped at its gate answers nobody: whoever asks mustn't wait for it, however often.
    @Test func aStoppedContainerHoldsNobodyUp() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "print=ran", "pause"]]])
            try await bundle.create()
            try await bundle.call("kill", bundle.id, "STOP")
            for _ in 0..<9 { #expect(try await bundle.state()["status"] == "created") }
            #expect(try await bundle.call("list").text.contains("created"))
            let refused = try await bundle.start(expecting: nil)
            #expect(refused.code == 1 && refused.errorText.contains("its pid 1 doesn't come to the gate"))
            try await bundle.call("kill", bundle.id, "CONT")
            try await bundle.start()
            try await bundle.says("ran")
        }
        try await withBundle { bundle in
            try await bundle.create()
            try await bundle.call("kill", bundle.id, "STOP")
            for _ in 0..<9 { _ = try await bundle.state() }
            try await bundle.call("delete", "--force", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func startSaysThatPidOneWasStopped() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.call("kill", bundle.id, "STOP")
            let refused = try await bundle.start(expecting: 1)
            #expect(refused.errorText.contains("pid 1 was stopped") && refused.errorText.contains("CONT"), "\(refused.errorText)")
            try await bundle.call("kill", bundle.id, "CONT")
            try await bundle.becomes("running")
            try await bundle.call("delete", "--force", bundle.id)
        }
    }

    /// A `start` that waits for its hook holds the container; paused meanwhile, its pid 1 takes no SIGKILL on v1 before it is thawed.
    @Test func aContainerPausedInItsStartIsDeletable() async throws {
        try await withBundle { bundle in
            bundle.change(["hooks": ["startContainer": [["path": "/probe", "args": ["/probe", "pause"]]]]])
            try await bundle.create()
            let starting = try bundle.runtime.command(root: bundle.root, ["start", bundle.id]).start()
            try await eventually("its hook runs") { try await bundle.call("list").text.contains("running") }
            try await bundle.call("pause", bundle.id)
            try await bundle.call("delete", "--force", bundle.id)
            let started = try await starting.wait()
            #expect(started.code == 1 && started.errorText.contains("pid 1 was killed while a startContainer hook ran"), "\(started)")
            #expect(try await bundle.call("list", "-q").text == "")
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// v1's freezer holds SIGKILL back, also in a child that the container made in its cgroup, where it may write there.
    @Test(.requires(.cgroupV1), arguments: [false, true])
    func whatAContainerFreezesByItselfCanBeEnded(killsFirst: Bool) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let pid = try await pid(bundle)
            let own = try #require(bundle.cgroups().first { $0.hasPrefix("/sys/fs/cgroup/freezer/") })
            try FileManager.default.createDirectory(atPath: "\(own)/a/b", withIntermediateDirectories: true)
            try Data("\(pid)".utf8).write(to: URL(fileURLWithPath: "\(own)/a/b/cgroup.procs"))
            try Data("FROZEN".utf8).write(to: URL(fileURLWithPath: "\(own)/a/b/freezer.state"))
            try await eventually("it is frozen") {
                try String(contentsOfFile: "\(own)/a/b/freezer.state", encoding: .utf8) == "FROZEN\n"
            }
            kill(pid, SIGKILL)
            try await Task.sleep(for: .milliseconds(100))
            undefended("a signal alone ends nothing there", kill(pid, 0) == 0, pid)
            if killsFirst {
                try await bundle.call("kill", bundle.id, "KILL")
                try await bundle.becomes("stopped")
            }
            try await bundle.call("delete", "--force", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// Of a record that can't be read (another version's, a damaged one) its folder and the id in its cgroup's name are known.
    @Test(arguments: [nil, "/lunette-test/a-"] as [String?])
    func aContainerWithoutAReadableRecordLeavesNothing(parent: String?) async throws {
        try await withBundle { bundle in
            if let parent { bundle.change(["linux": ["cgroupsPath": .string(parent + bundle.id)]]) }
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            try bundle.makeFile("state/\(bundle.id)/state.json", "{\"version\": 1}")
            #expect(try await bundle.call("delete", bundle.id, expecting: 1).errorText.contains("delete --force"))
            try await bundle.call("delete", "--force", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
            let made = "/sys/fs/cgroup/lunette-test /sys/fs/cgroup/*/lunette-test"
            if parent != nil { try await Command.shell("rmdir \(made)").run(expecting: nil) }
        }
        // Somebody else's, perhaps: it is said and left alone.
        try await withBundle { bundle in
            bundle.change(["linux": ["cgroupsPath": .string("/\(bundle.id)-shared")], "process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let pid = try await pid(bundle)
            try bundle.makeFile("state/\(bundle.id)/state.json", "{\"version\": 1}")
            #expect(try await bundle.call("delete", "--force", bundle.id).errorText.contains("by other names than its id stay"))
            #expect(kill(pid, SIGKILL) == 0)
            for folder in bundle.cgroups() { try await eventually("\(folder) is gone") { rmdir(folder) == 0 } }
        }
    }

    /// In the container's pid namespace the creator isn't there, so a hook that deletes its own container waits for who waits for it.
    @Test func aHookThatDeletesItsOwnContainerComesBack() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "print=ran"]]])
            let line = "\(bundle.runtime.path) --root \(bundle.root) delete --force \(bundle.id)"
            bundle.change(["hooks": ["createContainer": [["path": "/bin/sh", "args": ["sh", "-c", .string(line)]]]]])
            let ran = try await bundle.run(expecting: 1)
            #expect(ran.errorText.contains("it is held by a command that can't be seen from here"), "\(ran.errorText)")
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    /// A container that may write to its cgroup makes one deeper than a path reaches.
    @Test(.requires(.cgroupV1)) func aCgroupDeeperThanAPathIsDeleted() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let pid = try await pid(bundle)
            let name = String(repeating: "d", count: 60)
            for hierarchy in ["freezer", "pids"] {
                let top = try #require(bundle.cgroups().first { $0.hasPrefix("/sys/fs/cgroup/\(hierarchy)/") })
                var fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                for _ in 0..<75 {
                    try #require(mkdirat(fd, name, 0o755) == 0, "\(errno)")
                    let inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                    close(fd)
                    fd = inner
                }
                let tasks = openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC)
                #expect(write(tasks, "\(pid)", "\(pid)".utf8.count) > 0)
                close(tasks)
                close(fd)
            }
            undefended("a path doesn't reach it", access(bundle.cgroups()[0] + String(repeating: "/\(name)", count: 75), F_OK) != 0, errno)
            try await bundle.call("kill", "--all", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }
}
