import LunetteSpec

/// How a container's process ended, as the contract's `exit` table says.
struct ExitRecord: Sendable, Hashable {
    enum Reason: String, Sendable, CaseIterable {
        case exited, signal, oom, seccomp
        case timeLimit = "time_limit"
        case startFailed = "start_failed"
        case stopped
        /// The shim died and took its record with it (or the machine was restarted): nothing is known.
        case lost
    }

    /// 0–255; 128 + n when signal n ended it.
    var code: Int
    /// `SIGKILL`; nil when the process returned.
    var signal: String?
    var oomKilled = false
    /// How many processes of the container the kernel killed for want of memory.
    var oomKills = 0
    var reason: Reason
    /// Unix seconds.
    var finishedAt: Double
    /// What went wrong, where a code doesn't tell (a failed start, a lost shim).
    var message: String?

    var value: Value {
        var map: ValueMap = ["code": .int(Int64(code)), "oom_killed": .bool(oomKilled), "reason": .string(reason.rawValue)]
        map["finished_at"] = .double(finishedAt)
        map["signal"] = signal.map(Value.string)
        map["message"] = message.map(Value.string)
        if oomKills > 0 { map["oom_kills"] = .int(Int64(oomKills)) }
        return .map(map)
    }

    init(code: Int, signal: String? = nil, oomKilled: Bool = false, reason: Reason, finishedAt: Double, message: String? = nil) {
        self.code = code
        self.signal = signal
        self.oomKilled = oomKilled
        self.reason = reason
        self.finishedAt = finishedAt
        self.message = message
    }

    init?(value: Value?) {
        guard let value, let code = value["code"]?.intValue else { return nil }
        self.init(
            code: Int(code), signal: value["signal"]?.stringValue, oomKilled: value["oom_killed"]?.boolValue ?? false,
            reason: (value["reason"]?.stringValue).flatMap(Reason.init) ?? .lost, finishedAt: value["finished_at"]?.doubleValue ?? 0,
            message: value["message"]?.stringValue
        )
        oomKills = Int(value["oom_kills"]?.intValue ?? 0)
    }

    /// Whether `on_failure` counts this as a failure.
    var isFailure: Bool { code != 0 || reason == .lost }
}
