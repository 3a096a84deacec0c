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
                "TAP version 14", "not ok 1 - bad_test.lua: a group › differs", "    -     3", "    +     2", "    -   c = true",
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
}
