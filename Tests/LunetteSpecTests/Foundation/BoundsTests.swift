import LunetteSpec
import Testing

/// Numbers that no clock and no memory has end no process.
@Suite struct BoundsTests {
    @Test(arguments: [1e300, -1e300, .infinity, -.infinity, .nan, 1e19, -1e19])
    func anyNumberIsSomeTime(_ seconds: Double) {
        let text = Timestamp.text(seconds)
        #expect(text.count == "2026-11-23T12:40:37.123456789Z".count && text.hasSuffix("Z"), "\(text)")
    }

    @Test(arguments: [Value.double(1e300), .double(.nan), "99999999999999999999d", .double(4e9)])
    func noDurationIsLongerThanAHundredYears(_ value: Value) {
        #expect(throws: LunetteError.self) { try Units.seconds(value) }
    }

    @Test func twiceAsMuchEndsAtTheLargestNumber() {
        #expect(Int64(21).doubled == 42 && (Int64(1) << 62).doubled == .max && Int64.max.doubled == .max && Int64.min.doubled == .min)
    }
}
