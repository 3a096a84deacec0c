import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// The same script of commands on runc, crun and `lunette-oci`: what a caller sees is the same.
@Suite(.runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "compares lunette-oci with its peers")) struct RuntimePeerTests {
    /// What a caller can see of one run of the script, a line each: exit codes, statuses, output.
    private func walk(_ bundle: OCIBundle) async throws -> [String] {
        var seen: [String] = []
        func note(_ what: String, _ finished: Finished) {
            seen.append("\(what): \(finished.code == 0 ? "ok" : "refused") \(finished.text)")
        }
        func status() async throws -> String {
            let state = try await bundle.call("state", bundle.id, expecting: nil)
            guard state.code == 0 else { return "unknown" }
            return try JSON.decode(Array(state.stdout), source: "state")["status"]?.stringValue ?? "?"
        }
        let script = "trap 'echo usr1' USR1; trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"
        bundle.change(["process": ["args": ["/bin/sh", "-c", .string(script)]]])
        seen.append(try await status())
        try await bundle.create()
        seen.append(try await status())
        note("exec before start", try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "echo early", expecting: nil))
        note("start", try await bundle.start(expecting: nil))
        try await bundle.says("ready")
        seen.append(try await status())
        note("second start", try await bundle.start(expecting: nil))
        note("delete while it runs", try await bundle.call("delete", bundle.id, expecting: nil))
        note(
            "exec",
            try await bundle.call(
                "exec", "-e", "A=1", "--cwd", "/tmp", "-u", "5:6", bundle.id, "/bin/sh", "-c", "echo $A; pwd; id -u; id -g", expecting: nil)
        )
        seen.append("exec code \(try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "exit 9", expecting: nil).code)")
        seen.append("exec signal \(try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "kill -15 $$", expecting: nil).code)")
        note("exec of nothing", try await bundle.call("exec", bundle.id, "/nonexistent", expecting: nil))
        note("kill USR1", try await bundle.call("kill", bundle.id, "USR1", expecting: nil))
        try await bundle.says("usr1")
        note("kill SIGUSR1", try await bundle.call("kill", bundle.id, "SIGUSR1", expecting: nil))
        note("kill 10", try await bundle.call("kill", bundle.id, "10", expecting: nil))
        note("pause", try await bundle.call("pause", bundle.id, expecting: nil))
        seen.append(try await status())
        note("exec while paused", try await bundle.call("exec", bundle.id, "/bin/true", expecting: nil))
        note("resume", try await bundle.call("resume", bundle.id, expecting: nil))
        note("kill", try await bundle.call("kill", bundle.id, expecting: nil))
        try await bundle.becomes("stopped")
        note("kill what stopped", try await bundle.call("kill", bundle.id, "KILL", expecting: nil))
        note("exec in what stopped", try await bundle.call("exec", bundle.id, "/bin/true", expecting: nil))
        note("start what stopped", try await bundle.start(expecting: nil))
        note("delete", try await bundle.call("delete", bundle.id, expecting: nil))
        note("delete again", try await bundle.call("delete", bundle.id, expecting: nil))
        note("forced", try await bundle.call("delete", "--force", bundle.id, expecting: nil))
        seen.append(try await status())
        bundle.change(["process": ["args": ["/bin/sh", "-c", "echo out; exit 3"]]])
        let run = try await bundle.run(expecting: nil)
        seen.append("run \(run.code) \(run.text)")
        seen.append(try await status())
        return seen
    }

    @Test(.requires(.command("runc"), .command("crun"))) func aCallerSeesTheSame() async throws {
        let ours = try await withBundle { try await walk($0) }
        for name in ["runc", "crun"] {
            let folder = "/tmp/lunette-peer.\(name).\(UInt64.random(in: 0...UInt64.max))"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            // crun 1.8 takes no hybrid cgroups: a mount namespace without the unified tree is a v1 machine to it.
            let wrapper = """
                #!/bin/sh
                exec unshare -m --propagation private sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec \(name) "$@"' \(name) "$@"
                """
            try Data(wrapper.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(folder)/\(name)")
            let theirs = try await withBundle(on: OCIRuntime(path: "\(folder)/\(name)")) { try await walk($0) }
            #expect(ours == theirs, "\(name)")
        }
    }
}
