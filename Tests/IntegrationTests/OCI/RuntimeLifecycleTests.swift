import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// The operations and their order: gate, states, what is refused when (runtime-spec, runtime.md). Runs on runc and crun as well.
@Suite(.runtimeUnderTest) struct RuntimeLifecycleTests {
    @Test func theProgramWaitsAtTheGateUntilStart() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "print=ran", "pause"]]])
            try await bundle.create("--pid-file", "\(bundle.folder)/pid")
            let state = try await bundle.state()
            #expect(state["status"] == "created" && state["id"] == .string(bundle.id) && state["bundle"] == .string(bundle.folder))
            let pid = try String(contentsOfFile: "\(bundle.folder)/pid", encoding: .utf8)
            #expect(state["pid"]?.intValue.map(String.init) == pid)
            #expect(bundle.output == "")
            try await bundle.start()
            try await bundle.says("ran")
            let running = try await bundle.state()
            #expect(running["status"] == "running" && running["pid"] == state["pid"])
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            try await bundle.call("state", bundle.id, expecting: 1)
        }
    }

    /// The root itself can be written to until it is read-only.
    @Test func aWorkingDirectoryThatIsMissingIsMadeInAReadonlyRoot() async throws {
        try await withBundle { bundle in
            bundle.change(["root": ["readonly": true], "process": ["cwd": "/not/there"]])
            let seen = try await bundle.run("cwd", "create=/not/there/file")
            #expect(seen["cwd"] == "/not/there" && seen["create./not/there/file"] == "!EROFS")
        }
    }

    /// kill(2)'s way to ask whether somebody is there.
    @Test func signalZeroAsksWhetherItRuns() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.call("kill", bundle.id, "0")
            try await bundle.start()
            try await bundle.call("kill", bundle.id, "0")
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            #expect(try await bundle.call("kill", bundle.id, "0", expecting: nil).code != 0)
        }
    }

    @Test func eachOperationIsRefusedWhereItDoesNotFit() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            // Created: no second one of that name.
            let second = try await bundle.create(expecting: nil)
            #expect(second.code != 0)
            if bundle.runtime.isLunette { #expect(second.errorText.contains("already exists")) }
            #expect(try await bundle.state()["status"] == "created")
            try await bundle.start()
            // Running: no second start, no delete, no resume.
            #expect(try await bundle.start(expecting: nil).code != 0)
            #expect(try await bundle.call("delete", bundle.id, expecting: nil).code != 0)
            if bundle.runtime.name != "crun" { #expect(try await bundle.call("resume", bundle.id, expecting: nil).code != 0) }
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            // Stopped: no start, no signal, no exec, no pause.
            #expect(try await bundle.start(expecting: nil).code != 0)
            let killed = try await bundle.call("kill", bundle.id, "TERM", expecting: nil)
            #expect(killed.code != 0)
            // What containerd looks for.
            if bundle.runtime.isLunette { #expect(killed.errorText.contains("container not running")) }
            #expect(try await bundle.call("exec", bundle.id, "/bin/true", expecting: nil).code != 0)
            #expect(try await bundle.call("pause", bundle.id, expecting: nil).code != 0)
            try await bundle.call("delete", bundle.id)
            // Unknown: everything but a forced delete.
            for command in ["start", "state", "kill", "delete", "pause", "resume", "ps"] {
                let refused = try await bundle.call(command, bundle.id, expecting: nil)
                #expect(refused.code != 0, "\(command)")
                if bundle.runtime.isLunette { #expect(refused.errorText.contains("does not exist"), "\(command)") }
            }
            try await bundle.call("delete", "--force", bundle.id)
        }
    }

    @Test func aContainerThatNeverRanIsKilledAndDeleted() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "print=ran"]]])
            try await bundle.create()
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            #expect(try await bundle.start(expecting: nil).code != 0)
            try await bundle.call("delete", bundle.id)
            #expect(bundle.output == "")
            try await bundle.create()
            try await bundle.call("delete", "--force", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func laterChangesOfTheBundleHaveNoEffect() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "print=first", "pause"]], "annotations": ["org.test": "one"]])
            try await bundle.create()
            bundle.change(["process": ["args": ["/probe", "print=second"]], "annotations": ["org.test": "two"]])
            try bundle.write()
            try await bundle.start()
            try await bundle.says("first")
            #expect(try await bundle.state()["annotations"]?["org.test"] == "one")
            try FileManager.default.removeItem(atPath: "\(bundle.folder)/config.json")
            // runc reads the bundle again here.
            if bundle.runtime.isLunette { try await bundle.call("exec", bundle.id, "/bin/true") }
        }
    }

    @Test func runGivesTheProgramsExitCode() async throws {
        try await withBundle { bundle in
            // pid 1 gets no signal that it doesn't handle, not even its own SIGKILL: the last one goes on to its end.
            for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$; exit 5", 5)] as [(String, Int32)] {
                bundle.change(["process": ["args": ["/bin/sh", "-c", .string(script)]]])
                try await bundle.run(expecting: code)
            }
            bundle.change(["process": ["args": ["/bin/sh", "-c", "sleep 0 & exit 3"]]])
            try await bundle.run(expecting: 3)
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    /// Inherited from a caller that doesn't care for its own children, as daemons do.
    @Test func whoIgnoresTheEndOfChildrenIsToldOfTheProgramsAllTheSame() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/bin/sh", "-c", "exit 7"]]])
            try bundle.write()
            let ignoring = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]
            let command = bundle.runtime.command(root: bundle.root, ["run", "--bundle", bundle.folder, bundle.id])
            let finished = try await Command(ignoring + command.arguments).run(expecting: nil, timeout: .seconds(30))
            #expect(finished.code == 7, "\(finished.errorText)")
        }
    }

    @Test func runPassesSignalsOnAndStdinThrough() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["args": ["/bin/sh", "-c", "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"]]
            ])
            try bundle.write()
            let running = try bundle.runtime.command(root: bundle.root, ["run", "--bundle", bundle.folder, bundle.id]).start()
            try await running.says("ready")
            running.signal(SIGTERM)
            let finished = try await running.wait()
            #expect(finished.code == 9 && finished.text.hasSuffix("got"))
            bundle.change(["process": ["args": ["/bin/cat"]]])
            try bundle.write()
            var command = bundle.runtime.command(root: bundle.root, ["run", "--bundle", bundle.folder, bundle.id])
            command.input = Data("through and through".utf8)
            #expect(try await command.run().text == "through and through")
        }
    }

    @Test func runDetachedLeavesAndKeepKeeps() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try bundle.write()
            try await bundle.call("run", "--detach", "--bundle", bundle.folder, "--pid-file", "\(bundle.folder)/pid", bundle.id)
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            guard bundle.runtime.name != "crun" else { return }
            bundle.change(["process": ["args": ["/bin/true"]]])
            try bundle.write()
            try await bundle.call("run", "--keep", "--bundle", bundle.folder, bundle.id)
            #expect(try await bundle.state()["status"] == "stopped")
            try await bundle.call("delete", bundle.id)
        }
    }

    @Test func aProgramThatIsNotThereFailsAndLeavesNothing() async throws {
        try await withBundle { bundle in
            for program in ["/no/such/program", "no-such-program"] {
                bundle.change(["process": ["args": [.string(program)]]])
                let refused = try await bundle.run(expecting: nil)
                #expect(refused.code != 0)
                if bundle.runtime.isLunette { #expect(refused.code == 127 && refused.errorText.contains("no such file or directory")) }
                #expect(try await bundle.call("list", "-q").text == "")
            }
            bundle.change(["process": ["args": ["/etc"]]])
            let refused = try await bundle.run(expecting: nil)
            #expect(refused.code != 0)
            if bundle.runtime.isLunette { #expect(refused.code == 126 && refused.errorText.contains("permission denied")) }
        }
    }

    @Test func pausedContainersStandStill() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            try await bundle.call("pause", bundle.id)
            #expect(try await bundle.state()["status"] == "paused")
            #expect(try await bundle.call("exec", bundle.id, "/bin/true", expecting: nil).code != 0)
            try await bundle.call("resume", bundle.id)
            #expect(try await bundle.state()["status"] == "running")
            try await bundle.call("exec", bundle.id, "/bin/true")
            try await bundle.call("pause", bundle.id)
            // A paused one dies at once when it must.
            try await bundle.call("delete", "--force", bundle.id)
        }
    }

    @Test func listAndPsShowWhatIsThere() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/bin/sh", "-c", "sleep 471200 & exec sleep 471201"]]])
            try await bundle.create()
            try await bundle.start()
            #expect(try await bundle.call("list", "-q").text == bundle.id)
            let list = try JSON.decode(Array(try await bundle.call("list", "--format", "json").stdout), source: "list")
            #expect(list.arrayValue?.count == 1)
            #expect(list.arrayValue?.first?["id"] == .string(bundle.id) && list.arrayValue?.first?["status"] == "running")
            let table = try await bundle.call("list").lines
            #expect(table[0].hasPrefix(bundle.runtime.name == "crun" ? "NAME" : "ID") && table[1].contains("running"))
            try await eventually("both sleeps run") {
                let pids = try JSON.decode(Array(try await bundle.call("ps", "--format", "json", bundle.id).stdout), source: "ps")
                return pids.arrayValue?.count == 2
            }
            guard bundle.runtime.name != "crun" else { return }
            let processes = try await bundle.call("ps", bundle.id).text
            #expect(processes.contains("sleep 471200") && processes.contains("sleep 471201") && processes.hasPrefix("UID"))
            let chosen = try await bundle.call("ps", bundle.id, "-o", "pid,args").lines
            #expect(chosen.count == 3 && chosen[0].contains("PID"))
        }
    }

    @Test func killAllReachesEveryProcess() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["args": ["/bin/sh", "-c", "sleep 471203 & trap '' USR1; echo ready; wait; echo woken; sleep 471204"]]
            ])
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("ready")
            try await bundle.call("kill", "--all", bundle.id, "USR1")
            try await bundle.says("woken")
            try await bundle.call("kill", "--all", bundle.id, "9")
            try await bundle.becomes("stopped")
            if bundle.runtime.isLunette { try await bundle.call("kill", "--all", bundle.id, "9") }
        }
    }

    @Test func socketsOfAnActivationAreTold() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/bin/env"], "env": ["PATH=/bin", "LISTEN_FDS=9"]]])
            try bundle.write()
            let line = "exec \(bundle.runtime.path) --root \(bundle.root) run --bundle \(bundle.folder) \(bundle.id)"
            let told = try await Command.shell("LISTEN_FDS=2 LISTEN_PID=$$ \(line) 3</etc/hostname 4</etc/passwd").run().text
            let names = told.split(separator: "\n").filter { $0.hasPrefix("LISTEN_") }.suffix(2)
            #expect(names == ["LISTEN_FDS=2", "LISTEN_PID=1"], "\(told)")
            // Meant for another process.
            let other = try await Command.shell("LISTEN_FDS=2 LISTEN_PID=1 \(line) 3</etc/hostname 4</etc/passwd").run().text
            #expect(!other.contains("LISTEN_PID"), "\(other)")
        }
    }

    /// By name a program opens its pipe as its own user; what it was given of the host's files it has by descriptor alone.
    @Test(.enabled(if: OCIRuntime.underTest.isLunette, "runc gives files away as well"))
    func streamsThatAreFilesStayWhoseTheyAre() async throws {
        try await withBundle { bundle in
            let input = try bundle.makeFile("input", "given")
            let output = try bundle.makeFile("output")
            bundle.change(["process": ["user": ["uid": 1234, "gid": 1234]]])
            bundle.shell("cat; echo again > /dev/stderr")
            try bundle.write()
            let line = "\(bundle.runtime.path) --root \(bundle.root)"
            let ran = try await Command.shell("\(line) run --bundle \(bundle.folder) \(bundle.id) < \(input) 2>&1 > \(output) | cat").run()
            #expect(bundle.file("output") == "given" && ran.text == "again", "\(ran.text)")
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            try await Command.shell("\(line) exec \(bundle.id) /bin/cat < \(input) > \(output)").run()
            for path in [input, output] { #expect(try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? Int == 0) }
        }
    }

    @Test func preservedDescriptorsAreThePrograms() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "fds"]]])
            try bundle.write()
            let line = "\(bundle.runtime.path) --root \(bundle.root) run --preserve-fds 2 --bundle \(bundle.folder) \(bundle.id)"
            let seen = ProbeAnswers(try await Command.shell("exec 3</etc/hostname 4</etc/passwd 5</etc/group; \(line)").run())
            #expect(seen.all("fd").map { $0.prefix { $0 != " " } }.filter { ["3", "4", "5"].contains($0) } == ["3", "4"], "\(seen)")
            let none = ProbeAnswers(
                try await Command.shell(
                    "exec 3</etc/hostname 4</etc/passwd; \(line.replacingOccurrences(of: "--preserve-fds 2 ", with: ""))"
                ).run())
            #expect(!none.all("fd").contains { $0.hasPrefix("3 ") || $0.hasPrefix("4 ") }, "\(none)")
        }
    }
}
