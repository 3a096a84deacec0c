import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// Attacks on `lunette-oci` by a container whose root is the host's: no user namespace stands between them (research/attacks.md 1–3, 15–17).
@Suite(.runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own defences"))
struct RuntimeAttackTests {
    private static let capabilities: Value = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_PTRACE", "CAP_MKNOD",
    ]

    /// CVE-2019-5736: open what comes by through /proc, wait until it isn't busy any more, write to it.
    private static let watcher = """
        attack() {
            { echo "$1 OPENED"; n=0
              while [ $n -lt 20 ]; do
                  if echo >> /proc/self/fd/8; then echo "$1 WRITABLE"; break; fi
                  n=$((n+1)); sleep 0.01
              done } 8<"$2" 2>/dev/null
        }
        /data/busybox sleep 0.1 & sleep 0.02; attack control /proc/$!/exe
        echo ready
        while [ ! -e /data/stop ]; do
            for process in /proc/[0-9]*; do
                case $(readlink $process/exe) in ""|*/busybox) ;; *) attack shim $process/exe ;; esac
            done 2>/dev/null
        done
        """

    @Test func theShimCannotBeOverwrittenThroughProc() async throws {
        let shim = "\((OCIRuntime.underTest.path as NSString).deletingLastPathComponent)/lunette-shim"
        let before = try await Command("sha256sum", shim).run().text
        try await withBundle { bundle in
            try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: "\(bundle.rootfs)/data/busybox")
            try FileManager.default.createSymbolicLink(atPath: "\(bundle.rootfs)/bin/readlink", withDestinationPath: "busybox")
            try Data("#!/proc/self/exe\n".utf8).write(to: URL(fileURLWithPath: "\(bundle.rootfs)/evil"))
            chmod("\(bundle.rootfs)/evil", 0o755)
            bundle.change([
                "process": [
                    "args": ["/bin/sh", "-c", .string(Self.watcher)],
                    "capabilities": ["bounding": Self.capabilities, "effective": Self.capabilities, "permitted": Self.capabilities],
                ]
            ])
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("ready")
            // What isn't protected can be written: the attack works.
            undefended("a program without defences is written to", bundle.output.contains("control WRITABLE"), bundle.output)
            var rounds = 0
            while rounds < 300, rounds < 40 || !bundle.output.contains("shim OPENED") {
                try await bundle.call("exec", bundle.id, rounds % 2 == 0 ? "/evil" : "/bin/true", expecting: nil)
                rounds += 1
            }
            #expect(bundle.output.contains("shim OPENED"), "the attacker saw none of \(rounds) programs that joined")
            #expect(!bundle.output.contains("shim WRITABLE"))
            try Data().write(to: URL(fileURLWithPath: "\(bundle.rootfs)/data/stop"))
            try await bundle.becomes("stopped")
        }
        #expect(try await Command("sha256sum", shim).run().text == before)
    }

    /// CVE-2016-9962: with CAP_SYS_PTRACE over our own user namespace a container sees what a joining process has open, whatever is dumpable.
    @Test func joiningProcessesHaveNoFolderOfTheHostOpen() async throws {
        let probe = try await CProbe.race.path()
        try await withBundle { bundle in
            try FileManager.default.copyItem(atPath: probe, toPath: "\(bundle.rootfs)/race")
            bundle.change([
                "process": [
                    "args": ["/race", "folders", "/data/stop"],
                    "capabilities": ["bounding": Self.capabilities, "effective": Self.capabilities, "permitted": Self.capabilities],
                ]
            ])
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("ready")
            let open = try bundle.runtime.command(
                root: bundle.root,
                ["exec", bundle.id, "/bin/sh", "-c", "exec 9</data; echo open; while [ ! -e /data/stop ]; do sleep 0.05; done"]
            ).start()
            try await eventually("the open folder is seen") { bundle.output.contains("FOLDER /data") || !open.isRunning }
            undefended("a process that has a folder open is seen", bundle.output.contains("FOLDER /data"), bundle.output)
            for _ in 0..<60 { try await bundle.call("exec", bundle.id, "/bin/true") }
            try Data().write(to: URL(fileURLWithPath: "\(bundle.rootfs)/data/stop"))
            try await bundle.says("looked")
            _ = try await open.wait()
            let seen = Set(ProbeAnswers(text: bundle.output).all("FOLDER"))
            #expect(seen == ["/data"], "\(seen)")
        }
    }

    /// CVE-2024-21626, CVE-2016-9962.
    @Test func descriptorsOfTheCallerStayOutside() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "fds", "pause"]]])
            try bundle.write()
            let leak = "exec 3</ 7</etc 9</root 40</proc;"
            let plain = ProbeAnswers(try await Command.shell("\(leak) exec \(bundle.rootfs)/probe fds").run())
            undefended("a program that is started as it is finds what was left open", plain.all("fd").count == 7, plain)
            let line = "\(bundle.runtime.path) --root \(bundle.root)"
            let started = try Command.shell("\(leak) exec \(line) run --bundle \(bundle.folder) \(bundle.id)").start()
            try await started.says("fd 2")
            #expect(ProbeAnswers(text: started.text).all("fd").count == 3, "\(started.text)")
            let exec = try await Command.shell("\(leak) exec \(line) exec \(bundle.id) /probe fds").run()
            #expect(ProbeAnswers(exec).all("fd").count == 3, "\(exec.text)")
            try await bundle.call("kill", bundle.id, "KILL")
            _ = try await started.wait()
        }
    }

    /// What is masked is the machine's /dev/null, and so is the input that a caller without one gives: root in here is the machine's, and uses
    /// them without changing them. (Nothing is lost where it could: each gets the mode that it has.)
    @Test func theMachinesNullDeviceIsNobodysToChange() async throws {
        let line = """
            for path in /proc/keys /proc/timer_list /proc/self/fd/0; do
              echo seen $path; chmod 666 $path && echo changed $path; chown 0:0 $path && echo changed $path
            done 2>/dev/null
            echo x > /proc/keys && echo written; chmod 666 /dev/null && echo own
            """
        try await withBundle { bundle in
            for applet in ["chmod", "chown"] {
                try FileManager.default.createSymbolicLink(atPath: "\(bundle.rootfs)/bin/\(applet)", withDestinationPath: "busybox")
            }
            bundle.change([
                "process": [
                    "args": ["/bin/sh", "-c", .string("\(line)\nexec sleep 60")],
                    "capabilities": ["bounding": Self.capabilities, "effective": Self.capabilities, "permitted": Self.capabilities],
                ],
                "linux": ["maskedPaths": ["/proc/keys", "/proc/timer_list"]],
            ])
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("own")
            undefended("the container's own node is changed", bundle.output.contains("own"), bundle.output)
            for output in [bundle.output, try await bundle.call("exec", bundle.id, "/bin/sh", "-c", line).text] {
                #expect(output.contains("seen /proc/self/fd/0") && output.contains("written"), "\(output)")
                #expect(!output.contains("changed"), "\(output)")
            }
        }
    }

    /// CVE-2021-43784 and its kin: lengths.
    @Test func enormousConfigsAreRefusedCleanly() async throws {
        try await withBundle { bundle in
            let mount = "{\"destination\":\"/tmp/x\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}"
            let plain = "\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"}"
            let process = "\"process\":{\"cwd\":\"/\",\"args\":[\"/probe\"]}"
            for text in [
                "{\(plain),\(process),\"mounts\":[\(Array(repeating: mount, count: 100_000).joined(separator: ","))]}",
                "{\(plain),\(process),\"hostname\":\"\(String(repeating: "a", count: 5_000_000))\"}",
                "{\(plain),\"process\":{\"cwd\":\"/\",\"args\":[\"\(String(repeating: "a", count: 2_000_000))\"]}}",
                "{\(plain),\(process),\"annotations\":{\"a\":\"\(String(repeating: "a", count: 9_000_000))\"}}",
                String(repeating: "[", count: 1_000_000), "{\(plain),\(process),", "{}", "", "\0",
            ] {
                try bundle.write(text: text)
                let refused = try await bundle.call("create", "--bundle", bundle.folder, bundle.id, expecting: 1)
                #expect(
                    refused.errorText.hasPrefix("lunette-oci: ") && refused.errorText.utf8.count < 2000, "\(refused.errorText.prefix(300))")
                #expect(try await bundle.call("list", "-q").text == "")
            }
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func idsThatAreNotNamesAreRefusedByEveryCommand() async throws {
        try await withBundle { bundle in
            try bundle.write()
            try await Command.shell("mkdir -p \(bundle.folder)/naive/state && cd \(bundle.folder)/naive/state && mkdir ../\(bundle.id)")
                .run()
            undefended("as a folder's name, an id leads out", FileManager.default.fileExists(atPath: "\(bundle.folder)/naive/\(bundle.id)"))
            for id in ["..", ".", "a/b", "-a", ".hidden", "ä", "a b", String(repeating: "a", count: 4096), "../\(bundle.id)"] {
                for command in [
                    ["create"], ["run"], ["start"], ["state"], ["kill"], ["delete"], ["delete", "--force"], ["pause"], ["ps"], ["update"],
                ] {
                    let refused = try await bundle.runtime.command(root: bundle.root, command + ["--", id], workdir: bundle.folder).run(
                        expecting: nil)
                    #expect(refused.code == 1, "\(command) \(id.prefix(20))")
                }
            }
            #expect((try? FileManager.default.contentsOfDirectory(atPath: bundle.root)) ?? [] == [])
        }
    }

    @Test func aWorkingFolderCannotLeadOut() async throws {
        let canary = try Canary()
        defer { canary.remove() }
        try await withBundle { bundle in
            let outside = (canary.path as NSString).deletingLastPathComponent
            let read = try await NaiveRuntime.enterLeaked(outside, reading: "canary", root: bundle.rootfs)
            undefended("a folder that was left open is entered", canary.isLeaked(in: read))
            for folder in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8/..", "/proc/1/root", "/proc/self/cwd"] {
                bundle.change(["process": ["cwd": .string(folder), "args": ["/bin/ls", "-a"]]])
                let seen = try await bundle.run(expecting: nil)
                #expect(seen.code != 0 || !seen.text.contains("vmlinuz") && !seen.text.contains("root"), "\(folder): \(seen.text)")
            }
        }
    }

    @Test func theStateIsItsOwnersAlone() async throws {
        try await withBundle { bundle in
            try await bundle.create()
            for (path, mode) in [
                ("", 0o700), ("/\(bundle.id)", 0o700), ("/\(bundle.id)/state.json", 0o600), ("/\(bundle.id)/config.json", 0o600),
            ] {
                let attributes = try FileManager.default.attributesOfItem(atPath: bundle.root + path)
                #expect(attributes[.posixPermissions] as? Int == mode, "\(path)")
            }
        }
    }

    /// A cgroup that was there before, with somebody else in it, is neither joined nor emptied.
    @Test(.requires(.cgroupV1)) func whoIsInAForeignCgroupIsLeftAlone() async throws {
        try await withBundle { bundle in
            let name = "lunette-foreign-\(bundle.id)"
            let folder = "/sys/fs/cgroup/pids/\(name)"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            let foreign = try Command("/bin/sleep", "471250").start()
            bundle.cleanUp.add("remove the cgroup") {
                foreign.signal(SIGKILL)
                _ = try await foreign.wait()
                try await eventually("the cgroup goes") { rmdir(folder) == 0 }
            }
            try "\(foreign.pid)".write(toFile: "\(folder)/cgroup.procs", atomically: false, encoding: .utf8)
            bundle.change(["linux": ["cgroupsPath": .string("/\(name)")]])
            let said = try await bundle.refusal()
            #expect(said.contains("not empty"))
            #expect(foreign.isRunning && FileManager.default.fileExists(atPath: folder))
        }
    }
}
