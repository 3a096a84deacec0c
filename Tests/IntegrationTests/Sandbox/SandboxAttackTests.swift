import Foundation
import Glibc
import LunetteTesting
import Testing

/// What a hostile program does in a sandbox. Each attack is first shown to work for the same user without one.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("setpriv"), .command("gcc")))
struct SandboxAttackTests {
    /// Runs the probe without and within, and gives both answers by the first word.
    private func both(
        _ place: SandboxPlace, _ words: [String], _ options: [String] = []
    ) async throws -> (
        without: [String], within: [String]
    ) {
        let probe = place.probe
        let without = try await place.command([probe] + words).run()
        let within = try await place.command(
            ["\(place.folder)/bin/lunette", "sandbox", "--allow-write", place.tree, "--allow-read", probe] + options + ["--", probe] + words
        ).run()
        return (without.lines, within.lines)
    }

    @Test(arguments: SandboxCaller.allCases)
    func secretsAndWhatLiesOutsideAreNotThere(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let paths = ["\(place.home)/.ssh/id_rsa", "\(place.outside)/file"]
            let words = paths.flatMap { ["read", $0] } + ["write", "\(place.outside)/file"]
            let (without, within) = try await both(place, words)
            #expect(without == ["read ok", "read ok", "write ok"])
            #expect(within == ["read \(ENOENT)", "read \(ENOENT)", "write \(ENOENT)"])
        }
    }

    /// Attack 34.
    @Test(arguments: SandboxCaller.allCases)
    func linksOutOfAnAllowedFolderLeadNowhere(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(
                [
                    "sh", "-c",
                    "ln -s \(place.outside)/file absolute; ln -s ../../outside/file relative; ln -s /proc/self/root\(place.outside)/file magic",
                ]
            ).run()
            let words = [
                "absolute", "relative", "magic", "../../outside/file", "/proc/self/root\(place.outside)/file",
                "/proc/1/root\(place.outside)/file", "/proc/1/cwd",
            ]
            .flatMap { ["read", $0] }
            let (without, within) = try await both(place, words)
            #expect(without.prefix(5) == ["read ok", "read ok", "read ok", "read ok", "read ok"])
            #expect(within.allSatisfy { $0 != "read ok" }, "\(within)")
        }
    }

    /// A folder that is renamed away beneath whoever stands in it: `..` from there must not lead out.
    @Test(arguments: SandboxCaller.allCases)
    func aFolderMovedAwayIsNoWayOut(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["mkdir", "-p", "a/b", "a/c"]).run()
            let line =
                "cd a/b; echo in; read go; cat ../../../outside/file ../../../../outside/file ../../../../../outside/file; ls ../.ssh ../../.ssh; pwd -P"
            let running = try place.command(
                [
                    "\(place.folder)/bin/lunette", "sandbox", "--allow-write", "\(place.tree)/a", "--", "sh", "-c",
                    "cd '\(place.tree)'; \(line)",
                ],
                input: "go\n"
            ).start()
            try await running.says("in")
            // The host moves it out of the tree that is seen.
            rename("\(place.tree)/a/b", "\(place.outside)/b")
            let finished = try await running.wait()
            #expect(!finished.text.contains(place.secret) && !finished.errorText.contains(place.secret))
            #expect(!finished.text.contains("id_rsa"))
        }
    }

    /// Attack 24.
    @Test(arguments: SandboxCaller.allCases)
    func processesOfTheHostCanBeNeitherTracedNorSignalled(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let victim = try place.command(["sh", "-c", "echo up; exec sleep 600"]).start()
            try await victim.says("up")
            let (without, within) = try await both(place, ["signal", "\(victim.pid)", "trace", "\(victim.pid)"])
            #expect(without == ["signal ok", "trace ok"])
            #expect(within == ["signal \(ESRCH)", "trace \(ESRCH)"])
            victim.signal(SIGKILL)
            _ = try await victim.wait()
        }
    }

    /// Attack 31: with the host's network the namespace holds nothing back; Landlock's scope does (ABI 6).
    @Test(arguments: SandboxCaller.allCases)
    func abstractSocketsOfTheHostAreOutOfReach(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let name = "lunette-\(UUID().uuidString)"
            let listener = try place.command([place.probe, "listen-abstract", name]).start()
            try await listener.says("listening")
            let (without, within) = try await both(place, ["abstract", name])
            #expect(without == ["abstract ok"])
            #expect(within == ["abstract \(ECONNREFUSED)"])
            let explained = try await place.sandbox("--explain", "--network", "host", expecting: 0).text
            if explained.contains("abstract sockets, signals") {
                #expect(try await both(place, ["abstract", name], ["--network", "host"]).within == ["abstract \(EPERM)"])
                // Without that layer it works: nothing else holds it.
                #expect(try await both(place, ["abstract", name], ["--network", "host", "--no-landlock"]).within == ["abstract ok"])
            } else {
                #expect(explained.contains("abstract sockets of the host: not enforced"))
            }
            listener.signal(SIGKILL)
            _ = try await listener.wait()
        }
    }

    /// Attack 3.
    @Test(arguments: SandboxCaller.allCases)
    func descriptorsOfTheCallerAreNotInherited(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let probe = place.probe
            let open = "exec 7< \(place.home)/.ssh/id_rsa 8> \(place.outside)/new 9< /;"
            let without = try await place.plain("\(open) \(probe) descriptors")
            #expect(without.text == "descriptors 3")
            let line = "\(open) \(place.folder)/bin/lunette sandbox --allow-read \(probe) -- \(probe) descriptors"
            let within = try await place.plain(line)
            #expect(within.text == "descriptors 0")
        }
    }

    /// A file that is only given to be read could be opened again for writing through /proc.
    @Test(arguments: SandboxCaller.allCases)
    func aStreamCannotBeOpenedAgainWider(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let reopen = "echo overwritten > /proc/self/fd/0"
            try await place.command(["sh", "-c", "cp \(place.outside)/file \(place.outside)/copy"]).run()
            _ = try await place.plain("sh -c '\(reopen)' < \(place.outside)/copy")
            #expect(place.contents("\(place.outside)/copy") == "overwritten\n")
            let explained = try await place.sandbox("--explain", expecting: 0).text
            guard explained.contains("landlock     ABI") else { return }
            _ = try await place.plain("\(place.folder)/bin/lunette sandbox -- sh -c '\(reopen)' < \(place.outside)/file")
            #expect(place.contents("\(place.outside)/file") == place.secret)
        }
    }

    /// Attack 18.
    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func nothingIsTypedIntoTheTerminal(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let probe = place.probe
            func onTerminal(_ line: String) async throws -> String {
                try await place.command(["script", "-qec", line, "/dev/null"]).run(expecting: nil).text
            }
            let without = try await onTerminal("\(probe) tiocsti")
            // A kernel with dev.tty.legacy_tiocsti=0 refuses it to everybody (EIO).
            let isLegacy = place.contents("/proc/sys/dev/tty/legacy_tiocsti")?.hasPrefix("1") ?? true
            #expect(without.contains(isLegacy ? "tiocsti ok" : "tiocsti"))
            // In a terminal of its own, and in ours.
            for option in ["", "--no-tty"] {
                let within = try await onTerminal("\(place.folder)/bin/lunette sandbox \(option) --allow-read \(probe) -- \(probe) tiocsti")
                #expect(within.contains("tiocsti \(EPERM)"), "\(option): \(within)")
            }
            // Without the filter too: what is typed stays in the terminal that is its own, and ours isn't one that it controls.
            // The end of script(1)'s own input comes as a NUL, which isn't meant.
            func unfiltered(_ command: String) async throws -> String {
                let line =
                    "stty -icanon min 0\n\(command) \(probe) tiocsti\necho \"got [$(dd bs=8 count=1 status=none | tr -d '\\000\\004')]\"\n"
                try Data(line.utf8).write(to: URL(fileURLWithPath: "\(place.tree)/typed"))
                return try await onTerminal("sh typed")
            }
            if isLegacy { #expect(try await unfiltered("").contains("got [x]")) }
            for option in ["", "--no-tty"] {
                let sandbox = "\(place.folder)/bin/lunette sandbox \(option) --seccomp unconfined --allow-read . --allow-read \(probe) --"
                #expect(try await unfiltered(sandbox).contains("got []"), "\(option)")
            }
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func readOnlyMountsCannotBeMadeWritableOrTakenAway(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let line = """
                mount -o remount,rw,bind /usr 2>/dev/null && echo remounted; umount /usr 2>/dev/null && echo unmounted; umount -l / 2>/dev/null && echo gone
                mount -t tmpfs none /usr 2>/dev/null && echo covered; unshare -Urm true 2>/dev/null && echo namespace; touch /usr/x 2>/dev/null && echo written; echo end
                """
            #expect(try await place.sandbox("--", "sh", "-c", line).text == "end")
            // Without the filter, in a namespace where the program may mount, the kernel's locks still hold.
            let deeper = """
                unshare -Urm sh -c 'mount -o remount,rw,bind /usr 2>/dev/null && echo remounted; umount /usr 2>/dev/null && echo unmounted; echo inside'; echo end
                """
            let locked = try await place.sandbox("--seccomp", "unconfined", "--no-landlock", "--", "sh", "-c", deeper)
            // A root without capabilities isn't mapped again by the kernel (CAP_SETFCAP), so there is no such namespace.
            #expect(locked.lines == (caller == .user ? ["inside", "end"] : ["end"]))
        }
    }

    /// Attack 21: the kernel asks only for root's number before it lets settings be written.
    @Test func rootsSandboxWritesNoSettingOfTheMachine() async throws {
        try await withSandboxPlace(.root) { place in
            let path = "/proc/sys/kernel/core_pattern"
            let before = try #require(place.contents(path))
            let probe = place.probe
            let without = try await place.command([probe, "write", path]).run().lines
            #expect(without == ["write ok"])
            for options in [[], ["--no-landlock"], ["--seccomp", "unconfined", "--no-landlock"]] {
                let words = ["write", path, "write", "/proc/sysrq-trigger", "write", "/proc/sys/vm/drop_caches"]
                let within = try await both(place, words, options).within
                #expect(within.allSatisfy { !$0.hasSuffix("ok") }, "\(options): \(within)")
            }
            #expect(place.contents(path) == before)
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func setIDProgramsAndCapabilitiesGiveNothing(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let status = try await place.sandbox("--", "cat", "/proc/self/status", expecting: 0).lines
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] { #expect(status.contains("\(set):\t0000000000000000")) }
            #expect(status.contains("NoNewPrivs:\t1"))
            #expect(status.contains("Seccomp:\t2"))
            // Every id but one's own is nobody's inside.
            let map = try await place.sandbox("--", "cat", "/proc/self/uid_map", expecting: 0).text
            #expect(map.split(separator: " ").map(String.init) == ["\(caller.uid)", "\(caller.uid)", "1"])
            guard caller == .user else { return }
            let copy = "\(place.tree)/id"
            try FileManager.default.copyItem(atPath: "/usr/bin/id", toPath: copy)
            chown(copy, 0, 0)
            chmod(copy, 0o4755)
            #expect(try await place.plain("./id -u").text == "0")
            #expect(try await place.sandbox("--", "./id", "-u").text == "\(SandboxCaller.uid)")
        }
    }

    /// Attack 32.
    @Test(arguments: SandboxCaller.allCases)
    func aForkBombStaysInsideAndEndsWithItsTime(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let count = "n=0; while [ $n -lt 60 ]; do sleep 600 & n=$((n+1)); done; echo made $n"
            #expect(try await place.sandbox("--", "sh", "-c", count).text == "made 60")
            let limited = try await place.sandbox("--pids-limit", "20", "--", "sh", "-c", count)
            #expect(!limited.text.contains("made 60"))
            let bomb = try await place.sandbox("--pids-limit", "50", "--timeout", "1s", "--", "bash", "-c", "f() { f | f & }; f; sleep 600")
            #expect(bomb.code == 124)
        }
    }

    /// Attack 29: nodes of the host's are neither there nor can they be made.
    @Test(arguments: SandboxCaller.allCases)
    func deviceNodesAreTheUsualSix(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let names = try await place.sandbox("--", "ls", "/dev", expecting: 0).lines
            #expect(
                Set(names) == ["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"])
            let tries = "mknod disk b 8 0; mknod mem c 1 1; touch /dev/new; echo x > /dev/null; echo end"
            #expect(try await place.sandbox("--", "sh", "-c", tries).text == "end")
            #expect(try FileManager.default.contentsOfDirectory(atPath: place.tree).isEmpty)
            // A node that lies in an allowed folder doesn't open.
            mknod("\(place.tree)/null", S_IFCHR | 0o666, makedev(1, 3))
            chmod("\(place.tree)/null", 0o666)
            let (without, within) = try await both(place, ["read", "\(place.tree)/null"])
            #expect(without == ["read ok"])
            #expect(within == ["read \(EACCES)"])
        }
    }

    /// Attack 1: the shim's file belongs to the same user. Nothing in the sandbox runs from it but pid 1, and that can't be looked into.
    @Test(arguments: SandboxCaller.allCases)
    func theShimsFileIsOutOfReach(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let shim = "\(place.folder)/bin/lunette-shim"
            chown(shim, caller.uid, caller.uid)
            let before = place.contents(shim)?.count
            let words = ["write", "/proc/1/exe", "read", "/proc/1/exe", "read", "/proc/1/fd/3", "read", "/proc/1/mem", "trace", "1"]
            let within = try await both(place, words, ["--no-landlock", "--seccomp", "unconfined"]).within
            #expect(within.allSatisfy { !$0.hasSuffix(" ok") }, "\(within)")
            try Data("#!/proc/self/exe\n".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/evil"))
            chmod("\(place.tree)/evil", 0o755)
            let evil = try await place.sandbox("--no-landlock", "--", "\(place.tree)/evil")
            #expect(evil.code != 0)
            #expect(place.contents(shim)?.count == before)
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func nothingOfASandboxShowsOnTheHost(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let running = try place.command(["\(place.folder)/bin/lunette", "sandbox", "--", "sh", "-c", "echo up; exec sleep 600"]).start()
            try await running.says("up")
            let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
            #expect(!mounts.contains(place.folder))
            running.signal(SIGTERM)
            _ = try await running.wait()
        }
    }
}

private func makedev(_ major: UInt, _ minor: UInt) -> dev_t { dev_t(major << 8 | minor) }
