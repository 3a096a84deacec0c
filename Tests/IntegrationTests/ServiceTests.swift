import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// The engine as a service: what systemd gives it and hears of it, and what its stops leave alone. Tests/Service/manager.py plays systemd.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ServiceTests {
    private func manager(
        _ home: LunetteHome, _ options: String..., daemon: [String] = [], environment: [String: String?] = [:]
    ) throws
        -> RunningCommand
    {
        let socket = "\(home.state)/engine.sock"
        let manager = try Command(
            (home.user?.words ?? [])
                + ["/usr/bin/python3", "\(LunetteHome.package)/Tests/Service/manager.py", "--socket", socket] + options
                + ["--", LunetteHome.binary, "--root", home.root, "--state", home.state, "daemon"] + daemon,
            environment: home.environment.merging(environment) { $1 }, workdir: home.folder
        ).start()
        // It would go on for ever when a test fails before its end.
        home.cleanUp.add("end the manager") { manager.signal(SIGKILL) }
        return manager
    }

    private func pid(_ manager: RunningCommand) throws -> pid_t {
        let line = try #require(manager.text.split(separator: "\n").last { $0.hasPrefix("started ") })
        return try #require(pid_t(line.dropFirst(8)))
    }

    private func stop(_ manager: RunningCommand) async throws {
        manager.signal(SIGTERM)
        _ = try await manager.wait()
    }

    @Test(arguments: [false, true]) func aClientStartsItAndItTellsHowItIs(isAbstract: Bool) async throws {
        try await withLunette(.root) { home in
            let manager = try isAbstract ? manager(home, "--watchdog", "0.6", "--abstract") : manager(home, "--watchdog", "0.6")
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            let image = try await home.load(.busybox)
            try await manager.says("told READY=1 STATUS=0 containers running")
            // The client's engine is the service, not one of its own.
            #expect(try await home.lunette("system", "info", "--format", "{{.pid}}").text == "\(try pid(manager))")
            try await home.lunette("run", "-d", "--name", "stays", image, "sleep", "600")
            try await manager.says("told WATCHDOG=1 STATUS=1 container running")
            let before = manager.text.components(separatedBy: "WATCHDOG=1").count
            try await eventually("it pings on") { manager.text.components(separatedBy: "WATCHDOG=1").count > before + 2 }

            // What stands still doesn't ping.
            kill(try pid(manager), SIGSTOP)
            try await Task.sleep(for: .milliseconds(300))
            let still = manager.text.components(separatedBy: "WATCHDOG=1").count
            try await Task.sleep(for: .milliseconds(900))
            #expect(manager.text.components(separatedBy: "WATCHDOG=1").count == still)
            // As systemd does then.
            kill(try pid(manager), SIGKILL)
            try await manager.says("ended -9")
            #expect(try await home.lunette("ps", "--format", "{{.Names}} {{.status}}").text == "stays running")

            kill(try pid(manager), SIGTERM)
            try await manager.says("told STOPPING=1")
            try await manager.says("ended 0")
            // systemd's socket is still there, and starts it again.
            #expect(access("\(home.state)/engine.sock", F_OK) == 0)
            #expect(try await home.lunette("exec", "stays", "echo", "here").text == "here")
            try await home.lunette("rm", "-f", "stays")
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
        }
    }

    /// It becomes root in a namespace of its own on the way, and stays the process that systemd has started.
    @Test(.requires(.ordinaryUser)) func anOrdinaryUsersEngineIsAServiceToo() async throws {
        try await withLunette(.withRange) { home in
            let manager = try manager(home, "--watchdog", "0.9")
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            let image = try await home.load(.busybox)
            try await manager.says("told READY=1")
            #expect(try await home.lunette("system", "info", "--format", "{{.pid}} {{.rootless}}").text == "\(try pid(manager)) true")
            try await home.lunette("run", "-d", "--name", "stays", image, "sleep", "600")
            try await manager.says("told WATCHDOG=1 STATUS=1 container running")
            kill(try pid(manager), SIGTERM)
            try await manager.says("ended 0")
            #expect(try await home.lunette("exec", "stays", "echo", "here").text == "here")
            try await home.lunette("rm", "-f", "stays")
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
        }
    }

    /// Another program holds the database, and a call waits for it: the engine's thread answers nobody, so the watchdog isn't fed.
    @Test func anEngineThatDoesNotAnswerIsNotWell() async throws {
        try await withLunette(.root) { home in
            let manager = try manager(home, "--watchdog", "0.6")
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            try await home.lunette("ps")
            try await manager.says("told WATCHDOG=1")
            let holder = try Command([
                "/usr/bin/python3", "-c",
                "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(4)",
                "\(home.root)/state.sqlite",
            ]).start()
            try await holder.says("held")
            let stuck = try home.command(["volume", "create", "data"]).start()
            try await Task.sleep(for: .milliseconds(700))
            let before = manager.text.components(separatedBy: "WATCHDOG=1").count
            try await Task.sleep(for: .milliseconds(1500))
            #expect(manager.text.components(separatedBy: "WATCHDOG=1").count <= before + 1)
            _ = try await holder.wait()
            #expect(try await stuck.wait().code == 0)
            try await eventually("it is well again") { manager.text.components(separatedBy: "WATCHDOG=1").count > before + 2 }
            try await home.lunette("volume", "rm", "data")
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
        }
    }

    @Test func aHangUpReloadsAndSaysSo() async throws {
        try await withLunette(.root) { home in
            let settings = "\(home.folder)/settings"
            try FileManager.default.createDirectory(atPath: settings, withIntermediateDirectories: true)
            let manager = try manager(home, environment: ["LUNETTE_CONFIG": settings])
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            try await home.lunette("ps")
            try await manager.says("told READY=1")
            try Data("lunette.on(\"engine.ready\", { name = \"x\" }, print)".utf8).write(to: URL(fileURLWithPath: "\(settings)/init.lua"))
            manager.signal(SIGHUP)
            try await manager.says("told RELOADING=1 MONOTONIC_USEC=")
            try await manager.says("told READY=1 STATUS=reloaded")
            #expect(try await home.lunette("script", "ls", "--quiet").text == "init")
            try Data("x = = 1".utf8).write(to: URL(fileURLWithPath: "\(settings)/init.lua"))
            manager.signal(SIGHUP)
            try await manager.says("told READY=1 STATUS=reload: init.lua")
            #expect(try await home.lunette("script", "ls", "--format", "{{.status}}").text == "last_good")
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
        }
    }

    @Test func aStopGoesOnWithWhatItsClientsDo() async throws {
        try await withLunette(.root) { home in
            let manager = try manager(home)
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "stays", image, "sleep", "600")
            let follower = try home.command(["events"]).start()
            let waiter = try home.command(["wait", "stays"]).start()
            let exec = try home.command(["exec", "stays", "sh", "-c", "sleep 3; echo done; exit 4"]).start()
            let foreground = try home.command(["run", "--rm", "--name", "front", image, "sh", "-c", "sleep 4; echo still; exit 5"]).start()
            try await eventually("it runs") { try await home.lunette("ps", "-q").lines.count == 2 }
            let script = try home.scriptCommand(
                """
                local lunette = require "lunette"
                local c = lunette.container.run { image = arg[1], name = "scripts", args = { "sleep", "600" }, lifetime = "script" }
                print("made")
                lunette.task.sleep "4s"
                print(c:inspect().status)
                """, arguments: [image]
            ).start()
            try await script.says("made")
            try await eventually("the exec runs") { try await home.lunette("top", "stays").text.contains("sleep 3") }
            let first = try pid(manager)
            kill(first, SIGTERM)
            try await manager.says("ended 0", within: .seconds(8))
            // They go on with the next one, which their own repetitions start.
            let ended = try await exec.wait()
            #expect(ended.code == 4 && ended.text == "done", "\(ended.code) \(ended.text) \(ended.errorText)")
            #expect(try await script.wait().text == "made\nrunning")
            let front = try await foreground.wait()
            #expect(front.code == 5 && front.text == "still", "\(front.code) \(front.text) \(front.errorText)")
            try await home.lunette("rename", "stays", "still")
            try await follower.says("container.renamed")
            try await home.lunette("kill", "still")
            #expect(try await waiter.wait().text == "137")
            #expect(try pid(manager) != first)
            follower.signal(SIGKILL)
            try await home.lunette("rm", "-f", "still")
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
        }
    }

    @Test func aCallUnderWayIsEndedFirst() async throws {
        try await withLunette(.root) { home in
            let settings = "\(home.folder)/settings"
            try FileManager.default.createDirectory(atPath: settings, withIntermediateDirectories: true)
            try Data(
                "lunette.before(\"container.create\", { name = \"slow\" }, function() task.sleep \"2s\" end)".utf8
            ).write(to: URL(fileURLWithPath: "\(settings)/init.lua"))
            let manager = try manager(home, environment: ["LUNETTE_CONFIG": settings])
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            let image = try await home.load(.busybox)
            let creating = try home.command(["create", "--name", "one", image]).start()
            try await Task.sleep(for: .milliseconds(700))
            let first = try pid(manager)
            kill(first, SIGTERM)
            try await manager.says("told STOPPING=1")
            // Its answer is of the engine that leaves.
            #expect(try await creating.wait().code == 0)
            try await manager.says("ended 0")
            #expect(try await home.lunette("ps", "-aq").lines.count == 1)
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
        }
    }

    @Test func monitorsAreNoProcessesOfTheService() async throws {
        try await withLunette(.root) { home in
            let cgroup = "lunette-test-\(getpid())"
            home.cleanUp.add("remove the service's cgroup") {
                for folder in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"] { rmdir("\(folder)/\(cgroup)") }
            }
            let manager = try manager(home, "--cgroup", cgroup)
            try await eventually("the socket is there") { access("\(home.state)/engine.sock", F_OK) == 0 }
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "stays", image, "sleep", "600")
            let shim = try #require(
                pid_t(
                    try await Command.shell("ps -o ppid= -p \(try await home.lunette("inspect", "--format", "{{.pid}}", "stays").text)")
                        .run().text
                        .trimmingCharacters(in: .whitespaces)))
            func place(_ pid: pid_t) -> String {
                ((try? String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8)) ?? "").split(separator: "\n")
                    .filter { $0.hasPrefix("0::") || $0.contains("name=systemd") }.joined(separator: " ")
            }
            #expect(place(try pid(manager)).contains(cgroup))
            try await eventually("the monitor has moved") { place(shim).contains("/lunette-shims") && !place(shim).contains(cgroup) }
            try await home.lunette("rm", "-f", "stays")
            try await stop(manager)
            unlink("\(home.state)/engine.sock")
            for folder in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"] {
                try await eventually("its cgroup is left") { rmdir("\(folder)/\(cgroup)") == 0 || errno == ENOENT }
                #expect(
                    access("\(folder)/lunette-shims", F_OK) != 0
                        || !FileManager.default.contents(atPath: "\(folder)/lunette-shims/cgroup.procs")!.isEmpty)
            }
        }
    }

    @Test func aSocketThatIsNotTheEnginesIsRefused() async throws {
        try await withLunette(.root) { home in
            let manager = try Command(
                [
                    "/usr/bin/python3", "\(LunetteHome.package)/Tests/Service/manager.py", "--socket", "\(home.folder)/x/other.sock", "--",
                    LunetteHome.binary, "--root", home.root, "--state", home.state, "daemon",
                ], environment: home.environment, workdir: home.folder
            ).start()
            try await eventually("the socket is there") { access("\(home.folder)/x/other.sock", F_OK) == 0 }
            let poke = try await Command.shell(
                "exec 3<>/dev/null; /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\(home.folder)/x/other.sock\")'"
            ).run()
            #expect(poke.code == 0)
            try await manager.says("ended 1")
            #expect(manager.errorText.contains("is neither \(home.state)/engine.sock nor has a name of its own"), "\(manager.errorText)")
            manager.signal(SIGKILL)
            _ = try await manager.wait()
        }
    }

    @Test(.requires(.command("systemd-analyze"))) func theUnitsAreSystemds() async throws {
        let folder = "/tmp/lnt-units.\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }  // Best effort: it lies in the temporary folder.
        for unit in ["lunette.service", "lunette.socket"] {
            // verify looks for the program.
            let text = try String(contentsOfFile: "\(LunetteHome.package)/scripts/systemd/\(unit)", encoding: .utf8)
            try Data(text.replacing("/usr/bin/lunette", with: LunetteHome.binary).utf8).write(to: URL(fileURLWithPath: "\(folder)/\(unit)"))
        }
        let verified = try await Command(["systemd-analyze", "verify", "--man=no", "\(folder)/lunette.service", "\(folder)/lunette.socket"])
            .run(expecting: 0)
        #expect(!verified.errorText.contains("lunette"), "\(verified.errorText)")
    }
}
