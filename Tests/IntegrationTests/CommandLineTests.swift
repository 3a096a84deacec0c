import Foundation
import LunetteTesting
import Testing

/// What a stranger meets at the prompt: streams, detached commands, dry runs, hints.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct CommandLineTests {
    @Test func imagesGoThroughPipes() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let lunette = LunetteHome.binary
            let archive = "\(home.folder)/image.tar"
            func shell(_ line: String) async throws -> Finished {
                var command = Command.shell(line)
                command.environment = home.environment
                return try await command.run()
            }
            _ = try await shell("\(lunette) save -q \(image) > \(archive)")
            let listed = try await shell("tar tf \(archive)")
            #expect(listed.text.contains("oci-layout") && listed.errorText.isEmpty, "\(listed.errorText)")
            try await home.lunette("rmi", "-f", image)
            // From a file and from a pipe.
            #expect(try await shell("\(lunette) load -q < \(archive)").text == "Loaded: \(image)")
            #expect(try await shell("\(lunette) save -q \(image) | cat | \(lunette) load -q -t copy:1").text == "Loaded: copy:1")
            #expect(try await home.lunette("run", "--rm", "copy:1", "echo", "same").text == "same")
            let bad = try await home.lunette("load", "-q", input: "no archive", expecting: 125)
            #expect(bad.errorText.contains("stdin"), "\(bad.errorText)")
        }
    }

    @Test func aTarOfAContainersFilesHasEveryName() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "--name", "c", image, "sh", "-c", #"mkdir /f; touch /f/$(printf 'a\377b') /f/é"#)
            var command = Command.shell("\(LunetteHome.binary) cp c:/f/. - | LC_ALL=C tar tf - --quoting-style=escape")
            command.environment = home.environment
            let listed = try await command.run()
            #expect(listed.text == #"a\377b"# + "\n" + #"\303\251"# && listed.errorText.isEmpty, "\(listed.text) \(listed.errorText)")
        }
    }

    @Test func aDetachedCommandOutlivesItsCaller() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "300")
            try await home.lunette(
                "exec", "-d", "c", "sh", "-c", "echo begun > /begun; until test -e /go; do sleep 0.05; done; echo ended > /ended")
            try await home.lunette("exec", "c", "touch", "/go")
            try await home.lunette("exec", "c", "sh", "-c", "until test -s /ended; do sleep 0.05; done")
            try await home.lunette("exec", "-d", "c", "no-such-program", expecting: 127)
            try await home.lunette("exec", "-d", "-i", "c", "true", expecting: 125)
            let result = try await home.lunette(
                "-e", "local r = container.get('c'):exec({ 'sleep', '300' }, { detach = true }) return r.code, math.type(r.pid)")
            #expect(result.text == "nil\tinteger")
        }
    }

    @Test func aFileForTheIdIsNewAndMadeBeforeAllElse() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let file = "\(home.folder)/cid"
            func text(of path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
            let id = try await home.lunette("run", "-d", "--name", "c", "--cidfile", file, image, "sleep", "300").text
            #expect(text(of: file) == id)
            for words in [["run", "-d"], ["run"], ["run", "--rm"], ["create"]] {
                let refused = try await home.command(words + ["--cidfile", file, image, "true"]).run(expecting: 125)
                #expect(refused.errorText.contains("--cidfile") && refused.errorText.contains("remove the file"), "\(refused.errorText)")
            }
            #expect(try await home.lunette("ps", "-aq").text.split(separator: "\n").count == 1)
            #expect(text(of: file) == id)
            // What makes no container leaves no file.
            try await home.lunette("run", "--cidfile", file + "2", "--name", "c", image, "true", expecting: 125)
            #expect(text(of: file + "2") == nil)
            // Full: the id is told where there is a container.
            let full = "\(home.folder)/full"
            try await Command.shell(
                "mkdir \(full) && mount -t tmpfs -o size=4k,mode=1777 none \(full) && head -c 4096 /dev/zero > \(full)/rest"
            ).run()
            home.cleanUp.add("unmount") { try await Command("umount", full).run() }
            let kept = try await home.lunette("run", "-d", "--cidfile", "\(full)/cid", image, "sleep", "300", expecting: 125)
            #expect(kept.errorText.contains("No space left") && kept.errorText.contains(kept.text), "\(kept.errorText)")
            let gone = try await home.lunette("run", "--rm", "--cidfile", "\(full)/cid", image, "true", expecting: 125)
            #expect(gone.errorText.contains("removed again"), "\(gone.errorText)")
            #expect(try await home.lunette("ps", "-aq").text.split(separator: "\n").count == 2)
        }
    }

    @Test func imagesArePrunedByLabel() async throws {
        try await withLunette { home in
            let result = try await home.lunette(
                "-e",
                """
                for _, owner in ipairs { "ann", "bob" } do
                  image.build { tag = owner .. ":1", copy = { { from = "/etc/hostname", to = "/f" } }, config = { labels = { owner = owner } } }
                end
                local none = image.prune { all = true, labels = { owner = "cid" } }
                local some = image.prune { all = true, labels = { owner = "ann" } }
                return #none.removed, #some.removed > 0, image.find("ann:1"), image.get("bob:1").name
                """)
            #expect(result.text == "0\ttrue\tnil\tbob:1")
        }
    }

    @Test func aDryRunTouchesNothing() async throws {
        try await withLunette { home in
            let shown = try await home.lunette("--dry-run", "\(LunetteHome.package)/scripts/hello.lua", expecting: nil)
            #expect(shown.text.contains("would image.build { config = ") && shown.text.contains("would container.run { "), "\(shown.text)")
            #expect(try await home.lunette("images", "-q").text == "")
            #expect(try await home.lunette("volume", "ls", "-q").text == "")
            let refused = try await home.lunette("--dry-run", "ps", expecting: 125)
            #expect(refused.errorText.contains("it is for scripts"))
        }
    }

    @Test func theREPLHasTheContractsCommands() async throws {
        try await withLunette { home in
            let script = "\(home.folder)/saved.lua"
            let input = """
                local n = 40
                function double(x) return 2 * x end
                n + 2
                task.sleep "1ms"
                _ + 1
                :json { a = n }
                nope.x
                local t = task.every("1h", double)
                :tasks
                :time n
                :sav x
                :save \(script)
                volume.create "v"
                :quit
                """
            let session = try await home.lunette("repl", "--read-only", input: input)
            for part in ["42", "\"a\": 40", "every 1h (waiting) at repl:2", " ms"] {
                #expect(session.text.contains(part), "\(part) is not in \(session.text)")
            }
            #expect(session.errorText.contains("did you mean :save?") && session.errorText.contains("leave out --read-only"))
            // What didn't work isn't in it, and what was shown is printed.
            let saved = try String(contentsOfFile: script, encoding: .utf8)
            #expect(!saved.contains("nope"), "\(saved)")
            #expect(try await home.lunette(script).text == "42\n43")
        }
    }

    @Test(.requires(.command("tmux")))
    func thePromptCompletesAndDropsALine() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("create", "--name", "hello-1", image)
            let tmux = ["tmux", "-S", "\(home.folder)/tmux"]
            home.cleanUp.add("end tmux") { _ = try await Command(tmux + ["kill-server"]).run(expecting: nil) }
            let environment = home.environment.compactMapValues { $0 }.map { "\($0)='\($1)'" }.joined(separator: " ")
            let line = "HOME=\(home.folder) \(environment) \(LunetteHome.binary); echo left $?; cat"
            try await Command(tmux + ["new-session", "-d", "-x", "100", "-y", "30", line]).run()
            func screen() async throws -> String { try await Command(tmux + ["capture-pane", "-p"]).run().text }
            func type(_ keys: String...) async throws { try await Command(tmux + ["send-keys"] + keys).run() }
            try await eventually("a prompt") { try await screen().contains("\n>") }
            // What was typed is gone, with it the half of a block.
            try await type("this is no Lua")
            try await eventually("the echo") { try await screen().contains("no Lua") }
            try await type("C-c")
            try await eventually("an empty prompt") { try await !screen().contains("no Lua") }
            try await type("40 + 2", "Enter")
            try await eventually("the value") { try await screen().contains("\n42\n") }
            // The word breaks at the dash; the name is whole all the same, and its quote closed.
            try await type("container.get 'hello-", "Tab")
            try await eventually("the name") { try await screen().contains("'hello-1") }
            try await type(".name", "Enter")
            try await eventually("its value") { try await screen().contains("\"hello-1\"") }
            try await type(":events on", "Enter")
            try await eventually("the answer") { try await screen().contains("events are shown") }
            try await type("half typed")
            try await home.lunette("rm", "hello-1")
            // Above what is typed, which stays.
            try await eventually("the event") {
                let lines = try await screen().split(separator: "\n").map(String.init)
                guard let event = lines.firstIndex(where: { $0.contains("container.removed hello-1") }) else { return false }
                return lines.suffix(from: event).contains("> half typed")
            }
            try await type("C-c")
            // Committed while a line runs, and a task runs beside the prompt.
            try await type(
                "t = task.spawn(function() task.sleep '300s' end) container.create { name = 'own', image = '\(image)' } task.sleep '500ms'",
                "Enter")
            try await eventually("its event") { try await screen().contains("container.created own") }
            try await type(":tasks", "Enter")
            try await eventually("the task") { try await screen().contains("task (waiting) at repl:") }
            try await type(":quit", "Enter")
            try await eventually("the end") { try await screen().contains("left 0") }
        }
    }

    @Test func minusHIsHelpUnlessItIsTheHostName() async throws {
        try await withLunette(.root) { home in
            for command in ["exec", "rm", "logs", "ps", "stop"] {
                let help = try await home.lunette(command, "-h")
                #expect(help.text.contains("lunette \(command)") && help.text.hasPrefix("OVERVIEW"), "\(help)")
            }
            for command in ["run", "create"] {
                let error = try await home.lunette(command, "-h", expecting: 125)
                #expect(error.errorText.contains("missing value for \"-h\"") && error.errorText.contains("host name"), "\(error)")
                #expect(error.errorText.contains("lunette \(command) --help"), "\(error)")
            }
        }
    }

    @Test func anErrorOfAScriptHasItsCodeAndDetailsWithVerbose() async throws {
        try await withLunette(.root) { home in
            let code = "lunette.fail('conflict', 'no', { operation = 'web.move', details = { a = 1 } })"
            let short = try await home.lunette("-e", code, expecting: 1)
            #expect(!short.errorText.contains("conflict"), "\(short)")
            let long = try await home.lunette("--verbose", "-e", code, expecting: 1)
            #expect(long.errorText.contains("code: conflict in web.move\n") && long.errorText.contains("details: {\"a\":1}"), "\(long)")
            // Details that are no data don't keep the error from being told.
            let odd = try await home.lunette("--verbose", "-e", "lunette.fail('io', 'no', { details = print })", expecting: 1)
            #expect(odd.errorText.contains("lunette: -e:1: no") && odd.errorText.contains("code: io"), "\(odd)")
        }
    }

    @Test(.requires(.root))
    func anEngineWithOtherSettingsIsToldOfOnce() async throws {
        try await withLunette(.root) { home in
            let other = "\(home.folder)/other"
            try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
            try await home.lunette("ps")
            #expect(try await home.lunette("ps").errorText == "")
            let told = try await home.lunette("--config", other, "rm", "a", "b", expecting: 125)
            let lines = told.errorText.split(separator: "\n").filter { $0.contains("warning") }
            #expect(lines.count == 1 && lines[0].contains(other), "\(told.errorText)")
            #expect(try await home.lunette("--config", other, "ps", "--format", "json").errorText == "")
        }
    }
}
