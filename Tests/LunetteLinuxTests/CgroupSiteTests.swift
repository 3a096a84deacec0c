import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite struct CgroupPathTests {
    @Test(
        arguments: [
            (nil, CgroupPath.components(["lunette-oci-c1"])), ("", .components(["lunette-oci-c1"])),
            ("/a/b", .components(["a", "b"])), ("/\u{301}a", .components(["\u{301}a"])),
            ("//a/./b/", .components(["a", "b"])), ("a/b", .components(["lunette-oci", "a", "b"])),
            ("x.slice:y:z", .components(["lunette-oci", "x.slice:y:z"])),
        ] as [(String?, CgroupPath)])
    func pathsAreReadAsTheSpecificationSays(_ text: String?, _ expected: CgroupPath) throws {
        #expect(try CgroupPath(text, id: "c1") == expected)
    }

    @Test(
        arguments: [
            (nil, CgroupPath.systemd(slice: "", prefix: "lunette", name: "c1")),
            ("machine.slice:libpod:abc", .systemd(slice: "machine.slice", prefix: "libpod", name: "abc")),
            ("machine.slice:libpod:\u{301}abc", .systemd(slice: "machine.slice", prefix: "libpod", name: "\u{301}abc")),
            (":docker:abc", .systemd(slice: "", prefix: "docker", name: "abc")),
        ] as [(String?, CgroupPath)])
    func systemdsFormIsReadForItsDriver(_ text: String?, _ expected: CgroupPath) throws {
        #expect(try CgroupPath(text, id: "c1", usesSystemd: true) == expected)
    }

    @Test(arguments: [
        ("/", false), ("/a/../b", false), ("/a/../\u{301}b", false), ("..", false), ("/a\0b", false), ("/a\nb", false),
        ("/" + String(repeating: "x", count: 256), false),
        ("/a", true), ("a:b", true), ("a:b:c:d", true), ("x:b:c", true), ("a.slice:b:", true), ("a.slice:b/../c:d", true),
    ])
    func wrongPathsAreRefusedByTheirField(_ text: String, _ usesSystemd: Bool) {
        do {
            _ = try CgroupPath(text, id: "c1", usesSystemd: usesSystemd)
            Issue.record("\(text) was taken")
        } catch {
            #expect(error.code == .invalidArgument && error.path == "linux.cgroupsPath")
        }
    }
}

/// The same on v1 and v2: scripts/dev/test-in-vm runs them again where v2 is all there is.
@Suite(.requires(.root), .serialized) struct CgroupSiteTests {
    private let layout = CgroupLayout.detect()!
    private let top = "lunette-test-\(getpid())-\(UInt32.random(in: 0...99999))"

    private func site(_ components: String...) -> CgroupSite { CgroupSite(layout: layout, components: [top] + components) }

    private func exists(_ components: String...) -> Bool {
        layout.hierarchies.contains { CgroupFile(path: ([$0.path, top] + components).joined(separator: "/"), controllers: []).exists }
    }

    private func directory(_ controller: String, of cgroup: ContainerCgroup) throws -> CgroupFile {
        try #require(cgroup.version == .v2 ? cgroup.directories.first : cgroup.directories.first { $0.controllers.contains(controller) })
    }

    private func root(_ controller: String) throws -> CgroupFile {
        let hierarchy = layout.hierarchies.first { layout.version == .v2 || $0.controllers.contains(controller) }
        return CgroupFile(path: try #require(hierarchy).path, controllers: [])
    }

    @Test func exactlyWhatWasMadeIsRemoved() throws {
        let outer = site("kept", "first")
        let announced = outer.missing()
        let first = try outer.create()
        #expect(first == announced)
        #expect(first.made.count == 3 * layout.hierarchies.count)
        #expect(CgroupOwnership(first.value) == first)
        let second = try site("kept", "second").create()
        #expect(second.made.count == layout.hierarchies.count, "the parents are the first one's")
        #expect(outer.cgroup.remove(owned: first).isEmpty)
        #expect(exists("kept", "second"), "a parent in use stays")
        #expect(!exists("kept", "first"))
        #expect(site("kept", "second").cgroup.remove(owned: second).isEmpty)
        #expect(exists("kept"), "it was not the second one's")
        #expect(outer.cgroup.remove(owned: first).isEmpty)
        #expect(!exists())
        #expect(outer.cgroup.remove(owned: first).isEmpty, "twice is harmless")
    }

    @Test func theRuntimesParentGoesWithWhoLeavesLast() throws {
        // Below a root of our own, so that no container of this machine is in the way.
        let root = site("root")
        let ofRoot = try root.create()
        defer { _ = root.cgroup.remove(owned: ofRoot) }
        let inner = CgroupLayout(
            version: layout.version,
            hierarchies: zip(layout.hierarchies, root.cgroup.directories).map { .init(path: $1.path, controllers: $0.controllers) })
        func below(_ components: String...) -> CgroupSite { CgroupSite(layout: inner, components: components) }
        let (first, second) = (below("lunette-oci", "first"), below("lunette-oci", "second"))
        let owned = try (first.create(), second.create())
        #expect(second.missing().made.count == inner.hierarchies.count)
        #expect(first.cgroup.remove(owned: owned.0).isEmpty)
        #expect(exists("root", "lunette-oci"))
        #expect(second.cgroup.remove(owned: owned.1).isEmpty)
        #expect(!exists("root", "lunette-oci"))
        // What is called so further down is somebody else's.
        let (others, ours) = (below("x", "lunette-oci"), below("x", "lunette-oci", "c"))
        let kept = try (others.create(), ours.create())
        #expect(ours.cgroup.remove(owned: kept.1).isEmpty)
        #expect(exists("root", "x", "lunette-oci"))
        #expect(others.cgroup.remove(owned: kept.0).isEmpty)
        #expect(!exists("root", "x"))
    }

    @Test func whatTheContainerMadeBelowGoesWithIt() throws {
        let site = site("c")
        let owned = try site.create()
        for directory in site.cgroup.directories {
            #expect(mkdir(directory.path + "/own", 0o755) == 0)
            #expect(mkdir(directory.path + "/own/deeper", 0o755) == 0)
        }
        #expect(site.cgroup.remove(owned: owned).isEmpty)
        #expect(!exists())
    }

    @Test func anEmptyOneThatWasThereIsTakenButNotOwned() throws {
        let site = site("c")
        let others = try site.create()
        defer { _ = site.cgroup.remove(owned: others) }
        let owned = try site.create()
        #expect(owned.made.isEmpty)
        #expect(site.cgroup.remove(owned: owned).isEmpty)
        #expect(exists("c"))
        #expect(throws: LunetteError.self) { try site.create(takesEmpty: false) }
        #expect(exists("c"), "the refused one took nothing away")
    }

    @Test func oneWithProcessesOrFrozenIsRefused() throws {
        let site = site("c")
        let owned = try site.create()
        let child = try spawn(SpawnRequest(.path("/bin/sleep"), arguments: ["sleep", "1000"]))
        defer {
            // The end of a test that may have failed anywhere.
            _ = try? child.signal(9)
            _ = try? child.reap(block: true)
            _ = site.cgroup.remove(owned: owned)
        }
        try directory("memory", of: site.cgroup).write("cgroup.procs", "\(child.pid)")
        let occupied = #expect(throws: LunetteError.self) { try site.create() }
        #expect(occupied?.code == .conflict && occupied?.message.contains("\(child.pid)") == true)
        try root("memory").write("cgroup.procs", "\(child.pid)")
        try site.cgroup.freeze()
        let frozen = #expect(throws: LunetteError.self) { try site.create() }
        #expect(frozen?.code == .conflict && frozen?.message.contains("frozen") == true)
        try site.cgroup.thaw()
        #expect(try site.create().made.isEmpty)
    }

    /// The parent goes and comes with every container: nobody's may land below one without processors.
    @Test func manyAtOnceBelowAParentThatComesAndGoes() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for _ in 0..<25 {
                        let site = site("w\(worker)")
                        let owned = try site.create()
                        let cpuset = try directory("cpuset", of: site.cgroup)
                        if layout.version == .v1 {
                            for file in ["cpuset.cpus", "cpuset.mems"] { #expect(cpuset.read(file)?.trimmed.isEmpty == false) }
                        } else {
                            for file in ["cpuset.cpus", "memory.max", "pids.max", "cpu.max"] { #expect(cpuset.has(file)) }
                        }
                        #expect(site.cgroup.remove(owned: owned).isEmpty)
                        for hierarchy in layout.hierarchies { rmdir("\(hierarchy.path)/\(top)") }
                    }
                }
            }
            try await group.waitForAll()
        }
        for hierarchy in layout.hierarchies { rmdir("\(hierarchy.path)/\(top)") }
        #expect(!exists())
    }

    @Test func wantOfMemoryWakesWhoWatches() throws {
        let site = site("c")
        let owned = try site.create()
        defer { _ = site.cgroup.remove(owned: owned) }
        var resources = RuntimeSpec.Resources()
        resources.memory.limit = 8 << 20
        resources.memory.swap = 8 << 20
        #expect(try site.cgroup.apply(resources) == [])
        let events = try site.cgroup.events()
        #expect(try !events.wait(milliseconds: 0))
        let memory = try directory("memory", of: site.cgroup)
        let child = try spawn(
            SpawnRequest(
                .path("/bin/sh"),
                arguments: ["sh", "-c", "echo $$ >\(memory.path)/cgroup.procs; x=0123456789abcdef; while :; do x=$x$x; done"]))
        #expect(try events.wait(milliseconds: 30_000))
        try events.drain()
        #expect(WaitStatus(raw: try #require(try child.reap(block: true))).signal == SIGKILL)
        #expect(site.cgroup.outOfMemoryKills() == 1)
        #expect(events.isThere)
    }
}
