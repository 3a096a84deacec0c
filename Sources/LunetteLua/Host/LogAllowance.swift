internal import LunetteSpec

/// How much a limited state may log: the engine's log is everyone's, and the disk too.
struct LogAllowance {
    /// Bytes of one line's message, and of its fields.
    static let line = 8 << 10
    /// Bytes in one window.
    static let window = 256 << 10
    static let windowSeconds = 10.0

    private var began = -Double.infinity
    private var used = 0
    private var dropped = 0

    /// What is to be written for a line: it, shortened where it must be, before it how many were left out; nothing at all.
    /// - Parameter now: monotonic seconds.
    mutating func admit(
        _ message: String, _ fields: ValueMap, now: Double
    ) -> [(message: String, fields: ValueMap)] {
        var lines: [(message: String, fields: ValueMap)] = []
        if now - began >= Self.windowSeconds {
            if dropped > 0 { lines.append(("\(dropped) lines are left out: more than \(Self.window >> 10) KiB in 10 s", [:])) }
            (began, used, dropped) = (now, 0, 0)
        }
        guard used < Self.window else {
            dropped += 1
            return lines
        }
        let short = Self.shortened(message)
        var kept = fields
        let size = JSON.encode(.map(fields)).utf8.count
        if size > Self.line { kept = ["left_out": .string("\(size) bytes of fields")] }
        used += short.utf8.count + min(size, Self.line)
        lines.append((short, kept))
        return lines
    }

    /// A text that limited code made, for somebody else to read.
    static func shortened(_ message: String) -> String {
        let size = message.utf8.count
        guard size > line else { return message }
        return String(decoding: message.utf8.prefix(line), as: UTF8.self) + "… (\(size - line) bytes left out)"
    }
}
