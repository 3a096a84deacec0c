import LunetteSpec

enum SystemFunctions {
    static let all: [APIFunction] = [
        APIFunction(
            "plugin.list", "list plugins", [], returns: .list(.record("PluginInfo")),
            example: "for _, p in ipairs(lunette.plugin.list()) do print(p.name, p.version) end"),
        APIFunction(
            "plugin.inspect", "describe a plugin", [APIField("plugin", .string, "its name", required: true)],
            returns: .record("PluginInfo"),
            errors: [.notFound], example: "print(lunette.plugin.inspect(\"volume-local\").version)", lua: .init(["plugin"])),
        APIFunction(
            "system.info", "describe the engine and its machine", [], returns: .record("SystemInfo"),
            example: "print(lunette.system.info().root)"),
        APIFunction(
            "system.version", "tell the engine's version and API versions", [], returns: .record("SystemVersion"),
            example: "print(lunette.system.version().version)"),
        APIFunction(
            "system.check", "look for what is left over, missing or broken",
            [APIField("repair", .boolean, "mend what can be mended", default: "false")], returns: .record("CheckResult"), waits: true,
            example: "assert(#lunette.system.check().problems == 0)"),
        APIFunction(
            "system.prune", "remove stopped containers, unused images and, if asked, unused volumes",
            [
                APIField("all", .boolean, "also images that have a reference", default: "false"),
                APIField("volumes", .boolean, "also volumes that no container uses", default: "false"),
            ],
            returns: .record("PruneResult"), mutates: true, waits: true, example: "print(lunette.system.prune().reclaimed)"),
        APIFunction(
            "system.audit", "list who did what: calls that changed something, and those that were refused; the oldest first",
            [
                APIField("since", .union([.time, .duration]), "only from this unix time on; as text, from that long ago on"),
                APIField("limit", .integer, "only this many, the newest", default: "1000"),
            ], returns: .list(.record("AuditEntry")), waits: true,
            example: "for _, e in ipairs(lunette.system.audit { since = \"1h\" }) do print(e.uid, e.call, e.target, e.outcome) end"),
        APIFunction(
            "system.follow_audit", "stream who does what, from now on or from a point in the past",
            [
                APIField("since", .union([.time, .duration]), "from this unix time on; as text, from that long ago on", default: "now"),
                APIField("follow", .boolean, "false ends after what is there now", default: "true"),
            ], chunk: .record("AuditEntry"), waits: true,
            example: "for entry in lunette.system.follow_audit { since = \"1h\", follow = false } do print(entry.outcome) end",
            lua: .init(iterates: true)),
        APIFunction("system.ping", "answer", [], returns: .record("Pong"), example: "lunette.system.ping()"),
    ]
}
