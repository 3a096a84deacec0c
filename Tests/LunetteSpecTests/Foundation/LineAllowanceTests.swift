import LunetteSpec
import Testing

@Suite struct LineAllowanceTests {
    @Test func whatIsLeftOutIsCountedOnTheNextLine() {
        var allowance = LineAllowance(perMinute: 3)
        let told = (0..<10).map { allowance.admit("a", at: Double($0)) }
        #expect(told == [0, 0, 0, nil, nil, nil, nil, nil, nil, nil])
        #expect(allowance.admit("b", at: 9) == 0)
        #expect(allowance.admit("a", at: 61) == 7)
        #expect(allowance.admit("a", at: 62) == 0)
    }

    @Test func aClockThatGoesBackBeginsAnew() {
        var allowance = LineAllowance(perMinute: 1)
        #expect(allowance.admit("a", at: 1000) == 0 && allowance.admit("a", at: 1001) == nil)
        #expect(allowance.admit("a", at: 5) == 1)
    }

    @Test func namesAreNotKeptForEver() {
        var allowance = LineAllowance(perMinute: 1)
        for number in 0..<5000 { #expect(allowance.admit("\(number)", at: 1) == 0) }
    }
}
