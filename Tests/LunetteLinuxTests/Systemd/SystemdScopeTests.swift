import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

/// Against a real systemd: run by scripts/dev/test-in-vm, whose second boot has one as init.
@Suite(.requires(.root, .file("/run/systemd/private")), .serialized) struct SystemdScopeTests {
    private let layout = CgroupLayout.detect()!

    private func sleeper() throws -> ProcessDescriptor { try spawn(SpawnRequest(.path("/bin/sleep"), arguments: ["sleep", "1000"])) }

    /// Up to ten seconds.
    private func waitUntil(_ condition: () -> Bool) {
        for _ in 0..<500 where !condition() { SystemClock.block(seconds: 0.02) }
    }

    private func resources() throws -> RuntimeSpec.Resources {
        try RuntimeSpec.Resources([
            "memory": ["limit": 67_108_864], "pids": ["limit": 33], "cpu": ["shares": 512, "quota": 25000, "period": 100_000, "cpus": "0"],
        ])
    }

    @Test func aScopeIsMadeLimitedChangedAndStopped() throws {
        let systemd = try SystemdConnection()
        let scope = SystemdScope(slice: "lunette-test.slice", prefix: "lunette", name: "a\(getpid())")
        let child = try sleeper()
        let path = try scope.start(
            on: systemd, pid: child.pid, description: "a test of Lunette's", resources: try resources(), version: layout.version)
        #expect(path == ["lunette.slice", "lunette-test.slice", scope.unit])
        let cgroup = CgroupSite(layout: layout, components: path).cgroup
        #expect(cgroup.processes() == [child.pid])
        #expect(try cgroup.apply(try resources()) == [])
        let directory = try #require(cgroup.directories.first)
        #expect(directory.read("memory.max")?.trimmed == "67108864")
        #expect(directory.read("pids.max")?.trimmed == "33")
        #expect(directory.read("cpu.max")?.trimmed == "25000 100000")
        #expect(directory.read("cpu.weight")?.trimmed == "20")
        #expect(directory.read("cpuset.cpus")?.trimmed == "0")
        var update = RuntimeSpec.Resources()
        update.pidsLimit = 44
        try scope.update(update, on: systemd, version: layout.version)
        // It answers first and writes then.
        waitUntil { directory.read("pids.max")?.trimmed == "44" }
        #expect(directory.read("pids.max")?.trimmed == "44", "systemd itself has written it")
        try scope.stop(on: systemd)
        #expect(WaitStatus(raw: try #require(try child.reap(block: true))).signal == SIGTERM)
        #expect(!cgroup.exists)
        try scope.stop(on: systemd)
    }

    @Test func whatIsDelegatedIsLeftToUs() throws {
        let systemd = try SystemdConnection()
        let scope = SystemdScope(slice: "", prefix: "lunette", name: "b\(getpid())")
        let child = try sleeper()
        let path = try scope.start(on: systemd, pid: child.pid, description: "a test of Lunette's", version: layout.version)
        #expect(path == ["system.slice", scope.unit])
        let cgroup = CgroupSite(layout: layout, components: path).cgroup
        let directory = try #require(cgroup.directories.first)
        #expect(
            directory.has("memory.max") && directory.has("cpuset.cpus") && directory.has("io.max"),
            "Delegate=yes hands every controller down")
        try cgroup.freeze()
        #expect(cgroup.isFrozen)
        #expect(try cgroup.killAll())
        _ = try child.reap(block: true)
        // systemd sees that it is empty and takes it away.
        waitUntil { !cgroup.exists }
        #expect(!cgroup.exists)
    }

    /// As a runtime does it: what joins while the holder is there keeps the scope, and nothing of the caller's is in it.
    @Test func aHolderKeepsTheScopeUntilSomebodyElseIsInIt() throws {
        let before = readSmallFile("/proc/self/cgroup")
        let holder = try ScopeHolder()
        let systemd = try SystemdConnection()
        let scope = SystemdScope(slice: "", prefix: "lunette", name: "e\(getpid())")
        let path = try scope.start(on: systemd, pid: holder.pid, description: "a test of Lunette's", version: layout.version)
        #expect(path == scope.expectedPath(below: systemd.controlGroup))
        let cgroup = CgroupSite(layout: layout, components: path).cgroup
        #expect(cgroup.processes() == [holder.pid])
        let child = try sleeper()
        try cgroup.directories[0].write("cgroup.procs", "\(child.pid)")
        holder.leave()
        #expect(cgroup.processes() == [child.pid])
        #expect(readSmallFile("/proc/self/cgroup") == before)
        try scope.stop(on: systemd)
        _ = try child.reap(block: true)
        #expect(!cgroup.exists)
    }

    @Test func aScopeWhoseHolderGoesIsTakenAway() throws {
        let systemd = try SystemdConnection()
        let scope = SystemdScope(slice: "a-b.slice", prefix: "", name: "memory")
        var holder: ScopeHolder? = try ScopeHolder()
        let path = try scope.start(on: systemd, pid: try #require(holder).pid, description: "a test of Lunette's", version: layout.version)
        // A name that would be taken for a file of the cgroup's: what systemd answers counts.
        #expect(path == ["a.slice", "a-b.slice", "_memory.scope"])
        let cgroup = CgroupSite(layout: layout, components: path).cgroup
        #expect(cgroup.exists)
        holder = nil
        waitUntil { !cgroup.exists }
        #expect(!cgroup.exists)
    }

    @Test func oneOfTheSameNameIsRefused() throws {
        let systemd = try SystemdConnection()
        let scope = SystemdScope(slice: "", prefix: "lunette", name: "c\(getpid())")
        let child = try sleeper()
        _ = try scope.start(on: systemd, pid: child.pid, description: "first", version: layout.version)
        let other = try sleeper()
        let error = #expect(throws: LunetteError.self) {
            _ = try scope.start(on: systemd, pid: other.pid, description: "second", version: layout.version)
        }
        #expect(error?.code == .alreadyExists, "\(error.map(String.init(describing:)) ?? "")")
        try scope.stop(on: systemd)
        for process in [child, other] {
            _ = try? process.signal(9)
            _ = try process.reap(block: true)
        }
    }

    @Test func systemdsOwnWordsReachTheUser() throws {
        let systemd = try SystemdConnection()
        let scope = SystemdScope(slice: "", prefix: "lunette", name: "d\(getpid())")
        let error = #expect(throws: LunetteError.self) {
            _ = try scope.start(on: systemd, pid: 0x3fff_fff0, description: "no such process", version: layout.version)
        }
        #expect(error?.message.contains("systemd") == true)
    }
}
