import LunetteSpec
import Testing

@Suite struct LaunchFailureTests {
    private func error(_ step: LaunchOpcode, _ call: String, _ errno: Int32) -> LunetteError {
        LaunchFailure(step: step, index: 3, call: call, errno: errno, path: "/run/x").error(operation: "create", target: "c", reason: "why")
    }

    @Test func aFileSystemThatCannotBeMappedIsNamedAndHasAWayOut() {
        let refusal = error(.openTree, "mount_setattr", 22)
        #expect(refusal.code == .unsupported && refusal.message == "open-tree /run/x (mount_setattr): why")
        #expect(refusal.hint?.contains("tmpfs") == true)
        #expect(error(.openTree, "mount_setattr", 1).hint == nil && error(.openTree, "open_tree", 22).hint == nil)
    }

    /// The call's name on the wire holds 23 bytes: the words are here.
    @Test(
        arguments: [
            ("file on folder", 20, .invalidArgument, "attach /run/x: its source is a file, and a folder is there: why"),
            ("folder on file", 20, .invalidArgument, "attach /run/x: its source is a folder, and a file is there: why"),
            ("cover proc", 1, .denied, "attach /run/x: nothing but a proc file system may cover /run/x: why"),
            ("link to proc", 1, .denied, "attach /run/x: a link leads from there to /proc, where nothing may be bound: why"),
        ] as [(String, Int32, ErrorCode, String)])
    func aTreeThatCantLieThereIsToldInWords(_ call: String, _ errno: Int32, _ code: ErrorCode, _ message: String) {
        let refusal = error(.attach, call, errno)
        #expect(refusal.code == code && refusal.message == message && refusal.hint != nil)
    }

    /// As the runtime's own hooks say it.
    @Test func aHooksFailureIsToldAsTheShimWroteIt() {
        let failed = LaunchFailure(step: .runHook, index: 0, call: "hook", errno: 10, path: "/bin/sh: it ended with exit code 3: TEXT")
            .error(operation: "create", target: "c", reason: "no child processes")
        #expect(failed.message == "run hook /bin/sh: it ended with exit code 3: TEXT" && failed.code == .io)
        #expect(error(.startHook, "hook", 110).code == .timeout)
    }

    @Test func aLimitAndAnIDThatTheCallerMayNotGiveSayWhatToDo() {
        #expect(error(.rlimits, "prlimit", 1).hint?.contains("ulimit -H") == true && error(.rlimits, "prlimit", 22).hint == nil)
        #expect(error(.user, "setresuid", 22).hint?.contains("/etc/subuid") == true && error(.user, "setresuid", 1).hint == nil)
    }

    @Test(
        arguments: [
            ("killed", 9, "was killed by SIGKILL"), ("killed", 11, "was killed by SIGSEGV"), ("exited", 3, "ended with exit code 3"),
            ("out of memory", 9, "was killed for want of memory"), ("wait", 10, "ended"),
        ] as [(String, Int32, String)])
    func whatEndedBeforeTheProgramIsTold(_ call: String, _ number: Int32, _ words: String) {
        let failure = LaunchFailure(step: .setUp, index: 0, call: call, errno: number, path: "pid 1")
            .error(operation: "create", target: "c", reason: "no child processes")
        #expect(failure.message == "launch the container: pid 1 \(words) before its program could run")
        let exec = LaunchFailure(step: .setUp, index: 0, call: call, errno: number, path: "the join stage")
        #expect(
            exec.error(operation: "create", target: "c", reason: "").message.hasPrefix("run a program in the container: the join stage "))
        #expect(failure.errno == nil && (failure.hint != nil) == (call == "out of memory"))
    }

    /// The kernel's counter may not tell, or may be gone: a limit that no launch fits into is the reason all the same.
    @Test(arguments: [(1000, true), (1 << 30, false), (-1, false)] as [(Int64, Bool)])
    func aKillBelowAFarTooLowLimitIsTheLimits(_ limit: Int64, _ isNamed: Bool) throws {
        let spec = try RuntimeSpec([
            "ociVersion": "1.2.0", "root": ["path": "rootfs"], "process": ["args": ["/x"], "cwd": "/", "user": ["uid": 0, "gid": 0]],
            "linux": ["namespaces": [["type": "mount"], ["type": "pid"]], "resources": ["memory": ["limit": .int(limit)]]],
        ])
        let inputs = LaunchInputs(containerID: "c", root: .directory(.path("/b/rootfs")), handover: HandoverPlan(), bundle: "/b")
        let fields = LaunchFields(try LaunchPlanner.plan(spec, inputs), spec)
        func named(_ signal: Int32) -> LunetteError {
            fields.naming(
                LaunchFailure(step: .setUp, index: 0, call: "killed", errno: signal, path: "the namespace stage")
                    .error(operation: "create", target: "c", reason: ""))
        }
        #expect((named(9).path == "linux.resources.memory.limit") == isNamed && (named(9).hint != nil) == isNamed)
        #expect(named(11).path == nil)
    }

    @Test(arguments: [
        ("look up", "nobodyx:grp", "find the user nobodyx: it isn't in the container's /etc/passwd"),
        ("look up group", "grp", "find the group grp: it isn't in the container's /etc/group"),
        ("parse", "99999999999", "find the user 99999999999: a number is too large for an id"),
    ])
    func anUnknownUserIsSaidToBeMissingInTheContainer(_ call: String, _ name: String, _ message: String) {
        let failure = LaunchFailure(step: .user, index: 7, call: call, errno: 2, path: name).error(
            operation: "x", target: "c", reason: "why")
        #expect(failure.message == message && failure.hint?.contains("UID:GID") == true)
    }
}
