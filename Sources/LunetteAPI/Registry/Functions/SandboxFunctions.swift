import LunetteSpec

/// `sandbox.run`, which the Lua host does itself: it runs where the script runs.
enum SandboxFunctions {
    private static let sink: APIType = .union([.choice(["capture", "inherit", "null"]), .record("FileTarget")])
    private static let paths: APIType = .list(.string)

    static let all: [APIFunction] = [
        APIFunction(
            "sandbox.run", "run one command that sees and changes only what is allowed; no image, no engine",
            [
                APIField("args", .list(.string), "program and arguments", required: true),
                APIField(
                    "allow_read", paths,
                    "files and folders that are seen and executed (`\"~/x\"`, or relative to the script's working directory)"),
                APIField("allow_write", paths, "and changed"),
                APIField("private", paths, "folders whose changes are thrown away"),
                APIField("hide", paths, "what of them is left out"),
                APIField("tmpfs", paths, "empty folders in memory: `PATH` or `PATH:size=64m`"),
                APIField(
                    "scratch", .size, "what /tmp, the home folder and each private layer may hold", default: "an eighth of the memory"),
                APIField("devices", paths, "device nodes beside null, zero, full, random, urandom, tty"),
                APIField(
                    "preset", .choice(["system", "none"]),
                    "whether programs, libraries and the few files of /etc that every program reads are seen",
                    default: "\"system\""),
                APIField("network", .choice(["none", "host"]), "what it reaches", default: "\"none\""),
                APIField("allow_connect", .list(.integer), "with the host's network: TCP ports it may connect to", default: "any"),
                APIField("allow_bind", .list(.integer), "with the host's network: TCP ports it may listen on", default: "any"),
                APIField("env", .map(.string), "variables beside a clean set"),
                APIField("inherit_env", .union([.boolean, .list(.string)]), "variables that are handed on, or all", default: "{}"),
                APIField("workdir", .string, "where it starts", default: "the script's working directory when it is seen"),
                APIField("hostname", .string, "its host name", default: "\"sandbox\""),
                APIField("resources", .record("Resources"), "limits of memory, processors and tasks"),
                APIField("timeout", .duration, "kill everything in it and raise `timeout` after this long"),
                APIField(
                    "seccomp", .union([.choice(["default", "unconfined"]), .path, .map(.any)]), "which system calls pass",
                    default: "\"default\""),
                APIField(
                    "landlock", .boolean, "the same rules once more by Landlock; true: no sandbox where the kernel has none",
                    default: "where the kernel has it"),
                APIField(
                    "best_effort", .boolean, "run it also where a limit can't be held, and say so in `not_enforced`", default: "false"),
                APIField("report", .boolean, "note what was asked for outside the rules in `denied`", default: "false"),
                APIField("check", .boolean, "raise `exit_status` when it does not exit with 0", default: "false"),
                APIField("stdin", .union([.string, .record("FileTarget")]), "what it reads", default: "nothing"),
                APIField("stdout", sink, "where its output goes", default: "\"capture\", up to 16 MiB"),
                APIField("stderr", sink, "where its errors go", default: "\"capture\", up to 16 MiB"),
            ],
            returns: .record("SandboxResult"), mutates: true, waits: true,
            errors: [.invalidArgument, .notFound, .denied, .unsupported, .exitStatus, .timeout],
            example: "local r = lunette.sandbox.run { args = { \"id\", \"-u\" } } assert(r.code == 0)", place: .client,
            lua: .init([], rest: nil), permission: "process:run")
    ]
}
