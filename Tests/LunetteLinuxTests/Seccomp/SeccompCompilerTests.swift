import Foundation
import LunetteLinux
import LunetteSpec
import Testing

@Suite struct SeccompCompilerTests {
    private func interpreter(_ profile: SeccompProfile) throws -> BPFInterpreter {
        BPFInterpreter(instructions: try #require(BPFInstruction.decode(try SeccompCompiler.compile(profile))))
    }

    private func verdict(_ filter: BPFInterpreter, _ name: String, _ arguments: UInt64...) throws -> BPFInterpreter.Verdict? {
        filter.run(number: UInt32(try #require(SeccompCompiler.number(of: name), "\(name) is unknown here")), arguments: arguments)
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

    /// The list that Tests/IntegrationTests/Security holds against a running container; `LUNETTE_RECORD_GOLDEN=1` writes it anew.
    @Test func theAllowedNumbersAreTheRecordedOnes() throws {
        var lines: [String] = []
        for rule in SeccompProfile.standard.syscalls where rule.action == .allow {
            for name in rule.names { if let number = SeccompCompiler.number(of: name) { lines.append("\(number) \(name)") } }
        }
        let text =
            Set(lines).sorted { Int($0.split(separator: " ")[0])! < Int($1.split(separator: " ")[0])! }.joined(separator: "\n") + "\n"
        let file = URL(filePath: #filePath).appending(path: "../../../Probes/allowed-calls-x86_64.txt").standardizedFileURL
        if ProcessInfo.processInfo.environment["LUNETTE_RECORD_GOLDEN"] == "1" { try Data(text.utf8).write(to: file) }
        if Platform.native.architecture == "amd64" { #expect(try String(contentsOf: file, encoding: .utf8) == text) }
    }

    @Test func actionsAreTheKernelsValues() throws {
        let profile = SeccompProfile(
            defaultAction: .allow,
            syscalls: [
                .init(["getpid"], .killProcess), .init(["getppid"], .killThread), .init(["getuid"], .trap), .init(["getgid"], .log),
                .init(["geteuid"], .errno, errno: 13), .init(["getegid"], .errno), .init(["no_such_call"], .killProcess),
            ]
        )
        let filter = try interpreter(profile)
        let expected: [(String, BPFInterpreter.Verdict)] = [
            ("getpid", .killProcess), ("getppid", .killThread), ("getuid", .trap), ("getgid", .log), ("geteuid", .errno(13)),
            ("getegid", .errno(1)),
            ("read", .allow),
        ]
        for (name, verdict) in expected { #expect(try self.verdict(filter, name) == verdict, "\(name)") }
    }
}
