internal import LunetteAPI
internal import LunetteSpec

/// `repl --read-only`: what a session that only reads refuses. Against a slip of the hand, not against malice: Lua's own `io` and `os` are there.
enum ReadOnly {
    /// - Throws: `denied` for a function that changes something, in the engine or on the host.
    static func check(_ function: APIFunction, _ arguments: Value) throws(LunetteError) {
        // Inside resident code: the engine holds it to the same.
        if function.name == "script.evaluate", arguments["only_reads"] == true { return }
        guard function.changes(arguments) else { return }
        let (name, what) =
            switch function.name {
            case "sandbox.run": ("sandbox.run", "runs a program")
            case "hook.register": ("lunette.before", "may amend and deny what others do")
            default: (function.name, "changes something")
            }
        throw LunetteError(.denied, "\(name) \(what), and this session only reads", hint: "leave out --read-only")
    }
}
