import Foundation
import Glibc
import LunetteTesting
import Testing

/// `lunette plan` and `apply`: scripts that live in the engine, with what they want there to be.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ApplyTests {
    @Test func aScriptIsPlannedAppliedChangedAndRemoved() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            let file = "\(home.folder)/web.lua"
            func write(_ memory: String, _ more: String = "") throws {
                try """
                local names = require "names"
                lunette.volume.apply("data", { labels = { of = "web" } })
                local web = lunette.container.apply(names.web, {
                  image = "\(image)", args = { "sleep", "1000" }, resources = { memory = "\(memory)" },
                  mounts = { { type = "volume", source = "data", target = "/data" } },
                })
                \(more)
                lunette.on("container.exited", { name = "again", match = { target = names.web } }, function(ev)
                  log.info("exited " .. web:inspect().restarts)
                end)
                """.write(toFile: file, atomically: true, encoding: .utf8)
            }
            try "return { web = \"web\" }".write(toFile: "\(home.folder)/names.lua", atomically: true, encoding: .utf8)
            try write("64MiB")

            let plan = try await place.lunette("plan", file).text
            #expect(plan.contains("+ script    web") && plan.contains("+ volume    data") && plan.contains("+ container web"), "\(plan)")
            #expect(plan.contains("on container.exited        web.lua:8"), "\(plan)")
            #expect(plan.contains("calls, and may not: container.inspect"), "\(plan)")
            #expect(try await place.lunette("ps", "-aq").text == "")
            #expect(try await place.lunette("script", "ls", "-q").text == "")
            let asked = try await place.lunette("apply", file, expecting: 125)
            #expect(asked.errorText.contains("--yes"), "\(asked.errorText)")

            try await place.lunette("apply", file, "--yes", "--grant", "container.inspect")
            #expect(try await place.lunette("ps", "--format", "{{.Names}}").text == "web")
            #expect(try await place.lunette("script", "ls", "--format", "{{.name}} {{.origin}} {{.handlers}}").text == "web applied 1")
            #expect(try await place.lunette("script", "source", "web").text.contains("require \"names\""))

            // The same again is nothing; what may change is changed; what can't is a conflict, and nothing is done.
            #expect(try await place.lunette("plan", file, "--grant", "container.inspect").text.hasPrefix("= script"))
            try write("32MiB")
            try await place.lunette("apply", file, "-y", "--grant", "container.inspect")
            #expect(try await place.lunette("inspect", "--format", "{{.spec.resources.memory}}", "web").text == "33554432")
            try write("32MiB", "lunette.container.apply(\"other\", { image = \"\(image)\", args = { \"true\" } })")
            let before = try await place.lunette("script", "source", "web").text
            try await place.lunette("create", "--name", "other", image, "false")
            let conflict = try await place.lunette("apply", file, "-y", expecting: 125)
            #expect(conflict.errorText.contains("web.lua:7: the container other is there with another args"), "\(conflict.errorText)")
            #expect(try await place.lunette("script", "source", "web").text == before)

            // The file is no longer needed: what was applied is the engine's, also of the next one.
            try FileManager.default.removeItem(atPath: file)
            try FileManager.default.removeItem(atPath: "\(home.folder)/names.lua")
            place.killEngine()
            #expect(try await place.lunette("script", "ls", "-q").text == "web")
            try await place.lunette("kill", "web")
            try await eventually("the handler has it") { place.log.contains("exited 0") }

            // What it wanted and no longer wants stays where it is, unless it shall go.
            let left = try await place.lunette("script", "rm", "web").text
            #expect(left.contains("- web") && left.contains("? container web") && left.contains("--prune"), "\(left)")
            #expect(try await place.lunette("ps", "-aq").lines.count == 2)
            #expect(
                try await place.lunette("script", "rm", "web", expecting: 125).errorText.contains("no resident script is called \"web\""))
        }
    }

    @Test func whatIsNoLongerWantedIsPrunedWhenAsked() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            let file = "\(home.folder)/two.lua"
            let one =
                "lunette.container.apply(\"one\", { image = \"\(image)\", args = { \"sleep\", \"1000\" }, stop = { grace_period = 0 } })\n"
            try
                (one
                + "lunette.container.apply(\"two\", { image = \"\(image)\", args = { \"sleep\", \"1000\" }, stop = { grace_period = 0 } })")
                .write(toFile: file, atomically: true, encoding: .utf8)
            try await place.lunette("apply", file, "-y")
            try one.write(toFile: file, atomically: true, encoding: .utf8)
            let done = try await place.lunette("apply", file, "-y", "--prune").text
            #expect(done.contains("- container two"), "\(done)")
            #expect(try await place.lunette("ps", "-a", "--format", "{{.Names}}").text == "one")
            // Somebody's hand is no reason: it is there again with the next version, and with the next engine.
            try await place.lunette("rm", "-f", "one")
            place.killEngine()
            try await eventually("it is there again") { try await place.lunette("ps", "--format", "{{.Names}}").text == "one" }
            try await place.lunette("script", "rm", "--prune", "two")
            #expect(try await place.lunette("ps", "-aq").text == "")
        }
    }

    @Test func whatCannotBePrunedIsToldOnce() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            let file = "\(home.folder)/data.lua"
            try "lunette.volume.apply('wdata', {})\n".write(toFile: file, atomically: true, encoding: .utf8)
            try await place.lunette("apply", file, "-y")
            try await place.lunette("create", "--name", "wweb", "-v", "wdata:/d", image)
            let removed = try await place.lunette("script", "rm", "--prune", "data", expecting: 1)
            #expect(removed.errorText.contains("lunette: remove volume wdata: in use by wweb"), "\(removed.errorText)")
            try await place.lunette("rm", "wweb")
        }
    }

    @Test func severalObjectsInOneCallAreWantedToo() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            let file = "\(home.folder)/shop.lua"
            func write(_ more: String) throws {
                try """
                local r = lunette.apply {
                  volumes = { data = {} },
                  containers = {
                    app = { image = "\(image)", args = { "sleep", "1000" }, network = "container:web", stop = { grace_period = 0 } },
                    web = { image = "\(image)", args = { "sleep", "1000" }, stop = { grace_period = 0 },
                            mounts = { { type = "volume", source = "data", target = "/data" } } },
                  },
                  \(more)
                }
                lunette.on("container.exited", { name = "again", match = { target = "app" } }, function()
                  log.info("web is " .. r.containers.web:inspect().status .. ", " .. #r.volumes.data:users() .. " user")
                end)
                """.write(toFile: file, atomically: true, encoding: .utf8)
            }
            try write("")
            let plan = try await place.lunette("plan", file).text
            #expect(plan.contains("+ volume    data") && plan.contains("+ container web") && plan.contains("+ container app"), "\(plan)")
            try await place.lunette("apply", file, "--grant", "container.inspect", "--grant", "volume.users", "--yes")
            #expect(try await place.lunette("ps", "--format", "{{.Names}}").lines.sorted() == ["app", "web"])
            try await place.lunette("kill", "app")
            try await eventually("the handler has it") { place.log.contains("web is running, 1 user") }
            for (more, message) in [
                ("contaners = {}", "shop.lua:1: contaners: unknown option"), ("dry_run = true", "shop.lua:1: dry_run: has no meaning"),
                ("networks = {}", "networks are not in this version"),
            ] {
                try write(more)
                let refused = try await place.lunette("apply", file, "--yes", expecting: 125)
                #expect(refused.errorText.contains(message), "\(refused.errorText)")
            }
            try await place.lunette("rm", "-f", "app")
            try await place.lunette("script", "rm", "--prune", "shop")
            #expect(try await place.lunette("ps", "-aq").text == "")
        }
    }

    @Test func grantsBoundWhatItMayCall() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            let file = "\(home.folder)/greedy.lua"
            try """
            lunette.on("container.created", { name = "greedy" }, function(ev)
              local ok, e = lunette.try(ev.container.remove, ev.container)
              log.info("remove: " .. (ok and "done" or tostring(e)), { hint = e and e.hint })
            end)
            """.write(toFile: file, atomically: true, encoding: .utf8)
            let wrong = try await place.lunette("apply", file, "-y", "--grant", "container.remoev", expecting: 125)
            #expect(wrong.errorText.contains("did you mean \"container.remove\"?"), "\(wrong.errorText)")
            try await place.lunette("apply", file, "-y")
            try await place.lunette("create", "--name", "kept", image)
            try await eventually("it was refused") {
                place.log.contains("container.remove is not among what this code may call")
                    && place.log.contains("lunette apply greedy.lua --grant container.remove")
            }
            #expect(try await place.lunette("ps", "-aq").lines.count == 1)
            try await place.lunette("apply", file, "-y", "--grant", "container.*")
            try await place.lunette("create", "--name", "gone", image)
            try await eventually("it was done") { place.log.contains("remove: done") }
            #expect(try await place.lunette("ps", "-a", "--format", "{{.Names}}").text == "kept")
            // Whatever was granted, it grants itself no more.
            try """
            lunette.on("container.created", { name = "more" }, function()
              local ok, e = lunette.try(lunette.script.apply, { name = "more", source = "", grants = { "process.run" } })
              log.info("more: " .. tostring(e))
            end)
            """.write(toFile: file, atomically: true, encoding: .utf8)
            try await place.lunette("apply", file, "-y", "--grant", "*")
            try await place.lunette("create", image)
            try await eventually("that was refused") { place.log.contains("resident code and plugins install no resident code") }
        }
    }

    @Test func whatIsBrokenIsNotApplied() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            _ = try await home.load(.busybox)
            let file = "\(home.folder)/bad.lua"
            for (source, word) in [
                ("x = = 1", "bad.lua:1:"), ("lunette.container.apply(\"x\", { imag = \"a:1\" })", "bad.lua:1: spec.imag"),
                (
                    "lunette.container.apply(\"x\", { image = \"a:1\" }) lunette.container.apply(\"x\", { image = \"a:1\" })",
                    "declared at bad.lua:1 (script bad) already"
                ),
                ("require \"absent\"", "module 'absent' not found"), ("require \"../up\"", "is not a module's name"),
                ("lunette.container.run { image = \"a:1\" }", "container.run isn't called while"),
                ("while true do end", "ran longer than it may"),
                ("lunette.script.apply { name = \"b\", source = \"\" }", "installs no other"),
            ] {
                try source.write(toFile: file, atomically: true, encoding: .utf8)
                for command in [["plan", file], ["apply", file, "-y"]] {
                    let failed = try await home.command(command).run(expecting: 125)
                    #expect(failed.errorText.contains(word), "\(source): \(failed.errorText)")
                }
            }
            #expect(try await place.lunette("script", "ls", "-q").text == "")
        }
    }

    /// Two scripts whose names look alike were one to the engine; what a handler requires later was never looked at.
    @Test func namesAndModulesCantSlipIn() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            let deny = "lunette.before(\"container.create\", { name = \"p\" }, function(ev) ev:deny(\"no\") end)"
            try place.write("init.lua", deny)
            try await place.lunette("create", image, expecting: 125)
            try place.write("conf.d/e\u{301}.lua", "")
            #expect(try await place.lunette("reload", expecting: 125).errorText.contains("a script's name is ASCII"))
            try FileManager.default.removeItem(atPath: "\(place.settings)/conf.d/e\u{301}.lua")
            try place.write("init.lua", deny.replacingOccurrences(of: "\"p\"", with: "\"\u{e9}\""))
            #expect(try await place.lunette("reload", expecting: 125).errorText.contains("ASCII"))

            try place.write(
                "init.lua",
                "lunette.before(\"container.create\", { name = \"late\" }, function(ev) ev:amend { labels = { late = require(\"late\").v } } end)"
            )
            try place.write("lua/late.lua", "return { v = \"unseen\" }")
            try await place.lunette("reload")
            let denied = try await place.lunette("create", image, expecting: 125)
            #expect(denied.errorText.contains("wasn't required when the script was loaded"), "\(denied.errorText)")

            // Folders below are looked at, and a link in the place of one is an error.
            try place.write("init.lua", "require \"sub.m\"")
            try FileManager.default.createDirectory(atPath: "\(place.settings)/lua/sub", withIntermediateDirectories: true)
            try place.write("lua/sub/m.lua", "return 1")
            chmod("\(place.settings)/lua/sub", 0o777)
            #expect(try await place.lunette("reload", expecting: 125).errorText.contains("others than the engine's user may change it"))
            chmod("\(place.settings)/lua/sub", 0o755)
            try await place.lunette("reload")
            try FileManager.default.removeItem(atPath: "\(place.settings)/conf.d")
            symlink("/tmp", "\(place.settings)/conf.d")
            #expect(try await place.lunette("reload", expecting: 125).errorText.contains("conf.d: it is no folder"))
            unlink("\(place.settings)/conf.d")
            try place.write("init.lua", deny)
            try await place.lunette("reload")
            // A folder that is gone isn't an order to forget the policies in it.
            place.killEngine()
            #expect(rename(place.settings, place.settings + ".away") == 0)
            #expect(try await place.lunette("create", image, expecting: 125).errorText.contains("no"))
            #expect(try await place.lunette("script", "ls", "--format", "{{.status}}").text == "last_good")
        }
    }

    /// Several scripts that hang hold a reload and the end up as long as one.
    @Test func hangingScriptsEndTogether() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            for index in 0..<4 {
                try place.write(
                    "conf.d/h\(index).lua", "return { start = function() task.sleep(\"1h\") end, stop = function() task.sleep(\"1h\") end }"
                )
            }
            // A start that doesn't return keeps nobody waiting.
            let daemon = try place.start(["daemon"])
            try await daemon.says("listening")
            #expect(try await place.lunette("script", "ls", "-q").lines.count == 4)
            for index in 0..<4 { try place.write("conf.d/h\(index).lua", "-- again") }
            let begin = ContinuousClock.now
            #expect(try await place.lunette("reload").lines.count == 4)
            #expect(ContinuousClock.now - begin < .seconds(30))
            daemon.signal(SIGTERM)
            #expect(try await daemon.wait(timeout: .seconds(45)).code == 0)
        }
    }
}
