import Foundation
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteOCI

/// What `features` claims.
@Suite struct FeaturesTests {
    /// A bind mount takes no word that it doesn't know, so each claim can be tried without a kernel.
    @Test(arguments: FeatureList.mountOptions) func everyMountOptionIsTaken(option: String) throws {
        var spec = try RuntimeSpec(StarterConfig.value(rootlessFor: nil))
        // A remount needs a mount.
        if option == "remount" { spec.mounts.append(.init(destination: "/x", type: "tmpfs", source: "tmpfs")) }
        spec.mounts.append(.init(destination: "/x", type: option == "tmpcopyup" ? "tmpfs" : "bind", source: "/srv", options: [option]))
        var inputs = LaunchInputs(containerID: "c", root: .directory(.path("/r")))
        inputs.handover = HandoverPlan()
        inputs.bundle = "/b"
        // An id-mapped mount needs ids.
        if option.hasSuffix("idmap") {
            let mapping = IDMapping(containerID: 0, hostID: 1000, size: 1)
            spec.mounts[spec.mounts.count - 1].uidMappings = [mapping]
            spec.mounts[spec.mounts.count - 1].gidMappings = [mapping]
        }
        _ = try LaunchPlanner.plan(spec, inputs)
    }

    @Test func aWordThatIsNotClaimedIsRefused() throws {
        var spec = try RuntimeSpec(StarterConfig.value(rootlessFor: nil))
        spec.mounts.append(.init(destination: "/x", type: "bind", source: "/srv", options: ["bind", "nosuch"]))
        var inputs = LaunchInputs(containerID: "c", root: .directory(.path("/r")))
        inputs.handover = HandoverPlan()
        #expect(throws: LunetteError.self) { try LaunchPlanner.plan(spec, inputs) }
    }
}
