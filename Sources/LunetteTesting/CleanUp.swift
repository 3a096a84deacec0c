import Synchronization

/// Collects what a fixture must undo and does it last in, first out, going on after failures and reporting all of them.
public final class CleanUp: Sendable {
    public typealias Step = @Sendable () async throws -> Void
    private let steps = Mutex<[(what: String, step: Step)]>([])

    public init() {}

    /// Adds a step, to run before those added earlier.
    public func add(_ what: String, _ step: @escaping Step) { steps.withLock { $0.append((what, step)) } }

    /// Runs all steps. Running it twice is harmless.
    /// - Returns: one line for each step that failed.
    public func run() async -> [String] {
        let todo = steps.withLock { steps in
            defer { steps = [] }
            return steps
        }
        var failures: [String] = []
        for (what, step) in todo.reversed() {
            do { try await step() } catch { failures.append("\(what): \(error)") }
        }
        return failures
    }
}
