import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// Whose a cgroup is when several containers have been in it, one after the other or at once.
@Suite(.runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own defences"))
struct RuntimeCgroupClaimTests {
    /// Two containers that want one cgroup at the same moment: one gets it, and the other's failure leaves it alone.
    @Test func aCgroupIsOneContainersWhoeverElseWantsIt() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]], "linux": ["cgroupsPath": .string("/lunette-test-\(bundle.id)")]])
            try bundle.write()
            for _ in 0..<12 {
                let ids = ["\(bundle.id)-a", "\(bundle.id)-b"]
                let creating = try ids.map {
                    try bundle.runtime.command(root: bundle.root, ["create", "--bundle", bundle.folder, $0], workdir: bundle.folder).start()
                }
                var made: [String] = []
                for (id, command) in zip(ids, creating) {
                    let finished = try await command.wait()
                    if finished.code == 0 { made.append(id) } else { #expect(finished.errorText.contains("linux.cgroupsPath")) }
                }
                #expect(made.count == 1, "\(made)")
                for id in made { #expect(try await bundle.state(id: id)["status"] == "created") }
                for id in ids { try await bundle.call("delete", "--force", id) }
            }
        }
    }

    /// A `create` that died before it had its cgroup owns nothing in it: whoever has it by then stays.
    @Test(arguments: ["recorded", "planned", "made"])
    func whoeverTookADeadCreatesPlaceStays(point: String) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]], "linux": ["cgroupsPath": .string("/lunette-test-\(bundle.id)")]])
            try bundle.write()
            let dead = "\(bundle.id)-dead"
            let killed = try await bundle.runtime.command(
                root: bundle.root, ["create", "--bundle", bundle.folder, dead], environment: ["LUNETTE_FAULT": "oci.create.\(point)"],
                workdir: bundle.folder
            ).run(expecting: nil)
            #expect(killed.signal == SIGKILL)
            try await bundle.create()
            try await bundle.call("delete", dead)
            #expect(try await bundle.state()["status"] == "created")
            try await bundle.start()
            #expect(try await bundle.call("exec", bundle.id, "/probe", "print=there").text == "there")
            try await bundle.call("delete", "--force", bundle.id)
            // Directories that the dead one had made and marked when it died became the other's.
            #expect(bundle.cgroups() == [])
        }
    }

    /// What a stopped container has left looks free, and whoever takes it isn't that container's: not with its end, nor before.
    @Test(arguments: [false, true]) func whoeverMovedIntoAStoppedContainersCgroupStays(isDamaged: Bool) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            // The same id below another root has the same default place.
            let other = "\(bundle.folder)/other"
            func otherCall(_ arguments: String...) async throws -> Finished {
                try await bundle.runtime.command(root: other, arguments, workdir: bundle.folder).run(expecting: 0)
            }
            _ = try await otherCall("create", "--bundle", bundle.folder, bundle.id)
            _ = try await otherCall("start", bundle.id)
            #expect(try await bundle.call("ps", "-f", "json", bundle.id).text == "[]")
            try await bundle.call("kill", "--all", bundle.id, "KILL")
            if isDamaged { try bundle.makeFile("state/\(bundle.id)/state.json", "{\"version\": 99}") }
            try await bundle.call("delete", isDamaged ? "--force" : "--", bundle.id)
            #expect(try await otherCall("state", bundle.id).text.contains("\"running\""))
            _ = try await otherCall("delete", "--force", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// Other runtimes take an empty cgroup without asking for a mark, and an administrator moves processes about. With pid 1 of a pid namespace of its
    /// own everybody of a container has ended: who is in its cgroup then is somebody else's.
    @Test(arguments: ["first", "last"]) func whoeverWasMovedIntoAStoppedContainersCgroupLives(hierarchy: String) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            let folders = bundle.cgroups()
            let folder = try #require(hierarchy == "first" ? folders.first : folders.last)
            let stranger = try Command.shell("echo $$ > \(folder)/cgroup.procs && echo in && exec sleep 60").start()
            try await stranger.says("in")
            #expect(try await bundle.call("ps", "-f", "json", bundle.id).text == "[]")
            try await bundle.call("kill", "--all", bundle.id, "KILL")
            let deleted = try await bundle.call("delete", bundle.id)
            #expect(deleted.errorText.contains("its cgroup \(folder) stays: somebody else's processes are in it"), "\(deleted.errorText)")
            #expect(stranger.isRunning)
            #expect(bundle.cgroups() == [folder])
            stranger.signal(SIGKILL)
            _ = try await stranger.wait()
            try await eventually("it can be removed") { rmdir(folder) == 0 }
        }
    }

    /// Where it shares a pid namespace, whoever its pid 1 has left behind is its own and ends with it.
    @Test func whatAContainerWithoutAPidNamespaceLeftEndsWithIt() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["args": ["/bin/sh", "-c", "sleep 471243 & echo up; exec sleep 471244"]]
            ])
            bundle.withoutNamespace("pid")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("up")
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            #expect(try await bundle.call("ps", "-f", "json", bundle.id).text != "[]")
            try await bundle.call("delete", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// Whoever is in a container and may write its cgroup may hold the lock, until it is ended.
    @Test func aProcessOfItsOwnThatHoldsTheLockHoldsNoDeleteUp() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/bin/sh", "-c", "sleep 471245 & echo up; exec sleep 471246"]]])
            bundle.withoutNamespace("pid")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("up")
            // With the descriptor that the lock belongs to: what it left behind is in its cgroup, wherever it came from.
            let program = """
                import fcntl, os, sys, time
                for folder in sys.argv[1:]:
                    for name in ["cgroup.kill", "devices.allow", "memory.force_empty"]:
                        if os.path.exists(f"{folder}/{name}"): fcntl.flock(os.open(f"{folder}/{name}", os.O_WRONLY), fcntl.LOCK_EX)
                for folder in sys.argv[1:]: open(f"{folder}/cgroup.procs", "w").write(str(os.getpid()))
                print("held", flush=True); time.sleep(600)
                """
            let holder = try Command(["python3", "-c", program] + bundle.cgroups(), input: nil).start()
            try await holder.says("held")
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(try await holder.wait().signal == SIGKILL)
        }
    }

    /// A cgroup is everybody's to open, and so to lock.
    @Test func whoLocksACgroupsFolderKeepsNobodyOut() async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["cgroupsPath": .string("/lunette-test-\(bundle.id)")], "process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            let folders = bundle.cgroups()
            try await bundle.call("delete", "--force", bundle.id)
            for folder in folders { #expect(mkdir(folder, 0o755) == 0) }
            let locks = folders.map { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
            for lock in locks { undefended("anybody may lock it", flock(lock, LOCK_EX | LOCK_NB) == 0, errno) }
            try await bundle.create()
            try await bundle.call("delete", "--force", bundle.id)
            for lock in locks { close(lock) }
            for folder in folders { #expect(rmdir(folder) == 0) }
        }
    }
}
