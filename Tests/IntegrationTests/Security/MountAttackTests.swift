import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// Attacks on mounts, volumes and ids: 20, 30, 35, 36, 59, 85, 87, 88, 90.
@Suite(.requires(.root, .overlay, .userNamespaces, .command("gcc")))
struct MountAttackTests {
    /// A volume's files are root's on disk, and nothing on it is a way to be root outside or inside.
    @Test func whatLiesOnAVolumeGivesNoPower() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            try await home.lunette("volume", "create", "data")
            try await home.lunette(
                "run", "--rm", "-v", "data:/data", "-v", "\(probe):/attack:ro", image, "sh", "-c",
                "cp /attack /data/suid && chmod 4755 /data/suid && touch /data/mine && chown 1000:1000 /data/mine")
            let owners = try await Command.shell("find \(home.root)/volumes \\( -name suid -o -name mine \\) -printf '%f %U:%G\\n' | sort")
                .run().text
            let (root, other) = home.user.map { ($0.uid, $0.firstID! + 999) } ?? (0, 1000)
            #expect(owners == "mine \(other):\(other)\nsuid \(root):\(root)")
            #expect(
                try await home.lunette("run", "--rm", "-u", "app", "-v", "data:/data", image, "/data/suid", "ids").text
                    == "1000 1000 1000 1000")
            if home.user == nil {
                // Where programs may gain privileges, one of the root gives them, and one of the volume still none.
                try await home.lunette(
                    "run", "-d", "--name", "c", "--security-opt", "no-new-privileges=false", "-v", "data:/data", image, "sh", "-c",
                    "cp /data/suid /suid && chmod 4755 /suid && touch /ready; exec sleep 60")
                try await eventually("the copy") { try await home.lunette("exec", "c", "ls", "/ready", expecting: nil).code == 0 }
                let ids = try await home.lunette("exec", "-u", "app", "c", "/suid", "ids").text
                undefended("a set-id file gives power where its mount isn't nosuid", ids == "1000 0 1000 1000", ids)
                #expect(try await home.lunette("exec", "-u", "app", "c", "/data/suid", "ids").text == "1000 1000 1000 1000")
            }
            let options = try await home.lunette("run", "--rm", "-v", "data:/data", image, "grep", " /data ", "/proc/self/mountinfo").text
            #expect(options.contains("nosuid") && options.contains("nodev"), "\(options)")
        }
    }

    /// An id that the range doesn't have is refused, never turned into somebody else's.
    @Test func idsEndWithTheRange() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let file = "\(home.folder)/somebody's"
            let isTaken = FileManager.default.createFile(atPath: file, contents: nil) && chown(file, 70000, 70000) == 0
            undefended("outside the range 70000 is an id like any other", isTaken)
            let line =
                "touch /tmp/f && ! chown 70000 /tmp/f 2>/dev/null && chown 65535 /tmp/f && stat -c %u /tmp/f && cat /proc/self/uid_map"
            let lines = try await home.lunette("run", "--rm", image, "sh", "-c", line).lines
            #expect(lines.first == "65535")
            let map = (lines.last ?? "").split(separator: " ").compactMap { UInt32($0) }
            // An ordinary user's engine has its own ids as they are, and its containers the same.
            if home.user == nil {
                #expect(map.count == 3 && map[0] == 0 && map[1] >= 65536 && map[2] == 65536, "\(lines)")
            } else {
                #expect(map == [1, 1, 65536], "\(lines)")
            }
        }
    }

    /// The machine's nodes are bound, what is masked is its /dev/null, and so is the input of a program without one: whose root is the machine's
    /// may use them and nothing else. (Nothing is lost where it may: each gets the mode that it has.)
    @Test func aNodeOfTheMachineIsNobodysToChange() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let line = """
                for path in /dev/null /dev/zero /dev/tty /dev/kmsg /proc/keys /proc/timer_list /proc/self/fd/0; do
                  [ -e $path ] || continue
                  echo seen $path; mode=$(stat -L -c %a $path)
                  chmod $mode $path && echo changed $path; chown 0:0 $path && echo changed $path; touch $path && echo changed $path
                done 2>/dev/null
                echo x > /dev/null && echo x > /proc/keys && echo written; head -c 3 /dev/zero | wc -c
                touch /dev/shm/f && chmod 600 /dev/shm/f && echo own
                """
            for options in [["--userns", "host"], ["--userns", "host", "--read-only"], []] {
                let words = ["run", "--rm", "--device", "/dev/kmsg"] + options + [image, "sh", "-c", line]
                let lines = try await home.command(words).run().lines
                undefended("a node of the container's own is changed", lines.contains("own"), lines)
                #expect(lines.contains("seen /dev/zero") && lines.contains("seen /proc/keys") && lines.contains("written"), "\(lines)")
                #expect(lines.contains("3"))
                #expect(!lines.contains { $0.hasPrefix("changed") }, "\(options): \(lines)")
            }
            try await home.lunette("run", "-d", "--name", "c", "--userns", "host", image, "sleep", "60")
            let lines = try await home.lunette("exec", "c", "sh", "-c", line).lines
            #expect(lines.contains("seen /proc/self/fd/0") && !lines.contains { $0.hasPrefix("changed") }, "\(lines)")
        }
    }

    @Test func aReadOnlyRootIsReadOnlyAllTheWay() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let source = "\(home.folder)/source"
            try await Command.shell(
                "mkdir -p \(source)/below && chmod 777 \(source) \(source)/below && mount -t tmpfs -o mode=777 none \(source)/below && touch \(source)/below/f"
            ).run()
            home.cleanUp.add("unmount below") { _ = try await Command("umount", "\(source)/below").run(expecting: nil) }
            let line = """
                for path in /x /etc/x /bin/x /proc/sys/x /sys/x /host/x /host/below/x; do touch $path 2>/dev/null && echo wrote $path; done
                mount -o remount,rw / 2>/dev/null && echo remounted; mount -o remount,rw /host/below 2>/dev/null && echo remounted below
                touch /data/x /tmp/y 2>/dev/null; ls /data
                """
            let finished = try await home.lunette(
                "run", "--rm", "--read-only", "-v", "data:/data", "-v", "\(source):/host:ro", image, "sh", "-c", line)
            #expect(!finished.text.contains("wrote") && !finished.text.contains("remounted"), "\(finished.text)")
            #expect(finished.text.contains("x"), "a volume stays writable")
            let writable = try await home.lunette("run", "--rm", "-v", "\(source):/host", image, "sh", "-c", line, expecting: nil)
            for path in ["/x", "/host/x", "/host/below/x"] {
                undefended("\(path) is written where it isn't read-only", writable.lines.contains("wrote \(path)"), writable.text)
            }
        }
    }

    /// CVE-2016-5195's way round a mapping's protection: what is written stays the process's own.
    @Test func memoryIsNoWayToWriteAReadOnlyFile() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let source = "\(home.folder)/file"
            try "as it was, and longer than what is written\n".write(toFile: source, atomically: true, encoding: .utf8)
            let copy = "\(home.folder)/copy"
            try await Command.shell("cp \(source) \(copy) && chmod 666 \(copy)").run()
            let open = try await home.attack("mapping", "/copy", options: ["--cap-add", "SYS_PTRACE", "-v", "\(copy):/copy"])
            let written = try String(contentsOfFile: copy, encoding: .utf8)
            undefended("memory is a way to write what is writable", written.hasPrefix("attacked") && open["mprotect"] == "ok", open)
            let hash = try await Command("sha256sum", source).run().text
            for path in ["/file", "/bin/busybox", "/proc/self/exe"] {
                let answers = try await home.attack(
                    "mapping", path, options: ["--read-only", "--cap-add", "SYS_PTRACE", "-v", "\(source):/file:ro"])
                #expect(answers["private"] != nil, "\(answers)")
                #expect(answers["shared-writable"] != "ok" && answers["mprotect"] != "ok", "\(path): \(answers)")
            }
            #expect(try await Command("sha256sum", source).run().text == hash)
            // The layer that the next container runs from is as it was, too.
            let busybox = "sha256sum /bin/busybox | cut -d' ' -f1"
            let inside = try await home.lunette("run", "--rm", image, "sh", "-c", busybox).text
            #expect(try await Command.shell(busybox).run().text == inside)
        }
    }

    /// With CAP_SYS_ADMIN in its own user namespace: nothing that it mounts shows outside, nothing of the host is undone.
    @Test func mountsOfAPowerfulContainerStayInside() async throws {
        try await releaseAgentOpensWithoutNamespaces()
        func releaseAgents() async throws -> String {
            try await Command.shell("for f in /sys/fs/cgroup/*/release_agent; do echo $f; cat $f; done; cat /proc/sys/kernel/core_pattern")
                .run(expecting: nil).text
        }
        let before = try await releaseAgents()
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let source = "\(home.folder)/shared"
            try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
            let shows = try await NaiveRuntime.mountShowsOutside()
            undefended("a mount shows outside a namespace that shares its changes", shows)
            let line = """
                mkdir -p /data/m /tmp/cg; mount -t tmpfs none /data/m && touch /data/m/inside; mount -t tmpfs none /host && touch /host/inside
                for c in memory cpu pids devices freezer; do
                  mount -t cgroup -o $c none /tmp/cg 2>/dev/null || continue
                  echo /x > /tmp/cg/release_agent && echo agent; echo 1 > /tmp/cg/notify_on_release; mkdir /tmp/cg/child && echo child; umount /tmp/cg
                done 2>/dev/null
                umount /proc/sys 2>/dev/null; mount -o remount,rw /proc/sys 2>/dev/null; mount -t proc proc /tmp/cg 2>/dev/null
                echo '|/x' > /proc/sys/kernel/core_pattern; echo '|/x' > /tmp/cg/sys/kernel/core_pattern; echo h > /tmp/cg/sysrq-trigger
                echo tried everything; exec sleep 60
                """
            try await home.lunette(
                "run", "-d", "--name", "c", "--cap-add", "SYS_ADMIN", "-v", "data:/data", "-v", "\(source):/host", image, "sh", "-c", line)
            // Its last word: only then there is something to judge.
            try await eventually("the attacker is through") { try await home.lunette("logs", "c").text.contains("tried everything") }
            #expect(try await home.lunette("exec", "c", "ls", "/host").text.contains("inside"))
            let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
            #expect(!mounts.contains(home.folder), "a mount of the container's shows on the host")
            #expect(try FileManager.default.contentsOfDirectory(atPath: source) == [])
            #expect(try await Command.shell("find \(home.root)/volumes -name inside").run().text == "")
            #expect(!(try await home.lunette("logs", "c").text.contains("agent")))
            // What the kernel doesn't hold against such a container is said.
            let degraded = try await home.inspect("c")["degraded"] as? [String] ?? []
            #expect(degraded.contains { $0.contains("CAP_SYS_ADMIN") }, "\(degraded)")
        }
        #expect(try await releaseAgents() == before)
    }

    /// CVE-2022-0492's ground: with CAP_SYS_ADMIN and neither a user nor a cgroup namespace, the host's release agent opens. Nothing is written.
    private func releaseAgentOpensWithoutNamespaces() async throws {
        guard FileManager.default.fileExists(atPath: "/sys/fs/cgroup/memory/release_agent") else { return }
        try await withBundle { bundle in
            let all: Value = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
            let line = "/bin/busybox mount -t cgroup -o memory none /mnt && /probe write=/mnt/release_agent"
            bundle.change([
                "process": [
                    "args": ["/bin/sh", "-c", .string(line)], "capabilities": ["bounding": all, "effective": all, "permitted": all],
                ]
            ])
            let said = try await bundle.run(expecting: nil)
            undefended(
                "the host's release agent opens for writing", said.text == "write./mnt/release_agent ok", "\(said.text) \(said.errorText)")
        }
    }

    @Test func stateIsItsOwnersAlone() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", "-v", "data:/data", image, "sleep", "60")
            let open = try await Command.shell(
                "stat -c '%a %n' \(home.root) \(home.state) \(home.root)/* \(home.state)/* | grep -vE '^(7[01][01]|6[0-9]0|600|400) ' || true"
            ).run().text
            // Folders let nobody else list; a plain file is readable only below a folder that nobody else may enter.
            let top = try await Command.shell("stat -c %a \(home.root) \(home.state)").run().lines
            #expect(top.allSatisfy { $0 == "700" || $0 == "711" || $0 == "701" }, "\(top)")
            // It leaves when nothing needs it.
            try await home.lunette("ps")
            let socket = try await Command.shell("stat -c %a \(home.state)/engine.sock").run().text
            #expect(socket == "600")
            if top.contains(where: { $0 != "700" }) { #expect(open.isEmpty, "\(open)") }
        }
    }

    /// Dying memory cgroups pile up when they are removed with pages still charged.
    @Test(.requires(.cgroupV1))
    func memoryCgroupsDoNotPileUp() async throws {
        func count() throws -> Int {
            let text = try String(contentsOfFile: "/proc/cgroups", encoding: .utf8)
            return text.split(separator: "\n").first { $0.hasPrefix("memory\t") }.flatMap { Int($0.split(separator: "\t")[2]) } ?? -1
        }
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "--rm", image, "true")
            let before = try count()
            for _ in 0..<20 { try await home.lunette("run", "--rm", image, "sh", "-c", "head -c 1000000 /dev/zero > /tmp/x") }
            // Others' containers come and go on this machine; twenty of ours left behind would show.
            try await eventually("the cgroups' end") { try count() < before + 15 }
        }
    }
}
