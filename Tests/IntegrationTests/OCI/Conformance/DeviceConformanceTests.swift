import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// config-linux.md: devices and the rules about them.
@Suite(.runtimeUnderTest) struct DeviceConformanceTests {
    @Test(
        .proves(
            "config-linux.devices.null", "config-linux.devices.zero", "config-linux.devices.full", "config-linux.devices.random",
            "config-linux.devices.urandom", "config-linux.devices.tty"),
        arguments: [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")])
    func defaultDevicesAreThere(name: String, numbers: String) async throws {
        try await withBundle { bundle in
            let seen = try await bundle.run("stat=/dev/\(name)", "open=/dev/\(name)", "write=/dev/\(name)")
            #expect(seen.words("stat./dev/\(name)").first == "c")
            #expect(seen.words("stat./dev/\(name)").last == numbers)
            #expect(seen.words("stat./dev/\(name)").dropFirst().first == "0666")
            // /dev/tty has nothing to open without a terminal.
            #expect(seen["open./dev/\(name)"] == (name == "tty" ? "!ENXIO" : "ok"))
        }
    }

    @Test(.proves("config-linux.devices.ptmx"))
    func ptmxIsThatOfTheContainer() async throws {
        try await withBundle { bundle in
            let seen = try await bundle.run("readlink=/dev/ptmx", "stat=/dev/pts/ptmx", "open=/dev/ptmx", "mounts")
            let link = seen["readlink./dev/ptmx"] ?? ""
            #expect(["pts/ptmx", "/dev/pts/ptmx"].contains(link) || seen.mount("/dev/ptmx")?.type == "devpts")
            #expect(seen["open./dev/ptmx"] == "ok")
        }
    }

    static let fuse: Value = ["path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 12, "gid": 34]

    @Test(
        .proves(
            "config-linux.devices.available", "config-linux.devices.type", "config-linux.devices.fileMode", "config-linux.devices.uid",
            "config-linux.devices.gid", "config-linux.devices.anywhere"))
    func listedDevicesAreThere() async throws {
        try await withBundle { bundle in
            bundle.change([
                "linux": [
                    "devices": [
                        Self.fuse, ["path": "/dev/loop-x", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600],
                        ["path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3],
                        ["path": "/tmp/pipe", "type": "p", "fileMode": 0o622],
                        ["path": "/deep/inside/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o444],
                    ]
                ]
            ])
            let seen = try await bundle.run(
                "stat=/dev/fuse", "stat=/dev/loop-x", "stat=/dev/unbuffered", "stat=/tmp/pipe", "stat=/deep/inside/zero")
            #expect(seen["stat./dev/fuse"] == "c 0640 12 34 10:229")
            #expect(seen["stat./dev/loop-x"] == "b 0600 0 0 7:0")
            #expect(seen["stat./dev/unbuffered"]?.hasPrefix("c ") == true && seen["stat./dev/unbuffered"]?.hasSuffix(" 1:3") == true)
            #expect(seen["stat./tmp/pipe"]?.hasPrefix("p 0622 0 0 ") == true)
            #expect(seen["stat./deep/inside/zero"] == "c 0444 0 0 1:5")
        }
    }

    @Test(.proves("config-linux.devices.uid", "config-linux.devices.gid"))
    func ownersAreTheContainersInAUserNamespace() async throws {
        try await withBundle { bundle in
            bundle.inUserNamespace()
            bundle.change(["linux": ["devices": [Self.fuse.merged(with: ["uid": 0, "gid": 0, "fileMode": 0o666])]]])
            let seen = try await bundle.run("stat=/dev/fuse", "stat=/dev/null", "write=/dev/null")
            #expect(seen.words("stat./dev/fuse").last == "10:229")
            #expect(seen["write./dev/null"] == "ok")
        }
    }

    @Test(.proves("config-linux.devices.existing"))
    func anotherFileAtThePathIsAnError() async throws {
        try await withBundle { bundle in
            try bundle.makeFile("rootfs/etc/device", "a file")
            bundle.change(["linux": ["devices": [["path": "/etc/device", "type": "c", "major": 10, "minor": 229]]]])
            try await bundle.refusal(mentioning: "/etc/device")
            #expect(bundle.file("rootfs/etc/device") == "a file")
        }
    }

    @Test(.proves("config-linux.devices.type-invalid", "config-linux.devices.numbers"))
    func aDeviceHasATypeAndNumbers() async {
        await expectRefused(["linux": ["devices": [["path": "/dev/x", "type": "z", "major": 1, "minor": 3]]]], mentioning: "devices")
        await expectRefused(["linux": ["devices": [["path": "/dev/x", "major": 1, "minor": 3]]]], mentioning: "devices")
        await expectRefused(["linux": ["devices": [["type": "c", "major": 1, "minor": 3]]]], mentioning: "devices")
        await expectRefused(["linux": ["devices": [["path": "/dev/x", "type": "c"]]]], mentioning: "devices")
    }

    /// Runtimes allow mknod of anything and the opening of what is listed.
    @Test(.proves("config-linux.devices.no-others"), .requires(.cgroupV1))
    func aDeviceThatIsNotListedDoesNotOpen() async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["resources": ["devices": [["allow": false, "access": "rwm"]]], "devices": [Self.fuse]]])
            bundle.shell("/bin/busybox mknod /tmp/node c 10 237; /probe open=/tmp/node open=/dev/null")
            let seen = ProbeAnswers(try await bundle.run(expecting: nil))
            #expect(["!EPERM", "!ENOENT"].contains(seen["open./tmp/node"]), "\(seen)")
            #expect(seen["open./dev/null"] == "ok")
        }
    }

    @Test(
        .proves(
            "config-linux.device-rules.order", "config-linux.device-rules.allow", "config-linux.device-rules.wildcards",
            "config-linux.device-rules.access"), .requires(.cgroupV1))
    func rulesApplyInTheirOrder() async throws {
        try await withBundle { bundle in
            bundle.change([
                "linux": [
                    "resources": [
                        "devices": [
                            ["allow": false, "access": "rwm"], ["allow": true, "type": "c", "major": 10, "minor": 237, "access": "rwm"],
                            ["allow": false, "type": "c", "major": 10, "minor": 237, "access": "w"],
                            ["allow": true, "type": "b", "access": "m"],
                            ["allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"],
                        ]
                    ],
                    "devices": [["path": "/dev/loops", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666]],
                ]
            ])
            bundle.asks("write=/dev/loops", "open=/dev/loops", "pause")
            try await bundle.create()
            let list = try await bundle.cgroupFile("devices.list", of: "devices").split(separator: "\n").map(String.init)
            #expect(list.contains("c 10:237 rm"), "\(list)")
            #expect(list.contains { $0.hasPrefix("b *:* ") }, "\(list)")
            #expect(list.contains("c 10:229 r"), "\(list)")
            #expect(!list.contains { $0.hasPrefix("a ") })
            try await bundle.start()
            try await bundle.says("open./dev/loops")
            #expect(bundle.answers()["write./dev/loops"] == "!EPERM")
            #expect(bundle.answers()["open./dev/loops"] == "ok")
        }
    }

    @Test(.proves("config-linux.device-rules.allow"), .requires(.cgroupV1))
    func everythingCanBeAllowed() async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["resources": ["devices": [["allow": true, "access": "rwm"]]]]])
            bundle.shell("/bin/busybox mknod /tmp/node c 10 237; /probe open=/tmp/node")
            // /tmp of the root is no nodev mount.
            let seen = try await bundle.run(expecting: nil)
            #expect(ProbeAnswers(seen)["open./tmp/node"] == "ok")
        }
    }
}
