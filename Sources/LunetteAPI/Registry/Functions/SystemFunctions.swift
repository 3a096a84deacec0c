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
        APIFunction("system.ping", "answer", [], returns: .record("Pong"), example: "lunette.system.ping()"),
    ]
}
