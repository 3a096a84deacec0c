import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteLinux

@Suite struct CgroupConversionTests {
    @Test(arguments: [(2, 1), (1024, 39), (512, 20), (262_144, 10_000), (0, 1), (1 << 40, 10_000)] as [(Int64, Int64)])
    func sharesBecomeWeights(_ shares: Int64, _ weight: Int64) { #expect(CgroupConversions.weight(ofShares: shares) == weight) }

    @Test(arguments: [(10, 1), (100, 910), (500, 4950), (1000, 10_000), (5, 1)] as [(Int64, Int64)])
    func blockIOWeightsBecomeIOWeights(_ weight: Int64, _ expected: Int64) {
        #expect(CgroupConversions.ioWeight(ofBlockIOWeight: weight) == expected)
    }

    @Test(
        arguments: [
            (-1, nil, -1), (-1, 100, -1), (300, 100, 200), (100, 100, 0), (99, 100, nil), (100, nil, nil), (100, -1, nil),
        ] as [(Int64, Int64?, Int64?)])
    func swapAloneIsTheDifference(_ both: Int64, _ memory: Int64?, _ alone: Int64?) {
        #expect(CgroupConversions.swapAlone(swap: both, memory: memory) == alone)
    }

    @Test func throttlesBecomeLinesOfIOMax() {
        #expect(CgroupConversions.ioMax(.readBps, .init(major: 8, minor: 0, rate: 1000)) == "8:0 rbps=1000")
        #expect(CgroupConversions.ioMax(.writeBps, .init(major: 8, minor: 0, rate: 0)) == "8:0 wbps=max")
        #expect(CgroupConversions.ioMax(.readIOPS, .init(major: 254, minor: 16, rate: 5)) == "254:16 riops=5")
        #expect(CgroupConversions.ioMax(.writeIOPS, .init(major: 254, minor: 16, rate: .max)) == "254:16 wiops=max")
    }

    @Test func figuresOfBlockDevicesAreReadInBothForms() {
        #expect(
            ContainerCgroup.blockEntries("8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n8:16 7\n")
                == [
                    ["major": 8, "minor": 0, "op": "Read", "value": 10], ["major": 8, "minor": 0, "op": "Write", "value": 20],
                    ["major": 8, "minor": 0, "op": "Total", "value": 30], ["major": 8, "minor": 16, "value": 7],
                ])
        let tables = ContainerCgroup.blockTables("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n")
        #expect(tables["ioServiceBytesRecursive"]?.arrayValue?.count == 3)
        #expect(tables["ioServicedRecursive"]?.arrayValue?[1] == ["major": 8, "minor": 0, "op": "Write", "value": 4])
        #expect(ContainerCgroup.list("0-2,7\n") == [0, 1, 2, 7])
    }

    @Test func pressureIsReadAndGarbageIsNone() throws {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=99\n"
        let pressure = try #require(Pressure(text: text))
        #expect(pressure.some.average10 == 1.5 && pressure.some.average60 == 0.25 && pressure.some.total == 12345)
        #expect(pressure.full?.total == 99)
        #expect(try #require(Pressure(text: "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n")).full == nil)
        #expect(Pressure(text: "") == nil)
        #expect(Pressure(text: "full of nonsense") == nil)
    }
}

@Suite struct DeviceRuleTests {
    private func rules(_ rules: [RuntimeSpec.Resources.DeviceRule]) -> DeviceRules { DeviceRules(rules) }

    @Test func aWildcardStandsForEverythingAndPartsOfOneForBothKinds() {
        #expect(rules([.init(allow: false, access: "rwm")]).rules == [.init(allow: false, kind: "a")])
        #expect(rules([.init(allow: false)]).rules == [.init(allow: false, kind: "a")])
        #expect(rules([.init(allow: true, type: "a", major: -1, minor: -1, access: "mwr")]).rules.map(\.kind) == ["a"])
        #expect(
            rules([.init(allow: true, type: "a", access: "r")]).rules
                == [.init(allow: true, kind: "b", access: "r"), .init(allow: true, kind: "c", access: "r")])
        #expect(rules([.init(allow: true, type: "c", major: 1, minor: -1, access: "")]).rules == [.init(allow: true, kind: "c", major: 1)])
    }

    @Test func v1GetsADefaultAndItsExceptions() throws {
        let list = try rules([
            .init(allow: true, type: "c", major: 9, minor: 9), .init(allow: false),
            .init(allow: true, type: "c", major: 1, minor: 3, access: "r"),
            .init(allow: true, type: "c", major: 1, minor: 3, access: "w"), .init(allow: true, type: "c", major: 1, minor: 5),
            .init(allow: false, type: "c", major: 1, minor: 5, access: "w"), .init(allow: false, type: "b", major: 8, minor: 0),
        ]).list()
        #expect(!list.allowsByDefault)
        #expect(list.exceptions.map(\.text) == ["c 1:3 rw", "c 1:5 rm"])
        let open = try rules([.init(allow: true), .init(allow: false, type: "b", major: 8)]).list()
        #expect(open.allowsByDefault)
        #expect(open.exceptions.map(\.text) == ["b 8:* rwm"])
    }

    @Test func whatV1CannotSayIsRefusedInsteadOfIgnored() {
        let taken = rules([
            .init(allow: false), .init(allow: true, type: "c", access: "rwm"), .init(allow: false, type: "c", major: 1, minor: 3),
        ])
        let error = #expect(throws: LunetteError.self) { try taken.list() }
        #expect(error?.code == .unsupported && error?.path == "linux.resources.devices")
        #expect(throws: Never.self) {
            try rules([
                .init(allow: false), .init(allow: true, type: "c", access: "m"), .init(allow: false, type: "c", major: 1, access: "r"),
            ]).list()
        }
    }

    @Test func theKernelsListIsRead() {
        let list = DeviceRules.List(text: "c *:* m\nb *:* m\nc 1:3 rwm\n")
        #expect(list.exceptions.map(\.text) == ["c *:* m", "b *:* m", "c 1:3 rwm"])
        #expect(DeviceRules.List(text: "a *:* rwm\n").allowsByDefault)
    }
}
