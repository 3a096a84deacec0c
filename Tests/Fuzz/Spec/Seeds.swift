import Foundation
import LunetteAPI
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
    static func writePlans(to folder: String) throws {
        func save(_ name: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(filePath: "\(folder)/\(name)")) }
        /// One input for each process that a launch has: the shim itself, the namespace stage, pid 1, the program's process, its courier, an
        /// exec's join and program; nothing fails.
        func save(_ name: String, plan bytes: [UInt8]) throws {
            let head = [UInt8(0), UInt8(bytes.count & 0xff), UInt8(bytes.count >> 8)]
            for children: UInt8 in [0, 1, 3, 7, 15, 2, 6] {
                let news: [UInt8] = children & 1 == 1 ? [] : (0..<400).map { UInt8(truncatingIfNeeded: $0 &* 37) }
                try save("\(name)-\(children)", head + bytes + [UInt8](repeating: 0, count: 9) + [children] + news)
            }
        }
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
                try save("plan-\(number)-\(kind)", plan: try plan.encoded())
            }
        }
        for (name, isPrivileged) in [("root", true), ("user", false)] {
            try save("sandbox-\(name)", plan: try sandbox(isPrivileged: isPrivileged).encoded())
        }
    }

    /// Everything that only a sandbox's plan has: an attendant, a tree's layer in memory, Landlock, and the trees of an ordinary user.
    private static func sandbox(isPrivileged: Bool) throws(LunetteError) -> LaunchPlan {
        var facts = SandboxFacts(
            directory: "/src", home: "/home", userName: "u", uid: isPrivileged ? 0 : 1000, gid: isPrivileged ? 0 : 1000,
            isPrivileged: isPrivileged)
        facts.system = [.tree(path: "/usr", kind: .directory), .link(path: "/bin", target: "usr/bin")]
        for path in ["/src", "/opt"] { facts.found[path] = .init(path: path, kind: .directory) }
        facts.landlockABI = 7
        facts.seccompProgram = [6, 0, 0, 0, 0, 0, 0xff, 0x7f]
        facts.listenerProgram = facts.seccompProgram
        if isPrivileged { facts.limits = .cgroup(v1: ["/sys/fs/cgroup/pids/s"], v2: nil, oomEvents: nil) }
        var spec = SandboxSpec(args: ["/bin/true"])
        (spec.allowWrite, spec.privateWrite, spec.hide) = (["/src"], ["/opt"], ["/src/.git"])
        (spec.connectPorts, spec.reportsDenied) = ([443], true)
        return try SandboxPlanner.plan(spec, facts)
    }

    /// Inputs of `wire`: a request for each function, with each of its arguments.
    static func writeFrames(to folder: String) throws {
        for function in APIRegistry.engineFunctions {
            var arguments = ValueMap()
            for argument in function.arguments { arguments[argument.name] = "x" }
            let context: Value = ["id": "i", "version": 1, "deadline": 1.5, "cause": ["c"], "script": "s.lua", "line": 1, "files": 0]
            let frame = WireFrame.request(id: 1, method: function.name, params: [.map(arguments), context]).encoded
            try Data([7] + frame).write(to: URL(filePath: "\(folder)/\(function.name)"))
        }
        let others: [WireFrame] = [
            .response(id: 1, error: LunetteError(.notFound, "x"), result: .null), .notification(method: WireMethod.credit, params: [1, 2]),
        ]
        try Data([255] + others.flatMap(\.encoded)).write(to: URL(filePath: "\(folder)/others"))
    }
}
