import LunetteSpec
import Testing

@Suite struct UnitsTests {
    @Test(
        arguments: [
            ("256MiB", 256 << 20), ("1.5GB", 1_500_000_000), ("1k", 1024), ("512", 512), ("512b", 512), ("0", 0), ("2 GiB", 2 << 30),
            ("1kB", 1000), ("0.5KiB", 512),
        ] as [(String, Int64)])
    func sizesAreRead(_ text: String, _ bytes: Int64) throws { #expect(try Units.bytes(.string(text)) == bytes) }

    @Test(arguments: [
        "", "MiB", "-1MiB", "1XiB", "1..5MiB", "9223372036854775808", "99999999TiB", "1e3", "1M iB", "nan", "inf", "٣MiB", "+1",
    ])
    func malformedSizesAreRefused(_ text: String) {
        #expect(failure { () throws(LunetteError) in _ = try Units.bytes(.string(text)) }?.code == .invalidArgument, "\(text)")
    }

    @Test func numbersAreBytesAndSeconds() throws {
        #expect(try Units.bytes(.int(7)) == 7)
        #expect(try Units.bytes(.double(7.9)) == 7)
        #expect(try Units.seconds(.double(0.25)) == 0.25)
        for value: Value in [.int(-1), .double(.nan), .double(.infinity), .double(1e300), .bool(true), .array([])] {
            #expect(failure { () throws(LunetteError) in _ = try Units.bytes(value) } != nil, "\(value)")
        }
        for value: Value in [.int(-1), .double(.nan), .double(.infinity), .bool(true)] {
            #expect(failure { () throws(LunetteError) in _ = try Units.seconds(value) } != nil, "\(value)")
        }
    }

    @Test(
        arguments: [
            ("500ms", 0.5), ("30s", 30), ("1h30m", 5400), ("2d", 172_800), ("1m", 60), ("90", 90), ("1.5h", 5400), ("1h5m10s", 3910),
        ] as [(String, Double)])
    func durationsAreRead(_ text: String, _ seconds: Double) throws { #expect(abs(try Units.seconds(.string(text)) - seconds) < 1e-9) }

    @Test(arguments: ["", "s", "1x", "-1s", "1s-", "5m30", "1 s", "..s", "1h 5m", "1hh", "h1"])
    func malformedDurationsAreRefused(_ text: String) {
        #expect(failure { () throws(LunetteError) in _ = try Units.seconds(.string(text)) }?.code == .invalidArgument, "\(text)")
    }
}
