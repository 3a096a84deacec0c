import Foundation
import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

/// When cron expressions are due, and what time zones say.
@Suite struct CronTests {
    private static func time(_ text: String) -> Double { ISO8601DateFormatter().date(from: text)!.timeIntervalSince1970 }
    private static func text(_ time: Int64?) -> String? {
        time.map { ISO8601DateFormatter().string(from: Date(timeIntervalSince1970: Double($0))) }
    }

    private func due(_ expression: String, after start: String, in zone: String, count: Int) throws -> [String] {
        let (schedule, rules) = (try CronSchedule(expression), try TimeZoneRules.named(zone))
        var times: [String] = []
        var from = Self.time(start)
        for _ in 0..<count {
            guard let next = schedule.next(after: from, in: rules) else { break }
            times.append(Self.text(next)!)
            from = Double(next)
        }
        return times
    }

    @Test(arguments: [
        ("0 3 * * *", "2026-01-01T03:00:00Z", ["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"]),
        ("*/20 8-9 * * *", "2026-01-01T08:30:30Z", ["2026-01-01T08:40:00Z", "2026-01-01T09:00:00Z", "2026-01-01T09:20:00Z"]),
        ("5,10 * * * *", "2026-01-01T00:05:00Z", ["2026-01-01T00:10:00Z", "2026-01-01T01:05:00Z"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 31 * *", "2026-01-31T00:00:00Z", ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"]),
        ("0 12 * * mon-fri", "2026-11-27T12:00:00Z", ["2026-11-30T12:00:00Z", "2026-12-01T12:00:00Z"]),
        ("0 12 * * sat-sun", "2026-11-27T12:00:00Z", ["2026-11-28T12:00:00Z", "2026-11-29T12:00:00Z", "2026-12-05T12:00:00Z"]),
        ("0 12 * * 7", "2026-11-27T12:00:00Z", ["2026-11-29T12:00:00Z", "2026-12-06T12:00:00Z"]),
        // Either of the two, when both are named.
        ("0 0 13 * fri", "2026-11-01T00:00:00Z", ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]),
        ("0 0 1 jan,jul *", "2026-01-01T00:00:00Z", ["2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        ("@weekly", "2026-11-27T12:00:00Z", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
        ("@hourly", "2026-11-27T12:00:00Z", ["2026-11-27T13:00:00Z", "2026-11-27T14:00:00Z"]),
        ("0 0 31 2 *", "2026-01-01T00:00:00Z", []),
        ("59 23 31 12 *", "2026-12-31T23:59:00Z", ["2027-12-31T23:59:00Z"]),
    ])
    func anExpressionNamesTimes(_ expression: String, _ start: String, _ expected: [String]) throws {
        #expect(try due(expression, after: start, in: "UTC", count: max(1, expected.count)) == expected)
    }

    /// Clocks go forward on 29 March 2026 at 01:00 UTC in Berlin, and back on 25 October at 01:00 UTC; in New York on 8 March and 1 November.
    @Test(arguments: [
        // Skipped times are due at the change, once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
        (
            "30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
        ),
        ("30 1 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T00:30:00Z", "2026-03-29T23:30:00Z"]),
        // Times that come twice are due at the first.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        (
            "*/30 2-3 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z",
            ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"]
        ),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
        // What goes by passing time goes on by it.
        ("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]),
        (
            "*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z",
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        ),
        ("0 */2 * * *", "America/New_York", "2026-03-08T05:30:00Z", ["2026-03-08T08:00:00Z", "2026-03-08T10:00:00Z"]),
        // Half an hour, a quarter, a day that was skipped, a year that the file has no entries of.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]),
        ("0 0 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", ["2026-01-01T18:15:00Z", "2026-01-02T18:15:00Z"]),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-28T00:00:00Z", ["2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"]),
        ("0 12 1 7 *", "Europe/Berlin", "2150-01-01T00:00:00Z", ["2150-07-01T10:00:00Z"]),
        ("0 12 * * *", "UTC", "1969-12-31T11:00:00Z", ["1969-12-31T12:00:00Z", "1970-01-01T12:00:00Z"]),
    ])
    func changesOfTheClock(_ expression: String, _ zone: String, _ start: String, _ expected: [String]) throws {
        #expect(try due(expression, after: start, in: zone, count: expected.count) == expected)
    }

    /// Foundation reads the same files by code of its own.
    @Test(arguments: [
        "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata", "Pacific/Apia", "Africa/Casablanca", "Etc/GMT-14",
    ])
    func offsetsAreThoseOfFoundation(_ name: String) throws {
        let (rules, theirs) = (try TimeZoneRules.named(name), try #require(TimeZone(identifier: name)))
        for hour in stride(from: 0, to: 80 * 366 * 24, by: 37) {
            let time = Int64(hour) * 3600
            let offset = theirs.secondsFromGMT(for: Date(timeIntervalSince1970: Double(time)))
            guard rules.offset(at: time) != Int64(offset) else { continue }
            Issue.record("\(name) at \(time): \(rules.offset(at: time)), Foundation has \(offset)")
            return
        }
    }

    @Test(arguments: [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "1-  * * * *",
        "5-1 * * * *", "*/0 * * * *", "*/x * * * *", "1,,2 * * * *", "+1 * * * *", "1.5 * * * *", "@never", "* * * foo *", "-1 * * * *",
    ])
    func whatIsNoExpressionIsRefused(_ text: String) {
        #expect(throws: LunetteError.self) { _ = try CronSchedule(text) }
    }

    @Test(arguments: ["Europe/Berlinn", "../../etc/passwd", "/etc/localtime", "", ".", "Europe", "Europe/", "tzdata.zi", "zone.tab"])
    func whatIsNoZoneIsRefused(_ name: String) { #expect(throws: LunetteError.self) { _ = try TimeZoneRules.named(name) } }

    /// Files that are cut off or lie about their sizes.
    @Test func damagedFilesAreRefused() throws {
        let bytes = try Array(Data(contentsOf: URL(fileURLWithPath: "/usr/share/zoneinfo/Europe/Berlin")))
        #expect(TimeZoneRules(file: bytes) != nil)
        for length in stride(from: 0, to: bytes.count, by: 7) { _ = TimeZoneRules(file: Array(bytes[..<length])) }
        for index in 0..<200 {
            for value in [0, 1, 0x7f, 0xff] as [UInt8] {
                var broken = bytes
                broken[index] = value
                _ = TimeZoneRules(file: broken)
            }
        }
        #expect(TimeZoneRules(file: []) == nil && TimeZoneRules(file: Array("TZif2".utf8)) == nil)
    }

    // MARK: task.cron

    @Test(arguments: [
        ("task.cron('* * * * *', { time_zone = 'Nowhere/Else' }, print)", "not_found"),
        ("task.cron('* * * *', {}, print)", "invalid_argument"),
        ("task.cron('* * * * *', { overlaps = 'skip' }, print)", "invalid_argument"),
        ("task.cron('* * * * *', { overlap = 'never' }, print)", "invalid_argument"),
        ("task.cron('* * * * *', { catch_up = true }, print)", "invalid_argument"),
        ("task.cron('* * * * *', { name = 1 }, print)", "invalid_argument"),
    ])
    func whatIsWrongIsSaidAtOnce(_ source: String, _ code: String) async {
        let ran = await runLua(source)
        #expect(ran.code == code, "\(ran.error)")
    }

    @Test func aLimitedStateHasItToo() async {
        var limits = LuaState.Limits()
        limits.isLimited = true
        let ran = await runLua(
            "local timer = task.cron('0 3 * * *', { time_zone = 'Asia/Tokyo' }, print) timer:off() return task.next_cron_time('0 3 * * *', 0, { time_zone = 'Asia/Tokyo' })",
            limits: limits, permissions: [])
        #expect(ran.text == "64800", "\(ran.text) \(ran.error)")
    }

    /// What was missed is made up for once, unless it is longer ago than it may be.
    @Test(arguments: [
        ("* * * * *", "true", 86_400.0, "1"), ("* * * * *", "'1h'", 86_400, "1"), ("0 0 1 1 *", "true", 60, "0"),
        ("* * * * *", "false", 86_400, "0"),
        ("0 0 29 2 *", "'1h'", 4e8, "0"), ("0 0 29 2 *", "true", 4e8, "1"),
    ])
    func catchUpMakesUpForWhatWasMissed(_ expression: String, _ catchUp: String, _ ago: Double, _ runs: String) async {
        let engine = FakeEngine { (_, request, _, _) async throws(LunetteError) in
            request.function == "store.fetch" ? ["version": 1, "value": .double(Date().timeIntervalSince1970 - ago)] : 1
        }
        // A full minute may pass meanwhile.
        let ran = await runLua(
            "if lunette.now() % 60 > 59 then task.sleep(1.1) end local n = 0 local timer = task.cron('\(expression)', { name = 'x', time_zone = 'UTC', "
                + "catch_up = \(catchUp) }, function() n = n + 1 end) for _ = 1, 200 do task.sleep(0.02) if n > 0 or _ > 10 and \(runs) == 0 then break end end timer:off() return n",
            engine: engine)
        #expect(ran.text == runs, "\(ran.text) \(ran.error)")
        if catchUp != "false" { #expect(engine.requests.first?.arguments["key"] == "cron/x") }
    }
}
