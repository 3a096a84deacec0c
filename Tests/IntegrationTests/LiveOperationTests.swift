import Foundation
import LunetteTesting
import Testing

/// What is done to containers while they run: limits, memory, pausing, terminals, files.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct LiveOperationTests {
    private func resources(_ home: LunetteHome, _ name: String) async throws -> [String: Any] {
        (try await home.inspect(name)["spec"] as? [String: Any])?["resources"] as? [String: Any] ?? [:]
    }

    // MARK: update

    @Test(.requires(.cgroupV1))
    func anUpdateHoldsWholeOrNotAtAll() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", "-m", "64m", image, "sleep", "60")
            let id = try await home.inspect("c")["id"] as? String ?? ""
            func file(_ name: String) async throws -> String {
                try await Command.shell("cat /sys/fs/cgroup/\(name.replacingOccurrences(of: "ID", with: id + ".*"))").run().text
            }
            #expect(try await file("memory/lunette/ID/memory.limit_in_bytes") == "67108864")

            let refused = try await home.lunette("update", "-m", "128m", "--cpuset-cpus", "4095", "c", expecting: 125)
            #expect(refused.errorText.contains("--cpuset-cpus: this machine has no processor 4095"), "\(refused.errorText)")
            #expect(try await file("memory/lunette/ID/memory.limit_in_bytes") == "67108864")
            #expect(try await resources(home, "c")["memory"] as? Int == 67_108_864)

            // What the kernel itself refuses puts back what was written before it.
            let kernel = try await home.lunette("update", "-m", "128m", "--cpuset-mems", "63", "c", expecting: 125)
            #expect(kernel.errorText.contains("--cpuset-mems"), "\(kernel.errorText)")
            #expect(try await file("memory/lunette/ID/memory.limit_in_bytes") == "67108864")

            try await home.lunette(
                "update", "-m", "128m", "--cpu-quota", "50000", "--cpu-shares", "512", "--pids-limit", "77", "--label", "a=b", "--restart",
                "on-failure:3", "c")
            #expect(try await file("memory/lunette/ID/memory.limit_in_bytes") == "134217728")
            #expect(try await file("cpu/lunette/ID/cpu.cfs_quota_us") == "50000")
            #expect(try await file("cpu/lunette/ID/cpu.shares") == "512")
            #expect(try await file("pids/lunette/ID/pids.max") == "77")
            let info = try await home.inspect("c")
            #expect(info["labels"] as? [String: String] == ["a": "b"])
            let last = (info["history"] as? [[String: Any]])?.last
            #expect(last?["what"] as? String == "updated")
            let detail = last?["detail"] as? String ?? ""
            #expect(detail.contains("resources.memory"))

            // A limit that is taken away is none, not what it was.
            try await home.script(
                "local c = lunette.container.get 'c' c:update { resources = { memory = lunette.null, cpus = lunette.null }, labels = { a = lunette.null } }"
                    .replacingOccurrences(of: "local c", with: "local lunette = require 'lunette' local c"))
            #expect(Int(try await file("memory/lunette/ID/memory.limit_in_bytes"))! > 1 << 50)
            #expect(try await file("cpu/lunette/ID/cpu.cfs_quota_us") == "-1")
            #expect(try await home.inspect("c")["labels"] as? [String: String] == [:])

            let shm = try await home.script(
                "require('lunette').container.get('c'):update { resources = { shm_size = '1MiB' } }", expecting: 1)
            #expect(shm.errorText.contains("/dev/shm can't change while the container runs"), "\(shm.errorText)")
            try await home.lunette("stop", "-t", "0", "c")
            try await home.lunette("update", "--memory", "32m", "c")
            #expect(try await resources(home, "c")["memory"] as? Int == 33_554_432)
        }
    }

    @Test func moreInUseThanTheNewLimitIsRefused() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette(
                "run", "-d", "--name", "c", "-m", "128m", "--tmpfs", "/fill", image, "sh", "-c",
                "head -c 40000000 /dev/zero > /fill/x; touch /fill/done; sleep 60")
            try await eventually("it has filled its memory", within: .seconds(20)) {
                try await home.lunette("exec", "c", "test", "-e", "/fill/done", expecting: nil).code == 0
            }
            let refused = try await home.lunette("update", "-m", "8m", "c", expecting: 125)
            #expect(refused.errorText.contains("--memory: the container uses"), "\(refused.errorText)")
            #expect(try await home.inspect("c")["status"] as? String == "running")
        }
    }

    // MARK: out of memory

    @Test func outOfMemoryEndsOneProcessOrAllByChoice() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            // Version 1 tells of a kill when it has happened, and the others end then: not before the next line of a script could run.
            let program = "sleep 600 & tail /dev/zero; sleep 2; echo survived; exec sleep 600"
            try await home.lunette("run", "-d", "--name", "one", "-m", "8m", image, "sh", "-c", program)
            try await home.lunette("run", "-d", "--name", "all", "-m", "8m", "--oom", "group", image, "sh", "-c", program)
            #expect("\(try await home.inspect("all")["degraded"] ?? "")".contains("oom") == false)
            #expect(try await home.lunette("wait", "--timeout", "30s", "all").text == "137")
            let exit = try await home.inspect("all")["exit"] as? [String: Any] ?? [:]
            #expect(exit["reason"] as? String == "oom")
            #expect(exit["oom_killed"] as? Bool == true)
            #expect(exit["oom_kills"] as? Int == 1)
            #expect(try await home.lunette("logs", "all").text.contains("survived") == false)

            try await eventually("the other went on", within: .seconds(30)) {
                try await home.lunette("logs", "one").text.contains("survived")
            }
            #expect(try await home.inspect("one")["status"] as? String == "running")
            try await eventually("both were told of", within: .seconds(20)) {
                let events = try await home.lunette(
                    "events", "--since", "5m", "--until", "0s", "--filter", "name=container.oom", "--format",
                    "{{.target.name}} {{.kills}} {{.policy}}")
                return Set(events.lines) == ["one 1 process", "all 1 group"]
            }
        }
    }

    @Test func whatEndedAProgramByForceIsToldWithItsExitCode() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let late = try await home.lunette("run", "--rm", "--time-limit", "300ms", image, "sleep", "600", expecting: 137)
            #expect(late.errorText == "lunette: the container was killed: its time limit of 300ms has passed (--time-limit)")
            let big = try await home.lunette("run", "--name", "c", "-m", "8m", image, "tail", "/dev/zero", expecting: 137)
            #expect(big.errorText == "lunette: c was killed: it needed more than its memory limit of 8m (--memory)")
            #expect(try await home.lunette("start", "-a", "c", expecting: 137).errorText.contains("limit of 8MiB (--memory)"))
            #expect(try await home.lunette("run", "--rm", image, "sh", "-c", "kill -KILL $$", expecting: 137).errorText == "")
        }
    }

    @Test func theChoiceCanChangeWhileItRuns() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette(
                "run", "-d", "--name", "c", "-m", "8m", image, "sh", "-c",
                "while [ ! -e /go ]; do sleep 0.1; done; sleep 60 & tail /dev/zero; exec sleep 60")
            try await home.lunette("update", "--oom", "group", "c")
            // The shim keeps it: the engine's death changes nothing.
            kill(try #require(home.enginePID()), SIGKILL)
            try await home.lunette("exec", "c", "touch", "/go")
            #expect(try await home.lunette("wait", "--timeout", "30s", "c").text == "137")
            #expect((try await home.inspect("c")["exit"] as? [String: Any])?["reason"] as? String == "oom")
        }
    }

    // MARK: pausing

    @Test func aPausedContainerCanBeStoppedKilledUpdatedAndRemoved() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
            try await home.lunette("pause", "c")
            #expect(try await home.lunette("exec", "c", "true", expecting: 125).errorText.contains("is paused"))
            try await home.lunette("update", "-m", "64m", "c")
            kill(try #require(home.enginePID()), SIGKILL)
            #expect(try await home.inspect("c")["status"] as? String == "paused")
            try await home.lunette("stop", "-t", "20", "c")
            #expect((try await home.inspect("c")["exit"] as? [String: Any])?["code"] as? Int == 3)
            try await home.lunette("start", "c")
            try await home.lunette("pause", "c")
            try await home.lunette("kill", "c")
            #expect(try await home.lunette("wait", "--timeout", "20s", "c").text == "137")
            try await home.lunette("start", "c")
            try await home.lunette("pause", "c")
            try await home.lunette("rm", "-f", "c")
            #expect(try await home.lunette("ps", "-aq").text == "")
        }
    }

    // MARK: terminals

    @Test(.requires(.command("tmux")))
    func severalAttachResizeAndLeaveAndAnExecThatIsLeftGoesOn() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let tmux = ["tmux", "-S", "\(home.folder)/tmux"]
            home.cleanUp.add("end tmux") { _ = try await Command(tmux + ["kill-server"]).run(expecting: nil) }
            let environment = home.environment.compactMapValues { $0 }.map { "\($0)='\($1)'" }.joined(separator: " ")
            func open(_ session: String, _ size: (Int, Int), _ line: String) async throws {
                try await Command(
                    tmux + [
                        "new-session", "-d", "-s", session, "-x", "\(size.0)", "-y", "\(size.1)",
                        "\(environment) \(LunetteHome.binary) \(line); echo left $?; cat",
                    ]
                ).run()
            }
            // "=b:" is the session b; "b" alone may also be a window whose name begins so.
            func screen(_ session: String) async throws -> String {
                try await Command(tmux + ["capture-pane", "-p", "-t", "=\(session):"]).run().text
            }
            func type(_ session: String, _ keys: String...) async throws {
                try await Command(tmux + ["send-keys", "-t", "=\(session):"] + keys).run()
            }
            func shows(_ session: String, _ text: String) async throws {
                do {
                    try await eventually("\(session) shows \(text)", within: .seconds(20)) { try await screen(session).contains(text) }
                } catch { throw CommandFailure("\(error):\n\(try await screen(session))") }
            }
            try await open("a", (100, 30), "run -it --name shell \(image) sh")
            try await shows("a", "/ #")
            try await open("b", (80, 24), "attach shell")
            try await type("b", "echo both-$((1+1))", "Enter")
            try await shows("a", "both-2")
            try await shows("b", "both-2")
            try await Command(tmux + ["resize-window", "-t", "=b:", "-x", "71", "-y", "19"]).run()
            try await eventually("the new size arrives", within: .seconds(20)) {
                try await type("b", "stty size", "Enter")
                return try await screen("b").contains("19 71")
            }
            try await type("a", "C-p", "C-q")
            try await shows("a", "left 0")
            kill(try #require(home.enginePID()), SIGKILL)
            try await type("b", "echo after-$((2+2))", "Enter")
            try await shows("b", "after-4")
            // The next engine is asked for the same once more, and nothing comes twice.
            #expect(try await home.inspect("shell")["status"] as? String == "running")
            try await type("b", "clear; echo again-$((3+3))", "Enter")
            try await shows("b", "again-6")
            #expect(try await screen("b").components(separatedBy: "again-6").count == 2)

            try await open("e", (90, 25), "exec -it shell sh")
            try await shows("e", "/ #")
            try await type("e", "stty size", "Enter")
            try await shows("e", "25 90")
            try await type("e", "sleep 987", "Enter")
            try await eventually("it sleeps", within: .seconds(20)) { try await home.lunette("top", "shell").text.contains("sleep 987") }
            try await type("e", "C-p", "C-q")
            try await shows("e", "left 0")
            #expect(try await home.lunette("top", "shell").text.contains("sleep 987"))
            try await type("b", "exit 7", "Enter")
            try await shows("b", "left 7")
        }
    }

    @Test func manyExecsLeaveNoZombieAndNoProcess() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "600")
            let output = try await home.script(
                """
                local lunette = require "lunette"
                local c, task = lunette.container.get "c", lunette.task
                local failed = 0
                for _ = 1, 25 do
                  local jobs = {}
                  for i = 1, 20 do
                    jobs[i] = function() if c:exec({ "true" }).code ~= 0 then failed = failed + 1 end end
                  end
                  task.all(jobs)
                end
                print(failed, #c:processes())
                """, timeout: .seconds(300))
            #expect(output.text == "0\t2")
            let pid = try await home.inspect("c")["pid"] as? Int ?? 0
            let shim = try await Command.shell("ps -o ppid= -p \(pid)").run().text.trimmingCharacters(in: .whitespaces)
            #expect(try await Command.shell("ps -o stat= --ppid \(shim) | grep -c Z || true").run().text == "0")
        }
    }

    // MARK: files

    @Test func copiesAsDockerDoes() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            let folder = home.folder
            try await Command.shell(
                "mkdir -p \(folder)/src/d && cd \(folder)/src && echo a > a && echo b > d/b && ln -s a link && chown 1000:2000 d/b"
            ).run()
            try await home.lunette("cp", "\(folder)/src/.", "c:/tmp/new")
            #expect(
                try await home.lunette("exec", "c", "sh", "-c", "cat /tmp/new/d/b; stat -c '%u %a' /tmp/new /tmp/new/d/b").lines == [
                    "b", "0 755", "0 644",
                ])
            try await home.lunette("cp", "-a", "\(folder)/src", "c:/tmp/kept")
            #expect(try await home.lunette("exec", "c", "stat", "-c", "%u:%g", "/tmp/kept/d/b").text == "1000:2000")
            try await home.lunette("cp", "-a", "c:/tmp/kept", "\(folder)/back")
            #expect(try await Command("stat", "-c", "%u:%g", "\(folder)/back/d/b").run().text == "1000:2000")
            try await home.lunette("cp", "-L", "\(folder)/src/link", "c:/tmp/")
            #expect(try await home.lunette("exec", "c", "sh", "-c", "test ! -h /tmp/link && cat /tmp/link").text == "a")
            // A link of the container's is followed inside it, whatever it says.
            try await home.lunette("exec", "c", "ln", "-s", "/etc/hostname", "/tmp/out")
            try await home.lunette("cp", "-L", "c:/tmp/out", "\(folder)/hostname")
            #expect(
                try String(contentsOfFile: "\(folder)/hostname", encoding: .utf8)
                    == (try await home.lunette("exec", "c", "cat", "/etc/hostname").text) + "\n")

            let line =
                "tar -C \(folder)/src -cf - . | \(LunetteHome.binary) cp - c:/tmp/tarred && \(LunetteHome.binary) cp c:/tmp/tarred - | tar tf -"
            let tarred = try await Command(["/bin/bash", "-euo", "pipefail", "-c", line], environment: home.environment).run()
            #expect(tarred.lines.first == "tarred/" && tarred.lines.contains("tarred/d/b"), "\(tarred.text)")
            // Nothing of the temporary folder's comes along: not its name, not its mode.
            for (source, names) in [("c:/tmp/kept/d/b", "b"), ("c:/tmp/kept/d/.", "b"), ("c:/var/empty/.", "")] {
                try await home.lunette("exec", "c", "mkdir", "-p", "/var/empty")
                let list = "\(LunetteHome.binary) cp \(source) - | tar tf -"
                let listed = try await Command(["/bin/bash", "-euo", "pipefail", "-c", list], environment: home.environment).run()
                #expect(listed.text == names, "\(source): \(listed.text)")
            }

            let nowhere = try await home.lunette("cp", "\(folder)/src/a", "c:/none/", expecting: 125)
            #expect(nowhere.errorText.contains("c:/none: no such file"), "\(nowhere.errorText)")
            let absent = try await home.lunette("cp", "c:/none/x", folder, expecting: 125)
            #expect(absent.errorText.contains("open c:/none: no such file"), "\(absent.errorText)")
            let over = try await home.lunette("cp", "\(folder)/src", "c:/etc/passwd", expecting: 125)
            #expect(over.errorText.contains("put a folder in place of the file c:/etc/passwd"), "\(over.errorText)")
            let empty = try await home.lunette("cp", "c:", "\(folder)/x", expecting: 125)
            #expect(empty.errorText.contains("the path is empty"), "\(empty.errorText)")

            try await home.lunette("stop", "-t", "0", "c")
            try await home.lunette("cp", "\(folder)/src/a", "c:/tmp/stopped")
            try await home.lunette("cp", "c:/tmp/stopped", "\(folder)/stopped")
            #expect(try String(contentsOfFile: "\(folder)/stopped", encoding: .utf8) == "a\n")
        }
    }

    /// The new file is no mount's end: what is mounted is written to, or refuses.
    @Test func aCopyOntoAMountedFileKeepsTheMount() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let folder = home.folder
            try await Command.shell("cd \(folder) && echo host > shared && echo new > new && chmod 666 shared && ln -s new link").run()
            try await home.lunette(
                "run", "-d", "--name", "c", "-v", "\(folder)/shared:/ro:ro", "-v", "\(folder)/shared:/rw", image, "sleep", "60")
            let mounts = try await home.lunette("exec", "c", "cat", "/proc/mounts").text
            let refused = try await home.lunette("cp", "\(folder)/new", "c:/ro", expecting: 125)
            #expect(refused.errorText.contains("read-only file system"), "\(refused.errorText)")
            #expect(try await home.lunette("cp", "\(folder)/link", "c:/rw", expecting: 125).errorText.contains("busy"))
            for source in ["new", "link"] {
                let kept = try await home.lunette("cp", "\(folder)/\(source)", "c:/dev/null", expecting: 125)
                #expect(kept.errorText.contains("in place of the device"), "\(kept.errorText)")
            }
            try await home.lunette("exec", "c", "test", "-c", "/dev/null")
            for (from, to) in [("/dev/null", "c:/tmp/null"), ("c:/dev/zero", "\(folder)/zero")] {
                let device = try await home.lunette("cp", from, to, expecting: 125)
                #expect(device.errorText.contains("copy a device or socket"), "\(device.errorText)")
            }
            try await home.lunette("cp", "\(folder)/new", "c:/rw")
            try await home.lunette("cp", "\(folder)/new", "c:/etc/hosts")
            #expect(try String(contentsOfFile: "\(folder)/shared", encoding: .utf8) == "new\n")
            #expect(try await home.lunette("exec", "c", "cat", "/ro", "/etc/hosts").lines == ["new", "new"])
            // The very file, by its own name and by another: emptied first, it would be lost.
            try await Command.shell("cd \(folder) && ln shared again").run()
            for (from, to) in [("\(folder)/shared", "c:/rw"), ("\(folder)/again", "c:/rw"), ("c:/rw", "\(folder)/shared")] {
                let same = try await home.lunette("cp", from, to, expecting: 125)
                #expect(same.errorText.contains("copy a file onto itself"), "\(same.errorText)")
                #expect(try String(contentsOfFile: "\(folder)/shared", encoding: .utf8) == "new\n")
            }
            #expect(try await home.lunette("exec", "c", "cat", "/proc/mounts").text == mounts)
        }
    }

    /// What a killed `cp` has left in the folder for temporary files, the next one takes away.
    @Test func aKilledCopyIsSweptUp() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            let place = "\(home.folder)/tmp"
            try await Command.shell(
                "cd \(home.folder) && mkdir -p tmp/lunette-cp.old/tree/d tmp/lunette-cp.new tmp/lunette-cp.held tmp/other"
                    + " && touch -d '2 minutes ago' tmp/*"
            ).run()
            try FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: "\(place)/lunette-cp.new")
            let held = open("\(place)/lunette-cp.held", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            #expect(flock(held, LOCK_EX | LOCK_NB) == 0)
            try await home.lunette("cp", "c:/etc/hostname", "-", environment: ["TMPDIR": place])
            #expect(try FileManager.default.contentsOfDirectory(atPath: place).sorted() == ["lunette-cp.held", "lunette-cp.new", "other"])
            close(held)
        }
    }

    @Test func diffTellsWhatTheContainerDid() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette(
                "run", "--name", "c", image, "sh", "-c", "echo x > /etc/new; echo y >> /etc/passwd; rm /etc/group; mkdir /srv; touch /srv/f"
            )
            let lines = try await home.lunette("diff", "c").lines
            for expected in ["C /etc", "A /etc/new", "C /etc/passwd", "D /etc/group", "A /srv", "A /srv/f"] {
                #expect(lines.contains(expected), "\(lines)")
            }
            #expect(!lines.contains { $0.hasSuffix("/etc/hosts") || $0.hasSuffix("/proc") })
        }
    }

    @Test func whatIsNotBuiltSaysWhyAndWhatToDo() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            for words in [["checkpoint", "c"], ["restore", "c"], ["port", "c"], ["top"]] {
                let finished = try await home.command(words).run(expecting: 125)
                #expect(finished.errorText.contains("built"), "\(finished.errorText)")
                #expect(finished.errorText.contains("hint:"), "\(finished.errorText)")
            }
            let code = try await home.lunette("-e", "return select(2, lunette.try(function() container.get('c'):checkpoint() end)).code")
                .text
            #expect(code.contains("unsupported"))
            let stats = try await home.lunette("stats", "--no-stream", "--format", "{{.Name}} {{.NetIO}} {{.PIDs}}", "c").text
            #expect(stats == "c - 2")
        }
    }
}
