import LunetteSpec

/// `process` and `http`, which the Lua host does itself, where the script runs.
enum HostFunctions {
    static let all: [APIFunction] = process + http

    private static let sink: APIType = .union([
        .choice(["capture", "inherit", "null"]), .record("FileTarget"), .callback(.string),
    ])

    private static let process: [APIFunction] = [
        APIFunction(
            "process.run", "run a command of the host; a non-zero exit is a result, not an error",
            [
                APIField(
                    "args", .union([.list(.string), .string]), "program and arguments; a string is run by `/bin/sh -c`", required: true),
                APIField("env", .map(.string), "added to this process's environment"),
                APIField("workdir", .path, "where it starts", default: "the script's working directory"),
                APIField("timeout", .duration, "kill it, with what it has started, and raise `timeout` after this long"),
                APIField("check", .boolean, "raise `exit_status` when it does not exit with 0", default: "false"),
                APIField(
                    "stdin", .union([.string, .choice(["inherit", "null"]), .record("FileTarget")]),
                    "what it reads; with `\"inherit\"` it stays in the terminal's session", default: "nothing"),
                APIField("stdout", sink, "where its output goes", default: "\"capture\", up to 16 MiB"),
                APIField("stderr", sink, "where its errors go", default: "\"capture\", up to 16 MiB"),
            ], returns: .record("ExecResult"), mutates: true, waits: true, errors: [.notFound, .denied, .exitStatus, .timeout],
            example: "local r = lunette.process.run({ \"uname\", \"-r\" }, { check = true }) print(r.stdout)", place: .client,
            lua: .init(["args"]), permission: "process:run")
    ]

    private static let requestOptions: [APIField] = [
        APIField("headers", .map(.string), "beside libcurl's own"),
        APIField("timeout", .duration, "raise `timeout` after this long", default: "60s"),
        APIField("max_size", .size, "a longer answer is `resource_exhausted`", default: "\"16MiB\""),
        APIField("redirects", .integer, "how many are followed; to http and https alone", default: "10"),
        APIField("username", .string, "for basic authentication"),
        APIField("password", .string, "for basic authentication"),
        APIField("ca_file", .path, "certificates are checked with this file instead of the system's"),
        APIField("verify", .boolean, "false takes any certificate", default: "true"),
    ]

    private static let url = APIField("url", .string, "`http:` or `https:`", required: true)

    private static let http: [APIFunction] = [
        APIFunction(
            "http.get", "get what an address has; whatever the server says is a result, also 404 and 500", [url] + requestOptions,
            returns: .record("HTTPResponse"), waits: true, errors: [.timeout, .resourceExhausted, .denied],
            example: "local ok, r = lunette.try(lunette.http.get, \"http://127.0.0.1:9/health\", { timeout = \"2s\" }) "
                + "print(ok and r.status or r.code)",
            place: .client, lua: .init(["url"]), permission: "http:get"),
        APIFunction(
            "http.request", "send a request of any method; whatever the server says is a result",
            [
                url, APIField("method", .string, "in capitals", default: "\"GET\""), APIField("body", .string, "what is sent"),
            ] + requestOptions, returns: .record("HTTPResponse"), mutates: true, waits: true,
            errors: [.timeout, .resourceExhausted, .denied],
            example: "local ok, r = lunette.try(lunette.http.request, { method = \"POST\", url = \"http://127.0.0.1:9/\", body = \"x\" }) "
                + "print(ok and r.status or r.code)",
            place: .client, permission: "http:request"),
    ]
}
