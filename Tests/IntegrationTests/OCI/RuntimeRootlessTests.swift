import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// An ordinary user's `lunette-oci`: the user's own ids, no right on the machine. Runs on runc as well.
@Suite(.runtimeUnderTest, .requires(.ordinaryUser, .userNamespaces)) struct RuntimeRootlessTests {
    private static let both: [UserKind] = [.withRange, .withoutRange]

    @Test(arguments: both)
    func aConfigThatSpecWritesRuns(kind: UserKind) async throws {
        try await withBundle(user: kind) { bundle in
            let uid = try #require(bundle.user).uid
            try await bundle.call("spec", "--rootless")
            let written = try JSON.decode(Array(bundle.file("config.json").utf8), source: "config.json")
            #expect(written["linux"]?["uidMappings"] == [["containerID": 0, "hostID": .int(Int64(uid)), "size": 1]])
            bundle.config = written
            bundle.change(["process": ["terminal": false]])
            let seen = try await bundle.run("ids", "ns", "read=/proc/self/uid_map", "write=/tmp/x")
            #expect(seen["uid"] == "0 0 0")
            #expect(seen.words("read./proc/self/uid_map") == ["0", "\(uid)", "1"])
            #expect(try seen["ns.user"] != NamespaceKind.user.of("self") && seen["ns.pid"] != NamespaceKind.pid.of("self"))
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    /// Whichever process is one too many: no mount is to blame.
    @Test(arguments: 2...5) func aLimitOfProcessesIsNoMountsFault(_ limit: Int) async throws {
        guard OCIRuntime.underTest.isLunette else { return }
        let runtime = OCIRuntime(path: OCIRuntime.underTest.path, prefix: ["prlimit", "--nproc=\(limit)"])
        try await withBundle(on: runtime, user: .withoutRange) { bundle in
            bundle.mount(["destination": "/tmp", "type": "bind", "source": .string("\(bundle.rootfs)/tmp"), "options": ["bind"]])
            let done = try await bundle.create(expecting: nil)
            if done.code != 0 { #expect(done.errorText.contains("clone3") && !done.errorText.contains("mounts["), "\(done.errorText)") }
        }
    }

    @Test(arguments: both)
    func aContainerLivesItsWholeLife(kind: UserKind) async throws {
        try await withBundle(user: kind) { bundle in
            let uid = try #require(bundle.user).uid
            bundle.change(["process": ["args": ["/probe", "print=ran", "pause"]]])
            try await bundle.create("--pid-file", "\(bundle.folder)/user/../pid")
            #expect(try await bundle.state()["status"] == "created")
            try await bundle.start()
            try await bundle.says("ran")
            let state = try await bundle.state()
            #expect(state["status"] == "running")
            if bundle.runtime.isLunette { #expect(state["owner"]?.stringValue?.hasPrefix("tester") == true) }
            #expect(try await bundle.call("exec", bundle.id, "/bin/id", "-u").text == "0")
            try await bundle.call("exec", bundle.id, "/bin/sh", "-c", "echo mine > /tmp/mine")
            #expect(try await Command("stat", "-c", "%u", "\(bundle.rootfs)/tmp/mine").run().text == "\(uid)")
            if bundle.runtime.isLunette {
                #expect(try await bundle.call("ps", "--format", "json", bundle.id).text == "[\(try await bundle.pid())]")
            }
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// Without a session there is a folder of the user's own, which nobody else may have made.
    @Test func withoutASessionStatesAreInAFolderOfTheUsersOwn() async throws {
        try await withBundle(user: .withoutRange) { bundle in
            guard bundle.runtime.isLunette else { return }
            let uid = try #require(bundle.user).uid
            let folder = "/tmp/lunette-oci-\(uid)"
            bundle.cleanUp.add("remove \(folder)") { _ = try await Command("rm", "-rf", folder).run() }
            func list(expecting code: Int32) async throws -> String {
                let words = bundle.runtime.prefix + [bundle.runtime.path, "list", "-q"]
                return try await Command(words, environment: ["XDG_RUNTIME_DIR": nil]).run(expecting: code).errorText
            }
            #expect(try await list(expecting: 0) == "")
            #expect(try await Command("stat", "-c", "%u %a", folder).run().text == "\(uid) 700")
            // Root of a namespace alone has /run, as ever: it would need one of its own.
            let asRoot = bundle.runtime.prefix + ["unshare", "--map-root-user", bundle.runtime.path, "--debug", "list", "-q"]
            let root = try await Command(asRoot, environment: ["XDG_RUNTIME_DIR": nil]).run(expecting: nil).errorText
            #expect(root.contains("state in /run/lunette-oci)"), "\(root)")
            chmod(folder, 0o755)
            #expect(try await list(expecting: 1).contains("others may get in\nhint: set XDG_RUNTIME_DIR"))
            chmod(folder, 0o700)
            chown(folder, 0, 0)
            #expect(try await list(expecting: 1).contains("it belongs to uid 0"))
            try await Command("rm", "-rf", folder).run()
            #expect(symlink(bundle.folder, folder) == 0)
            #expect(try await list(expecting: 1).contains("it is no folder"))
        }
    }

    /// The user's further ids are there, to be owned by and to be run as; nobody else's are.
    @Test func idsAreTheUsersOwn() async throws {
        try await withBundle(user: .withRange) { bundle in
            let user = try #require(bundle.user)
            bundle.change(["process": ["user": ["uid": 33, "gid": 34]]])
            // runc takes none from an ordinary user.
            if bundle.runtime.isLunette { bundle.change(["process": ["user": ["additionalGids": [35]]]]) }
            let seen = try await bundle.run("ids", "create=/tmp/new")
            #expect(seen["uid"] == "33 33 33")
            #expect(
                try await Command("stat", "-c", "%u:%g", "\(bundle.rootfs)/tmp/new").run().text
                    == "\(user.firstID! + 32):\(user.firstID! + 33)")
            // Somebody else's: newuidmap refuses, and so does the kernel.
            let stolen: Value = [
                ["containerID": 0, "hostID": .int(Int64(user.uid)), "size": 1], ["containerID": 1, "hostID": 1, "size": 100],
            ]
            bundle.change(["linux": ["uidMappings": stolen, "gidMappings": stolen]])
            try await bundle.refusal(mentioning: "newuidmap")
            bundle.change(["linux": ["uidMappings": [["containerID": 0, "hostID": 0, "size": 1]]]])
            try await bundle.refusal()
        }
    }

    /// Root inside is the user outside: what is root's on the machine stays so. Root's own container has it (the first line of the table).
    @Test(arguments: [.root] + both)
    func rootInsideIsNobodyOutside(kind: UserKind) async throws {
        try await withBundle(user: kind) { bundle in
            let secret = try bundle.makeFile("secret", "roots")
            chmod(secret, 0o600)
            chown(secret, 0, 0)
            bundle.mount(["destination": "/data", "type": "bind", "source": .string(bundle.folder), "options": ["rbind"]])
            bundle.shell("cat /data/secret; echo x > /data/secret; echo over")
            let finished = try await bundle.run(expecting: nil)
            #expect(
                finished.text.contains("over") && finished.text.contains("roots") == (kind == .root),
                "\(finished.text) \(finished.errorText)")
            #expect((bundle.file("secret") == "roots") == (kind != .root))
        }
    }

    /// What is hidden below a mount from the host can't be uncovered, and a read-only one not be written, whatever the capabilities inside. Where
    /// there is no user namespace both work.
    @Test(arguments: [UserKind.root, .withoutRange])
    func mountsOfTheHostAreLocked(kind: UserKind) async throws {
        try await withBundle(user: kind) { bundle in
            let folder = try await bundle.makeMountedFolder("source", options: "ro,nosuid,nodev")
            let sets = ["bounding", "effective", "permitted"].reduce(into: ValueMap()) { $0[$1] = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] }
            bundle.change(["process": ["capabilities": .map(sets)]])
            bundle.mount(["destination": "/data", "type": "bind", "source": .string(folder), "options": ["rbind"]])
            let script = """
                /bin/busybox mount -o remount,bind,rw /data && echo writable
                /bin/busybox umount /data/below && echo uncovered
                cat /data/below/file
                """
            bundle.shell("\(script); true")
            let finished = try await bundle.run()
            let seen = Set(finished.lines)
            #expect(seen == (kind == .root ? ["writable", "uncovered"] : ["lower"]), "\(finished.text) \(finished.errorText)")
        }
    }

    @Test func whatTakesRootIsRefusedByName() async throws {
        let lunette = OCIRuntime.underTest.isLunette
        try await withBundle(user: .withoutRange) { bundle in
            // No user namespace at all.
            let config = bundle.config
            bundle.config = OCIBundle.standard
            let said = try await bundle.refusal(mentioning: "linux.namespaces")
            if lunette { #expect(said.contains("spec --rootless"), "\(said)") }
            guard lunette else { return }
            bundle.config = config
            bundle.change(["process": ["rlimits": [["type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1_073_741_816]]]])
            try await bundle.refusal(mentioning: "process.rlimits[0].hard")
            bundle.config = config
            bundle.change(["linux": ["resources": ["memory": ["limit": 67_108_864]]]])
            try await bundle.refusal(mentioning: "delegated")
            bundle.config = config
            bundle.mount([
                "destination": "/data", "type": "bind", "source": .string(bundle.folder), "options": ["bind", "idmap"],
                "uidMappings": [["containerID": 0, "hostID": 5, "size": 1]], "gidMappings": [["containerID": 0, "hostID": 5, "size": 1]],
            ])
            try await bundle.refusal(mentioning: "id-map")
        }
    }

    @Test(.enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own words"))
    func withoutACgroupThisIsSaid() async throws {
        try await withBundle(user: .withRange) { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            let created = try await bundle.create()
            #expect(created.errorText.contains("no cgroup is delegated"), "\(created.errorText)")
            #expect(try await bundle.call("exec", bundle.id, "/bin/true", expecting: 1).errorText.contains("started"))
            try await bundle.start()
            let pause = try await bundle.call("pause", bundle.id, expecting: 1).errorText
            #expect(pause.contains(": it has no cgroup to freeze it by\nhint: have a cgroup delegated"), "\(pause)")
            // Nothing to do on v1, where the driver is refused.
            #expect(pause.contains("--systemd-cgroup") == !Requirement.cgroupV1.isMet, "\(pause)")
            let update = try await bundle.call("update", "--pids-limit", "5", bundle.id, expecting: 1).errorText
            #expect(update.contains(": it has no cgroup to hold its limits\nhint: have a cgroup delegated"), "\(update)")
            try await bundle.call("exec", "--detach", bundle.id, "/bin/sleep", "471241")
            try await eventually("two processes") {
                let listed = try await bundle.call("ps", "--format", "json", bundle.id).text
                return listed.contains(",")
            }
            try await bundle.call("kill", "--all", bundle.id, "KILL")
            try await bundle.becomes("stopped")
        }
    }

    /// As Podman names one, where nobody gave it away.
    @Test(.enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own words"))
    func aCgroupThatIsNobodysToMakeIsLeftOutAndSaid() async throws {
        try await withBundle(user: .withRange) { bundle in
            bundle.change(["linux": ["cgroupsPath": .string("/lunette-test/\(bundle.id)")]])
            let seen = try await bundle.run("ids")
            #expect(seen["uid"] == "0 0 0")
            #expect(seen.errors.contains("has no cgroup") && seen.errors.contains("lunette-test"), "\(seen.errors)")
            bundle.change(["linux": ["resources": ["pids": ["limit": 5]]]])
            try await bundle.refusal(mentioning: "lunette-test")
            bundle.change(["linux": ["resources": .null]])
            let strict = try await bundle.runtime.command(
                root: bundle.root, ["--rootless=false", "create", "--bundle", bundle.folder, bundle.id], workdir: bundle.folder
            ).run(expecting: nil)
            #expect(strict.code != 0 && strict.errorText.contains("permission denied"), "\(strict.errorText)")
        }
    }

    /// v1 hierarchies in which the administrator made a folder for the user.
    @Test(.requires(.cgroupV1), .enabled(if: OCIRuntime.underTest.isLunette, "is about a folder that lunette alone looks for"))
    func limitsHoldWhereACgroupWasGiven() async throws {
        try await withBundle(user: .withRange) { bundle in
            let uid = try #require(bundle.user).uid
            let folders = ["memory", "pids", "freezer"].map { "/sys/fs/cgroup/\($0)/lunette-\(uid)" }
            bundle.cleanUp.add("the user's cgroups") {
                for folder in folders { try await Command("find", folder, "-depth", "-type", "d", "-delete").run() }
            }
            for folder in folders { try await Command.shell("mkdir \(folder); chown -R \(uid) \(folder)").run() }
            bundle.change([
                "process": ["args": ["/probe", "pause"]],
                "linux": ["resources": ["memory": ["limit": 67_108_864], "pids": ["limit": 50]]],
            ])
            try await bundle.create()
            try await bundle.start()
            #expect(try await bundle.cgroup("memory") == "\(folders[0])/lunette-oci-\(bundle.id)")
            #expect(try await bundle.cgroupFile("memory.limit_in_bytes", of: "memory") == "67108864")
            #expect(try await bundle.cgroupFile("pids.max", of: "pids") == "50")
            try await bundle.call("update", "--pids-limit", "40", bundle.id)
            #expect(try await bundle.cgroupFile("pids.max", of: "pids") == "40")
            try await bundle.call("pause", bundle.id)
            #expect(try await bundle.state()["status"] == "paused")
            try await bundle.call("resume", bundle.id)
            try await bundle.call("delete", "--force", bundle.id)
            #expect(bundle.cgroups() == [])
        }
    }

    @Test(
        .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own fault points"),
        arguments: ["recorded", "spawned", "created", "saved"])
    func aKilledCreateIsDeletable(point: String) async throws {
        try await withBundle(user: .withRange) { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try bundle.write()
            let killed = try await bundle.runtime.command(
                root: bundle.root, ["create", "--bundle", bundle.folder, bundle.id], environment: ["LUNETTE_FAULT": "oci.create.\(point)"]
            ).run(expecting: nil)
            #expect(killed.signal == SIGKILL || killed.code == 137, "\(killed.errorText)")
            try await bundle.call("delete", "--force", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }
}
