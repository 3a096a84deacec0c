package import LunetteSpec

/// Collects what a teardown did and every failure on the way; the first failure stays the cause. Running a teardown twice is harmless.
package struct CleanupReport: Sendable {
    package struct Failure: Sendable {
        /// What was being removed ("cgroup memory", "run directory").
        package var step: String
        package var error: LunetteError
    }

    package private(set) var done: [String] = []
    package private(set) var failures: [Failure] = []

    package init() {}

    package var isClean: Bool { failures.isEmpty }

    /// Runs one step; a failure is kept and the next step runs all the same.
    package mutating func step(_ name: String, _ body: () throws(LunetteError) -> Void) {
        do throws(LunetteError) {
            try body()
            done.append(name)
        } catch { failures.append(Failure(step: name, error: error)) }
    }

    package mutating func record(_ name: String, failure: LunetteError) { failures.append(Failure(step: name, error: failure)) }
    package mutating func record(done name: String) { done.append(name) }

    package mutating func merge(_ other: CleanupReport) {
        done += other.done
        failures += other.failures
    }

    /// The first failure with the rest as details; nil when clean.
    package var error: LunetteError? {
        guard let first = failures.first else { return nil }
        var error = first.error
        error.message = "clean up \(first.step): \(first.error.message)"
        if failures.count > 1 { error.details = .array(failures.map { ["step": .string($0.step), "error": .string($0.error.message)] }) }
        return error
    }
}
