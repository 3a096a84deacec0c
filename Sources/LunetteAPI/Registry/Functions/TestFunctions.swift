import LunetteSpec

/// `test.*`: what test files call under `lunette test`, done by the Lua host.
enum TestFunctions {
    private static let function: APIType = .callback(.any)
    private static let name = APIField("name", .string, "what reports call it", required: true)
    private static let timeout = APIField("timeout", .duration, "how long one test may take, in the wall's time", default: "10s")
    private static let skip = APIField("skip", .string, "why it isn't run")
    private static let container = APIField(
        "container", .union([.handle("container"), .map(.string)]),
        "a name, which may hold `*`, or `{ name=, image= }`; nil: every container")

    private static func test(
        _ name: String, _ summary: String, _ arguments: [APIField], _ positional: [String], returns result: APIType = .nothing,
        waits: Bool = false, errors: [ErrorCode] = [], rest: String? = nil, example: String
    ) -> APIFunction {
        APIFunction(
            name, summary, arguments, returns: result, waits: waits, errors: errors, example: example, place: .client,
            lua: .init(positional, rest: rest))
    }

    private static func step(_ verb: String, _ when: String) -> APIFunction {
        test(
            "test.\(verb)", "run a function \(when)", [APIField("f", function, "what it does; it may wait", required: true)], ["f"],
            errors: [.invalidState], example: "test.\(verb)(function() image.list() end)")
    }

    static let all: [APIFunction] = [
        test(
            "test.describe", "group tests",
            [
                name, APIField("shared", .boolean, "one engine for all tests of the group", default: "false: each has its own"),
                timeout, skip, APIField("f", function, "defines its tests and groups", required: true),
            ],
            ["name", "options", "f"],
            example: "test.describe(\"a group\", function() test.it(\"a test\", function() end) end)"),
        test(
            "test.it", "define a test", [name, timeout, skip, APIField("f", function, "the test; it may wait", required: true)],
            ["name", "options", "f"], example: "test.it(\"adds\", function() test.expect(1 + 1):to_be(2) end)"),
        step("before_each", "before each test of the group and the groups in it"),
        step("after_each", "after each test of the group and the groups in it, whatever became of it"),
        step("before_all", "before the first test of a group with `shared = true`"),
        step("after_all", "after the last test of a group with `shared = true`"),
        test(
            "test.expect", "say what a value should be; where it isn't, the test has failed",
            [APIField("value", .any, "what came")], ["value"], returns: .record("Expectation"), errors: [.scriptFailed],
            example: "test.expect({ a = { 1, 2 } }):to_equal { a = { 1, 2 } }"),
        test(
            "test.skip", "end the test; it counts as skipped", [APIField("reason", .string, "why", required: true)], ["reason"],
            example: "if not fs.exists \"/\" then test.skip \"there are no files here\" end"),
        test(
            "test.load",
            "load what is tested: a script, which runs until it ends or stays; a resident script, whose handlers are registered; a plugin",
            [
                APIField("path", .path, "the file or folder, from the test file's folder", required: true),
                APIField("resident", .boolean, "load it as resident code", default: "false"),
                APIField("plugin", .boolean, "load it as a plugin", default: "whether it is a folder with a plugin.json"),
                APIField("args", .list(.any), "a script's arguments; they may also follow the path"),
                APIField("background", .boolean, "don't wait for a script", default: "false"),
                APIField("...", .any, "a script's arguments"),
            ],
            ["path", "options", "..."], returns: .record("TestedScript"), waits: true, errors: [.notFound, .scriptFailed],
            example: "if fs.exists \"/no/such.lua\" then test.load(\"/no/such.lua\", \"an argument\") end"),
        test(
            "test.clock.advance", "move the time on; what is due wakes in its order, and all that comes of it has happened afterwards",
            [APIField("duration", .duration, "how far", required: true)], ["duration"], waits: true,
            example: "local n = 0 task.every(\"1h\", function() n = n + 1 end) test.clock.advance \"3h\" test.expect(n):to_be(3)"),
        test(
            "test.clock.now", "read the test's time, in unix seconds; each test begins on 2026-01-01", [], [], returns: .number,
            example: "test.expect(os.date(\"!%F\", test.clock.now() // 1)):to_match \"%d+\""),
        test(
            "test.clock.set", "move the time on to a moment", [APIField("moment", .time, "unix seconds, not in the past", required: true)],
            ["moment"], waits: true, errors: [.invalidArgument], example: "test.clock.set(test.clock.now() + 60)"),
        test(
            "test.emit", "give `on` handlers an event, or ask `before` handlers; afterwards they have ended",
            [
                APIField("event", .string, "its name (`container.oom`, `container.create`)", required: true),
                APIField(
                    "fields", .map(.any),
                    "what is in it: `container`, `image` or `volume` (a handle or a name), `labels`, `spec` of a `before`, and its own fields"
                ),
            ],
            ["event", "fields"], returns: .orNull(.record("TestAnswer")), waits: true, errors: [.invalidArgument],
            example: "test.expect(test.emit(\"container.create\", { spec = { image = \"a:1\" } }).allowed):to_be_true()"),
        test(
            "test.fail", "make calls of a function fail",
            [
                APIField("name", .string, "the function's name; `*` stands for any part of it", required: true),
                APIField("code", .string, "an error code (`io`)", required: true),
                APIField("times", .integer, "how often", default: "always"),
                APIField("after", .integer, "how many calls pass before", default: "0"),
                APIField("match", .map(.any), "only calls with these arguments"),
                APIField("message", .string, "what the error says"), APIField("hint", .string, "its hint"),
            ],
            ["name", "code", "options"], errors: [.invalidArgument],
            example: "test.fail(\"image.pull\", \"io\", { times = 1 }) test.expect(function() image.pull \"a:1\" end):to_raise \"io\""),
        test(
            "test.stub", "answer calls of a function",
            [
                APIField("name", .string, "the function's name; `*` stands for any part of it", required: true),
                APIField("answer", .any, "what they return, or a function of their arguments that says so"),
            ],
            ["name", "answer"], errors: [.invalidArgument],
            example:
                "test.stub(\"sandbox.run\", { code = 0, stdout = \"ok\" }) test.expect(sandbox.run({ args = { \"make\" } }).stdout):to_be \"ok\""
        ),
        test(
            "test.image", "make an image be there, without a pull",
            [
                APIField("reference", .string, "its reference", required: true), APIField("entrypoint", .list(.string), "its entrypoint"),
                APIField("cmd", .list(.string), "its arguments"), APIField("env", .map(.string), "its variables"),
                APIField("workdir", .string, "where programs start"), APIField("user", .string, "whose programs are"),
                APIField("labels", .map(.string), "its labels"), APIField("volumes", .list(.string), "paths that become volumes"),
                APIField("exposed_ports", .list(.string), "`80/tcp`"), APIField("stop_signal", .string, "what stops it"),
            ],
            ["reference", "options"], returns: .handle("image"), waits: true, errors: [.invalidArgument],
            example: "local img = test.image(\"web:1\", { cmd = { \"serve\" } }) test.expect(img:inspect().refs):to_have_length(1)"),
        test(
            "test.program", "say what the program of containers does; without a word it runs until it is stopped",
            [
                container,
                APIField("answer", .union([.record("Program"), function]), "what it does, or a function of its start", required: true),
            ],
            ["container", "answer"], errors: [.invalidArgument],
            example:
                "test.image \"a:1\" test.program(\"web\", { after = \"5s\", code = 3 })\ntest.expect(container.run({ image = \"a:1\", name = \"web\" }):wait().code):to_be(3)"
        ),
        test(
            "test.exec", "say what execs in containers answer; without a word an exec is an error",
            [
                container,
                APIField(
                    "args", .union([.list(.string), .string]),
                    "which: words that may hold `*`, `\"...\"` for any more; a string is a shell's; nil: all"),
                APIField("answer", .union([.record("Program"), function]), "what it does, or a function of its start", required: true),
            ],
            ["container", "args", "answer"], errors: [.invalidArgument],
            example:
                "test.image \"a:1\" test.exec(\"db\", { \"redis-cli\", \"...\" }, { stdout = \"PONG\\n\" })\nlocal c = container.run { image = \"a:1\", name = \"db\" } test.expect(c:exec({ \"redis-cli\", \"ping\" }).stdout):to_be \"PONG\\n\""
        ),
        test(
            "test.exit", "end the program of a running container",
            [
                APIField("container", .handle("container"), "the container", required: true),
                APIField("code", .integer, "its exit code", default: "0"), APIField("signal", .string, "the signal that ends it"),
                APIField("oom_killed", .boolean, "whether it is for want of memory"),
            ],
            ["container", "options"], waits: true, errors: [.notFound, .invalidState],
            example:
                "test.image \"a:1\" local c = container.run { image = \"a:1\" } test.exit(c, { oom_killed = true })\ntest.expect(c:inspect().exit.reason):to_be \"oom\""
        ),
        test(
            "test.events", "list the calls and events so far, in their order",
            [
                APIField("name", .string, "only of these names (`container.*`); may be given alone"),
                APIField("kind", .choice(["call", "event"]), "only these"),
            ],
            ["name"], returns: .list(.map(.any)), waits: true,
            example: "image.list() test.expect(test.events({ kind = \"call\" })[1].name):to_be \"image.list\""),
    ]

    static let records: [APIRecord] = [
        APIRecord(
            "Expectation", "what a value is held to; each has a `not_…` beside it",
            [
                APIField(
                    "to_equal", .callback(.any), "equal, tables by their contents; the report shows where they differ", required: true),
                APIField("to_be", .callback(.any), "the same value or object", required: true),
                APIField(
                    "to_match", .callback(.union([.string, .map(.any)])), "a text with a Lua pattern, a table with these fields",
                    required: true),
                APIField(
                    "to_contain", .callback(.any), "a text with this in it, a list with this item, a table with these fields",
                    required: true),
                APIField(
                    "to_raise", .callback(.orNull(.any)), "a function that raises: a code, a pattern, or fields of the error",
                    required: true),
                APIField("to_have_length", .callback(.integer), "`#value`", required: true),
                APIField("to_be_nil", .callback(.null), "nil", required: true),
                APIField("to_be_true", .callback(.null), "true itself", required: true),
                APIField("to_be_false", .callback(.null), "false itself", required: true),
                APIField("to_be_a", .callback(.string), "of a Lua type, `integer`, `float`, or a handle (`container`)", required: true),
                APIField("to_be_above", .callback(.number), "greater", required: true),
                APIField("to_be_below", .callback(.number), "less", required: true),
                APIField("to_be_at_least", .callback(.number), "not less", required: true),
                APIField("to_be_at_most", .callback(.number), "not greater", required: true),
                APIField("to_be_near", .callback(.number), "within a tolerance, the second argument (1e-6)", required: true),
            ]),
        APIRecord(
            "TestedScript", "a script that a test loaded; of a resident script `handlers` and `has_timers`, of a plugin its description",
            open: true,
            [
                APIField("output", .string, "what it wrote to stdout"), APIField("errors", .string, "to stderr, and its log"),
                APIField("code", .integer, "its exit code, once it has ended"), APIField("ok", .boolean, "whether that is 0"),
                APIField("error", .any, "what it failed with"), APIField("is_running", .boolean, "whether it hasn't ended"),
                APIField("wait", .callback(.null), "waits until it has ended"),
                APIField("stop", .callback(.null), "ends it as Ctrl-C does"),
            ]),
        APIRecord(
            "TestAnswer", "what `before` handlers made of a question",
            [
                APIField("allowed", .boolean, "whether nobody denied it", required: true),
                APIField("spec", .map(.any), "as amended"), APIField("notes", .list(.string), "who changed what"),
                APIField("reason", .string, "why it was denied"), APIField("hook", .string, "by whom"),
                APIField("message", .string, "what its caller is told"),
            ]),
        APIRecord(
            "Program", "what a program that a test plays does",
            [
                APIField("code", .integer, "its exit code", default: "0, for an exec or with `after`"),
                APIField("signal", .string, "the signal that ends it"), APIField("after", .duration, "when it ends", default: "at once"),
                APIField("stdout", .string, "what it writes"), APIField("stderr", .string, "what it writes to stderr"),
                APIField("ignores", .list(.string), "signals that don't end it"),
                APIField("runs", .boolean, "an exec: until it is killed", default: "false"),
                APIField("times", .integer, "for how many starts this holds", default: "all"),
            ]),
    ]
}
