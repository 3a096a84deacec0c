import ArgumentParser
import Foundation
import LunetteSpec
import LunetteTesting
import Testing

@testable import lunette

/// The flags of `run` as the contract's spec.
@Suite struct ContainerOptionsTests {
    private func spec(_ arguments: String...) throws -> Value { try spec(arguments) }

    private func spec(_ arguments: [String]) throws -> Value {
        let command = try #require(try RunCommand.parseAsRoot(arguments) as? RunCommand)
        return .map(try command.options.spec(try Words.image(command.words, command: "run")))
    }

    @Test func whatFollowsTheImageIsTheProgramsOwn() throws {
        #expect(try spec("redis:7") == ["image": "redis:7"])
        #expect(
            try spec("--name", "a", "redis:7", "ls", "-la", "--name", "b") == [
                "image": "redis:7", "name": "a", "args": ["ls", "-la", "--name", "b"],
            ])
        #expect(try spec("-it", "x", "sh")["tty"] == true)
        #expect(try spec("-it", "x", "sh")["stdin"] == true)
    }

    @Test func anUnknownFlagIsNotTakenForAnImage() throws {
        let error = #expect(throws: LunetteError.self) { try spec("--memry", "1g", "x") }
        #expect(error?.hint == "did you mean \"--memory\"?")
    }

    @Test func everyFlagHasItsPlaceInTheSpec() throws {
        let spec = try spec(
            "-e", "A=1", "-e", "B=x=y", "--hostname", "h", "-m", "64m", "--cpus", "1.5", "--pids-limit", "10", "--ulimit", "nofile=10:20",
            "--device",
            "/dev/fuse", "--rm", "--no-init", "-u", "1:2", "-w", "/srv", "-l", "k=v", "--entrypoint", "/e", "--read-only", "--cap-add",
            "NET_ADMIN",
            "--cap-drop", "ALL", "--security-opt", "no-new-privileges=false", "--security-opt", "seccomp=unconfined", "--stop-signal",
            "INT", "--stop-timeout",
            "3", "--network", "host", "--sysctl", "kernel.shm_rmid_forced=1", "--tmpfs", "/t:size=1m", "image", "arg")
        #expect(spec["env"] == ["A": "1", "B": "x=y"])
        #expect(spec["hostname"] == "h")
        #expect(spec["resources"] == ["memory": "64m", "cpus": 1.5, "pids": 10])
        #expect(spec["rlimits"] == ["nofile": ["soft": 10, "hard": 20]])
        #expect(spec["devices"] == [["source": "/dev/fuse"]])
        #expect(spec["remove_on_exit"] == true)
        #expect(spec["init"] == false)
        #expect(spec["user"] == "1:2")
        #expect(spec["workdir"] == "/srv")
        #expect(spec["labels"] == ["k": "v"])
        #expect(spec["entrypoint"] == ["/e"])
        #expect(spec["args"] == ["arg"])
        #expect(spec["readonly_rootfs"] == true)
        #expect(
            spec["security"] == [
                "capabilities": ["add": ["NET_ADMIN"], "drop": ["ALL"]], "no_new_privileges": false, "seccomp": "unconfined",
            ])
        #expect(spec["stop"] == ["signal": "INT", "grace_period": 3])
        #expect(spec["network"] == "host")
        #expect(spec["sysctls"] == ["kernel.shm_rmid_forced": "1"])
        #expect(spec["mounts"] == [["type": "tmpfs", "target": "/t", "options": ["size": "1m"]]])
        // All of it is what the engine decodes.
        _ = try ContainerSpec(spec, path: "spec")
    }

    @Test func whatTheContractHasNoWordForIsTheRuntimeSpecs() throws {
        let spec = try spec("--group-add", "27", "--group-add", "29", "--oom-score-adj", "-5", "--domainname", "d", "x")
        #expect(spec["oci"] == ["process": ["oomScoreAdj": -5, "user": ["additionalGids": [27, 29]]], "domainname": "d"])
        _ = try ContainerSpec(spec, path: "spec")
        #expect(try self.spec("x")["oci"] == nil)
        #expect(throws: LunetteError.self) { try self.spec("--oom-score-adj", "1001", "x") }
        #expect(throws: LunetteError.self) { try self.spec("--group-add", "70000", "x") }
        #expect(try self.spec("--group-add", "70000", "--userns", "host", "x")["oci"]?["process"]?["user"]?["additionalGids"] == [70000])
        let named = #expect(throws: LunetteError.self) { try self.spec("--group-add", "audio", "x") }
        #expect(named?.code == .unsupported && named?.hint?.contains("its number") == true)
    }

    @Test func anAmountBelowZeroIsNoOption() throws {
        #expect(try spec("--pids-limit", "-1", "--memory-swap", "-1", "x")["resources"] == ["pids": -1, "memory_swap": -1])
        let update = try #require(
            try UpdateCommand.parseAsRoot(["--pids-limit", "-1", "--cpu-quota", "-1", "--memory-swap", "-1", "x"]) as? UpdateCommand)
        #expect(update.pidsLimit == -1 && update.cpuQuota == -1 && update.memorySwap == "-1" && update.container == ["x"])
    }

    @Test func processorTimeAsDockerWroteIt() throws {
        #expect(try spec("--cpu-quota", "50000", "--cpu-period", "25000", "x")["resources"] == ["cpus": 2.0])
        #expect(throws: LunetteError.self) { try spec("--cpu-period", "1000", "x") }
    }

    @Test func labelsComeFromAFileToo() throws {
        let file = "/tmp/lunette-labels.\(UInt64.random(in: 0...UInt64.max))"
        try "# mine\na=1\nb=2\nbare\n".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        #expect(try spec("--label-file", file, "-l", "b=3", "x")["labels"] == ["a": "1", "b": "3", "bare": ""])
    }

    /// docs/compat.md lists them.
    @Test func dockersOptionsThatAreNotBuiltSayWhatToDo() throws {
        let page = try String(contentsOfFile: "\(LunetteHome.package)/docs/compat.md", encoding: .utf8)
        for option in [
            "publish", "expose", "ip", "ip6", "link-local-ip", "mac-address", "network-alias", "link", "add-host", "dns-search",
            "dns-option", "uts",
            "cgroupns", "cgroup-parent", "device-cgroup-rule", "device-read-bps", "device-read-iops", "device-write-bps",
            "device-write-iops",
            "blkio-weight-device", "memory-swappiness", "kernel-memory", "cpu-rt-period", "cpu-rt-runtime", "gpus",
            "storage-opt",
            "volumes-from", "volume-driver", "annotation", "log-driver", "runtime",
        ] {
            let error = #expect(throws: LunetteError.self) { try spec("--\(option)", "host", "x") }
            #expect(
                error?.code == .unsupported && error?.message.hasPrefix("use --\(option)") == true && error?.hint != nil,
                "\(option): \(String(describing: error))")
            #expect(page.contains("`--\(option)`"), "\(option) isn't in docs/compat.md")
        }
        for words in [["--publish-all"], ["--security-opt", "apparmor=x"]] {
            let error = #expect(throws: LunetteError.self) { try spec(words + ["x"]) }
            #expect(error?.message.hasPrefix("use " + words[0]) == true && error?.hint != nil, "\(words)")
        }
        #expect(throws: LunetteError.self) { try spec("--oom-kill-disable", "x") }
        #expect(try spec("--cgroupns", "private", "--log-driver", "json-file", "x") == ["image": "x"])
    }

    @Test func healthIsAskedForAsInDocker() throws {
        #expect(
            try spec("--health-cmd", "test -e /ok", "--health-interval", "3s", "--health-retries", "2", "x")["health"] == [
                "exec": ["/bin/sh", "-c", "test -e /ok"], "period": "3s", "failure_threshold": 2,
            ])
        #expect(try spec("--health-http", "8080/ready", "x")["health"] == ["http": ["port": 8080, "path": "/ready"]])
        #expect(try spec("--health-http", "8080", "x")["health"] == ["http": ["port": 8080, "path": "/"]])
        #expect(
            try spec("--health-tcp", "6379", "--on-unhealthy", "restart", "x")["health"] == [
                "tcp": ["port": 6379], "on_unhealthy": "restart",
            ])
        #expect(try spec("--no-healthcheck", "x")["health"] == false)
        #expect(try spec("x")["health"] == nil)
        for wrong in [
            ["--health-cmd", "x", "--health-tcp", "1"], ["--health-http", "/ready"], ["--health-tcp", "many"], ["--health-interval", "3s"],
            ["--no-healthcheck", "--health-cmd", "x"],
        ] {
            let error = #expect(throws: LunetteError.self) { try spec(wrong + ["x"]) }
            #expect(error?.code == .invalidArgument && error?.hint != nil, "\(wrong)")
        }
    }

    @Test func aFileOfVariablesMayHaveLineEndsOfWindows() throws {
        let file = "/tmp/lunette-env.\(UInt64.random(in: 0...UInt64.max))"
        try "A=1\r\n# none\r\n\r\nB=\u{301}2\r\n".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        #expect(try spec("--env-file", file, "-e", "C=\u{301}", "x")["env"] == ["A": "1", "B": "\u{301}2", "C": "\u{301}"])
    }

    @Test(
        arguments: [
            (" A=1\n\t# none\n \nB= 2\n", ["A": "1", "B": " 2"], nil), (" =5", [:], "\"=5\" has no name"),
            ("A =5", [:], "\"A \" can name no variable"), ("A B=5", [:], "\"A B\" can name no variable"),
        ] as [(String, ValueMap, String?)])
    func blanksInAFileOfVariablesAreNoNames(_ text: String, _ variables: ValueMap, _ message: String?) throws {
        let file = "/tmp/lunette-env.\(UInt64.random(in: 0...UInt64.max))"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        var map = ValueMap()
        do throws(LunetteError) {
            try Pairs.set(from: file, in: &map)
            #expect(message == nil && map == variables)
        } catch { #expect(error.message == message.map { "read --env-file \(file): \($0)" } && error.hint != nil, "\(error)") }
    }

    @Test func aVariableIsSetTakenFromHereOrRefused() throws {
        #expect(try spec("-e", "A B=1", "-e", "PATH", "-e", "NOT_THERE", "x")["env"]?.mapValue?.keys.sorted() == ["A B", "PATH"])
        for word in ["A B", "=x", " "] {
            let error = #expect(throws: LunetteError.self) { try spec("-e", word, "x") }
            #expect(error?.message.hasPrefix("read --env: \"\(word)\"") == true && error?.hint?.contains("NAME=VALUE") == true)
        }
    }

    @Test(arguments: [
        (UInt32(0o20600), "rwm", "read or written"), (0o20660, "r", "read"), (0o20664, "rwm", "written"), (0o20666, "rwm", nil),
        (0o20444, "rm", nil),
    ])
    func aDeviceThatNobodyMayOpenIsNamed(_ mode: UInt32, _ permissions: String, _ missing: String?) {
        let line = DeviceAccess.line("/dev/x", mode: mode, permissions: permissions)
        #expect(line.map { $0.contains("/dev/x can't be \(missing ?? "?") in the container") } ?? (missing == nil), "\(line ?? "none")")
    }

    @Test func whatOnlyRootMayDoIsNoWayOutForOthers() {
        func line(_ isPrivileged: Bool) -> String? {
            DeviceAccess.line("/dev/x", mode: 0o20600, permissions: "r", isPrivileged: isPrivileged)
        }
        #expect(line(true)?.hasSuffix("(--userns host, or chmod o+rw)") == true && line(false)?.hasSuffix(" (chmod o+rw)") == true)
    }

    @Test func limitsThatNothingHoldsAreNamedWhenTheyWereAskedFor() {
        func warnings(_ lacking: [(String, Bool)]) -> [String] {
            let records = lacking.map { ["field": .string($0.0), "why": "why", "asked": .bool($0.1)] as Value }
            return AskedLimits.warnings(["not_enforced": .array(records)])
        }
        #expect(
            warnings([("resources.memory", true), ("resources.pids", false), ("devices", true), ("security.seccomp", true)])
                == ["lunette: warning: memory is not enforced: why"])
        #expect(warnings([("resources", true)]) == ["lunette: warning: no limit is enforced: why"])
        #expect(warnings([("resources", false)]).isEmpty && AskedLimits.warnings(.null).isEmpty)
    }

    @Test(
        arguments: [
            (["reason": "time_limit", "code": 137], "c was killed: its time limit of 90s has passed (--time-limit)"),
            (
                ["reason": "oom", "oom_killed": true, "code": 137],
                "c was killed: it needed more than its memory limit of 64MiB (--memory)"
            ),
            (["reason": "oom", "oom_killed": true, "code": 0], nil), (["reason": "signal", "oom_killed": false, "code": 137], nil),
        ] as [(Value, String?)])
    func whatEndedAContainerIsOneLine(_ exit: Value, _ line: String?) {
        let limits = AskedLimits(["time_limit": "90s", "resources": ["memory": 67_108_864]])
        #expect(limits.line(exit, of: "c") == line)
        #expect(AskedLimits([:]).line(["oom_killed": true, "code": 137], of: "c")?.contains("the machine had no memory left") == true)
    }

    @Test func mountsAreReadInDockersThreeForms() throws {
        #expect(try MountOption.volume("data:/var") == ["type": "volume", "source": "data", "target": "/var"])
        #expect(try MountOption.volume("/a:/b:ro,z") == ["type": "bind", "source": "/a", "target": "/b", "readonly": true])
        #expect(try MountOption.volume("./a:/b")["source"]?.stringValue?.hasPrefix("/") == true)
        #expect(try MountOption.volume("/data") == ["type": "volume", "target": "/data"])
        #expect(
            try MountOption.mount("type=bind,src=/a,dst=/b,readonly") == ["type": "bind", "source": "/a", "target": "/b", "readonly": true])
        #expect(try MountOption.mount("type=tmpfs,target=/t,tmpfs-size=10")["options"] == ["size": 10])
        for wrong in ["a:b:c:d", ":/x", "a::b"] { #expect(throws: LunetteError.self) { try MountOption.volume(wrong) } }
        #expect(throws: LunetteError.self) { try MountOption.mount("type=bind,sorce=/a,target=/b") }
        #expect(throws: LunetteError.self) { try MountOption.mount("type=bind,source=/a") }
    }

    @Test(arguments: [
        ["-p", "80:80"], ["--ip", "1.2.3.4"], ["--network", "bridge"], ["--gpus", "all"],
        ["--storage-opt", "size=1g"],
    ])
    func whatALaterVersionBringsIsUnsupportedNotUnknown(flags: [String]) throws {
        let command = try #require(try RunCommand.parseAsRoot(flags + ["image"]) as? RunCommand)
        let error = #expect(throws: LunetteError.self) { try command.options.spec(["image"]) }
        #expect(error?.code == .unsupported)
    }

    @Test func anImageForAnotherPlatformIsNotTakenInSilence() throws {
        let arm = try Platform("linux/arm64")
        let intel = try Platform("linux/amd64")
        func reason(_ when: String, _ wanted: Platform?, isHere: Bool, own: Platform? = nil) throws -> String? {
            try ImagePull.reason(toPull: "x:1", when: when, wanted: wanted, isHere: isHere, own: own)
        }
        #expect(try reason("missing", intel, isHere: true, own: intel) == nil)
        #expect(try reason("missing", nil, isHere: true) == nil)
        #expect(try reason("missing", arm, isHere: true, own: intel) == "image x:1 is here for linux/amd64: pulling it for linux/arm64")
        #expect(try reason("missing", nil, isHere: false) == "image x:1 is not here: pulling it")
        #expect(try reason("always", nil, isHere: true) == "pulling image x:1")
        #expect(try reason("never", intel, isHere: true, own: intel) == nil)
        #expect(try reason("never", arm, isHere: false) == nil)
        let error = #expect(throws: LunetteError.self) { try reason("never", arm, isHere: true, own: intel) }
        #expect(error?.message == "image x:1 is here for linux/amd64, not for linux/arm64" && error?.path == "--platform")
    }

    /// Fields come with and without the argument's name, as the registry or the decoder finds the mistake.
    @Test(arguments: [
        ("workdir", "--workdir rel"), ("spec.workdir", "--workdir rel"), ("remove_on_exit", "--rm"), ("resources.memory", "--memory 64q"),
        ("resources.memory_swap", "--memory-swap"), ("stop.signal", "--stop-signal FOO"), ("security.capabilities.add[2]", "--cap-add FOO"),
        ("dns[1]", "--dns 1.1.1.1"), ("env.A", "--env A=1"), ("rlimits.nofile", "--ulimit nofile=9"),
        ("mounts[1].target", "--volume /a:/b"),
        ("security.seccomp", "--security-opt seccomp"), ("resources.oom", "--oom"), ("spec.args", "spec.args"),
    ])
    func errorsNameTheOption(_ field: String, _ option: String) throws {
        let words = [
            "--workdir", "rel", "--rm", "--memory", "64q", "--stop-signal", "FOO", "--cap-add", "CHOWN", "--cap-add", "FOO", "--dns",
            "1.1.1.1",
            "-e", "A=1", "--ulimit", "nofile=9", "-v", "/a:/b", "x",
        ]
        let command = try #require(try RunCommand.parseAsRoot(words) as? RunCommand)
        #expect(command.options.named(LunetteError(.invalidArgument, "no", path: field)).path == option)
        #expect(command.options.named(LunetteError(.notFound, "no", path: "spec.image")).path == nil)
        let update = OptionNames.named(LunetteError(.invalidArgument, "no", path: field)).path
        #expect(option.hasPrefix(update ?? "?") || field.contains("mounts"))
    }

    @Test func aVolumesTargetIsAPathInTheContainer() {
        for text in ["x", "a:b"] {
            let error = #expect(throws: LunetteError.self) { try MountOption.volume(text) }
            #expect(error?.message.hasPrefix("read --volume \"\(text)\"") == true && error?.hint?.contains("SOURCE:TARGET") == true)
        }
    }

    @Test func filtersAreDockersWords() throws {
        func read(_ filters: String...) throws -> ValueMap {
            var arguments = ValueMap()
            try Filters.read(filters, into: &arguments, known: ["label", "status", "name", "dangling"])
            return arguments
        }
        #expect(try read("label=app", "label=b=", "label=c=d=e")["labels"] == ["app": .null, "b": "", "c": "d=e"])
        #expect(try read("status=exited", "status=restarting")["status"] == ["stopped", "restarting"])
        #expect(try read("dangling=True")["dangling"] == true && read("dangling=0")["dangling"] == false)
        #expect(throws: LunetteError.self) { try read("dangling=maybe") }
        let unknown = #expect(throws: LunetteError.self) { try read("status=foo") }
        #expect(unknown?.hint?.hasSuffix("stopped, exited, restarting") == true)
        #expect(throws: LunetteError.self) { try read("sttus=running") }
    }

    @Test func restartPoliciesAreDockersWords() throws {
        #expect(try RestartOption.read("no") == "never")
        #expect(try RestartOption.read("unless-stopped") == "always")
        #expect(try RestartOption.read("on-failure:3") == ["policy": "on_failure", "max_attempts": 3])
        for wrong in ["sometimes", "on-failure:0", "always:2"] { #expect(throws: LunetteError.self) { try RestartOption.read(wrong) } }
    }

    @Test func detachKeysAreRead() throws {
        #expect(try DetachKeys.read(nil) == [0x10, 0x11])
        #expect(try DetachKeys.read("ctrl-a,x") == [0x01, 0x78])
        #expect(try DetachKeys.read("") == [])
        #expect(throws: LunetteError.self) { try DetachKeys.read("alt-x") }
    }
}
