import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite("The program gets the rights of its plan", .serialized, .requires(.root, .overlay, .userNamespaces, .file("/bin/busybox")))
struct ShimProcessTests {
    @Test(arguments: [
        ("0", "0 0 0,10"), ("bob", "1000 1001 1001,10,29"), ("1000", "1000 1001 1001,10,29"), ("bob:wheel", "1000 10 10"),
        ("1000:7", "1000 7 7"),
        ("4321", "4321 0 0"), ("4321:5", "4321 5 5"), ("", "0 0 0,10"), ("00", "0 0 0,10"),
    ])
    func resolvesUsersInsideTheRoot(user: String, expected: String) throws {
        let outcome = try ShimHarness().run("echo $(id -u) $(id -g) $(grep Groups /proc/self/status | cut -f2)", user: user)
        let harness = try ShimHarness()
        let plan = harness.plan(["sh", "-c", "grep -E '^(Uid|Gid|Groups)' /proc/self/status"], user: user)
        let fields = try harness.run(plan).stdout.split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace) }
        try #require(fields.count == 3, "\(outcome.stderr)")
        #expect("\(fields[0][1]) \(fields[1][1]) \(fields[2].dropFirst().joined(separator: ","))" == Self.sorted(expected))
    }

    /// The kernel sorts groups.
    private static func sorted(_ text: String) -> String {
        let parts = text.split(separator: " ")
        let groups = parts[2].split(separator: ",").compactMap { Int($0) }.sorted()
        return "\(parts[0]) \(parts[1]) \(groups.map(String.init).joined(separator: ","))"
    }

    @Test(arguments: ["nobody-here", "-1", "4294967295", "4294967296", "bob:nogroup", "0:4294967295", "99999999999999999999"])
    func refusesUsersThatDontExist(user: String) throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["true"], user: user))
        let failure = try harness.failure()
        #expect(failure.step == .user)
        #expect(failure.path.hasPrefix(user) || user.hasSuffix(failure.path))
    }

    @Test func aPasswdFileThatIsAFifoIsNeverOpened() async throws {
        let harness = try ShimHarness()
        unlink("\(harness.store)/layer/etc/passwd")
        mkfifo("\(harness.store)/layer/etc/passwd", 0o666)
        let plain = try await Command("timeout", "0.2", "cat", "\(harness.store)/layer/etc/passwd").run(expecting: nil)
        undefended("a plain open of the FIFO waits for ever", plain.code == 124, plain.code)
        try harness.spawn(harness.plan(["true"], user: "bob"))
        let failure = try harness.failure()
        #expect(failure.step == .user)
        #expect(failure.path == "/etc/passwd")
    }

    @Test func aHugePasswdFileIsGivenUp() async throws {
        let harness = try ShimHarness()
        truncate("\(harness.store)/layer/etc/passwd", 10 << 30)
        let read = try await Command("head", "-c", "100000000", "\(harness.store)/layer/etc/passwd").run().stdout.count
        undefended("a plain read of the file has no end in sight", read == 100_000_000, read)
        try harness.spawn(harness.plan(["true"], user: "zoe"))
        #expect(try harness.failure().errno == EFBIG)
    }

    @Test func capabilitiesAreThoseOfThePlanAndNothingIsInheritable() throws {
        let harness = try ShimHarness()
        let outcome = try harness.run(harness.plan(["grep", "-E", "Cap|NoNew|Seccomp:", "/proc/self/status"]))
        let status = Dictionary(
            uniqueKeysWithValues: outcome.stdout.split(separator: "\n").map { line in
                let parts = line.split(whereSeparator: { $0 == ":" || $0.isWhitespace })
                return (String(parts[0]), String(parts[1]))
            })
        for name in ["CapPrm", "CapEff", "CapBnd"] { #expect(status[name] == "00000000a80425fb") }
        #expect(status["CapInh"] == "0000000000000000")
        #expect(status["CapAmb"] == "0000000000000000")
        #expect(status["NoNewPrivs"] == "1")
    }

    @Test func anOrdinaryUserHasNoCapabilities() throws {
        let harness = try ShimHarness()
        let outcome = try harness.run(harness.plan(["grep", "CapEff", "/proc/self/status"], user: "bob"))
        #expect(outcome.stdout.hasSuffix("0000000000000000\n"))
    }

    @Test func initKeepsOneCapabilityAndCantBeLookedInto() throws {
        let harness = try ShimHarness()
        let plan = harness.plan([
            "sh", "-c",
            // The last are of a program like any other.
            "grep CapEff /proc/1/status; ls /proc/1/fd 2>&1; readlink /proc/1/exe 2>&1; cat /proc/1/environ 2>&1 | head -1; "
                + "sleep 5 & ls /proc/$!/fd >/dev/null && readlink /proc/$!/exe && cat /proc/$!/environ >/dev/null && echo looked into; true",
        ]) {
            $0.capabilities = CapabilityPlan(bounding: 0x1ff_ffff_ffff)
        }
        let outcome = try harness.run(plan)
        undefended("a plain process is looked into", outcome.stdout.contains("busybox\nlooked into\n"), outcome.stdout)
        #expect(outcome.stdout.contains("CapEff:\t0000000000000020"))
        #expect(outcome.stdout.components(separatedBy: "Permission denied").count >= 3, "\(outcome.stdout)")
    }

    @Test func seccompIsLoadedLast() throws {
        let harness = try ShimHarness()
        // load syscall number; mkdir (83) → EPERM; else allow. x86-64 only.
        var program: [UInt8] = []
        func add(_ code: UInt16, _ jt: UInt8, _ jf: UInt8, _ k: UInt32) {
            withUnsafeBytes(of: code) { program += $0 }
            program += [jt, jf]
            withUnsafeBytes(of: k) { program += $0 }
        }
        add(0x20, 0, 0, 0)
        add(0x15, 0, 1, 83)
        add(0x06, 0, 0, 0x0005_0001)
        add(0x06, 0, 0, 0x7fff_0000)
        let outcome = try harness.run(
            harness.plan(["sh", "-c", "mkdir /x; echo $?; grep Seccomp: /proc/self/status"]) { $0.seccompProgram = program })
        #expect(outcome.stdout == "1\nSeccomp:\t2\n")
    }

    @Test func rlimitsUmaskAndOOMScoreAreSet() throws {
        let harness = try ShimHarness()
        let plan = harness.plan(["sh", "-c", "ulimit -n; ulimit -c; umask; cat /proc/self/oom_score_adj"]) {
            $0.rlimits = [ResourceLimit(resource: 7, soft: 77, hard: 88), ResourceLimit(resource: 4, soft: 0, hard: 0)]
            $0.umask = 0o027
        } steps: {
            $0.insert(.setOOMScore(123), at: 1)
        }
        #expect(try harness.run(plan).stdout == "77\n0\n0027\n123\n")
    }

    /// Found by scripts/dev/fuzz: numbers that the planner never writes, and that the shim must not fall over.
    @Test func numbersBeyondReasonFailByName() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["true"]) { $0.rlimits = [ResourceLimit(resource: .max, soft: 1, hard: 1)] })
        let failure = try harness.failure()
        #expect(failure.step == .rlimits)
        #expect(failure.call == "getrlimit" && failure.errno == EINVAL)
        let logging = try ShimHarness()
        try logging.spawn(logging.plan(["true"], monitor: MonitorPlan(logMaximumSize: 1, logMaximumFiles: 1 << 60)))
        #expect(try logging.failure().path == "log_files")
    }

    @Test func theWorkingDirectoryIsMadeAndEntered() throws {
        let harness = try ShimHarness()
        #expect(try harness.run(harness.plan(["pwd"]) { $0.workingDirectory = "/a/b/c" }).stdout == "/a/b/c\n")
    }

    @Test(arguments: (3...12).map { "/proc/self/fd/\($0)" } + ["/proc/1/cwd", "/proc/self/root"])
    func aWorkingDirectoryThatLeadsOutIsRefused(path: String) async throws {
        let harness = try ShimHarness()
        try Data("outside".utf8).write(to: URL(fileURLWithPath: "\(harness.folder)/note"))
        let read = try await NaiveRuntime.enterLeaked(harness.folder, reading: "note", root: "\(harness.store)/layer")
        undefended("a folder that was left open is entered", read == Data("outside".utf8))
        try harness.spawn(harness.plan(["pwd"]) { $0.workingDirectory = path })
        #expect(try harness.failure().step == .workingDirectory)
    }

    @Test func aMissingProgramAndOneThatCantBeExecutedAreTold() throws {
        let missing = try ShimHarness()
        try missing.spawn(missing.plan(["no-such-program"]))
        let notFound = try missing.failure()
        #expect(notFound.step == .execute && notFound.errno == ENOENT && notFound.call == "search" && notFound.exitCode == 127)
        let harness = try ShimHarness()
        try harness.write("text", "bin/plain")
        try harness.spawn(harness.plan(["/bin/plain"]))
        let denied = try harness.failure()
        #expect(denied.step == .execute && denied.errno == EACCES && denied.exitCode == 126)
    }

    @Test func aMissingInterpreterIsToldAfterTheStart() throws {
        let harness = try ShimHarness()
        try harness.write("#!/no/such/interpreter\n", "bin/script", mode: 0o755)
        try harness.spawn(harness.plan(["/bin/script"]))
        _ = try harness.created()
        try harness.start()
        let failure = ShimHarness.failure(try harness.decode(try harness.next(LNT_MSG_FAILED, LNT_MSG_STARTED), as: lnt_failure.self))
        #expect(failure.call == "execve" && failure.errno == ENOENT && failure.path == "/bin/script")
        #expect(harness.shim?.waitForExit(milliseconds: 5000) == true, "the record is there before the shim leaves")
        #expect(try String(contentsOfFile: "\(harness.state)/exit", encoding: .utf8).contains("\"failure\""))
    }

    @Test func anEntrypointOfProcSelfExeDoesntReachTheShim() throws {
        let harness = try ShimHarness()
        let before = try Data(contentsOf: URL(fileURLWithPath: ShimHarness.program))
        try harness.write("#!/proc/self/exe\n", "bin/evil", mode: 0o755)
        undefended("whoever reached the file could write it", access(ShimHarness.program, W_OK) == 0)
        _ = try? harness.run(harness.plan(["/bin/evil"]))
        #expect(try Data(contentsOf: URL(fileURLWithPath: ShimHarness.program)) == before)
    }

    @Test func stdoutOpensForAnOrdinaryUser() throws {
        let harness = try ShimHarness()
        let outcome = try harness.run("echo out > /dev/stdout; echo error > /dev/stderr", user: "bob")
        #expect(outcome.stdout == "out\n")
        #expect(outcome.stderr == "error\n")
        #expect(outcome.exit.code == 0)
    }

    @Test func theProgramIsPidOneWithoutAnInit() throws {
        let harness = try ShimHarness()
        let outcome = try harness.run(harness.plan(["sh", "-c", "echo $$; exit 3"], monitor: MonitorPlan(initProcess: false)))
        #expect(outcome.stdout == "1\n")
        #expect(outcome.exit.code == 3)
    }

    @Test func initReapsOrphans() throws {
        let outcome = try ShimHarness().run("(sleep 0.05 & ) ; sleep 0.2; ps | grep -c '\\[sleep\\]'; true")
        #expect(outcome.stdout == "0\n")
    }
}
