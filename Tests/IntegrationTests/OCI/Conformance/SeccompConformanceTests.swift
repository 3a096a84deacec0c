import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// config-linux.md: seccomp and the container process state.
@Suite(.runtimeUnderTest, .requires(.seccomp)) struct SeccompConformanceTests {
    /// A filter that allows but for one rule.
    static func rule(_ rule: Value, and more: Value = [:]) -> Value {
        ["linux": ["seccomp": (["defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]] as Value).merged(with: more)]]
    }

    @Test(.proves("config-linux.seccomp.defaultAction", "config-linux.seccomp.defaultErrnoRet", "config-linux.seccomp.allow"))
    func callsThatAreNotListedGetTheDefault() async throws {
        // All that the start and the probe need, and not sysinfo.
        let allowed: Value = [
            "names": .array(
                [
                    "read", "write", "open", "openat", "close", "fstat", "newfstatat", "stat", "mmap", "mprotect", "munmap", "brk", "futex",
                    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "execve", "execveat", "exit", "exit_group", "arch_prctl", "getrandom",
                    "set_tid_address", "set_robust_list", "prlimit64", "rseq", "readlink", "readlinkat", "ioctl", "fcntl", "lseek", "uname",
                    "getcwd", "capget", "capset", "setuid", "setgid", "setgroups", "setresuid", "setresgid", "prctl", "dup", "dup2", "dup3",
                    "chdir", "fchdir", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "nanosleep", "clock_nanosleep",
                    "sched_yield", "sigaltstack", "gettid", "getpid", "getppid", "tgkill", "madvise", "clone", "clone3", "wait4", "pipe2",
                    "close_range", "statx", "access", "faccessat", "faccessat2", "getdents64", "fstatfs", "statfs", "seccomp", "poll",
                    "ppoll",
                    "sendmsg", "recvmsg", "sendto", "recvfrom", "fchown", "fchownat", "umask", "setsid", "keyctl", "sched_getaffinity",
                    "eventfd2", "timer_settime", "timer_create", "timer_delete", "getuid", "geteuid", "getgid", "getegid", "getgroups",
                    "kill", "writev", "readv", "pread64", "sysinfo_", "socket", "connect", "fchmod", "unlink", "unlinkat",
                ].filter { $0 != "sysinfo_" }.map { .string($0) }), "action": "SCMP_ACT_ALLOW",
        ]
        for (number, name) in [(nil, "!EPERM"), (38, "!ENOSYS"), (111, "!ECONNREFUSED")] as [(Int64?, String)] {
            try await withBundle { bundle in
                bundle.change(["linux": ["seccomp": ["defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowed]]]])
                // Without it a filter has to be loaded before capabilities are dropped, and the runtime's own calls after that need allowing.
                bundle.change(["process": ["noNewPrivileges": true]])
                if let number { bundle.change(["linux": ["seccomp": ["defaultErrnoRet": .int(number)]]]) }
                let seen = try await bundle.run("call=sysinfo", "call=getcwd")
                #expect(seen["call.sysinfo"] == name)
                #expect(seen["call.getcwd"] == "ok")
            }
        }
    }

    @Test(
        .proves("config-linux.seccomp.names", "config-linux.seccomp.errno", "config-linux.seccomp.errnoRet"),
        arguments: [(nil, "!EPERM"), (13, "!EACCES"), (38, "!ENOSYS")] as [(Int64?, String)])
    func aRulesErrnoIsTheConfigured(number: Int64?, name: String) async throws {
        try await withBundle { bundle in
            var rule: Value = ["names": ["sysinfo", "getpgid"], "action": "SCMP_ACT_ERRNO"]
            if let number { rule = rule.merged(with: ["errnoRet": .int(number)]) }
            bundle.change(Self.rule(rule))
            let seen = try await bundle.run("call=sysinfo", "call=getpgid", "call=getcwd", "status")
            #expect(seen["call.sysinfo"] == name && seen["call.getpgid"] == name)
            #expect(seen["call.getcwd"] == "ok")
            #expect(seen["Seccomp"] == "2")
        }
    }

    /// What a child of one thread, and a process of two, come to by the call.
    static let endings: [(String, String, String)] = [
        ("SCMP_ACT_KILL", "signal 31", "exit 42"), ("SCMP_ACT_KILL_THREAD", "signal 31", "exit 42"),
        ("SCMP_ACT_KILL_PROCESS", "signal 31", "signal 31"), ("SCMP_ACT_TRAP", "signal 31", "signal 31"),
        ("SCMP_ACT_TRACE", "!ENOSYS", "exit 42"), ("SCMP_ACT_LOG", "ok", "exit 42"), ("SCMP_ACT_ALLOW", "ok", "exit 42"),
        ("SCMP_ACT_ERRNO", "!EPERM", "exit 42"),
    ]

    @Test(
        .proves(
            "config-linux.seccomp.kill", "config-linux.seccomp.kill-process", "config-linux.seccomp.kill-thread",
            "config-linux.seccomp.trap", "config-linux.seccomp.trace", "config-linux.seccomp.log", "config-linux.seccomp.allow",
            "config-linux.seccomp.errno"), arguments: endings)
    func anActionDoesWhatItSays(action: String, child: String, thread: String) async throws {
        try await withBundle { bundle in
            bundle.change(Self.rule(["names": ["getpgid"], "action": .string(action)]))
            let seen = try await bundle.run("child=getpgid", "thread=getpgid")
            #expect(seen["child.getpgid"] == child)
            #expect(seen["thread.getpgid"] == thread)
        }
    }

    /// Operators on lseek's third argument, which 0, 1 and 2 are good for: those that the rule meets are refused.
    static let operators: [(String, Value, Set<Int>)] = [
        ("NE", ["value": 1], [0, 2]), ("LT", ["value": 1], [0]), ("LE", ["value": 1], [0, 1]), ("EQ", ["value": 1], [1]),
        ("GE", ["value": 1], [1, 2]), ("GT", ["value": 1], [2]), ("MASKED_EQ", ["value": 1, "valueTwo": 1], [1]),
        ("MASKED_EQ", ["value": 3, "valueTwo": 2], [2]), ("MASKED_EQ", ["value": 1, "valueTwo": 0], [0, 2]),
    ]

    @Test(
        .proves(
            "config-linux.seccomp.args", "config-linux.seccomp.op-ne", "config-linux.seccomp.op-lt", "config-linux.seccomp.op-le",
            "config-linux.seccomp.op-eq", "config-linux.seccomp.op-ge", "config-linux.seccomp.op-gt", "config-linux.seccomp.op-masked-eq"),
        arguments: operators)
    func anOperatorCompares(name: String, values: Value, refused: Set<Int>) async throws {
        try await withBundle { bundle in
            let argument = values.merged(with: ["index": 2, "op": .string("SCMP_CMP_\(name)")])
            bundle.change(Self.rule(["names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "args": [argument]]))
            let seen = try await bundle.run("call=lseek:0", "call=lseek:1", "call=lseek:2")
            for whence in 0...2 { #expect((seen["call.lseek:\(whence)"] == "!EPROTO") == refused.contains(whence), "\(whence)") }
        }
    }

    @Test(.proves("config-linux.seccomp.args"))
    func allArgumentsOfARuleMustHold() async throws {
        try await withBundle { bundle in
            bundle.change(
                Self.rule([
                    "names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71,
                    "args": [["index": 1, "value": 0, "op": "SCMP_CMP_EQ"], ["index": 2, "value": 2, "op": "SCMP_CMP_EQ"]],
                ]))
            let seen = try await bundle.run("call=lseek:0", "call=lseek:2")
            #expect(seen["call.lseek:0"] == "ok")
            #expect(seen["call.lseek:2"] == "!EPROTO")
        }
    }

    #if arch(x86_64)
        @Test(.proves("config-linux.seccomp.architectures"))
        func callsOfOtherArchitecturesAreFilteredToo() async throws {
            // getpgid is number 132 of i386.
            let rule: Value = ["names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71]
            try await withBundle { bundle in
                bundle.change(Self.rule(rule, and: ["architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]]))
                let seen = try await bundle.run("child=i386:132", "child=i386:20", "call=getpgid")
                try #require(seen["child.i386:20"] != "signal 11", "this kernel has no 32-bit calls")
                #expect(seen["child.i386:132"] == "!EPROTO")
                #expect(seen["child.i386:20"] == "ok")
                #expect(seen["call.getpgid"] == "!EPROTO")
            }
            try await withBundle { bundle in
                bundle.change(Self.rule(rule, and: ["architectures": ["SCMP_ARCH_X86_64"]]))
                let seen = try await bundle.run("child=i386:20")
                #expect(seen["child.i386:20"] != "ok")
            }
        }
    #endif

    @Test(
        .proves("config-linux.seccomp.architectures-known"),
        arguments: [
            "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64",
            "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64",
        ])
    func everyArchitectureIsKnown(name: String) async {
        await expectTaken(
            Self.rule(["names": ["getpgid"], "action": "SCMP_ACT_ERRNO"], and: ["architectures": [.string("SCMP_ARCH_\(name)")]]))
    }

    @Test(
        .proves("config-linux.seccomp.flags"),
        arguments: [
            [], ["SECCOMP_FILTER_FLAG_TSYNC"], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
            ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        ])
    func flagsAreTaken(flags: [String]) async throws {
        try await withBundle { bundle in
            bundle.change(
                Self.rule(["names": ["getpgid"], "action": "SCMP_ACT_ERRNO"], and: ["flags": .array(flags.map { .string($0) })]))
            let seen = try await bundle.run("call=getpgid")
            #expect(seen["call.getpgid"] == "!EPERM")
        }
    }

    @Test(.proves("config-linux.seccomp.flags", "config-linux.seccomp.notify"))
    func waitKillableIsTakenWithNotify() async throws {
        try await withBundle { bundle in
            let agent = try await bundle.agent(["flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]])
            #expect(try await bundle.run("call=getpgid")["call.getpgid"] == "!EADDRNOTAVAIL")
            _ = try await agent.wait()
        }
    }

    @Test(
        .proves(
            "config-linux.seccomp.defaultAction-required", "config-linux.seccomp.action-unknown", "config-linux.seccomp.op-unknown",
            "config-linux.seccomp.flags-unknown", "config-linux.seccomp.names-one", "config-linux.seccomp.errnoRet-action",
            "config-linux.seccomp.defaultErrnoRet-action", "config-linux.seccomp.metadata-alone"))
    func whatIsNoFilterIsAnError() async {
        let allow: Value = ["names": ["getpgid"], "action": "SCMP_ACT_ALLOW"]
        await expectRefused(["linux": ["seccomp": ["syscalls": [allow]]]], mentioning: "seccomp")
        await expectRefused(Self.rule(["names": ["getpgid"], "action": "SCMP_ACT_NONSENSE"]), mentioning: "seccomp")
        await expectRefused(Self.rule(["names": [], "action": "SCMP_ACT_ERRNO"]), mentioning: "seccomp")
        await expectRefused(Self.rule(["action": "SCMP_ACT_ERRNO"]), mentioning: "seccomp")
        await expectRefused(
            Self.rule(["names": ["lseek"], "action": "SCMP_ACT_ERRNO", "args": [["index": 2, "value": 1, "op": "SCMP_CMP_NONSENSE"]]]),
            mentioning: "seccomp")
        await expectRefused(
            Self.rule(["names": ["lseek"], "action": "SCMP_ACT_ERRNO", "args": [["index": 9, "value": 1, "op": "SCMP_CMP_EQ"]]]),
            mentioning: "seccomp")
        await expectRefused(Self.rule(allow, and: ["architectures": ["SCMP_ARCH_NONSENSE"]]), mentioning: "seccomp")
        await expectRefused(Self.rule(allow, and: ["flags": ["SECCOMP_FILTER_FLAG_NONSENSE"]]), mentioning: "seccomp")
        await expectRefused(Self.rule(["names": ["getpgid"], "action": "SCMP_ACT_KILL", "errnoRet": 5]), mentioning: "errnoRet")
        await expectRefused(Self.rule(allow, and: ["defaultErrnoRet": 5]), mentioning: "defaultErrnoRet")
        await expectRefused(Self.rule(allow, and: ["listenerMetadata": "alone"]), mentioning: "listenerMetadata")
    }

    @Test(
        .proves(
            "config-linux.seccomp.notify", "config-linux.seccomp.listener", "config-linux.seccomp.listener-once",
            "config-linux.seccomp.listener-fd", "config-linux.seccomp.listener-first", "config-linux.seccomp.metadata",
            "config-linux.seccomp.state-ociVersion", "config-linux.seccomp.state-pid", "config-linux.seccomp.state-state"))
    func theAgentGetsTheFilterAndTheState() async throws {
        try await withBundle { bundle in
            let agent = try await bundle.agent(["listenerMetadata": "opaque \"words\""])
            bundle.change(["annotations": ["org.example.key": "value"]])
            bundle.asks("call=getpgid", "call=getcwd", "print=went on", "await=signals")
            try await bundle.create()
            let pid = try await bundle.pid()
            try await bundle.start()
            try await bundle.says("awaiting")
            #expect(bundle.answers()["call.getpgid"] == "!EADDRNOTAVAIL")
            #expect(bundle.answers()["call.getcwd"] == "ok")
            try await bundle.call("kill", bundle.id, "USR1")
            try await bundle.becomes("stopped")
            let seen = ProbeAnswers(try await agent.wait())
            #expect(seen["descriptors"] == "1")
            #expect(seen["later_descriptors"] == "0")
            #expect(seen["closed"] == "yes")
            // Exactly one JSON text came: two would not be one.
            let state = try JSON.decode(Array((seen["state"] ?? "").utf8), source: "the agent's message")
            #expect(state["ociVersion"]?.stringValue?.hasPrefix("1.") == true)
            #expect(state["fds"] == ["seccompFd"])
            #expect(state["pid"]?.intValue == Int64(pid))
            #expect(state["metadata"] == "opaque \"words\"")
            #expect(state["state"]?["id"] == .string(bundle.id))
            #expect(state["state"]?["bundle"] == .string(bundle.folder))
            #expect(state["state"]?["annotations"]?["org.example.key"] == "value")
            if let inner = state["state"] { try await Schemas.check(inner, "state-schema.json") }
        }
    }

    @Test(.proves("config-linux.seccomp.listener-error"))
    func anAgentThatCannotBeReachedIsAnError() async throws {
        try await withBundle { bundle in
            bundle.change(
                Self.rule(["names": ["getpgid"], "action": "SCMP_ACT_NOTIFY"], and: ["listenerPath": .string("\(bundle.folder)/nobody")]))
            bundle.asks("print=never")
            // The filter is loaded as late as it can be: whichever operation does it has to say so.
            if try await bundle.create(expecting: nil).code == 0 { #expect(try await bundle.start(expecting: nil).code != 0) }
            #expect(!bundle.output.contains("never"))
            #expect(!bundle.errors.isEmpty || bundle.runtime.isLunette == false)
        }
    }

    @Test(.proves("config-linux.seccomp.listener-unused"))
    func withoutNotifyTheAgentIsNotAsked() async throws {
        try await withBundle { bundle in
            bundle.change(
                Self.rule(["names": ["getpgid"], "action": "SCMP_ACT_ERRNO"], and: ["listenerPath": .string("\(bundle.folder)/nobody")]))
            let seen = try await bundle.run("call=getpgid")
            #expect(seen["call.getpgid"] == "!EPERM")
        }
    }
}

extension OCIBundle {
    /// Starts an agent and has getpgid ask it.
    func agent(_ more: Value) async throws -> RunningCommand {
        let socket = "\(folder)/agent"
        let agent = try Command(try await CProbe.container.path(), "listen", socket).start()
        cleanUp.add("end the agent") { agent.signal(9) }
        try await agent.says("listening")
        change(
            SeccompConformanceTests.rule(
                ["names": ["getpgid"], "action": "SCMP_ACT_NOTIFY"], and: (["listenerPath": .string(socket)] as Value).merged(with: more)))
        return agent
    }
}
