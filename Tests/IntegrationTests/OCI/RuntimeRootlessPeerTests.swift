import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// Podman as an ordinary user, on runc and on `lunette-oci`: the same commands, and what a caller sees of them.
@Suite(
    .runtimeUnderTest, .requires(.ordinaryUser, .userNamespaces, .podman, .command("runc")), .serialized,
    .enabled(if: OCIRuntime.underTest.isLunette, "compares lunette-oci with runc"))
struct RuntimeRootlessPeerTests {
    /// Podman with a store of the test's own; the user's processes end with it.
    private struct Podman {
        let home: LunetteHome

        init(_ home: LunetteHome) async throws {
            self.home = home
            let uid = home.user!.uid
            try await Command.shell("mkdir -m 700 \(home.folder)/x; chown \(uid):\(uid) \(home.folder)/x").run()
            // Not the test user's to read where it is.
            try await Command("cp", "-r", try await TestImage.busybox.folder(), "\(home.folder)/image").run()
            try await Command("chown", "-R", "\(uid):\(uid)", "\(home.folder)/image").run()
            home.cleanUp.add("podman's own process") { [self] in _ = try await command(["system", "migrate"]).run(expecting: nil) }
        }

        func command(_ arguments: [String]) -> Command {
            Command(
                home.user!.words + [
                    "podman", "--root", "\(home.folder)/store", "--runroot", "\(home.folder)/x/c", "--storage-driver", "vfs",
                    "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--log-level", "error",
                ] + arguments,
                environment: ["HOME": home.folder, "XDG_RUNTIME_DIR": "\(home.folder)/x", "LUNETTE_FAULT": nil], workdir: home.folder)
        }

        /// Runs a container in the foreground.
        ///
        /// conmon 2.1 may end without having taken the connection by which Podman reads the output, when it was kept off the processor for
        /// the container's whole life; Podman shows nothing then and says nothing, on any runtime (docs/peers.md). conmon's log has what
        /// the container wrote: only an answer that it proves to be incomplete is asked for again.
        func run(_ words: [String], on runtime: String) async throws -> Finished {
            var lost = 0
            while true {
                let log = "\(home.folder)/x/\(UUID().uuidString).log"
                let logging = ["--log-driver", "k8s-file", "--log-opt", "path=\(log)"]
                let run = try await command(["--runtime", runtime, "run", "--rm"] + logging + words).run(
                    expecting: nil, timeout: .seconds(60))
                // There is none when no container came to be.
                let written = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                guard run.text.isEmpty, written.contains(" stdout "), lost < 3 else { return run }
                lost += 1
            }
        }
    }

    private static let scripts: [[String]] = [
        [
            "--network", "none", "IMAGE", "sh", "-c",
            "id -u; cat /proc/self/uid_map; ls /dev; touch /x /y; chown 33:34 /y; ls -ln /x /y | cut -c1-30",
        ],
        ["--network", "host", "-u", "33", "IMAGE", "id", "-u"],
        ["--network", "none", "--userns", "keep-id", "IMAGE", "sh", "-c", "id -u; cat /proc/self/uid_map"],
        ["--network", "none", "--userns", "auto", "IMAGE", "sh", "-c", "id -u; cat /proc/self/uid_map"],
        [
            "--network", "none", "--hostname", "there", "--tmpfs", "/t:rw,size=1m", "--read-only", "--sysctl", "net.ipv4.ip_forward=1",
            "IMAGE",
            "sh", "-c", "hostname; df /t | tail -n 1; cat /proc/sys/net/ipv4/ip_forward; touch /x; touch /t/x; echo $?",
        ],
        ["--network", "none", "--cap-add", "ALL", "IMAGE", "grep", "Cap", "/proc/self/status"],
        [
            "--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "IMAGE", "grep", "-E", "Cap|NoNew",
            "/proc/self/status",
        ],
        [
            "--network", "none", "--privileged", "IMAGE", "sh", "-c",
            "mkdir /tmp/m; mount -t tmpfs x /tmp/m && echo mounted; grep CapEff /proc/self/status",
        ],
        ["--network", "none", "--pid", "host", "--ipc", "host", "--uts", "host", "IMAGE", "echo", "shared"],
        ["--network", "none", "-v", "FOLDER:/b:ro", "IMAGE", "sh", "-c", "ls /b/user; echo x > /b/new; echo $?"],
        ["--network", "none", "--ulimit", "nofile=512:512", "IMAGE", "sh", "-c", "ulimit -n; ulimit -Hn"],
        ["--network", "none", "IMAGE", "no-such-program"],
        ["--network", "none", "IMAGE", "/etc/passwd"],
        ["--network", "none", "IMAGE", "sh", "-c", "exit 9"],
        ["--network", "none", "IMAGE", "sh", "-c", "kill -15 $$; sleep 1; exit 4"],
    ]

    @Test func podmansCommandsAnswerAsOnRunc() async throws {
        try await withLunette(.withRange) { home in
            let podman = try await Podman(home)
            let image = try await podman.command(["pull", "-q", "oci:image:latest"]).run(timeout: .seconds(60)).lines.last ?? ""
            for script in Self.scripts {
                let words = script.map { $0 == "IMAGE" ? image : $0.replacingOccurrences(of: "FOLDER", with: home.folder) }
                var seen: [String] = []
                for runtime in [Programs.find("runc")!, OCIRuntime.underTest.path] {
                    let run = try await podman.run(words, on: runtime)
                    seen.append("\(run.code)\n\(run.text)")
                }
                #expect(seen[0] == seen[1], "\(script)")
            }
        }
    }

    @Test func aContainerLivesItsWholeLife() async throws {
        try await withLunette(.withRange) { home in
            let podman = try await Podman(home)
            let image = try await podman.command(["pull", "-q", "oci:image:latest"]).run(timeout: .seconds(60)).lines.last ?? ""
            var seen: [[String]] = []
            for runtime in [Programs.find("runc")!, OCIRuntime.underTest.path] {
                var lines: [String] = []
                func note(_ arguments: String...) async throws {
                    let run = try await podman.command(arguments).run(expecting: nil, timeout: .seconds(60))
                    lines.append("\(arguments[0]): \(run.code) \(run.text)")
                }
                let loop = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
                try await podman.command(["--runtime", runtime, "run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", loop])
                    .run(
                        timeout: .seconds(60))
                try await eventually("it is up") { try await podman.command(["logs", "c"]).run().text.contains("up") }
                try await note("exec", "c", "sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /mine; ls -ln /mine | cut -c1-30")
                try await note("exec", "-u", "33", "c", "id", "-u")
                try await note("exec", "-w", "/tmp", "-e", "A=b", "c", "sh", "-c", "pwd; echo $A; exit 5")
                try await note("exec", "c", "no-such-program")
                try await note("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "c")
                try await note("stop", "-t", "5", "c")
                try await note("logs", "c")
                try await note("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "c")
                try await note("start", "c")
                try await note("kill", "-s", "KILL", "c")
                try await note("wait", "c")
                try await note("rm", "-f", "c")
                seen.append(lines)
            }
            for (runc, ours) in zip(seen[0], seen[1]) { #expect(runc == ours) }
        }
    }
}
