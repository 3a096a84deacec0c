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
            undefended("the same user's files", without == ["read ok", "read ok", "write ok"], without)
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
            // Another process of the same user, whose root and working folder lead to the host's. Pid 1 is another one inside than outside.
            let other = try place.command(["sh", "-c", "echo up; exec sleep 600"]).start()
            try await other.says("up")
            let paths = [
                "absolute", "relative", "magic", "../../outside/file", "/proc/self/root\(place.outside)/file",
                "/proc/\(other.pid)/root\(place.outside)/file", "/proc/\(other.pid)/cwd/absolute",
            ]
            let (without, _) = try await both(place, paths.flatMap { ["read", $0] })
            undefended("each of the paths leads to the file", without == paths.map { _ in "read ok" }, without)
            let inside = paths + ["/proc/1/root\(place.outside)/file", "/proc/1/cwd/absolute"]
            let (_, within) = try await both(place, inside.flatMap { ["read", $0] })
            #expect(within.count == inside.count && within.allSatisfy { $0 != "read ok" }, "\(within)")
            other.signal(SIGKILL)
            _ = try await other.wait()
        }
    }

    /// A folder that is renamed away beneath whoever stands in it: `..` from there must not lead out.
    @Test(arguments: SandboxCaller.allCases)
    func aFolderMovedAwayIsNoWayOut(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            // From where it lies then, the first two names lead to the file and the key; the others would from where it lay.
            let line = """
                cd '\(place.tree)/a/b' && echo stands there; while [ ! -e moved ]; do sleep 0.01; done
                cat ../file; ls ../../home/.ssh; cat ../../../../outside/file ../../../../../outside/file; ls ../../../.ssh; pwd -P
                """
            /// Has the host move the folder out of the tree that is seen, beneath whoever runs the line.
            func moved(_ words: [String]) async throws -> Finished {
                try await place.command(["mkdir", "-p", "a/b"]).run()
                let running = try place.command(words + ["sh", "-c", line]).start()
                try await running.says("stands there")
                #expect(rename("\(place.tree)/a/b", "\(place.outside)/b") == 0)
                try Data().write(to: URL(fileURLWithPath: "\(place.outside)/b/moved"))
                let finished = try await running.wait()
                try FileManager.default.removeItem(atPath: "\(place.outside)/b")
                return finished
            }
            let without = try await moved([])
            undefended(".. leads out", without.text.contains(place.secret) && without.text.contains("id_rsa"), without.text)
            let within = try await moved(["\(place.folder)/bin/lunette", "sandbox", "--allow-write", "\(place.tree)/a", "--"])
            #expect(!within.text.contains(place.secret) && !within.errorText.contains(place.secret))
            #expect(!within.text.contains("id_rsa"))
        }
    }

    /// The folders above a narrower rule are moved away, and others put in their place: for what is there now, and for the next sandbox.
    @Test(arguments: SandboxCaller.allCases)
    func aNarrowerRuleHoldsWhateverIsRenamed(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["sh", "-c", "mkdir -p a/b/c conf/d; echo kept > a/b/c/file; echo '\(place.secret)' > conf/d/key"])
                .run()
            let moves = """
                mv a a2; mv a/b a/b2; mv conf conf2; mv conf/d conf/d2; mkdir -p a/b/c conf/d; echo evil > a/b/c/file; echo fake > conf/d/key
                cat conf/d/key conf2/d/key conf/d2/key; rm -rf a conf; true
                """
            for _ in 1...2 {
                let within = try await place.sandbox(
                    "--allow-write", ".", "--allow-read", "a/b/c", "--hide", "conf/d/key", "--", "sh", "-c", moves, expecting: 0)
                #expect(!within.text.contains(place.secret))
                #expect(place.contents("\(place.tree)/a/b/c/file") == "kept\n")
                #expect(place.contents("\(place.tree)/conf/d/key") == place.secret + "\n")
            }
            let explained = try await place.sandbox("--explain", "--allow-write", ".", "--allow-read", "a/b/c", expecting: 0).text
            #expect(explained.contains("can't be renamed, for what narrower rules say in them: \(place.tree)/a, \(place.tree)/a/b\n"))
            // Without the rules there is nothing to hold them.
            try await place.sandbox("--allow-write", ".", "--", "sh", "-c", moves, expecting: 0)
            undefended("a tree without narrower rules", place.contents("\(place.tree)/a/b/c/file") != "kept\n", "still there")
        }
    }

    /// A link in what may be written could lead the same rule elsewhere for the next sandbox.
    @Test(arguments: SandboxCaller.allCases)
    func rulesGoThroughNoLinkThatTheProgramCanMove(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(
                [
                    "sh", "-c",
                    "echo '\(place.secret)' > .env.local; ln -s .env.local .env; mkdir real; echo r > real/file; ln -s real link; ln -s link link2",
                ]
            ).run()
            for (rules, link, target) in [
                (["--hide", ".env"], ".env", ".env.local"), (["--allow-read", "link/file"], "link", "real/file"),
                (["--private", "link2"], "link2", "real"), (["--tmpfs", "link"], "link", "real"),
                (["--tmpfs", "link/new"], "link", "real/new"),
            ] {
                let refused = try await place.command(
                    ["\(place.folder)/bin/lunette", "sandbox", "--allow-write", "."] + rules + ["--", "true"]
                ).run(expecting: 125)
                #expect(refused.errorText.contains("goes through the symbolic link \(place.tree)/\(link)"), "\(refused.errorText)")
                #expect(refused.errorText.contains("name what it leads to: \(place.tree)/\(target)"), "\(refused.errorText)")
            }
            // What the program can't change leads where it led.
            let seen = try await place.sandbox("--allow-read", ".", "--hide", ".env", "--", "cat", ".env.local")
            #expect(seen.text == "")
            undefended("without the rule the file is there", try await place.sandbox("--", "cat", ".env.local").text.contains(place.secret))
        }
    }

    /// Landlock judges plain TCP alone.
    @Test(.requires(.command("perl")), arguments: SandboxCaller.allCases)
    func portsAreHeldWhateverTheProtocol(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let listen = """
                socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(0, INADDR_LOOPBACK)); listen(S, 9); $| = 1;
                print((sockaddr_in(getsockname(S)))[0], " listens\\n"); while (accept(C, S)) { close C }
                """
            let listener = try place.command(["perl", "-MSocket", "-e", listen]).start()
            try await listener.says("listens")
            let port = try #require(listener.text.split(separator: " ").first.map(String.init))
            let attack = """
                my $to = sockaddr_in($ARGV[0], INADDR_LOOPBACK);
                sub say { print "$_[0] ", ($_[1] ? "ok" : $!+0), "\\n" }
                socket(A, PF_INET, SOCK_STREAM, 0); say("tcp", connect(A, $to));
                say("mptcp", socket(B, PF_INET, SOCK_STREAM, 262) && connect(B, $to));
                say("mptcp bind", socket(D, PF_INET, SOCK_STREAM, 262) && bind(D, sockaddr_in(0, INADDR_LOOPBACK)));
                socket(C, PF_INET, SOCK_STREAM, 0); say("fast open", defined(send(C, "x", 0x20000000, $to)));
                """
            let perl = ["perl", "-MSocket", "-e", attack, port]
            func within(_ options: [String]) async throws -> [String] {
                try await place.command(["\(place.folder)/bin/lunette", "sandbox", "--network", "host"] + options + ["--"] + perl).run(
                    expecting: nil
                ).lines
            }
            let free = try await within([])
            undefended("without rules for ports", free.first == "tcp ok" && free.last == "fast open ok", free)
            let held = try await within(["--allow-connect", "443", "--allow-bind", "9999", "--best-effort"])
            let explained = try await place.sandbox("--explain", "--network", "host", "--allow-connect", "443", "--best-effort").text
            let tcp = explained.contains("TCP by Landlock") ? "tcp \(EACCES)" : "tcp ok"
            #expect(held == [tcp, "mptcp \(EPROTONOSUPPORT)", "mptcp bind \(EPROTONOSUPPORT)", "fast open \(EOPNOTSUPP)"])
            listener.signal(SIGKILL)
            _ = try await listener.wait()
        }
    }

    /// Whoever has a folder open is in it, whatever is mounted.
    @Test(arguments: SandboxCaller.allCases)
    func aFolderIsNoStream(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            for line in ["< '\(place.outside)'", "2< '\(place.outside)'"] {
                let refused = try await place.plain(
                    "'\(place.folder)/bin/lunette' sandbox --no-landlock -- cat /proc/self/fd/0/file \(line)")
                #expect(refused.code == 125 && !refused.text.contains(place.secret))
            }
            let plain = try await place.plain("cat /proc/self/fd/0/file < '\(place.outside)'").text
            undefended("through a folder that is open", plain == place.secret, plain)
        }
    }

    /// What one sandbox leaves in a cache must not be the filter of the next.
    @Test(arguments: SandboxCaller.allCases)
    func aWritableCacheChangesNoFilter(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["mkdir", "-p", "\(place.home)/.cache"]).run()
            let before = try await place.sandbox("--explain", "--allow-write", "\(place.home)/.cache", expecting: 0).text
            try await place.sandbox("--allow-write", "\(place.home)/.cache", "--", "true", expecting: 0)
            let kept = try FileManager.default.subpathsOfDirectory(atPath: "\(place.home)/.cache")
            #expect(kept == [], "a sandbox keeps its filter where the next one can write")
            #expect(try await place.sandbox("--explain", "--allow-write", "\(place.home)/.cache", expecting: 0).text == before)
        }
    }

    /// Whoever reaches the engine's socket or its state is its user.
    @Test(arguments: SandboxCaller.allCases)
    func theEnginesFoldersAreHiddenInWhatIsAllowedAroundThem(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let (state, root) = ("\(place.home)/run/lunette", "\(place.home)/data/lunette")
            try await place.command(["sh", "-c", "mkdir -p '\(state)' '\(root)'; echo s > '\(state)/file'; echo r > '\(root)/file'"]).run()
            func look(_ rules: [String]) async throws -> [String] {
                let words = ["LUNETTE_STATE=\(state)", "LUNETTE_ROOT=\(root)", "\(place.folder)/bin/lunette", "sandbox"] + rules
                let probe = ["--allow-read", place.probe, "--", place.probe, "read", "\(state)/file", "write", "\(root)/file"]
                return try await place.command(["env"] + words + probe).run().lines
            }
            let named = try await look(["--allow-write", state, "--allow-write", root])
            undefended("rules that name the folders", named == ["read ok", "write ok"], named)
            #expect(try await look(["--allow-write", place.home]) == ["read \(ENOENT)", "write \(ENOENT)"])
        }
    }

    /// Where an engine will look for its plugins and its state, a program could have put some before there is one.
    @Test(arguments: SandboxCaller.allCases)
    func theFoldersOfAnEngineToComeCantBePlanted(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let root = "\(place.home)/share/lunette"
            let plant = ["sh", "-c", "mkdir -p '\(root)/plugins/evil' 2>/dev/null && echo planted; true"]
            undefended("its user may make it", try await place.command(plant).run().text == "planted")
            try await place.command(["rm", "-r", "\(place.home)/share"]).run()
            let words = ["env", "LUNETTE_ROOT=\(root)", "\(place.folder)/bin/lunette", "sandbox"]
            #expect(try await place.command(words + ["--allow-read", place.home, "--"] + plant).run().text == "")
            #expect(access("\(place.home)/share", F_OK) != 0, "nothing is made where nothing could be planted")
            #expect(try await place.command(words + ["--allow-write", place.home, "--"] + plant).run().text == "")
            #expect(try FileManager.default.subpathsOfDirectory(atPath: "\(place.home)/share") == ["lunette"])
        }
    }

    /// Where something of the user's own is in the way of the folders that hide them, the program could take it away: then nothing runs.
    @Test(
        arguments: SandboxCaller.allCases,
        [
            ("mkdir x; chmod 555 x", "chmod 755 x"), ("touch x", "rm x"), ("ln -s /nonexistent x", "rm x"),
            ("mkdir x data; ln -s ../data x/share", "rm x/share"), ("mkdir data; ln -s data x", "rm x"),
        ])
    func whatStandsInTheWayOfTheEnginesFoldersIsNoWayIn(_ caller: SandboxCaller, _ steps: (made: String, undone: String)) async throws {
        try await withSandboxPlace(caller) { place in
            let root = "\(place.tree)/x/share/lunette"
            let plant = ["sh", "-c", "\(steps.undone); mkdir -p '\(root)/plugins/evil' 2>/dev/null && echo planted; true"]
            try await place.command(["sh", "-c", steps.made]).run()
            let words = ["env", "LUNETTE_ROOT=\(root)", "\(place.folder)/bin/lunette", "sandbox", "--allow-write", place.tree]
            // Root makes what it likes in a folder of mode 555, so that one is hidden.
            let isMade = caller == .root && steps.made.hasPrefix("mkdir x; chmod")
            let finished = try await place.command(words + ["--"] + plant).run(expecting: nil)
            #expect(finished.text == "", "\(finished)")
            #expect(finished.code == (isMade ? 0 : 125), "\(finished.errorText)")
            if !isMade {
                #expect(finished.errorText.contains("Lunette's own folder") && finished.errorText.contains("hint: "), "\(finished)")
            }
            #expect(access("\(root)/plugins", F_OK) != 0)
            // Whoever means it names it, and what is only read is nobody's to plant in.
            let reading = ["env", "LUNETTE_ROOT=\(root)", "\(place.folder)/bin/lunette", "sandbox", "--allow-read", place.tree]
            #expect(try await place.command(reading + ["--", "echo", "ran"]).run().text == "ran")
            undefended("its user may make it", try await place.command(plant).run().text == "planted")
        }
    }

    /// What an editor does when it saves: the new file takes the old one's name, and the kernel takes away what is mounted there elsewhere.
    @Test(arguments: SandboxCaller.allCases, ["mv new .env", "rm .env", "rm -r sub"])
    func aRuleThatIsReplacedOutsideEndsTheSandbox(_ caller: SandboxCaller, change: String) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["sh", "-c", "echo secret > .env; echo new > new; mkdir sub; echo all: > sub/Makefile"]).run()
            if caller == .root, change == "mv new .env" {
                let mounted = try Command(
                    [
                        "unshare", "-m", "sh", "-c",
                        "mount --bind /dev/null .env; echo up; while ! test -s line; do sleep 0.05; done; cat .env",
                    ], workdir: place.tree,
                    input: nil
                ).start()
                try await mounted.says("up")
                try await place.command(["sh", "-c", "cp .env kept; cp new newer; mv newer .env"]).run()
                try await place.command(["sh", "-c", "echo go > line"]).run()
                undefended("the mount has gone with the file", try await mounted.wait().lines == ["up", "new"])
                try await place.command(["mv", "kept", ".env"]).run()
            }
            let rules = ["--allow-write", ".", "--allow-read", "sub/Makefile", "--hide", ".env"]
            let line = "cat .env; echo up; while sleep 0.05; do :; done"
            let running = try place.command(["\(place.folder)/bin/lunette", "sandbox"] + rules + ["--", "sh", "-c", line]).start()
            try await running.says("up")
            // Other changes are nobody's business.
            try await place.command(["sh", "-c", "echo x > y; mv y z; rm z; touch .env"]).run()
            try await Task.sleep(for: .milliseconds(200))
            #expect(running.isRunning)
            try await place.command(["sh", "-c", change]).run()
            let ended = try await running.wait()
            #expect(ended.code == 125 && ended.errorText.contains("was renamed, replaced or removed outside"), "\(ended)")
            #expect(ended.lines == ["up"])
        }
    }

    /// What an editor does that keeps a copy: the mount goes with the old file to its new name, and no table of mounts changes.
    @Test(
        arguments: SandboxCaller.allCases,
        [
            "mv .env kept; echo new > .env", "exchange", "mv sub sub.old; mkdir sub; echo new > sub/f",
            "mv far far.old; mkdir -p far/off; echo new > far/off/f",
        ])
    func aRuleThatIsRenamedOutsideEndsTheSandbox(_ caller: SandboxCaller, change: String) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(
                ["sh", "-c", "echo secret > .env; echo new > other; mkdir -p sub far/off; echo all > sub/f; echo secret > far/off/f"]
            ).run()
            // One rule in a folder that is held in place, one below folders that are only read.
            let rules = ["--allow-write", ".", "--hide", ".env", "--allow-read", "sub/f", "--allow-read", "far", "--hide", "far/off/f"]
            let line = "cat .env far/off/f; echo up; while sleep 0.05; do :; done"
            let running = try place.command(["\(place.folder)/bin/lunette", "sandbox"] + rules + ["--", "sh", "-c", line]).start()
            try await running.says("up")
            // Its time, its contents, another name for it, what lies beside it: the rule holds.
            try await place.command(["sh", "-c", "touch .env far; echo more >> .env; ln .env link; mv link again; echo x > y; mv y z"])
                .run()
            try await Task.sleep(for: .milliseconds(200))
            #expect(running.isRunning)
            if change == "exchange" {
                try await exchangeNames("\(place.tree)/.env", "\(place.tree)/other")
            } else {
                try await place.command(["sh", "-c", change]).run()
            }
            let ended = try await running.wait()
            #expect(ended.code == 125 && ended.errorText.contains("was renamed, replaced or removed outside"), "\(ended)")
            #expect(ended.lines == ["up"])
        }
    }

    /// Attack 24.
    @Test(arguments: SandboxCaller.allCases)
    func processesOfTheHostCanBeNeitherTracedNorSignalled(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let victim = try place.command(["sh", "-c", "echo up; exec sleep 600"]).start()
            try await victim.says("up")
            let (without, within) = try await both(place, ["signal", "\(victim.pid)", "trace", "\(victim.pid)"])
            undefended("a process of the same user", without == ["signal ok", "trace ok"], without)
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
            undefended("the socket answers", without == ["abstract ok"], without)
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
            undefended("descriptors are inherited", without.text == "descriptors 3", without.text)
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
            let overwritten = place.contents("\(place.outside)/copy") == "overwritten\n"
            undefended("what is open for reading is opened for writing", overwritten)
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
            undefended("typing reaches the kernel", without.contains(isLegacy ? "tiocsti ok" : "tiocsti \(EIO)"), without)
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
            if isLegacy {
                let typed = try await unfiltered("")
                undefended("what is typed arrives", typed.contains("got [x]"), typed)
            }
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
                mount -o remount,rw,bind /usr 2>/dev/null && echo remounted; umount -l /usr 2>/dev/null && echo unmounted; umount -l / 2>/dev/null && echo gone
                mount -t tmpfs none /usr 2>/dev/null && echo covered; unshare -Urm true 2>/dev/null && echo namespace; touch /usr/x 2>/dev/null && echo written; echo end
                """
            // The same in a namespace of one's own, on a mount that was made read-only there.
            let own = """
                mount --bind /usr /usr; mount -o remount,ro,bind /usr; mount -o remount,rw,bind /usr && echo remounted; umount -l /usr && echo unmounted
                mount -t tmpfs none /usr && echo covered; : > /usr/x && echo written
                """
            let map = caller == .root ? ["-m"] : ["-Urm"]
            let without = try await place.command(["unshare"] + map + ["--propagation", "private", "sh", "-c", own]).run(expecting: nil)
            undefended("mounts of one's own", without.lines == ["remounted", "unmounted", "covered", "written"], without.text)
            #expect(try await place.sandbox("--", "sh", "-c", line).text == "end")
            // Without the filter, in a namespace where the program may mount, the kernel's locks still hold.
            let deeper = """
                unshare -Urm sh -c 'mount -o remount,rw,bind /usr 2>/dev/null && echo remounted; umount -l /usr 2>/dev/null && echo unmounted; echo inside'; echo end
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
            let settings = [path, "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"].filter { FileManager.default.fileExists(atPath: $0) }
            let words = settings.flatMap { ["write", $0] }
            // They are opened; nothing is written.
            let without = try await place.command([probe] + words).run().lines
            undefended("settings open for writing", without.count > 1 && without.allSatisfy { $0 == "write ok" }, without)
            for options in [[], ["--no-landlock"], ["--seccomp", "unconfined", "--no-landlock"]] {
                let within = try await both(place, words, options).within
                #expect(within.count == without.count && within.allSatisfy { !$0.hasSuffix("ok") }, "\(options): \(within)")
            }
            #expect(place.contents(path) == before)
        }
    }

    /// A file of root's that runs as root for everybody with an account would outlive the sandbox that made it.
    @Test func rootsSandboxLeavesNoSetUserIDFile() async throws {
        try await withSandboxPlace(.root) { place in
            let program = """
                import os
                os.umask(0)
                def attempt(name, make):
                    try:
                        make(name); print("made", name)
                    except OSError as error: print(name, error.errno)
                open("plain", "w").close()
                attempt("chmod", lambda n: os.chmod("plain", 0o4755))
                attempt("fchmod", lambda n: os.fchmod(os.open("plain", os.O_RDONLY), 0o6755))
                attempt("fchmodat", lambda n: os.chmod("plain", 0o4755, dir_fd=os.open(".", os.O_RDONLY)))
                attempt("open", lambda n: os.open(n, os.O_CREAT | os.O_RDWR, 0o4755))
                attempt("mknod", lambda n: os.mknod(n, 0o104755))
                attempt("tmpfile", lambda n: os.link(f"/proc/self/fd/{os.open('.', os.O_TMPFILE | os.O_RDWR, 0o4755)}", n, follow_symlinks=True))
                os.mkdir("folder"); os.chmod("folder", 0o2775); os.chmod("plain", 0o755)
                print("rest", oct(os.stat("folder").st_mode), oct(os.stat("plain").st_mode))
                """
            let plain = try await place.command(["python3", "-c", program]).run()
            undefended("root makes such files", plain.lines.filter { $0.hasPrefix("made") }.count >= 5, plain.text)
            try await place.command(["sh", "-c", "rm -r *"]).run()
            for report in [[], ["--report"]] {
                let words = ["\(place.folder)/bin/lunette", "sandbox", "--allow-write", "."] + report + ["--", "python3", "-c", program]
                let lines = try await place.command(words).run().lines
                #expect(!lines.contains { $0.hasPrefix("made") }, "\(lines)")
                #expect(lines.contains("rest 0o42775 0o100755"), "\(lines)")
                #expect(try await Command("find", place.tree, "-perm", "-4000").run().text == "")
                try await place.command(["sh", "-c", "rm -r *"]).run()
            }
        }
    }

    /// Root's own id is root's inside, too, and owns the machine's nodes, the stream that is one, and what is in every procfs. (Nothing is lost
    /// where it could change them: each gets the mode that it has.)
    @Test func rootsSandboxChangesNoNodeOfTheMachine() async throws {
        try await withSandboxPlace(.root) { place in
            let line = """
                for path in /dev/null /dev/zero /dev/tty /proc/keys /proc/version /proc/self/fd/0; do
                  [ -e $path ] || continue
                  echo seen $path; chmod $(stat -L -c %a $path) $path && echo changed $path; chown 0:0 $path && echo changed $path
                done 2>/dev/null
                echo x > /dev/null && echo written; head -c 3 /dev/zero | wc -c
                chmod 600 mine && echo own
                """
            try await place.command(["touch", "mine"]).run()
            for options in [[], ["--no-landlock"], ["--seccomp", "unconfined", "--no-landlock"]] {
                let finished = try await place.command(
                    ["\(place.folder)/bin/lunette", "sandbox", "--allow-write", "."] + options + ["--", "sh", "-c", line]
                ).run()
                let lines = finished.lines
                undefended("a file that may be written is changed", lines.contains("own"), lines)
                for path in ["/dev/null", "/proc/version", "/proc/self/fd/0"] { #expect(lines.contains("seen \(path)"), "\(lines)") }
                #expect(lines.contains("written") && lines.contains("3"), "\(lines)")
                #expect(!lines.contains { $0.hasPrefix("changed") }, "\(options): \(lines)")
            }
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
            if caller == .root {
                let own = try await place.plain("grep CapEff /proc/self/status").text
                undefended("root's own capabilities", !own.hasSuffix("0000000000000000"), own)
            }
            guard caller == .user else { return }
            let copy = "\(place.tree)/id"
            try await Programs.copy("/usr/bin/id", to: copy)
            chown(copy, 0, 0)
            chmod(copy, 0o4755)
            let without = try await place.plain("./id -u").text
            undefended("a set-id program of root's", without == "0", without)
            #expect(try await place.sandbox("--", "./id", "-u").text == "\(SandboxCaller.uid)")
        }
    }

    /// Attack 32.
    @Test(arguments: SandboxCaller.allCases)
    func aForkBombStaysInsideAndEndsWithItsTime(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let count = "n=0; while [ $n -lt 60 ]; do sleep 600 & n=$((n+1)); done; echo made $n"
            let unlimited = try await place.sandbox("--", "sh", "-c", count).text
            undefended("without a limit sixty are made", unlimited == "made 60", unlimited)
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
            undefended("the node opens", without == ["read ok"], without)
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
            func words(_ pid: String) -> [String] {
                ["read", "/proc/\(pid)/exe", "read", "/proc/\(pid)/fd/3", "read", "/proc/\(pid)/mem", "trace", pid]
            }
            // A program without the shim's defences is looked into, and the file, when nobody runs it, is written.
            let plain = try place.command(["sh", "-c", "exec 3<.; echo up; exec sleep 600"]).start()
            try await plain.says("up")
            let without = try await place.command([place.probe, "write", shim] + words("\(plain.pid)")).run().lines
            undefended("a plain program of the same user's", without.count == 5 && without.allSatisfy { $0.hasSuffix(" ok") }, without)
            plain.signal(SIGKILL)
            _ = try await plain.wait()
            let within = try await both(place, ["write", "/proc/1/exe"] + words("1"), ["--no-landlock", "--seccomp", "unconfined"]).within
            #expect(within.count == 5 && within.allSatisfy { !$0.hasSuffix(" ok") }, "\(within)")
            try Data("#!/proc/self/exe\n".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/evil"))
            chmod("\(place.tree)/evil", 0o755)
            let evil = try await place.sandbox("--no-landlock", "--", "\(place.tree)/evil")
            #expect(evil.code != 0)
            #expect(place.contents(shim)?.count == before)
        }
    }

    /// Another program of the same user, outside: it may look into what the user runs, and not into what holds sandboxes.
    @Test func theShimIsNobodysToLookInto() async throws {
        try await withSandboxPlace(.user) { place in
            let running = try place.command(["\(place.folder)/bin/lunette", "sandbox", "--", "sh", "-c", "echo up; exec sleep 600"]).start()
            try await running.says("up")
            func children(_ pid: String) async throws -> [String] {
                try await Command("cat", "/proc/\(pid)/task/\(pid)/children").run().text.split(separator: " ").map(String.init)
            }
            let shim = try #require(try await children("\(running.pid)").first)
            let initProcess = try #require(try await children(shim).last)
            for (pid, name) in [(shim, "lunette-shim"), (initProcess, "lunette-init")] {
                #expect(place.contents("/proc/\(pid)/comm") == "\(name)\n")
                let looked = try await place.plain(
                    "for f in environ maps fd/3 exe; do head -c 1 /proc/\(pid)/$f >/dev/null 2>&1 && echo $f; done")
                #expect(looked.text == "", "\(name): \(looked.text)")
            }
            try await undefended(
                "looking into a process of one's own",
                place.plain("head -c 1 /proc/\(running.pid)/environ >/dev/null && echo looked").text == "looked")
            running.signal(SIGTERM)
            _ = try await running.wait()
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func nothingOfASandboxShowsOnTheHost(_ caller: SandboxCaller) async throws {
        let shows = try await NaiveRuntime.mountShowsOutside()
        undefended("a mount shows outside a namespace that shares its changes", shows)
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
