internal import Glibc
internal import LunetteSpec

/// How far a place's clocks are from UTC, when: read from the machine's time zone files (RFC 8536, tzfile(5)).
///
/// libc knows one zone for the whole process; this needs none of its state.
struct TimeZoneRules: Sendable, Hashable {
    struct Transition: Sendable, Hashable {
        /// Unix seconds: the first to which `offset` applies.
        let time: Int64
        /// Seconds east of UTC.
        let offset: Int64
    }

    /// Before the first transition.
    let firstOffset: Int64
    /// In the order of their times; each changes the offset.
    let transitions: [Transition]

    static let utc = TimeZoneRules(firstOffset: 0, transitions: [])
    private static let folder = "/usr/share/zoneinfo"
    /// Rules that go on for ever are written out up to here.
    private static let lastYear: Int64 = 2200

    init(firstOffset: Int64, transitions: [Transition]) {
        self.firstOffset = firstOffset
        self.transitions = transitions
    }

    func offset(at time: Int64) -> Int64 {
        let count = firstIndex(after: time)
        return count == 0 ? firstOffset : transitions[count - 1].offset
    }

    /// The first transition later than `time`, with what the offset was before it.
    func transition(after time: Int64) -> (transition: Transition, before: Int64)? {
        let index = firstIndex(after: time)
        guard index < transitions.count else { return nil }
        return (transitions[index], index == 0 ? firstOffset : transitions[index - 1].offset)
    }

    /// The last transition at or before `time`, with what the offset was before it.
    func transition(upTo time: Int64) -> (transition: Transition, before: Int64)? {
        let index = firstIndex(after: time) - 1
        guard index >= 0 else { return nil }
        return (transitions[index], index == 0 ? firstOffset : transitions[index - 1].offset)
    }

    private func firstIndex(after time: Int64) -> Int {
        var low = 0
        var high = transitions.count
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle].time > time { high = middle } else { low = middle + 1 }
        }
        return low
    }

    // MARK: Reading

    /// The rules of a zone.
    /// - Parameter name: an IANA name (`Europe/Berlin`), `UTC`, or `local` for this machine's own (TZ, else /etc/localtime).
    /// - Throws: `not_found` for a name that this machine doesn't know, `io` for a file that is none.
    static func named(_ name: String) throws(LunetteError) -> TimeZoneRules {
        if name == "UTC" { return utc }
        if name == "local" {
            if let variable = getenv("TZ").map({ String(cString: $0) }), !variable.isEmpty {
                let path = variable.hasPrefix(":") ? String(variable.dropFirst()) : variable
                if path.hasPrefix("/") { return try read(path, name: path) }
                if let rules = try? named(path) { return rules }
                // A rule instead of a name: TZ=CET-1CEST,M3.5.0,M10.5.0/3.
                if let rule = RecurringRule(Array(path.utf8)) {
                    return TimeZoneRules(firstOffset: rule.standard, transitions: rule.transitions(from: 1970, to: lastYear))
                }
                return utc
            }
            // Without the file the machine's time is UTC, as libc has it.
            return access("/etc/localtime", R_OK) == 0 ? try read("/etc/localtime", name: name) : utc
        }
        let isName = name.utf8.split(separator: 0x2f, omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part.first != 0x2e
                && part.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) || [0x2b, 0x2d, 0x5f].contains($0) }
        }
        guard isName, access("\(folder)/\(name)", R_OK) == 0 else {
            throw LunetteError(
                .notFound, "no time zone is called \"\(displayable(name, limit: 80))\"", path: "time_zone",
                hint: access(folder, R_OK) == 0 ? "an IANA name such as \"Europe/Berlin\", \"UTC\" or \"local\"" : "install tzdata")
        }
        return try read("\(folder)/\(name)", name: name)
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) }

    private static func read(_ path: String, name: String) throws(LunetteError) -> TimeZoneRules {
        let bytes = try FileTree.read(path, roots: nil)
        guard let rules = TimeZoneRules(file: bytes) else {
            throw LunetteError(.io, "read the time zone \(displayable(name, limit: 80)): \(path) is no time zone file", path: "time_zone")
        }
        return rules
    }

    /// - Returns: nil for what isn't a time zone file.
    init?(file bytes: [UInt8]) {
        guard let first = Header(bytes, at: 0) else { return nil }
        var header = first
        var wide = false
        if first.version >= 0x32 {
            // Version 2 has everything again, with times of eight bytes.
            guard let second = Header(bytes, at: first.end(timeSize: 4)) else { return nil }
            (header, wide) = (second, true)
        }
        let size = wide ? 8 : 4
        guard header.end(timeSize: size) <= bytes.count, header.types > 0 else { return nil }
        func number(_ at: Int, _ size: Int) -> Int64 {
            let raw = bytes[at..<at + size].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return size == 8 ? Int64(bitPattern: raw) : Int64(Int32(truncatingIfNeeded: raw))
        }
        let types = header.body + header.times * (size + 1)
        func offset(_ type: Int) -> Int64? { type < header.types ? number(types + type * 6, 4) : nil }
        guard let firstOffset = offset(0) else { return nil }
        var made: [Transition] = []
        for index in 0..<header.times {
            guard let next = offset(Int(bytes[header.body + header.times * size + index])) else { return nil }
            let time = number(header.body + index * size, size)
            if let last = made.last, time <= last.time { return nil }
            if next != made.last?.offset ?? firstOffset { made.append(Transition(time: time, offset: next)) }
        }
        let footer = bytes[header.end(timeSize: size)...]
        if wide, footer.first == 0x0a, let rule = RecurringRule(Array(footer.dropFirst().prefix { $0 != 0x0a })) {
            let lastTime = made.last?.time ?? 0
            let year = CivilTime(seconds: lastTime).year
            for transition in rule.transitions(from: max(year, 1970), to: Self.lastYear)
            where transition.time > lastTime && transition.offset != made.last?.offset ?? firstOffset { made.append(transition) }
        }
        self.firstOffset = firstOffset
        transitions = made
    }

    private struct Header {
        let version: UInt8
        let body: Int
        let times: Int
        let types: Int
        private let others: (leap: Int, utc: Int, standard: Int, characters: Int)

        init?(_ bytes: [UInt8], at start: Int) {
            guard bytes.count >= start + 44, bytes[start..<start + 4].elementsEqual("TZif".utf8) else { return nil }
            version = bytes[start + 4]
            body = start + 44
            func count(_ index: Int) -> Int { bytes[(start + 20 + 4 * index)..<(start + 24 + 4 * index)].reduce(0) { $0 << 8 | Int($1) } }
            let limit = 1 << 16
            for index in 0..<6 where count(index) > limit { return nil }
            others = (leap: count(2), utc: count(0), standard: count(1), characters: count(5))
            (times, types) = (count(3), count(4))
            if version < 0x32, end(timeSize: 4) > bytes.count { return nil }
        }

        func end(timeSize: Int) -> Int {
            body + times * (timeSize + 1) + types * 6 + others.characters + others.leap * (timeSize + 4) + others.standard + others.utc
        }
    }
}
