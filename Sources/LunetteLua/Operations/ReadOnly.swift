internal import LunetteAPI
internal import LunetteSpec

/// `repl --read-only`: what a session that only reads refuses. Against a slip of the hand, not against malice: Lua's own `io` and `os` are there.
enum ReadOnly {
    /// Read by the engine's lights, yet something comes of them: a file of the host, an image elsewhere, a program's input.
    private static let touching: Set<String> = ["image.save", "image.push", "container.copy_out", "container.attach"]

    /// - Throws: `denied` for a function that changes something, in the engine or on the host.
    static func check(_ function: APIFunction, _ arguments: Value) throws(LunetteError) {
        // A handler that only hears of what happens changes nothing; one that is asked before may amend and deny.
        let interferes = function.name == "hook.register" && arguments["kind"]?.stringValue == "before"
        // Inside resident code: the engine holds it to the same.
        if function.name == "script.evaluate", arguments["only_reads"] == true { return }
        guard function.mutates || touching.contains(function.name) || interferes else { return }
        let (name, what) =
            switch function.name {
            case "sandbox.run": ("sandbox.run", "runs a program")
            case "hook.register": ("lunette.before", "may amend and deny what others do")
            default: (function.name, "changes something")
            }
        throw LunetteError(.denied, "\(name) \(what), and this session only reads", hint: "leave out --read-only")
    }
}
