import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// config-linux.md: network devices, with a pair of virtual ones.
@Suite(.runtimeUnderTest, .requires(.command("ip"))) struct NetworkDeviceConformanceTests {
    @Test(
        .proves(
            "config-linux.netDevices.moved", "config-linux.netDevices.name", "config-linux.netDevices.addresses",
            "config-linux.netDevices.up", "config-linux.netDevices.not-returned", "config-linux.netDevices.not-managed"),
        arguments: [nil, "inside0"])
    func aDeviceIsMovedWithItsAddresses(name: String?) async throws {
        try await withBundle { bundle in
            let device = try await bundle.makePair()
            try await Command.shell(
                "ip addr add 198.51.100.7/24 dev \(device); ip -6 addr add 2001:db8:7::1/64 dev \(device) nodad; ip link set \(device) up"
            ).run()
            bundle.change(["linux": ["netDevices": .map([device: name.map { ["name": .string($0)] } ?? [:]])]])
            let seen = try await bundle.run("links")
            let inside = name ?? device
            #expect(seen["link.\(inside)"] == "up", "\(seen)")
            #expect(seen.all("address.\(inside)").contains("198.51.100.7"))
            #expect(seen.all("address.\(inside)").contains("2001:db8:7::1"))
            // It ends with the namespace, which the kernel takes apart in its own time; it never comes back.
            try await eventually("the pair is gone") { try await Command("ip", "link", "show", "\(device)p").run(expecting: nil).code != 0 }
            #expect(try await Command("ip", "link", "show", device).run(expecting: nil).code != 0)
        }
    }

    @Test(.proves("config-linux.netDevices.template"))
    func aTemplateBecomesAFreeName() async throws {
        try await withBundle { bundle in
            let device = try await bundle.makePair()
            bundle.change(["linux": ["netDevices": .map([device: ["name": "box%d"]])]])
            #expect(try await bundle.run("links")["link.box0"] == "up")
        }
    }

    @Test(.proves("config-linux.netDevices.missing", "config-linux.netDevices.exists"))
    func aDeviceThatCannotBeMovedIsAnError() async throws {
        await expectRefused(["linux": ["netDevices": ["lunette-none": [:]]]], mentioning: "lunette-none")
        try await withBundle { bundle in
            let device = try await bundle.makePair()
            bundle.change(["linux": ["netDevices": .map([device: ["name": "lo"]])]])
            try await bundle.refusal(mentioning: "lo")
            // It is where it was.
            try await Command("ip", "link", "show", device).run()
        }
    }
}

extension OCIBundle {
    /// - Returns: one end's name; the other's has a p behind.
    func makePair() async throws -> String {
        let device = "lc\(id.dropFirst())"
        try await Command("ip", "link", "add", device, "type", "veth", "peer", "name", "\(device)p").run()
        cleanUp.add("remove \(device)") { _ = try await Command("ip", "link", "del", "\(device)p").run(expecting: nil) }
        return device
    }
}
