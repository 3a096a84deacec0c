/// The rule at the end of a time zone file, for the years that it has no entries of: POSIX' TZ (`CET-1CEST,M3.5.0,M10.5.0/3`).
struct RecurringRule {
    /// Seconds east of UTC.
    let standard: Int64
    private var summer: (offset: Int64, begins: Day, ends: Day)?

    private struct Day {
        enum Kind {
            /// 1 to 365, 29 February never counted.
            case julian(Int)
            /// 0 to 365.
            case ordinal(Int)
            case weekday(month: Int, week: Int, day: Int)
        }
        var kind: Kind
        /// By the clock that holds before it.
        var seconds: Int64 = 7200

        /// Since 1970 by that clock.
        func wallSeconds(year: Int64) -> Int64 {
            let start = CivilTime.days(year: year, month: 1, day: 1)
            let days: Int64
            switch kind {
            case .julian(let number):
                let isLeap = CivilTime.days(year: year + 1, month: 1, day: 1) - start == 366
                days = start + Int64(number - 1 + (isLeap && number >= 60 ? 1 : 0))
            case .ordinal(let number): days = start + Int64(number)
            case .weekday(let month, let week, let day):
                let first = CivilTime.days(year: year, month: month, day: 1)
                let firstWeekday = CivilTime(seconds: first * 86_400).weekday
                var date = first + Int64((day - firstWeekday + 7) % 7 + 7 * (week - 1))
                let next =
                    month == 12 ? CivilTime.days(year: year + 1, month: 1, day: 1) : CivilTime.days(year: year, month: month + 1, day: 1)
                // The fifth is the last.
                while date >= next { date -= 7 }
                days = date
            }
            return days * 86_400 + seconds
        }
    }

    /// - Returns: nil for what isn't such a rule.
    init?(_ text: [UInt8]) {
        var rest = text[...]
        guard Self.takeName(&rest), let west = Self.takeTime(&rest) else { return nil }
        standard = -west
        if rest.isEmpty { return }
        guard Self.takeName(&rest) else { return nil }
        var offset = standard + 3600
        if let next = rest.first, next != 0x2c {
            guard let west = Self.takeTime(&rest) else { return nil }
            offset = -west
        }
        guard let begins = Self.takeDay(&rest), let ends = Self.takeDay(&rest), rest.isEmpty else { return nil }
        summer = (offset, begins, ends)
    }

    /// In the order of their times.
    func transitions(from first: Int64, to last: Int64) -> [TimeZoneRules.Transition] {
        guard let summer, first <= last else { return [] }
        return (first...last).flatMap { year in
            [
                TimeZoneRules.Transition(time: summer.begins.wallSeconds(year: year) - standard, offset: summer.offset),
                TimeZoneRules.Transition(time: summer.ends.wallSeconds(year: year) - summer.offset, offset: standard),
            ]
        }.sorted { $0.time < $1.time }
    }

    // MARK: Parsing

    private static func takeName(_ rest: inout ArraySlice<UInt8>) -> Bool {
        if rest.first == 0x3c {
            guard let end = rest.firstIndex(of: 0x3e) else { return false }
            rest = rest[(end + 1)...]
            return true
        }
        let name = rest.prefix { (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) }
        rest = rest.dropFirst(name.count)
        return name.count >= 3
    }

    private static func takeNumber(_ rest: inout ArraySlice<UInt8>, upTo limit: Int) -> Int? {
        let digits = rest.prefix { (0x30...0x39).contains($0) }
        guard !digits.isEmpty, digits.count <= 3 else { return nil }
        rest = rest.dropFirst(digits.count)
        let number = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        return number <= limit ? number : nil
    }

    /// `[+-]hh[:mm[:ss]]`; hours up to 167 (RFC 8536, 3.3.1).
    private static func takeTime(_ rest: inout ArraySlice<UInt8>) -> Int64? {
        var sign: Int64 = 1
        if let first = rest.first, first == 0x2b || first == 0x2d {
            sign = first == 0x2d ? -1 : 1
            rest = rest.dropFirst()
        }
        guard let hours = takeNumber(&rest, upTo: 167) else { return nil }
        var seconds = Int64(hours) * 3600
        for unit in [60, 1] as [Int64] where rest.first == 0x3a {
            rest = rest.dropFirst()
            guard let number = takeNumber(&rest, upTo: 59) else { return nil }
            seconds += Int64(number) * unit
        }
        return sign * seconds
    }

    private static func takeDay(_ rest: inout ArraySlice<UInt8>) -> Day? {
        guard rest.first == 0x2c else { return nil }
        rest = rest.dropFirst()
        var day: Day
        switch rest.first {
        case 0x4a:  // J
            rest = rest.dropFirst()
            guard let number = takeNumber(&rest, upTo: 365), number >= 1 else { return nil }
            day = Day(kind: .julian(number))
        case 0x4d:  // M
            rest = rest.dropFirst()
            guard let month = takeNumber(&rest, upTo: 12), month >= 1, takeDot(&rest), let week = takeNumber(&rest, upTo: 5), week >= 1,
                takeDot(&rest), let weekday = takeNumber(&rest, upTo: 6)
            else { return nil }
            day = Day(kind: .weekday(month: month, week: week, day: weekday))
        default:
            guard let number = takeNumber(&rest, upTo: 365) else { return nil }
            day = Day(kind: .ordinal(number))
        }
        if rest.first == 0x2f {
            rest = rest.dropFirst()
            guard let seconds = takeTime(&rest) else { return nil }
            day.seconds = seconds
        }
        return day
    }

    private static func takeDot(_ rest: inout ArraySlice<UInt8>) -> Bool {
        guard rest.first == 0x2e else { return false }
        rest = rest.dropFirst()
        return true
    }
}
