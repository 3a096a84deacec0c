/// How many lines each one who causes them may put into a log in a minute: nobody shall push out of it what others have done.
package struct LineAllowance: Sendable {
    private struct Minute {
        var since: Double
        var count = 0
        var leftOut = 0
    }

    private let perMinute: Int
    private var known: [String: Minute] = [:]

    /// - Parameter perMinute: lines of each name.
    package init(perMinute: Int) { self.perMinute = perMinute }

    /// - Parameters:
    ///   - name: of who causes the line.
    ///   - time: now, in seconds.
    /// - Returns: nil when the line is to be left out; otherwise how many were left out before it.
    package mutating func admit(_ name: String, at time: Double) -> Int? {
        // Names come and go: who begins anew is written more often, not less.
        if known.count > 1000 { known = [:] }
        var minute = known[name] ?? Minute(since: time)
        if time - minute.since >= 60 || time < minute.since { minute = Minute(since: time, leftOut: minute.leftOut) }
        minute.count += 1
        defer { known[name] = minute }
        if minute.count > perMinute {
            minute.leftOut += 1
            return nil
        }
        defer { minute.leftOut = 0 }
        return minute.leftOut
    }
}
