import LunetteLinux
import Testing

@Suite struct IDRangeTests {
    @Test func theFirstRangeIsTheDocumentedBase() {
        #expect(IDRangeAllocator.choose(taken: [], reserved: []) == IDRange(first: 2_000_000_000, count: 65536))
    }

    @Test func aFreedRangeIsTakenAgain() {
        let ranges = (0..<4).map { IDRange(first: IDRangeAllocator.base + $0 * 65536, count: 65536) }
        #expect(IDRangeAllocator.choose(taken: [ranges[0], ranges[1], ranges[3]], reserved: []) == ranges[2])
    }

    @Test func rangesKeepClearOfEverybodysSubordinateIds() {
        let reserved = IDRangeAllocator.parse(subordinate: "alice:100000:65536\nbob:2000000100:10\nbroken\n:::\nroot:2000065536:65536\n")
        #expect(reserved.count == 3)
        let chosen = IDRangeAllocator.choose(taken: [], reserved: reserved)
        #expect(chosen == IDRange(first: IDRangeAllocator.base + 2 * 65536, count: 65536))
        #expect(reserved.allSatisfy { !$0.overlaps(chosen!) })
    }

    @Test func thousandsOfRangesNeverOverlapAndThenRunOut() {
        var taken: [IDRange] = []
        while let range = IDRangeAllocator.choose(taken: taken, reserved: []) {
            taken.append(range)
            if taken.count > 3000 { break }
        }
        #expect(taken.count == (Int(1 << 31) - 2_000_000_000) / 65536)
        #expect(Set(taken).count == taken.count)
        #expect(taken.allSatisfy { $0.end <= 1 << 31 })
    }
}
