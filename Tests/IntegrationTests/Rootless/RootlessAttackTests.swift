import LunetteTesting
import Testing

/// Attacks that are tested against root's engine, here against an ordinary user's: the same code, another home.
@Suite(.requires(.ordinaryUser, .overlay, .userNamespaces, .seccomp, .command("gcc")))
struct RootlessAttackTests {
    struct Attack: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let body: @Sendable () async throws -> Void

        init(_ name: String, _ body: @escaping @Sendable () async throws -> Void) {
            testDescription = name
            self.body = body
        }
    }

    static let attacks: [Attack] = [
        Attack("descriptors leak in") { try await LaunchAttackTests().noDescriptorLeaksIn() },
        Attack("a working folder leads out") { try await LaunchAttackTests().aWorkingFolderCannotLeadOut() },
        Attack("a link in place of /dev/null") { try await LaunchAttackTests().aLinkInPlaceOfDevNullHarmsNothing() },
        Attack("a link in place of /proc") { try await LaunchAttackTests().aLinkInPlaceOfAMountPointIsRefused("proc") },
        Attack("a link in place of /dev") { try await LaunchAttackTests().aLinkInPlaceOfAMountPointIsRefused("dev") },
        Attack("users read in another way") { try await LaunchAttackTests().usersAreReadOneWay() },
        Attack("groups that stay behind") { try await LaunchAttackTests().supplementaryGroupsAreSet() },
        Attack("a passwd file without an end") { try await LaunchAttackTests().usersAreLookedUpWithinBounds() },
        Attack("device nodes of a root folder") { try await LaunchAttackTests().deviceNodesOfARootDoNotOpen() },
        Attack("dangerous calls") { try await KernelSurfaceTests().dangerousCallsNeverReachTheKernel() },
        Attack("settings of the host") { try await KernelSurfaceTests().settingsOfTheHostCannotBeWritten() },
        Attack("what tells of the host") { try await KernelSurfaceTests().whatTellsOfTheHostIsMasked() },
        Attack("capabilities") { try await KernelSurfaceTests().capabilitiesAreTheDeclaredOnes() },
        Attack("shared namespaces") { try await KernelSurfaceTests().everyNamespaceIsItsOwn() },
        Attack("abstract sockets") { try await KernelSurfaceTests().abstractSocketsOfTheHostAreOutOfReach() },
        Attack("a setuid program") { try await KernelSurfaceTests().aSetuidProgramGainsNothing() },
        Attack("session keyrings") { try await KernelSurfaceTests().aContainerHasASessionKeyringOfItsOwn() },
        Attack("power on a volume") { try await MountAttackTests().whatLiesOnAVolumeGivesNoPower() },
        Attack("ids beyond the range") { try await MountAttackTests().idsEndWithTheRange() },
        Attack("writing to a read-only root") { try await MountAttackTests().aReadOnlyRootIsReadOnlyAllTheWay() },
        Attack("mounts of a powerful container") { try await MountAttackTests().mountsOfAPowerfulContainerStayInside() },
        Attack("an open state") { try await MountAttackTests().stateIsItsOwnersAlone() },
    ]

    @Test(arguments: attacks)
    func failsAgainstAnOrdinaryUsersEngineToo(_ attack: Attack) async throws {
        try await TestUser.$isWanted.withValue(true) { try await attack.body() }
    }

    /// Where a container breaks out of its own user namespace it must not find more than the user: no capability reaches the engine's.
    @Test func aContainersRootHasNoPowerOverTheEnginesNamespace() async throws {
        try await withLunette(.withRange) { home in
            let image = try await home.load(.busybox)
            let options = ["run", "--rm", "--privileged", "--security-opt", "seccomp=unconfined", image, "sh", "-c"]
            // All capabilities, but in a namespace below: its parent is the engine's, whose maps it sees and whose owner it isn't.
            let map = try await home.command(options + ["cat /proc/self/uid_map"]).run().lines
            #expect(map.count == 2)
            let line = """
                mount -o remount,rw /sys 2>/dev/null; echo 1 > /proc/sysrq-trigger && echo sysrq; echo x > /proc/sys/kernel/core_pattern && echo core
                mknod /tmp/mem c 1 1 2>/dev/null && cat /tmp/mem >/dev/null 2>&1 && echo opened; hostname changed-inside; true
                """
            let said = try await home.command(options + [line]).run(expecting: nil).text
            #expect(!said.contains("sysrq") && !said.contains("core") && !said.contains("opened"), "\(said)")
            #expect(try await Command("hostname").run().text != "changed-inside")
            // Without a namespace of its own it would have the engine's: refused.
            let script = """
                local ok, err = require('lunette').try(function()
                  return require('lunette').container.create { image = '\(image)', security = { user_namespace = false } } end)
                print(ok, err.code)
                """
            #expect(try await home.script(script).text == "false\tunsupported")
        }
    }

    /// Another user's folder in /tmp may not become the place of the engine's socket.
    @Test func aStateFolderOfSomebodyElsesIsRefused() async throws {
        try await withLunette(.withRange) { home in
            let places: [String: String?] = ["LUNETTE_STATE": nil, "XDG_RUNTIME_DIR": "\(home.folder)/run"]
            try await Command("mkdir", "\(home.folder)/run").run()
            let refused = try await home.lunette("ps", environment: places, expecting: 125)
            #expect(refused.errorText.contains("it belongs to uid 0"), "\(refused.errorText)")
            #expect(refused.errorText.contains("hint:"))
            try await Command("chown", "\(home.user!.uid)", "\(home.folder)/run").run()
            try await Command("chmod", "0777", "\(home.folder)/run").run()
            #expect(try await home.lunette("ps", environment: places, expecting: 125).errorText.contains("others may write"))
            try await Command("rmdir", "\(home.folder)/run").run()
            #expect(try await home.lunette("ps", environment: places, expecting: 125).errorText.contains("no such file"))
        }
    }
}
