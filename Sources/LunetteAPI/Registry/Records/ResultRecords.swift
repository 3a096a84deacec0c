/// What functions return and stream. Open: within API 1 fields are only added.
enum ResultRecords {
    static let all: [APIRecord] = containers + images + volumes + events + system + store

    private static let store: [APIRecord] = [
        APIRecord(
            "StoreEntry", "a stored value", open: true,
            [
                APIField("version", .integer, "grows with each change; 0 when there is none", required: true),
                APIField("value", .any, "absent when there is none"),
            ]),
        APIRecord(
            "HTTPResponse", "what a server answered", open: true,
            [
                APIField("status", .integer, "`200`, `404` …", required: true),
                APIField("headers", .map(.string), "names in lower case; repeated ones joined by a comma", required: true),
                APIField("body", .string, "as it came", required: true),
            ]),
    ]

    private static let containers: [APIRecord] = [
        APIRecord(
            "ContainerInfo", "all about a container", open: true,
            [
                APIField("id", .string, "64 hexadecimal digits", required: true),
                APIField("name", .string, "its name", required: true),
                APIField(
                    "status", .choice(["creating", "created", "running", "paused", "stopped"]), "where in its life it is", required: true),
                APIField("state", .string, "its lifecycle's state", required: true),
                APIField("pid", .integer, "process 1 as the host sees it; absent when it does not run"),
                APIField("image", .map(.string), "`ref` and `digest`", required: true),
                APIField("spec", .record("ContainerSpec"), "as normalised", required: true),
                APIField("labels", .map(.string), "marks", required: true),
                APIField(
                    "health", .map(.any),
                    "`status` (`none`, `starting`, `healthy`, `unhealthy`), `failures` in a row, and the last one's `message`",
                    required: true),
                APIField("exit", .record("Exit"), "how it last ended; absent before"),
                APIField("restarts", .integer, "how often it was started again", required: true),
                APIField("created_at", .time, "when it was made", required: true),
                APIField("started_at", .time, "when it last started; absent before"),
                APIField("restart_at", .time, "when its policy starts it again; absent when none is due"),
                APIField("networks", .list(.any), "attachments", required: true),
                APIField("ports", .list(.any), "published ports", required: true),
                APIField("mounts", .list(.any), "mounts as made", required: true),
                APIField("history", .list(.any), "earlier states", required: true),
                APIField("landlock", .map(.integer), "with rules: `abi`, the kernel's version of Landlock, 0 for none"),
                APIField("degraded", .list(.string), "what does not hold as asked, and why, in words", required: true),
                APIField("not_enforced", .list(.record("NotEnforced")), "what of the spec nothing holds in its last run", required: true),
                APIField("id_range", .map(.integer), "`first` and `count` of the host's ids that are its own"),
                APIField("actor", .map(.any), "who made it: `uid`, `pid`, `script`", required: true),
                APIField("start_profile", .map(.number), "seconds by phase of the last start"),
                APIField("launch_plan", .string, "the plan's printable form, when asked for"),
            ]),
        APIRecord(
            "NotEnforced", "a part of a container's spec that nothing holds", open: true,
            [
                APIField("field", .string, "which: `\"resources.memory\"`; `\"resources\"` for all limits", required: true),
                APIField("why", .string, "what is missing, or what gives it away", required: true),
                APIField("asked", .boolean, "whether the call or the spec asks for it, rather than a default", required: true),
            ]),
        APIRecord(
            "Started", "what a start came to", open: true,
            [
                APIField("started", .boolean, "false when it ran already", required: true),
                APIField("not_enforced", .list(.record("NotEnforced")), "what of the spec nothing holds", required: true),
            ]),
        APIRecord(
            "Updated", "what an update came to", open: true,
            [APIField("not_enforced", .list(.record("NotEnforced")), "what of the spec nothing holds", required: true)]),
        APIRecord(
            "Exit", "how a container ended", open: true,
            [
                APIField("code", .integer, "exit code; 128 + n by signal n", required: true),
                APIField("signal", .string, "`\"SIGKILL\"`; absent when it exited"),
                APIField("oom_killed", .boolean, "the kernel killed it for want of memory", required: true),
                APIField(
                    "reason", .choice(["exited", "signal", "oom", "seccomp", "time_limit", "start_failed", "stopped", "hook", "lost"]),
                    "why; `lost`: its shim was killed, so nobody saw the program's own status",
                    required: true),
                APIField("finished_at", .time, "when", required: true),
            ]),
        APIRecord(
            "ExecResult", "how a command ended", open: true,
            [
                APIField("code", .integer, "exit code; 128 + n by signal n", required: true),
                APIField("signal", .string, "`\"SIGKILL\"`; absent when it exited"),
                APIField("stdout", .string, "what it wrote, when captured"),
                APIField("stderr", .string, "what it wrote, when captured"),
                APIField("truncated", .boolean, "more than 16 MiB was written; the rest was dropped"),
                APIField("pid", .integer, "with `detach`, and then alone: its process on the host"),
            ]),
        APIRecord(
            "SandboxResult", "how a sandboxed command ended", open: true,
            [
                APIField("code", .integer, "exit code; 128 + n by signal n", required: true),
                APIField("signal", .string, "`\"SIGKILL\"`; absent when it exited"),
                APIField("stdout", .string, "what it wrote, when captured"),
                APIField("stderr", .string, "what it wrote, when captured"),
                APIField("truncated", .boolean, "more than 16 MiB was written; the rest was dropped"),
                APIField("oom_killed", .boolean, "it ran out of memory"),
                APIField(
                    "denied", .list(.map(.any)), "with `report`: `{ action, path, rule }` for what was asked for outside the rules",
                    required: true),
                APIField("not_enforced", .list(.string), "limits that nothing holds here", required: true),
            ]),
        APIRecord(
            "LogLine", "one line of a log; Lua's iterator gives `data`", open: true,
            [
                APIField("stream", .choice(["stdout", "stderr"]), "where it was written", required: true),
                APIField("data", .string, "the line without its line feed", required: true),
                APIField("time", .time, "when it was read", required: true),
                APIField("sequence", .integer, "its number in the log", required: true),
                APIField("partial", .boolean, "the line goes on in the next one"),
            ]),
        APIRecord(
            "Stats", "a container's counters", open: true,
            [
                APIField("time", .time, "when they were read", required: true),
                APIField("cpu", .map(.number), "`used` seconds, `user`, `system`, `throttled`", required: true),
                APIField(
                    "memory", .map(.number), "`used`, `limit`, `cache`, `peak` bytes; `limit_hits`: how often it met the limit",
                    required: true),
                APIField("pids", .map(.number), "`current`, `limit`, `limit_hits`", required: true),
                APIField("io", .map(.number), "`read`, `written` bytes", required: true),
                APIField(
                    "pressure", .map(.any),
                    "`cpu`, `memory`, `io`: `some` and `full` with `avg10` `avg60` `avg300` percent, `total` microseconds; nil on cgroup v1"
                ),
            ]),
        APIRecord(
            "FileChange", "a file that differs from the image's", open: true,
            [
                APIField("path", .string, "absolute, in the container", required: true),
                APIField("change", .choice(["added", "changed", "removed"]), "what became of it", required: true),
            ]),
        APIRecord(
            "ProcessInfo", "one process", open: true,
            [
                APIField("pid", .integer, "as the host sees it", required: true),
                APIField("container_pid", .integer, "as the container sees it"),
                APIField("user", .string, "uid in the container"),
                APIField("command", .string, "its command line", required: true),
                APIField("started_at", .time, "when it started"),
                APIField("memory", .size, "resident bytes"),
                APIField("cpu", .number, "seconds used"),
            ]),
    ]

    private static let images: [APIRecord] = [
        APIRecord(
            "ImageInfo", "all about an image", open: true,
            [
                APIField("id", .string, "the config's digest", required: true),
                APIField("digest", .string, "the manifest's digest", required: true),
                APIField("refs", .list(.string), "its references", required: true),
                APIField("size", .size, "bytes on disk, unpacked", required: true),
                APIField("layers", .list(.any), "digest, size and media type of each", required: true),
                APIField("config", .map(.any), "as in `image.build`", required: true),
                APIField("created_at", .time, "when it was built", required: true),
                APIField("platform", .string, "`os/architecture`", required: true),
                APIField("labels", .map(.string), "marks", required: true),
            ]),
        APIRecord(
            "Progress", "how far a step is", open: true,
            [
                APIField("phase", .string, "`resolve download verify unpack commit upload copy run`", required: true),
                APIField("digest", .string, "the blob it is about"),
                APIField("current", .integer, "bytes or steps done", required: true),
                APIField("total", .integer, "of how many; absent when unknown"),
                APIField("message", .string, "a line of a run step's output"),
            ]),
        APIRecord("PushResult", "what was pushed", open: true, [APIField("digest", .string, "the manifest's digest", required: true)]),
        APIRecord(
            "RemovedImage", "what a removal took", open: true,
            [
                APIField("untagged", .list(.string), "references removed", required: true),
                APIField("removed", .boolean, "the image itself is gone", required: true),
            ]),
        APIRecord(
            "ImageHistory", "one step of an image", open: true,
            [
                APIField("created_at", .time, "when"), APIField("created_by", .string, "the command"),
                APIField("comment", .string, "a remark"), APIField("empty_layer", .boolean, "it made no layer"),
            ]),
        APIRecord(
            "PruneResult", "what was removed", open: true,
            [
                APIField("removed", .list(.string), "names or ids", required: true),
                APIField("reclaimed", .size, "bytes freed", required: true),
            ]),
    ]

    private static let volumes: [APIRecord] = [
        APIRecord(
            "Applied", "what an apply of several objects came to", open: true,
            [
                APIField(
                    "volumes", .map(.handle("volume")), "those of the call by name; with `dry_run` those that are there", required: true),
                APIField(
                    "containers", .map(.handle("container")), "those of the call by name; with `dry_run` those that are there",
                    required: true),
                APIField(
                    "changed", .list(.string),
                    "what was made and changed: `\"container web: resources.memory\"`; empty: all was as described",
                    required: true),
            ]),
        APIRecord(
            "VolumeInfo", "all about a volume", open: true,
            [
                APIField("id", .string, "its id", required: true), APIField("name", .string, "its name", required: true),
                APIField("driver", .string, "its driver", required: true), APIField("size", .size, "what it may hold"),
                APIField("labels", .map(.string), "marks", required: true), APIField("options", .map(.any), "the driver's", required: true),
                APIField("created_at", .time, "when it was made", required: true),
                APIField("users", .list(.string), "containers that mount it", required: true),
            ]),
        APIRecord(
            "VolumeUsage", "how full a volume is", open: true,
            [
                APIField("used", .size, "bytes", required: true), APIField("limit", .size, "bytes; absent without one"),
                APIField("inodes", .integer, "files"), APIField("enforced", .boolean, "the limit can't be passed", required: true),
            ]),
    ]

    private static let events: [APIRecord] = [
        APIRecord(
            "Event", "something that happened or is about to", open: true,
            [
                APIField("name", .string, "`container.exited`", required: true),
                APIField("sequence", .integer, "its number in the log; 0 for `before`", required: true),
                APIField("time", .time, "when", required: true),
                APIField("target", .map(.string), "`kind`, `id`, `name`", required: true),
                APIField("container", .handle("container"), "for events of a container"),
                APIField("spec", .map(.any), "`before`: what is asked for, normalised"),
                APIField("exit", .record("Exit"), "`container.exited`"),
                APIField("pressure", .map(.any), "`container.pressure`: `resource`, `share` and `limit` percent, `window` seconds"),
                APIField("limited", .map(.any), "`container.limited`: `resource` (`\"memory\"`, `\"pids\"`), `limit`, `hits`"),
                APIField("actor", .map(.any), "`uid`, `pid`, `script`, `line`, `socket`", required: true),
                APIField("cause", .list(.string), "what it happened because of", required: true),
                APIField("redelivered", .boolean, "it may have been seen before", required: true),
            ]),
        APIRecord(
            "AuditEntry", "who did what, and what came of it", open: true,
            [
                APIField("time", .time, "when it was asked for", required: true),
                APIField("call", .string, "what was called; `connect` of who wasn't let in", required: true),
                APIField("target", .string, "the name of what it was done to"),
                APIField("outcome", .string, "`\"ok\"` or an error's code", required: true),
                APIField("reason", .string, "of a refusal: the words of who refused it"),
                APIField("by", .string, "of a refusal: the hook or the socket"),
                APIField("left_out", .integer, "refusals of this user at this socket before it that aren't written: 30 a minute are"),
                APIField("uid", .integer, "who asked, by the kernel's word", required: true),
                APIField("pid", .integer, "the calling process, likewise; the engine's own of resident scripts", required: true),
                APIField("script", .string, "the script or command, by the caller's word"),
                APIField("line", .integer, "the script's line, likewise"),
                APIField("socket", .string, "which of the resident scripts' sockets it came over"),
                APIField("cause", .list(.string), "what it was called because of: ids of requests, events and hooks, the oldest first"),
                APIField("request", .string, "its id", required: true),
                APIField("seconds", .number, "how long it took", required: true),
            ]),
        APIRecord(
            "Subscription", "a registered handler", open: true,
            [
                APIField("subscription", .string, "its id", required: true), APIField("kind", .string, "`before` or `on`", required: true),
                APIField("event", .string, "its event", required: true), APIField("name", .string, "what it is called"),
                APIField("source", .string, "`resident`, `plugin` or `session`"), APIField("suspended", .boolean, "three time-outs"),
                APIField(
                    "place", .string,
                    "where a resident script registers it: `conf.d/limits.lua:12`; whose a session's is: `gate.lua:3 (pid 4711)`"),
                APIField("match", .map(.any), "what it is for, as registered"),
                APIField("priority", .integer, "lower is asked earlier"), APIField("timeout", .number, "seconds"),
                APIField("on_failure", .string, "`deny` or `ignore`"),
            ]),
        APIRecord(
            "ScriptInfo", "a resident script", open: true,
            [
                APIField("name", .string, "`init`, or `conf.d/` and its name", required: true),
                APIField("file", .string, "as errors name it", required: true), APIField("path", .path, "where it lies", required: true),
                APIField("origin", .string, "`settings`: a file of the settings' folder; `applied`: by `lunette apply`", required: true),
                APIField(
                    "status", .string,
                    "`running`; `last_good` where the file is broken and what was loaded before runs; `not_started` where its function `start` has raised: its handlers are there",
                    required: true),
                APIField("handlers", .integer, "how many it has registered", required: true),
                APIField("lifecycles", .list(.string), "those it has registered", required: true),
                APIField("objects", .list(.map(.any)), "what it wants there to be: `kind`, `name`, `place`", required: true),
                APIField("grants", .list(.string), "what an applied one may call"),
                APIField("error", .string, "what is wrong with what is on the disk, or what its function `start` has raised"),
            ]),
        APIRecord(
            "ScriptPlan", "what installing a script changes", open: true,
            [
                APIField("script", .string, "its name", required: true),
                APIField("action", .string, "`create`, `update` or `same`", required: true),
                APIField("handlers", .list(.map(.any)), "those it registers, as `hook.list` has them", required: true),
                APIField("lifecycles", .list(.map(.any)), "`name`, `place`", required: true),
                APIField(
                    "sockets", .list(.map(.any)),
                    "those it opens: `name`, `path`, `owner`, `group`, `mode`, and the `filter` that judges its users in words",
                    required: true),
                APIField(
                    "objects", .list(.map(.any)),
                    "`kind`, `name`, `action` (`create update same conflict remove leave`), the `fields` that differ, `place`, `error`, and"
                        + " what a container has of the machine (`reaches`: `privileged`, a path of the host's …)",
                    required: true),
                APIField("grants", .list(.string), "what it may call", required: true),
                APIField("lacking", .list(.string), "functions that its source seems to call and that it may not", required: true),
            ]),
        APIRecord(
            "ScriptChange", "what a reload changed", open: true,
            [
                APIField("added", .list(.string), "scripts that are new", required: true),
                APIField("changed", .list(.string), "scripts that are another, or whose modules are", required: true),
                APIField("removed", .list(.string), "scripts that are gone", required: true),
                APIField("objects", .list(.map(.any)), "what became of what they want there to be, as in `ScriptPlan`", required: true),
            ]),
    ]

    private static let system: [APIRecord] = [
        APIRecord(
            "PluginInfo", "a plugin", open: true,
            [
                APIField("name", .string, "its name", required: true), APIField("version", .string, "its version", required: true),
                APIField("status", .string, "`running`, `disabled` or `failed`", required: true),
                APIField("provides", .map(.list(.string)), "drivers by extension point", required: true),
                APIField("permissions", .list(.string), "granted", required: true), APIField("path", .path, "its folder", required: true),
                APIField("error", .string, "why it failed"), APIField("summary", .string, "what it is for"),
            ]),
        APIRecord(
            "SystemInfo", "the engine and its machine", open: true,
            [
                APIField("version", .string, "the engine's", required: true),
                APIField("root", .path, "where lasting state is", required: true),
                APIField("state", .path, "where passing state is", required: true),
                APIField("pid", .integer, "the engine's", required: true),
                APIField("kernel", .string, "release", required: true), APIField("cgroup_version", .integer, "1 or 2", required: true),
                APIField("rootless", .boolean, "whether it is an ordinary user's engine", required: true),
                APIField("not_enforced", .list(.string), "what this machine or user lacks for every container", required: true),
                APIField("containers", .map(.integer), "by status", required: true),
                APIField("images", .integer, "how many", required: true),
                APIField("stay_reasons", .list(.string), "why an engine on demand stays", required: true),
                APIField("started_at", .time, "when the engine started", required: true),
            ]),
        APIRecord(
            "SystemVersion", "versions", open: true,
            [
                APIField("version", .string, "the engine's", required: true), APIField("api", .integer, "the API's", required: true),
                APIField("commit", .string, "the source's"),
            ]),
        APIRecord(
            "CheckResult", "what a check found", open: true,
            [
                APIField("problems", .list(.any), "`kind`, `what`, `repaired` each", required: true),
                APIField("checked", .list(.string), "what was looked at", required: true),
            ]),
        APIRecord(
            "Pong", "an answer", open: true,
            [
                APIField("time", .time, "the engine's clock", required: true), APIField("root", .path, "where its lasting state is"),
                APIField("config", .path, "the folder of its settings"),
            ]),
    ]
}
