import LunetteSpec

enum ContainerFunctions {
    private static let container = APIField(
        "container", .handle("container"), "the container: a handle, name, id or a unique prefix of it", required: true)
    private static let spec = APIField("spec", .record("ContainerSpec"), "what to run and how", required: true)
    private static let stdio = APIField(
        "stdio", .list(.choice(["stdin", "stdout", "stderr"])),
        "which streams the descriptors sent with the call are, in their order; with a tty, stdin and stdout")
    private static let filter: [APIField] = [
        APIField("all", .boolean, "also containers that do not run, nor wait for a restart", default: "false"),
        APIField("labels", .map(.orNull(.string)), "only containers with these labels; `lunette.null`: whatever the value"),
        APIField("status", .union([.string, .list(.string)]), "only containers in one of these states"),
        APIField("name", .string, "only containers whose name contains this"),
        APIField("owner", .integer, "only containers that this uid has made"),
    ]
    private static let logOptions: [APIField] = [
        APIField("stdout", .boolean, "with what was written to stdout", default: "true"),
        APIField("stderr", .boolean, "with what was written to stderr", default: "true"),
        APIField("since", .union([.time, .duration]), "only from this unix time on; as text, from that long ago on"),
        APIField("until", .union([.time, .duration]), "only up to this unix time; as text, up to that long ago"),
        APIField("tail", .integer, "only this many lines from the end"),
        APIField("timestamps", .boolean, "put the time before each line", default: "false"),
    ]

    private static func method(
        _ verb: String, _ summary: String, _ options: [APIField] = [], positional: [String] = [], returns result: APIType = .nothing,
        chunk: APIType? = nil, mutates: Bool = true, waits: Bool = true, errors: [ErrorCode] = [], example: String, rest: String? = nil,
        iterates: Bool = false, permission: String? = nil
    ) -> APIFunction {
        APIFunction(
            "container.\(verb)", summary, [container] + options, returns: result, chunk: chunk, mutates: mutates, waits: waits,
            errors: [.notFound] + errors, example: example,
            lua: .init(["container"] + positional, rest: rest, methodOf: "container", iterates: iterates), permission: permission)
    }

    static let all: [APIFunction] = making + life + inside + looking

    private static let making: [APIFunction] = [
        APIFunction(
            "container.create", "make a container without starting it", [spec], returns: .handle("container"), mutates: true, waits: true,
            errors: [.notFound, .alreadyExists, .denied, .resourceExhausted],
            example: "local c = lunette.container.create { image = \"hello:latest\", name = \"web\" }", lua: .init(rest: "spec")),
        APIFunction(
            "container.run", "make a container and start it; with `stdio` attached before its first instruction",
            [spec, stdio], returns: .handle("container"), mutates: true, waits: true,
            errors: [.notFound, .alreadyExists, .denied, .resourceExhausted],
            example: "local c = lunette.container.run { image = \"hello:latest\", args = { \"/bin/busybox\", \"true\" } }",
            lua: .init(rest: "spec")),
        APIFunction(
            "container.apply", "make a container as described, or update the one there is",
            [APIField("name", .string, "the container's name", required: true), spec], returns: .handle("container"), mutates: true,
            waits: true, errors: [.conflict, .notFound, .denied],
            example: "local c = lunette.container.apply(\"web\", { image = \"hello:latest\" })", lua: .init(["name"], rest: "spec")),
        APIFunction(
            "container.get", "find a container or fail", [container], returns: .handle("container"), errors: [.notFound, .conflict],
            example: "local c = lunette.container.get(\"web\")", lua: .init(["container"])),
        APIFunction(
            "container.find", "find a container; nothing when there is none", [container], returns: .orNull(.handle("container")),
            errors: [.conflict], example: "local c = lunette.container.find(\"web\")", lua: .init(["container"])),
        APIFunction(
            "container.list", "list containers", filter, returns: .list(.handle("container")),
            example: "for _, c in ipairs(lunette.container.list { all = true }) do print(c.name) end"),
        APIFunction(
            "container.inspect_all", "describe every container that matches, in one call",
            filter + [APIField("fields", .list(.string), "only these fields of each, parts of tables as `spec.args`", default: "all")],
            returns: .list(.record("ContainerInfo")),
            example:
                "for _, c in ipairs(lunette.container.inspect { all = true, fields = { \"name\", \"pid\" } }) do print(c.name, c.pid) end",
            lua: .init(hidden: true)),
        method(
            "inspect", "describe a container",
            [APIField("launch_plan", .boolean, "with the launch plan in its printable form, as `launch_plan`", default: "false")],
            returns: .record("ContainerInfo"), mutates: false, waits: false,
            example: "print(lunette.container.get(\"web\"):inspect().status)"),
    ]

    private static let life: [APIFunction] = [
        method(
            "start", "start a container that was created or has stopped; one that runs is left as it is",
            [
                APIField("rows", .integer, "height of the pty at the start"),
                APIField("columns", .integer, "width of the pty at the start"),
                stdio,
            ], returns: .record("Started"), errors: [.invalidState, .denied],
            example: "lunette.container.get(\"web\"):start()"),
        method(
            "stop", "end a container: its stop signal, then SIGKILL after the grace period",
            [APIField("grace_period", .duration, "how long it may take", default: "the container's, else 10s")], returns: .record("Exit"),
            errors: [.denied], example: "lunette.container.get(\"web\"):stop { grace_period = \"5s\" }"),
        method(
            "kill", "send a signal to a container's first process",
            [APIField("signal", .union([.string, .integer]), "`\"SIGTERM\"`, `\"TERM\"` or a number", default: "\"SIGKILL\"")],
            positional: ["signal"], errors: [.invalidState, .denied], example: "lunette.container.get(\"web\"):kill \"SIGHUP\""),
        method(
            "restart", "stop a container and start it again", [APIField("grace_period", .duration, "how long the stop may take")],
            returns: .record("Started"), errors: [.denied], example: "lunette.container.get(\"web\"):restart()"),
        method("pause", "freeze a container's processes", errors: [.invalidState], example: "lunette.container.get(\"web\"):pause()"),
        method("resume", "thaw a paused container", errors: [.invalidState], example: "lunette.container.get(\"web\"):resume()"),
        method(
            "remove", "remove a container",
            [
                APIField("force", .boolean, "kill it first when it runs", default: "false"),
                APIField("volumes", .boolean, "also its anonymous volumes", default: "false"),
            ],
            errors: [.invalidState, .denied], example: "lunette.container.get(\"web\"):remove { force = true }",
            permission: "container:remove"),
        method(
            "rename", "give a container another name", [APIField("name", .string, "the new name", required: true)], positional: ["name"],
            errors: [.alreadyExists], example: "lunette.container.get(\"web\"):rename \"web-old\""),
        method(
            "update", "change what may change while it exists",
            [
                APIField("resources", .record("Resources"), "limits to change; the others stay"),
                APIField("labels", .map(.orNull(.string)), "labels to set; `lunette.null` removes one"),
                APIField("restart", .union([.choice(["never", "on_failure", "always"]), .record("Restart")]), "the restart policy"),
            ],
            returns: .record("Updated"), errors: [.denied, .unsupported],
            example: "lunette.container.get(\"web\"):update { resources = { memory = \"256MiB\" } }"),
        method(
            "wait", "wait until a container has stopped; at once when it has",
            [APIField("timeout", .duration, "how long to wait", default: "for ever")], returns: .record("Exit"), mutates: false,
            errors: [.timeout], example: "local exit = lunette.container.get(\"web\"):wait { timeout = \"10s\" }"),
    ]

    private static let sink: APIType = .union([
        .choice(["capture", "inherit", "null"]), .record("FileTarget"), .callback(.string),
    ])

    private static let inside: [APIFunction] = [
        method(
            "exec", "run a command in a running container; a non-zero exit is a result, not an error",
            [
                APIField(
                    "args", .union([.list(.string), .string]), "program and arguments; a string is run by `/bin/sh -c`", required: true),
                APIField("env", .map(.string), "added to the container's environment"),
                APIField("workdir", .string, "where it starts", default: "the container's"),
                APIField("user", .string, "`name`, `uid`, `uid:gid` or `name:group`", default: "the container's"),
                APIField("tty", .boolean, "give it a pty", default: "false"),
                APIField("timeout", .duration, "kill it and raise `timeout` after this long"),
                APIField("check", .boolean, "raise `exit_status` when it does not exit with 0", default: "false"),
                APIField(
                    "stdin", .union([.string, .choice(["inherit", "null"]), .record("FileTarget")]), "what it reads", default: "nothing"),
                APIField("stdout", sink, "where its output goes", default: "\"capture\", up to 16 MiB"),
                APIField("stderr", sink, "where its errors go", default: "\"capture\", up to 16 MiB"),
                APIField("detach", .boolean, "return when it runs and leave it: it outlives the script", default: "false"),
                APIField("rows", .integer, "height of the pty at the start"),
                APIField("columns", .integer, "width of the pty at the start"),
                stdio,
            ],
            positional: ["args"], returns: .record("ExecResult"), errors: [.invalidState, .denied, .exitStatus, .timeout],
            example: "local r = lunette.container.get(\"web\"):exec({ \"cat\", \"/etc/hostname\" }, { check = true })"),
        method(
            "resize", "tell a container's (or an exec's) pty its size",
            [
                APIField("rows", .integer, "height", required: true), APIField("columns", .integer, "width", required: true),
                APIField("exec", .string, "the request id of the exec whose pty is meant", default: "the container's own"),
            ],
            mutates: false, waits: false, errors: [.invalidState],
            example: "lunette.container.get(\"web\"):resize { rows = 24, columns = 80 }"),
        method(
            "detach", "leave an exec running whose end a call waits for: that call returns",
            [APIField("exec", .string, "the request id of the exec", required: true)], mutates: false, waits: false,
            example: "lunette.try(function() lunette.container.get(\"web\"):detach { exec = \"0\" } end)"),
        method(
            "attach", "connect to a running container's streams until they end",
            [stdio, APIField("logs", .boolean, "first send what the log holds", default: "false")], returns: .record("Exit"),
            mutates: false,
            errors: [.invalidState], example: "lunette.container.get(\"web\"):attach {}"),
        method(
            "logs", "read a container's log", logOptions, returns: .string, mutates: false,
            example: "print(lunette.container.get(\"web\"):logs { tail = 10 })"),
        method(
            "follow_logs", "stream a container's log, line by line, until it has ended",
            logOptions + [APIField("follow", .boolean, "false ends after what is there now", default: "true")], chunk: .record("LogLine"),
            mutates: false, example: "for line in lunette.container.get(\"web\"):follow_logs { tail = 1 } do print(line) break end",
            iterates: true),
        method(
            "copy_in", "copy a host file or folder into a container",
            [
                APIField("source", .path, "the host's path", required: true),
                APIField("destination", .string, "the path in the container", required: true),
                APIField("archive", .boolean, "owners come along, by the container's numbers", default: "false"),
                APIField("follow_link", .boolean, "a source that is a link means what it leads to", default: "false"),
            ],
            positional: ["source", "destination"], errors: [.denied],
            example: "lunette.container.get(\"web\"):copy_in(\"index.html\", \"/srv/index.html\")"),
        method(
            "copy_out", "copy a file or folder out of a container",
            [
                APIField("source", .string, "the path in the container", required: true),
                APIField("destination", .path, "the host's path", required: true),
                APIField("archive", .boolean, "owners come along, by the container's numbers", default: "false"),
                APIField("follow_link", .boolean, "a source that is a link means what it leads to", default: "false"),
            ],
            positional: ["source", "destination"], mutates: false, errors: [.denied],
            example: "lunette.container.get(\"web\"):copy_out(\"/srv/index.html\", \"copy.html\")"),
    ]

    private static let looking: [APIFunction] = [
        method(
            "stats", "read a running container's counters", returns: .record("Stats"), mutates: false, errors: [.invalidState],
            example: "print(lunette.container.get(\"web\"):stats().memory.used)"),
        method(
            "processes", "list a running container's processes", returns: .list(.record("ProcessInfo")), mutates: false,
            errors: [.invalidState],
            example: "for _, p in ipairs(lunette.container.get(\"web\"):processes()) do print(p.pid, p.command) end"),
        method(
            "diff", "list what a container changed in its image's files", returns: .list(.record("FileChange")), mutates: false,
            example: "for _, f in ipairs(lunette.container.get(\"web\"):diff()) do print(f.change, f.path) end"),
        method(
            "checkpoint", "save a running container's processes; not built", mutates: false, errors: [.unsupported],
            example: "lunette.try(function() lunette.container.get(\"web\"):checkpoint() end)"),
        method(
            "restore", "bring saved processes back; not built", mutates: false, errors: [.unsupported],
            example: "lunette.try(function() lunette.container.get(\"web\"):restore() end)"),
        method(
            "transition", "move a container to a state of its lifecycle", [APIField("state", .string, "the state", required: true)],
            positional: ["state"], errors: [.unsupported, .invalidState], example: "lunette.container.get(\"web\"):transition \"draining\""),
    ]
}
