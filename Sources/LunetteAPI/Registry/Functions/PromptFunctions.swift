import LunetteSpec

/// The plumbing of `lunette repl --in NAME`.
enum PromptFunctions {
    private static let target = APIField("target", .string, "a resident script's or a plugin's name, as its list has it", required: true)
    private static let session = APIField("session", .string, "an id of the client's choosing, unique in its connection", required: true)

    static let all: [APIFunction] = [
        APIFunction(
            "script.evaluate",
            "run a chunk inside resident code, under its limits and permissions; for root and the engine's own user",
            [
                target, session,
                APIField(
                    "ask", .choice(["open", "chunk", "tasks", "close"]),
                    "whether the session begins, goes on, shows the code's tasks, or ends", required: true),
                APIField("source", .string, "the chunk"),
                APIField("as", .choice(["lines", "json", "screen"]), "how its values are written", default: "\"lines\""),
                APIField("width", .integer, "columns of the terminal"),
                APIField("has_colour", .boolean, "values are set off by colours", default: "false"),
                APIField("only_reads", .boolean, "refuse what changes something", default: "false"),
            ], returns: .any, chunk: .string, mutates: true, waits: true, errors: [.notFound, .denied, .conflict, .resourceExhausted],
            example: "for _, s in ipairs(lunette.script.list()) do print(\"lunette repl --in \" .. s.name) end", lua: .init(hidden: true)),
        APIFunction(
            "script.complete", "list what the word at the end of a line could become inside resident code",
            [
                target, session, APIField("text", .string, "the word", required: true),
                APIField("line", .string, "all up to the cursor", required: true),
            ], returns: .any, waits: true, errors: [.notFound, .denied],
            example: "for _, s in ipairs(lunette.script.list()) do print(\"lunette repl --in \" .. s.name) end", lua: .init(hidden: true)),
    ]
}
