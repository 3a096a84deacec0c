import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite(
    "The shim mounts what the plan says, inside the root", .serialized, .requires(.root, .overlay, .userNamespaces, .file("/bin/busybox")))
struct ShimMountTests {
    private func insert(_ steps: inout [LaunchStep], host: [LaunchStep] = [], initial: [LaunchStep]) {
        steps.insert(contentsOf: host, at: 3)
        let pivot = steps.firstIndex(of: .pivotRoot)!
        steps.insert(contentsOf: initial, at: pivot)
    }

    @Test func nothingShowsInTheHostsMountTable() async throws {
        let shows = try await NaiveRuntime.mountShowsOutside()
        undefended("a mount shows outside a namespace that shares its changes", shows)
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sleep", "100"]))
        _ = try harness.created()
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        #expect(!mounts.contains(harness.folder))
    }

    @Test func masksHideAndReadonlyPathsRefuse() throws {
        let outcome = try ShimHarness().run(
            "wc -c < /proc/kcore; ls /proc/acpi /sys/firmware | grep -v : ; echo 1 > /proc/sys/net/ipv4/ip_forward; echo $?; touch /sys/x; cat /proc/sys/net/ipv4/ping_group_range"
        )
        #expect(
            outcome.stdout.split(separator: "\n").map(String.init) == ["0", "", "1", "0\t65535"].filter { !$0.isEmpty }
                || outcome.stdout.contains("0\t65535"))
        #expect(outcome.stderr.contains("ip_forward: Read-only file system"))
        #expect(outcome.stderr.contains("/sys/x: Read-only file system"))
    }

    @Test func theRootIsReadonlyWhenAskedFor() throws {
        let harness = try ShimHarness()
        let outcome = try harness.run(
            harness.plan(["sh", "-c", "touch /x; echo $?; touch /dev/shm/y; echo $?"], steps: { $0.append(.makeRootReadonly) }))
        #expect(outcome.stdout == "1\n0\n")
    }

    @Test func bindsVolumesAndFilesWithTheIdsOnDisk() throws {
        let harness = try ShimHarness()
        let volume = harness.folder + "/volume"
        mkdir(volume, 0o755)
        try Data("hosts\n".utf8).write(to: URL(fileURLWithPath: harness.folder + "/hosts"))
        let plan = harness.plan(
            ["sh", "-c", "cat /etc/hosts; id -u > /data/deep/uid; mount | grep -c /data/deep"],
            steps: {
                insert(
                    &$0,
                    host: [
                        .openTree(TreePlan(slot: 20, source: .path(volume), mapping: .container, attributes: [.nosuid, .nodev])),
                        .openTree(
                            TreePlan(slot: 21, source: .path(harness.folder + "/hosts"), mapping: .container, expectation: .regularFile)),
                    ], initial: [.attach(AttachPlan(slot: 20, target: "/data/deep")), .attach(AttachPlan(slot: 21, target: "/etc/hosts"))])
            })
        #expect(try harness.run(plan).stdout == "hosts\n1\n")
        let status = try FileManager.default.attributesOfItem(atPath: volume + "/uid")
        #expect(status[.ownerAccountID] as? Int == 0)
        let upper = try FileManager.default.attributesOfItem(atPath: "\(harness.store)/upper/data/deep")
        #expect(upper[.ownerAccountID] as? Int == 0)
    }

    @Test func passedDescriptorsAreSources() throws {
        let harness = try ShimHarness()
        mkdir(harness.folder + "/given", 0o755)
        try Data("x".utf8).write(to: URL(fileURLWithPath: harness.folder + "/given/file"))
        let folder = FileDescriptor(owning: open(harness.folder + "/given", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        let plan = harness.plan(
            ["ls", "/given"],
            steps: {
                insert(
                    &$0, host: [.openTree(TreePlan(slot: 20, source: .passed(0), mapping: .container, expectation: .directory))],
                    initial: [.attach(AttachPlan(slot: 20, target: "/given"))])
            })
        #expect(try harness.run(plan, passed: [folder]).stdout == "file\n")
    }

    @Test func aRootDirectoryServesInsteadOfAnOverlay() throws {
        let harness = try ShimHarness()
        let plan = harness.plan(
            ["sh", "-c", "touch /made && ls -n /made"],
            steps: { steps in
                steps[2] = .openTree(
                    TreePlan(
                        slot: 1, source: .path(harness.store + "/layer"), mapping: .container, attributes: [.nodev], expectation: .directory
                    ))
                steps.remove(at: 1)
                for target in ["/proc", "/dev", "/sys"] { mkdir(harness.store + "/layer" + target, 0o755) }
            })
        #expect(try harness.run(plan).stdout.contains(" 0        0 "))
        #expect(access(harness.store + "/layer/made", F_OK) == 0)
    }

    @Test func aTmpfsMountedInsideDoesntAppearOnTheHost() async throws {
        let shows = try await NaiveRuntime.mountShowsOutside()
        undefended("a mount shows outside a namespace that shares its changes", shows)
        let harness = try ShimHarness()
        mkdir(harness.folder + "/shared", 0o755)
        let plan = harness.plan(
            ["sh", "-c", "mount -t tmpfs none /shared && touch /shared/inside && ls /shared"],
            process: {
                $0.capabilities = CapabilityPlan(bounding: 0x1ff_ffff_ffff)
            },
            steps: {
                insert(
                    &$0, host: [.openTree(TreePlan(slot: 20, source: .path(harness.folder + "/shared"), mapping: .container))],
                    initial: [.attach(AttachPlan(slot: 20, target: "/shared"))])
            })
        #expect(try harness.run(plan).stdout == "inside\n")
        #expect(access(harness.folder + "/shared/inside", F_OK) != 0)
    }

    @Test func aDeviceNodeInALayerDoesntOpen() throws {
        let harness = try ShimHarness()
        mknod(harness.store + "/layer/zero", S_IFCHR | 0o666, 1 << 8 | 5)
        let plain = open(harness.store + "/layer/zero", O_RDONLY | O_CLOEXEC)
        undefended("by its name in the store the node opens", plain >= 0)
        close(plain)
        let outcome = try harness.run("head -c 1 /zero", user: "0", userNamespace: false)
        #expect(outcome.stderr.contains("Permission denied"))
    }

    @Test(arguments: ["/host-target", "../../../../../../../../host-target", "/proc/1/root/host-target"])
    func aDevThatIsASymlinkStaysInTheRoot(link: String) throws {
        let harness = try ShimHarness()
        let outside = harness.folder + "/host-target"
        mkdir(outside, 0o755)
        symlink(link.replacingOccurrences(of: "host-target", with: String(outside.dropFirst())), harness.store + "/layer/dev")
        // Pid 1 of the machine may not let itself be looked into.
        if !link.hasPrefix("/proc") || access("/proc/1/root/tmp", F_OK) == 0 {
            let isMade = mkdir(harness.store + "/layer/dev/made", 0o755) == 0 && rmdir(outside + "/made") == 0
            undefended("a mount point that is made by name lies on the host", isMade, link)
        }
        try harness.spawn(harness.plan(["true"]))
        let failure = try harness.failure()
        #expect(failure.step == .mount && failure.path == "/dev")
        #expect(try FileManager.default.contentsOfDirectory(atPath: outside).isEmpty)
    }

    @Test(arguments: ["proc", "sys"])
    func procAndSysBehindASymlinkAreRefused(name: String) throws {
        let harness = try ShimHarness()
        mkdir(harness.store + "/layer/elsewhere", 0o755)
        symlink("elsewhere", harness.store + "/layer/\(name)")
        let isMade = mkdir(harness.store + "/layer/\(name)/made", 0o755) == 0 && rmdir(harness.store + "/layer/elsewhere/made") == 0
        undefended("a mount point that is made by name lies elsewhere", isMade)
        try harness.spawn(harness.plan(["true"]))
        let failure = try harness.failure()
        #expect(failure.step == .mount && failure.errno == ELOOP && failure.path == "/\(name)")
    }

    @Test func aVolumeTargetBehindASymlinkStaysInTheRoot() throws {
        let harness = try ShimHarness()
        symlink("/run", harness.store + "/layer/var-run")
        mkdir(harness.store + "/layer/run", 0o755)
        mkdir(harness.folder + "/v", 0o755)
        let plan = harness.plan(
            ["mount"],
            steps: {
                insert(
                    &$0, host: [.openTree(TreePlan(slot: 20, source: .path(harness.folder + "/v"), mapping: .container))],
                    initial: [.attach(AttachPlan(slot: 20, target: "/var-run/thing"))])
            })
        #expect(try harness.run(plan).stdout.contains(" on /run/thing "))
        #expect(access("/run/thing", F_OK) != 0)
    }

    /// A sandbox's rule was found without a link in its path: one that is there by the time of the mount leads elsewhere.
    @Test(arguments: [false, true]) func aRuleIsAttachedThroughNoLink(isMask: Bool) throws {
        for refuses in [false, true] {
            let harness = try ShimHarness()
            for folder in ["layer/other", "layer/other/secret"] { mkdir("\(harness.store)/\(folder)", 0o755) }
            symlink("other", harness.store + "/layer/sub")
            mkdir(harness.folder + "/v", 0o755)
            let plan = harness.plan(
                ["mount"],
                steps: { steps in
                    if isMask {
                        let pivot = steps.firstIndex(of: .pivotRoot)!
                        steps.insert(.maskPath("/sub/secret", goesThroughNoLink: refuses), at: pivot + 1)
                    } else {
                        insert(
                            &steps, host: [.openTree(TreePlan(slot: 20, source: .path(harness.folder + "/v"), mapping: .container))],
                            initial: [.attach(AttachPlan(slot: 20, target: "/sub/secret", refusesSymlinks: refuses))])
                    }
                })
            guard refuses else {
                undefended("what is put there lies elsewhere", try harness.run(plan).stdout.contains(" on /other/secret "))
                continue
            }
            try harness.spawn(plan)
            let failure = try harness.failure()
            #expect(failure.step == (isMask ? .maskPath : .attach) && failure.errno == ELOOP && failure.path == "/sub/secret")
        }
    }

    @Test func aNullDeviceOfTheImageIsNotUsedForMasks() throws {
        let harness = try ShimHarness()
        let before = try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8)
        mkdir(harness.store + "/layer/dev", 0o755)
        symlink("/proc/sys/kernel/core_pattern", harness.store + "/layer/dev/null")
        let opened = NaiveRuntime.opens(harness.store + "/layer/dev/null", leadingTo: "/proc/sys/kernel/core_pattern")
        undefended("whoever opens this null device by name has the setting open", opened)
        let plan = harness.plan(
            ["sh", "-c", "echo pwned > /proc/kcore; true"],
            steps: { steps in
                // Without a tmpfs on /dev the image's own link is what is there.
                steps.removeAll { step in
                    switch step {
                    case .mount(let plan): plan.target.hasPrefix("/dev")
                    case .attach(let plan): plan.target == "/dev/null"
                    default: false
                    }
                }
            })
        let outcome = try? harness.run(plan)
        #expect(try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8) == before)
        #expect(outcome == nil || outcome?.exit.code == 0)
    }

    @Test func everyFailingStepIsReportedByNameAndNothingStays() throws {
        let missing = "/no/such/place"
        let cases: [(LaunchOpcode, [LaunchStep], [LaunchStep])] = [
            (.openTree, [.openTree(TreePlan(slot: 20, source: .path(missing)))], []),
            (.openTree, [.openTree(TreePlan(slot: 20, source: .path("/dev/zero"), expectation: .characterDevice(major: 1, minor: 3)))], []),
            (.openTree, [.openTree(TreePlan(slot: 20, source: .path("/proc"), mapping: .container))], []),
            (.joinCgroups, [.joinCgroups(v1: [missing], v2: nil)], []),
            (.oomScore, [.setOOMScore(5000)], []),
            (
                .openOverlay,
                [
                    .openOverlay(
                        OverlayPlan(slot: 20, store: 0, lowers: ["nowhere"], upper: "upper", work: "work", ownerUID: 0, ownerGID: 0))
                ], []
            ),
            (.mount, [], [.mount(FilesystemPlan(type: "nosuchfs", target: "/mnt"))]),
            (.mount, [], [.mount(FilesystemPlan(type: "tmpfs", target: "/mnt", options: [.init("bogus", "1")]))]),
            (
                .attach, [.openTree(TreePlan(slot: 20, source: .path("/tmp"), mapping: .container))],
                [.attach(AttachPlan(slot: 20, target: "/etc/passwd"))]
            ),
            (.attach, [], [.attach(AttachPlan(slot: 99, target: "/mnt"))]),
            (.mountAttributes, [], [.setMountAttributes(path: missing, change: AttributeChange(set: .readonly), recursive: false)]),
            (.writeSysctl, [], [.writeSysctl(key: "net.no_such", value: "1", optional: false)]),
            (.writeSysctl, [], [.writeSysctl(key: "../../etc/passwd", value: "1", optional: false)]),
            (.makeDirectory, [], [.makeDirectory(path: "/etc/passwd/x", mode: 0o755)]),
        ]
        for (opcode, host, initial) in cases {
            let harness = try ShimHarness()
            let plan = harness.plan(["true"], steps: { insert(&$0, host: host, initial: initial) })
            try harness.spawn(plan)
            let failure = try harness.failure()
            #expect(failure.step == opcode, "\(failure)")
            #expect(plan.records[failure.index].opcode == opcode)
            #expect(failure.errno > 0)
            _ = harness.shim?.waitForExit(milliseconds: 5000)
            #expect(try harness.next(LNT_MSG_STATE) == nil, "the shim leaves")
            let children = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { pid in
                (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) == "lunette-init\n"
                    && (try? String(contentsOfFile: "/proc/\(pid)/mountinfo", encoding: .utf8))?.contains(harness.folder) ?? false
            }
            #expect(children.isEmpty)
        }
    }

    @Test func brokenPlansGiveCleanErrors() throws {
        var generator = SystemRandomNumberGenerator()
        let good = try ShimHarness().plan(["true"]).encoded()
        for round in 0..<60 {
            let harness = try ShimHarness()
            var bytes = try harness.plan(["true"]).encoded()
            switch round % 4 {
            case 0: bytes = Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &generator)))
            case 1:
                for _ in 0..<8 { bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator) }
            case 2:
                // A length that is far too large.
                let at = Int.random(in: 32..<bytes.count - 8, using: &generator) & ~7
                for index in 0..<8 { bytes[at + index] = 0xff }
            default: bytes += good
            }
            try harness.spawn(try SealedMemory.make("plan", bytes))
            let answer = try harness.next(LNT_MSG_FAILED, LNT_MSG_CREATED)
            #expect(answer != nil, "round \(round): the shim crashed")
        }
    }
}
