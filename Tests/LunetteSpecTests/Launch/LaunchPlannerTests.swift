import LunetteSpec
import Testing

@Suite struct LaunchPlannerTests {
    static let id = String(repeating: "0123456789abcdef", count: 4)
    static let image = ImageProcessConfig(
        user: "redis", env: ["PATH=/usr/bin:/bin", "LANG=C"], entrypoint: ["/entry"], cmd: ["serve"], workingDir: "data")

    static func facts() -> HostFacts {
        HostFacts(
            containerID: id, idRange: 1_000_000..<1_065_536, rootPath: "rootfs", mountSources: [0: "/var/lib/lunette/volumes/data"],
            filesDirectory: "/run/lunette/containers/x", hardLimits: [7: 4096],
            devices: ["/dev/fuse": .init(type: "c", path: "/dev/fuse", major: 10, minor: 229)]
        )
    }

    static func inputs() -> LaunchInputs {
        LaunchInputs(
            containerID: id,
            root: .overlay(
                store: .path("/var/lib/lunette"), lowers: ["snapshots/bbb/fs", "snapshots/aaa/fs"], upper: "containers/x/upper",
                work: "containers/x/work"
            ),
            cgroupsV1: ["/sys/fs/cgroup/memory/lunette/x", "/sys/fs/cgroup/cpu/lunette/x"], cgroupView: .v1(["memory", "cpu,cpuacct"]),
            seccompProgram: Array(repeating: 6, count: 16),
            monitor: MonitorPlan(oomEvents: "/sys/fs/cgroup/memory/lunette/x/memory.oom_control")
        )
    }

    private func plan(
        _ spec: Value, image: ImageProcessConfig? = Self.image, facts: HostFacts = facts(), inputs: LaunchInputs = inputs()
    ) throws -> LaunchPlan {
        try LaunchPlanner.plan(try RuntimeSpec(container: try ContainerSpec(spec), image: image, facts: facts), inputs)
    }

    @Test func aPlainImage() throws {
        try Golden.compare(
            try plan(["image": "x"], facts: HostFacts(containerID: Self.id, idRange: 1_000_000..<1_065_536, rootPath: "rootfs"))
                .description, with: "plain.plan")
    }

    @Test func everythingAtOnce() throws {
        let spec: Value = [
            "image": "x", "name": "web", "args": ["a", "b"], "env": ["LANG": "de", "X": "1"], "user": "1000:33", "tty": true,
            "mounts": [
                ["type": "volume", "source": "data", "target": "/srv/deep/er"],
                ["type": "tmpfs", "target": "/srv", "options": ["size": "1MiB"]],
                ["type": "bind", "source": "/etc/ssl", "target": "/etc/ssl", "readonly": true, "options": ["exec": false]],
            ],
            "readonly_rootfs": true, "sysctls": ["net.core.somaxconn": 1024], "devices": ["/dev/fuse"], "rlimits": ["core": 0],
            "security": ["capabilities": ["drop": ["ALL"], "add": ["NET_BIND_SERVICE"]]],
        ]
        try Golden.compare(try plan(spec).description, with: "everything.plan")
    }

    @Test func hostNetworkOnCgroupV2() throws {
        var inputs = Self.inputs()
        inputs.cgroupsV1 = []
        inputs.cgroupV2 = "/sys/fs/cgroup/lunette/x"
        inputs.cgroupView = .v2
        try Golden.compare(try plan(["image": "x", "network": "host"], inputs: inputs).description, with: "host-network-v2.plan")
    }

    @Test func withoutUserNamespace() throws {
        var facts = Self.facts()
        facts.idRange = nil
        try Golden.compare(
            try plan(["image": "x", "security": ["user_namespace": false, "privileged": true]], facts: facts).description,
            with: "privileged.plan"
        )
    }

    @Test func aSeccompListenerIsPlannedWithItsState() throws {
        var spec = try RuntimeSpec(container: try ContainerSpec(["image": "x"]), image: Self.image, facts: Self.facts())
        spec.annotations = ["b": "2", "a": "\"1\""]
        spec.linux.seccomp = .profile(
            try SeccompProfile(
                [
                    "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock", "listenerMetadata": "m\n",
                    "syscalls": [["names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"]],
                ], dialect: .oci))
        var inputs = Self.inputs()
        // A filter that asks nobody would answer ENOSYS.
        #expect(throws: LunetteError.self) { try LaunchPlanner.plan(spec, inputs) }
        let listener = try #require(SeccompListenerPlan(spec, containerID: "c", bundle: "/b", status: .creating))
        inputs.seccompListener = listener
        let plan = try LaunchPlanner.plan(spec, inputs)
        #expect(plan.records.contains { $0.opcode == .seccompListener })
        let state = listener.before + "7" + listener.between + "7" + listener.after
        #expect(
            try JSON.decode(Array(state.utf8), source: "state") == [
                "ociVersion": .string(RuntimeSpec.version), "fds": ["seccompFd"], "pid": 7, "metadata": "m\n",
                "state": [
                    "ociVersion": .string(RuntimeSpec.version), "id": "c", "status": "creating", "pid": 7, "bundle": "/b",
                    "annotations": ["a": "\"1\"", "b": "2"],
                ],
            ])
    }

    @Test func aSharedNamespaceIsJoinedWithItsOwner() throws {
        var facts = Self.facts()
        facts.joins = [.init(.user, path: "/proc/7/ns/user"), .init(.network, path: "/proc/7/ns/net")]
        var inputs = Self.inputs()
        inputs.joinedIDBase = 2_000_000
        let plan = try plan(["image": "x", "network": "container:other"], facts: facts, inputs: inputs)
        guard case .namespaces(let namespaces) = plan.steps[0] else { throw LunetteError(.internal, "first step") }
        #expect(namespaces.join.map(\.kind) == [.user, .network])
        #expect(
            !namespaces.create.contains(.user) && !namespaces.create.contains(.network)
                && namespaces.create.contains([.pid, .mount, .ipc, .uts, .cgroup]))
        #expect(namespaces.uidMappings.isEmpty)
        #expect(!plan.steps.contains(.raiseLoopback), "the network is somebody else's")
        for case .openOverlay(let overlay) in plan.steps { #expect(overlay.ownerUID == 2_000_000) }
    }

    /// kernel-notes §1: the order in which a launch works.
    @Test func stepsComeInTheOrderThatWorks() throws {
        let steps = try plan(["image": "x", "readonly_rootfs": true, "mounts": [["type": "tmpfs", "target": "/tmp"]]]).steps
        func index(_ what: String, _ matches: (LaunchStep) -> Bool) throws -> Int {
            let found = steps.firstIndex(where: matches)
            return try #require(found, "\(what)")
        }
        let root = try index("root") { if case .attachRoot = $0 { true } else { false } }
        let proc = try index("proc") { if case .mount(let plan) = $0 { plan.type == "proc" } else { false } }
        let pivot = try index("pivot") { $0 == .pivotRoot }
        let mask = try index("mask") { if case .maskPath = $0 { true } else { false } }
        if case .namespaces = steps[0] {} else { Issue.record("namespaces are not first") }
        #expect(root < proc && proc < pivot && pivot < mask)
        #expect(steps.last == .makeRootReadonly)
        for case .mount(let mount) in steps[pivot...] { Issue.record("\(mount.target) is mounted after the old root went") }
    }

    @Test func noMountOutranksWhatItNeeds() throws {
        let steps = try plan([
            "image": "x",
            "mounts": [["type": "tmpfs", "target": "/a/b/c"], ["type": "tmpfs", "target": "/a"], ["type": "tmpfs", "target": "/a/b"]],
        ]).steps
        let targets = steps.compactMap { step in
            if case .mount(let mount) = step, mount.target.hasPrefix("/a") { mount.target } else { nil }
        }
        #expect(targets == ["/a", "/a/b", "/a/b/c"])
    }

    @Test func everyTreeIsRestricted() throws {
        let steps = try plan([
            "image": "x", "devices": ["/dev/fuse"],
            "mounts": [
                ["type": "volume", "source": "data", "target": "/d"],
                ["type": "bind", "source": "/srv", "target": "/srv", "readonly": true],
            ],
        ]).steps
        for case .openTree(let tree) in steps {
            if case .path(let path) = tree.source, path.hasPrefix("/dev/") {
                #expect(tree.attributes.contains([.nosuid, .noexec]) && tree.refusesSymlinks && tree.expectation != .anything, "\(path)")
            } else {
                #expect(tree.attributes.contains(.nodev), "\(tree.source)")
                // The engine's own three files are the container's by owner: where they lie may not be id-mappable.
                let isOwnFile = tree.expectation == .regularFile
                #expect(tree.mapping == (isOwnFile ? .none : .container), "\(tree.source)")
            }
        }
        for case .openTree(let tree) in steps where tree.source == .path("/srv") {
            #expect(tree.attributes.contains([.readonly, .nosuid]) && tree.recursive)
        }
        for case .mount(let mount) in steps where ["/proc", "/sys", "/dev"].contains(mount.target) {
            #expect(mount.refusesSymlinks && mount.attributes.contains([.nosuid, .noexec]), "\(mount.target)")
        }
    }

    @Test func entrypointAndArgumentsMergeAsDockers() throws {
        func arguments(_ change: Value, _ image: ImageProcessConfig = Self.image) throws -> [String] {
            try plan((["image": "x"] as Value).merged(with: change), image: image).process.arguments
        }
        #expect(try arguments([:]) == ["/entry", "serve"])
        #expect(try arguments(["args": ["a"]]) == ["/entry", "a"])
        #expect(try arguments(["entrypoint": ["/e"]]) == ["/e"])
        #expect(try arguments(["entrypoint": ["/e"], "args": ["a"]]) == ["/e", "a"])
        #expect(try arguments(["entrypoint": [], "args": ["a"]]) == ["a"])
        #expect(try arguments([:], ImageProcessConfig(cmd: ["sh"])) == ["sh"])
        #expect(throws: LunetteError.self) { try arguments([:], ImageProcessConfig()) }
    }

    @Test func environmentUserAndFolderComeFromImageThenSpec() throws {
        let process = try plan(["image": "x", "env": ["LANG": "de", "B": "2"], "hostname": "h"]).process
        #expect(process.environment == ["PATH=/usr/bin:/bin", "HOSTNAME=h", "LANG=de", "B=2"])
        #expect(process.user == "redis")
        #expect(process.workingDirectory == "/data")
        #expect(process.rlimits == [ResourceLimit(resource: 7, soft: 1024, hard: 4096)])
        #expect(process.capabilities.inheritable == 0 && process.capabilities.ambient == 0)
        #expect(process.capabilities.bounding == Capability.defaults.mask)
        #expect(try plan(["image": "x", "user": 5]).process.user == "5")
        #expect(try plan(["image": "x"], image: ImageProcessConfig(cmd: ["x"])).process.user == "0")
    }

    @Test func aHostileImageConfigIsRefused() {
        for image in [
            ImageProcessConfig(user: "00", cmd: ["x"]), ImageProcessConfig(user: "4294967296", cmd: ["x"]),
            ImageProcessConfig(user: "70000", cmd: ["x"]),
            ImageProcessConfig(cmd: ["x\u{0}"]), ImageProcessConfig(cmd: [""]),
            ImageProcessConfig(cmd: ["x"], workingDir: "/proc/self/fd/9"),
            ImageProcessConfig(cmd: ["x"], workingDir: "../../x"),
        ] { #expect(throws: LunetteError.self) { try plan(["image": "x"], image: image) } }
    }

    @Test func anExecTakesTheContainersWordsForTheRest() throws {
        var arguments = try FieldReader(["args": ["id"], "user": "7:8", "env": ["LANG": "fr"], "tty": true])
        let exec = try ExecSpec(reading: &arguments)
        var container = try RuntimeSpec(container: try ContainerSpec(["image": "x"]), image: Self.image, facts: Self.facts())
        container.process?.env.append("HOME=/home/redis")
        let plan = try LaunchPlanner.exec(exec, in: container, seccompProgram: [1], cgroupsV1: ["/c"])
        #expect(plan.process.arguments == ["id"])
        #expect(plan.process.user == "7:8")
        #expect(plan.process.workingDirectory == "/data")
        #expect(plan.process.environment == ["PATH=/usr/bin:/bin", "HOSTNAME=0123456789ab", "LANG=fr", "TERM=xterm"])
        #expect(
            plan.process.capabilities.bounding == Capability.defaults.mask && plan.process.noNewPrivileges
                && plan.process.seccompProgram == [1])
        #expect(plan.cgroupsV1 == ["/c"])
    }

    private func bundlePlan(_ change: Value) throws -> LaunchPlan {
        let base: Value = [
            "ociVersion": "1.2.0", "root": ["path": "rootfs"], "process": ["args": ["/x"], "cwd": "/work", "user": ["uid": 0, "gid": 0]],
            "linux": ["namespaces": [["type": "mount"]], "readonlyPaths": ["/proc/sys"]],
        ]
        let inputs = LaunchInputs(containerID: "c", root: .directory(.path("/b/rootfs")), handover: HandoverPlan(), bundle: "/b")
        return try LaunchPlanner.plan(try RuntimeSpec(base.merged(with: change)), inputs)
    }

    @Test func aReadonlyRootsWorkingDirectoryIsMadeBeforeItIsReadonly() throws {
        let plan = try bundlePlan(["root": ["readonly": true]])
        let made = try #require(plan.steps.firstIndex(of: .makeDirectory(path: "/work", mode: 0o755)))
        let pivoted = try #require(plan.steps.firstIndex(of: .pivotRoot))
        let closed = try #require(plan.steps.firstIndex(of: .makeRootReadonly))
        #expect(pivoted < made && made < closed)
        #expect(plan.fields[made] == "process.cwd")
        // Else the program's own process makes it.
        let writable = try bundlePlan([:])
        #expect(!writable.steps.contains(.makeDirectory(path: "/work", mode: 0o755)))
    }

    @Test(
        arguments: [
            ([["destination": "/a", "options": ["remount"]]], "mounts[0].options: remount: nothing is mounted on /a"),
            (
                [["destination": "/a", "type": "tmpfs"], ["destination": "/b", "options": ["remount"]]],
                "mounts[1].options: remount: nothing is mounted on /b"
            ),
            (
                [["destination": "/a", "type": "tmpfs"], ["destination": "/a", "options": ["remount", "size=1m"]]],
                "mounts[1].options: \"size=1m\" can't be changed by a remount, which isn't built for it"
            ),
            ([["destination": "/a", "type": "tmpfs"], ["destination": "/a/", "options": ["remount"]]], nil),
            ([["destination": "/a", "options": ["remount", "ro"]]], nil),
        ] as [(Value, String?)])
    func aRemountThatWouldChangeNothingIsRefused(_ mounts: Value, _ message: String?) {
        do {
            _ = try bundlePlan(["mounts": mounts])
            #expect(message == nil)
        } catch { #expect((error as? LunetteError)?.description == message) }
    }

    @Test func ociWordsGoOverTheRest() throws {
        let spec = try RuntimeSpec(
            container: try ContainerSpec([
                "image": "x", "oci": ["process": ["oomScoreAdj": 100], "linux": ["maskedPaths": ["/proc/kcore"]]],
            ]), image: Self.image,
            facts: Self.facts()
        )
        #expect(spec.process?.oomScoreAdj == 100)
        #expect(spec.linux.maskedPaths == ["/proc/kcore"])
        #expect(spec.linux.seccomp == .standard, "what oci doesn't name stays")
        #expect(throws: LunetteError.self) { try plan(["image": "x", "oci": ["process": ["oomScoreAdj": 5000]]]) }
    }

    @Test(
        arguments: [
            ["hooks": ["poststop": [["path": "/x"]]]], ["linux": ["rootfsPropagation": "shared"]],
            ["process": ["apparmorProfile": "x"]], ["process": ["selinuxLabel": "x"]],
            ["process": ["capabilities": ["bounding": ["CAP_X"]]]], ["linux": ["namespaces": [["type": "pid"]]]],
            ["mounts": [["destination": "/x", "type": "ext4", "source": "/dev/sda"]]],
            ["mounts": [["destination": "/x", "type": "bind", "source": "/x", "options": ["rshared"]]]],
        ] as [Value])
    func whatAPlanCannotSayIsRefused(_ oci: Value) throws {
        #expect(throws: LunetteError.self) { try plan(["image": "x", "oci": oci]) }
    }

    @Test func aHundredThousandMountsAreAnError() throws {
        var spec = try RuntimeSpec(container: try ContainerSpec(["image": "x"]), image: Self.image, facts: Self.facts())
        spec.mounts += (0..<100_000).map { .init(destination: "/m\($0)", type: "bind", source: "/srv", options: ["rbind"]) }
        #expect(throws: LunetteError.self) { try LaunchPlanner.plan(spec, Self.inputs()) }
    }

    @Test func everyPlanEncodes() throws {
        for spec: Value in [["image": "x"], ["image": "x", "network": "host", "tty": true, "readonly_rootfs": true]] {
            #expect(!(try plan(spec).encoded().isEmpty))
        }
    }
}
