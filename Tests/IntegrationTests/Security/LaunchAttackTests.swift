import Foundation
import LunetteTesting
import Testing

/// Attacks on the launch itself and on `exec`: 1–4, 7, 10–14, 16, 19, 51, 86. Racers are in RaceTests.
@Suite(.requires(.root, .overlay, .userNamespaces, .command("gcc")))
struct LaunchAttackTests {
    /// CVE-2019-5736, CVE-2016-9962: a container watches every process that joins it.
    @Test func joiningProcessesCannotBeOpenedOrTraced() async throws {
        let shim = URL(filePath: LunetteHome.binary).deletingLastPathComponent().appending(path: "lunette-shim").path
        let hashes = try await Command("sha256sum", LunetteHome.binary, shim).run().text
        try await withLunette { home in
            // A program like any other that only has our name: what is looked for is found.
            let decoy = "for i = 1, 30 do c:exec { 'sh', '-c', 'exec 9</tmp; /lunette-decoy/sleep 0.02' } end"
            let seen = try await watching(home, while: decoy)
            for word in ["FOLDER", "TRACED"] { undefended("\(word) of a program without defences", seen.contains(word), seen) }
            // Told to run its own interpreter, the joining process becomes one of the container's: it may be traced then, but not changed.
            for (name, words) in [("true", ["WRITABLE", "FOLDER", "TRACED"]), ("/evil", ["WRITABLE", "FOLDER"])] {
                let log = try await watching(home, while: "for i = 1, 150 do pcall(c.exec, c, { '\(name)' }) end")
                let watched = LunetteHome.answers(log.components(separatedBy: "\n"))["watched"].flatMap { Int($0) }
                #expect((watched ?? 0) > 20, "processes that it saw come by: \(log.suffix(100))")
                for word in words { #expect(!log.contains(word), "\(log.prefix(400))") }
            }
        }
        #expect(try await Command("sha256sum", LunetteHome.binary, shim).run().text == hashes)
    }

    /// What a container tells that looks at every process which joins it.
    /// - Parameter joining: Lua that makes them join, on the container `c`.
    private func watching(_ home: LunetteHome, while joining: String) async throws -> String {
        let image = try await home.load(.busybox)
        let probe = try await CProbe.attack.path()
        try await home.lunette(
            "run", "-d", "--name", "c", "--cap-add", "SYS_PTRACE", "-v", "\(probe):/attack:ro", image, "/attack", "watch", "300")
        try await home.lunette(
            "exec", "c", "sh", "-c",
            "printf '#!/proc/self/exe\\n' > /evil && chmod 755 /evil; mkdir /lunette-decoy && cp /bin/busybox /lunette-decoy/sleep")
        // Every one is over when the script is: the watcher had each before its eyes, however slow the machine.
        let rounds = "local c = require('lunette').container.get('c')\n\(joining)\nc:exec { 'touch', '/tmp/stop' }"
        try await home.script(rounds, timeout: .seconds(240))
        try await home.lunette("wait", "c", expecting: nil)
        let log = try await home.lunette("logs", "c").text
        try await home.lunette("rm", "-f", "c")
        return log
    }

    /// CVE-2024-21626 and its kin: whatever the client or engine holds open stays outside.
    @Test func noDescriptorLeaksIn() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let probe = try await CProbe.attack.path()
            let line = "\(home.words.joined(separator: " ")) run --rm -v \(probe):/attack:ro \(image) /attack files"
            // The client, and the engine that it starts, are given open folders of the host.
            let leak = "exec 3</ 7</etc 9</root 40</proc;"
            let plain = try await Command(["bash", "-c", "\(leak) exec \(try await CProbe.access.path()) descriptors"]).run().text
            undefended("a program that is started as it is finds what was left open", plain == "descriptors 4", plain)
            let finished = try await Command(["bash", "-c", "\(leak) \(line)"], environment: home.environment).run()
            let numbers = finished.lines.compactMap { $0.split(separator: " ").first.map(String.init) }
            #expect(Set(numbers) == ["0", "1", "2"], "\(finished.text)")
            try await home.lunette("run", "-d", "--name", "c", "-v", "\(probe):/attack:ro", image, "sleep", "60")
            let exec = try await home.lunette("exec", "c", "/attack", "files")
            #expect(Set(exec.lines.compactMap { $0.split(separator: " ").first.map(String.init) }) == ["0", "1", "2"], "\(exec.text)")
        }
    }

    @Test func aWorkingFolderCannotLeadOut() async throws {
        let canary = try Canary()
        defer { canary.remove() }
        try await withLunette { home in
            let image = try await home.load(.busybox)
            // A runtime that leaves a folder open and enters what it is told: the canary is read from inside its root.
            let (root, outside) = (try await home.makeRoot("naive"), (canary.path as NSString).deletingLastPathComponent)
            let read = try await NaiveRuntime.enterLeaked(outside, reading: "canary", root: root)
            undefended("a folder that was left open is entered", canary.isLeaked(in: read))
            for folder in ["/proc/self/fd/7", "/proc/self/fd/8/..", "/proc/1/root", "/proc/self/cwd"] {
                #expect(try await home.lunette("run", "--rm", "-w", folder, image, "pwd", expecting: nil).code != 0, "\(folder)")
            }
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "120")
            // By a link that the text doesn't show: only the folder that is really reached counts.
            try await home.lunette("exec", "c", "sh", "-c", "for n in $(seq 3 20); do ln -s /proc/self/fd/$n /l$n; done")
            for number in 3...12 {
                let reading = "cat ../../../../../../../..\(canary.path); cat .\(canary.path); pwd -P"
                let finished = try await home.lunette("exec", "-w", "/l\(number)", "c", "sh", "-c", reading, expecting: nil)
                #expect(!canary.isLeaked(in: finished.stdout), "fd \(number)")
            }
        }
    }

    /// CVE-2025-31133: the runtime's own use of the container's /dev/null.
    @Test func aLinkInPlaceOfDevNullHarmsNothing() async throws {
        let before = try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8)
        try await withLunette { home in
            let root = try await home.makeRoot("null")
            try await Command.shell("mkdir -p \(root)/dev && ln -s /proc/sys/kernel/core_pattern \(root)/dev/null").run()
            let opened = NaiveRuntime.opens("\(root)/dev/null", leadingTo: "/proc/sys/kernel/core_pattern")
            undefended("whoever opens this null device by name has the setting open", opened)
            _ = try await home.run(root: root, "echo attacked > /dev/null; echo '|/x' > /proc/kcore; cat /proc/keys")
        }
        #expect(try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8) == before)
    }

    /// CVE-2026-41579, CVE-2026-47766, CVE-2023-27561: file systems of the runtime's that an image redirects.
    @Test(arguments: ["dev", "proc", "sys"])
    func aLinkInPlaceOfAMountPointIsRefused(_ name: String) async throws {
        try await withLunette { home in
            let target = "\(home.folder)/host-\(name)"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
            for (index, link) in [target, "../../../../../../../..\(target)", "/tmp/chain", "tmp"].enumerated() {
                let root = try await home.makeRoot("\(name)\(index)")
                try await Command.shell("ln -s \(target) \(root)/tmp/chain && ln -s '\(link)' \(root)/\(name)").run()
                if index < 2 {
                    // Made by name, a mount point is the host's.
                    let made = mkdir("\(root)/\(name)/made", 0o755) == 0 && rmdir("\(target)/made") == 0
                    undefended("a mount point that is made by name lies on the host", made, link)
                }
                let finished = try await home.run(root: root, "echo started")
                #expect(!finished.text.contains("started"), "\(name) -> \(link)")
                #expect(try FileManager.default.contentsOfDirectory(atPath: target) == [], "\(name) -> \(link)")
            }
        }
    }

    /// CVE-2026-30892, CVE-2024-40635: the user that was asked for, or a refusal.
    @Test func usersAreReadOneWay() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "120")
            try await home.lunette(
                "exec", "c", "sh", "-c", "echo '1001:x:0:0::/:/bin/sh' >> /etc/passwd; echo 'zero:x:0:0::/:/bin/sh' >> /etc/passwd")
            let expected = ["0": "0", "1000": "1000", "app": "1000", "1001": "1001", "zero": "0", "1000:1000": "1000"]
            for (user, uid) in expected { #expect(try await home.lunette("exec", "-u", user, "c", "id", "-u").text == uid, "\(user)") }
            let asRoot = ["00", ":0", "4294967296", "nobody-here", "0x0", " 0", "root:root:root"]
            undefended("read by strtoul, these are root", asRoot.allSatisfy { NaiveRuntime.id($0) == 0 })
            undefended("read by strtoul, -1 is an id", NaiveRuntime.id("-1") == .max && NaiveRuntime.id("1000:") == 1000)
            for user in asRoot + ["1000:", "-1", "4294967295", "2147483648", "70000", "1000:none"] {
                let finished = try await home.lunette("exec", "--user=\(user)", "c", "id", "-u", expecting: nil)
                #expect(finished.code != 0 && finished.text.isEmpty, "\(user) ran as \(finished.text)")
            }
        }
    }

    /// CVE-2022-36109, CVE-2023-25173: a group that may not read keeps its members out.
    @Test func supplementaryGroupsAreSet() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sleep", "60")
            try await home.lunette("exec", "c", "sh", "-c", "echo secret > /tmp/f; chgrp 2000 /tmp/f; chmod 0707 /tmp/f")
            #expect(try await home.lunette("exec", "-u", "app", "c", "cat", "/tmp/f", expecting: nil).code != 0)
            let read = try await home.lunette("exec", "-u", "redis", "c", "cat", "/tmp/f").text
            undefended("who hasn't the group reads what is kept from it", read == "secret", read)
            // Root's own groups of the host don't come along.
            #expect(try await home.lunette("exec", "c", "id", "-G").text == "0")
        }
    }

    @Test func usersAreLookedUpWithinBounds() async throws {
        try await withLunette { home in
            let fifo = try await home.makeRoot("fifo")
            try await Command.shell("rm \(fifo)/etc/passwd \(fifo)/etc/group && mkfifo \(fifo)/etc/passwd \(fifo)/etc/group").run()
            // Whoever opens it by name and waits goes on waiting.
            let waiting = try await Command("timeout", "0.2", "cat", "\(fifo)/etc/passwd").run(expecting: nil)
            undefended("a plain open of the FIFO waits for ever", waiting.code == 124, waiting.code)
            #expect(try await home.run(root: fifo, "echo started", user: "app").code != 0)
            let huge = try await home.makeRoot("huge")
            try await Command.shell("truncate -s 10G \(huge)/etc/passwd").run()
            let first = try await Command("head", "-c", "100000000", "\(huge)/etc/passwd").run().stdout.count
            undefended("a plain read of the file has no end in sight", first == 100_000_000, first)
            #expect(try await home.run(root: huge, "echo started", user: "app").code != 0)
            let outside = try await home.makeRoot("outside")
            try await Command.shell(
                "printf 'app:x:0:0::/:/bin/sh\\n' > \(home.folder)/passwd; ln -sf \(home.folder)/passwd \(outside)/etc/passwd"
            ).run()
            let followed = try String(contentsOfFile: "\(outside)/etc/passwd", encoding: .utf8)
            undefended("a look-up by name finds the host's file, where app is root", followed.hasPrefix("app:x:0:"), followed)
            #expect(try await home.run(root: outside, "id -u", user: "app").code != 0)
        }
    }

    /// A node that an image brings must not open, whatever it names.
    @Test func deviceNodesOfARootDoNotOpen() async throws {
        try await withLunette { home in
            let root = try await home.makeRoot("nodes")
            try await Command.shell(
                "mknod \(root)/mem c 1 1; mknod \(root)/zero c 1 5; mknod \(root)/disk b 254 0; chmod 666 \(root)/mem \(root)/zero \(root)/disk"
            ).run()
            // In a root that isn't nodev they do.
            let read = try await Command.shell("head -c 1 \(root)/zero | od -An -tx1").run().text
            undefended("a node opens where it may", read == " 00", read)
            let finished = try await home.run(root: root, "for n in mem zero disk; do cat < /$n > /tmp/x && echo opened $n; done; true")
            #expect(!finished.text.contains("opened"), "\(finished.text)")
        }
    }

    @Test func namesThatAreNotNamesAreRefused() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await Command.shell("mkdir -p \(home.folder)/naive/containers && cd \(home.folder)/naive/containers && mkdir ../x").run()
            undefended("as a folder's name, an id leads out", FileManager.default.fileExists(atPath: "\(home.folder)/naive/x"))
            let printed = try await Command("printf", "%s", "a\u{1b}[31m").run().text
            undefended("printed as it is, a name drives the terminal", printed.contains("\u{1b}"))
            for name in ["..", "../x", "a/b", "-x", "", "ä", "a b", "a\u{1b}[31m", String(repeating: "a", count: 4096)] {
                let finished = try await home.lunette("create", "--name=\(name)", image, "true", expecting: nil)
                #expect(finished.code != 0, "\(name)")
                #expect(!finished.errorText.contains("\u{1b}"), "an escape sequence reached the terminal")
            }
            // A label is free text; what shows it must not act it out.
            try await home.lunette("create", "--name", "c", "--label", "note=\u{1b}[2J\u{1b}]0;owned\u{7}", image, "true", expecting: nil)
            #expect(!(try await home.lunette("ps", "-a").text.contains("\u{1b}")))
        }
    }
}
