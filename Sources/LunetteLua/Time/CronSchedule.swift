internal import LunetteSpec

/// When a cron expression is due, by the clocks of a place.
///
/// Where clocks change, as Vixie's cron has it: an expression whose hour is `*` or a step of it goes by the time that passes, so it is due in both of
/// the hours that a clock shows twice. One that names hours is due once for each time that it names: at the first of two, and at the
/// change itself for a time that is skipped.
struct CronSchedule: Sendable, Hashable {
    private struct Field {
        let name: String
        let range: ClosedRange<Int>
        var words: [String] = []
        /// The number of the first word.
        var firstWord = 1
    }

    private static let fields = [
        Field(name: "minute", range: 0...59), Field(name: "hour", range: 0...23), Field(name: "day", range: 1...31),
        Field(
            name: "month", range: 1...12,
            words: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
        Field(name: "weekday", range: 0...7, words: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"], firstWord: 0),
    ]
    private static let names = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    ]

    /// A bit for each number of a field.
    private var minutes: UInt64
    private var hours: UInt64
    private var days: UInt64
    private var months: UInt64
    private var weekdays: UInt64
    private let isAnyDay: Bool
    private let isAnyWeekday: Bool
    private let goesByPassingTime: Bool

    /// - Throws: `invalid_argument` with the part that is wrong.
    init(_ text: String) throws(LunetteError) {
        let words = (Self.names[text] ?? text).split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count == 5 else {
            throw LunetteError(
                .invalidArgument, "task.cron: \"\(displayable(text, limit: 80))\" is not a cron expression",
                hint: "five fields: minute hour day month weekday; or @hourly @daily @weekly @monthly @yearly")
        }
        minutes = try Self.bits(words[0], Self.fields[0])
        hours = try Self.bits(words[1], Self.fields[1])
        days = try Self.bits(words[2], Self.fields[2])
        months = try Self.bits(words[3], Self.fields[3])
        weekdays = try Self.bits(words[4], Self.fields[4])
        // Sunday is 0 and 7.
        if weekdays & 1 << 7 != 0 { weekdays |= 1 }
        isAnyDay = words[2].hasPrefix("*")
        isAnyWeekday = words[4].hasPrefix("*")
        goesByPassingTime = words[1].hasPrefix("*")
    }

    private static func bits(_ text: String, _ field: Field) throws(LunetteError) -> UInt64 {
        func wrong(_ part: Substring) -> LunetteError {
            let article = field.name == "hour" ? "an" : "a"
            return LunetteError(
                .invalidArgument,
                "task.cron: \"\(displayable(String(part), limit: 40))\" is not \(article) \(field.name) of a cron expression",
                hint: "\(field.name): \(field.range.lowerBound) to \(field.range.upperBound)"
                    + (field.words.isEmpty ? "" : ", or \(field.words[0]) to \(field.words[field.words.count - 1])")
                    + "; also lists (1,2), ranges (1-5), steps (*/2)")
        }
        func number(_ part: Substring) throws(LunetteError) -> Int {
            if let index = field.words.firstIndex(of: part.lowercased()) { return index + field.firstWord }
            guard let number = Int(part), part.allSatisfy(\.isNumber), field.range.contains(number) else { throw wrong(part) }
            return number
        }
        var bits: UInt64 = 0
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            var step = 1
            if halves.count == 2 {
                guard let given = Int(halves[1]), given >= 1, given <= 60 else { throw wrong(part) }
                step = given
            }
            var first = field.range.lowerBound
            var last = field.range.upperBound
            // A Sunday that is both would be there twice in a step of seven.
            if field.name == "weekday" { last = 6 }
            if halves[0] != "*" {
                let ends = halves[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
                first = try number(ends[0])
                if ends.count == 2 { last = try number(ends[1]) } else if halves.count == 1 { last = first }
                // fri-sun.
                if field.name == "weekday", last == 0, first > 0 { last = 7 }
                guard first <= last else { throw wrong(part) }
            }
            for value in stride(from: first, through: last, by: step) { bits |= 1 << UInt64(value) }
        }
        return bits
    }

    private func fitsDay(_ time: CivilTime) -> Bool {
        guard months & 1 << UInt64(time.month) != 0 else { return false }
        let day = days & 1 << UInt64(time.day) != 0
        let weekday = weekdays & 1 << UInt64(time.weekday) != 0
        // Both named: either will do.
        return isAnyDay || isAnyWeekday ? day && weekday : day || weekday
    }

    private func fits(_ time: CivilTime) -> Bool {
        fitsDay(time) && hours & 1 << UInt64(time.hour) != 0 && minutes & 1 << UInt64(time.minute) != 0
    }

    /// The first time later than `from` that it is due; nil when there is none within nine years (29 February has eight between 1896 and 1904).
    /// - Parameter from: unix seconds.
    func next(after from: Double, in zone: TimeZoneRules) -> Int64? {
        guard from.isFinite, abs(from) <= Units.latestTime else { return nil }
        let start = Int64(from.rounded(.down))
        // Aligned to the minutes of that clock: some were seconds off UTC's.
        var time = start + 60 - ((start + zone.offset(at: start)) % 60 + 60) % 60
        let end = start + 9 * 366 * 86_400
        var change = zone.transition(after: start)
        while time < end {
            if let (transition, before) = change, transition.time <= time {
                // Whatever comes is after the change: what it skipped is due at it.
                if !goesByPassingTime, skipsATime(transition, before) { return transition.time }
                change = zone.transition(after: transition.time)
                time = max(time, transition.time)
                time += (60 - ((time + transition.offset) % 60 + 60) % 60) % 60
                continue
            }
            let offset = zone.offset(at: time)
            let civil = CivilTime(seconds: time + offset)
            if !fitsDay(civil) || hours & 1 << UInt64(civil.hour) == 0 {
                let toHour = Int64(3600 - civil.minute * 60 - civil.second)
                // A change within may put another hour there.
                time = min(time + toHour, change.map { max($0.transition.time, time + 60) } ?? .max)
            } else if minutes & 1 << UInt64(civil.minute) == 0 || !goesByPassingTime && isSecond(time, offset, zone) {
                time += 60
            } else {
                return time
            }
        }
        return nil
    }

    /// Whether one of the times that a clock set forward never shows is one that is due.
    private func skipsATime(_ transition: TimeZoneRules.Transition, _ before: Int64) -> Bool {
        guard transition.offset > before else { return false }
        var wall = transition.time + before
        wall += (60 - wall % 60) % 60
        while wall < transition.time + transition.offset {
            if fits(CivilTime(seconds: wall)) { return true }
            wall += 60
        }
        return false
    }

    /// Whether the clock, set back, shows this time again.
    private func isSecond(_ time: Int64, _ offset: Int64, _ zone: TimeZoneRules) -> Bool {
        guard let (transition, before) = zone.transition(upTo: time), before > offset else { return false }
        return time < transition.time + before - offset
    }
}
