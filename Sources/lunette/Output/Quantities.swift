import Glibc
import LunetteSpec

/// Shows sizes and times as Docker's users know them.
enum Quantity {
    /// `12.3MB`: decimal units, three digits.
    static func size(_ bytes: Int64) -> String { scaled(Double(bytes), 1000, ["B", "kB", "MB", "GB", "TB", "PB"]) }
    /// `12.3MiB`.
    static func binarySize(_ bytes: Int64) -> String { scaled(Double(bytes), 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]) }

    private static func scaled(_ number: Double, _ base: Double, _ units: [String]) -> String {
        var number = number
        var unit = 0
        while number >= base, unit < units.count - 1 {
            number /= base
            unit += 1
        }
        if unit == 0 { return "\(Int64(number))\(units[0])" }
        return decimal(number, number < 10 ? 2 : number < 100 ? 1 : 0) + units[unit]
    }

    /// A number with a fixed count of decimals, without Foundation.
    static func decimal(_ number: Double, _ decimals: Int) -> String {
        guard number.isFinite, abs(number) < 1e15 else { return "\(number)" }
        var factor = 1.0
        for _ in 0..<decimals { factor *= 10 }
        let whole = Int64((abs(number) * factor).rounded())
        let sign = number < 0 && whole != 0 ? "-" : ""
        if decimals == 0 { return sign + String(whole) }
        let digits = String(whole)
        let filled = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        return sign + filled.dropLast(decimals) + "." + filled.suffix(decimals)
    }

    static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// `3 minutes`, `About an hour`, as Docker says it.
    static func duration(_ seconds: Double) -> String {
        let seconds = Int(max(0, seconds))
        let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600)
        switch seconds {
        case 0: return "Less than a second"
        case 1: return "1 second"
        case ..<60: return "\(seconds) seconds"
        case ..<120: return "About a minute"
        case ..<3600: return "\(minutes) minutes"
        case ..<5400: return "About an hour"
        case ..<(48 * 3600): return "\(hours) hours"
        case ..<(14 * 86400): return "\(hours / 24) days"
        case ..<(60 * 86400): return "\(hours / 24 / 7) weeks"
        case ..<(730 * 86400): return "\(hours / 24 / 30) months"
        default: return "\(hours / 24 / 365) years"
        }
    }

    static func ago(_ time: Double) -> String { duration(now - time) + " ago" }

    /// RFC 3339 in UTC with nanoseconds, as log time stamps are.
    static func timestamp(_ time: Double) -> String {
        var whole = time_t(time.rounded(.down))
        let nanoseconds = Int64(((time - Double(whole)) * 1e9).rounded(.down))
        var parts = tm()
        gmtime_r(&whole, &parts)
        func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + String(number) }
        let fraction = String(nanoseconds)
        let date = "\(1900 + parts.tm_year)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
        let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return "\(date)T\(clock).\(String(repeating: "0", count: max(0, 9 - fraction.count)))\(fraction)Z"
    }
}
