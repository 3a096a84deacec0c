import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// What a container with the defaults gets out of the kernel: research's attacks 18 and 20–31, keyrings among them.
@Suite(.requires(.root, .overlay, .userNamespaces, .seccomp, .command("gcc")))
struct KernelSurfaceTests {
    /// Without the filter and with all capabilities over its own namespaces.
    private static let off = ["--security-opt", "seccomp=unconfined", "--cap-add", "ALL"]

    @Test func dangerousCallsNeverReachTheKernel() async throws {
        try await withLunette { home in
            let open = try await home.attack("calls", options: Self.off)
            for name in ["mount", "unshare", "clone-newuser", "keyctl", "add_key", "socket-packet"] {
                undefended("\(name) without the filter", open[name] == "ok", open[name] ?? "no answer")
            }
            let answers = try await home.attack("calls")
            #expect(answers.count >= 50)
            for (name, answer) in answers {
                switch name {
                case "socket-route": #expect(answer == "ok")
                case "x32-getpid", "i386-getpid": #expect(answer == "killed 31", "\(name): \(answer)")
                default: #expect(answer == "1" || answer == "38", "\(name): \(answer)")
                }
            }
        }
    }

    /// The same probe without the defences: what it is refused above is not refused for another reason. Calls that want the first user
    /// namespace's own capabilities (modules, kexec, swap, device nodes …) the kernel refuses a container's root either way.
    @Test func withoutTheFilterTheSameCallsReachTheKernel() async throws {
        try await withLunette { home in
            let answers = try await home.attack("calls", options: Self.off)
            for name in [
                "mount", "umount2", "fsopen", "open_tree", "unshare", "clone3", "clone-newuser", "clone-newnet", "keyctl", "add_key",
                "personality-no-randomize", "socket-packet", "socket-raw", "socket-xfrm",
            ] {
                undefended("\(name)", answers[name] == "ok", answers[name] ?? "no answer")
            }
            // Refused by the kernel for their arguments: EINVAL, EBADF, EFAULT.
            for (name, error) in [
                ("move_mount", "22"), ("pivot_root", "22"), ("open_by_handle_at", "22"), ("reboot", "22"), ("fsmount", "9"), ("setns", "9"),
                ("pidfd_getfd", "9"), ("settimeofday", "14"), ("clock_settime", "14"), ("sethostname", "14"),
            ] {
                undefended("\(name)", answers[name] == error, answers[name] ?? "no answer")
            }
            for name in ["i386-getpid", "x32-getpid"] {
                // A kernel may be built without them; what it isn't is killed.
                undefended("\(name)", answers[name] == "ok" || answers[name] == "38", answers[name] ?? "no answer")
            }
        }
    }

    private func allowedNumbers() throws -> Set<String> {
        let table = try String(contentsOfFile: "\(LunetteHome.package)/Tests/Probes/allowed-calls-x86_64.txt", encoding: .utf8)
        return Set(table.split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) })
    }

    /// All numbers, with arguments that mean nothing, against the list that the unit tests keep.
    @Test func onlyListedNumbersReachTheKernel() async throws {
        let allowed = try allowedNumbers()
        try await withLunette { home in
            let open = try await home.attack("numbers", "600", options: Self.off)
            let reached = open.filter { !allowed.contains($0.key) && $0.value != "1" && $0.value != "38" }
            undefended("numbers that aren't listed reach the kernel without the filter", reached.count > 20, reached)
            let answers = try await home.attack("numbers", "600")
            #expect(answers.count > 550)
            // The kernel lets uretprobe and uprobe (335, 336 on x86-64) past every filter, and they do nothing outside a probe's trampoline.
            for (number, answer) in answers where !allowed.contains(number) && number != "335" && number != "336" {
                #expect(answer == "1" || answer == "38", "call \(number): \(answer)")
            }
            // The list is no dead letter: some of what it allows answers with an error of its own.
            #expect(answers.contains { allowed.contains($0.key) && $0.value == "9" })
        }
    }

    @Test func settingsOfTheHostCannotBeWritten() async throws {
        let before = try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8)
        // Without a user namespace and read-only paths they open (nothing is written).
        try await withBundle { bundle in
            let settings = [
                "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/proc/irq/default_smp_affinity",
            ].filter { FileManager.default.fileExists(atPath: $0) }
            #expect(settings.count > 1)
            bundle.change(["process": ["args": .array((["/probe"] + settings.map { "write=\($0)" }).map { .string($0) })]])
            let said = ProbeAnswers(try await bundle.run(expecting: 0))
            for path in settings { undefended("\(path) opens for writing", said["write.\(path)"] == "ok", said) }
        }
        try await withLunette { home in
            let paths = [
                "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/proc/sys/kernel/modprobe",
                "/proc/irq/default_smp_affinity",
                "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/release_agent",
                "/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cgroup.procs", "/proc/1/oom_score_adj_x",
            ]
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            let finished = try await home.command(["run", "--rm", "-v", "\(probe):/attack:ro", image, "/attack", "write"] + paths).run()
            let answers = LunetteHome.answers(finished.lines)
            #expect(answers.count == paths.count)
            for (name, answer) in answers { #expect(answer != "ok", "\(name)") }
        }
        #expect(try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8) == before)
    }

    @Test func whatTellsOfTheHostIsMasked() async throws {
        try await withLunette { home in
            let paths = [
                "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/proc/acpi",
                "/proc/interrupts",
                "/proc/asound", "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/kallsyms_x", "/dev/mem", "/dev/kmsg", "/dev/vda",
                "/dev/sda", "/dev/loop0",
                "/dev/kvm", "/dev/fuse",
            ]
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            let finished = try await home.command(["run", "--rm", "-v", "\(probe):/attack:ro", image, "/attack", "read"] + paths).run()
            let answers = LunetteHome.answers(finished.lines)
            #expect(answers.count == paths.count)
            for (name, answer) in answers { #expect(answer != "ok", "\(name)") }
            // Unmasked, what has contents for everybody is read.
            let unmasked = try await home.attack("read", "/proc/interrupts", options: ["--privileged"])
            undefended("unmasked, the host's interrupts are read", unmasked == ["read:/proc/interrupts": "ok"], unmasked)
        }
    }

    @Test func capabilitiesAreTheDeclaredOnes() async throws {
        try await withBundle { bundle in
            // Where a configuration gives inheritable and ambient ones, that is what a program sees, one of another user too.
            let set: Value = ["CAP_KILL"]
            bundle.change([
                "process": [
                    "user": ["uid": 1000, "gid": 1000],
                    "capabilities": ["bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": set],
                ]
            ])
            let status = try await bundle.run("status")
            for name in ["inheritable", "ambient", "effective"] {
                undefended("\(name) capabilities are had where they are given", status["caps.\(name)"] == "CAP_KILL", status)
            }
        }
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let line = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"
            func status(_ text: String) -> [String: String] {
                var result: [String: String] = [:]
                for line in text.split(separator: "\n") {
                    let words = line.split(whereSeparator: { $0 == ":" || $0 == "\t" || $0 == " " })
                    if words.count == 2 { result[String(words[0])] = String(words[1]) }
                }
                return result
            }
            // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP
            let expected = [
                "CapInh": "0", "CapPrm": "800405fb", "CapEff": "800405fb", "CapBnd": "800405fb", "CapAmb": "0", "NoNewPrivs": "1",
                "Seccomp": "2",
            ]
            func check(_ text: String, _ who: String) {
                for (key, value) in expected {
                    let found = status(text)[key]?.drop { $0 == "0" }
                    #expect(found.map { $0.isEmpty ? "0" : String($0) } == value, "\(key) of \(who)")
                }
            }
            check(try await home.lunette("run", "--rm", image, "sh", "-c", line).text, "the program")
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            check(try await home.lunette("exec", "c", "sh", "-c", line).text, "an exec")
            let asUser = status(try await home.lunette("exec", "--user", "app", "c", "sh", "-c", line).text)
            #expect(asUser["CapEff"].map { UInt64($0, radix: 16) } == 0)
            #expect(asUser["CapInh"].map { UInt64($0, radix: 16) } == 0)
            let none = status(try await home.lunette("run", "--rm", "--cap-drop", "ALL", image, "sh", "-c", line).text)
            #expect(none["CapBnd"].map { UInt64($0, radix: 16) } == 0)
        }
    }

    @Test func everyNamespaceIsItsOwn() async throws {
        try await withBundle { bundle in
            for kind in ["pid", "network", "ipc", "uts"] { bundle.withoutNamespace(kind) }
            let shared = try await bundle.run("ns", "stat=/proc/\(getpid())")
            for kind in ["cgroup", "ipc", "net", "pid", "user", "uts"] {
                let ours = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/\(kind)")
                undefended("a namespace that isn't asked for is the host's", shared["ns.\(kind)"] == ours, shared)
            }
            undefended("its processes are seen there", shared["stat./proc/\(getpid())"]?.hasPrefix("!") == false, shared)
        }
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
            let line = "for kind in \(kinds.joined(separator: " ")); do readlink /proc/self/ns/$kind; done"
            let inside = try await home.lunette("run", "--rm", image, "sh", "-c", line).lines
            #expect(inside.count == kinds.count)
            for (kind, name) in zip(kinds, inside) {
                #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/\(kind)") != name, "\(kind)")
            }
            // The processes that are seen are the container's alone, and no signal leads out.
            #expect(
                try await home.lunette("run", "--rm", image, "sh", "-c", "ls -d /proc/[0-9]* | wc -l").text.trimmingCharacters(
                    in: .whitespaces) < "9")
        }
    }

    /// CVE-2020-15257: abstract sockets belong to the network namespace.
    @Test func abstractSocketsOfTheHostAreOutOfReach() async throws {
        let name = "lunette-canary-\(UInt64.random(in: 0...UInt64.max))"
        let listener = try Command([
            "python3", "-c",
            "import socket,time;s=socket.socket(socket.AF_UNIX);s.bind('\\0\(name)');s.listen();print('ready',flush=True);time.sleep(60)",
        ])
        .start()
        defer { listener.signal(SIGKILL) }
        try await listener.says("ready")
        try await withLunette { home in
            if home.user == nil {
                let shared = try await home.attack("abstract", name, options: ["--network", "host"])["abstract"]
                undefended("in the host's network namespace the socket answers", shared == "ok", shared ?? "no answer")
            }
            let answer = try await home.attack("abstract", name)["abstract"]
            #expect(answer == "111")
        }
    }

    /// CVE-2017-5226, CVE-2019-10063.
    @Test(.requires(.command("script")))
    func nothingTypesIntoATerminal() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            func answers(_ options: String) async throws -> ([String: String], String) {
                let line = "\(home.words.joined(separator: " ")) run --rm -t \(options) -v \(probe):/attack:ro \(image) /attack terminal"
                let text = try await Command(["script", "-qec", line, "/dev/null"], environment: home.environment).run().text
                return (LunetteHome.answers(text.replacingOccurrences(of: "\r", with: "").components(separatedBy: "\n")), text)
            }
            // Without the filter the call reaches the kernel, which lets it through or, where dev.tty.legacy_tiocsti is 0, says EIO.
            let off = try await answers("--security-opt seccomp=unconfined").0
            // What it types is echoed in front of its own words.
            let typed = off.filter { $0.key == "tiocsti" || $0.key == "xtiocsti" }.values
            undefended("without the filter typing reaches the kernel", typed.contains { $0 == "ok" || $0 == "5" }, off)
            let (answers, text) = try await answers("")
            for name in ["tiocsti", "tiocsti-upper-bits", "tioclinux"] { #expect(answers[name] == "1", "\(name): \(text)") }
        }
    }

    @Test func aSetuidProgramGainsNothing() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            let script = """
                local lunette = require 'lunette'
                lunette.image.build { tag = 'lunette.test/setuid:1', from = '\(image)', copy = { { from = '\(probe)', to = '/attack', mode = '4755' } } }
                """
            _ = try await home.script(script)
            #expect(
                try await home.lunette("run", "--rm", "--user", "app", "lunette.test/setuid:1", "/attack", "ids").text
                    == "1000 1000 1000 1000")
            let off = [
                "run", "--rm", "--user", "app", "--security-opt", "no-new-privileges=false", "lunette.test/setuid:1", "/attack", "ids",
            ]
            if home.user == nil {
                let ids = try await home.command(off).run().text
                undefended("with new privileges the program becomes root", ids == "1000 0 1000 1000", ids)
            }
        }
    }

    /// Attack 23: with every call allowed, because the default profile has none of the three. Keyrings are not namespaced.
    @Test(.requires(.command("python3")))
    func aContainerHasASessionKeyringOfItsOwn() async throws {
        // The command, the engine that it starts and its shims inherit a session that holds a key.
        let program = """
            import ctypes, os, subprocess, sys
            call = ctypes.CDLL(None, use_errno=True).syscall
            add, control = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
            assert call(control, 1, None) > 0
            serial = call(add, b"user", b"lunette-canary", b"secret", ctypes.c_size_t(6), -3)
            assert serial > 0
            assert call(control, 10, -3, b"user", b"lunette-canary", 0) == serial
            sys.exit(subprocess.run([word.replace("SERIAL", str(serial)) for word in sys.argv[1:]]).returncode)
            """
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.stopEngine()
            let probe = try await CProbe.attack.path()
            // Started in a user namespace as it is, without a session of its own, the same probe has the key.
            let naive = ["unshare", "-Ur", probe, "keys", "SERIAL", "lunette-canary"]
            let found = LunetteHome.answers(try await Command(["python3", "-c", program] + naive).run().lines)
            for name in ["search-session", "read"] { undefended("the caller's key: \(name)", found[name] == "ok", found) }
            let run = ["run", "--rm", "--security-opt", "seccomp=unconfined", "-v", "\(probe):/attack:ro", image]
            let line = home.words + run + ["/attack", "keys", "SERIAL", "lunette-canary"]
            let finished = try await Command(["python3", "-c", program] + line, environment: home.environment).run()
            let answers = LunetteHome.answers(finished.lines)
            #expect(answers["own"] == "ok", "\(finished.text)")
            for name in ["search-session", "search-user", "search-user-session", "request", "read", "describe", "link"] {
                #expect(answers[name] != nil && answers[name] != "ok", "\(name): \(finished.text)")
            }
            // An exec joins a session of its own as well; the engine still runs in the one with the key.
            try await home.command(["run", "-d", "--name", "c"] + run.dropFirst(2) + ["sleep", "60"]).run()
            let exec = LunetteHome.answers(try await home.lunette("exec", "c", "/attack", "keys", "0", "lunette-canary").lines)
            for name in ["search-session", "search-user", "search-user-session", "request"] {
                #expect(exec[name] != nil && exec[name] != "ok", "\(name) of an exec")
            }
            #expect(exec["own"] == "ok")
        }
    }
}
