/// What the supervisor asks the engine of lifecycles, whose functions it can't call itself.
struct LifecycleSteps: Sendable {
    /// Whether a lifecycle of this name says what follows an exit.
    var decidesExit: @Sendable (String) async -> Bool = { _ in false }
    /// What handlers, theirs included, want to be told of.
    var limits: @Sendable () async -> [LimitRequest] = { [] }
    var decide: @Sendable (String) async -> Void = { _ in }
    var endOwnState: @Sendable (String) async -> Void = { _ in }
}
