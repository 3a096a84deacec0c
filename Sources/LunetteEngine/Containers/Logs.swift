import LunetteRuntime
import LunetteSpec
import Synchronization

extension Engine {
    /// Which part of a log is asked for.
    private struct LogRequest: Sendable {
        var options = LogOptions()
        var until: Double?
        var after: UInt64?
        var hasTimestamps = false

        init(_ arguments: inout FieldReader, now: Double) throws(LunetteError) {
            options.stdout = try arguments.bool("stdout") ?? true
            options.stderr = try arguments.bool("stderr") ?? true
            options.since = try arguments.moment("since", now: now)
            until = try arguments.moment("until", now: now)
            if let tail = try arguments.int("tail") {
                guard tail >= 0 else { throw arguments.failure("tail", "is negative") }
                options.tail = Int(tail)
            }
            after = try arguments.int("after").flatMap { UInt64(exactly: $0) }
            hasTimestamps = try arguments.bool("timestamps") ?? false
        }

        func wants(_ entry: LogEntry) -> Bool {
            if let after, entry.sequence <= after { return false }
            if let until, let time = Timestamp.seconds(entry.timestamp), time > until { return false }
            return true
        }
    }

    /// The log as one string; at most 32 MiB, the newest.
    func readLogs(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        let request = try LogRequest(&arguments, now: clock.now())
        try arguments.finish()
        let record = try await state.container(word)
        guard record.hasRun else { return .string("") }
        let limit = 32 << 20
        let text = Mutex<[UInt8]>([])
        try await host.readLog(id: record.id, request.options) { entry async throws(LunetteError) in
            guard request.wants(entry) else { return }
            try call.checkCancellation()
            text.withLock { text in
                if request.hasTimestamps { text += Array(entry.timestamp.utf8) + [0x20] }
                text += entry.line
                if entry.isComplete { text.append(10) }
                // Dropped in large pieces: the cost stays proportional to what is read.
                if text.count > 2 * limit { text.removeFirst(text.count - limit) }
            }
        }
        return .text(text.withLock { Array($0.suffix(limit)) })
    }

    /// Streams the log; `onChunk`'s pace is the reading's pace.
    func followLogs(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        var request = try LogRequest(&arguments, now: clock.now())
        request.options.follow = try arguments.bool("follow") ?? true
        try arguments.finish()
        let record = try await state.container(word)
        guard record.hasRun else { return .null }
        // A container that isn't running has said all it will say in this run.
        if !record.state.isAlive { request.options.follow = false }
        let asked = request
        try await host.readLog(id: record.id, asked.options) { entry async throws(LunetteError) in
            guard asked.wants(entry) else { return }
            var line = entry.line
            if asked.hasTimestamps { line = Array(entry.timestamp.utf8) + [0x20] + line }
            var chunk: ValueMap = [
                "stream": .string(entry.stream.rawValue), "data": .text(line), "sequence": .int(Int64(clamping: entry.sequence)),
            ]
            chunk["time"] = .double(Timestamp.seconds(entry.timestamp) ?? 0)
            if !entry.isComplete { chunk["partial"] = true }
            try await call.emit(.map(chunk))
        }
        return .null
    }
}

extension ContainerRecord {
    /// Whether there can be a log: a container that never started has none.
    var hasRun: Bool { state.startedAt != nil }
}

extension FieldReader {
    /// A moment: a number is unix seconds, a string a duration before now.
    mutating func moment(_ key: String, now: Double) throws(LunetteError) -> Double? {
        guard let value = value(key) else { return nil }
        if let number = value.doubleValue {
            guard number.isFinite, abs(number) <= Units.latestTime else { throw failure(key, "\(number) is no unix time in seconds") }
            return number
        }
        return now - (try seconds(key) ?? 0)
    }
}

/// Reads the log's times.
enum Timestamp {
    /// Unix seconds of an RFC 3339 time in UTC (`2026-11-23T12:40:33.123456789Z`); nil for anything else.
    static func seconds(_ text: String) -> Double? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes[4] == 0x2d, bytes[7] == 0x2d, bytes[10] == 0x54, bytes[13] == 0x3a, bytes[16] == 0x3a,
            bytes.last == 0x5a
        else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            var result = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                result = result * 10 + Int(byte - 0x30)
            }
            return result
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16),
            let second = number(17..<19), (1...12).contains(month)
        else { return nil }
        var fraction = 0.0
        if bytes[19] == 0x2e, let digits = number(20..<bytes.count - 1) {
            var scale = 1.0
            for _ in 20..<bytes.count - 1 { scale *= 10 }
            fraction = Double(digits) / scale
        }
        // Days from civil, after Howard Hinnant's chrono-compatible algorithms: March-based years make leap days come last.
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return Double(days * 86_400 + hour * 3600 + minute * 60 + second) + fraction
    }
}
