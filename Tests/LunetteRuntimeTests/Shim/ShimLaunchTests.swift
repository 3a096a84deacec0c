import CLinux
import Foundation
import LunetteSpec
import LunetteTesting
import Testing

extension LaunchOpcode {
    static let headerNumbers: [LaunchOpcode: UInt32] = [
        .makeRoot: LNT_MAKE_ROOT.rawValue, .landlock: LNT_LANDLOCK.rawValue, .attended: LNT_ATTENDED.rawValue,
        .treesInside: LNT_TREES_INSIDE.rawValue, .openPrivateLayer: LNT_OPEN_PRIVATE_LAYER.rawValue,
        .namespaces: LNT_NAMESPACES.rawValue, .joinCgroups: LNT_JOIN_CGROUPS.rawValue, .oomScore: LNT_OOM_SCORE.rawValue,
        .openTree: LNT_OPEN_TREE.rawValue, .openOverlay: LNT_OPEN_OVERLAY.rawValue,
        .rootless: LNT_ROOTLESS.rawValue, .hostname: LNT_HOSTNAME.rawValue,
        .domainname: LNT_DOMAINNAME.rawValue, .raiseLoopback: LNT_RAISE_LOOPBACK.rawValue, .attachRoot: LNT_ATTACH_ROOT.rawValue,
        .makeDirectory: LNT_MAKE_DIRECTORY.rawValue, .makeSymlink: LNT_MAKE_SYMLINK.rawValue, .mount: LNT_MOUNT.rawValue,
        .attach: LNT_ATTACH.rawValue, .mountAttributes: LNT_MOUNT_ATTRIBUTES.rawValue, .writeSysctl: LNT_WRITE_SYSCTL.rawValue,
        .pivotRoot: LNT_PIVOT_ROOT.rawValue, .maskPath: LNT_MASK_PATH.rawValue, .makeReadonly: LNT_MAKE_READONLY.rawValue,
        .makeRootReadonly: LNT_MAKE_ROOT_READONLY.rawValue, .arguments: LNT_ARGUMENTS.rawValue, .environment: LNT_ENVIRONMENT.rawValue,
        .workingDirectory: LNT_WORKING_DIRECTORY.rawValue, .user: LNT_USER.rawValue, .umask: LNT_UMASK.rawValue,
        .rlimits: LNT_RLIMITS.rawValue,
        .capabilities: LNT_CAPABILITIES.rawValue, .noNewPrivileges: LNT_NO_NEW_PRIVILEGES.rawValue, .seccomp: LNT_SECCOMP.rawValue,
        .stdio: LNT_STDIO.rawValue, .monitor: LNT_MONITOR.rawValue, .setUp: LNT_SET_UP.rawValue, .terminal: LNT_TERMINAL.rawValue,
        .keyring: LNT_KEYRING.rawValue, .execute: LNT_EXECUTE.rawValue, .moveNetworkDevice: LNT_MOVE_NETWORK_DEVICE.rawValue,
        .timeOffsets: LNT_TIME_OFFSETS.rawValue, .makeDevice: LNT_MAKE_DEVICE.rawValue, .awaitHooks: LNT_AWAIT_HOOKS.rawValue,
        .runHook: LNT_RUN_HOOK.rawValue, .rootPropagation: LNT_ROOT_PROPAGATION.rawValue, .scheduler: LNT_SCHEDULER.rawValue,
        .ioPriority: LNT_IO_PRIORITY.rawValue, .affinity: LNT_AFFINITY.rawValue, .personality: LNT_PERSONALITY.rawValue,
        .memoryPolicy: LNT_MEMORY_POLICY.rawValue, .startHook: LNT_START_HOOK.rawValue, .handover: LNT_HANDOVER.rawValue,
        .seccompListener: LNT_SECCOMP_LISTENER.rawValue,
    ]
}

@Suite("The shim executes launch plans", .serialized, .requires(.root, .overlay, .userNamespaces, .file("/bin/busybox")))
struct ShimLaunchTests {
    @Test func opcodesOfPlanAndHeaderAgree() {
        for opcode in LaunchOpcode.allCases { #expect(LaunchOpcode.headerNumbers[opcode] == UInt32(opcode.rawValue), "\(opcode.name)") }
    }

    @Test func runsAProgramAndReportsItsExitCode() throws {
        let outcome = try ShimHarness().run("echo hello; echo there >&2; exit 7")
        #expect(outcome.stdout == "hello\n")
        #expect(outcome.stderr == "there\n")
        #expect(outcome.exit.code == 7)
        #expect(outcome.exit.signal == 0)
        #expect(outcome.exit.status == 7 << 8)
    }

    @Test func runsWithoutAUserNamespace() throws {
        let outcome = try ShimHarness().run("id -u; cat /proc/self/uid_map", userNamespace: false)
        #expect(outcome.stdout.hasPrefix("0\n         0          0"))
    }

    @Test func reportsTheSignalThatEndedTheProgram() throws {
        let outcome = try ShimHarness().run("kill -9 $$")
        #expect(outcome.exit.signal == 9)
        #expect(outcome.exit.code == 137)
    }

    @Test func hasItsOwnNamespacesAndIds() throws {
        let outcome = try ShimHarness().run(
            "hostname; id -u; ip link show lo | grep -c UP; cat /proc/self/uid_map; echo $HOME; cat /proc/1/comm; ls /dev/fd/")
        let lines = outcome.stdout.split(separator: "\n").map(String.init)
        #expect(lines.prefix(3) == ["shimtest", "0", "1"])
        #expect(lines[3].split(separator: " ") == ["0", "\(ShimHarness.idBase)", "65536"])
        #expect(lines[4] == "/root")
        #expect(lines[5] == "lunette-init")
        #expect(Array(lines[6...]) == ["0", "1", "2", "3"], "only stdio is open, and what ls itself opened")
    }

    @Test func filesOfRootInsideAreRootsOnDisk() throws {
        let harness = try ShimHarness()
        _ = try harness.run("echo x > /made; touch /tmp/there")
        let status = try FileManager.default.attributesOfItem(atPath: "\(harness.store)/upper/made")
        #expect(status[.ownerAccountID] as? Int == 0)
    }
}
