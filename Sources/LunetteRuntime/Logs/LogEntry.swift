internal import LunetteSpec

/// Which part of a log to read.
package struct LogOptions: Sendable {
    package var stdout = true
    package var stderr = true
    /// Unix seconds.
    package var since: Double?
    /// The last n lines; nil = all.
    package var tail: Int?
    /// Go on with new lines until the container ends.
    package var follow = false
    /// Gives what a program wrote without ending the line as it comes (a prompt), with `isComplete` false, instead of joining it to a line.
    package var pieces = false
    package init() {}
}

/// One line of a log, its pieces joined.
package struct LogEntry: Sendable, Equatable {
    package enum Stream: String, Sendable { case stdout, stderr }
    package var stream: Stream
    /// As written, RFC 3339 with nanoseconds; a joined line has its first piece's.
    package var timestamp: String
    /// Of the last piece.
    package var sequence: UInt64
    /// The bytes, without the line's end.
    package var line: [UInt8]
    /// False when no newline was written behind it: print none.
    package var isComplete: Bool

    package init(stream: Stream, timestamp: String, sequence: UInt64, line: [UInt8], isComplete: Bool) {
        self.stream = stream
        self.timestamp = timestamp
        self.sequence = sequence
        self.line = line
        self.isComplete = isComplete
    }

    /// Exactly what the program wrote for this entry.
    package var bytes: [UInt8] { isComplete ? line + [0x0a] : line }

    /// The timestamp as unix seconds.
    package var time: Double { Timestamp.seconds(timestamp) ?? 0 }
}
