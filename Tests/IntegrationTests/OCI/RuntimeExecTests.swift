import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// One more program in a container that runs. Runs on runc and crun as well.
@Suite(.runtimeUnderTest) struct RuntimeExecTests {
    private func withRunning(_ body: (OCIBundle) async throws -> Void) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"], "env": ["PATH=/bin", "OWN=1"], "cwd": "/tmp"]])
            try await bundle.create()
            try await bundle.start()
            try await body(bundle)
        }
    }

    @Test func itIsInTheContainerAndGivesItsExitCode() async throws {
        try await withRunning { bundle in
            let pid = try #require(try await bundle.state()["pid"]?.intValue)
            let seen = ProbeAnswers(try await bundle.call("exec", bundle.id, "/probe", "ns", "cwd", "env", "ids"))
            for name in ["pid", "net", "ipc", "uts", "mnt"] {
                #expect(seen["ns.\(name)"] == (try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/\(name)")))
            }
            #expect(seen["cwd"] == "/tmp" && seen.all("env").contains("OWN=1"))
            for code in [0, 3, 255] as [Int32] {
                try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "exit \(code)", expecting: code)
            }
            try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "kill -9 $$", expecting: 137)
            // Its output is its own, and its input ours.
            let both = try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "echo out; echo err >&2")
            #expect(both.text == "out" && both.errorText == "err")
            var command = bundle.runtime.command(root: bundle.root, ["exec", bundle.id, "/bin/cat"])
            command.input = Data("in".utf8)
            #expect(try await command.run().text == "in")
        }
    }

    @Test func optionsChangeTheProcess() async throws {
        try await withRunning { bundle in
            let seen = ProbeAnswers(
                try await bundle.call(
                    "exec", "--cwd", "/data", "--env", "A=2", "--env", "B=3", "--user", "1000:2000", bundle.id, "/probe", "ids", "cwd",
                    "env"))
            #expect(seen["uid"] == "1000 1000 1000" && seen["gid"] == "2000 2000 2000" && seen["cwd"] == "/data", "\(seen)")
            #expect(seen.all("env").contains("A=2") && seen.all("env").contains("B=3") && seen.all("env").contains("OWN=1"))
            let file = "\(bundle.folder)/process.json"
            let process: Value = [
                "args": ["/probe", "ids", "env", "cwd"], "cwd": "/mnt", "env": ["PATH=/bin", "ONLY=1"],
                "user": ["uid": 7, "gid": 8, "additionalGids": [9]],
            ]
            try Data(JSON.encode(process).utf8).write(to: URL(fileURLWithPath: file))
            let other = ProbeAnswers(try await bundle.call("exec", "--process", file, bundle.id))
            #expect(other["uid"] == "7 7 7" && other["cwd"] == "/mnt" && other.words("groups").contains("9"), "\(other)")
            #expect(other.all("env").contains("ONLY=1") && !other.all("env").contains("OWN=1"))
            guard bundle.runtime.name != "crun" else { return }
            let groups = ProbeAnswers(try await bundle.call("exec", "-g", "77", "-g", "78", bundle.id, "/probe", "ids"))
            #expect(groups.words("groups").contains("77") && groups.words("groups").contains("78"))
        }
    }

    @Test func aDetachedOneIsFoundByItsPidFile() async throws {
        try await withRunning { bundle in
            let file = "\(bundle.folder)/exec.pid"
            try await bundle.call("exec", "--detach", "--pid-file", file, bundle.id, "/bin/sleep", "471210")
            let pid = try #require(Int32(try String(contentsOfFile: file, encoding: .utf8)))
            let line = try #require(FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"))
            #expect(String(decoding: line, as: UTF8.self).contains("471210"))
            kill(pid, SIGKILL)
        }
    }

    @Test func whatCannotBeRunFailsAndIsSaid() async throws {
        try await withRunning { bundle in
            let absent = try await bundle.call("exec", bundle.id, "no-such-program", expecting: nil)
            #expect(absent.code != 0)
            if bundle.runtime.isLunette {
                #expect(absent.code == 127 && absent.errorText.contains("no such file or directory"))
                for user in ["00", "1000:", ":0", "-1", "4294967295", "4294967296", "", "nobody-of-that-name"] {
                    let refused = try await bundle.call("exec", "--user=\(user)", bundle.id, "/probe", "ids", expecting: nil)
                    #expect(refused.code == 1 && !refused.text.contains("uid 0"), "\(user): \(refused.text)")
                }
                #expect(try await bundle.call("exec", "--cgroup", "../other", bundle.id, "/bin/true", expecting: nil).code == 1)
                #expect(try await bundle.call("exec", bundle.id, expecting: nil).code == 1)
            }
            // CVE-2024-21626: a working folder through somebody's descriptors.
            for number in [3, 4, 5, 6, 7, 8, 9] {
                let outside = try await bundle.call("exec", "--cwd", "/proc/self/fd/\(number)", bundle.id, "/bin/ls", expecting: nil)
                #expect(outside.code != 0 || !outside.text.contains("root"), "\(number): \(outside.text)")
            }
        }
    }

    @Test func signalsReachAProgramInTheForeground() async throws {
        try await withRunning { bundle in
            let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
            let running = try bundle.runtime.command(root: bundle.root, ["exec", bundle.id, "/bin/sh", "-c", script]).start()
            try await running.says("ready")
            running.signal(SIGTERM)
            let finished = try await running.wait()
            #expect(finished.code == 9 && finished.text.hasSuffix("got"))
        }
    }

    @Test func aPausedContainerIsRefusedUnlessAskedFor() async throws {
        try await withRunning { bundle in
            guard bundle.runtime.isLunette else { return }
            try await bundle.call("pause", bundle.id)
            #expect(try await bundle.call("exec", bundle.id, "/bin/true", expecting: nil).errorText.contains("paused"))
            let running = try bundle.runtime.command(
                root: bundle.root, ["exec", "--ignore-paused", bundle.id, "/bin/sh", "-c", "exit 4"]
            ).start()
            try await bundle.call("resume", bundle.id)
            #expect(try await running.wait().code == 4)
        }
    }
}
