/// Takes the log's bytes apart: `TIMESTAMP STREAM TAG[:SEQUENCE] CONTENT` lines, TAG `F` (the line ended) or `P` (it goes on).
///
/// A line that is none (torn by a killed shim or a full disk) is skipped and counted; the rest is read on.
package struct LogParser: Sendable {
    /// Joined lines longer than this are given in parts, so that one endless line can't fill memory.
    package static let longestLine = 1 << 20

    package private(set) var skipped = 0
    package private(set) var lastSequence: UInt64 = 0
    private let joins: Bool
    private var rest: [UInt8] = []
    private var pending: [LogEntry.Stream: LogEntry] = [:]

    package init(joins: Bool = true) { self.joins = joins }

    /// - Returns: the entries that are whole now.
    package mutating func feed(_ bytes: [UInt8]) -> [LogEntry] {
        var entries: [LogEntry] = []
        let all = rest.isEmpty ? bytes : rest + bytes
        var start = 0
        while let end = all[start...].firstIndex(of: 0x0a) {
            record(all[start..<end], into: &entries)
            start = end + 1
        }
        rest = Array(all[start...])
        // No record is this long: a damaged file, whose next newline starts afresh.
        if rest.count > Self.longestLine { endFile() }
        return entries
    }

    /// The file ended here and another one goes on: what is left of an unended line is torn.
    package mutating func endFile() {
        if !rest.isEmpty { skipped += 1 }
        rest = []
    }

    /// Unended lines, in order; for when nothing more will come now.
    package mutating func flush() -> [LogEntry] {
        defer { pending = [:] }
        return pending.values.sorted { $0.sequence < $1.sequence }
    }

    private mutating func record(_ line: ArraySlice<UInt8>, into entries: inout [LogEntry]) {
        guard let (piece, isLast) = Self.parse(line) else {
            skipped += 1
            return
        }
        // A rotation seen from two sides may offer a line again.
        guard piece.sequence > lastSequence || piece.sequence == 0 else { return }
        lastSequence = max(lastSequence, piece.sequence)
        guard joins else {
            entries.append(piece)
            return
        }
        guard var whole = pending.removeValue(forKey: piece.stream) else {
            if isLast { entries.append(piece) } else { pending[piece.stream] = piece }
            return
        }
        whole.line += piece.line
        whole.sequence = piece.sequence
        whole.isComplete = isLast
        if isLast || whole.line.count >= Self.longestLine { entries.append(whole) } else { pending[piece.stream] = whole }
    }

    /// Reads one record; nil when it is none.
    static func parse(_ line: ArraySlice<UInt8>) -> (entry: LogEntry, isLast: Bool)? {
        let space: UInt8 = 0x20
        guard let first = line.firstIndex(of: space), let second = line[(first + 1)...].firstIndex(of: space) else { return nil }
        // CRI readers accept a record without content and its space.
        let third = line[(second + 1)...].firstIndex(of: space) ?? line.endIndex
        let timestamp = String(decoding: line[..<first], as: UTF8.self)
        guard timestamp.utf8.count >= 20, timestamp.utf8.last == 0x5a,
            let stream = LogEntry.Stream(rawValue: String(decoding: line[(first + 1)..<second], as: UTF8.self))
        else { return nil }
        let tags = line[(second + 1)..<third].split(separator: 0x3a)
        guard let tag = tags.first, tag.count == 1, tag.first == 0x50 || tag.first == 0x46 else { return nil }
        let sequence = tags.count > 1 ? UInt64(String(decoding: tags[tags.startIndex + 1], as: UTF8.self)) : 0
        guard let sequence else { return nil }
        let isLast = tag.first == 0x46
        let content = third < line.endIndex ? Array(line[(third + 1)...]) : []
        return (LogEntry(stream: stream, timestamp: timestamp, sequence: sequence, line: content, isComplete: isLast), isLast)
    }
}
