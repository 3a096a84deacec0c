import Foundation
import LunetteTesting
import Testing

/// The engine may die at any instruction: containers go on, the next engine adopts them, nothing half made remains.
@Suite(.serialized, .requires(.root, .overlay, .userNamespaces))
struct CrashTests {
    @Test func containersOutliveTheEngineAndAreAdoptedWithLogsAndExitStatus() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette(
                "run", "-d", "--name", "c", image, "sh", "-c",
                "i=0; while [ ! -e /end ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 42")
            try await home.lunette("run", "-d", "--name", "short", image, "sh", "-c", "sleep 0.5; echo last words; exit 17")
            let before = try await home.inspect("c")
            try await home.stopEngine(with: SIGKILL)
            // One of them ends while no engine is there.
            try await eventually("the short one has ended") { home.processes().filter { $0.command.contains("last words") }.isEmpty }

            let after = try await home.inspect("c")
            #expect(after["status"] as? String == "running")
            #expect(after["pid"] as? Int == before["pid"] as? Int)
            #expect(after["started_at"] as? Double == before["started_at"] as? Double)
            let exit = try await home.inspect("short")["exit"] as? [String: Any]
            #expect(exit?["code"] as? Int == 17)
            #expect(try await home.lunette("logs", "short").text == "last words")

            // The container may end, and take this with it, before touch itself has.
            try await home.lunette("exec", "c", "touch", "/end", expecting: nil)
            #expect(try await home.lunette("wait", "c").text == "42")
            let lines = try await home.lunette("logs", "c").lines
            #expect(lines == (0..<lines.count).map { "line \($0)" }, "no line is lost, split or doubled")
            #expect(lines.count > 20)
            try await home.expectClean()
        }
    }

    @Test func killingTheEngineInACallIsInvisibleToTheScript() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let script = try home.scriptCommand(
                """
                local lunette = require "lunette"
                local c = lunette.container.run { name = "waited", image = "\(image)", args = { "sleep", "1.5" } }
                print("waiting")
                io.stdout:flush()
                local exit = c:wait()
                print("exit", exit.code, lunette.container.get("waited") == c)
                """
            ).start()
            try await script.says("waiting")
            try await home.stopEngine(with: SIGKILL)
            let finished = try await script.wait()
            #expect(finished.code == 0, "\(finished.errorText)")
            #expect(finished.text.hasSuffix("exit\t0\ttrue"), "\(finished.text)")
        }
    }

    @Test func createsAreMadeOnceHoweverOftenTheEngineDies() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let script = try home.scriptCommand(
                """
                local lunette = require "lunette"
                for i = 1, 40 do
                  local c = lunette.container.run { name = "n" .. i, image = "\(image)", args = { "true" } }
                  c:wait()
                  print(i)
                  io.stdout:flush()
                end
                print("all made")
                """
            ).start()
            // Five times in the middle of things, at another instant each time.
            for made in [2, 7, 13, 20, 28] {
                try await script.says("\n\(made)\n")
                if let engine = home.enginePID() { kill(engine, SIGKILL) }
            }
            let finished = try await script.wait(timeout: .seconds(60))
            #expect(finished.code == 0 && finished.text.hasSuffix("all made"), "\(finished.errorText)")
            #expect(try await home.lunette("ps", "-a", "-q").lines.count == 40)
            try await home.expectClean()
        }
    }

    /// One walk: an engine that kills itself at the point, a client that goes through every operation, and what is left then.
    @Test(.requires(.dockerRegistry, .skopeo), .timeLimit(.minutes(8)))
    func everyFaultPointIsSurvived() async throws {
        try await withLunette { home in
            let registry = try await RegistryFixture(folder: "\(home.folder)/registry")
            home.cleanUp.add("stop the registry") { try await registry.stop() }
            let reference = try await registry.push(layout: try await TestImage.redis.layout(), as: "redis:1")
            let image = try await home.load(.busybox)
            try await home.lunette(
                "run", "-d", "--name", "witness", image, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")
            let witness = try await home.inspect("witness")["pid"] as? Int

            let points = try await home.lunette("system", "fault-points").lines
            #expect(points.count >= 15, "\(points)")
            var notReached: [String] = []
            for point in points {
                try await home.stopEngine()
                let engine = try home.command(["daemon", "--on-demand"], environment: ["LUNETTE_FAULT": point]).start()
                try await eventually("the engine of \(point) listens") {
                    FileManager.default.fileExists(atPath: "\(home.state)/engine.sock") || !engine.isRunning
                }
                let finished = try await home.script(Self.walk(reference: reference), expecting: nil, timeout: .seconds(60))
                #expect(finished.code == 0, "\(point): \(finished.errorText)")
                if engine.isRunning {
                    notReached.append(point)
                } else {
                    let end = try await engine.wait()
                    if end.signal != SIGKILL { notReached.append("\(point) (exit code \(end.code): \(end.errorText))") }
                }
                #expect(try await home.inspect("witness")["pid"] as? Int == witness, "\(point)")
                #expect(try await home.lunette("ps", "-a", "-q").lines.count == 1, "\(point)")
                try await home.expectClean(point)
            }
            #expect(notReached == [], "points that the walk doesn't reach")
            let lines = try await home.lunette("logs", "witness").lines
            #expect(lines == (0..<lines.count).map(String.init), "the witness's log is whole")
        }
    }

    /// Pull, build, create, start, exec, copy, stop, restart, remove, volumes, hooks: everything that leaves something behind.
    private static func walk(reference: String) -> String {
        """
        local lunette = require "lunette"
        local container, image, volume = lunette.container, lunette.image, lunette.volume
        image.pull("\(reference)", { tls = false, policy = "always" })
        image.build { tag = "walk:1", from = "\(reference)", run = { "echo built >/built" } }
        volume.create("walk")
        local c = container.create {
          name = "walk", image = "walk:1", args = { "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done" },
          mounts = { { type = "volume", source = "walk", target = "/data" } }, resources = { memory = "64MiB", pids = 32 },
        }
        c:start()
        local r = c:exec({ "sh", "-c", "cat /built; echo more >>/data/f; exit 3" })
        assert(r.code == 3 or r.code == 0, "exec's exit code: " .. r.code)
        c:pause()
        c:resume()
        c:update { resources = { memory = "96MiB" } }
        c:stop { grace_period = "100ms" }
        c:start()
        c:kill("SIGKILL")
        c:wait()
        c:rename("walked")
        c:start()
        c:remove { force = true }
        assert(not container.find("walked") and not container.find("walk"))
        volume.remove("walk")
        local function apply(memory)
          return lunette.apply {
            volumes = { walk = {} },
            containers = {
              a = { image = "walk:1", args = { "sleep", "600" }, resources = { memory = memory }, stop = { grace_period = 0 },
                    mounts = { { type = "volume", source = "walk", target = "/data" } } },
              b = { image = "walk:1", network = "container:a" },
            },
          }
        end
        local made = apply("64MiB")
        made.containers.a:start()
        apply("96MiB")
        made.containers.b:remove()
        made.containers.a:remove { force = true }
        volume.remove("walk")
        lunette.script.apply { name = "walk", source = [[ lunette.volume.apply("wanted", {}) ]] }
        assert(volume.find("wanted"), "a script's volume")
        lunette.script.apply { name = "walk", prune = true, source = [[
          lunette.lifecycle("walk", { exited = function() return "keep" end, states = { busy = {} } })
        ]] }
        for _ = 1, 200 do
          if not volume.find("wanted") then break end
          lunette.task.sleep "50ms"
        end
        assert(not volume.find("wanted"), "what a script wants no more is pruned by the next engine")
        local l = container.run {
          name = "life", image = "walk:1", args = { "sleep", "600" }, lifecycle = "walk", stop = { grace_period = "100ms" },
          health = { exec = { "test", "!", "-e", "/sick" }, start_interval = "100ms", period = "100ms", failure_threshold = 1,
                     on_unhealthy = "stop" },
        }
        l:transition("busy")
        l:exec({ "touch", "/sick" })
        l:wait()
        l:remove { force = true }
        lunette.script.remove("walk")
        image.tag("walk:1", "walk:2")
        image.remove("walk:1")
        image.remove("walk:2")
        image.remove("\(reference)")
        """
    }

    /// Sockets and folders of what runs are in the state folder that it was started with: another engine would take it for lost.
    @Test func aRootOfRunningContainersIsUsedWithTheirStateFolder() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "600")
            try await eventually("the engine has left", within: .seconds(30)) {
                home.processes().filter { $0.command.contains(" daemon") }.isEmpty
            }
            let other: [String: String?] = ["LUNETTE_STATE": "\(home.folder)/other"]
            let refused = try await home.lunette("ps", environment: other, expecting: 125)
            #expect(refused.errorText.contains("were started with the state folder \(home.state) and run: c"), "\(refused.errorText)")
            #expect(try await home.lunette("exec", "c", "echo", "here").text == "here")
            // Nor does an engine take calls that were meant for another root.
            let mistaken = try await home.lunette("--root", "\(home.folder)/elsewhere", "ps", expecting: 125)
            #expect(mistaken.errorText.contains("works on the root \(home.root), not on"), "\(mistaken.errorText)")
            // Whose engine and shim were killed runs no more, whatever the record says.
            let pid = try await home.inspect("c")["pid"] as? Int ?? 0
            let shim = try Self.parent(of: pid)
            for process in home.processes() where process.command.contains(" daemon") { kill(process.pid, SIGKILL) }
            kill(pid_t(shim), SIGKILL)
            try await eventually("nothing runs") { kill(pid_t(shim), 0) != 0 && kill(pid_t(pid), 0) != 0 }
            #expect(try await home.lunette("ps", "-q", environment: other).text == "")
            try await home.lunette("rm", "-f", "c", environment: other)
            try await eventually("the engine has left", within: .seconds(30)) {
                home.processes().filter { $0.command.contains(" daemon") }.isEmpty
            }
            #expect(try await home.lunette("ps", "-aq").text == "")
        }
    }

    @Test func aKilledShimIsSurvivedAndReported() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            try await home.lunette("run", "-d", "--name", "other", image, "sleep", "60")
            let pid = try await home.inspect("c")["pid"] as? Int ?? 0
            let parent = try Self.parent(of: pid)
            #expect(parent > 1)
            kill(pid_t(parent), SIGKILL)
            // By default the container ends with its monitor, and the engine says why.
            try await eventually("the container is seen as stopped") { try await home.inspect("c")["status"] as? String == "stopped" }
            let left = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? "State:\tZ"
            #expect(left.contains("State:\tZ"), "\(left)")
            #expect(try await home.inspect("other")["status"] as? String == "running")
            try await home.lunette("start", "c")
            #expect(try await home.inspect("c")["status"] as? String == "running")
            try await home.lunette("rm", "-f", "c", "other")
            try await home.expectClean()
        }
    }

    private static func parent(of pid: Int) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("PPid:") }
        return line.flatMap { Int($0.split(separator: "\t")[1]) } ?? 0
    }
}

extension LunetteHome {
    /// Expects `lunette system check` to find nothing.
    func expectClean(_ when: String = "") async throws {
        let check = try await lunette("system", "check", expecting: nil)
        #expect(check.code == 0, "\(when): \(check.text) \(check.errorText)")
    }
}
