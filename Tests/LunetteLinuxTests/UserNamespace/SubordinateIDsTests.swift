import LunetteSpec
import Testing

@testable import LunetteLinux

@Suite struct SubordinateIDsTests {
    @Test func aUsersLinesAreFoundByNameAndByNumber() {
        let text = "# no comment exists\nann:100000:65536\nbob:165536:65536\n1001:300000:10\nann:broken\nannika:1:1\n"
        #expect(SubordinateIDs.ranges(in: text, name: "ann", uid: 1000) == [IDRange(first: 100_000, count: 65_536)])
        #expect(
            SubordinateIDs.ranges(in: text, name: "bob", uid: 1001)
                == [IDRange(first: 165_536, count: 65_536), IDRange(first: 300_000, count: 10)])
        #expect(SubordinateIDs.ranges(in: text, name: nil, uid: 7) == [])
    }

    @Test func theOwnIdIsRootAndRangesFollowWithoutAGap() {
        let map = SubordinateIDs.map(own: 1000, [IDRange(first: 100_000, count: 10), IDRange(first: 500_000, count: 5)])
        #expect(map.description == "0:1000:1,1:100000:10,11:500000:5")
        #expect(map.arguments == ["0", "1000", "1", "1", "100000", "10", "11", "500000", "5"])
        #expect(map.count == 16)
        #expect(map.identity.map(\.hostID) == [0, 1, 11])
    }

    /// The kernel refuses a map that has an id twice.
    @Test func aRangeWithTheOwnIdInItIsLeftOut() {
        #expect(
            SubordinateIDs.map(own: 1000, [IDRange(first: 500, count: 1000), IDRange(first: 9000, count: 2)]).description
                == "0:1000:1,1:9000:2")
    }

    @Test func mapsAreReadAsTheKernelWritesThem() {
        let map = IDMap(procText: "         0       1000          1\n         1     100000      65536\n")
        #expect(map.description == "0:1000:1,1:100000:65536")
        #expect(IDMap(description: map.description) == map)
        #expect(IDMap(procText: "         0          0 4294967295\n") == .all)
        #expect(UserNamespace(uids: .all, gids: .all).isInitial)
        #expect(!UserNamespace(uids: map, gids: map).isInitial)
        #expect(UserNamespace(uids: map, gids: map).outsideUID == 1000)
    }

    @Test func moreIdsThanBeforeKeepTheOldOnes() {
        let before = SubordinateIDs.map(own: 1000, [IDRange(first: 100_000, count: 10)])
        let more = SubordinateIDs.map(own: 1000, [IDRange(first: 100_000, count: 20)])
        let moved = SubordinateIDs.map(own: 1000, [IDRange(first: 100_001, count: 20)])
        #expect(before.lines.allSatisfy(more.contains))
        #expect(!before.lines.allSatisfy(moved.contains))
        #expect(!more.lines.allSatisfy(before.contains))
    }

    @Test func loginNamesComeFromThePasswdFile() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n"
        #expect(SubordinateIDs.loginName(of: 1000, in: text) == "ann")
        #expect(SubordinateIDs.loginName(of: 1, in: text) == nil)
    }
}
