public import LunetteSpec

extension APIFunction {
    /// Not marked as changing something, yet something comes of them: a file of the host, an image elsewhere, a program's input.
    private static let touching: Set<String> = [
        "image.save", "image.push", "container.copy_out", "container.attach", "container.detach", "container.resize",
    ]

    /// Whether a call changes something, in the engine, in a container or on the host; what only looks doesn't.
    public func changes(_ arguments: Value) -> Bool {
        switch name {
        // A handler that only hears of what happens changes nothing; one that is asked before may amend and deny.
        case "hook.register": arguments["kind"]?.stringValue != "on"
        case "system.check": arguments["repair"]?.boolValue == true
        default: mutates || APIFunction.touching.contains(name)
        }
    }
}
