import Foundation
import Glibc
import LunetteTesting
import Testing

/// The prompt in a terminal, on a live engine.
@Suite(.requires(.root, .overlay, .userNamespaces, .command("tmux")))
struct PromptTests {
    @Test func aSessionIsTypedFollowedInterruptedSavedAndReplayed() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("create", "--name", "web", image)
            try await home.lunette("create", "--name", "web-two", image)
            let terminal = try await Terminal(home, line: "\(LunetteHome.binary) repl")
            try await terminal.waits(at: ">")
            // Several names: all are shown, and the line stands below with what they begin with.
            try await terminal.type("container.get(\"we")
            try await terminal.press("Tab")
            try await terminal.shows("web-two")
            try await terminal.shows("the line again") { $0.hasSuffix("> container.get(\"web") }
            // One: it is completed, with the quote.
            try await terminal.type("-")
            try await terminal.press("Tab")
            try await terminal.shows("\"web-two\"")
            try await terminal.enter("):inspect().status")
            try await terminal.shows("\"created\"")
            // Ctrl-C drops what is typed.
            try await terminal.type("container.run { na")
            try await terminal.press("Tab")
            try await terminal.shows("{ name =")
            try await terminal.press("C-c")
            try await terminal.waits(at: ">")
            // Options with their types, on the second line of a chunk.
            try await terminal.waits(at: ">")
            try await terminal.enter("c = container.run { name = \"ticker\", image = \"\(image)\",")
            try await terminal.waits(at: ">>")
            try await terminal.type("  resources = { me")
            try await terminal.press("Tab")
            try await terminal.shows("memory_swap         number|string?")
            try await terminal.press("C-u")
            try await terminal.enter("  args = { \"sh\", \"-c\", \"while true; do echo tick-$((40 + 2)); sleep 1; done\" } }")
            try await terminal.waits(at: ">")
            try await terminal.enter("tostring(c):sub(1, 16)")
            try await terminal.shows("\"container ticker\"")
            try await terminal.waits(at: ">")
            try await terminal.enter("c:inspect().status")
            try await terminal.shows("\"running\"")
            // Logs are followed until Ctrl-C, which comes back to the prompt.
            try await terminal.waits(at: ">")
            try await terminal.enter("for line in c:follow_logs {} do print(line) end")
            try await terminal.shows("tick-42")
            try await terminal.press("C-c")
            try await terminal.shows("lunette: repl:6: interrupted")
            try await terminal.waits(at: ">")
            // A mistake points at itself.
            try await terminal.waits(at: ">")
            try await terminal.enter("c:exec({ \"true\" }, { timeut = \"1s\" })")
            try await terminal.shows("| " + String(repeating: " ", count: 21) + "^^^^^^")
            try await terminal.shows("did you mean \"timeout\"?")
            // The screen of :watch is its own; its last picture stays.
            try await terminal.waits(at: ">")
            try await terminal.enter(":watch 100ms { { name = \"w\", n = #container.list {} + 6 } }")
            try await terminal.shows("only the table") { $0.hasPrefix("NAME   N\nw      7") }
            try await terminal.press("C-c")
            try await terminal.shows("what was there before") { $0.contains("\"running\"") && $0.contains("NAME   N\nw      7") }
            try await terminal.waits(at: ">")
            try await terminal.enter(":save saved.lua")
            try await terminal.shows("4 lines in saved.lua")
            try await terminal.waits(at: ">")
            try await terminal.enter(":quit")
            try await terminal.shows("left 0")

            let script = try String(contentsOfFile: "\(home.folder)/saved.lua", encoding: .utf8)
            #expect(!script.contains("follow_logs") && !script.contains("timeut"), "\(script)")
            try await home.lunette("rm", "-f", "ticker")
            let replayed = try await home.command(["\(home.folder)/saved.lua"]).run()
            #expect(replayed.lines == ["\"created\"", "\"running\""], "\(replayed.text)\n\(script)")
            #expect(try await home.inspect("ticker")["status"] as? String == "running")
        }
    }

    @Test func coloursAreForTerminalsThatWantThem() async throws {
        try await withLunette { home in
            func screen(_ name: String, _ option: String) async throws -> String {
                let terminal = try await Terminal(
                    home, name: name, line: "env -u NO_COLOR TERM=xterm-256color \(option) \(LunetteHome.binary) repl")
                try await terminal.waits(at: ">")
                try await terminal.enter("{ 'text', 42, task.every('1h', print) }")
                try await terminal.shows("{ \"text\", 42, <timer every 1h> }")
                try await terminal.enter("container.lst()")
                try await terminal.shows("did you mean \"container.list\"?")
                try await terminal.waits(at: ">")
                try await terminal.enter("sub = lunette.on('container.created', { name = 'look' }, print)")
                // What is typed ahead is echoed where it was typed, and a prompt behind it marks the line that has no end.
                try await terminal.enter(":hooks")
                try await terminal.shows("the table of lunette hook list") { screen in
                    screen.contains("KIND   EVENT")
                        && screen.split(separator: "\n").contains { $0.contains("container.created") && $0.contains("repl:3") }
                }
                try await terminal.waits(at: ">")
                return try await terminal.screen(hasColours: true)
            }
            let coloured = try await screen("c", "")
            for (code, text) in [
                ("34m", ">"), ("32m", "\"text\""), ("36m", "42"), ("33m", "<timer"), ("31m", "lunette:"), ("36m", "hint:"),
            ] {
                #expect(coloured.contains("\u{1b}[\(code)\(text)"), "\(text): \(coloured)")
            }
            let plain = try await screen("p", "NO_COLOR=1")
            #expect(!plain.contains("\u{1b}"), "\(plain.replacing("\u{1b}", with: "^["))")
            // A pipe is no terminal.
            let piped = try await Terminal(
                home, name: "i", line: "sh -c 'echo 40 + 2 | \(LunetteHome.binary) repl --read-only 2>&1 | cat -v'")
            try await piped.shows("left 0")
            let text = try await piped.screen()
            #expect(text.contains("42") && !text.contains("^["), "\(text)")
        }
    }

    @Test func aPromptInsideAScriptSeesItsStateAndFollowsItsVersions() async throws {
        try await withLunette { home in
            let settings = "\(home.folder)/settings"
            try FileManager.default.createDirectory(atPath: "\(settings)/conf.d", withIntermediateDirectories: true)
            func write(_ version: Int) throws {
                let source = """
                    version, seen = \(version), {}
                    lunette.before("container.create", { name = "look" }, function(ev)
                      seen[#seen + 1] = ev.spec.name
                      if ev.spec.name == banned then ev:deny("banned by hand") end
                    end)
                    """
                try Data(source.utf8).write(to: URL(fileURLWithPath: "\(settings)/conf.d/look.lua"))
            }
            try write(1)
            let environment = ["LUNETTE_CONFIG": settings]
            func lunette(_ words: String..., expecting code: Int32? = 0) async throws -> Finished {
                try await home.command(words, environment: environment).run(expecting: code)
            }
            let image = "lunette.test/busybox:latest"
            _ = try await lunette("load", "-q", "-i", try await TestImage.busybox.folder(), "--tag", image)

            let terminal = try await Terminal(
                home, name: "in", line: "\(LunetteHome.binary) repl --in conf.d/look", environment: environment)
            let reader = try await Terminal(
                home, name: "reader", line: "\(LunetteHome.binary) repl --read-only --in conf.d/look", environment: environment)
            let prompt = "conf.d/look>"
            try await terminal.waits(at: prompt)
            try await terminal.enter("local mine = version + 40")
            _ = try await lunette("create", "--name", "one", image)
            try await terminal.waits(at: prompt)
            try await terminal.enter("mine, see")
            try await terminal.shows("41\tnil".replacingOccurrences(of: "\t", with: "      "))
            // A handler reads what is set here.
            try await terminal.waits(at: prompt)
            try await terminal.type("see")
            try await terminal.press("Tab")
            try await terminal.shows("\(prompt) seen")
            try await terminal.press("Enter")
            try await terminal.shows("{ \"one\" }")
            try await terminal.waits(at: prompt)
            try await terminal.enter("banned = \"two\"")
            try await terminal.waits(at: prompt)
            #expect(try await lunette("create", "--name", "two", image, expecting: 125).errorText.contains("banned by hand"))
            // Long work is printed as it goes, and interrupted.
            try await terminal.waits(at: prompt)
            try await terminal.enter("for i = 1, 100 do print(\"step \" .. i + 100) task.sleep \"200ms\" end")
            try await terminal.shows("step 102")
            try await terminal.press("C-c")
            try await terminal.waits(at: prompt)
            try await terminal.enter("while true do end")
            try await terminal.shows("the code ran longer than it may")

            try await reader.waits(at: prompt)
            try await reader.enter("banned = nil")
            try await reader.shows("this session only reads")
            try await reader.waits(at: prompt)
            try await reader.enter("container.create { image = \"\(image)\" }")
            try await reader.shows("container.create changes something")
            try await reader.waits(at: prompt)
            try await reader.enter("#container.list { all = true } + 70")
            try await reader.shows("71")

            try write(2)
            _ = try await lunette("reload")
            try await terminal.waits(at: prompt)
            try await terminal.enter("version + 60, mine")
            try await terminal.shows("conf.d/look has a new version")
            try await terminal.shows("62      nil")
            // What it did names it.
            try await terminal.waits(at: prompt)
            try await terminal.enter("container.create { image = \"\(image)\", name = \"three\" }")
            try await terminal.shows("<container three")
            try await terminal.waits(at: prompt)
            try await terminal.enter(":quit")
            try await terminal.shows("left 0")
            let events = try await lunette(
                "-e",
                "for ev in lunette.events { since = 1, match = { name = 'container.created' } } do if ev.target.name == 'three' then print(ev.actor.script, ev.actor.line) return end end"
            )
            #expect(events.text == "repl in conf.d/look\t2", "\(events.text)")
            // Piped, and one that isn't there.
            let piped = try await home.command(["repl", "--in", "conf.d/look"], environment: environment, input: "version * 50\n").run()
            #expect(piped.text.contains("100"), "\(piped.text)")
            let absent = try await lunette("repl", "--in", "conf.d/lok", expecting: 125)
            #expect(absent.errorText.contains("is called \"conf.d/lok\"\nhint: did you mean \"conf.d/look\"?"), "\(absent.errorText)")
        }
    }

    @Test func aPluginIsLookedIntoUnderItsOwnPermissions() async throws {
        try await withLunette { home in
            let said = try await home.lunette(
                "repl", "--in", "volume-local", input: "1 + 41\ncontainer.list()\nfs.exists '/etc/passwd'\nio\n", expecting: 0)
            #expect(said.text.contains("inside the plugin volume-local") && said.text.contains("42"), "\(said.text)")
            #expect(said.errorText.contains("container.list is not among what this code may call"), "\(said.errorText)")
            #expect(said.errorText.contains("/etc/passwd") && said.errorText.contains("outside"), "\(said.errorText)")
        }
    }
}
