import Foundation
import LunetteTesting
import Testing

/// A handler in one terminal's script acts on what is typed in another.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct HookTests {
    @Test func aBeforeHookInOneTerminalDeniesACreateTypedInAnother() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let guardian = try home.scriptCommand(
                """
                local lunette = require "lunette"
                lunette.before("container.create", { name = "no-foo", timeout = "5s", on_failure = "deny" }, function(ev)
                  if ev.spec.name == "foo" then ev:deny("the name foo is taken by policy") end
                  if ev.spec.name == "amended" then ev:amend { env = { ADDED = "by the hook" } } end
                end)
                print("watching")
                lunette.stay()
                """
            ).start()
            try await guardian.says("watching")

            let denied = try await home.lunette("create", "--name", "foo", image, expecting: 125)
            #expect(denied.errorText.contains("the name foo is taken by policy"), "\(denied.errorText)")
            #expect(denied.errorText.hasPrefix("lunette: "))
            #expect(try await home.lunette("ps", "-a", "-q").text == "")

            try await home.lunette("create", "--name", "bar", image)
            let amended = try await home.lunette("run", "--rm", "--name", "amended", image, "sh", "-c", "echo $ADDED")
            #expect(amended.text == "by the hook")

            // Session handlers end with their script, however it ends.
            guardian.signal(SIGKILL)
            _ = try await guardian.wait()
            try await eventually("the hook is gone with its script") {
                try await home.lunette("create", "--name", "foo", image, expecting: nil).code == 0
            }
        }
    }

    @Test func anOnHandlerSeesWhatAnotherTerminalDoes() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let watcher = try home.scriptCommand(
                """
                local lunette = require "lunette"
                lunette.on("container.exited", { name = "watch" }, function(ev)
                  print("exited", ev.target.name, ev.exit.code)
                end)
                print("watching")
                lunette.stay()
                """
            ).start()
            try await watcher.says("watching")
            try await home.lunette("run", "--name", "seven", image, "sh", "-c", "exit 7", expecting: 7)
            try await watcher.says("exited\tseven\t7")
            watcher.signal(SIGKILL)
            _ = try await watcher.wait()
        }
    }

    @Test func aRunThatRemovesEndsWhenItsContainerIsGone() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let slow = try home.scriptCommand(
                """
                local lunette = require "lunette"
                lunette.before("container.remove", { name = "slow", timeout = "20s", on_failure = "deny" }, function(ev)
                  if ev.target.name == "kept" then ev:deny("policy keeps it") end
                  lunette.task.sleep "500ms"
                end)
                print("watching")
                lunette.stay()
                """
            ).start()
            try await slow.says("watching")
            // The name and the volume are free.
            try await home.lunette("run", "--rm", "--name", "same", "-v", "data:/data", image, "sh", "-c", "exit 3", expecting: 3)
            try await home.lunette("volume", "rm", "data")
            try await home.lunette("create", "--rm", "--name", "same", image, "true")
            try await home.lunette("start", "-a", "same")
            #expect(try await home.lunette("ps", "-a", "-q").text == "")
            // The program's exit code stays the command's.
            let kept = try await home.lunette("run", "--rm", "--name", "kept", image, "sh", "-c", "exit 3", expecting: 3)
            #expect(kept.errorText.contains("kept is still there") && kept.errorText.contains("policy keeps it"), "\(kept.errorText)")
            slow.signal(SIGKILL)
            _ = try await slow.wait()
        }
    }

    @Test func eventsAreListedSinceASequenceNumber() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "--name", "one", image, "true")
            try await home.lunette("run", "--name", "two", image, "true")
            let output = try await home.script(
                """
                local lunette = require "lunette"
                local names, last = {}, nil
                for ev in lunette.events { since = 0 } do
                  assert(last == nil or ev.sequence > last, "sequence numbers grow")
                  last = ev.sequence
                  names[#names + 1] = ev.name .. " " .. (ev.target.name or "")
                  if ev.name == "container.exited" and ev.target.name == "two" then break end
                end
                print(table.concat(names, "\\n"))
                """
            ).lines
            for expected in ["container.created one", "container.started one", "container.exited one", "container.started two"] {
                #expect(output.contains(expected), "\(output)")
            }
        }
    }

    /// Without a health check, a lifecycle or resident code; the kernel counts it on cgroup v1 too.
    @Test func aLimitThatAContainerMeetsIsTold() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let watcher = try home.scriptCommand(
                """
                local lunette = require "lunette"
                lunette.on("container.limited", {}, function(ev)
                  print(ev.target.name, ev.limited.resource, ev.limited.limit, ev.limited.hits > 0)
                end)
                print("watching")
                lunette.stay()
                """
            ).start()
            try await watcher.says("watching")
            try await home.lunette("run", "-d", "--name", "few", "--pids-limit", "6", image, "sleep", "1000")
            try await home.lunette("exec", "few", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 2 & done; wait", expecting: nil)
            try await watcher.says("few\tpids\t6\ttrue")
            try await home.lunette("run", "-d", "--name", "small", "--memory", "16m", image, "sleep", "1000")
            // The page cache is given back, and nobody is killed.
            try await home.lunette("exec", "small", "dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=64", expecting: nil)
            try await watcher.says("small\tmemory\t16777216\ttrue")
            watcher.signal(SIGKILL)
            _ = try await watcher.wait()
        }
    }
}
