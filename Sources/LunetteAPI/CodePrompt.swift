public import LunetteSpec

/// Loaded code that can be talked to: a prompt inside its state (`lunette repl --in NAME`). A host's loaded scripts and plugins conform
/// where their language has one; the engine carries questions and answers without reading them.
///
/// ```
/// prompt ── script.evaluate{ask="open"} ──► engine ──► state: a session with locals of its own
///        ── {ask="chunk", source=} ───────►        ──► a task in the state, under its limits
///        ◄── chunks: what it prints ──────         ◄── cancel ends the task
///        ◄── {status="done", text=} ──────
///        ── after a reload ───────────────►        ──► {status="changed"}: nothing was run
/// ```
public protocol CodePrompt: Sendable {
    /// Runs what was typed.
    /// - Parameters:
    ///   - question: the arguments of `script.evaluate`.
    ///   - onOutput: gets what it prints, in order.
    /// - Throws: `resource_exhausted` for a chunk that was ended by the state's limits; `cancelled`. A chunk's own failure is an answer.
    func answer(
        _ question: ValueMap, onOutput: @escaping @Sendable (Value) async throws(LunetteError) -> Void
    ) async throws(LunetteError) -> Value
    /// Completes a word.
    /// - Parameter question: the arguments of `script.complete`.
    /// - Returns: an array of word, detail and suffix each.
    func complete(_ question: ValueMap) async throws(LunetteError) -> Value
}
