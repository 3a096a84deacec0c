import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite struct SeccompCompilerTests {
    private func interpreter(_ profile: SeccompProfile) throws -> BPFInterpreter {
        BPFInterpreter(instructions: try #require(BPFInstruction.decode(try SeccompCompiler.compile(profile))))
    }

    private func verdict(_ filter: BPFInterpreter, _ name: String, _ arguments: UInt64...) throws -> BPFInterpreter.Verdict? {
        filter.run(number: UInt32(try #require(SeccompABI.native.number(of: name), "\(name) is unknown here")), arguments: arguments)
    }

    @Test func everydayCallsPass() throws {
        let filter = try interpreter(.standard)
        for name in [
            "read", "write", "openat", "openat2", "execve", "mmap", "clone", "futex", "wait4", "fchmodat2", "close_range", "rseq", "statx",
            "ptrace",
        ] {
            #expect(try verdict(filter, name) == .allow, "\(name)")
        }
    }

    @Test(arguments: [
        "bpf", "perf_event_open", "keyctl", "add_key", "request_key", "userfaultfd", "kexec_load", "kexec_file_load", "init_module",
        "finit_module",
        "open_by_handle_at", "mount", "umount2", "move_mount", "fsopen", "fsmount", "fsconfig", "open_tree", "mount_setattr", "pivot_root",
        "setns",
        "unshare", "quotactl", "swapon", "nfsservctl", "reboot", "iopl", "syslog", "pidfd_getfd", "kcmp", "lookup_dcookie", "acct",
        "settimeofday",
    ])
    func knownDangerousCallsAreRefused(_ name: String) throws { #expect(try verdict(try interpreter(.standard), name) == .errno(1)) }

    @Test(arguments: ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"])
    func callsThatProgramsFallBackFromAreAbsent(_ name: String) throws {
        #expect(try verdict(try interpreter(.standard), name) == .errno(38))
    }

    @Test func whatIsOnNoListIsAbsent() throws {
        let filter = try interpreter(.standard)
        for number: UInt32 in [500, 600, 1000, 0x3fff_ffff] { #expect(filter.run(number: number) == .errno(38)) }
    }

    @Test(arguments: [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] as [UInt64])
    func cloneMakesNoNamespace(_ flag: UInt64) throws {
        let filter = try interpreter(.standard)
        #expect(try verdict(filter, "clone", flag | 17) == .errno(38))
        #expect(try verdict(filter, "clone", 0x003d_0f00) == .allow, "a thread")
    }

    @Test func socketsAreOfListedFamilies() throws {
        let filter = try interpreter(.standard)
        for family: UInt64 in [1, 2, 10] { #expect(try verdict(filter, "socket", family, 1, 0) == .allow) }
        for family: UInt64 in [17, 29, 30, 31, 38, 40, 44] {
            #expect(try verdict(filter, "socket", family, 5, 0) == .errno(38), "family \(family)")
        }
        #expect(try verdict(filter, "socket", 16, 3, 0) == .allow, "NETLINK_ROUTE")
        for netlink: UInt64 in [6, 12] { #expect(try verdict(filter, "socket", 16, 3, netlink) == .errno(38), "xfrm, nfnetlink") }
        // The kernel reads 32 bits of the family; a number that differs above them must not slip through as another one.
        #expect(try verdict(filter, "socket", 0x1_0000_0026, 5, 0) == .errno(38))
    }

    @Test func terminalInjectionIsRefusedWhateverTheUpperBitsSay() throws {
        let filter = try interpreter(.standard)
        for number: UInt64 in [0x5412, 0x541c, 0x1_0000_5412, 0xffff_ffff_0000_5412] {
            #expect(try verdict(filter, "ioctl", 0, number) == .errno(1))
        }
        for number: UInt64 in [0x5401, 0x5413, 0x5421] { #expect(try verdict(filter, "ioctl", 0, number) == .allow) }
    }

    @Test func personalityKeepsItsProtections() throws {
        let filter = try interpreter(.standard)
        for persona: UInt64 in [0, 8, 0x20000, 0x20008, 0xffff_ffff] { #expect(try verdict(filter, "personality", persona) == .allow) }
        for persona: UInt64 in [0x0040000, 0x0400000] { #expect(try verdict(filter, "personality", persona) == .errno(38)) }
    }

    @Test func otherArchitecturesAreKilled() throws {
        let filter = try interpreter(.standard)
        #expect(filter.run(number: 3, architecture: BPFInterpreter.i386) == .killProcess)
        #expect(filter.run(number: 0x4000_0000 + 1) == .killProcess, "x32")
    }

    @Test func aCapabilityBringsTheCallsThatNeedIt() throws {
        let filter = try interpreter(.standard(for: Capability.defaults + [.sysAdmin]))
        for name in ["mount", "unshare", "setns", "clone3", "umount2"] { #expect(try verdict(filter, name) == .allow, "\(name)") }
        #expect(try verdict(filter, "bpf") == .errno(1))
        #expect(try verdict(try interpreter(.standard(for: [])), "chroot") == .errno(1))
        #expect(try verdict(try interpreter(.standard), "chroot") == .allow)
    }

    @Test func userProfilesKeepTheirComparisons() throws {
        let comparisons: [(SeccompProfile.Comparison, [UInt64])] = [
            (.equal, [5]), (.notEqual, [0, 4, 6, 1 << 40]), (.less, [0, 4]), (.lessOrEqual, [0, 4, 5]), (.greater, [6, 1 << 40]),
            (.greaterOrEqual, [5, 6, 1 << 40]),
        ]
        for (comparison, matching) in comparisons {
            // Once by libseccomp (allowed when it matches), once by our own prologue (denied when it matches).
            let allowing = try interpreter(
                SeccompProfile(
                    defaultAction: .errno, defaultErrnoRet: 1, syscalls: [.init(["read"], .allow, args: [.init(2, comparison, 5)])])
            )
            let denying = try interpreter(
                SeccompProfile(
                    defaultAction: .errno, defaultErrnoRet: 1,
                    syscalls: [.init(["read"], .allow), .init(["read"], .errno, errno: 7, args: [.init(2, comparison, 5)])]
                )
            )
            for value: UInt64 in [0, 4, 5, 6, 1 << 40] {
                let matches = matching.contains(value)
                #expect(try verdict(allowing, "read", 0, 0, value) == (matches ? .allow : .errno(1)), "\(comparison) \(value)")
                #expect(try verdict(denying, "read", 0, 0, value) == (matches ? .errno(7) : .allow), "\(comparison) \(value)")
            }
        }
    }

    /// Found by fuzzing: with these two rules libseccomp 2.5.4 never comes back (and runc with it). A later one may compile them.
    private static let endless = SeccompProfile(
        defaultAction: .errno, defaultErrnoRet: 1,
        syscalls: [
            .init(
                ["read"], .trace, errno: 8, args: [.init(0, .less, 3), .init(5, .notEqual, 1 << 32 + 1), .init(1, .greaterOrEqual, 5)]),
            .init(["read"], .killProcess, args: [.init(0, .less, 3), .init(5, .greater, 9)]),
        ])

    @Test func rulesThatLibseccompDoesNotEndWithAreRefused() throws {
        let profile = Self.endless
        do throws(LunetteError) {
            let program = try SeccompCompiler.compile(profile, limit: 300_000)
            #expect(BPFInstruction.decode(program) != nil)
        } catch {
            #expect(error.code == .invalidArgument && error.path == "linux.seccomp.syscalls[1]")
            #expect(error.message.contains("add a rule for read: libseccomp") && error.hint != nil, "\(error)")
        }
    }

    /// A stopped process and one without a turn use no time of the processor.
    @Test func aCompilationThatOnlyTheClockEndsIsEnded() throws {
        do throws(LunetteError) {
            _ = try SeccompCompiler.compile(Self.endless, limit: 1_000_000_000, patience: 1)
            // A later libseccomp may come to an end with it.
        } catch {
            #expect(error.code == .timeout && error.path == "linux.seccomp" && error.hint != nil, "\(error)")
        }
    }

    @Test func aCompilationOutOfTimeIsEnded() throws {
        let names = ["read", "write", "openat", "close", "mmap", "ioctl", "fcntl", "socket", "clone", "prctl"]
        // The kernel looks at the limit at its ticks: it has to take some.
        let rules = (0..<6000).map { SeccompProfile.Rule([names[$0 % 10]], .allow, args: [.init(1, .equal, UInt64($0))]) }
        let profile = SeccompProfile(defaultAction: .errno, defaultErrnoRet: 1, syscalls: rules)
        do throws(LunetteError) {
            _ = try SeccompCompiler.compile(profile, path: "p", limit: 1)
            Issue.record("nothing ended it")
        } catch {
            #expect(error.code == .invalidArgument && error.path?.hasPrefix("p") == true)
            #expect(error.message.contains("doesn't come to an end"), "\(error)")
        }
    }

    /// What the program has in itself is what the compiler makes; `LUNETTE_RECORD_GOLDEN=1` writes it anew.
    @Test func theKeptProgramIsTheCompiledOne() throws {
        let compiled = try SeccompCompiler.compile(.standard(for: []))
        if ProcessInfo.processInfo.environment["LUNETTE_RECORD_GOLDEN"] == "1" {
            let file = URL(filePath: #filePath).appending(path: "../../../../Sources/LunetteLinux/Seccomp/StandardProgram.swift")
                .standardizedFileURL
            let numbers = stride(from: 0, to: compiled.count, by: 8).map { at in
                let number = compiled[at..<at + 8].withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
                return "0x" + String(repeating: "0", count: 16 - String(number, radix: 16).count) + String(number, radix: 16) + ","
            }
            let rows = stride(from: 0, to: numbers.count, by: 6).map {
                "            " + numbers[$0..<min($0 + 6, numbers.count)].joined(separator: " ") + "\n"
            }
            let text = try String(contentsOf: file, encoding: .utf8)
            let begin = try #require(text.firstRange(of: "[UInt64]? = [\n")?.upperBound)
            let end = try #require(text[begin...].firstRange(of: "        ]\n")?.lowerBound)
            try Data((text[..<begin] + rows.joined() + text[end...]).utf8).write(to: file)
        }
        if Platform.native.architecture == "amd64" {
            let kept = try SeccompCompiler(cacheDirectory: nil).program(.standard, capabilities: [])
            #expect(kept.bytes == compiled && kept.flags == 0)
            #expect(SeccompCompiler.standardWithoutCapabilities != nil)
        }
    }

    /// The list that Tests/IntegrationTests/Security holds against a running container; `LUNETTE_RECORD_GOLDEN=1` writes it anew.
    @Test func theAllowedNumbersAreTheRecordedOnes() throws {
        var lines: [String] = []
        for rule in SeccompProfile.standard.syscalls where rule.action == .allow {
            for name in rule.names { if let number = SeccompABI.native.number(of: name) { lines.append("\(number) \(name)") } }
        }
        let text =
            Set(lines).sorted { Int($0.split(separator: " ")[0])! < Int($1.split(separator: " ")[0])! }.joined(separator: "\n") + "\n"
        let file = URL(filePath: #filePath).appending(path: "../../../Probes/allowed-calls-x86_64.txt").standardizedFileURL
        if ProcessInfo.processInfo.environment["LUNETTE_RECORD_GOLDEN"] == "1" { try Data(text.utf8).write(to: file) }
        if Platform.native.architecture == "amd64" { #expect(try String(contentsOf: file, encoding: .utf8) == text) }
    }

    @Test func actionsAreTheKernelsValues() throws {
        let profile = SeccompProfile(
            defaultAction: .allow, defaultErrnoRet: nil,
            syscalls: [
                .init(["getpid"], .killProcess), .init(["getppid"], .killThread), .init(["gettid"], .kill), .init(["getuid"], .trap),
                .init(["getgid"], .log), .init(["geteuid"], .errno, errno: 13), .init(["getegid"], .errno), .init(["getsid"], .trace),
                .init(["getpgrp"], .trace, errno: 4711), .init(["getcwd"], .notify), .init(["no_such_call"], .killProcess),
            ]
        )
        let filter = try interpreter(profile)
        let expected: [(String, BPFInterpreter.Verdict)] = [
            ("getpid", .killProcess), ("getppid", .killThread), ("gettid", .killThread), ("getuid", .trap), ("getgid", .log),
            ("geteuid", .errno(13)), ("getegid", .errno(1)), ("getsid", .trace(1)), ("getpgrp", .trace(4711)), ("getcwd", .notify),
            ("read", .allow),
        ]
        for (name, verdict) in expected { #expect(try self.verdict(filter, name) == verdict, "\(name)") }
    }

    @Test(arguments: SeccompProfile.Action.allCases)
    func everyActionCanBeTheDefault(_ action: SeccompProfile.Action) throws {
        // A notified default is refused when the profile is read; the compiler has no opinion.
        let filter = try interpreter(
            SeccompProfile(
                defaultAction: action, defaultErrnoRet: action == .errno ? 95 : nil,
                syscalls: [.init(["read"], action == .allow ? .errno : .allow)]))
        let expected: [SeccompProfile.Action: BPFInterpreter.Verdict] = [
            .kill: .killThread, .killThread: .killThread, .killProcess: .killProcess, .trap: .trap, .errno: .errno(95), .trace: .trace(1),
            .allow: .allow, .log: .log, .notify: .notify,
        ]
        // A call below the newest that is named, which would otherwise be absent.
        let named = try interpreter(
            SeccompProfile(
                defaultAction: action, defaultErrnoRet: action == .errno ? 95 : nil,
                syscalls: [.init(["read", "close_range"], action == .allow ? .errno : .allow)]))
        #expect(try verdict(named, "getpid") == expected[action])
        #expect(try verdict(filter, "read") == (action == .allow ? .errno(1) : .allow))
    }

    // MARK: several conditions

    @Test func conditionsOnDifferentArgumentsMustAllHold() throws {
        let filter = try interpreter(
            SeccompProfile(
                defaultAction: .errno,
                syscalls: [.init(["socket"], .allow, args: [.init(0, .equal, 16), .init(2, .lessOrEqual, 4)])]))
        #expect(try verdict(filter, "socket", 16, 3, 4) == .allow)
        #expect(try verdict(filter, "socket", 16, 3, 5) == .errno(1))
        #expect(try verdict(filter, "socket", 15, 3, 4) == .errno(1))
    }

    @Test func conditionsOnOneArgumentAreAlternatives() throws {
        let either: [SeccompProfile.Argument] = [.init(0, .equal, 1), .init(0, .equal, 2)]
        let allowing = try interpreter(SeccompProfile(defaultAction: .errno, syscalls: [.init(["socket"], .allow, args: either)]))
        let denying = try interpreter(
            SeccompProfile(
                defaultAction: .errno, syscalls: [.init(["socket"], .allow), .init(["socket"], .errno, errno: 97, args: either)]))
        for family: UInt64 in [0, 1, 2, 3] {
            let matches = family == 1 || family == 2
            #expect(try verdict(allowing, "socket", family) == (matches ? .allow : .errno(1)))
            #expect(try verdict(denying, "socket", family) == (matches ? .errno(97) : .allow))
        }
    }

    @Test func anErrnoThatIsNotGivenIsEPERMWhateverTheDefaultIs() throws {
        let filter = try interpreter(
            SeccompProfile(defaultAction: .errno, defaultErrnoRet: 38, syscalls: [.init(["mount"], .errno), .init(["read"], .allow)]))
        #expect(try verdict(filter, "mount") == .errno(1))
        #expect(try verdict(filter, "getpid") == .errno(38))
    }

    // MARK: calls newer than the profile

    @Test func callsNewerThanTheProfileAreAbsent() throws {
        // statx (332) is the newest that is named.
        let refusing = SeccompProfile(defaultAction: .errno, syscalls: [.init(["read", "statx"], .allow)])
        let filter = try interpreter(refusing)
        #expect(try verdict(filter, "getpid") == .errno(1), "known and refused")
        for number: UInt32 in [333, 424, 462, 0x3fff_ffff] { #expect(filter.run(number: number) == .errno(38), "\(number)") }
        #expect(filter.run(number: 0x4000_0000 + 500) == .killProcess, "x32 isn't listed")
        #expect(filter.run(number: 500, architecture: BPFInterpreter.i386) == .killProcess)
        for action: SeccompProfile.Action in [.allow, .log] {
            let open = try interpreter(SeccompProfile(defaultAction: action, syscalls: [.init(["statx"], .errno)]))
            #expect(open.run(number: 333) == (action == .allow ? .allow : .log))
        }
        let tracing = try interpreter(SeccompProfile(defaultAction: .trace, syscalls: [.init(["statx"], .allow)]))
        #expect(tracing.run(number: 500) == .errno(38))
    }

    // MARK: ABIs

    private static let three = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]

    @Test(.requires(.architecture("amd64"))) func onlyListedABIsAreJudged() throws {
        func filter(_ architectures: [String]) throws -> BPFInterpreter {
            try interpreter(
                SeccompProfile(
                    defaultAction: .errno, architectures: architectures, syscalls: [.init(["read", "mmap2", "cachestat"], .allow)]))
        }
        let native = try filter([])
        #expect(native.run(number: 0) == .allow)
        #expect(native.run(number: 3, architecture: BPFInterpreter.i386) == .killProcess)
        #expect(native.run(number: 0x4000_0000) == .killProcess)
        let both = try filter(["SCMP_ARCH_X86"])
        #expect(both.run(number: 0) == .allow, "the native ABI is judged though it isn't listed")
        #expect(both.run(number: 3, architecture: BPFInterpreter.i386) == .allow)
        #expect(both.run(number: 192, architecture: BPFInterpreter.i386) == .allow, "mmap2, which x86_64 doesn't have")
        #expect(both.run(number: 192) == .errno(1), "its number is another call there")
        #expect(both.run(number: 4, architecture: BPFInterpreter.i386) == .errno(1))
        #expect(both.run(number: 0x4000_0000) == .killProcess)
        let all = try filter(Self.three + ["SCMP_ARCH_S390X"])
        #expect(all.run(number: 0x4000_0000) == .allow)
        #expect(all.run(number: 0x4000_0001) == .errno(1))
        for (number, architecture) in [
            (451, BPFInterpreter.x86_64), (451, BPFInterpreter.i386), (0x4000_0000 + 451, BPFInterpreter.x86_64),
        ] {
            #expect(all.run(number: UInt32(number), architecture: architecture) == .allow, "cachestat")
            #expect(all.run(number: UInt32(number) + 1, architecture: architecture) == .errno(38), "newer than the profile")
        }
    }

    @Test(.requires(.architecture("amd64"))) func refusalsHoldInTheirOwnABIOnly() throws {
        let filter = try interpreter(
            SeccompProfile(
                defaultAction: .errno, architectures: Self.three,
                syscalls: [
                    .init(["ioctl", "unlink", "mseal"], .allow), .init(["ioctl"], .errno, errno: 25, args: [.init(1, .equal, 0x5412)]),
                ]))
        #expect(filter.run(number: 16, arguments: [0, 0x5412]) == .errno(25))
        #expect(filter.run(number: 16, arguments: [0, 0x5413]) == .allow)
        #expect(filter.run(number: 54, arguments: [0, 0x5412], architecture: BPFInterpreter.i386) == .errno(25))
        #expect(filter.run(number: 54, arguments: [0, 0x5413], architecture: BPFInterpreter.i386) == .allow)
        #expect(filter.run(number: 514 | 0x4000_0000, arguments: [0, 0x5412]) == .errno(25), "x32 has a number of its own")
        #expect(filter.run(number: 16, arguments: [0, 0x5412], architecture: BPFInterpreter.i386) == .errno(1), "lchown")
        #expect(filter.run(number: 462, architecture: BPFInterpreter.i386) == .allow, "mseal, which libseccomp doesn't know")
    }

    /// Podman's own profile, for three ABIs: each number's verdict is what reading the rules gives.
    @Test(.requires(.architecture("amd64")), .requires(.file("/usr/share/containers/seccomp.json")))
    func podmansProfileIsCompiledAsItReads() throws {
        let document = try JSON.decode(Array(try Data(contentsOf: URL(filePath: "/usr/share/containers/seccomp.json"))), source: "profile")
        var profile = try SeccompProfile(document, dialect: .engine(Capability.defaults))
        profile.architectures = Self.three
        let filter = try interpreter(profile)
        for abi in SeccompABI.judged(by: profile) {
            var expected: [UInt32: Set<BPFInterpreter.Verdict>] = [:]
            for rule in profile.syscalls {
                for name in rule.names {
                    guard let number = abi.number(of: name) else { continue }
                    expected[number, default: []].insert(rule.action == .allow ? .allow : .errno(rule.errnoRet ?? 1))
                    if !rule.args.isEmpty { expected[number, default: []].insert(.errno(38)) }
                }
            }
            // Reached through socketcall and ipc as well, or through nothing else: libseccomp's matter.
            let multiplexed: Set<UInt32> = abi == .x86 ? Set([102, 117, 337, 345] + Array(359...373) + Array(393...402)) : []
            for index: UInt32 in 0...600 where !multiplexed.contains(index) {
                let number = abi == .x32 ? index | 0x4000_0000 : index
                let verdict = try #require(filter.run(number: number, architecture: abi.auditArchitecture))
                #expect((expected[number] ?? [.errno(38)]).contains(verdict), "\(abi) \(index): \(verdict)")
            }
        }
    }
}
