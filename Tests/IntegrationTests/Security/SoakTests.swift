import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// The same thing again and again, and what is there before and after: `LUNETTE_SOAK` execs (10,000 by hand) and `LUNETTE_SOAK_KILLS` launches
/// that are killed at a random moment (1,000 by hand).
@Suite(.serialized, .runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about what our own processes keep"))
struct SoakTests {
    private static func number(_ name: String, else few: Int) -> Int {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? few
    }
    private static let execs = number("LUNETTE_SOAK", else: 80)
    private static let kills = number("LUNETTE_SOAK_KILLS", else: 12)

    /// What a process holds.
    private struct Holdings: CustomStringConvertible {
        var descriptors = 0
        var timers = 0
        var zombies = 0
        var privateKiB = 0

        init(_ pid: pid_t) throws {
            descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
            timers = try String(contentsOfFile: "/proc/\(pid)/timers", encoding: .utf8).components(separatedBy: "ID:").count - 1
            for line in try String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8).split(separator: "\n")
            // Dirty alone: a program's clean pages are private as soon as nobody else happens to run it.
            where line.hasPrefix("Private_Dirty") {
                privateKiB += line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            }
            for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
                // One that is gone by now is no zombie.
                guard pid_t(name) != nil, let text = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                    let fields = text.components(separatedBy: ") ").last?.split(separator: " "), fields.count > 1
                else { continue }
                if fields[0] == "Z", fields[1] == "\(pid)" { zombies += 1 }
            }
        }

        var description: String { "\(descriptors) descriptors, \(timers) timers, \(zombies) zombies, \(privateKiB) KiB private" }
    }

    private static func parent(of pid: pid_t) throws -> pid_t {
        let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        return text.components(separatedBy: ") ").last?.split(separator: " ").dropFirst().first.flatMap { pid_t($0) } ?? 0
    }

    /// By the state folder that each has open.
    private static func shims(of home: LunetteHome) throws -> [pid_t] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }.filter { pid in
            // One that is gone by now is nobody's.
            let name = (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? ""
            let folder = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/5")) ?? ""
            return name == "lunette-shim\n" && folder.hasPrefix("\(home.folder)/")
        }
    }

    @Test(.requires(.overlay, .userNamespaces)) func execsLeaveNothingInShimOrEngine() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "471260")
            func execute(_ count: Int) async throws {
                let script = """
                    local c = require('lunette').container.get 'c'
                    for i = 1, \(count) do assert(c:exec({ 'true' }).code == 0) end
                    """
                try await home.script(script, timeout: .seconds(580))
            }
            // It would leave between two scripts that come late; who listens keeps it.
            let listener = try home.command(["events"]).start()
            try await execute(30)
            let engine = try #require(home.enginePID())
            let shim = try Self.parent(of: pid_t(try await home.inspect("c")["pid"] as? Int ?? 0))
            let before = (try Holdings(engine), try Holdings(shim))
            try await execute(Self.execs)
            #expect(home.enginePID() == engine)
            var after = before
            // Sessions of the scripts that are over are closed a moment later.
            try await eventually("the descriptors are closed") {
                after = (try Holdings(engine), try Holdings(shim))
                return after.0.descriptors <= before.0.descriptors && after.1.descriptors <= before.1.descriptors
            }
            print("  \(Self.execs) execs: engine \(before.0), then \(after.0); shim \(before.1), then \(after.1)")
            #expect(after.0.zombies == 0 && after.1.zombies == 0 && after.0.timers <= before.0.timers && after.1.timers == before.1.timers)
            #expect(after.0.privateKiB < before.0.privateKiB + 6 << 10)
            #expect(after.1.privateKiB <= before.1.privateKiB + 64)
            #expect(try await home.lunette("-e", "return #lunette.container.get('c'):processes()").text < "3")
            listener.signal(SIGKILL)
            _ = try await listener.wait()
        }
    }

    @Test func execsLeaveNothingInABundlesContainer() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let pid = pid_t(try await bundle.state()["pid"]?.intValue ?? 0)
            let before = (
                try Holdings(pid), bundle.leaks().count, try FileManager.default.contentsOfDirectory(atPath: "\(bundle.root)/\(bundle.id)")
            )
            let line = "\(bundle.runtime.path) --root \(bundle.root) exec \(bundle.id) /bin/true"
            try await Command.shell("for i in $(seq \(Self.execs)); do \(line); done").run(timeout: .seconds(580))
            try await eventually("the programs are gone") { bundle.leaks().count == before.1 }
            let after = try Holdings(pid)
            print("  \(Self.execs) execs: pid 1 \(before.0), then \(after)")
            #expect(after.zombies == 0 && after.descriptors == before.0.descriptors && after.timers == before.0.timers)
            #expect(after.privateKiB <= before.0.privateKiB)
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(bundle.root)/\(bundle.id)") == before.2)
        }
    }

    /// lunette-oci or its shim, whichever comes first.
    @Test func aLaunchKilledAtAnyMomentIsDeleted() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try bundle.write()
            for round in 0..<Self.kills {
                let line = ["create", "--bundle", bundle.folder, bundle.id]
                let creating = try bundle.runtime.command(root: bundle.root, line, workdir: bundle.folder).start()
                // A moment by chance is what this is about.
                try await Task.sleep(for: .microseconds(Int.random(in: 0...60_000)))
                let shims = bundle.leaks().filter { $0.contains("lunette-shim") }.compactMap { pid_t($0.dropFirst(8).prefix { $0 != ":" }) }
                if round % 2 == 0 || shims.isEmpty { creating.signal(SIGKILL) } else { for shim in shims { kill(shim, SIGKILL) } }
                _ = try await creating.wait()
                try await bundle.call("delete", "--force", bundle.id, expecting: nil)
                try await eventually("nothing is left of round \(round): \(bundle.leaks())") { bundle.leaks().isEmpty }
                #expect(try await bundle.call("list", "-q").text == "")
            }
        }
    }

    @Test(.requires(.overlay, .userNamespaces)) func anEngineOrShimKilledAtAnyMomentLeavesNothing() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            for round in 0..<Self.kills {
                let running = try home.command(["run", "--name", "c", image, "sleep", "2"]).start()
                try await Task.sleep(for: .microseconds(Int.random(in: 0...400_000)))
                if round % 2 == 0 {
                    if let engine = home.enginePID() { kill(engine, SIGKILL) }
                } else {
                    for shim in try Self.shims(of: home) { kill(shim, SIGKILL) }
                }
                _ = try await running.wait()
                try await home.lunette("rm", "-f", "c", expecting: nil)
                #expect(try await home.lunette("ps", "-aq").lines.isEmpty, "round \(round)")
                try await home.expectClean()
            }
        }
    }
}
