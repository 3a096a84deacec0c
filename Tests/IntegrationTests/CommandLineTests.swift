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
            #expect(try await shell("tar tf \(archive)").text.contains("oci-layout"))
            try await home.lunette("rmi", "-f", image)
            // From a file and from a pipe.
            #expect(try await shell("\(lunette) load -q < \(archive)").text == "Loaded: \(image)")
            #expect(try await shell("\(lunette) save -q \(image) | cat | \(lunette) load -q -t copy:1").text == "Loaded: copy:1")
            #expect(try await home.lunette("run", "--rm", "copy:1", "echo", "same").text == "same")
            let bad = try await home.lunette("load", "-q", input: "no archive", expecting: 125)
            #expect(bad.errorText.contains("stdin"), "\(bad.errorText)")
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
            for part in ["42", "\"a\": 40", "every 1h (waiting) at repl:1", " ms"] {
                #expect(session.text.contains(part), "\(part) is not in \(session.text)")
            }
            #expect(session.errorText.contains("did you mean :save?") && session.errorText.contains("leave out --read-only"))
            // What didn't work isn't in it, and what was shown is printed.
            let saved = try String(contentsOfFile: script, encoding: .utf8)
            #expect(!saved.contains("nope"), "\(saved)")
            #expect(try await home.lunette(script).text == "42")
        }
    }
}
