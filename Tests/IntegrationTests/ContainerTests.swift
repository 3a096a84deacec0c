import Foundation
import LunetteTesting
import Testing

/// Containers as users run them: users, terminals, input, logs, limits, signals.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ContainerTests {
    @Test func exitCodesAreDockers() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "--rm", image, "sh", "-c", "exit 3", expecting: 3)
            try await home.lunette("run", "--rm", image, "no-such-program", expecting: 127)
            try await home.lunette("run", "--rm", image, "/etc/passwd", expecting: 126)
            try await home.lunette("run", "--rm", image, "sh", "-c", "kill -TERM $$", expecting: 143)
            try await home.lunette("run", "--no-such-flag", image, expecting: 125)
            #expect(try await home.lunette("ps", "-a", "-q").text == "")
        }
    }

    @Test func runsAsRootAndAsAnotherUser() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            #expect(try await home.lunette("run", "--rm", image, "id", "-u").text == "0")
            #expect(
                try await home.lunette("run", "--rm", "--user", "app", image, "id").text
                    == "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)")
            #expect(
                try await home.lunette("run", "--rm", "--user", "1234:5678", image, "sh", "-c", "id -u; id -g").lines == ["1234", "5678"])
            let unknown = try await home.lunette("run", "--rm", "--user", "nobody-knows", image, "true", expecting: nil)
            #expect(unknown.code != 0)
            #expect(unknown.errorText.contains("nobody-knows"))
            // A user of its own writes to what the image gives it, and to nothing else.
            let writes = "touch /home/app/a && ! touch /etc/a 2>/dev/null && stat -c %u /home/app/a"
            #expect(try await home.lunette("run", "--rm", "--user", "app", image, "sh", "-c", writes).text == "1000")
        }
    }

    @Test func rootInsideIsNobodyOutside() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            let pid = try await home.inspect("c")["pid"] as? Int ?? 0
            let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            let uid = status.split(separator: "\n").first { $0.hasPrefix("Uid:") }?.split(separator: "\t")[1]
            #expect(Int(uid ?? "0")! >= 65536)
            // What it writes is root's on disk all the same: id-mapped, not chowned.
            try await home.lunette("exec", "c", "touch", "/made-inside")
            let owner = try await Command.shell("find \(home.root)/containers -name made-inside -printf '%U:%G'").run().text
            #expect(owner == "0:0")
            #expect(try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8).contains(home.folder) == false)
        }
    }

    @Test(.requires(.command("script")))
    func aTerminalIsTheContainersOwn() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let line =
                "\(LunetteHome.binary) run --rm -t \(image) sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size'"
            let finished = try await Command(
                ["script", "-qec", "stty rows 33 cols 77; \(line)", "/dev/null"], environment: home.environment
            ).run()
            let output = finished.text.replacingOccurrences(of: "\r", with: "")
            #expect(output.contains("/dev/pts/0") || output.contains("/dev/console"), "\(output)")
            #expect(output.contains("terminal"), "\(output)")
            #expect(output.contains("33 77"), "\(output)")
        }
    }

    @Test(.requires(.command("tmux")))
    func aShellInATerminalReadsWhatIsTyped() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let tmux = ["tmux", "-S", "\(home.folder)/tmux"]
            home.cleanUp.add("end tmux") { _ = try await Command(tmux + ["kill-server"]).run(expecting: nil) }
            let environment = home.environment.compactMapValues { $0 }.map { "\($0)='\($1)'" }.joined(separator: " ")
            try await Command(
                tmux + [
                    "new-session", "-d", "-x", "100", "-y", "30",
                    "\(environment) \(LunetteHome.binary) run -it --name shell \(image) sh; echo left $?; cat",
                ]
            ).run()
            func screen() async throws -> String { try await Command(tmux + ["capture-pane", "-p"]).run().text }
            try await eventually("a prompt") { try await screen().contains("#") }
            try await Command(tmux + ["send-keys", "echo $((40 + 2)) && tty", "Enter"]).run()
            try await eventually("the answer") { try await screen().contains("42\n") }
            // Ctrl-C goes to the program inside, not to lunette.
            try await Command(tmux + ["send-keys", "echo $((5 * 5)); sleep 100", "Enter"]).run()
            try await eventually("it is asleep") { try await screen().contains("25\n") }
            try await Command(tmux + ["send-keys", "C-c"]).run()
            // It takes along what was typed and not yet read.
            try await eventually("the prompt again") {
                let lines = try await screen().split(separator: "\n")
                return lines.contains { $0.hasSuffix("^C") } && lines.last?.contains("#") == true
            }
            try await Command(tmux + ["send-keys", "exit 5", "Enter"]).run()
            try await eventually("the exit code") { try await screen().contains("left 5") }
        }
    }

    @Test func standardInputIsFedAndEnds() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            #expect(try await home.lunette("run", "--rm", "-i", image, "cat", input: "fed from stdin\n").text == "fed from stdin")
            let big = String(repeating: "0123456789abcdef", count: 1 << 17)
            #expect(try await home.lunette("run", "--rm", "-i", image, "wc", "-c", input: big).text == "\(big.utf8.count)")
            // Without -i there is nothing to read.
            #expect(try await home.lunette("run", "--rm", image, "cat", input: "not for you").text == "")
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            #expect(try await home.lunette("exec", "-i", "c", "sh", input: "echo $((6 * 7)); exit 9\n", expecting: 9).text == "42")
        }
    }

    @Test func outputAndErrorsAreKeptApart() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let run = try await home.lunette("run", "--name", "c", image, "sh", "-c", "echo out; echo err >&2")
            #expect(run.text == "out" && run.errorText == "err")
            let logs = try await home.lunette("logs", "c")
            #expect(logs.text == "out" && logs.errorText == "err")
        }
    }

    @Test(.requires(.command("nginx"), .command("jq")))
    func nginxLogsToDevStdoutAsItsOwnUser() async throws {
        try await withLunette { home in
            let image = try await home.load(.nginx)
            try await home.lunette("run", "-d", "--name", "web", image)
            try await eventually("nginx answers") {
                try await home.lunette("exec", "web", "wget", "-qO-", "http://127.0.0.1:8080/index.html", expecting: nil).text
                    == "hello from nginx"
            }
            try await eventually("the access log is in lunette logs") {
                try await home.lunette("logs", "web").text.contains("GET /index.html")
            }
            #expect(try await home.lunette("exec", "web", "stat", "-c", "%u", "/proc/1").text != "")
            // SIGQUIT is this image's stop signal: nginx ends by itself, with 0.
            try await home.lunette("stop", "web")
            let exit = try await home.inspect("web")["exit"] as? [String: Any]
            #expect(exit?["code"] as? Int == 0, "\(String(describing: exit))")
        }
    }

    @Test func furtherGroupsScoreAndDomainNameAreTheContainers() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let words = ["--group-add", "27", "--group-add", "29", "--oom-score-adj", "600", "--domainname", "example", image]
            let all = "id -G; cat /proc/self/oom_score_adj /proc/sys/kernel/domainname"
            let ran = try await home.command(["run", "--rm"] + words + ["sh", "-c", all]).run()
            #expect(ran.lines == ["0 27 29", "600", "example"])
            _ = try await home.command(["run", "-d", "--name", "c"] + words + ["sleep", "300"]).run()
            #expect(try await home.lunette("exec", "c", "id", "-G").text == "0 27 29")
            // Beside those of the image's own /etc/group.
            let named = try await home.lunette("run", "--rm", "--user", "app", "--group-add", "27", image, "id", "-G")
            #expect(Set(named.text.split(separator: " ")).isSuperset(of: ["27", "1000", "2000"]), "\(named.text)")
        }
    }

    @Test func aLimitThatKeepsAContainerFromStartingIsNamed() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            for detached in [[], ["-d"]] {
                let words = ["run", "--rm"] + detached
                let few = try await home.command(words + ["--pids-limit", "1", image, "true"]).run(expecting: 125)
                #expect(
                    few.errorText.contains("--pids-limit 1: ") && few.errorText.contains("leaves too few for a launch"), "\(few.errorText)")
                // Above what any machine grants (fs.nr_open), whoever asks.
                let many = try await home.command(words + ["--ulimit", "core=0", "--ulimit", "nofile=1:2147483648", image, "true"]).run(
                    expecting: 125)
                #expect(many.errorText.contains("--ulimit nofile=1:2147483648: nofile can't be 2147483648: "), "\(many.errorText)")
            }
            #expect(try await home.lunette("ps", "-a", "-q").text == "")
        }
    }

    @Test func limitsAreTheContainersAndSeenInside() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let oom = try await home.lunette(
                "run", "--name", "hungry", "--memory", "16m", image, "sh", "-c", "x=0123456789abcdef; while true; do x=$x$x; done",
                expecting: nil,
                timeout: .seconds(60))
            #expect(oom.code != 0)
            let exit = try await home.inspect("hungry")["exit"] as? [String: Any]
            #expect(exit?["oom_killed"] as? Bool == true, "\(String(describing: exit))")
            let forks = try await home.lunette(
                "run", "--rm", "--pids-limit", "10", image, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; wait",
                expecting: nil)
            #expect(forks.errorText.contains("fork"), "\(forks.errorText)")
        }
    }

    @Test func stopPauseRestartRenameAndCopiesOfStatus() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette(
                "run", "-d", "--name", "c", image, "sh", "-c", "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.1; done")
            try await eventually("it is up") { try await home.lunette("logs", "c").text == "up" }
            try await home.lunette("pause", "c")
            #expect(try await home.inspect("c")["status"] as? String == "paused")
            try await home.lunette("resume", "c")
            try await home.lunette("restart", "c")
            try await eventually("it is up again") { try await home.lunette("logs", "c").lines.filter { $0 == "up" }.count == 2 }
            try await home.lunette("rename", "c", "d")
            try await home.lunette("stop", "d")
            #expect(try await home.lunette("wait", "d").text == "4")
            #expect(try await home.lunette("logs", "d").lines == ["up", "bye", "up", "bye"])
            try await home.lunette("rm", "d")
            let gone = try await home.lunette("inspect", "d", expecting: nil)
            #expect(gone.code != 0)
        }
    }

    @Test func psFindsWhatWaitsForItsRestart() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "failing", "--restart", "always", image, "sh", "-c", "exit 3")
            try await home.lunette("run", "-d", "--name", "running", image, "sleep", "60")
            try await home.lunette("run", "--name", "ended", image, "true")
            func names(_ filters: String...) async throws -> [String] {
                try await home.command(["ps", "--format", "{{.Names}}"] + filters.map { "--filter=status=\($0)" }).run().lines.sorted()
            }
            // It runs for a moment between its waits.
            try await eventually("it waits") { try await names("restarting") == ["failing"] }
            try await eventually("both") { try await names("restarting", "running") == ["failing", "running"] }
            try await eventually("others that stopped too") { try await names("restarting", "exited") == ["ended", "failing"] }
            try await home.lunette("stop", "failing")
            #expect(try await names("restarting") == [])
        }
    }

    @Test func whatAContainerWritesIsGoneWithItWhileVolumesStay() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("volume", "create", "data")
            try await home.lunette("run", "--rm", "-v", "data:/data", image, "sh", "-c", "echo kept >/data/f; echo lost >/f")
            #expect(try await home.lunette("run", "--rm", "-v", "data:/data", image, "cat", "/data/f").text == "kept")
            try await home.lunette("run", "--rm", image, "cat", "/f", expecting: 1)
            // A volume in use isn't removed; one that isn't is.
            try await home.lunette("run", "-d", "--name", "user", "-v", "data:/data", image, "sleep", "60")
            let refused = try await home.lunette("volume", "rm", "data", expecting: nil)
            #expect(refused.code != 0)
            try await home.lunette("rm", "-f", "user")
            try await home.lunette("volume", "rm", "data")
        }
    }

    @Test func bindMountsAndTmpfsAreSeen() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let folder = "\(home.folder)/shared"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try Data("from the host".utf8).write(to: URL(fileURLWithPath: "\(folder)/f"))
            #expect(try await home.lunette("run", "--rm", "-v", "\(folder):/mnt:ro", image, "cat", "/mnt/f").text == "from the host")
            let readonly = try await home.lunette("run", "--rm", "-v", "\(folder):/mnt:ro", image, "touch", "/mnt/g", expecting: 1)
            #expect(readonly.errorText.contains("Read-only"))
            try await home.lunette(
                "run", "--rm", "--tmpfs", "/scratch", image, "sh", "-c", "touch /scratch/a && grep -q ' /scratch tmpfs' /proc/mounts")
            try await home.lunette("run", "--rm", "--read-only", image, "touch", "/a", expecting: 1)
            #expect(try await home.lunette("run", "--rm", "--read-only", "--workdir", "/not/there", image, "pwd").text == "/not/there")
        }
    }
}

extension LunetteHome {
    /// `lunette inspect NAME` as a dictionary.
    func inspect(_ name: String) async throws -> [String: Any] {
        let output = try await lunette("inspect", name).stdout
        let decoded = try JSONSerialization.jsonObject(with: output)
        if let list = decoded as? [[String: Any]], let first = list.first { return first }
        guard let map = decoded as? [String: Any] else { throw CommandFailure("inspect \(name) printed no object") }
        return map
    }
}
