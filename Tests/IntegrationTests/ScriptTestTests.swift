import Foundation
import LunetteTesting
import Testing

/// `lunette test`, through the real binary: the simulated engine needs neither root nor a kernel's help.
@Suite struct ScriptTestTests {
    /// Writes files into a home and runs `lunette test` there.
    private func test(
        _ files: [String: String], _ arguments: String..., expecting code: Int32 = 0, in home: LunetteHome
    ) async throws -> Finished {
        for (name, text) in files {
            let path = "\(home.folder)/\(name)"
            try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        }
        return try await home.command(["test"] + arguments).run(expecting: code)
    }

    private static let head = """
        local lunette = require "lunette"
        local test, container, task = lunette.test, lunette.container, lunette.task
        local describe, it, expect = test.describe, test.it, test.expect

        """

    @Test func everyExampleOfTheRegistryRuns() async throws {
        try await withLunette(.root) { home in
            let ofGroups: Set = ["describe", "it", "before_each", "after_each", "before_all", "after_all"]
            var text = ""
            let page = try String(contentsOfFile: "\(LunetteHome.package)/docs/lua/reference/test.md", encoding: .utf8)
            for part in page.components(separatedBy: "\n## ").dropFirst() {
                let name = String(part.prefix { $0 != "(" && $0 != " " })
                let example = part.components(separatedBy: "```lua\n")[1].components(separatedBy: "```")[0]
                let isOfGroup = ofGroups.contains(name.replacingOccurrences(of: "test.", with: ""))
                let body = isOfGroup ? "\(example)\ntest.it('runs', function() end)" : "test.it('runs', function()\n\(example)\nend)"
                text += "test.describe('\(name)', { shared = \(isOfGroup) }, function()\n\(body)\nend)\n"
            }
            let ran = try await test(["examples_test.lua": text], ".", in: home)
            #expect(!ran.text.contains("failed"), "\(ran.text)")
            #expect(ran.text.contains("test.events"), "\(ran.text)")
        }
    }

    /// What fails behind a test's back is its failure; a file without tests is no success.
    @Test func nothingPassesThatHasFailedOrIsNotThere() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    it('spawns', function() task.spawn(function() error 'behind' end) task.sleep '1s' end)
                    it('awaits', function()
                      local t = task.spawn(function() error 'awaited' end)
                      expect(pcall(task.await, t)):to_be(false)
                    end)
                    """
            let ran = try await test(["spawn_test.lua": text], "spawn_test.lua", expecting: 1, in: home)
            #expect(ran.text.contains("behind") && ran.text.contains("1 failed") && ran.text.contains("1 passed"), "\(ran.text)")
            let none = try await test(["none_test.lua": "local x = 1"], "none_test.lua", expecting: 2, in: home)
            #expect(none.errorText.contains("there is no test in none_test.lua"), "\(none.errorText)")
        }
    }

    /// Time goes from one due moment to the next: years of a timer that is seldom due are no work.
    @Test func timersOfYearsAreTested() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    it('runs on leap days', function()
                      local runs = 0
                      local leap = task.cron('0 0 29 2 *', function() runs = runs + 1 end)
                      test.clock.advance '3000d'
                      expect(runs):to_be(2)
                      leap:off()
                    end)
                    it('ends in a run', function()
                      task.cron('0 0 1 * *', function() task.sleep '1h' end)
                      test.clock.advance '31d'
                    end)
                    """
            let ran = try await test(["cron_test.lua": text], "cron_test.lua", in: home)
            #expect(ran.text.contains("2 passed"), "\(ran.text)")
            #expect(!ran.errorText.contains("the test is over"), "\(ran.errorText)")
        }
    }

    /// A handler that nobody waits for any more does nothing more.
    @Test func aHandlerBeyondItsTimeIsCancelled() async throws {
        try await withLunette(.root) { home in
            let late = """
                lunette.before("container.create", { name = "late", timeout = "300ms" }, function()
                  task.sleep "2s"
                  volume.create("late")
                end)
                lunette.lifecycle("slow", { stop = function(c) task.sleep "1d" volume.create("slow") end })
                """
            let text =
                Self.head + """
                    it('is denied, and that is all', function()
                      test.image 'web:1'
                      test.load('late.lua', { resident = true })
                      local ok, e = pcall(container.create, { image = 'web:1', name = 'a' })
                      expect(ok):to_be(false)
                      expect(e.code):to_be('denied')
                      test.clock.advance '1m'
                      expect(lunette.volume.find 'late'):to_be(nil)
                    end)
                    """
            let ran = try await test(["late.lua": late, "late_test.lua": text], "late_test.lua", in: home)
            #expect(ran.text.contains("1 passed"), "\(ran.text)")
        }
    }

    /// A reader that has seen enough ends the tests, and their temporary folder goes with them.
    @Test func anOutputThatNobodyReadsLeavesNoFolder() async throws {
        try await withLunette(.root) { home in
            let temporary = "\(home.folder)/tmp"
            try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
            let text = Self.head + "for i = 1, 300 do it('is number ' .. i, function() print(('x'):rep(1000)) end) end\n"
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(home.folder)/long_test.lua"))
            var piped = Command.shell("set +eo pipefail; '\(LunetteHome.binary)' test long_test.lua | head -1; echo ${PIPESTATUS[0]}")
            let command = home.command(["test"])
            (piped.environment, piped.workdir) = (command.environment, command.workdir)
            piped.environment["TMPDIR"] = temporary
            let ran = try await piped.run()
            #expect(ran.text.hasSuffix("\n141"), "\(ran.text.suffix(200)) \(ran.errorText)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: temporary) == [])
        }
    }

    /// The end of the process would leave what comes after it unrun, and what has failed untold.
    @Test func aTestThatEndsTheProcessHasFailed() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    it("fails", function() expect(1):to_be(2) end)
                    it("ends it", function() os.exit(0) end)
                    it("ends it and catches that", function() pcall(os.exit, true) end)
                    it("runs all the same", function() end)
                    it("loads a script that ends itself", function() expect(test.load("ends.lua").code):to_be(3) end)
                    """
            let ran = try await test(["a_test.lua": text, "ends.lua": "os.exit(3)"], "a_test.lua", expecting: 1, in: home)
            #expect(ran.text.contains("os.exit(0) was called, which would end the tests"), "\(ran.text)")
            #expect(
                ran.text.contains("os.exit(true) was called") && ran.text.contains("3 failed") && ran.text.contains("2 passed"),
                "\(ran.text)")
            let loaded = try await test(["b_test.lua": "os.exit(0)"], "b_test.lua", expecting: 1, in: home)
            #expect((loaded.text + loaded.errorText).contains("b_test.lua:1: os.exit(0) was called"), "\(loaded.text) \(loaded.errorText)")
        }
    }

    @Test func severalObjectsAreOneTransaction() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    local function wanted(image)
                      return {
                        volumes = { data = {} },
                        containers = {
                          db = { image = "redis:7", mounts = { { type = "volume", source = "data", target = "/data" } } },
                          web = { image = image, network = "container:db" },
                        },
                      }
                    end
                    test.before_each(function() test.image "redis:7" end)
                    it("makes all", function()
                      local r = lunette.apply(wanted "redis:7")
                      expect(r.changed):to_equal { "volume data: made", "container db: made", "container web: made" }
                      expect(r.containers.db:inspect().status):to_be "created"
                      expect(lunette.apply(wanted "redis:7").changed):to_equal {}
                      expect(#test.events "container.created"):to_be(2)
                    end)
                    it("makes nothing", function()
                      local ok, e = lunette.try(lunette.apply, wanted "nope:1")
                      expect(ok):to_be(false)
                      expect(e.path):to_be "containers.web.image"
                      lunette.before("container.create", { name = "no", match = { target = "web" } }, function(ev) ev:deny "no" end)
                      expect(function() lunette.apply(wanted "redis:7") end):to_raise "denied"
                      expect(#container.list { all = true }):to_be(0)
                      expect(#lunette.volume.list()):to_be(0)
                    end)
                    it("tells what it would do", function()
                      local dry = lunette.merge(wanted "redis:7", { dry_run = true })
                      expect(#lunette.apply(dry).changed):to_be(3)
                      expect(#container.list { all = true }):to_be(0)
                    end)
                    """
            let ran = try await test(["a_test.lua": text], "a_test.lua", in: home)
            #expect(ran.text.contains("3 passed"), "\(ran.text)")
        }
    }

    @Test func aDifferenceHasItsFirstLine() async throws {
        try await withLunette(.root) { home in
            let text = Self.head + "it('differs', function() expect({ a = 1, b = { 2 } }):to_equal { a = 1, b = { 3 } } end)"
            let ran = try await test(["a_test.lua": text], "--format", "tap", "a_test.lua", expecting: 1, in: home)
            let lines = ran.text.split(separator: "\n").map { $0.drop { "# ".contains($0) } }
            let diff = ["{", "a = 1", "b = {", "-     3", "+     2", "}", "}"]
            let begin = lines.firstIndex { $0 == "{" } ?? lines.endIndex
            #expect(lines[begin...].prefix(diff.count).map { $0.filter { $0 != "," } } == diff, "\(ran.text)")
        }
    }

    @Test func aContainersLifeIsTheRealStateMachines() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    test.before_each(function() test.image "redis:7" end)
                    it("is refused without its image", function()
                      expect(function() container.run { image = "none:1" } end):to_raise "not_found"
                    end)
                    it("checks arguments as ever", function()
                      expect(function() container.run { imag = "redis:7" } end):to_raise { code = "invalid_argument", hint = 'did you mean "image"?' }
                    end)
                    it("ignores TERM for its grace period", function()
                      test.program("z", { ignores = { "SIGTERM" } })
                      local c = container.run { image = "redis:7", name = "z" }
                      local begin = test.clock.now()
                      c:stop { grace_period = "7s" }
                      expect(test.clock.now() - begin):to_be(7)
                      expect(c:inspect().exit):to_match { signal = "SIGKILL", reason = "stopped" }
                      expect(function() c:pause() end):to_raise "invalid_state"
                    end)
                    it("is restarted with a growing pause", function()
                      test.program("y", { after = "1s", code = 1 })
                      container.run { image = "redis:7", name = "y",
                        restart = { policy = "on_failure", backoff = { initial = "2s", max = "8s" }, max_attempts = 3 } }
                      test.clock.advance "1m"
                      local seen = {}
                      for _, event in ipairs(test.events { kind = "event", name = "container.*" }) do
                        seen[#seen + 1] = ("%g %s"):format(event.time - 1767225600, event.name:match "[^.]+$")
                      end
                      expect(seen):to_equal { "0 created", "0 started", "1 exited", "3 started", "4 exited", "8 started", "9 exited",
                        "17 started", "18 exited" }
                    end)
                    it("has a log", function()
                      test.program("x", { stdout = "one\\ntwo\\n", stderr = "three", after = "2s", code = 7 })
                      local c = container.run { image = "redis:7", name = "x" }
                      expect(c:logs()):to_be "one\\ntwo\\nthree"
                      expect(c:wait().code):to_be(7)
                      local lines = {}
                      for line in c:follow_logs {} do lines[#lines + 1] = line end
                      expect(lines):to_equal { "one", "two", "three" }
                    end)
                    """
            let ran = try await test(["life_test.lua": text], "life_test.lua", in: home)
            #expect(ran.text.contains("5 passed in"), "\(ran.text)")
        }
    }

    @Test func aFailureSaysWhatWhereAndHowItDiffers() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    describe("a group", function()
                      it("differs", function()
                        expect({ a = 1, b = { 1, 2 } }):to_equal { a = 1, b = { 1, 3 }, c = true }
                      end)
                      it("waits for ever", function()
                        test.image "a:1"
                        container.run({ image = "a:1" }):wait()
                      end)
                      it("loops", { timeout = "300ms" }, function() while true do end end)
                      it("swallows", function() pcall(function() expect(1):to_be(2) end) end)
                      it("is fine", function() end)
                      it("is left out", { skip = "not today" }, function() error "run" end)
                    end)
                    """
            let ran = try await test(["bad_test.lua": text], "bad_test.lua", "--format", "tap", expecting: 1, in: home)
            let lines = Set(ran.text.split(separator: "\n").map(String.init))
            for line in [
                "TAP version 13", "not ok 1 - bad_test.lua: a group › differs", "    -     3", "    +     2", "    -   c = true",
                "  at: \"bad_test.lua:6\"", "not ok 2 - bad_test.lua: a group › waits for ever",
                "  message: \"container.wait: this wait can't end: nothing is left that could happen\"", "  at: \"bad_test.lua:10\"",
                "not ok 3 - bad_test.lua: a group › loops", "  message: \"it took longer than 0.3 s\"",
                "not ok 4 - bad_test.lua: a group › swallows", "  message: \"expected 1 to be 2\"",
                "ok 5 - bad_test.lua: a group › is fine",
                "ok 6 - bad_test.lua: a group › is left out # SKIP not today", "1..6",
            ] {
                #expect(lines.contains(line), "\(line)\nin\n\(ran.text)")
            }
        }
    }

    @Test func groupsHaveTheirSteps() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    local seen = {}
                    local function note(word) return function() seen[#seen + 1] = word end end
                    test.before_each(note "b0")
                    test.after_each(note "a0")
                    describe("outer", function()
                      test.before_each(note "b1")
                      test.after_each(note "a1")
                      describe("inner", function()
                        test.before_each(note "b2")
                        test.after_each(note "a2")
                        it("fails", function() seen[#seen + 1] = "it" error "on purpose" end)
                      end)
                    end)
                    it("ran all steps, inner ones within outer ones", function()
                      expect(seen):to_equal { "b0", "b1", "b2", "it", "a2", "a1", "a0", "b0" }
                    end)
                    describe("one engine", { shared = true }, function()
                      test.before_all(function()
                        test.image "a:1"
                        container.run { image = "a:1", name = "s" }
                        test.exec("s", { "id" }, { stdout = "0" })
                      end)
                      it("stops it", function()
                        container.get("s"):stop()
                        test.exec("s", nil, { stdout = "mine" })
                      end)
                      it("finds it stopped, and the group's words only", function()
                        local c = container.get "s"
                        expect(c:inspect().status):to_be "stopped"
                        c:start()
                        expect(c:exec({ "id" }).stdout):to_be "0"
                      end)
                    end)
                    describe("no engine", { shared = true }, function()
                      test.before_all(function() error "not ready" end)
                      it("is not run", function() seen.run = true end)
                    end)
                    it("has an engine of its own", function()
                      expect(container.find "s"):to_be_nil()
                      expect(seen.run):to_be_nil()
                    end)
                    it("ends what it began", function()
                      task.spawn(function() task.sleep "1s" error "late" end)
                      lunette.on("container.*", function() seen.late = true end)
                    end)
                    it("hears nothing of it", function()
                      test.image "a:1"
                      container.run { image = "a:1" }
                      test.clock.advance "1h"
                      expect(seen.late):to_be_nil()
                    end)
                    """
            let ran = try await test(["steps_test.lua": text], "steps_test.lua", expecting: 1, in: home)
            #expect(ran.text.contains("6 passed, 2 failed in"), "\(ran.text)")
            #expect(ran.text.contains("on purpose\n") && ran.text.contains("not ready\n"), "\(ran.text)")
        }
    }

    @Test func whatCantBeRunEndsWithTwo() async throws {
        try await withLunette(.root) { home in
            try await home.lunette("test", expecting: 2)
            try await home.lunette("test", "--formt", "tap", "x", expecting: 2)
            #expect(try await home.lunette("test", "none.lua", expecting: 2).errorText.contains("there is no such file"))
            #expect(try await home.lunette("test", ".", expecting: 2).errorText.contains("hint: tests are files *_test.lua"))
            let broken = try await test(["broken_test.lua": "local = 1"], "broken_test.lua", expecting: 1, in: home)
            #expect(broken.text.contains("broken_test.lua:1: <name> expected"), "\(broken.text)")
        }
    }

    /// Each block of the page that begins with a file's name is that file.
    @Test func theFilesOfThePageOnTestingPass() async throws {
        try await withLunette(.root) { home in
            let page = try String(contentsOfFile: "\(LunetteHome.package)/docs/lua/testing.md", encoding: .utf8)
            var files: [String: String] = [:]
            for part in page.components(separatedBy: "```lua\n-- ").dropFirst() {
                let text = part.components(separatedBy: "```")[0]
                files[String(text.prefix { $0 != "\n" })] = String(text.drop { $0 != "\n" })
            }
            #expect(files.count == 4)
            let ran = try await test(files, ".", in: home)
            #expect(ran.text.contains("7 passed in"), "\(ran.text)")
        }
    }

    @Test(arguments: ["scripts", "plugins"])
    func theTestsThatShipPassAndLeaveNothing(_ folder: String) async throws {
        try await withLunette(.root) { home in
            let ran = try await home.lunette("test", "\(LunetteHome.package)/\(folder)", "--coverage", environment: ["TMPDIR": home.folder])
            #expect(ran.text.contains(" passed in ") && !ran.text.contains("failed"), "\(ran.text)")
            let all = try #require(ran.lines.last?.split(separator: " "))
            #expect(all.first == "all" && Int(all[2]).map { $0 >= 90 } == true, "\(ran.text)")
            // No engine was started, no folder is left.
            #expect(try FileManager.default.contentsOfDirectory(atPath: home.folder).isEmpty)
        }
    }

    private static let resident = """
        lunette.before("container.create", { name = "names" }, function(ev)
          if ev.target.name:find "^tmp" then ev:deny "no temporary names" end
          ev:amend { labels = { seen = "yes" } }
        end)
        lunette.on("container.exited", { name = "again" }, function(ev)
          if ev.exit.code == 0 then return end
          task.sleep("5s")
          ev.container:start()
        end)
        local count = 0
        task.every("1h", function()
          count = count + 1
          lunette.container.create { image = "web:1", name = "tick-" .. count }
        end)

        """

    @Test func residentCodeIsLoadedAsTheEngineDoes() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    test.before_each(function()
                      test.image "web:1"
                      local loaded = test.load("conf.d/names.lua", { resident = true })
                      expect(#loaded.handlers):to_be(2)
                      expect(loaded.has_timers):to_be_true()
                    end)
                    it("amends and denies", function()
                      local c = container.run { image = "web:1", name = "web" }
                      expect(c:inspect()):to_match { labels = { seen = "yes" } }
                      expect(function() container.run { image = "web:1", name = "tmp-1" } end):to_raise { code = "denied" }
                      expect(test.emit("container.create", { container = "tmp-2", spec = { image = "web:1" } }))
                        :to_match { allowed = false, reason = "no temporary names", hook = "names" }
                    end)
                    it("starts again to the moment", function()
                      local c = container.run { image = "web:1", name = "web" }
                      test.exit(c, { code = 1 })
                      test.clock.advance "4999ms"
                      expect(c:inspect().status):to_be "stopped"
                      test.clock.advance "1ms"
                      expect(c:inspect().status):to_be "running"
                      test.exit(c, { code = 0 })
                      test.clock.advance "1m"
                      expect(c:inspect().status):to_be "stopped"
                    end)
                    it("has timers, and hears of failures", function()
                      test.fail("container.create", "io", { after = 1, times = 1, message = "planted" })
                      test.clock.advance "3h"
                      local calls = {}
                      for _, call in ipairs(test.events "container.create") do calls[#calls + 1] = call.code or call.arguments.spec.name end
                      expect(calls):to_equal { "tick-1", "io", "tick-3" }
                    end)
                    it("leaves nothing to the next test", function() expect(#lunette.hook.list()):to_be(2) end)
                    """
            let ran = try await test(
                ["names_test.lua": text, "conf.d/names.lua": Self.resident], "names_test.lua", "--coverage-file", "lines", in: home)
            #expect(ran.text.contains("4 passed in"), "\(ran.text)")
            let lines = try String(contentsOfFile: "\(home.folder)/lines", encoding: .utf8)
            #expect(lines.contains("SF:\(home.folder)/conf.d/names.lua\n") && lines.contains("DA:2,"), "\(lines)")
            #expect(lines.contains("LF:14\nLH:14\n"), "\(lines)")
        }
    }

    @Test func aScriptRunsAsAProgramOfItsOwn() async throws {
        try await withLunette(.root) { home in
            let script = """
                local lunette = require "lunette"
                print("hello", arg[1], (require "part"))
                io.stderr:write("oops\\n")
                lunette.task.sleep("2s")
                io.write(os.time() - 1767225600, "\\n")
                if arg[1] == "exit" then os.exit(3) end
                if arg[1] == "stay" then lunette.stay() end
                if arg[1] == "wait" then lunette.container.get("web"):wait() end
                error "broken"
                """
            let text =
                Self.head + """
                    it("fails", function()
                      local s = test.load("s.lua", "fail")
                      expect(s.output):to_be "hello\\tfail\\ta part\\n2\\n"
                      expect(s.errors):to_be "oops\\n"
                      expect(s):to_match { ok = false, code = 1, is_running = false }
                      expect(tostring(s.error)):to_be "s.lua:9: broken"
                    end)
                    it("exits", function() expect(test.load("s.lua", "exit")):to_match { code = 3, ok = false } end)
                    it("stays and is stopped", function()
                      local s = test.load("s.lua", "stay")
                      expect(s.is_running):to_be_true()
                      expect(s:stop().code):to_be(130)
                    end)
                    it("is ended with its test", function() test.load("s.lua", "stay") end)
                    it("waits for ever", function()
                      test.image "a:1"
                      container.run { image = "a:1", name = "web" }
                      expect(function() test.load("s.lua", "wait") end):to_raise "this wait can't end"
                    end)
                    it("comes after all that", function() expect(lunette.container.list()):to_equal {} end)
                    """
            // What can't end is told by an error that no test catches.
            let files = ["s_test.lua": text, "s.lua": script, "part.lua": "return 'a part'"]
            let ran = try await test(files, "s_test.lua", "--format", "json", expecting: 1, in: home)
            #expect(ran.lines.last?.contains("\"passed\":5,\"failed\":1") == true, "\(ran.text)")
            #expect(ran.text.contains("this wait can't end: nothing is left that could happen"), "\(ran.text)")
        }
    }

    @Test(.requires(.root, .overlay, .userNamespaces))
    func theSameFileRunsOnTheRealEngine() async throws {
        try await withLunette(.root) { home in
            let image = try await home.load(.busybox)
            let text =
                Self.head + """
                    it("runs", function()
                      test.image "\(image)"
                      test.program("t", { code = 7 })
                      local c = container.run { image = "\(image)", name = "t", args = { "sh", "-c", "exit 7" } }
                      expect(c:wait().code):to_be(7)
                      expect(test.events "container.exited"):to_have_length(1)
                      c:remove()
                    end)
                    it("moves the time", function() test.clock.advance "1h" end)
                    it("plants a failure", function() test.fail("image.pull", "io") end)
                    it("wants an image", function() test.image "none:1" end)
                    """
            let simulated = try await test(["both_test.lua": text], "both_test.lua", in: home)
            #expect(simulated.text.contains("4 passed in"), "\(simulated.text)")
            let real = try await home.command(["test", "--real", "both_test.lua"]).run()
            #expect(real.text.contains("1 passed, 3 skipped in"), "\(real.text)")
            for reason in [
                "moves the time (skipped: test.clock.advance needs the simulated engine)", "(skipped: the image none:1 is not here)",
            ] {
                #expect(real.text.contains(reason), "\(real.text)")
            }
        }
    }

    @Test func residentCodeFailsAsItWouldInAnEngine() async throws {
        try await withLunette(.root) { home in
            let resident = """
                local lunette = require "lunette"
                local tries = 0
                lunette.on("container.created", { name = "fails" }, function(ev)
                  tries = tries + 1
                  lunette.store.set("tries", tries)
                  lunette.log.info("try " .. lunette.store.get "tries" .. (ev.redelivered and " again" or ""))
                  error("no")
                end)
                lunette.on("container.started", { name = "spawns" }, function()
                  lunette.task.spawn(function() error("lost") end)
                  local awaited = lunette.task.spawn(function() error("found") end)
                  lunette.task.sleep "1s"
                  pcall(lunette.task.await, awaited)
                  lunette.task.spawn(function()
                    lunette.task.spawn(function() error("left") end)
                    lunette.task.sleep "1h"
                  end)
                end)
                """
            let text =
                Self.head + """
                    it("tells", function()
                      test.image "web:1"
                      test.load("conf.d/r.lua", { resident = true })
                      container.run { image = "web:1" }
                      test.clock.advance "1m"
                      expect(test.events { kind = "event", name = "hook.failed" }):to_have_length(1)
                      error "to show the log"
                    end)
                    """
            let files = ["t/conf.d/r.lua": resident, "t/r_test.lua": text]
            // By an absolute path its store is its own too.
            let ran = try await test(files, "\(home.folder)/t", expecting: 1, in: home)
            let told = ran.text + ran.errorText
            #expect(told.contains("1 failed") && told.contains("to show the log"), "\(told)")
            #expect(told.contains("info: try 1\n") || told.contains("info: try 1"), "\(told)")
            #expect(told.contains("try 2 again") && told.contains("try 3 again") && !told.contains("try 4"), "\(told)")
            #expect(told.contains("a task failed that nobody awaited: ") && told.contains("r.lua:10: lost"), "\(told)")
            // Whoever spawned it goes on.
            #expect(told.contains("a task failed that nobody awaited: ") && told.contains("r.lua:15: left"), "\(told)")
            #expect(!told.contains("found") && !told.contains("audit log"), "\(told)")
        }
    }

    @Test func simulatedEnginesKeepAnAuditLog() async throws {
        try await withLunette(.root) { home in
            let text =
                Self.head + """
                    it("says who did what", function()
                      test.image "web:1"
                      container.run { image = "web:1", name = "a" }
                      local entries = lunette.system.audit()
                      expect(#entries):to_be(1)
                      expect(entries[1]):to_match { call = "container.run", outcome = "ok" }
                    end)
                    it("begins anew in each test", function()
                      expect(lunette.system.audit()):to_equal {}
                    end)
                    """
            let ran = try await test(["a_test.lua": text], "a_test.lua", in: home)
            #expect(ran.text.contains("2 passed"), "\(ran.text)")
        }
    }
}
