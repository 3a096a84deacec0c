import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteLinux

@Suite struct BusMessageTests {
    @Test func aCallHasTheSpecificationsBytes() throws {
        var writer = BusWriter()
        writer.string("u")
        let message = BusMessage(call: "M", path: "/p", interface: "i.f", signature: "s", body: writer.bytes, serial: 7)
        let expected: [UInt8] = [
            0x6c, 1, 0, 1, 6, 0, 0, 0, 7, 0, 0, 0, 95, 0, 0, 0,  // little endian, call, body, serial, fields
            1, 1, 0x6f, 0, 2, 0, 0, 0, 0x2f, 0x70, 0, 0, 0, 0, 0, 0,  // path
            2, 1, 0x73, 0, 3, 0, 0, 0, 0x69, 0x2e, 0x66, 0, 0, 0, 0, 0,  // interface
            3, 1, 0x73, 0, 1, 0, 0, 0, 0x4d, 0, 0, 0, 0, 0, 0, 0,  // member
        ]
        #expect(Array(message.encoded.prefix(64)) == expected)
        #expect(message.encoded.suffix(6) == [1, 0, 0, 0, 0x75, 0])
        #expect(BusMessage.length(of: message.encoded[...]) == message.encoded.count)
        let read = try #require(BusMessage(message.encoded))
        #expect(read.member == "M" && read.path == "/p" && read.destination == "org.freedesktop.systemd1" && read.signature == "s")
        #expect(read.body == writer.bytes)
    }

    @Test func propertiesAreStructsOnBordersOfEight() {
        var writer = BusWriter()
        writer.properties([.init("A", .bool(true)), .init("B", .number(5))])
        let expected: [UInt8] = [
            40, 0, 0, 0, 0, 0, 0, 0,  // length, padding
            1, 0, 0, 0, 0x41, 0, 1, 0x62, 0, 0, 0, 0, 1, 0, 0, 0,  // "A", variant b
            1, 0, 0, 0, 0x42, 0, 1, 0x74, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,  // "B", variant t
        ]
        #expect(writer.bytes == expected)
    }

    @Test func noBytesCrashTheReader() throws {
        var random = SystemRandomNumberGenerator()
        var writer = BusWriter()
        writer.string("org")
        let whole = BusMessage(call: "Member", path: "/path", interface: "i", signature: "s", body: writer.bytes, serial: 1).encoded
        for _ in 0..<3000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0...3, using: &random))
            _ = BusMessage.length(of: bytes[...])
            _ = BusMessage(bytes)
        }
        #expect(BusMessage([]) == nil)
    }

    @Test(arguments: [
        ("machine.slice", "libpod", "abc", "libpod-abc.scope"), ("", "", "abc", "abc.scope"), ("", "x", "a.scope", "a.scope"),
    ])
    func scopesAreNamedAsRuncNamesThem(_ slice: String, _ prefix: String, _ name: String, _ unit: String) {
        #expect(SystemdScope(slice: slice, prefix: prefix, name: name).unit == unit)
    }

    @Test func unitsAreEscapedInObjectPaths() {
        #expect(SystemdScope.escaped("libpod-0a.scope") == "libpod_2d0a_2escope")
        #expect(SystemdScope.escaped("0a") == "_30a")
    }

    @Test func limitsBecomePropertiesOfEachVersion() throws {
        let resources = try RuntimeSpec.Resources([
            "memory": ["limit": 100, "swap": 300, "reservation": 50],
            "cpu": ["shares": 1024, "quota": 25000, "period": 100_000, "cpus": "0-2,9"],
            "pids": ["limit": -1], "blockIO": ["weight": 100],
        ])
        #expect(
            SystemdScope.properties(of: resources, .v2) == [
                .init("MemoryMax", .number(100)), .init("MemoryLow", .number(50)), .init("MemorySwapMax", .number(200)),
                .init("CPUWeight", .number(39)), .init("CPUQuotaPeriodUSec", .number(100_000)),
                .init("CPUQuotaPerSecUSec", .number(250_000)),
                .init("TasksMax", .number(.max)), .init("AllowedCPUs", .mask([0b111, 0b10])), .init("IOWeight", .number(910)),
            ])
        #expect(
            SystemdScope.properties(of: resources, .v1) == [
                .init("MemoryLimit", .number(100)), .init("CPUShares", .number(1024)), .init("CPUQuotaPeriodUSec", .number(100_000)),
                .init("CPUQuotaPerSecUSec", .number(250_000)), .init("TasksMax", .number(.max)), .init("BlockIOWeight", .number(100)),
            ])
        #expect(SystemdScope.quotaPerSecond(1, 100_000) == 10000)
    }

    /// What a reload of systemd's would else take back.
    @Test func filesOfVersion2BecomePropertiesToo() throws {
        let resources = try RuntimeSpec.Resources([
            "memory": ["limit": 100],
            "unified": [
                "memory.max": "200", "memory.high": "max", "cpu.max": "25000 50000", "io.weight": "default 70", "cpuset.cpus": "1",
                "memory.oom.group": "1", "pids.max": "nonsense",
            ],
        ])
        let properties = SystemdScope.properties(of: resources, .v2)
        #expect(
            properties == [
                .init("MemoryHigh", .number(.max)), .init("MemoryMax", .number(200)), .init("IOWeight", .number(70)),
                .init("AllowedCPUs", .mask([0b10])), .init("CPUQuotaPeriodUSec", .number(50000)),
                .init("CPUQuotaPerSecUSec", .number(500_000)),
            ])
        #expect(SystemdScope.properties(of: resources, .v1) == [.init("MemoryLimit", .number(100))])
    }

    @Test(
        arguments: [
            ("", "/", ["system.slice", "p-n.scope"]), ("-.slice", "/", ["p-n.scope"]), ("a.slice", "/", ["a.slice", "p-n.scope"]),
            (
                "a-b-c.slice", "/user.slice/user@5.service",
                ["user.slice", "user@5.service", "a.slice", "a-b.slice", "a-b-c.slice", "p-n.scope"]
            ),
        ] as [(String, String, [String])])
    func slicesLieInSlices(slice: String, group: String, path: [String]) {
        #expect(SystemdScope(slice: slice, prefix: "p", name: "n").expectedPath(below: group) == path)
    }

    @Test func everyUserHasASystemdOfTheirOwn() {
        #expect(SystemdConnection.socket(ofUser: 0, runtimeDirectory: "/run/user/0") == SystemdConnection.systemSocket)
        #expect(SystemdConnection.socket(ofUser: 5, runtimeDirectory: "/x") == "/x/systemd/private")
        #expect(SystemdConnection.socket(ofUser: 5, runtimeDirectory: "") == "/run/user/5/systemd/private")
    }

    @Test func withoutSystemdTheErrorSaysWhatToDo() throws {
        let error = #expect(throws: LunetteError.self) { _ = try SystemdConnection(socketPath: "/run/no-such/private") }
        #expect(error?.code == .unsupported && error?.hint?.contains("cgroupfs") == true)
    }
}
