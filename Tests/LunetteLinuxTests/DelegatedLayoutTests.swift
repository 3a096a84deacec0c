import Testing

@testable import LunetteLinux

@Suite struct DelegatedLayoutTests {
    private let legacy = CgroupLayout(
        version: .v1,
        hierarchies: [
            .init(path: "/sys/fs/cgroup/cpu,cpuacct", controllers: ["cpu", "cpuacct"]),
            .init(path: "/sys/fs/cgroup/memory", controllers: ["memory"]), .init(path: "/sys/fs/cgroup/pids", controllers: ["pids"]),
        ])
    private let unified = CgroupLayout(version: .v2, hierarchies: [.init(path: "/sys/fs/cgroup", controllers: [])])

    @Test func aFolderThatWasGivenGoesBeforeTheOwnCgroup() {
        let own = "5:pids:/user/1000\n4:memory:/\n3:cpu,cpuacct:/user/1000\n0::/x\n"
        let usable: Set = ["/sys/fs/cgroup/memory/lunette-1000", "/sys/fs/cgroup/cpu,cpuacct/user/1000", "/sys/fs/cgroup/memory"]
        let found = legacy.delegated(uid: 1000, own: own) { usable.contains($0) }
        #expect(
            found.hierarchies == [
                .init(path: "/sys/fs/cgroup/cpu,cpuacct/user/1000", controllers: ["cpu", "cpuacct"]),
                .init(path: "/sys/fs/cgroup/memory/lunette-1000", controllers: ["memory"]),
            ])
    }

    /// Of v2 only what the engine runs in counts: the kernel lets it move processes nowhere else.
    @Test func theOwnCgroupOfV2IsTheBaseWhereverTheEngineStandsInIt() {
        for own in ["0::/user.slice/a.service\n", "0::/user.slice/a.service/lunette-engine\n"] {
            let found = unified.delegated(uid: 1000, own: own) { $0 == "/sys/fs/cgroup/user.slice/a.service" }
            #expect(found.hierarchies.map(\.path) == ["/sys/fs/cgroup/user.slice/a.service"])
        }
        #expect(unified.delegated(uid: 1000, own: "0::/\n") { _ in true }.hierarchies == [])
        #expect(unified.delegated(uid: 1000, own: "0::/a\n") { _ in false }.hierarchies == [])
    }
}
