import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

/// Id maps that a shim without any rights has written by newuidmap and newgidmap.
@Suite(.requires(.ordinaryUser, .userNamespaces)) struct ShimIDMapTests {
    /// What comes after the maps takes rights over mounts that such a shim hasn't here: where it fails tells whether it got them.
    private func launchFailure(
        size: UInt32, helpers: IDMapHelpers?, keepsGroups: Bool = false,
        create: NamespacePlan.Kinds = [.user, .pid, .mount, .uts, .network]
    ) throws -> LaunchFailure {
        let harness = try ShimHarness()
        let user = try TestUser(folder: harness.folder, hasRange: true)
        for folder in [harness.state, harness.container, harness.store] { chown(folder, user.uid, user.uid) }
        harness.wrapper = user.words
        var mappings = [IDMapping(containerID: 0, hostID: user.uid, size: 1)]
        if size > 0 { mappings.append(IDMapping(containerID: 1, hostID: user.firstID!, size: size)) }
        let plan = harness.plan(
            ["true"],
            steps: { (steps: inout [LaunchStep]) in
                steps[0] = .namespaces(NamespacePlan(create: create, uidMappings: mappings, gidMappings: mappings))
                steps.insert(
                    .rootless(RootlessPlan(keepsGroups: keepsGroups, newuidmap: helpers?.newuidmap, newgidmap: helpers?.newgidmap)), at: 1)
            })
        try harness.spawn(plan)
        return try harness.failure()
    }

    @Test func theUsersRangesAreMappedByTheHelpers() throws {
        let helpers = try #require(IDMapHelpers.find())
        let failure = try launchFailure(size: 65_536, helpers: helpers)
        #expect(failure.step != .namespaces && failure.step != .rootless, "\(failure)")
    }

    @Test func idsOfSomebodyElseAreRefusedByTheHelpers() throws {
        let helpers = try #require(IDMapHelpers.find())
        let failure = try launchFailure(size: 65_537, helpers: helpers)
        #expect(failure.step == .rootless && failure.path == helpers.newuidmap, "\(failure)")
    }

    @Test func ownIdsAloneNeedNoHelper() throws {
        let failure = try launchFailure(size: 0, helpers: nil, keepsGroups: true)
        #expect(failure.step != .namespaces && failure.step != .rootless, "\(failure)")
    }

    /// Its first process fails at the host's own name and ends, at times before its maps are written: the cause is told, never what its end led to.
    @Test func whatAStageSaidFirstIsTheFailure() throws {
        for _ in 0..<20 {
            let failure = try launchFailure(size: 0, helpers: nil, keepsGroups: true, create: [.user, .pid, .mount])
            // Which of the two comes first is open: such a shim may not copy the tree either.
            #expect(failure.step == .hostname || failure.step == .openTree, "\(failure)")
            #expect(failure.errno == EPERM, "\(failure)")
        }
    }

    @Test func withoutHelpersARangeIsRefusedByTheKernel() throws {
        let failure = try launchFailure(size: 10, helpers: nil, keepsGroups: true)
        #expect(failure.step == .namespaces, "\(failure)")
        #expect(failure.errno == EPERM, "\(failure)")
    }
}
