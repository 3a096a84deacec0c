internal import CLinux

/// Reads a small pseudo-file as text; nil when it can't be read.
package func readSmallFile(_ path: String, limit: Int = 1 << 22) -> String? {
    let fd = lnt_host_openat(-100, path, 0, 0)
    guard fd >= 0 else { return nil }
    let file = FileDescriptor(owning: fd)
    do throws(SystemCallError) { return String(decoding: try file.readAll(limit: limit), as: UTF8.self) } catch { return nil }
}

/// What `/proc/PID/stat` says.
package struct ProcessStat: Sendable, Equatable {
    package var pid: Int32
    package var command: String
    package var state: Character
    package var parent: Int32
    package var processGroup: Int32
    package var session: Int32
    package var terminal: Int32
    package var userTicks: UInt64
    package var systemTicks: UInt64
    package var threads: Int
    package var startTime: UInt64
    package var residentPages: UInt64

    /// The name stands in parentheses and may hold any byte, parentheses too: fields are counted from the last one.
    package init?(text: String) {
        guard let open = text.utf8.firstIndex(of: UInt8(ascii: "(")), let close = text.utf8.lastIndex(of: UInt8(ascii: ")")), open < close,
            let pid = Int32(text[..<open].trimmed)
        else { return nil }
        let fields = text[text.utf8.index(after: close)...].fields()
        guard fields.count > 21, let state = fields[0].first, let parent = Int32(fields[1]), let start = UInt64(fields[19]) else {
            return nil
        }
        self.pid = pid
        self.command = String(text[text.utf8.index(after: open)..<close])
        self.state = state
        self.parent = parent
        self.processGroup = Int32(fields[2]) ?? 0
        self.session = Int32(fields[3]) ?? 0
        self.terminal = Int32(fields[4]) ?? 0
        self.userTicks = UInt64(fields[11]) ?? 0
        self.systemTicks = UInt64(fields[12]) ?? 0
        self.threads = Int(fields[17]) ?? 1
        self.startTime = start
        self.residentPages = UInt64(fields[21]) ?? 0
    }

    package static func read(pid: Int32) -> ProcessStat? { readSmallFile("/proc/\(pid)/stat").flatMap(ProcessStat.init(text:)) }
}

extension StringProtocol where SubSequence == Substring {
    /// Splits at a byte, without empty parts. Byte by byte: splitting by `Character` costs twenty times as much, which shows at a start.
    package func fields(_ separator: Unicode.Scalar = " ") -> [Substring] {
        let byte = UInt8(ascii: separator)
        var (parts, start) = ([Substring](), startIndex)
        let bytes = utf8
        var index = bytes.startIndex
        while index != bytes.endIndex {
            let next = bytes.index(after: index)
            if bytes[index] == byte {
                if start < index { parts.append(self[start..<index]) }
                start = next
            }
            index = next
        }
        if start < endIndex { parts.append(self[start...]) }
        return parts
    }
}

extension StringProtocol {
    /// Without spaces and line ends at both sides.
    package var trimmed: String {
        var rest = self[...]
        while let first = rest.first, first.isWhitespace { rest = rest.dropFirst() }
        while let last = rest.last, last.isWhitespace { rest = rest.dropLast() }
        return String(rest)
    }
}
