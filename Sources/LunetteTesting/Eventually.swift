import Foundation

/// Waits until `condition` holds, asking every 10 ms: for what happens in another process and can't be awaited.
/// - Throws: what `condition` throws, or a `CommandFailure` naming `what` when `within` has passed.
public func eventually(
    _ what: String, within: Duration = .seconds(10), _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + within
    while true {
        if try await condition() { return }
        if ContinuousClock.now > end { throw CommandFailure("\(what): not within \(within)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}
