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
