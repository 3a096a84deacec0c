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
        APIFunction(
            "script.plan", "load a script and say what installing it would change; `lunette plan` for scripts", given,
            returns: .record("ScriptPlan"), mutates: true, waits: true, errors: [.scriptFailed, .notFound, .alreadyExists],
            example: "local plan = lunette.script.plan { name = \"limits\", source = \"\" } print(plan.action)"),
        APIFunction(
            "script.apply",
            "install a script as resident code beside the settings' own: its source, what it requires and what it may call are stored",
            given,
            returns: .record("ScriptPlan"), mutates: true, waits: true, errors: [.scriptFailed, .notFound, .alreadyExists, .conflict],
            example: "lunette.script.apply { name = \"limits\", source = \"\", grants = { \"container.*\" } }"),
        APIFunction(
            "script.remove", "take away a script that was applied",
            [
                APIField("name", .string, "its name", required: true),
                APIField("prune", .boolean, "take away what it wanted there to be, too", default: "false"),
            ], returns: .record("ScriptChange"), mutates: true, waits: true, errors: [.notFound, .invalidState],
            example: "lunette.script.remove(\"limits\", { prune = true })", lua: .init(["name"])),
        APIFunction(
            "script.source", "the source of a resident script as it runs", [APIField("name", .string, "its name", required: true)],
            returns: .string, errors: [.notFound], example: "print(lunette.script.source(\"init\"))", lua: .init(["name"])),
    ]

    private static let given = [
        APIField("name", .string, "its name", required: true), APIField("source", .string, "its source", required: true),
        APIField("file", .string, "as its errors name it", default: "its name"),
        APIField("modules", .map(.string), "sources of what it requires, by name"),
        APIField("grants", .list(.string), "what it may call: `container.exec`, `volume.*`, `*`", default: "nothing"),
        APIField("prune", .boolean, "take away what it no longer wants there to be", default: "false"),
    ]
}
