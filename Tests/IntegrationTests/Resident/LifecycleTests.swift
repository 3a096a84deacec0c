import Foundation
import Glibc
import LunetteTesting
import Testing

/// Lifecycles of resident scripts and health checks, in real containers.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ContainerLifecycleTests {
    private func health(_ place: ResidentPlace, _ name: String) async throws -> String {
        try await place.lunette("inspect", "--format", "{{.health.status}}", name).text
    }

    @Test func healthIsCheckedByCommandHTTPAndTCP() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            let often = ["--health-interval", "100ms", "--health-start-interval", "100ms", "--health-retries", "2"]
            try await home.command(
                ["run", "-d", "--name", "cmd", "--health-cmd", "test -e /ok || { echo not there; exit 3; }"] + often + [
                    image, "sleep", "1000",
                ]
            ).run()
            try await home.command(
                ["run", "-d", "--name", "http", "--health-http", "8080/ready"] + often + [
                    image, "sh", "-c", "mkdir /www; echo yes > /www/ready; httpd -f -p 8080 -h /www",
                ]
            ).run()
            try await home.command(
                ["run", "-d", "--name", "tcp", "--health-tcp", "6379"] + often + [image, "sh", "-c", "while true; do nc -l -p 6379; done"]
            ).run()
            for name in ["http", "tcp"] {
                try await eventually("\(name) is healthy") { try await health(place, name) == "healthy" }
            }
            try await eventually("cmd is unhealthy") { try await health(place, "cmd") == "unhealthy" }
            #expect(
                try await place.lunette("inspect", "--format", "{{.health.message}}", "cmd").text
                    == "/bin/sh ended with code 3: not there")
            try await place.lunette("exec", "cmd", "touch", "/ok")
            try await eventually("cmd is healthy") { try await health(place, "cmd") == "healthy" }
            #expect(try await place.lunette("ps", "--format", "{{.Status}}").lines.allSatisfy { $0.hasSuffix("(healthy)") })
            try await place.lunette("exec", "http", "rm", "/www/ready")
            try await eventually("http is unhealthy") { try await health(place, "http") == "unhealthy" }
            #expect(
                try await place.lunette("inspect", "--format", "{{.health.message}}", "http").text.contains("status 404"))
            // The next engine goes on where the last one was, and no check of the old one is left running.
            place.killEngine()
            #expect(try await health(place, "tcp") == "healthy")
            try await place.lunette("exec", "cmd", "rm", "/ok")
            try await eventually("cmd is unhealthy again") { try await health(place, "cmd") == "unhealthy" }
            try await place.lunette("rm", "-f", "cmd", "http", "tcp")
            try await home.expectClean()
        }
    }

    @Test func anUnhealthyContainerIsRestarted() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.lunette(
                "run", "-d", "--name", "web", "--health-cmd", "test ! -e /tmp/sick", "--health-interval", "100ms", "--health-retries", "1",
                "--on-unhealthy", "restart", "--tmpfs", "/tmp", "--stop-timeout", "1", image, "sleep", "1000")
            try await eventually("it is healthy") { try await health(place, "web") == "healthy" }
            try await place.lunette("exec", "web", "touch", "/tmp/sick")
            try await eventually("it was restarted, and is well") {
                try await place.lunette("inspect", "--format", "{{.restarts}} {{.health.status}}", "web").text == "1 healthy"
            }
            let events = try await place.lunette("events", "--since", "0", "--until", "0s", "--format", "{{.name}}").lines
            #expect(events.filter { $0 == "container.healthy" }.count == 2 && events.contains("container.unhealthy"))
        }
    }

    private func program(_ image: String) -> String {
        """
        lunette.lifecycle("db", {
          prepare = function(ev) ev:amend { labels = { prepared = "yes" } } end,
          started = function(c) log.info("started " .. c.name) end,
          stop = function(c)
            c:exec({ "touch", "/data/stopped" }, { check = true })
            c:kill "USR1"
            c:wait { timeout = "5s" }
          end,
          exited = function(c, exit, attempts)
            log.info("exited " .. exit.code .. " " .. attempts)
            if exit.code == 7 and attempts < 2 then return { restart = { after = "100ms" } } end
            return exit.code == 9 and "remove" or "keep"
          end,
          removed = function(name) log.info("removed " .. name) end,
          states = {
            draining = {
              from = { "running" }, to = { "running", "stopped" }, timeout = "1h", on_timeout = "stopped",
              enter = function(c)
                c:exec({ "touch", "/data/draining" }, { check = true })
                c:update { labels = { draining = "yes" } }
              end,
              leave = function(c) c:exec({ "rm", "/data/draining" }, { check = true }) end,
            },
          },
        })
        """
    }

    @Test func aProgramRunsTheContainersLife() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            try place.write("conf.d/db.lua", program(image))
            let run = ["run", "-d", "--lifecycle", "db", "-v", "data:/data"]
            try await place.lunette(
                "run", "-d", "--name", "one", "--lifecycle", "db", "-v", "data:/data", image, "sh", "-c",
                "trap 'exit 5' USR1; while true; do sleep 0.05; done")
            #expect(try await place.lunette("inspect", "--format", "{{.labels.prepared}}", "one").text == "yes")
            #expect(try await place.lunette("hook", "ls").text.contains("conf.d/db.lua:1"))

            try await place.lunette("-e", "container.get('one'):transition('draining')")
            #expect(try await place.lunette("ps", "--format", "{{.Status}}").text.hasSuffix("[draining]"))
            #expect(
                try await place.lunette("inspect", "--format", "{{.status}} {{.state}} {{.labels.draining}}", "one").text
                    == "running draining yes")
            try await place.lunette("exec", "one", "test", "-e", "/data/draining")
            // Killed and started anew, the engine finds it in its state.
            place.killEngine()
            #expect(try await place.lunette("inspect", "--format", "{{.state}}", "one").text == "draining")
            try await place.lunette("-e", "container.get('one'):transition('running')")
            // Ending it so is a stop as any, and asked for as one.
            let held = "lunette.before('container.stop', function(ev) ev:deny 'held' end) container.get('one'):transition('stopped')"
            #expect(try await place.lunette("-e", held, expecting: 1).errorText.contains("held"))
            try await place.lunette("exec", "one", "test", "!", "-e", "/data/draining")
            let wrong = try await place.lunette("-e", "container.get('one'):transition('draning')", expecting: 1)
            #expect(wrong.errorText.contains("did you mean \"draining\"?"), "\(wrong.errorText)")

            // Its own way to end: no signal of the engine's was needed.
            let stopped = try await place.lunette("-e", "return container.get('one'):stop().code")
            #expect(stopped.text == "5")
            #expect(try await place.lunette("run", "--rm", "-v", "data:/data", image, "ls", "/data").text == "stopped")

            // What it decides.
            try await home.command(run + ["--name", "seven", image, "sh", "-c", "exit 7"], environment: ["LUNETTE_CONFIG": place.settings])
                .run()
            try await eventually("it gave up after two more") {
                try await place.lunette("inspect", "--format", "{{.status}} {{.restarts}} {{.exit.code}}", "seven").text == "stopped 2 7"
            }
            try await home.command(run + ["--name", "nine", image, "sh", "-c", "exit 9"], environment: ["LUNETTE_CONFIG": place.settings])
                .run()
            try await eventually("it is gone") { try await !place.lunette("ps", "-a", "--format", "{{.Names}}").lines.contains("nine") }
            try await eventually("its removal was told") { place.log.contains("removed nine") }
            #expect(place.log.contains("started one") && place.log.contains("exited 7 2"))

            // Gone, it is as if there was none.
            try FileManager.default.removeItem(atPath: "\(place.settings)/conf.d/db.lua")
            try await place.lunette("reload")
            try await place.lunette("start", "seven")
            #expect(try await place.lunette("wait", "seven").text == "7")
            let refused = try await home.command(run + [image], environment: ["LUNETTE_CONFIG": place.settings]).run(expecting: 125)
            #expect(refused.errorText.contains("no lifecycle \"db\" is loaded"), "\(refused.errorText)")
        }
    }

    /// The engine dies while the program thinks about an exit: the next one asks again.
    @Test func aDecisionIsAskedForAgain() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            try place.write(
                "init.lua",
                "lunette.lifecycle(\"x\", { exited = function() log.info(\"thinking\") task.sleep(\"2s\") return \"remove\" end })")
            try await place.lunette("run", "-d", "--name", "one", "--lifecycle", "x", image, "true")
            try await eventually("it is asked") { place.log.contains("thinking") }
            place.killEngine()
            try await eventually("it was asked again, and is gone", within: .seconds(30)) {
                try await place.lunette("ps", "-aq").text == ""
            }
            #expect(place.log.components(separatedBy: "thinking").count >= 3)
            try await home.expectClean()
        }
    }
}
