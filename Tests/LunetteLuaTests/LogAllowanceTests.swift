import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct LogAllowanceTests {
    @Test func aLineIsShortened() {
        var allowance = LogAllowance()
        let lines = allowance.admit(String(repeating: "x", count: 20000), ["f": .string(String(repeating: "y", count: 20000))], now: 0)
        #expect(lines.count == 1)
        #expect(lines[0].message.utf8.count < 8 << 10 + 100 && lines[0].message.hasSuffix("… (11808 bytes left out)"))
        #expect(lines[0].fields["left_out"] == "20008 bytes of fields")
    }

    @Test func aFloodIsLeftOutAndCounted() {
        var allowance = LogAllowance()
        var written = 0
        for _ in 0..<1000 { written += allowance.admit(String(repeating: "x", count: 8000), [:], now: 1).count }
        #expect(written == 33)
        #expect(allowance.admit("later", [:], now: 5).isEmpty)
        let lines = allowance.admit("after", [:], now: 12)
        #expect(lines.map(\.message) == ["968 lines are left out: more than 256 KiB in 10 s", "after"])
        #expect(allowance.admit("and on", [:], now: 13).map(\.message) == ["and on"])
    }
}
