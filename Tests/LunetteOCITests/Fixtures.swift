import LunetteLinux
import LunetteSpec

@testable import LunetteOCI

enum ContainerCgroupFixture {
    /// Two hierarchies that don't exist.
    static let v1 = ContainerCgroup(
        version: .v1,
        directories: [
            CgroupFile(path: "/nonexistent/memory/c", controllers: ["memory"]),
            CgroupFile(path: "/nonexistent/cpu/c", controllers: ["cpu", "cpuacct"]),
        ])
}

extension ContainerRecord {
    /// A container that nothing stands behind.
    static func fixture(id: String = "c1") -> ContainerRecord {
        ContainerRecord(
            id: id, bundle: "/b", rootfs: "/b/rootfs", createdAt: 1_795_437_633.5,
            creator: ProcessIdentity(pid: 1, startTime: 0, bootID: "other"),
            cgroup: CgroupRecord(ContainerCgroupFixture.v1, owned: CgroupOwnership(made: ["/nonexistent/memory/c"]), isTaken: true), uid: 0,
            annotations: ["org.a": "1", "org.b": "zwei"])
    }
}
