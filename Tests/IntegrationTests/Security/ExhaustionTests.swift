import Foundation
import LunetteTesting
import Testing

/// Containers that use up what they can: the engine goes on answering (attack 32), and each is told the truth about its end.
@Suite(.requires(.root, .overlay, .userNamespaces, .command("gcc")))
struct ExhaustionTests {
    /// The longest that `lunette ps` took while `body`'s container ran.
    private func slowestAnswer(_ home: LunetteHome, rounds: Int = 5) async throws -> Duration {
        var slowest = Duration.zero
        for _ in 0..<rounds {
            slowest = max(slowest, try await ContinuousClock().measure { _ = try await home.lunette("ps") })
        }
        return slowest
    }

    @Test func aForkBombStaysWithinItsLimit() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            func drop(_ name: String, _ limit: String) async throws {
                try await home.lunette(
                    "run", "-d", "--name", name, "--pids-limit", limit, "--cpus", "0.2", "-v", "\(probe):/attack:ro", image, "/attack",
                    "fork-bomb")
            }
            func tasks(_ name: String) async throws -> Int {
                Int(try await home.lunette("-e", "return #lunette.container.get('\(name)'):processes()").text) ?? 0
            }
            try await drop("wider", "160")
            try await eventually("a bomb reaches any limit", within: .seconds(30)) { try await tasks("wider") > 100 }
            undefended("a wider limit is passed", try await tasks("wider") > 64)
            try await home.lunette("rm", "-f", "wider")
            try await drop("bomb", "64")
            #expect(try await slowestAnswer(home) < .seconds(3))
            #expect(try await tasks("bomb") <= 64)
            try await home.lunette("rm", "-f", "bomb")
        }
    }

    @Test func aMemoryBombEndsAsOutOfMemory() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let bomb = "x=x; while [ ${#x} -lt 33554432 ]; do x=$x$x; done; echo ${#x}"
            let wider = try await home.lunette("run", "--rm", "--memory", "256m", image, "sh", "-c", bomb).text
            undefended("a wider limit lets it grow", wider == "33554432", wider)
            let finished = try await home.lunette("run", "--name", "bomb", "--memory", "16m", image, "sh", "-c", bomb, expecting: nil)
            #expect(finished.code == 137)
            let exit = try await home.inspect("bomb")["exit"] as? [String: Any] ?? [:]
            #expect(exit["oom_killed"] as? Bool == true)
            #expect(exit["reason"] as? String == "oom")
        }
    }

    /// The engine's stack, descriptors and paths are shorter than what a container makes in a second (`DeepTreeTests` has the controls).
    @Test func deepFoldersEndNoEngineAndStopNoRecovery() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            for name in ["a", "b"] {
                try await home.lunette(
                    "run", "-d", "--name", name, "-v", "\(probe):/attack:ro", "-v", "data-\(name):/data", image, "sleep", "1000")
                for top in ["/d", "/data/d"] {
                    let made = try await home.lunette("exec", name, "/attack", "deep", top, "2100").text
                    #expect(made == "deep 2100 1")
                }
            }
            let diff = try await home.lunette("diff", "a", expecting: nil)
            #expect(diff.code == 125)
            #expect(diff.errorText.contains("list a path longer than 4095 bytes /d/d/d"), "\(diff.errorText)")
            #expect(diff.errorText.contains("…") && diff.errorText.utf8.count < 1000)
            try await home.lunette("cp", "a:/d", "\(home.folder)/out")
            try await home.lunette("cp", "\(home.folder)/out", "a:/back")
            try removeTree(at: "\(home.folder)/out")
            let entries = try await home.lunette("-e", "return lunette.volume.get('data-a'):usage().inodes").text
            #expect(Int(entries) ?? 0 > 2100, "\(entries)")
            #expect(try await home.lunette("ps", "-q").lines.count == 2)

            try await home.lunette("rm", "-f", "a")
            try await home.lunette("volume", "rm", "data-a")
            #expect(try await home.lunette("ps", "-q").lines.count == 1)

            // An engine that dies in a removal is followed by one that ends it.
            try await home.stopEngine()
            let mortal = try home.command(["daemon", "--on-demand"], environment: ["LUNETTE_FAULT": "remove.rundir"]).start()
            try await eventually("the engine listens") { FileManager.default.fileExists(atPath: "\(home.state)/engine.sock") }
            try await home.lunette("rm", "-f", "b")
            #expect(try await mortal.wait().signal == SIGKILL)
            #expect(try await home.lunette("ps", "-aq").text == "")
            #expect(try await Command.shell("ls \(home.root)/containers").run().text == "")
            try await home.lunette("volume", "rm", "data-b")
        }
    }

    @Test func aFilterThatKillsIsNamed() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let profile = "\(home.folder)/profile.json"
            let text = #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#
            try text.write(toFile: profile, atomically: true, encoding: .utf8)
            let finished = try await home.lunette(
                "run", "--name", "c", "--security-opt", "seccomp=\(profile)", image, "mkdir", "/x", expecting: nil)
            #expect(finished.code == 159)
            let exit = try await home.inspect("c")["exit"] as? [String: Any] ?? [:]
            #expect(exit["reason"] as? String == "seccomp")
        }
    }

    @Test func zombiesAreReaped() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            // The children of `zombies` itself are its own to wait for; the grandchildren are init's.
            func zombies(_ name: String) async throws -> String {
                let line = "grep -l '^PPid:.1$' /proc/[0-9]*/status | xargs grep -l 'State:.Z' | wc -l"
                return try await home.lunette("exec", name, "sh", "-c", line, expecting: nil).text
            }
            let words = ["-v", "\(probe):/attack:ro", image, "/attack", "zombies", "200"]
            try await home.command(["run", "-d", "--name", "plain", "--no-init"] + words).run()
            try await eventually("every one has been made") { try await home.lunette("logs", "plain").text.contains("done") }
            try await eventually("the last have ended") { Int(try await zombies("plain")) == 400 }
            let left = try await zombies("plain")
            undefended("without an init they stay", left == "400", left)
            try await home.command(["run", "-d", "--name", "c"] + words).run()
            try await eventually("the zombies' end") { try await zombies("c") == "0" }
            #expect(try await home.lunette("logs", "c").text.contains("done"))
        }
    }

    @Test func aFloodOfOutputIsBounded() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            func logged(_ size: String) async throws -> Int {
                let script = """
                    local lunette = require 'lunette'
                    local c = lunette.container.run { name = 'flood', image = '\(image)', args = { 'sh', '-c', 'yes | head -c 30000000' }, log = { max_size = '\(size)', max_files = 2 } }
                    c:wait{ timeout = '60s' }
                    """
                _ = try await home.script(script)
                let size = try await Command.shell("du -cb \(home.root)/containers/*/log* | tail -1 | cut -f1").run().text
                try await home.lunette("rm", "-f", "flood")
                return try #require(Int(size))
            }
            let (wider, bounded) = (try await logged("1GiB"), try await logged("1MiB"))
            undefended("with a wider limit all of it is kept", wider >= 30_000_000, wider)
            #expect(bounded < 3 << 20, "\(bounded) bytes of log")
        }
    }

    /// Attack 32: limits that the kernel counts by user are the container's own, not root's of the host.
    @Test(arguments: ["inotify", "descriptors"])
    func whatIsUsedUpIsTheContainersOwn(_ what: String) async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            for name in ["one", "other"] {
                try await home.lunette("run", "-d", "--name", name, "-v", "\(probe):/attack:ro", image, "/attack", "exhaust", what)
                // Each gets as much as the other, and there is an end.
                try await eventually("\(name) has all of it", within: .seconds(60)) {
                    try await home.lunette("logs", name).text.hasPrefix("\(what) ")
                }
                let count = try await home.lunette("logs", name).text.split(separator: " ").last.flatMap { Int($0) } ?? 0
                #expect(count > 10 && count < 5_000_000, "\(name) got \(count)")
                if what == "inotify" {
                    // Whoever shares its user and namespace finds nothing left.
                    let exec = try await home.lunette("exec", name, "timeout", "2", "/attack", "exhaust", what, expecting: nil).text
                    undefended("what is used up is gone for those who share it", exec == "inotify 0", exec)
                }
            }
            let watch = inotify_init1(0)
            #expect(watch >= 0, "the host has none left: errno \(errno)")
            if watch >= 0 { close(watch) }
            #expect(try await home.lunette("run", "--rm", image, "echo", "on we go").text == "on we go")
        }
    }

    @Test func sharedMemoryHasALimit() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            func filled(_ options: String...) async throws -> Int? {
                let line = "head -c 100000000 /dev/zero > /dev/shm/x 2>/dev/null; stat -c %s /dev/shm/x"
                return Int(try await home.command(["run", "--rm"] + options + [image, "sh", "-c", line]).run().text)
            }
            let wider = try await filled("--shm-size", "200m")
            undefended("a wider limit takes it all", wider == 100_000_000, wider ?? -1)
            #expect(try #require(try await filled()) <= 64 << 20)
        }
    }
}
