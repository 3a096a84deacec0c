import Foundation
import LunetteTesting
import Testing

/// An ordinary user's engine: the same commands, over the user's own ids.
@Suite(.requires(.ordinaryUser, .overlay, .userNamespaces))
struct RootlessTests {
    @Test func anOrdinaryUserRunsContainers() async throws {
        try await withLunette(.withRange) { home in
            let user = home.user!
            let image = try await home.load(.busybox)
            #expect(try await home.lunette("run", "--rm", image, "id", "-u").text == "0")
            #expect(try await home.lunette("run", "--rm", "-u", "33", image, "id", "-u").text == "33")
            let line = "echo up; trap 'exit 3' TERM; touch /mine; touch /theirs; chown 33:33 /theirs; while :; do sleep 0.2; done"
            try await home.lunette("run", "-d", "--name", "c", image, "sh", "-c", line)
            try await eventually("the log") { try await home.lunette("logs", "c").text == "up" }
            #expect(try await home.lunette("exec", "c", "stat", "-c", "%u", "/mine", "/theirs").lines == ["0", "33"])
            // On disk they are the user's own, and the user's further ids: nobody else's.
            let upper = "\(home.root)/containers/*/upper"
            #expect(
                try await Command.shell("stat -c %u \(upper)/mine \(upper)/theirs").run().lines == ["\(user.uid)", "\(user.firstID! + 32)"])
            try Data("hello".utf8).write(to: URL(fileURLWithPath: "\(home.folder)/in"))
            try await home.lunette("cp", "\(home.folder)/in", "c:/in")
            #expect(try await home.lunette("exec", "c", "sh", "-c", "stat -c %u /in; cat /in").lines == ["0", "hello"])
            try await home.lunette("cp", "c:/theirs", "\(home.folder)/out")
            #expect(try await Command("stat", "-c", "%u", "\(home.folder)/out").run().text == "\(user.uid)")
            #expect(try await home.lunette("stats", "--no-stream", "c").lines.count == 2)
            #expect(try await home.lunette("top", "c").text.contains("trap"))
            try await home.lunette("stop", "c")
            #expect(try await home.lunette("ps", "-a").text.contains("(3)"))
            // A stopped one's files are reached without a mount on the host.
            try await home.lunette("cp", "c:/in", "\(home.folder)/again")
            try await home.lunette("rm", "c")
            #expect(try await Command.shell("ls \(home.root)/containers").run().text == "")
        }
    }

    @Test func volumesAndFoldersOfTheUserAreMounted() async throws {
        try await withLunette(.withRange) { home in
            let user = home.user!
            let image = try await home.load(.busybox)
            let folder = "\(home.folder)/project"
            try await Command.shell("mkdir \(folder); echo source > \(folder)/file; chown -R \(user.uid):\(user.uid) \(folder)").run()
            let line = "stat -c %u /p/file; touch /p/made; touch /v/x; chown 5 /v/x; cat /p/file"
            let said = try await home.lunette("run", "--rm", "-v", "\(folder):/p", "-v", "data:/v", image, "sh", "-c", line).lines
            #expect(said == ["0", "source"])
            #expect(try await Command("stat", "-c", "%u", "\(folder)/made").run().text == "\(user.uid)")
            #expect(try await home.lunette("run", "--rm", "-v", "data:/v", image, "stat", "-c", "%u", "/v/x").text == "5")
            try await home.lunette("volume", "rm", "data")
            // What only root may read stays so: being root inside is no key.
            try await Command.shell("echo secret > \(folder)/roots; chmod 600 \(folder)/roots").run()
            let refused = try await home.lunette("run", "--rm", "-v", "\(folder):/p", image, "cat", "/p/roots", expecting: nil)
            #expect(refused.code != 0 && !refused.text.contains("secret"))
        }
    }

    /// `/usr` may be a file system of its own.
    @Test func aProgramOnAMountBelowRootFindsItsPlugins() async throws {
        try await withLunette(.withRange) { home in
            let tree = "\(home.folder)/tree"
            let program = try #require(LunetteHome.binary.hasPrefix(LunetteHome.package) ? LunetteHome.binary : nil)
            let line = "mkdir \(tree); mount --bind \(LunetteHome.package) \(tree); exec \"$@\""
            let words = ["unshare", "--mount", "--propagation", "private", "/bin/bash", "-euc", line, "--"] + home.user!.words
            let lunette = tree + program.dropFirst(LunetteHome.package.count)
            try await Command(words + [lunette, "volume", "create", "data"], environment: home.environment, workdir: home.folder).run()
        }
    }

    /// The next engine joins the namespace of the containers that go on, so that it can reach all of them.
    @Test func killingTheEngineLosesNothing() async throws {
        try await withLunette(.withRange) { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", image, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")
            let namespace = try namespaceOfEngine(home)
            for round in 0..<3 {
                try await home.lunette("exec", "-d", "-u", "33", "c", "sleep", "300")
                try await home.stopEngine(with: SIGKILL)
                #expect(try await home.lunette("exec", "c", "echo", "adopted").text == "adopted")
                #expect(try namespaceOfEngine(home) == namespace, "round \(round)")
                // Looking at a process of another id, and into the container's root, takes capabilities over its namespace.
                #expect(try await home.lunette("top", "c").lines.count { $0.contains("sleep 300") } == round + 1)
                try Data("\(round)".utf8).write(to: URL(fileURLWithPath: "\(home.folder)/f"))
                try await home.lunette("cp", "\(home.folder)/f", "c:/f")
                #expect(try await home.lunette("exec", "c", "cat", "/f").text == "\(round)")
            }
            try await home.stopEngine(with: SIGKILL)
            try await home.lunette("rm", "-f", "c")
            try await home.stopEngine()
            #expect(home.leaks() == [])
            // Nothing holds the old namespace any more: a new one, and the same files.
            #expect(try await home.lunette("run", "--rm", image, "id", "-u").text == "0")
        }
    }

    private func namespaceOfEngine(_ home: LunetteHome) throws -> String {
        let pid = try #require(home.enginePID())
        return try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/user")
    }

    /// Layers are written by a user who can set no trusted attribute: opaque folders and whiteouts must hide all the same.
    @Test func whatALayerHidesStaysHidden() async throws {
        try await withLunette(.withRange) { home in
            let image = try await home.load(.busybox)
            let script = """
                local image = require('lunette').image
                image.build { tag = 'lunette.test/a:1', from = '\(image)',
                  run = { 'mkdir -p /d/e && touch /d/old /d/e/older /gone && chown -R 33:33 /d' } }
                image.build { tag = 'lunette.test/b:1', from = 'lunette.test/a:1', run = { 'rm -r /d /gone && mkdir /d && touch /d/new && chown 7 /d' } }
                """
            try await home.script(script, timeout: .seconds(120))
            let look = ["sh", "-c", "ls -A /d; stat -c %u /d; ls /gone 2>/dev/null; true"]
            #expect(try await home.command(["run", "--rm", "lunette.test/b:1"] + look).run().lines == ["new", "7"])
            // Out as an archive and in again, so that the layer is unpacked from OCI's form.
            try await home.lunette("save", "-o", "\(home.folder)/b.tar", "lunette.test/b:1")
            try await withLunette(.withRange) { other in
                try await Command("mv", "\(home.folder)/b.tar", "\(other.folder)/b.tar").run()
                try await Command("chown", "\(other.user!.uid)", "\(other.folder)/b.tar").run()
                try await other.lunette("load", "-q", "-i", "\(other.folder)/b.tar")
                #expect(try await other.command(["run", "--rm", "lunette.test/b:1"] + look).run().lines == ["new", "7"])
            }
        }
    }

    /// Without a line in /etc/subuid there is one id: what needs more says so, with what to do.
    @Test func oneIdIsEnoughForRootsFilesOnly() async throws {
        try await withLunette(.withoutRange) { home in
            // The test image has a folder of uid 1000's.
            let unpacking = try await home.lunette("load", "-q", "-i", try await TestImage.busybox.folder(), expecting: nil)
            #expect(unpacking.code != 0 && unpacking.errorText.contains("/etc/subuid"), "\(unpacking.errorText)")
            let image = "lunette.test/one:1"
            try await home.lunette("build", "-t", image, "--copy", "\(try await home.makeRoot("one")):/")
            let map = try await home.lunette("run", "--rm", image, "cat", "/proc/self/uid_map").text
            #expect(map.split(whereSeparator: \.isWhitespace) == ["0", "0", "1"])
            #expect(try await home.lunette("run", "--rm", image, "sh", "-c", "touch /x && ls -d /dev/pts /x").lines == ["/dev/pts", "/x"])
            let refused = try await home.lunette("run", "--rm", "-u", "33", image, "true", expecting: nil)
            #expect(refused.code != 0)
            let info = try await home.lunette("system", "info").text
            #expect(info.contains("usermod --add-subuids"), "\(info)")
        }
    }

    /// v1 hierarchies in which the administrator made a folder for the user.
    @Test(.requires(.cgroupV1))
    func limitsHoldWhereACgroupWasGiven() async throws {
        try await withLunette(.withRange) { home in
            let user = home.user!
            let folders = ["memory", "pids", "freezer"].map { "/sys/fs/cgroup/\($0)/lunette-\(user.uid)" }
            home.cleanUp.add("the user's cgroups") {
                try await home.lunette("system", "info")
                try await home.stopEngine()
                for folder in folders { try await Command("find", folder, "-depth", "-type", "d", "-delete").run() }
            }
            for folder in folders { try await Command.shell("mkdir \(folder); chown -R \(user.uid) \(folder)").run() }
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", "-m", "64m", "--pids-limit", "50", image, "sleep", "300")
            #expect(try await home.lunette("exec", "c", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes").text == "67108864")
            #expect(try await Command.shell("cat \(folders[1])/lunette/*/pids.max").run().text == "50")
            #expect(try await home.lunette("stats", "--no-stream", "c").text.contains("64.0MiB"))
            try await home.lunette("pause", "c")
            try await home.lunette("resume", "c")
            let degraded = try await home.inspect("c")["degraded"] as? [String] ?? []
            #expect(degraded.contains { $0.contains("device list") } && !degraded.contains { $0.contains("memory is not") }, "\(degraded)")
            try await home.lunette("rm", "-f", "c")
            #expect(try await Command.shell("ls -d \(folders[0])/lunette/*/ 2>/dev/null || true").run().text == "")
        }
    }

    @Test func withoutACgroupInspectSaysSo() async throws {
        try await withLunette(.withRange) { home in
            let image = try await home.load(.busybox)
            let warning = "lunette: warning: no limit is enforced: this user was given no cgroup (docs/rootless.md)"
            let started = try await home.lunette("run", "-d", "--name", "c", "-m", "64m", image, "sleep", "300")
            #expect(started.errorText == warning)
            let degraded = try await home.inspect("c")["degraded"] as? [String] ?? []
            #expect(degraded.contains { $0.contains("no limit is enforced") }, "\(degraded)")
            #expect(try await home.lunette("update", "-m", "32m", "c").errorText == warning)
            try await home.lunette("create", "--name", "later", "-m", "64m", image, "true")
            #expect(try await home.lunette("start", "later").errorText == warning)
            // Also of one that is gone before anybody can ask; nobody is told of what wasn't asked for.
            #expect(try await home.lunette("run", "--rm", "--cpus", "1", image, "true").errorText == warning)
            #expect(try await home.lunette("run", "--rm", image, "true").errorText == "")
            let refused = try await home.lunette("pause", "c", expecting: 125)
            #expect(
                refused.errorText == """
                    lunette: pause container c: this user was given no cgroup
                    hint: an administrator can give this user a cgroup (docs/rootless.md)
                    """)
        }
    }

    /// The XDG base directories are the places where nothing else is said; a --root and a --state go before.
    @Test func placesAreTheUsersOwn() async throws {
        try await withLunette(.withRange) { home in
            try await Command.shell("mkdir -m 700 \(home.folder)/run; chown \(home.user!.uid) \(home.folder)/run").run()
            let places: [String: String?] = [
                "LUNETTE_ROOT": nil, "LUNETTE_STATE": nil, "HOME": home.folder, "XDG_DATA_HOME": "\(home.folder)/data",
                "XDG_RUNTIME_DIR": "\(home.folder)/run",
            ]
            let info = try await home.lunette("system", "info", environment: places).text
            #expect(info.contains("\(home.folder)/data/lunette") && info.contains("\(home.folder)/run/lunette"), "\(info)")
            #expect(info.contains("rootless"))
            try await home.stopEngine()
        }
    }

    /// Files of the store belong to ids: with another range they would be somebody else's.
    @Test func aStoreOfOtherIdsIsRefused() async throws {
        try await withLunette(.withRange) { home in
            let image = try await home.load(.busybox)
            try await home.stopEngine()
            let path = "\(home.folder)/user/subid"
            let text = try String(contentsOfFile: path, encoding: .utf8)
            let changed = text.replacing("\(home.user!.firstID!)", with: "\(home.user!.firstID! + 1)").replacing(":65536", with: ":65535")
            try Data(changed.utf8).write(to: URL(fileURLWithPath: path))
            let refused = try await home.lunette("images", expecting: 125)
            #expect(refused.errorText.contains("other ids") && refused.errorText.contains("hint:"), "\(refused.errorText)")
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            #expect(try await home.lunette("run", "--rm", image, "echo", "again").text == "again")
        }
    }
}
