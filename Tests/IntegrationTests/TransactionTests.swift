import Foundation
import LunetteTesting
import Testing

/// `lunette.apply` on the real engine: several objects, all of them or nothing, wherever the engine dies.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct TransactionTests {
    /// Three volumes, one of which only a mount names, two new containers of which one shares the other's network, and a limit of one that runs.
    private static func objects(_ image: String, memory: String = "128MiB") -> String {
        """
        {
          volumes = { a = {}, b = { labels = { of = "web" } } },
          containers = {
            app = { image = "\(image)", args = { "cat", "/a/f" }, network = "container:web",
                    mounts = { { type = "volume", source = "a", target = "/a" } } },
            web = { image = "\(image)", args = { "sh", "-c", "echo said >/a/f; exec sleep 600" }, stop = { grace_period = 0 },
                    mounts = { { type = "volume", source = "a", target = "/a" }, { type = "volume", source = "c", target = "/c" } } },
            live = { image = "\(image)", args = { "sleep", "600" }, resources = { memory = "\(memory)" }, stop = { grace_period = 0 } },
          },
        }
        """
    }

    /// What there is: volumes, containers with their status, the limit of what runs.
    private static let look = """
        local names = {}
        for _, v in ipairs(volume.list()) do names[#names + 1] = v.name end
        for _, c in ipairs(container.list { all = true }) do names[#names + 1] = c.name .. "=" .. c:inspect().status end
        table.sort(names)
        names[#names + 1] = string.format("%d", container.get("live"):stats().memory.limit >> 20)
        return table.concat(names, " ")
        """

    private func startLive(_ image: String, in home: LunetteHome) async throws {
        try await home.script(
            """
            require("lunette").container.apply("live",
              { image = "\(image)", args = { "sleep", "600" }, resources = { memory = "64MiB" }, stop = { grace_period = 0 } })
            """)
    }

    @Test func allIsMadeAndTheSecondTimeNothingChanges() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await startLive(image, in: home)
            let code = """
                local lunette = require "lunette"
                local r = lunette.apply \(Self.objects(image))
                for _, line in ipairs(r.changed) do print(line) end
                assert(r.containers.web == lunette.container.get "web" and r.volumes.a == lunette.volume.get "a")
                assert(r.containers.web:inspect().status == "created")
                assert(#lunette.apply(\(Self.objects(image))).changed == 0)
                r.containers.web:start()
                r.containers.web:exec({ "sh", "-c", "until [ -s /a/f ]; do sleep 0.05; done" }, { check = true })
                r.containers.app:start()
                assert(r.containers.app:wait().code == 0)
                print(r.containers.app:logs())
                """
            let ran = try await home.script(code).text
            #expect(
                ran.split(separator: "\n") == [
                    "volume a: made", "volume b: made", "volume c: made", "container web: made", "container app: made",
                    "container live: resources.memory", "said",
                ], "\(ran)")
            #expect(try await home.lunette("-e", Self.look).text == "a app=stopped b c live=running web=running 128")
            #expect(try await home.lunette("system", "audit").text.contains("lunette.apply a b app live web ok"))
            try await home.expectClean()
        }
    }

    @Test func whatIsInTheWayChangesNothing() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await startLive(image, in: home)
            for (change, code, message) in [
                ("o.containers.live.args = { 'true' }", "conflict", "the container live exists with another args"),
                ("o.containers.zz = { image = 'nope:1' }", "not_found", "containers.zz.image"),
                ("o.containers.web.imag = 1", "invalid_argument", "containers.web.imag: unknown option"),
                ("o.volumes.b.driver = 'nope'", "not_found", "nope"),
                // The driver's word, when it has made the other one.
                ("o.volumes.b.options = { mode = 'much' }", "invalid_argument", "mode is not a file mode"),
                ("o.networks = { n = {} }", "unsupported", "networks are not in this version"),
                // Refused when it is set: after the volumes were made.
                ("o.containers.live.resources.cpuset = '999'", "invalid_argument", "this machine has no processor 999"),
                (
                    "lunette.before('container.create', { name = 'no', match = { target = 'web' } }, function(ev) ev:deny 'not today' end)",
                    "denied", "not today"
                ),
                (
                    "lunette.before('container.update', { name = 'big' }, function(ev) ev:amend { resources = { memory = 'much' } } end)",
                    "invalid_argument", "big"
                ),
                (
                    "lunette.before('container.create', { name = 'as', match = { target = 'app' } }, function(ev) ev:amend { name = 'live' } end)",
                    "already_exists", "live"
                ),
            ] {
                let ran = try await home.script(
                    """
                    local lunette = require "lunette"
                    local o = \(Self.objects(image))
                    \(change)
                    local ok, e = lunette.try(lunette.apply, o)
                    print(ok, not ok and e.code, tostring(e))
                    """
                ).text
                #expect(ran.hasPrefix("false\t\(code)") && ran.contains(message), "\(change): \(ran)")
                #expect(try await home.lunette("-e", Self.look).text == "live=running 64", "\(change): \(ran)")
            }
            try await home.expectClean()
        }
    }

    /// Given up while a driver makes its volumes.
    @Test func cancelledItIsUndone() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await startLive(image, in: home)
            try await home.stopEngine()
            let plugin = "\(home.root)/plugins/volume-slow"
            try FileManager.default.createDirectory(atPath: plugin, withIntermediateDirectories: true)
            try """
            { "name": "volume-slow", "version": "1.0.0", "api": "1", "entry": "init.lua", "provides": { "volume": ["slow"] }, "permissions": ["fs"] }
            """.write(toFile: "\(plugin)/plugin.json", atomically: true, encoding: .utf8)
            try """
            local function file(r) return "\(plugin)/made-" .. r.volume.name end
            return { volume = { slow = {
              create = function(r) fs.write(file(r), "") task.sleep "2s" return {} end,
              mount = function(r) return { path = file(r) } end,
              remove = function(r) if fs.exists(file(r)) then fs.remove(file(r)) end end,
            } } }
            """.write(toFile: "\(plugin)/init.lua", atomically: true, encoding: .utf8)
            let ran = try await home.script(
                """
                local lunette = require "lunette"
                local o = \(Self.objects(image))
                o.volumes.b.driver = "slow"
                local begun = lunette.task.spawn(function() return lunette.apply(o) end)
                repeat lunette.task.sleep "20ms" until lunette.fs.exists "\(plugin)/made-b"
                lunette.task.cancel(begun)
                local ok, e = lunette.try(lunette.task.await, begun)
                print(ok, not ok and e.code)
                """
            ).text
            #expect(ran == "false\tcancelled", "\(ran)")
            try await eventually("it is undone") { try await home.lunette("-e", Self.look).text == "live=running 64" }
            try await eventually("the driver has removed it") { !FileManager.default.fileExists(atPath: "\(plugin)/made-b") }
            try await home.expectClean()
            // Left alone it is made.
            let script = "local o = \(Self.objects(image)) o.volumes.b.driver = 'slow' return #lunette.apply(o).changed"
            #expect(try await home.lunette("-e", script).text == "6")
        }
    }

    /// A client that goes with its engine asks nobody again: what the next engine finds is all or nothing.
    @Test(.timeLimit(.minutes(4)))
    func anEngineThatDiesAnywhereInItLeavesAllOrNothing() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await startLive(image, in: home)
            let script = "\(home.folder)/apply.lua"
            try "require('lunette').apply \(Self.objects(image))".write(toFile: script, atomically: true, encoding: .utf8)
            let nothing = "live=running 64"
            for (point, left) in [
                ("apply.asked", nothing), ("volume.create.ledger", nothing), ("volume.create.made", nothing), ("update.applied", nothing),
                ("apply.made", nothing), ("apply.committed", "a app=created b c live=running web=created 128"),
            ] {
                try await home.stopEngine()
                let died = try await home.lunette("--in-process", script, environment: ["LUNETTE_FAULT": point], expecting: nil)
                #expect(died.signal == SIGKILL, "\(point): \(died.errorText)")
                #expect(try await home.lunette("-e", Self.look).text == left, "\(point)")
                try await home.expectClean(point)
            }
        }
    }

    /// A limit that was set and not stored is no limit for the next engine.
    @Test func anUpdateThatDiesIsUndone() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await startLive(image, in: home)
            try await home.stopEngine()
            let died = try await home.lunette(
                "--in-process", "update", "--memory", "96m", "live", environment: ["LUNETTE_FAULT": "update.applied"], expecting: nil)
            #expect(died.signal == SIGKILL, "\(died.errorText)")
            #expect(try await home.lunette("-e", Self.look).text == "live=running 64")
            try await home.expectClean()
        }
    }

    /// So does a creation that brings volumes.
    @Test func aCreationThatDiesLeavesNoVolume() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            for point in ["volume.create.made", "create.before-commit"] {
                try await home.stopEngine()
                let died = try await home.lunette(
                    "--in-process", "create", "-v", "data:/data", image, environment: ["LUNETTE_FAULT": point], expecting: nil)
                #expect(died.signal == SIGKILL, "\(point): \(died.errorText)")
                #expect(try await home.lunette("volume", "ls", "-q").text == "", "\(point)")
                try await home.expectClean(point)
            }
        }
    }
}
