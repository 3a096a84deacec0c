import LunetteSpec

/// Says whether and when a container whose process ended starts again.
struct RestartPolicy: Sendable, Hashable {
    enum Kind: String, Sendable, CaseIterable { case never, onFailure = "on_failure", always }

    var kind: Kind = .never
    /// Seconds before the first restart; doubles each time.
    var initialBackoff: Double = 0.1
    var maximumBackoff: Double = 60
    /// Restarts in a row; nil is without end.
    var maximumAttempts: Int?
    /// A run this long counts as good: the next failure starts from the first back-off again.
    static let healthyRun: Double = 10

    /// - Parameter attempts: restarts in a row so far.
    func delay(afterAttempts attempts: Int) -> Double {
        min(maximumBackoff, initialBackoff * Double(UInt64(1) << UInt64(min(attempts, 40))))
    }

    func wants(_ exit: ExitRecord, attempts: Int) -> Bool {
        if let maximumAttempts, attempts >= maximumAttempts { return false }
        return switch kind {
        case .never: false
        case .onFailure: exit.isFailure
        case .always: true
        }
    }
}
