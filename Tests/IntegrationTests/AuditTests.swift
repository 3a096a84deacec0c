import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// The audit log: who did what, with what outcome, and because of what.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct AuditTests {
    @Test func itSaysWhoDidWhatAndWhatCameOfIt() async throws {
        try await withLunette(.root) { home in
            let settings = "\(home.folder)/settings"
            try FileManager.default.createDirectory(atPath: settings, withIntermediateDirectories: true)
            let image = try await home.load(.busybox)
            try await eventually("the engine has left", within: .seconds(30)) { home.enginePID() == nil }
            try Data(
                """
                lunette.before("container.create", { name = "no-foo" }, function(ev)
                  if ev.spec.name == "foo" then ev:deny("taken by policy") end
                end)
                lunette.on("container.exited", { name = "sweep" }, function(ev)
                  ev.container:remove {}
                end)
                """.utf8
            ).write(to: URL(fileURLWithPath: "\(settings)/init.lua"))
            let environment: [String: String?] = ["LUNETTE_CONFIG": settings]
            try await home.lunette("create", "--name", "foo", image, environment: environment, expecting: 125)
            try await home.lunette("run", "-d", "--name", "web", "-e", "PASSWORD=swordfish", image, "true", environment: environment)
            try await home.script(
                "local lunette = require 'lunette'\nlunette.try(function() lunette.container.get('absent'):kill() end)\n\nlunette.volume.create('data')",
                environment: environment)

            var status = stat()
            #expect(stat("\(home.root)/audit.log", &status) == 0 && status.st_mode & 0o777 == 0o600)
            func entries() async throws -> [Value] {
                try await home.lunette("system", "audit", "--format", "json", environment: environment).lines.map {
                    try JSON.decode(Array($0.utf8), source: "an entry")
                }
            }
            try await eventually("the handler's call is in it") { try await entries().contains { $0["call"] == "container.remove" } }
            let all = try await entries()
            #expect(
                !String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(home.root)/audit.log")), as: UTF8.self).contains("swordfish")
            )

            // One name for one container, however the command calls it.
            #expect(all.first { $0["call"] == "container.start" }?["target"] ?? "web" == "web", "\(all)")
            try await home.lunette("create", "--name", "kept", image, environment: environment)
            try await home.lunette(
                "-e", "container.start(container.get('kept').id)",
                environment: environment)
            #expect(try await entries().contains { $0["call"] == "container.start" && $0["target"] == "kept" })

            let denied = try #require(all.first { $0["outcome"] == "denied" })
            #expect(
                denied["target"] == "foo" && denied["reason"] == "taken by policy" && denied["by"] == "no-foo" && denied["uid"] == 0,
                "\(denied)")
            #expect(denied["script"] == "lunette create", "\(denied)")
            let load = try #require(all.first { $0["call"] == "image.load" })
            #expect(load["outcome"] == "ok")
            let removed = try #require(all.first { $0["call"] == "container.remove" })
            #expect(removed["script"] == "init.lua" && removed["line"] == 5 && removed["target"] == "web", "\(removed)")
            #expect(JSON.encode(removed["cause"] ?? .null).contains("hook:resident/init/on/sweep"), "\(removed)")
            let volume = try #require(all.first { $0["call"] == "volume.create" })
            #expect(volume["line"] == 4 && volume["target"] == "data" && volume["pid"]?.intValue ?? 0 > 0, "\(volume)")
            // What only looks isn't in it.
            #expect(!all.contains { ["container.inspect_all", "container.get", "system.ping"].contains($0["call"]?.stringValue ?? "") })

            let shown = try await home.lunette("system", "audit", "--since", "1h", environment: environment).text
            #expect(shown.contains("by=\"lunette create\"") && shown.contains("foo denied (no-foo: taken by policy)"), "\(shown)")
            let fromLua = try await home.lunette(
                "-e", "for _, e in ipairs(system.audit { since = '1h' }) do print(e.call, e.outcome) end", environment: environment)
            #expect(fromLua.text.contains("container.create\tdenied"), "\(fromLua.text)")

            let follower = try home.command(["system", "audit", "-f", "--since", "0s"], environment: environment).start()
            try await eventually("it follows") {
                try await home.lunette("system", "info", "--format", "{{.sessions}}", environment: environment).text == "2"
            }
            try await home.lunette("volume", "rm", "data", environment: environment)
            try await follower.says("volume.remove data ok")
            follower.signal(SIGKILL)
            _ = try await follower.wait()

            // It goes on in the next engine's time, and what is cut is a line by itself.
            if let pid = home.enginePID() { kill(pid, SIGKILL) }
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(home.root)/audit.log"))
            try file.seekToEnd()
            try file.write(contentsOf: Data("{\"time\":1,".utf8))
            try file.close()
            try await home.lunette("volume", "create", "more", environment: environment)
            let last = try await entries()
            #expect(last.count >= all.count + 2 && last.last?["target"] == "more", "\(last.suffix(2))")
        }
    }
}
