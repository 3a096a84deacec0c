package import LunetteSpec

/// Reads a sandbox's policy: Lua that returns one table of plain values, in a state without files, programs or the engine.
package enum PolicyFile {
    /// - Throws: `not_found` or `denied` for the file; `invalid_argument` when it returns no table; what it raises itself.
    package static func table(_ path: String) throws(LunetteError) -> Value {
        let source = try FileTree.read(path, roots: nil)
        let state = try LuaState(limits: .init(memory: 64 << 20, instructions: 50_000_000, wallSeconds: 2, isLimited: true))
        state.onCall = { _ in .failure(LunetteError(.denied, "a policy only says what may be seen: it can't call anything")) }
        do throws(LunetteError) {
            return try state.enter("policy", ["source": .text(source), "name": .string("@\(path)")]).first ?? .null
        } catch {
            var failure = error
            failure.message = "read the policy \(displayable(path)): \(failure.message)"
            throw failure
        }
    }
}
