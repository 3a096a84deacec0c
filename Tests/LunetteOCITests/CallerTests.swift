import LunetteLinux
import LunetteSpec
import Testing

@testable import LunetteOCI

/// How an ordinary user's maps are written.
@Suite struct CallerTests {
    private func spec(_ uids: Value, _ gids: Value? = nil) throws -> RuntimeSpec {
        try RuntimeSpec([
            "ociVersion": "1.2.0", "root": ["path": "rootfs"], "process": ["user": ["uid": 0, "gid": 0], "args": ["sh"], "cwd": "/"],
            "linux": ["namespaces": [["type": "mount"], ["type": "user"]], "uidMappings": uids, "gidMappings": gids ?? uids],
        ])
    }

    @Test func onesOwnIdTakesNoHelper() throws {
        for inside: Int64 in [0, 5, 1000] {
            let own: Value = [["containerID": .int(inside), "hostID": 1000, "size": 1]]
            let plan = try Caller.maps(try spec(own), uid: 1000, gid: 1000)
            #expect(plan.keepsGroups && plan.newuidmap == nil && plan.newgidmap == nil)
        }
    }

    @Test(
        .enabled(if: IDMapHelpers.find() != nil, "requires newuidmap"),
        arguments: [
            [["containerID": 0, "hostID": 1000, "size": 2]],
            [["containerID": 0, "hostID": 1001, "size": 1]],
            [["containerID": 0, "hostID": 1000, "size": 1], ["containerID": 1, "hostID": 100_000, "size": 9]],
        ] as [Value])
    func moreTakesBothHelpersByAbsolutePath(map: Value) throws {
        let plan = try Caller.maps(try spec(map), uid: 1000, gid: 1000)
        #expect(!plan.keepsGroups)
        #expect(plan.newuidmap?.first == "/" && plan.newgidmap?.first == "/")
        // One of the two is enough.
        let own: Value = [["containerID": 0, "hostID": 1000, "size": 1]]
        #expect(try Caller.maps(try spec(own, map), uid: 1000, gid: 1000).newuidmap != nil)
    }

    @Test func rootHasNoSuchRecord() throws {
        let own: Value = [["containerID": 0, "hostID": 1000, "size": 1]]
        #expect(try Caller.machine.rootless(try spec(own)) == nil)
        #expect(try Caller.user(1000, 1000).rootless(try spec(own))?.keepsGroups == true)
        var inputs = LaunchInputs(containerID: "c", root: .directory(.path("/")))
        try Caller.user(1000, 1000).adapt(&inputs, to: try spec(own))
        #expect(inputs.treesInside && !inputs.mapsTrees)
        let without = try RuntimeSpec([
            "ociVersion": "1.2.0", "root": ["path": "rootfs"], "process": ["user": ["uid": 0, "gid": 0], "args": ["sh"], "cwd": "/"],
            "linux": ["namespaces": [["type": "mount"]]],
        ])
        let error = #expect(throws: LunetteError.self) { try Caller.user(1000, 1000).adapt(&inputs, to: without) }
        #expect(error?.code == .denied && error?.hint?.contains("--rootless") == true)
    }
}
