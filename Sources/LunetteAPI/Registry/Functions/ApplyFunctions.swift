import LunetteSpec

/// What is about objects of several nouns at once.
enum ApplyFunctions {
    static let all: [APIFunction] = [
        APIFunction(
            "lunette.apply",
            "make volumes and containers as described and change what may change: all of it, or nothing; new containers are not started",
            [
                APIField("volumes", .map(.record("VolumeSpec")), "as `volume.apply` takes them, by name"),
                APIField("containers", .map(.record("ContainerSpec")), "as `container.apply` takes them, by name"),
                APIField("dry_run", .boolean, "only say what would be changed; no handler is asked", default: "false"),
            ],
            returns: .record("Applied"), mutates: true, waits: true,
            errors: [.conflict, .notFound, .denied, .alreadyExists, .pluginFailed, .unsupported],
            example:
                "local r = lunette.apply { volumes = { data = {} }, containers = { db = { image = \"redis:7\", mounts = { { type = \"volume\", source = \"data\", target = \"/data\" } } } } } print(#r.changed)"
        )
    ]
}
