/// Says how a container's health is checked, and what follows from it.
public struct HealthSpec: Hashable, Sendable {
    /// What is tried; each counts as a success or a failure.
    public enum Check: Hashable, Sendable {
        /// A command in the container; exit code 0 is a success.
        case exec([String])
        /// A GET on the container's own loopback; a status of 200 to 399 is a success.
        case http(path: String, port: UInt16)
        /// A connection to a port on the container's own loopback.
        case tcp(port: UInt16)
    }

    public enum OnUnhealthy: String, CaseIterable, Sendable {
        case none
        /// Ended by the stop sequence, then started again with the back-off of its restart policy.
        case restart
        /// Ended by the stop sequence, as by a user.
        case stop
    }

    public var check: Check
    /// Seconds between the end of one check and the next.
    public var period: Double
    /// Seconds after which a check has failed.
    public var timeout: Double
    /// Failures in a row that make it unhealthy.
    public var failureThreshold: Int64
    /// Seconds after the start in which failures don't count.
    public var startPeriod: Double
    /// Seconds between checks until the first success.
    public var startInterval: Double
    public var onUnhealthy: OnUnhealthy

    public init(
        _ check: Check, period: Double = 10, timeout: Double = 5, failureThreshold: Int64 = 3, startPeriod: Double = 0,
        startInterval: Double? = nil, onUnhealthy: OnUnhealthy = .none
    ) {
        self.check = check
        self.period = period
        self.timeout = timeout
        self.failureThreshold = failureThreshold
        self.startPeriod = startPeriod
        self.startInterval = startInterval ?? min(1, period)
        self.onUnhealthy = onUnhealthy
    }

    /// Shorter ones would be the container's main work.
    private static let shortest = 0.1

    /// - Throws: `invalid_argument` with the field's path.
    public init(reading reader: inout FieldReader) throws(LunetteError) {
        self.init(try Self.check(&reader))
        period = try Self.duration(&reader, "period") ?? period
        timeout = try Self.duration(&reader, "timeout") ?? timeout
        failureThreshold = try reader.int("failure_threshold", in: 1...1000) ?? failureThreshold
        startPeriod = try reader.seconds("start_period") ?? startPeriod
        startInterval = try Self.duration(&reader, "start_interval") ?? min(1, period)
        onUnhealthy = try reader.choice("on_unhealthy", OnUnhealthy.self) ?? onUnhealthy
        try reader.finish()
    }

    private static func duration(_ reader: inout FieldReader, _ key: String) throws(LunetteError) -> Double? {
        guard let seconds = try reader.seconds(key) else { return nil }
        guard seconds >= shortest else { throw reader.failure(key, "\(seconds) s is too short", hint: "give at least 100ms") }
        return seconds
    }

    private static func check(_ reader: inout FieldReader) throws(LunetteError) -> Check {
        var found: [(key: String, check: Check)] = []
        if let line = reader.value("exec")?.stringValue {
            found.append(("exec", .exec(["/bin/sh", "-c", line])))
        } else if let args = try reader.strings("exec") {
            guard let program = args.first, !program.isEmpty else { throw reader.failure("exec", "names no program") }
            try Names.validateArguments(args, path: reader.path(of: "exec"))
            found.append(("exec", .exec(args)))
        }
        if var http = try reader.table("http") {
            let path = try http.string("path") ?? "/"
            guard path.hasPrefix("/"), path.utf8.count <= 2048, path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw http.failure(
                    "path", "\"\(displayable(path, limit: 80))\" is not a path of a URL", hint: "it begins with / and has no spaces")
            }
            found.append(("http", .http(path: path, port: try port(&http))))
            try http.finish()
        }
        if var tcp = try reader.table("tcp") {
            found.append(("tcp", .tcp(port: try port(&tcp))))
            try tcp.finish()
        }
        guard let first = found.first else { throw reader.failure("exec", "is required: exec, http or tcp says what is tried") }
        if found.count > 1 { throw reader.failure(found[1].key, "can't stand beside \(first.key)") }
        return first.check
    }

    private static func port(_ reader: inout FieldReader) throws(LunetteError) -> UInt16 {
        guard let port = try reader.int("port", in: 1...65535) else { throw reader.failure("port", "is required") }
        return UInt16(port)
    }

    public var value: Value {
        var map: ValueMap = [
            "period": .double(period), "timeout": .double(timeout), "failure_threshold": .int(failureThreshold),
            "start_period": .double(startPeriod), "start_interval": .double(startInterval), "on_unhealthy": .string(onUnhealthy.rawValue),
        ]
        switch check {
        case .exec(let args): map["exec"] = .array(args.map(Value.string))
        case .http(let path, let port): map["http"] = ["path": .string(path), "port": .int(Int64(port))]
        case .tcp(let port): map["tcp"] = ["port": .int(Int64(port))]
        }
        return .map(map)
    }

    /// An image's own check, in Docker's words; durations are nanoseconds, and 0 is the default.
    ///
    /// Source: `Healthcheck` of Docker's image specification v1.3.
    /// - Returns: nil when there is none, or nothing that can be run: an image's mistake is not the user's.
    public init?(image value: Value?) {
        guard let words = value?["Test"]?.arrayValue?.compactMap(\.stringValue), words.count > 1 else { return nil }
        let check: Check
        switch words[0] {
        case "CMD": check = .exec(Array(words.dropFirst()))
        case "CMD-SHELL": check = .exec(["/bin/sh", "-c", words[1]])
        default: return nil
        }
        func seconds(_ key: String) -> Double? {
            (value?[key]?.intValue).flatMap { $0 > 0 ? max(Self.shortest, Double($0) / 1e9) : nil }
        }
        // Docker's own defaults: whoever wrote the image counted on them.
        let period = seconds("Interval") ?? 30
        self.init(
            check, period: period, timeout: seconds("Timeout") ?? 30,
            failureThreshold: (value?["Retries"]?.intValue).flatMap { $0 > 0 ? min($0, 1000) : nil } ?? 3,
            startPeriod: seconds("StartPeriod") ?? 0, startInterval: min(period, seconds("StartInterval") ?? 5))
    }
}
