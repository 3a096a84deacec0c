import LunetteLinux
import LunetteSpec

/// Says on a terminal what a command waits for, when that takes longer than people wait without a word.
enum Waiting {
    static func told<T: Sendable>(
        _ what: String, _ body: () async throws(LunetteError) -> T
    ) async throws(LunetteError) -> T {
        let note = Task {
            // Cut short when it was quicker.
            do { try await Task.sleep(for: .seconds(2)) } catch { return }
            if Output.isTerminal(2) { Output.note("lunette: \(what) …") }
        }
        defer { note.cancel() }
        return try await body()
    }
}
