import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

/// Filters as the kernel carries them out, in real containers. x86-64's numbers: 110 getppid, 83 mkdir, 39 getpid, 102 getuid.
@Suite(
    "Seccomp profiles do what they say", .serialized,
    .requires(.root, .overlay, .userNamespaces, .seccomp, .file("/bin/busybox"), .command("gcc"), .architecture("amd64")))
struct ShimSeccompTests {
    private static func harness() async throws -> ShimHarness {
        let probe = try await CProbe.seccomp.path()
        let harness = try ShimHarness()
        try FileManager.default.copyItem(atPath: probe, toPath: "\(harness.store)/layer/bin/probe")
        return harness
    }

    private static func profile(_ text: String) throws -> SeccompProfile {
        try SeccompProfile(try JSON.decode(Array(text.utf8), source: "profile"), dialect: .oci)
    }

    private static func everythingBut(_ name: String, _ action: String, _ more: String = "") -> String {
        #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["\#(name)"],"action":"\#(action)"\#(more)}]}"#
    }

    /// The plan of the probe under a profile.
    private static func plan(
        _ harness: ShimHarness, _ profile: SeccompProfile, _ arguments: [String], listener: String? = nil, initProcess: Bool = true,
        change: (inout ProcessPlan) -> Void = { _ in }
    ) throws -> LaunchPlan {
        let spec = RuntimeSpec.bundle(profile)
        let program = try SeccompCompiler(cacheDirectory: nil).program(for: spec)
        return harness.plan(
            ["/bin/probe"] + arguments,
            process: {
                $0.seccompProgram = program.bytes
                $0.seccompFlags = program.flags
                $0.seccompListener = SeccompListenerPlan(spec, containerID: "c1", bundle: "/bundle", status: .creating)
                change(&$0)
            }, monitor: MonitorPlan(initProcess: initProcess))
    }

    private func run(_ profile: String, _ arguments: String...) async throws -> ShimHarness.Outcome {
        let harness = try await Self.harness()
        return try harness.run(try Self.plan(harness, try Self.profile(profile), arguments))
    }

    @Test(arguments: [
        ("SCMP_ACT_ERRNO", "", "110 errno 1"), ("SCMP_ACT_ERRNO", #","errnoRet":95"#, "110 errno 95"),
        // Nobody traces: the kernel answers ENOSYS.
        ("SCMP_ACT_TRACE", "", "110 errno 38"), ("SCMP_ACT_LOG", "", "110 value "), ("SCMP_ACT_ALLOW", "", "110 value "),
        ("SCMP_ACT_KILL", "", "110 killed 31"), ("SCMP_ACT_KILL_THREAD", "", "110 killed 31"),
        ("SCMP_ACT_KILL_PROCESS", "", "110 killed 31"), ("SCMP_ACT_TRAP", "", "110 killed 31"),
    ])
    func everyActionIsCarriedOut(_ action: String, _ more: String, _ expected: String) async throws {
        let outcome = try await run(Self.everythingBut("getppid", action, more), "call", "110")
        #expect(outcome.stdout.hasPrefix(expected), "\(outcome.stdout) \(outcome.stderr)")
    }

    @Test func aTrapIsAHandlersToCatch() async throws {
        #expect(try await run(Self.everythingBut("getppid", "SCMP_ACT_TRAP"), "trap", "110").stdout == "trapped 110\n")
    }

    @Test func killingAThreadLeavesTheProcessAndKillingTheProcessDoesNot() async throws {
        let thread = try await run(Self.everythingBut("getppid", "SCMP_ACT_KILL_THREAD"), "thread", "110")
        #expect(thread.stdout == "survived\n")
        let process = try await run(Self.everythingBut("getppid", "SCMP_ACT_KILL_PROCESS"), "thread", "110")
        #expect(process.exit.signal == 31 && process.stdout.isEmpty)
    }

    @Test func argumentsAreCompared() async throws {
        // lseek(fd, offset, whence): only with whence 7.
        let profile = Self.everythingBut(
            "lseek", "SCMP_ACT_ERRNO", #","errnoRet":77,"args":[{"index":2,"value":7,"op":"SCMP_CMP_EQ"}]"#)
        #expect(try await run(profile, "call", "8", "-1", "0", "7").stdout == "8 errno 77\n")
        #expect(try await run(profile, "call", "8", "-1", "0", "0").stdout == "8 errno 9\n")
    }

    @Test func theOldABIRunsOnlyWhereItIsListed() async throws {
        func profile(_ architectures: String) -> String {
            #"{"defaultAction":"SCMP_ACT_ALLOW","architectures":[\#(architectures)],"syscalls":[{"names":["getuid"],"action":"SCMP_ACT_ERRNO","errnoRet":66}]}"#
        }
        #expect(try await run(profile(""), "i386", "20").stdout == "20 killed 31\n")
        #expect(try await run(profile(#""SCMP_ARCH_X86_64""#), "i386", "20").stdout == "20 killed 31\n")
        let both = #""SCMP_ARCH_X86_64","SCMP_ARCH_X86""#
        let listed = try await run(profile(both), "i386", "20").stdout
        undefended("where it is listed it runs", listed.hasPrefix("20 value "), listed)
        #expect(try await run(profile(both), "i386", "24").stdout == "24 errno 66\n", "getuid, by i386's number")
        #expect(try await run(profile(both), "call", "102").stdout == "102 errno 66\n")
    }

    @Test func flagsAreTheKernels() async throws {
        let harness = try await Self.harness()
        let profile = try Self.profile(
            #"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"syscalls":[{"names":["getppid"],"action":"SCMP_ACT_ERRNO"}]}"#
        )
        let plan = try Self.plan(harness, profile, ["call", "110"])
        #expect(plan.process.seccompFlags == 7, "the last is for listeners alone")
        #expect(try harness.run(plan).stdout == "110 errno 1\n")
    }

    // MARK: listeners

    private static let notifying = everythingBut("getppid", "SCMP_ACT_NOTIFY")

    private func withListener(_ answers: [String], _ body: (ShimHarness, String, RunningCommand) async throws -> Void) async throws {
        let harness = try await Self.harness()
        // Longer than a socket's address may be, reached by a link.
        let folder = "\(harness.folder)/\(String(repeating: "long", count: 30))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let short = "\(harness.folder)/l"
        try FileManager.default.createSymbolicLink(atPath: short, withDestinationPath: folder)
        let listener = try Command([try await CProbe.seccomp.path(), "listen", "\(short)/s"] + answers).start()
        defer { listener.signal(SIGKILL) }
        try await listener.says("ready")
        try await body(harness, "\(folder)/s", listener)
    }

    private static func notify(_ names: [String], _ path: String, metadata: String = "told \\\"so\\\"") throws -> SeccompProfile {
        let list = names.map { #""\#($0)""# }.joined(separator: ",")
        return try profile(
            #"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"\#(path)","listenerMetadata":"\#(metadata)","syscalls":[{"names":[\#(list)],"action":"SCMP_ACT_NOTIFY"}]}"#
        )
    }

    @Test(arguments: [true, false], [true, false])
    func aListenerAnswersForTheKernel(noNewPrivileges: Bool, initProcess: Bool) async throws {
        try await withListener(["110=4242"]) { harness, path, listener in
            let profile = try Self.notify(["getppid"], path)
            let plan = try Self.plan(harness, profile, ["call", "110"], initProcess: initProcess) { $0.noNewPrivileges = noNewPrivileges }
            let (out, error) = (try ShimHarness.pipe(), try ShimHarness.pipe())
            try harness.spawn(plan)
            // The state is out before the container counts as created.
            let created = try harness.created()
            try await listener.says("state ")
            try harness.start(LNT_HAS_STDOUT, LNT_HAS_STDERR, LNT_BACK_PRESSURE, fds: [out.write, error.write])
            close(out.write)
            close(error.write)
            let text = ShimHarness.readAll(out.read)
            #expect(text == "110 value 4242\n", "\(ShimHarness.readAll(error.read))")
            #expect(try harness.exited().code == 0)
            try await listener.says("notified 110")
            try await listener.says("ended")
            let line = try #require(listener.text.split(separator: "\n").first { $0.hasPrefix("state ") })
            let state = try JSON.decode(Array(line.dropFirst(6).utf8), source: "state")
            #expect(state["ociVersion"]?.stringValue == RuntimeSpec.version)
            #expect(state["fds"] == ["seccompFd"])
            #expect(state["pid"]?.intValue == Int64(created.program_pid))
            #expect(state["metadata"]?.stringValue == "told \"so\"")
            #expect(state["state"]?["id"]?.stringValue == "c1")
            #expect(state["state"]?["status"]?.stringValue == "creating")
            #expect(state["state"]?["pid"]?.intValue == Int64(created.program_pid))
            #expect(state["state"]?["bundle"]?.stringValue == "/bundle")
            #expect(state["state"]?["annotations"]?["a"]?.stringValue == "b")
        }
    }

    /// Calls that the runtime itself makes after the filter was loaded are answered too: setuid, capset, chdir, the read at the gate, execve.
    @Test(arguments: [true, false])
    func theRuntimesOwnCallsAreAnsweredToo(noNewPrivileges: Bool) async throws {
        try await withListener([]) { harness, path, listener in
            let profile = try Self.notify(
                [
                    "getppid", "setresuid", "setresgid", "setgroups", "capset", "prctl", "read", "execve", "sendmsg", "close_range",
                    "exit_group",
                ],
                path)
            let outcome = try harness.run(
                try Self.plan(harness, profile, ["call", "110"]) {
                    $0.noNewPrivileges = noNewPrivileges
                    $0.user = "bob"
                })
            #expect(outcome.stdout.hasPrefix("110 value "), "\(outcome.stdout) \(outcome.stderr)")
            try await listener.says("notified 59 ")
            if !noNewPrivileges { try await listener.says("notified 126 ") }
        }
    }

    @Test func anExecHasAListenerOfItsOwn() async throws {
        try await withListener(["110=77"]) { harness, path, listener in
            let profile = try Self.notify(["getppid"], path)
            try harness.spawn(try Self.plan(harness, profile, ["listen", "/tmp/s"]))
            try harness.start()
            let started = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self)
            let spec = RuntimeSpec.bundle(profile)
            let program = try SeccompCompiler(cacheDirectory: nil).program(for: spec)
            var process = ProcessPlan(
                arguments: ["/bin/probe", "call", "110"], environment: ["PATH=/bin"], seccompProgram: program.bytes,
                seccompFlags: program.flags)
            process.seccompListener = SeccompListenerPlan(spec, containerID: "c1", bundle: "/bundle", status: .running)
            let out = try ShimHarness.pipe()
            var message = lnt_attach()
            message.message = harness.header(LNT_MSG_EXEC)
            message.flags = LNT_HAS_STDOUT.rawValue
            let plan = try SealedMemory.make("exec", try ExecPlan(process: process).encoded())
            try harness.send(message, [plan.number, out.write])
            close(out.write)
            #expect(ShimHarness.readAll(out.read) == "110 value 77\n")
            try await listener.says("\"running\"")
            let states = try listener.text.split(separator: "\n").filter { $0.hasPrefix("state ") }.map {
                try JSON.decode(Array($0.dropFirst(6).utf8), source: "state")
            }
            #expect(states.count == 2)
            #expect(states[1]["state"]?["pid"]?.intValue == Int64(started.program_pid), "the container's")
            #expect(states[1]["pid"]?.intValue != Int64(started.program_pid), "the exec's own")
            try harness.signal(SIGKILL, everyone: true)
            _ = try harness.exited()
        }
    }

    @Test func aListenerThatIsNotThereFailsTheCreate() async throws {
        for path in ["/run/lunette-nobody-listens-here", "/etc/passwd"] {
            let harness = try await Self.harness()
            try harness.spawn(try Self.plan(harness, try Self.notify(["getppid"], path), ["call", "110"]))
            let failure = try harness.failure()
            #expect(failure.step == .seccompListener)
            #expect(failure.call == "connect" && failure.path == path)
            #expect(failure.errno == (path == "/etc/passwd" ? ECONNREFUSED : ENOENT))
        }
    }

    @Test func profilesThatCannotBeHandedOverAreRefused() throws {
        func path(_ change: Value) -> String? {
            var base: Value = [
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [["names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"]],
            ]
            base = base.merged(with: change)
            do throws(LunetteError) {
                _ = try SeccompProfile(base, path: "linux.seccomp", dialect: .oci)
                return nil
            } catch { return error.path }
        }
        #expect(path([:]) == nil)
        #expect(path(["defaultAction": "SCMP_ACT_NOTIFY"]) == "linux.seccomp.defaultAction")
        #expect(path(["listenerPath": ""]) == "linux.seccomp.listenerPath")
        #expect(path(["listenerPath": "relative"]) == "linux.seccomp.listenerPath")
        #expect(
            path(["syscalls": [["names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"]]]) == "linux.seccomp.syscalls[0].names[1]")
        #expect(
            path(["syscalls": [["names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1]]]) == "linux.seccomp.syscalls[0].errnoRet")
        #expect(path(["defaultErrnoRet": 5]) == "linux.seccomp.defaultErrnoRet")
        #expect(path(["architectures": ["SCMP_ARCH_VAX"]]) == "linux.seccomp.architectures[0]")
        #expect(path(["flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]]) == "linux.seccomp.flags[0]")
        #expect(path(["listenerPath": "", "listenerMetadata": "m", "syscalls": []]) == "linux.seccomp.listenerMetadata")
        // Without a rule that notifies the path is ignored.
        #expect(path(["syscalls": [["names": ["mkdir"], "action": "SCMP_ACT_ERRNO"]]]) == nil)
    }

    // MARK: runc beside it

    /// Podman's profile for three ABIs, on every number up to 600: what is refused here is what runc refuses.
    @Test(.requires(.command("runc"), .file("/usr/share/containers/seccomp.json")))
    func podmansProfileRefusesWhatItRefusesUnderRunc() async throws {
        let document = try JSON.decode(Array(try Data(contentsOf: URL(filePath: "/usr/share/containers/seccomp.json"))), source: "profile")
        var profile = try SeccompProfile(document, dialect: .engine(Capability.defaults))
        profile.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        let harness = try await Self.harness()
        let ours = try harness.run(
            try Self.plan(harness, profile, ["numbers", "0", "600"]) {
                $0.capabilities = CapabilityPlan(bounding: Capability.defaults.mask)
            })
        let runc = try await Self.run(profile, ["numbers", "0", "600"], harness)
        let (left, right) = (Self.refused(ours.stdout), Self.refused(runc))
        #expect(left.count > 200)
        #expect(left == right, "\(left.symmetricDifference(right).sorted())")
    }

    /// Numbers that were answered with EPERM or ENOSYS, and nothing else: a call that forks answers twice.
    private static func refused(_ text: String) -> Set<Int> {
        var answers: [Int: Set<String>] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1)
            if words.count == 2, let number = Int(words[0]) { answers[number, default: []].insert(String(words[1])) }
        }
        return Set(answers.filter { $0.value == ["errno 1"] || $0.value == ["errno 38"] }.keys)
    }

    private static func run(_ profile: SeccompProfile, _ arguments: [String], _ harness: ShimHarness) async throws -> String {
        let bundle = "\(harness.folder)/bundle"
        for name in ["", "rootfs", "rootfs/proc", "rootfs/dev", "rootfs/sys"] { mkdir("\(bundle)/\(name)", 0o755) }
        // Processes of the user namespace look the root up by path.
        chmod(harness.folder, 0o755)
        try FileManager.default.copyItem(atPath: "\(harness.store)/layer/bin/probe", toPath: "\(bundle)/rootfs/probe")
        try await Command(["runc", "spec", "-b", bundle]).run()
        var config = try JSON.decode(Array(try Data(contentsOf: URL(filePath: "\(bundle)/config.json"))), source: "config")
        let names = Value.array(Capability.defaults.map { .string($0.name) })
        let mapping: Value = [["containerID": 0, "hostID": .int(Int64(ShimHarness.idBase)), "size": 65536]]
        config = config.merged(with: [
            "process": [
                "args": .array((["/probe"] + arguments).map(Value.string)), "terminal": false,
                "capabilities": ["bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []],
            ],
            "mounts": [
                ["destination": "/proc", "type": "proc", "source": "proc"], ["destination": "/dev", "type": "tmpfs", "source": "tmpfs"],
            ],
            "linux": [
                "seccomp": profile.value, "uidMappings": mapping, "gidMappings": mapping,
                "namespaces": [
                    ["type": "pid"], ["type": "network"], ["type": "ipc"], ["type": "uts"], ["type": "mount"], ["type": "user"],
                ],
            ],
        ])
        try Data(JSON.encode(config).utf8).write(to: URL(filePath: "\(bundle)/config.json"))
        let id = "lunette-seccomp-\(UInt64.random(in: 0...UInt64.max))"
        return try await Command(["runc", "--root", "\(harness.folder)/runc", "run", "-b", bundle, id]).run().text
    }
}

extension RuntimeSpec {
    fileprivate static func bundle(_ profile: SeccompProfile) -> RuntimeSpec {
        var spec = RuntimeSpec()
        spec.annotations = ["a": "b"]
        spec.linux.seccomp = .profile(profile)
        return spec
    }
}
