import Foundation
import Glibc
import LunetteTesting
import Testing

/// Programs that want to use the machine up, to stay, or to take whoever runs them along.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("setpriv"), .command("gcc")))
struct SandboxHostileTests {
    private func probe(_ place: SandboxPlace, _ words: [String], _ options: [String] = []) async throws -> Finished {
        try await place.command(
            ["\(place.folder)/bin/lunette", "sandbox", "--allow-write", place.tree, "--allow-read", place.probe] + options + [
                "--", place.probe,
            ]
                + words
        ).run(expecting: nil)
    }

    /// Neither bytes nor empty files: what lies in memory has an end, and it goes with the sandbox.
    @Test(arguments: SandboxCaller.allCases)
    func foldersInMemoryHaveAnEnd(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["mkdir", "layer"]).run()
            let folders = ["/tmp", "/var/tmp", place.home, "/scratch", "\(place.tree)/layer"]
            let options = ["--scratch", "8MiB", "--tmpfs", "/scratch:size=4m", "--private", "layer"]
            let filled = try await probe(place, folders.flatMap { ["fill", "\($0)/big"] }, options).lines
            let sizes = filled.compactMap { line in line.split(separator: " ").dropFirst().first.flatMap { Int($0) } }
            #expect(sizes.count == 5 && zip(sizes, [8, 8, 8, 4, 8]).allSatisfy { $0 <= $1 }, "\(filled)")
            #expect(filled.allSatisfy { $0.hasSuffix(", \(ENOSPC)") }, "\(filled)")
            let flooded = try await probe(place, folders.flatMap { ["flood", $0, "1000000"] } + ["flood", "/dev/shm", "1000000"], options)
                .lines
            #expect(flooded.count == 6 && flooded.allSatisfy { $0.hasSuffix(", \(ENOSPC)") }, "\(flooded)")
            let left = try FileManager.default.contentsOfDirectory(atPath: "\(place.tree)/layer")
            #expect(left.isEmpty)
            // On the disk more than any of these fits, in bytes and in files.
            let without = try await place.plain(
                "head -c 16000000 /dev/zero > layer/big; stat -c %s layer/big; \(place.probe) flood layer 5000")
            undefended("what isn't held takes more", without.lines == ["16000000", "flood 5000, 0"], without.text)
            // Nobody says a size: there is an end as well.
            let lines = try await place.sandbox("--", "sh", "-c", "df -k --output=size /tmp /var/tmp ~ | tail -3", expecting: 0).lines
            let total = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE))) >> 10
            let kilobytes = lines.compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
            #expect(kilobytes.count == 3 && kilobytes.allSatisfy { $0 <= total / 8 + 4 }, "\(lines)")
        }
    }

    /// A million files in a tree that is given to it are the host's to remove; the sandbox itself neither slows nor fails.
    @Test(arguments: SandboxCaller.allCases)
    func manyFilesOfATreeAreNoMatter(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let flooded = try await probe(place, ["flood", place.tree, "30000"]).text
            #expect(flooded == "flood 30000, 0")
            let made = try FileManager.default.contentsOfDirectory(atPath: place.tree)
            #expect(made.count == 30000)
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func childrenInTheBackgroundEndWithTheProgram(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            // They hold our output open, lead sessions of their own and ignore every signal that may be ignored.
            let mark = UUID().uuidString
            let line = "for n in 1 2 3; do setsid sh -c 'trap \"\" HUP INT TERM; sleep 600; : \(mark)' & done; sleep 0.2; echo done"
            func alive() async throws -> [pid_t] {
                try await Command("pgrep", "-f", mark).run(expecting: nil).lines.compactMap { pid_t($0) }
            }
            _ = try await place.plain("(\(line)) > /dev/null 2>&1")
            let without = try await alive()
            undefended("without a sandbox they stay", without.count == 3, without)
            // Each leads a group, of which its own child is.
            for pid in without { kill(-pid, SIGKILL) }
            try await eventually("ours are gone") { try await alive().isEmpty }
            let finished = try await place.plain(
                "\(place.folder)/bin/lunette sandbox -- sh -c '\(line.replacingOccurrences(of: "'", with: "'\\''"))' | cat")
            #expect(finished.text == "done")
            #expect(try await alive().isEmpty)
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func nobodyInsideKillsWhoeverRunsIt(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let outside = try await place.plain("sh -c 'sh -c \"kill -9 \\$PPID\"; echo alive'")
            undefended("a parent is killed by its child", outside.code == 137 && outside.text.isEmpty, outside.text)
            // Its parent is pid 1, and what stands above that has no number inside. -1 is everybody who can be seen.
            let line = "kill -9 $PPID; kill -9 1; kill -STOP 1; echo alive; sh -c 'kill -9 -1'; echo not here"
            let finished = try await place.sandbox("--seccomp", "unconfined", "--no-landlock", "--", "sh", "-c", line)
            #expect(finished.lines.first == "alive")
            #expect(finished.code == 137 || finished.text.contains("not here"))
            #expect(try await place.sandbox("--", "echo", "next").text == "next")
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func aProgramThatClosesEverythingStillEndsWithItsCode(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let outside = try await place.command([place.probe, "close-all"]).run(expecting: nil)
            undefended("every descriptor is closed, the next one is 0", outside.code == 42, outside.code)
            for options in [[], ["--report"], ["--timeout", "60s"]] {
                let finished = try await probe(place, ["close-all"], options)
                #expect(finished.code == 42, "\(options)")
            }
        }
    }

    /// What is on the machine by number: neither its memory nor its life, and `/proc` doesn't know it.
    @Test(arguments: SandboxCaller.allCases)
    func processesOfTheHostHaveNoNumberInside(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let victim = try place.command(["sh", "-c", "echo up; exec sleep 600"]).start()
            try await victim.says("up")
            let number = "\(victim.pid)"
            let words = ["peek", number, "kill", number, "read", "/proc/\(number)/environ", "read", "/proc/\(number)/root/etc/hostname"]
            // A process of its own for the signal: this one is needed below.
            let other = try place.command(["sh", "-c", "echo up; exec sleep 600"]).start()
            try await other.says("up")
            let tries = ["read", "/proc/\(number)/environ", "read", "/proc/\(number)/root/etc/hostname", "kill", "\(other.pid)"]
            let without = try await place.command([place.probe] + tries).run().lines
            let ended = try await other.wait()
            undefended("a process of the same user's", without == ["read ok", "read ok", "kill ok"] && ended.signal == SIGKILL, without)
            for options in [[], ["--seccomp", "unconfined", "--no-landlock"], ["--network", "host"]] {
                let within = try await probe(place, words, options).lines
                #expect(within == ["peek \(ESRCH)", "kill \(ESRCH)", "read \(ENOENT)", "read \(ENOENT)"], "\(options): \(within)")
            }
            victim.signal(SIGKILL)
            _ = try await victim.wait()
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func ringsOfTheKernelAreNotThere(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let without = try await place.command([place.probe, "io_uring"]).run().text
            #expect(try await probe(place, ["io_uring"]).text == "io_uring \(ENOSYS)")
            // What the machine's own setting refuses (io_uring_disabled) is not ours to show.
            guard without == "io_uring ok" else { return }
            let unconfined = try await probe(place, ["io_uring"], ["--seccomp", "unconfined"]).text
            undefended("without the filter there are rings", unconfined == "io_uring ok", unconfined)
        }
    }

    /// X11 and D-Bus listen on sockets in /tmp/.X11-unix and /run, X11 on an abstract one beside.
    @Test(arguments: SandboxCaller.allCases)
    func socketsOfADesktopAreOutOfReach(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let listen = """
                import os, socket, sys
                s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); s.listen(); print('up', flush=True); s.accept()
                """
            let talk = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('talked')"
            // Beside the tree in the home folder, and in one that programs expect: neither is there.
            for path in ["\(place.home)/bus", "/tmp/.lunette-\(UUID().uuidString)"] {
                let listener = try place.command(["/usr/bin/python3", "-c", listen, path]).start()
                try await listener.says("up")
                let options = ["--network", "host", "--env", "DBUS_SESSION_BUS_ADDRESS=unix:path=\(path)", "--env", "DISPLAY=:0"]
                let within = try await place.command(
                    ["\(place.folder)/bin/lunette", "sandbox"] + options + ["--", "python3", "-c", talk, path]
                ).run(expecting: nil)
                #expect(within.code == 1 && within.errorText.contains("FileNotFoundError"), "\(within.errorText)")
                let without = try await place.command(["/usr/bin/python3", "-c", talk, path]).run(expecting: nil).text
                undefended("the socket answers", without == "talked", without)
                _ = try await listener.wait()
                unlink(path)
            }
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func muchOutputAndMuchInputPassWhole(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let lunette = "\(place.folder)/bin/lunette sandbox --"
            let finished = try await place.plain("head -c 60000000 /dev/zero | \(lunette) cat | \(lunette) wc -c")
            #expect(finished.text == "60000000")
            // A reader that leaves is a broken pipe to the program, as without a sandbox.
            #expect(try await place.plain("\(lunette) yes | head -n 1").lines.first == "y")
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func aTimeLimitEndsWhatIgnoresEverySignal(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let (ignoring, staying) = ("trap '' TERM INT HUP QUIT;", "sleep 600 & while kill -0 $! 2>/dev/null; do wait; done")
            let plain = try place.command(["bash", "-c", "\(ignoring) trap 'echo still' USR1; echo up; \(staying)"]).start()
            try await plain.says("up")
            for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1] { plain.signal(signal) }
            try await eventually("its answer or its end") { plain.text.contains("still") || !plain.isRunning }
            undefended("it goes on after every signal that can be ignored", plain.text.contains("still"))
            kill(-plain.pid, SIGKILL)
            _ = try await plain.wait()
            let finished = try await place.sandbox("--timeout", "300ms", "--format", "json", "--", "bash", "-c", "\(ignoring) \(staying)")
            #expect(finished.code == 124)
            #expect(finished.errorText.contains("\"timed_out\":true"), "\(finished.errorText)")
        }
    }
}
