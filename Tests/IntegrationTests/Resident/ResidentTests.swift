import Foundation
import Glibc
import LunetteTesting
import Testing

/// Code that lives in the engine: `init.lua` and `conf.d/*.lua` of the settings' folder.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ResidentTests {
    private let limits = """
        local policy = require "policy"
        lunette.before("container.create", { name = "limit-default", priority = 10 }, function(ev)
          if not (ev.spec.resources and ev.spec.resources.memory) then
            ev:amend { resources = { memory = policy.memory }, labels = { limited = "yes" } }
          end
        end)
        lunette.before("container.create", { name = "no-foo" }, function(ev)
          if ev.spec.name == "foo" then ev:deny("the name foo is taken by policy") end
        end)
        """

    @Test func handlersOfFilesAmendAndDeny() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            try place.write("conf.d/limits.lua", limits)
            try place.write("lua/policy.lua", "return { memory = \"64MiB\" }")
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            let denied = try await place.lunette("create", "--name", "foo", image, expecting: 125)
            #expect(denied.errorText.contains("denied: the name foo is taken by policy"), "\(denied.errorText)")
            #expect(denied.errorText.contains("by the hook \"no-foo\" at conf.d/limits.lua:7"), "\(denied.errorText)")
            try await place.lunette("create", "--name", "bar", image)
            #expect(try await place.lunette("inspect", "--format", "{{.spec.resources.memory}}", "bar").text == "67108864")
            let history = try await place.lunette("-e", "for _, e in ipairs(container.get('bar'):inspect().history) do print(e.detail) end")
            #expect(
                history.text.contains("resources.memory set to 64MiB by hook \"limit-default\" at conf.d/limits.lua:2"),
                "\(history.text)")
            #expect(history.text.contains("labels.limited set to \"yes\" by hook"), "\(history.text)")
            try await place.lunette("create", "--name", "own", "-m", "32m", image)
            #expect(try await place.lunette("inspect", "--format", "{{.spec.resources.memory}}", "own").text == "33554432")
            let scripts = try await place.lunette("script", "ls").lines
            #expect(scripts.count == 2 && scripts[1].hasPrefix("conf.d/limits") && scripts[1].contains("running"), "\(scripts)")
            let hooks = try await place.lunette("hook", "ls").text
            #expect(hooks.contains("conf.d/limits.lua:2") && hooks.contains("resident"), "\(hooks)")
            // Resident code is no client: an engine on demand leaves as without.
            try await place.engineHasLeft()
        }
    }

    /// Where nobody can answer while somebody looks out for it, nobody looks.
    @Test(.requires(.command("taskset"))) func anEngineOnOneProcessorAsksItsHandlers() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            try place.write(
                "conf.d/limits.lua", "lunette.before('container.create', function(ev) ev:amend { labels = { seen = 'yes' } } end)")
            let script = """
                local container = require "lunette".container
                for _ = 1, 20 do container.create { image = arg[1] } end
                print(#container.list { all = true, labels = { seen = "yes" } })
                """
            try Data(script.utf8).write(to: URL(fileURLWithPath: "\(home.folder)/many.lua"))
            var command = home.command(["many.lua", image], environment: ["LUNETTE_CONFIG": place.settings])
            command.arguments = ["taskset", "1"] + command.arguments
            #expect(try await command.run().text == "20")
            try await place.engineHasLeft()
        }
    }

    /// An engine on demand that has nothing else to do stays until a handler has done its event: left behind, it would come again for ever.
    @Test func aSlowHandlerComesToItsEnd() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            try place.write(
                "init.lua",
                "lunette.on('container.created', { name = 'long' }, function(ev) task.sleep '7s' log.info 'handled' end)")
            try await place.lunette("create", "--name", "one", image)
            try await place.engineHasLeft()
            #expect(place.log.split(separator: "\n").count { $0.contains("handled") } == 1, "\(place.log)")
            // Nor does the next engine give it again.
            try await place.lunette("ps")
            try await place.engineHasLeft()
            #expect(place.log.split(separator: "\n").count { $0.contains("handled") } == 1, "\(place.log)")
        }
    }

    @Test func aServiceWithoutItsSettingsDoesNotStart() async throws {
        try await withLunette { home in
            for folder in ["\(home.folder)/typo", ""] {
                let failed = try await home.command(["daemon", "--config", folder], environment: [:]).run(expecting: 125)
                #expect(failed.errorText.contains("read the settings' folder"), "\(failed.errorText)")
            }
        }
    }

    @Test func whatIsBrokenChangesNothing() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            try place.write("init.lua", "lunette.before(\"container.create\", { nme = \"x\" }, print)")
            let refused = try await place.lunette("ps", expecting: 125)
            let told = "load resident code: init.lua:1: lunette.before: nme: unknown option"
            #expect(refused.errorText.contains(told), "\(refused.errorText)")
            #expect(refused.errorText.contains("did you mean \"name\"?"))

            try place.write("init.lua", "lunette.before(\"container.create\", { name = \"no\" }, function(ev) ev:deny(\"not now\") end)")
            try await place.lunette("create", image, expecting: 125)
            for (broken, word) in [
                ("lunette.before(\"container.crate\", {}, print)", "\"container.crate\" is not an event"), ("x = = 1", "unexpected symbol"),
                ("lunette.container.list()", "container.list isn't called while a resident script"),
                ("task.sleep(1)", "sleep isn't called"),
                ("\nwhile true do end", "init.lua:2: the code ran longer than it may ("),
                ("local t = {}\nfor i = 1, 1e9 do\n  t[i] = (\"x\"):rep(1000) .. i\nend", "init.lua:3: not enough memory (64 MiB)"),
                ("lunette.before(\"container.create\", { timeout = \"5x\" }, print)", "lunette.before: timeout: \"5x\" is not a duration"),
                (
                    "lunette.on(\"*\", { match = { name = \"container.exitd\" } }, print)",
                    "lunette.on: match.name: \"container.exitd\" is no event"
                ),
                (
                    "table.concat(setmetatable({}, {__index = getmetatable, __metatable = \"\"}), \"\", math.mininteger, math.maxinteger)",
                    "ran longer than it may"
                ),
                ("return 5", "returns nothing or"),
                (
                    "lunette.on(\"container.exited\", { name = \"no\" }, print) lunette.on(\"container.*\", { name = \"no\" }, print)",
                    "already"
                ),
                ("require \"absent\"", "module 'absent' not found"), ("fs.read(\"/etc/passwd\")", "fs.read isn't called"),
            ] {
                try place.write("init.lua", broken)
                let failed = try await place.lunette("reload", expecting: 125)
                #expect(failed.errorText.contains("reload: init.lua") && failed.errorText.contains(word), "\(failed.errorText)")
                #expect(try await place.lunette("create", image, expecting: 125).errorText.contains("not now"))
            }
            #expect(try await place.lunette("script", "ls").text.contains("last_good"))
            // The next engine has the last good one, too.
            place.killEngine()
            #expect(try await place.lunette("create", image, expecting: 125).errorText.contains("not now"))
            #expect(try await place.lunette("script", "ls", "--format", "{{.status}}").text == "last_good")
            // Who else may write there would be the engine.
            try place.write("init.lua", "")
            chmod("\(place.settings)/init.lua", 0o666)
            #expect(try await place.lunette("reload", expecting: 125).errorText.contains("others than the engine's user may change it"))
            chmod("\(place.settings)/init.lua", 0o644)
            #expect(try await place.lunette("reload").text == "~ init")
            try await place.lunette("create", image)
        }
    }

    @Test func aReloadSwapsAllAtOnce() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            func version(_ number: Int) throws {
                for file in ["a", "b"] {
                    try place.write(
                        "conf.d/\(file).lua",
                        """
                        lunette.before("container.create", { name = "\(file)" }, function(ev)
                          ev:amend { labels = { \(file) = "\(number)" } }
                        end)
                        """)
                }
            }
            try version(1)
            #expect(try await place.lunette("script", "ls", "-q").lines == ["conf.d/a", "conf.d/b"])
            // Containers are made while versions change: each has both labels of one of them.
            let maker = try place.start([
                "-e", "for i = 1, 150 do container.create { name = 'c' .. i, image = '\(image)', args = { 'true' } } end",
            ])
            var number = 1
            while maker.isRunning {
                number += 1
                try version(number)
                #expect(try await place.lunette("reload").lines == ["~ conf.d/a", "~ conf.d/b"])
            }
            let made = try await maker.wait()
            #expect(made.code == 0, "\(made.errorText)")
            let labels = try await place.lunette("ps", "-a", "--format", "{{.labels.a}} {{.labels.b}}").lines
            #expect(labels.count == 150 && labels.allSatisfy { $0.split(separator: " ").count == 2 }, "\(Set(labels))")
            #expect(labels.allSatisfy { line in Set(line.split(separator: " ")).count == 1 }, "\(Set(labels))")
            #expect(number > 2)
            try FileManager.default.removeItem(atPath: "\(place.settings)/conf.d/b.lua")
            #expect(try await place.lunette("reload").text == "- conf.d/b")
            #expect(try await place.lunette("reload").text == "nothing has changed")
        }
    }

    /// Ten handlers, four clients, the engine killed again and again: no container passes `before`, no event is lost to `on` or out of order.
    @Test func killingTheEngineLosesNoHandler() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            try place.write("conf.d/limits.lua", limits)
            try place.write("lua/policy.lua", "return { memory = \"64MiB\" }")
            var watchers = ""
            for index in 0..<8 {
                watchers += """
                    lunette.on("container.*", { name = "watch\(index)" }, function(ev)
                      log.info("seen\(index) " .. ev.sequence .. " " .. ev.name .. " " .. ev.target.name)
                    end)

                    """
            }
            try place.write("init.lua", watchers)
            let clients = try (0..<4).map { client in
                try place.start([
                    "-e",
                    """
                    for i = 1, 25 do
                      local c = container.run { name = "c\(client)-" .. i, image = "\(image)", args = { "true" } }
                      c:wait()
                    end
                    """,
                ])
            }
            for _ in 0..<5 {
                try await Task.sleep(for: .milliseconds(700))
                place.killEngine()
            }
            for client in clients {
                let finished = try await client.wait(timeout: .seconds(120))
                #expect(finished.code == 0, "\(finished.errorText)")
            }
            let names = try await place.lunette("ps", "-aq").lines
            #expect(names.count == 100)
            let memory = try await place.lunette("ps", "-a", "--format", "{{.spec.resources.memory}}").lines
            #expect(memory.count == 100 && memory.allSatisfy { $0 == "67108864" }, "\(Set(memory))")
            // Every event of every container, to every handler, in each container's order.
            let events = try await place.lunette(
                "events", "--since", "0", "--until", "0s", "--format", "{{.sequence}} {{.name}} {{.target.name}}"
            ).lines.filter { $0.contains(" container.") }
            #expect(events.count >= 300)
            for index in 0..<8 {
                func seen() -> [String] {
                    place.log.split(separator: "\n").compactMap { line in
                        line.range(of: "seen\(index) ").map {
                            String(line[$0.upperBound...].prefix { $0 != "{" }).trimmingCharacters(in: .whitespaces)
                        }
                    }
                }
                try await eventually("handler \(index) has all", within: .seconds(30)) { Set(events).isSubset(of: Set(seen())) }
                // What comes twice comes again in order, behind where it stood.
                for (_, lines) in Dictionary(grouping: seen(), by: { $0.split(separator: " ").last ?? "" }) {
                    var order: [Int] = []
                    for number in lines.compactMap({ Int($0.prefix { $0 != " " }) }) where !order.contains(number) { order.append(number) }
                    #expect(order == order.sorted(), "\(lines)")
                }
            }
            try await home.expectClean()
        }
    }

    @Test func anEngineStartsWithoutIt() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            try place.write("init.lua", "error(\"broken on purpose\")")
            let failed = try await place.lunette("daemon", expecting: 125)
            #expect(failed.errorText.contains("broken on purpose") && failed.errorText.contains("--skip-scripts"), "\(failed.errorText)")
            let daemon = try place.start(["daemon", "--skip-scripts"])
            try await daemon.says("listening")
            #expect(try await place.lunette("script", "ls", "-q").text == "")
            daemon.signal(SIGTERM)
            #expect(try await daemon.wait().code == 0)
        }
    }

    /// A handler has as long as it likes, and nobody waits for it longer than a moment.
    @Test func aHandlerThatHangsHoldsNeitherAReloadNorTheEnd() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            let image = try await home.load(.busybox)
            try await place.engineHasLeft()
            let hanging = "lunette.on(\"container.created\", { name = \"hang\" }, function() log.info(\"hangs\") task.sleep(\"1h\") end)"
            try place.write("init.lua", hanging)
            let daemon = try place.start(["daemon"])
            try await daemon.says("listening")
            try await place.lunette("create", image)
            try await daemon.says("hangs")
            try place.write("init.lua", hanging + " -- again")
            #expect(try await place.lunette("reload").text == "~ init")
            daemon.signal(SIGTERM)
            #expect(try await daemon.wait(timeout: .seconds(45)).code == 0)
        }
    }

    @Test func aStartThatFailsIsShown() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            try place.write("conf.d/fine.lua", "")
            try place.write("conf.d/x.lua", "return { start = function() error 'no start' end }")
            try await place.lunette("ps")
            try await eventually("it is shown") {
                try await place.lunette("script", "ls", "--format", "{{.name}} {{.status}}").text
                    == "conf.d/fine running\nconf.d/x not_started"
            }
            #expect(try await place.lunette("script", "ls").errorText.contains("no start"))
            let events = try await place.lunette(
                "-e",
                "for e in lunette.events { since = '1m', ['until'] = '0s', match = { name = 'script.failed' } } do print(e.target.name) end"
            )
            #expect(events.text == "conf.d/x", "\(events.text)")
            // Mended, it runs.
            try place.write("conf.d/x.lua", "return { start = function() log.info 'started' end }")
            try await place.lunette("reload")
            #expect(try await place.lunette("script", "ls", "--format", "{{.status}}").text == "running\nrunning")
        }
    }

    /// A command's own engine ends with it: what is cut short then is no error of the timer's.
    @Test func timersThatTheEngineEndsSayNothing() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            try await place.engineHasLeft()
            try place.write("conf.d/late.lua", "task.every('1ms', function() container.list {} task.sleep '1ms' end)")
            for _ in 0..<5 {
                let listed = try await place.lunette("--in-process", "ps")
                #expect(!listed.errorText.contains("closing") && !listed.errorText.contains("cancelled"), "\(listed.errorText)")
            }
        }
    }

    @Test func timersBeginWithTheScriptAndHoldTheEngine() async throws {
        try await withLunette { home in
            let place = try ResidentPlace(home)
            try place.write(
                "init.lua",
                """
                local beats = 0
                task.every("100ms", function()
                  beats = beats + 1
                  log.info("beat " .. beats .. " of " .. #lunette.container.list { all = true })
                end)
                return { start = function() log.info("started") end, stop = function() log.info("stopped") end }
                """)
            #expect(try await place.lunette("ps", "-q").text == "")
            try await eventually("it beats") { place.log.contains("beat 3 of 0") }
            #expect(place.log.contains("init.lua: info: started"))
            try await Task.sleep(for: .seconds(6))
            #expect(try await place.lunette("system", "info", "--format", "{{.stay_reasons}}").text.contains("timers of resident scripts"))
            try FileManager.default.removeItem(atPath: "\(place.settings)/init.lua")
            #expect(try await place.lunette("reload").text == "- init")
            #expect(place.log.contains("init.lua: info: stopped"))
            let beats = place.log.components(separatedBy: "beat ").count
            try await Task.sleep(for: .milliseconds(400))
            #expect(place.log.components(separatedBy: "beat ").count == beats)
            try await place.engineHasLeft()
        }
    }
}
