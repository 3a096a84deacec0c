/// RFC 3339 in UTC with nanoseconds, the log's form: `2026-11-23T12:40:37.123456789Z`.
package enum Timestamp {
    /// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant's days_from_civil).
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// - Parameter text: RFC 3339: a date, a time, maybe a fraction, and `Z` or an offset.
    /// - Returns: unix seconds; nil for anything else.
    package static func seconds(_ text: String) -> Double? {
        let bytes = Array(text.utf8)
        func number(_ from: Int, _ count: Int) -> Int64? {
            guard from + count <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[from..<from + count] {
                guard (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            return value
        }
        func stands(_ characters: String, _ at: Int) -> Bool { at < bytes.count && characters.utf8.contains(bytes[at]) }
        guard let year = number(0, 4), stands("-", 4), let month = number(5, 2), stands("-", 7), let day = number(8, 2), stands("Tt ", 10),
            let hour = number(11, 2), stands(":", 13), let minute = number(14, 2), stands(":", 16), let second = number(17, 2),
            (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        var index = 19
        var fraction = 0.0
        if stands(".", index) {
            index += 1
            let first = index
            while stands("0123456789", index) { index += 1 }
            guard index > first, let digits = Double("0." + String(decoding: bytes[first..<index], as: UTF8.self)) else { return nil }
            fraction = digits
        }
        var offset: Int64 = 0
        if stands("+-", index) {
            guard let hours = number(index + 1, 2), stands(":", index + 3), let minutes = number(index + 4, 2) else { return nil }
            offset = (hours * 60 + minutes) * (stands("-", index) ? -60 : 60)
            index += 6
        } else {
            guard stands("Zz", index) else { return nil }
            index += 1
        }
        guard index == bytes.count else { return nil }
        return Double(days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset) + fraction
    }

    /// Without a fraction, as image configs have it: `2026-11-23T12:40:37Z`.
    package static func text(wholeSeconds seconds: Int64) -> String { text(Double(seconds)).prefix(19) + "Z" }

    /// Sorts as text exactly as it sorts in time.
    package static func text(_ seconds: Double) -> String {
        // A year has four digits here.
        let seconds = seconds.isFinite ? min(max(seconds, -62_135_596_800), Units.latestTime) : 0
        let whole = Int64(seconds.rounded(.down))
        let nanoseconds = min(999_999_999, max(0, Int64((seconds - Double(whole)) * 1e9)))
        let day = (whole >= 0 ? whole : whole - 86399) / 86400
        let second = whole - day * 86400
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func pad(_ number: Int64, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = "\(pad(year, 4))-\(pad(month, 2))-\(pad(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1, 2))"
        return "\(date)T\(pad(second / 3600, 2)):\(pad(second / 60 % 60, 2)):\(pad(second % 60, 2)).\(pad(nanoseconds, 9))Z"
    }
}
