import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// What `lunette-oci` says of a configuration that the kernel or the container doesn't take: which field it is, counted from 0 as JSON does.
@Suite(.runtimeUnderTest) struct RuntimeErrorTests {
    @Test(
        arguments: [
            (["destination": "/mnt", "type": "tmpfs", "options": ["nosuid", "size=abc"]], "mounts[4].options: mount size"),
            (["destination": "/mnt", "type": "no-such-fs"], "mounts[4].type: mount /mnt: the kernel has no file system no-such-fs"),
            (["destination": "/mnt", "type": "bind", "source": "/no/such", "options": ["bind"]], "mounts[4].source: open-tree /no/such"),
            (["destination": "/probe/x", "type": "tmpfs"], "mounts[4].destination: mount /probe/x"),
            (
                ["destination": "/tmp", "type": "bind", "source": "/etc/passwd", "options": ["bind"]],
                "mounts[4].destination: attach /tmp: its source is a file, and a folder is there: not a directory"
            ),
            (
                ["destination": "/probe", "type": "bind", "source": "/etc", "options": ["bind"]],
                "mounts[4].destination: attach /probe: its source is a folder, and a file is there: not a directory"
            ),
            (
                ["destination": "/proc", "type": "bind", "source": "/etc", "options": ["bind"]],
                "mounts[4].destination: attach /proc: nothing but a proc file system may cover /proc: operation not permitted"
            ),
        ] as [(Value, String)])
    func aMountThatFailsIsNamed(_ mount: Value, _ words: String) async throws {
        try await withBundle { bundle in
            bundle.mount(mount)
            try await bundle.refusal(mentioning: words)
        }
    }

    /// Clocks that would be before the machine's start, or beyond what there is.
    @Test(arguments: [("monotonic", -99_999_999), ("boottime", -99_999_999), ("monotonic", 99_999_999_999)])
    func timeOffsetsThatTheKernelRefusesAreNamed(_ clock: String, _ seconds: Int64) async throws {
        try await withBundle { bundle in
            bundle.namespace(["type": "time"])
            bundle.change(["linux": ["timeOffsets": [clock: ["secs": .int(seconds)]]]])
            try await bundle.refusal(
                mentioning: "linux.timeOffsets: time-offsets /proc/self/timens_offsets (write): numerical result out of range")
        }
    }

    /// Kubernetes' engines send all that a container has with each update; whoever wants another device hears that it gets none.
    @Test func anUpdateOfDevicesSaysThatItIsNone() async throws {
        try await withBundle { bundle in
            let own: Value = [["allow": false, "access": "rwm"], ["allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"]]
            bundle.change(["process": ["args": ["/probe", "pause"]], "linux": ["resources": ["devices": own]]])
            try await bundle.create()
            for (devices, words) in [(own, ""), ([["allow": true, "access": "rwm"]], "resources.devices is ignored"), ([], "")]
                as [(Value, String)]
            {
                let file = "\(bundle.folder)/resources.json"
                try Data(JSON.encode(["devices": devices]).utf8).write(to: URL(fileURLWithPath: file))
                let said = try await bundle.call("update", "-r", file, bundle.id).errorText
                #expect(words.isEmpty ? said.isEmpty : said.contains(words), "\(said)")
            }
        }
    }

    @Test(
        arguments: [
            (["process": ["cwd": "/probe"]], "process.cwd: "),
            (["linux": ["sysctl": ["kernel.shmmax": "abc"]]], "linux.sysctl.kernel.shmmax: "),
            (["linux": ["devices": [["path": "/probe/x", "type": "c", "major": 1, "minor": 3]]]], "linux.devices[0]: "),
            (
                ["process": ["user": ["username": "nobodyx"]]],
                "process.user: find the user nobodyx: it isn't in the container's /etc/passwd"
            ),
        ] as [(Value, String)])
    func aSettingThatFailsIsNamed(_ change: Value, _ words: String) async throws {
        try await withBundle { bundle in
            bundle.change(change)
            try await bundle.refusal(mentioning: words)
        }
    }

    @Test func foldersTooDeepToBeCopiedUpAreTold() async throws {
        try await withBundle { bundle in
            let deep = "\(bundle.rootfs)/up" + String(repeating: "/d", count: 70)
            try FileManager.default.createDirectory(atPath: deep, withIntermediateDirectories: true)
            bundle.mount(["destination": "/up", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]])
            let said = try await bundle.refusal(mentioning: "mounts[4].destination: mount ")
            if bundle.runtime.isLunette { #expect(said.contains("what lies there has more than 64 folders within each other"), "\(said)") }
        }
    }

    /// The kernel's own bound for descriptors is below this (fs.nr_open), also for root.
    @Test func aLimitThatTheKernelRefusesIsNamed() async throws {
        let limits: Value = [
            ["type": "RLIMIT_CORE", "soft": 0, "hard": 0], ["type": "RLIMIT_NOFILE", "soft": 2_000_000_000, "hard": 2_000_000_000],
        ]
        try await withBundle { bundle in
            bundle.change(["process": ["rlimits": limits]])
            let said = try await bundle.refusal(mentioning: "process.rlimits[1]: ")
            if bundle.runtime.isLunette { #expect(said.contains("rlimits RLIMIT_NOFILE (prlimit): operation not permitted")) }
        }
    }

    @Test func aNamespaceOfAnotherKindIsNamed() async throws {
        for (type, path, words) in [
            ("network", "/proc/self/ns/uts", "join /proc/self/ns/uts: it is no network namespace"),
            ("uts", "/etc/hostname", "join /etc/hostname: it is no uts namespace"),
        ] {
            try await withBundle { bundle in
                bundle.withoutNamespace(type)
                bundle.namespace(["type": .string(type), "path": .string(path)])
                try await bundle.refusal(mentioning: ".path: \(words)")
            }
        }
    }

    /// Who is a number needs no file to be told by; a name does.
    @Test(arguments: [["masked"], ["masked", "HOME"], ["bound"], ["bound", "HOME"]])
    func aPasswdFileThatIsNoneHoldsUpNamesOnly(_ how: [String]) async throws {
        try await withBundle { bundle in
            try FileManager.default.createDirectory(atPath: "\(bundle.rootfs)/etc", withIntermediateDirectories: true)
            try "root:x:0:7::/elsewhere:/bin/sh\n".write(toFile: "\(bundle.rootfs)/etc/passwd", atomically: true, encoding: .utf8)
            if how.contains("masked") {
                bundle.change(["linux": ["maskedPaths": ["/etc/passwd"]]])
            } else {
                bundle.mount(["destination": "/etc/passwd", "type": "bind", "source": "/dev/null", "options": ["bind"]])
            }
            let home = how.contains("HOME")
            bundle.change(["process": ["user": ["uid": 0, "gid": 0], "env": home ? ["HOME=/given"] : []]])
            #expect(try await bundle.run("env").all("env").filter { $0.hasPrefix("HOME=") } == [home ? "HOME=/given" : "HOME=/"])
            if bundle.runtime.isLunette {
                bundle.change(["process": ["user": ["uid": nil, "gid": nil, "username": "root"]]])
                let said = try await bundle.refusal(mentioning: "find the user: the container's /etc/passwd is no regular file")
                #expect(!said.contains("expect"))
            }
        }
    }

    /// A terminal takes them for commands.
    @Test(.enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own words"))
    func statesSendNoControlCharacters() async throws {
        try await withBundle { bundle in
            bundle.change(["annotations": ["a": "\u{9b}31m\u{202e}", "b": "ä"], "process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            for words in [["state", bundle.id], ["list", "--format", "json"]] {
                let said = try await bundle.runtime.command(root: bundle.root, words).run().text
                #expect(said.contains("\\u009b31m\\u202e") && said.contains("ä"), "\(said)")
            }
            #expect(try await bundle.state()["annotations"]?["a"] == "\u{9b}31m\u{202e}")
        }
    }

    /// Opened as other files are, a pipe keeps whoever opens it waiting for its other end.
    @Test func aPipeInPlaceOfANamespaceIsRefused() async throws {
        try await withBundle { bundle in
            let pipe = "\(bundle.folder)/pipe"
            try #require(mkfifo(pipe, 0o600) == 0)
            bundle.withoutNamespace("uts")
            bundle.namespace(["type": "uts", "path": .string(pipe)])
            try await bundle.refusal(mentioning: "linux.namespaces[4].path: ")
        }
    }

    /// Every cgroup has files of these names, so nothing can be made there, nor taken away.
    @Test(arguments: ["/cgroup.procs", "/cgroup.procs/below"]) func aFileInPlaceOfACgroupLeavesNothingHalf(_ path: String) async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["cgroupsPath": .string(path)]])
            try await bundle.refusal(mentioning: "cgroup.procs")
        }
    }

    @Test func aSmallLimitOfDescriptorsIsEnough() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "ids"], "rlimits": []]])
            try bundle.write()
            let runtime = bundle.runtime
            try await Command(
                "/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh", runtime.path, "--root", bundle.root, "run", "--bundle", bundle.folder,
                bundle.id
            ).run()
        }
    }

    /// What the bundle says is quoted in the error, which goes to a terminal and into a log.
    @Test(
        arguments: [
            ["process": ["args": ["/probe/\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r\nx"]]],
            ["linux": ["namespaces": [["type": "\u{1b}c\r\nx"]]]],
            ["linux": ["seccomp": ["defaultAction": "\u{1b}c\u{9b}31m\r\nx"]]],
            ["linux": ["sysctl": ["net.\u{1b}c\u{9b}31m\r\nx": "1"]]],
        ] as [Value])
    func whatABundleSaysCannotWriteToTheTerminal(_ change: Value) async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            bundle.change(change)
            let log = "\(bundle.folder)/log"
            try bundle.write()
            let made = try await bundle.call("--log", log, "create", "--bundle", bundle.folder, bundle.id, expecting: nil)
            #expect(made.code != 0 && made.errorText.contains("\\x1b"))
            let logged = try String(contentsOfFile: log, encoding: .utf8)
            for text in [made.errorText, logged] {
                let written = text.unicodeScalars.filter { ControlCharacters.contains($0) && $0 != "\n" }
                #expect(written.isEmpty && text.unicodeScalars.filter { $0 == "\n" }.count <= 2)
            }
        }
    }

    @Test(arguments: ["/no/such", "/proc/self/ns/net"]) func aNamespaceThatCannotBeJoinedIsNamed(_ path: String) async throws {
        try await withBundle { bundle in
            bundle.withoutNamespace("uts")
            bundle.namespace(["type": "uts", "path": .string(path)])
            try await bundle.refusal(mentioning: "linux.namespaces[4].path: ")
        }
    }

    @Test func theLogIsMadeAndSaysWhatIsDoneIfAsked() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            let log = "\(bundle.folder)/log"
            bundle.change(["process": ["args": ["/bin/true"]]])
            try bundle.write()
            try await bundle.call("--log", log, "list")
            #expect(bundle.file("log") == "")
            try await bundle.call("--log", log, "--debug", "create", "--bundle", bundle.folder, bundle.id)
            try await bundle.call("--log", log, "--debug", "start", bundle.id)
            try await bundle.becomes("stopped")
            try await bundle.call("--log", log, "--log-format", "json", "--debug", "delete", bundle.id)
            let lines = bundle.file("log")
            for words in ["create \(bundle.id) (pid", "config.json of bundle", "created: pid 1 is", "the gate is open"] {
                #expect(lines.contains("level=debug msg=") && lines.contains(words), "\(words): \(lines)")
            }
            let last = try JSON.decode(Array((lines.split(separator: "\n").last ?? "").utf8), source: "log")
            #expect(last["level"] == "debug" && last["msg"]?.stringValue?.hasPrefix("deleted: ") == true)
        }
    }

    /// Whoever asks for a log relies on it: nothing is done that couldn't be told of.
    @Test func aLogThatCannotBeWrittenFails() async throws {
        try await withBundle { bundle in
            let refused = try await bundle.call("--log", "/no/such/log", "list", expecting: 1)
            if bundle.runtime.isLunette {
                #expect(refused.errorText.contains("--log: open /no/such/log: no such file or directory\nhint: "))
            }
        }
    }

    @Test func anUnknownUserOfAnExecIsTheOptions() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let user = try await bundle.call("exec", "--user", "nobodyx", bundle.id, "/probe", "ids", expecting: 1)
            #expect(user.errorText.contains("--user: find the user nobodyx: it isn't in the container's /etc/passwd"))
            let group = try await bundle.call("exec", "--user", "0:nogroupx", bundle.id, "/probe", "ids", expecting: 1)
            #expect(group.errorText.contains("--user: find the group nogroupx: it isn't in the container's /etc/group"))
            let folder = try await bundle.call("exec", "--cwd", "/probe", bundle.id, "/probe", "ids", expecting: 1)
            #expect(folder.errorText.contains("--cwd: working-directory /probe"))
        }
    }

    // MARK: a launch that ends early

    @Test func aMemoryLimitThatIsTooLowForTheLaunchIsNamed() async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["resources": ["memory": ["limit": 1000]]]])
            let said = try await bundle.refusal(mentioning: "linux.resources.memory.limit: ")
            if bundle.runtime.isLunette { #expect(said.contains("killed for want of memory") && said.contains("hint: "), "\(said)") }
        }
    }

    @Test func whoKillsPidOneDuringTheLaunchIsNotTakenForAnError() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            let script = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); kill -KILL $pid"
            bundle.change(["hooks": ["createRuntime": [["path": "/bin/bash", "args": ["bash", "-c", .string(script)]]]]])
            try await bundle.refusal(mentioning: "pid 1 was killed by SIGKILL before its program could run")
        }
    }

    // MARK: what is ignored

    @Test func whatIsNotKnownIsIgnoredAndSaidOnceInTheLog() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            bundle.change(["proces": 1, "process": ["capabilities": ["bounding": ["CAP_CHOWNN"]], "args": ["/probe", "ids"]]])
            let said = try await bundle.run().errorText
            #expect(said.contains("lunette-oci: warning: proces: not known and ignored (did you mean \"process\"?)"), "\(said)")
            #expect(said.contains("CAP_CHOWNN (did you mean CAP_CHOWN?)"), "\(said)")
            // Engines give a log, and read what a command writes.
            let log = "\(bundle.folder)/log.json"
            let quiet = try await bundle.call("--log", log, "--log-format", "json", "run", "--bundle", bundle.folder, bundle.id)
            #expect(quiet.errorText.isEmpty, "\(quiet.errorText)")
            let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
            #expect(
                lines.filter { $0.contains("proces: not known") }.count == 1 && lines.allSatisfy { $0.contains("\"warning\"") }, "\(lines)")
        }
    }
}
