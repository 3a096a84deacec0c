import Testing

@testable import LunetteSpec

/// An ordinary user's plan from a bundle: what is asked of whom.
@Suite struct RootlessPlanTests {
    private let config: Value = [
        "ociVersion": "1.2.0", "root": ["path": "rootfs"],
        "process": ["user": ["uid": 0, "gid": 0], "args": ["sh"], "cwd": "/"],
        "mounts": [["destination": "/dev", "type": "tmpfs", "source": "tmpfs"]],
        "linux": [
            "namespaces": [["type": "mount"], ["type": "pid"], ["type": "user"]],
            "uidMappings": [["containerID": 0, "hostID": 1000, "size": 1]], "gidMappings": [["containerID": 0, "hostID": 1000, "size": 1]],
        ],
    ]

    private func plan(_ change: Value = [:], isUser: Bool = true) throws -> LaunchPlan {
        var inputs = LaunchInputs(containerID: "c", root: .directory(.path("/b/rootfs")), handover: HandoverPlan(), bundle: "/b")
        inputs.mapsTrees = false
        inputs.treesInside = isUser
        inputs.rootless = RootlessPlan(usesUserAttributes: true, keepsGroups: isUser)
        return try LaunchPlanner.plan(try RuntimeSpec(config.merged(with: change)), inputs)
    }

    @Test func theHostPhaseIsTheFirstProcesss() throws {
        let steps = try plan().steps
        guard case .namespaces = steps[0], case .rootless(let rootless) = steps[1], case .treesInside = steps[2] else {
            Issue.record("\(steps.prefix(3))")
            return
        }
        #expect(rootless.keepsGroups && rootless.newuidmap == nil)
    }

    /// Podman's own namespace has every right, but can make no node.
    @Test func devicesAreBoundWhereNobodyCanMakeThem() throws {
        let shared: Value = ["linux": ["namespaces": [["type": "mount"], ["type": "pid"]], "uidMappings": .null, "gidMappings": .null]]
        let steps = try plan(shared, isUser: false).steps
        #expect(!steps.contains { if case .makeDevice = $0 { true } else { false } })
        #expect(
            steps.contains {
                if case .openTree(let tree) = $0 { tree.source == .path("/dev/null") && !tree.attributes.contains(.nodev) } else { false }
            })
        #expect(!steps.contains { if case .treesInside = $0 { true } else { false } })
    }

    @Test func treesOfTheHostAreNotMapped() throws {
        let mapped: Value = ["destination": "/data", "type": "bind", "source": "/src", "options": ["bind", "idmap"]]
        let error = #expect(throws: LunetteError.self) { _ = try plan(["mounts": [mapped]]) }
        #expect(error?.path?.hasPrefix("mounts[0]") == true, "\(String(describing: error))")
    }
}
