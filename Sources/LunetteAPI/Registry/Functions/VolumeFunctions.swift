import LunetteSpec

enum VolumeFunctions {
    private static let volume = APIField("volume", .handle("volume"), "the volume: a handle or its name", required: true)
    private static let spec: [APIField] = [
        APIField("name", .string, "letters, digits, `_`, `.` and `-`; unique", required: true),
        APIField("driver", .string, "the volume driver", default: "\"local\""),
        APIField("size", .size, "how much it may hold; the driver says whether it is enforced"),
        APIField("labels", .map(.string), "the user's own marks"),
        APIField("options", .map(.any), "the driver's own options"),
    ]

    static let all: [APIFunction] = [
        APIFunction(
            "volume.create", "make a volume", spec, returns: .handle("volume"), mutates: true, waits: true,
            errors: [.alreadyExists, .notFound, .denied, .pluginFailed],
            example: "local data = lunette.volume.create(\"data\", { labels = { app = \"redis\" } })", lua: .init(["name"])),
        APIFunction(
            "volume.apply", "make a volume unless it is there as described", spec, returns: .handle("volume"), mutates: true, waits: true,
            errors: [.conflict, .notFound, .denied, .pluginFailed],
            example: "local data = lunette.volume.apply(\"data\", { driver = \"local\" })",
            lua: .init(["name"])),
        APIFunction(
            "volume.get", "find a volume or fail", [volume], returns: .handle("volume"), errors: [.notFound],
            example: "local data = lunette.volume.get(\"data\")", lua: .init(["volume"])),
        APIFunction(
            "volume.find", "find a volume; nothing when there is none", [volume], returns: .orNull(.handle("volume")),
            example: "local data = lunette.volume.find(\"data\")", lua: .init(["volume"])),
        APIFunction(
            "volume.list", "list volumes",
            [
                APIField("labels", .map(.orNull(.string)), "only volumes with these labels; `lunette.null`: whatever the value"),
                APIField("driver", .string, "only volumes of this driver"),
            ],
            returns: .list(.handle("volume")), example: "for _, v in ipairs(lunette.volume.list()) do print(v.name) end"),
        APIFunction(
            "volume.inspect_all", "describe every volume that matches",
            [
                APIField("labels", .map(.orNull(.string)), "only volumes with these labels; `lunette.null`: whatever the value"),
                APIField("driver", .string, "only volumes of this driver"),
            ],
            returns: .list(.record("VolumeInfo")), example: "for _, info in ipairs(lunette.volume.inspect {}) do print(info.name) end",
            lua: .init(hidden: true)),
        APIFunction(
            "volume.inspect", "describe a volume", [volume], returns: .record("VolumeInfo"), errors: [.notFound],
            example: "print(lunette.volume.get(\"data\"):inspect().driver)", lua: .init(["volume"], methodOf: "volume")),
        APIFunction(
            "volume.remove", "remove a volume and what is in it",
            [volume, APIField("force", .boolean, "remove the row even when the driver fails", default: "false")], mutates: true,
            waits: true,
            errors: [.notFound, .conflict, .denied, .pluginFailed], example: "lunette.volume.remove(\"data\")",
            lua: .init(["volume"], methodOf: "volume"), permission: "volume:remove"),
        APIFunction(
            "volume.prune", "remove volumes that no container uses",
            [APIField("labels", .map(.orNull(.string)), "only volumes with these labels; `lunette.null`: whatever the value")],
            returns: .record("PruneResult"), mutates: true, waits: true, example: "print(#lunette.volume.prune().removed)"),
        APIFunction(
            "volume.usage", "say how full a volume is", [volume], returns: .record("VolumeUsage"), waits: true,
            errors: [.notFound, .unsupported, .pluginFailed], example: "print(lunette.volume.get(\"data\"):usage().used)",
            lua: .init(["volume"], methodOf: "volume")),
        APIFunction(
            "volume.users", "list the containers that mount a volume", [volume], returns: .list(.handle("container")), errors: [.notFound],
            example: "for _, c in ipairs(lunette.volume.get(\"data\"):users()) do print(c.name) end",
            lua: .init(["volume"], methodOf: "volume")),
    ]
}
