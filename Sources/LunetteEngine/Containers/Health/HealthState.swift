import LunetteSpec

/// What the checks of one run have shown.
///
/// ```
///  none (no check, or it doesn't run)
///  starting ─success─► healthy ◄─success── unhealthy
///      └──── threshold of failures in a row ───▲
/// ```
struct HealthState: Sendable, Hashable {
    enum Status: String, Sendable, CaseIterable { case none, starting, healthy, unhealthy }

    var status: Status = .none
    /// Failures in a row.
    var failures = 0
    /// Why the last check failed.
    var message: String?
    /// Nil: nothing is checked.
    var spec: HealthSpec?

    mutating func begin() { (status, failures, message) = (spec == nil ? .none : .starting, 0, nil) }

    mutating func apply(_ failure: String?, runningFor seconds: Double) -> [ContainerState.Effect] {
        guard let spec else { return [] }
        guard let failure else {
            let before = status
            (status, failures, message) = (.healthy, 0, nil)
            if before == .healthy { return [] }
            return before == .starting ? [.emit("container.ready"), .emit("container.healthy")] : [.emit("container.healthy")]
        }
        message = failure
        if status == .starting, seconds < spec.startPeriod { return [] }
        failures += 1
        guard failures >= spec.failureThreshold, status != .unhealthy else { return [] }
        status = .unhealthy
        return [.emit("container.unhealthy"), .unhealthy(spec.onUnhealthy)]
    }

    /// As `inspect` shows it.
    var value: Value {
        var map: ValueMap = ["status": .string(status.rawValue), "failures": .int(Int64(failures))]
        map["message"] = message.map(Value.string)
        return .map(map)
    }

    mutating func restore(_ value: Value?) {
        status = (value?["status"]?.stringValue).flatMap(Status.init) ?? .none
        failures = Int(value?["failures"]?.intValue ?? 0)
        message = value?["message"]?.stringValue
    }
}
