internal import LunetteSpec

/// A span of host user and group ids that one container's ids 0… are mapped to.
package struct IDRange: Sendable, Hashable, CustomStringConvertible {
    package var first: UInt32
    package var count: UInt32

    package init(first: UInt32, count: UInt32) {
        self.first = first
        self.count = count
    }

    /// One past the last id; 64-bit, because the last range may end at 2^32.
    package var end: UInt64 { UInt64(first) + UInt64(count) }
    package func overlaps(_ other: IDRange) -> Bool { UInt64(first) < other.end && UInt64(other.first) < end }
    package var description: String { "\(first)-\(end - 1)" }
}

/// Chooses id ranges. Pure: what is taken is given, the choice is returned, the engine keeps it.
package enum IDRangeAllocator {
    /// Where our ranges begin: above what useradd gives to people in /etc/subuid (100000…600100000) and below systemd-nspawn's
    /// 524288…1879048191 being irrelevant here, since both are read and avoided; documented so that an administrator can reserve it.
    package static let base: UInt32 = 2_000_000_000
    package static let size: UInt32 = 65_536
    /// Ids from 2^31 on are refused by some programs and file systems, so ranges end there.
    package static let limit: UInt64 = 1 << 31

    /// In an ordinary user's engine every container has the user's ids as they are: what is on disk can't be shifted there (docs/rootless.md).
    /// nil for the machine's root, who gives each container a range of its own.
    package static var shared: IDRange? {
        let namespace = UserNamespace.current
        return namespace.isInitial ? nil : IDRange(first: 0, count: namespace.uids.count)
    }

    /// The lowest free range.
    /// - Parameters:
    ///   - taken: ranges of our containers.
    ///   - reserved: ranges of others (see `reservedRanges`).
    ///   - count: 65,536 unless a container asks for more.
    /// - Returns: nil when none is left.
    package static func choose(taken: [IDRange], reserved: [IDRange], count: UInt32 = size) -> IDRange? {
        let blocked = (taken + reserved).sorted { $0.first < $1.first }
        var candidate = UInt64(base)
        for range in blocked where range.end > candidate && UInt64(range.first) < candidate + UInt64(count) {
            // Ranges stay on their own grid, so that a freed one fits the next container exactly.
            let steps = (range.end - UInt64(base) + UInt64(size) - 1) / UInt64(size)
            candidate = max(candidate, UInt64(base) + steps * UInt64(size))
        }
        guard candidate + UInt64(count) <= limit else { return nil }
        return IDRange(first: UInt32(candidate), count: count)
    }

    /// Reads `name:first:count` lines as in /etc/subuid; lines that are none are skipped, as newuidmap does.
    package static func parse(subordinate text: String) -> [IDRange] {
        text.byteLines.compactMap { line in
            let fields = line.fields(at: ":")
            guard fields.count == 3, let first = UInt32(fields[1]), let count = UInt32(fields[2].trimmed), count > 0 else { return nil }
            return IDRange(first: first, count: count)
        }
    }

    /// Everyone's subordinate ids on this machine.
    package static func reservedRanges() -> [IDRange] {
        ["/etc/subuid", "/etc/subgid"].flatMap { readSmallFile($0).map(parse(subordinate:)) ?? [] }
    }
}
