import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// config.md: process, but for credentials; runtime-linux.md: file descriptors.
@Suite(.runtimeUnderTest) struct ProcessConformanceTests {
    @Test(.proves("config.process.cwd"), arguments: ["/tmp", "/", "/dev/shm"])
    func theWorkingDirectoryIsTheConfigured(path: String) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["cwd": .string(path)]])
            let seen = try await bundle.run("cwd")
            #expect(seen["cwd"] == path)
        }
    }

    @Test(.proves("config.process.cwd-required", "config.process.cwd-absolute"))
    func theWorkingDirectoryIsGivenAndAbsolute() async {
        await expectRefused(["process": ["cwd": nil]], mentioning: "cwd")
        await expectRefused(["process": ["cwd": "tmp"]], mentioning: "cwd")
    }

    @Test(.proves("config.process.env"))
    func theEnvironmentIsTheConfigured() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["env": ["PATH=/bin", "WITH SPACE=a b", "EMPTY=", "TWICE=a=b"]]])
            var seen = try await bundle.run("env").all("env")
            // runc and crun set HOME where there is none: execvp's caller would have one.
            seen.removeAll { $0.hasPrefix("HOME=") }
            #expect(seen == ["PATH=/bin", "WITH SPACE=a b", "EMPTY=", "TWICE=a=b"])
        }
    }

    @Test(.proves("config.process.args"))
    func argumentsArriveAsTheyAre() async throws {
        try await withBundle { bundle in
            let arguments = ["/probe", "arguments", "with space", "", "\"quoted\"", "$HOME", "ünïcode", "--", "-x"]
            bundle.change(["process": ["args": .array(arguments.map { .string($0) })]])
            let seen = try await bundle.run()
            #expect(ProbeAnswers(seen).all("argument") == arguments)
        }
    }

    @Test(.proves("config.process.args-path", "config.process.args-required", "config.process.args-missing-program"))
    func theProgramIsFoundThroughPath() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["env": ["PATH=/nowhere:/bin"], "args": ["env"]]])
            #expect(try await bundle.run().text.contains("PATH=/nowhere:/bin"))
            bundle.change(["process": ["args": []]])
            try await bundle.refusal(mentioning: "args")
            bundle.change(["process": ["args": nil]])
            try await bundle.refusal(mentioning: "args")
            for missing in ["absent-program", "/bin/absent", "/etc"] {
                bundle.change(["process": ["args": [.string(missing)]]])
                #expect(try await bundle.run(expecting: nil).code != 0)
            }
        }
    }

    @Test(.proves("config.process.commandLine"))
    func commandLineIsIgnored() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["commandLine": "cmd /c nothing"]])
            let seen = try await bundle.run("print=ran")
            #expect(seen.lines == ["ran"])
        }
    }

    @Test(.proves("config.process.terminal", "config.process.consoleSize", "config-linux.devices.console"))
    func aTerminalIsTheProgramsOwn() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["consoleSize": ["height": 31, "width": 97]]])
            let seen = try await bundle.runInTerminal("tty", "stat=/dev/console", "mounts", "write=/dev/console")
            #expect(seen["terminal"] == "yes")
            for fd in 0..<3 { #expect(seen["tty.\(fd)"]?.hasPrefix("/dev/") == true, "\(seen)") }
            #expect(seen["controlling"] == "ok")
            #expect(seen["size"] == "31 97")
            #expect(seen["stat./dev/console"]?.hasPrefix("c ") == true)
            #expect(seen.mount("/dev/console")?.type == "devpts")
            #expect(seen["write./dev/console"] == "ok")
        }
    }

    @Test(.proves("config.process.terminal-default", "config.process.consoleSize-ignored"))
    func withoutATerminalThereIsNone() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["consoleSize": ["height": 31, "width": 97]]])
            let seen = try await bundle.run("tty", "stat=/dev/console")
            for fd in 0..<3 { #expect(seen["tty.\(fd)"] == "no") }
            #expect(seen["controlling"] == "!ENXIO")
        }
    }

    @Test(.proves("runtime-linux.descriptors"))
    func onlyTheStandardDescriptorsAreOpen() async throws {
        try await withBundle { bundle in
            let seen = try await bundle.run("fds")
            #expect(Set(seen.all("fd").map { $0.prefix { $0 != " " } }) == ["0", "1", "2"], "\(seen)")
        }
    }

    // MARK: limits

    @Test(
        .proves("config.rlimits.soft", "config.rlimits.hard", "config.rlimits.readable"),
        arguments: [
            "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE",
            "RTPRIO", "RTTIME",
        ])
    func aLimitIsTheConfigured(name: String) async throws {
        try await withBundle { bundle in
            // Below what root has here: raising needs CAP_SYS_RESOURCE, which a machine may not give.
            let now = ProbeAnswers(try await Command(try await CProbe.container.path(), "rlimits").run()).words("RLIMIT_\(name)").compactMap
            { UInt64($0) }
            let ceiling = try #require(now.last)
            let (soft, hard) =
                ceiling == 0 ? (0, 0) : ceiling == .max ? (9_000_000_001, 9_000_000_002) : (Int64(ceiling) / 2, Int64(ceiling) - 1)
            bundle.change(["process": ["rlimits": [["type": .string("RLIMIT_\(name)"), "soft": .int(soft), "hard": .int(hard)]]]])
            #expect(try await bundle.run("rlimits").words("RLIMIT_\(name)") == ["\(soft)", "\(hard)"])
        }
    }

    @Test(.proves("config.rlimits.type", "config.rlimits.duplicate"))
    func limitsAreKnownAndNamedOnce() async {
        let one: Value = ["type": "RLIMIT_NOFILE", "soft": 100, "hard": 100]
        await expectRefused(["process": ["rlimits": [["type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1]]]], mentioning: "RLIMIT_NONSENSE")
        await expectRefused(["process": ["rlimits": [one, one]]], mentioning: "RLIMIT_NOFILE")
    }

    // MARK: scheduling

    @Test(.proves("config.process.oomScoreAdj"), arguments: [Int64(0), 500, 1000])
    func theOutOfMemoryScoreIsTheConfigured(score: Int64) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["oomScoreAdj": .int(score)]])
            let seen = try await bundle.run("read=/proc/self/oom_score_adj")
            #expect(seen["read./proc/self/oom_score_adj"] == "\(score)")
        }
    }

    @Test(.proves("config.process.oomScoreAdj-unset"))
    func withoutAScoreItIsTheCallers() async throws {
        try await withBundle { bundle in
            bundle.asks("read=/proc/self/oom_score_adj")
            try bundle.write()
            let finished = try await Command.shell(
                "echo 77 > /proc/self/oom_score_adj; exec \(bundle.runtime.path) --root \(bundle.root) run --bundle \(bundle.folder) \(bundle.id)"
            ).run()
            #expect(ProbeAnswers(finished)["read./proc/self/oom_score_adj"] == "77")
        }
    }

    struct Schedule: Sendable, CustomTestStringConvertible {
        let given: Value
        let seen: [String: String]
        var testDescription: String { given["policy"]?.stringValue ?? "" }
    }

    static let schedules: [Schedule] = [
        Schedule(given: ["policy": "SCHED_OTHER", "nice": 7], seen: ["policy": "SCHED_OTHER", "nice": "7"]),
        Schedule(given: ["policy": "SCHED_OTHER"], seen: ["policy": "SCHED_OTHER", "nice": "0"]),
        Schedule(given: ["policy": "SCHED_BATCH", "nice": 3], seen: ["policy": "SCHED_BATCH", "nice": "3"]),
        Schedule(given: ["policy": "SCHED_IDLE"], seen: ["policy": "SCHED_IDLE"]),
        Schedule(
            given: ["policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]], seen: ["policy": "SCHED_BATCH", "sched_flags": "1"]),
    ]

    @Test(.proves("config.scheduler.policy", "config.scheduler.nice", "config.scheduler.flags"), arguments: schedules)
    func theSchedulingIsTheConfigured(schedule: Schedule) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["scheduler": schedule.given]])
            let seen = try await bundle.run("scheduling")
            for (key, value) in schedule.seen { #expect(seen[key] == value, "\(key): \(seen)") }
        }
    }

    /// Real time needs a share of the cgroup's where the kernel groups it: the container gets one beside the policy.
    @Test(.proves("config.scheduler.priority"), arguments: ["SCHED_FIFO", "SCHED_RR"])
    func theRealTimePriorityIsTheConfigured(policy: String) async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["scheduler": ["policy": .string(policy), "priority": 11]],
                "linux": [
                    "resources": ["cpu": ["realtimeRuntime": 10000, "realtimePeriod": 1_000_000]],
                    "cgroupsPath": .string("/lunette-conform-\(bundle.id)"),
                ],
            ])
            let seen = try await bundle.run("scheduling")
            #expect(seen["policy"] == policy && seen["priority"] == "11", "\(seen)")
        }
    }

    @Test(.proves("config.scheduler.deadline"))
    func aDeadlineIsTheConfigured() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["scheduler": ["policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 20_000_000]]
            ])
            let seen = try await bundle.run("scheduling")
            #expect(seen["policy"] == "SCHED_DEADLINE" && seen["deadline"] == "1000000 10000000 20000000", "\(seen)")
        }
    }

    @Test(.proves("config.scheduler.invalid", "config.scheduler.policy-required", "config.ioPriority.invalid"))
    func schedulingThatIsNoneIsAnError() async {
        await expectRefused(["process": ["scheduler": ["policy": "SCHED_NONSENSE"]]], mentioning: "scheduler")
        await expectRefused(["process": ["scheduler": ["nice": 1]]], mentioning: "scheduler")
        await expectRefused(
            ["process": ["scheduler": ["policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONSENSE"]]]], mentioning: "scheduler")
        await expectRefused(["process": ["ioPriority": ["class": "IOPRIO_CLASS_NONSENSE", "priority": 1]]], mentioning: "ioPriority")
    }

    @Test(
        .proves("config.ioPriority.class", "config.ioPriority.priority"),
        arguments: [("IOPRIO_CLASS_BE", 3), ("IOPRIO_CLASS_IDLE", 0), ("IOPRIO_CLASS_RT", 5)] as [(String, Int64)])
    func thePriorityOfInputAndOutputIsTheConfigured(kind: String, priority: Int64) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["ioPriority": ["class": .string(kind), "priority": .int(priority)]]])
            let seen = try await bundle.run("scheduling")
            #expect(seen["ioprio"] == "\(kind) \(priority)")
        }
    }

    @Test(.proves("config.execCPUAffinity.final", "config.execCPUAffinity.init"))
    func anAddedProgramRunsOnItsProcessors() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["execCPUAffinity": ["initial": "0", "final": "0"]]])
            bundle.asks("status", "pause")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("Cpus_allowed_list")
            let own = ProbeAnswers(try await Command(try await CProbe.container.path(), "status").run())["Cpus_allowed_list"]
            #expect(bundle.answers()["Cpus_allowed_list"] == own)
            let process = (bundle.config["process"] ?? [:]).merged(with: ["args": ["/probe", "status"]])
            try bundle.makeFile("process.json", JSON.encode(process))
            let seen = ProbeAnswers(try await bundle.call("exec", "--process", "\(bundle.folder)/process.json", bundle.id))
            #expect(seen["Cpus_allowed_list"] == "0")
        }
    }

    // MARK: labels of what this machine hasn't got

    @Test(
        .proves("config.process.apparmorProfile"),
        .enabled(if: access("/sys/kernel/security/apparmor", F_OK) != 0, "this kernel has AppArmor"))
    func aProfileWithoutAppArmorIsAnError() async {
        await expectRefused(["process": ["apparmorProfile": "acme_secure_profile"]], mentioning: "apparmor")
    }

    @Test(
        .proves("config.process.selinuxLabel", "config-linux.mountLabel"),
        .enabled(if: access("/sys/fs/selinux/enforce", F_OK) != 0, "this kernel has SELinux"))
    func aLabelWithoutSELinuxIsAnError() async {
        await expectRefused(["process": ["selinuxLabel": "system_u:system_r:svirt_lxc_net_t:s0:c124,c675"]], mentioning: "selinux")
        await expectRefused(["linux": ["mountLabel": "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"]], mentioning: "mountLabel")
    }
}
