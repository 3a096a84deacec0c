import LunetteSpec

enum ScriptFunctions {
    static let all: [APIFunction] = [
        APIFunction(
            "script.list", "list the resident scripts", [], returns: .list(.record("ScriptInfo")),
            example: "for _, s in ipairs(lunette.script.list()) do print(s.name, s.status, s.handlers) end"),
        APIFunction(
            "script.reload",
            "put resident code as it is on the disk now in the place of what runs, all of it or nothing; handlers change in one step", [],
            returns: .record("ScriptChange"), mutates: true, waits: true, errors: [.scriptFailed, .denied, .invalidArgument],
            example: "print(#lunette.script.reload().changed)"),
    ]
}
