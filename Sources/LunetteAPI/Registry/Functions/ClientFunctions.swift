import LunetteSpec

/// Functions that the Lua host does itself.
enum ClientFunctions {
    private static func client(
        _ name: String, _ summary: String, _ arguments: [APIField] = [], _ positional: [String] = [], returns result: APIType = .nothing,
        mutates: Bool = false, waits: Bool = false, errors: [ErrorCode] = [], example: String, rest: String? = nil,
        permission: String? = nil
    ) -> APIFunction {
        APIFunction(
            name, summary, arguments, returns: result, mutates: mutates, waits: waits, errors: errors, example: example, place: .client,
            lua: .init(positional, rest: rest), permission: permission)
    }

    static let all: [APIFunction] = lunette + task + log + json + fs

    private static let function: APIType = .callback(.any)
    private static func required(_ name: String, _ type: APIType, _ summary: String) -> APIField {
        APIField(name, type, summary, required: true)
    }

    private static let hookOptions: [APIField] = [
        APIField("name", .string, "what lists and errors call it"),
        APIField("match", .record("EventMatch"), "only events whose target matches"),
    ]

    private static let lunette: [APIFunction] = [
        client(
            "lunette.before", "call a handler before something is done: it may amend or deny it",
            [
                required("event", .string, "what is about to happen (`container.create`)"),
                APIField("timeout", .duration, "how long one run may take", default: "30s"),
                APIField("on_failure", .choice(["deny", "ignore"]), "what its own failure means", default: "\"deny\""),
                APIField("priority", .integer, "lower runs first", default: "0"),
                required("handler", .callback(.record("Event")), "`ev:deny(reason)`, `ev:amend { … }`"),
            ] + hookOptions, ["event", "options", "handler"], returns: .any, waits: true, errors: [.invalidState],
            example: "local sub = lunette.before(\"container.create\", { name = \"names\" }, function(ev) end) sub:off()"),
        client(
            "lunette.on", "call a handler after something has happened",
            [
                required("event", .string, "what has happened (`container.exited`, `container.*`)"),
                required("handler", .callback(.record("Event")), "observes, and can't delay anything"),
                APIField(
                    "order", .choice(["target", "all"]),
                    "events in order for each container, image or volume, those of others meanwhile; or one after the other, whatever they are of",
                    default: "\"target\""),
            ] + hookOptions, ["event", "options", "handler"], returns: .any, waits: true,
            example: "local sub = lunette.on(\"container.exited\", {}, function(ev) print(ev.exit.code) end) sub:off()"),
        client(
            "lunette.lifecycle", "register a program for the life of containers; resident scripts only",
            [
                required("name", .string, "what `lifecycle` in a container's spec names it by"),
                required("program", .record("Lifecycle"), "what is done when: docs/lua/lifecycles.md"),
            ], ["name", "program"], errors: [.invalidState],
            example: "local ok, e = lunette.try(lunette.lifecycle, \"database\", {}) assert(not ok and e.code == \"invalid_state\", e)"),
        client(
            "lunette.socket", "open one more socket of the engine, whose users' calls a filter judges; in resident scripts",
            [
                required("name", .string, "unique; what `actor.socket` says of its calls"),
                APIField("path", .path, "where it is", default: "where systemd has opened one of that name"),
                APIField("owner", .union([.string, .integer]), "the user whose file it is", default: "the engine's"),
                APIField("group", .union([.string, .integer]), "its group", default: "the engine's"),
                APIField("mode", .string, "octal digits: who may connect", default: "`\"0660\"` with an owner or group, else `\"0600\"`"),
                required(
                    "filter",
                    .union([
                        .choice(["all", "own_containers", "no_bind_mounts", "read_only"]), function, .list(.any),
                    ]),
                    "gets `call` (`name noun arguments actor changes host_paths defaults container`; that has `id name labels owner reaches`), returns true, or false and a reason; a list: all of them"
                ),
            ], ["name"], errors: [.invalidState],
            example:
                "if false then lunette.socket(\"staff\", { path = \"/run/staff.sock\", group = \"staff\", filter = \"read_only\" }) end"),
        client(
            "lunette.events", "iterate over events",
            [
                APIField("since", .union([.integer, .duration]), "a sequence number, or how long ago as text"),
                APIField("match", .record("EventMatch"), "only events that match"),
            ], returns: .any, waits: true,
            example: "for ev in lunette.events { match = { name = \"container.*\" } } do print(ev.name) break end"),
        client(
            "lunette.try", "call a function: true and its results, or false and an error object",
            [required("f", function, "the function"), APIField("...", .any, "its arguments")], ["f", "..."], returns: .any,
            example: "local ok, e = lunette.try(error, \"oh\") assert(not ok and e.code == \"script_failed\")"),
        client(
            "lunette.fail", "raise an error object",
            [
                required("code", .string, "one of the codes"), required("message", .string, "what was tried on what"),
                APIField("fields", .map(.any), "`hint`, `path`, `details` …"),
            ],
            ["code", "message", "fields"],
            example: "local ok, e = pcall(lunette.fail, \"denied\", \"not on Sundays\") assert(e:is \"denied\")"),
        client(
            "lunette.inspect", "write a value as Lua would, sorted, with a depth limit",
            [
                required("value", .any, "anything"), APIField("depth", .integer, "levels", default: "4"),
                APIField("width", .integer, "a table that is wider takes lines", default: "96"),
            ],
            ["value"], returns: .string, example: "assert(lunette.inspect { b = 1, a = 2 } == \"{ a = 2, b = 1 }\")"),
        client(
            "lunette.bytes", "read a size", [required("size", .size, "`\"256MiB\"`")], ["size"], returns: .integer,
            errors: [.invalidArgument],
            example: "assert(lunette.bytes \"1KiB\" == 1024)"),
        client(
            "lunette.seconds", "read a duration", [required("duration", .duration, "`\"1h30m\"`")], ["duration"], returns: .number,
            errors: [.invalidArgument], example: "assert(lunette.seconds \"1m\" == 60)"),
        client("lunette.clock", "read the monotonic clock, in seconds", returns: .number, example: "local start = lunette.clock()"),
        client("lunette.now", "read the time, in unix seconds", returns: .number, example: "assert(lunette.now() > 1e9)"),
        client(
            "lunette.merge", "make a new table of two: maps merged, lists and scalars replaced, `lunette.null` deletes",
            [required("a", .map(.any), "the one"), required("b", .map(.any), "the other, which wins")], ["a", "b"], returns: .map(.any),
            example: "assert(lunette.merge({ a = 1 }, { b = 2 }).b == 2)"),
        client("lunette.stay", "hold the script until it is interrupted", waits: true, example: "if false then lunette.stay() end"),
        client(
            "lunette.require_api", "fail unless this Lunette has an API version", [required("version", .integer, "the version")],
            ["version"],
            errors: [.unsupported], example: "lunette.require_api(1)"),
    ]

    private static let task: [APIFunction] = [
        client(
            "task.spawn", "start a task", [required("f", function, "what it runs"), APIField("...", .any, "arguments")], ["f", "..."],
            returns: .any,
            example: "local t = task.spawn(function(n) return n * 2 end, 21) assert(t:await() == 42)"),
        client(
            "task.await", "wait for a task: its results or its error", [required("task", .any, "the task")], ["task"], returns: .any,
            waits: true,
            example: "local t = task.spawn(function() return 1 end) assert(task.await(t) == 1)"),
        client(
            "task.all", "run functions or await tasks together: all first results in order; the first failure cancels the others",
            [required("list", .list(.any), "functions or tasks")], ["list"], returns: .list(.any), waits: true,
            example: "local r = task.all { function() return 1 end, function() return 2 end } assert(r[2] == 2)"),
        client(
            "task.any", "take the first result and its index; cancels the others", [required("list", .list(.any), "functions or tasks")],
            ["list"],
            returns: .any, waits: true, example: "local first = task.any { function() return \"a\" end } assert(first == \"a\")"),
        client(
            "task.sleep", "wait", [required("duration", .duration, "how long")], ["duration"], waits: true, example: "task.sleep \"1ms\""),
        client(
            "task.timeout", "run a function and cancel it when it takes too long",
            [
                required("duration", .duration, "how long"), required("f", function, "what to run"), APIField("...", .any, "its arguments"),
            ], ["duration", "f", "..."], returns: .any, waits: true,
            errors: [.timeout], example: "assert(task.timeout(\"1s\", function() return true end))"),
        client(
            "task.scope", "run a function; what it spawns ends with it, and a failure cancels the rest",
            [required("f", function, "gets the scope")],
            ["f"], returns: .any, waits: true, example: "task.scope(function(s) s:spawn(function() task.sleep(0) end) end)"),
        client(
            "task.shield", "run a function that a cancel may not interrupt for 10 s",
            [required("f", function, "clean-up"), APIField("...", .any, "its arguments")], ["f", "..."], returns: .any,
            waits: true, example: "task.shield(function() task.sleep(0) end)"),
        client(
            "task.every", "call a function again and again until `:off()`",
            [required("period", .duration, "how often"), required("f", function, "what")],
            ["period", "f"], returns: .any, example: "local timer = task.every(\"1h\", function() end) timer:off()"),
        client(
            "task.cron", "call a function at the times of a cron expression until `:off()`",
            [
                required("expression", .string, "`minute hour day month weekday`"), APIField("name", .string, "what errors call it"),
                APIField("time_zone", .string, "whose clock: an IANA name, `\"UTC\"` or `\"local\"`", default: "\"local\""),
                APIField("overlap", .choice(["skip", "queue", "allow"]), "when the last run is not over", default: "\"skip\""),
                APIField(
                    "catch_up", .union([.boolean, .duration]),
                    "make up for runs that were missed while the script or the engine was away, with one; a duration: unless they are longer ago; needs a name",
                    default: "false"),
                required("f", function, "what to run"),
            ], ["expression", "options", "f"], returns: .any,
            example: "local timer = task.cron(\"0 3 * * *\", { time_zone = \"UTC\" }, function() end) timer:off()"),
        client(
            "task.next_cron_time", "the next time that a cron expression names, in unix seconds; nothing when there is none",
            [
                required("expression", .string, "`minute hour day month weekday`"),
                required("from", .number, "unix seconds: after this"),
                APIField("time_zone", .string, "whose clock: an IANA name, `\"UTC\"` or `\"local\"`", default: "\"local\""),
            ], ["expression", "from", "options"], returns: .orNull(.number), errors: [.invalidArgument],
            example: "print(task.next_cron_time(\"0 3 * * *\", 0, { time_zone = \"UTC\" }))"),
        client(
            "task.cancel", "cancel a task: the wait it is in raises, and each later one", [required("task", .any, "the task")], ["task"],
            returns: .boolean, example: "local t = task.spawn(function() task.sleep(60) end) task.cancel(t)"),
    ]

    private static let log: [APIFunction] = ["debug", "info", "warn", "error"].map { level in
        client(
            "log.\(level)", "write a line to the log (stderr of a script)",
            [required("message", .any, "what happened"), APIField("fields", .map(.any), "named values, written sorted")],
            ["message", "fields"],
            example: "log.\(level)(\"pulled\", { image = \"redis:7\" })")
    }

    private static let json: [APIFunction] = [
        client(
            "json.encode", "write a value as JSON",
            [
                required("value", .any, "tables, strings, numbers, booleans, `json.null`"),
                APIField("pretty", .boolean, "indented", default: "false"),
            ],
            ["value"], returns: .string, errors: [.invalidArgument], example: "assert(json.encode({ 1, 2 }) == \"[1,2]\")"),
        client(
            "json.decode", "read JSON; null becomes `json.null`", [required("text", .string, "the text")], ["text"], returns: .any,
            errors: [.invalidArgument], example: "assert(json.decode(\"[1]\")[1] == 1)"),
    ]

    private static let path = required("path", .path, "relative to the script's working directory")
    private static let fs: [APIFunction] = [
        client(
            "fs.read", "read a file", [path], ["path"], returns: .string, waits: true, errors: [.notFound, .denied],
            example: "local text = fs.read(\"/etc/hostname\")", permission: "fs"),
        client(
            "fs.write", "write a file",
            [
                path, required("data", .string, "its contents"), APIField("append", .boolean, "add to the end", default: "false"),
                APIField("mode", .union([.string, .integer]), "of a new file (`\"0600\"`)"),
            ], ["path", "data"], mutates: true, waits: true, errors: [.denied],
            example: "fs.write(fs.temporary() .. \"/note\", \"hello\")", permission: "fs"),
        client(
            "fs.exists", "tell whether there is a file or folder", [path], ["path"], returns: .boolean, waits: true,
            example: "assert(fs.exists \"/etc\")", permission: "fs"),
        client(
            "fs.list", "list a folder's names, sorted", [path], ["path"], returns: .list(.string), waits: true, errors: [.notFound],
            example: "for _, name in ipairs(fs.list \"/etc\") do local _ = name end", permission: "fs"),
        client(
            "fs.stat", "describe a file: type, size, mode, uid, gid, modified_at", [path], ["path"], returns: .map(.any), waits: true,
            errors: [.notFound], example: "assert(fs.stat(\"/etc\").type == \"directory\")", permission: "fs"),
        client(
            "fs.usage", "count a tree's bytes and inodes", [path], ["path"], returns: .map(.integer), waits: true, errors: [.notFound],
            example: "local usage = fs.usage(fs.temporary())", permission: "fs"),
        client(
            "fs.mkdir", "make a folder",
            [
                path, APIField("mode", .union([.string, .integer]), "permission bits (`\"0755\"`)"),
                APIField("parents", .boolean, "and those above it", default: "false"),
            ],
            ["path"], mutates: true, waits: true, errors: [.alreadyExists, .denied],
            example: "fs.mkdir(fs.temporary() .. \"/a/b\", { parents = true })",
            permission: "fs"),
        client(
            "fs.remove", "remove a file or folder; false when there was none",
            [path, APIField("recursive", .boolean, "with what is in it", default: "false")],
            ["path"], returns: .boolean, mutates: true, waits: true, errors: [.denied],
            example: "fs.remove(fs.temporary(), { recursive = true })",
            permission: "fs"),
        client(
            "fs.rename", "rename a file or folder", [required("from", .path, "the old path"), required("to", .path, "the new one")],
            ["from", "to"], mutates: true, waits: true, errors: [.notFound, .denied],
            example: "local d = fs.temporary() fs.write(d .. \"/a\", \"\") fs.rename(d .. \"/a\", d .. \"/b\")", permission: "fs"),
        client(
            "fs.temporary", "make a folder that goes with the script", returns: .string, example: "local folder = fs.temporary()"),
    ]
}
