import Foundation
import LunetteSpec

/// First inputs: what the planner makes is the best start for who reads plans.
enum Seeds {
    static let inputs: [LaunchInputs] = [
        LaunchInputs(
            containerID: "c", root: .overlay(store: .path("/store"), lowers: ["a", "b"], upper: "u", work: "w"),
            cgroupsV1: ["/sys/fs/cgroup/memory/c", "/sys/fs/cgroup/pids/c"], cgroupView: .v1(["memory", "cpu,cpuacct"]),
            seccompProgram: [6, 0, 0, 0, 0, 0, 0xff, 0x7f], keepsStdinOpen: true),
        LaunchInputs(containerID: "c", root: .directory(.path("/root")), cgroupV2: "/sys/fs/cgroup/c", cgroupView: .v2),
    ]

    /// Inputs of `shim` as FakeKernel/harness.c takes them.
    static func write(to folder: String) throws {
        func save(_ name: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(filePath: "\(folder)/\(name)")) }
        let args: Value = ["image": "x", "args": ["/bin/true"], "env": ["A": "b"], "user": "1000:5"]
        let more: [Value] = [
            [:], ["tty": true, "init": false], ["network": "host", "security": ["user_namespace": false]],
            ["mounts": [["source": "/data", "target": "/data", "type": "bind"]], "hostname": "h", "stdin": true],
        ]
        for (number, change) in more.enumerated() {
            let spec = try RuntimeSpec(
                container: ContainerSpec(args.merged(with: change)), image: nil,
                facts: HostFacts(containerID: String(repeating: "a", count: 64), idRange: 100_000..<165_536, rootPath: "rootfs"))
            for (kind, inputs) in inputs.enumerated() {
                var plan = try LaunchPlanner.plan(spec, inputs)
                if number == 1 {
                    var listened = spec
                    listened.linux.seccomp = .profile(
                        try SeccompProfile(
                            [
                                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
                                "syscalls": [["names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"]],
                            ], dialect: .oci))
                    plan.process.seccompListener = SeccompListenerPlan(listened, containerID: "c", bundle: "/b", status: .creating)
                }
                let bytes = try plan.encoded()
                let head = [UInt8(0), UInt8(bytes.count & 0xff), UInt8(bytes.count >> 8)]
                // The shim itself, the namespace stage, pid 1, the program's process, its courier, an exec's join and program; nothing fails.
                for children: UInt8 in [0, 1, 3, 7, 15, 2, 6] {
                    let news: [UInt8] = children & 1 == 1 ? [] : (0..<400).map { UInt8(truncatingIfNeeded: $0 &* 37) }
                    try save("plan-\(number)-\(kind)-\(children)", head + bytes + [UInt8](repeating: 0, count: 9) + [children] + news)
                }
            }
        }
    }
}
