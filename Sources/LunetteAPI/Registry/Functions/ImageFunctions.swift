import LunetteSpec

enum ImageFunctions {
    private static let image = APIField("image", .handle("image"), "the image: a handle, reference, id or digest", required: true)
    private static let registryOptions: [APIField] = [
        APIField("username", .string, "registry user; without it the registry is asked anonymously"),
        APIField("password", .string, "registry password or token"),
        APIField("tls", .boolean, "false speaks plain HTTP", default: "true, but for loopback registries the rule of the registries file"),
    ]
    private static let stdio = APIField(
        "stdio", .list(.choice(["stdin", "stdout"])), "instead of `path`: a file that comes with the call, read or written from its start")
    private static let progress = APIField("progress", .callback(.record("Progress")), "called with each step's progress")

    static let all: [APIFunction] = [
        APIFunction(
            "image.pull", "bring an image from a registry",
            [
                APIField("ref", .string, "image reference (`redis:7`, `registry.example.org/a/b@sha256:…`)", required: true),
                APIField("policy", .choice(["missing", "always", "never"]), "when to ask the registry", default: "\"missing\""),
                APIField("platform", .string, "`os/architecture[/variant]`", default: "the host's"),
            ] + registryOptions + [progress],
            returns: .handle("image"), chunk: .record("Progress"), mutates: true, waits: true,
            errors: [.notFound, .unauthenticated, .denied, .resourceExhausted],
            example: "local img = lunette.image.pull(\"registry.example.org/redis:7\", { progress = print })", lua: .init(["ref"])),
        APIFunction(
            "image.load", "read images from an OCI layout (folder or tar) or a docker-archive",
            [
                APIField("path", .path, "the folder or archive"),
                APIField("tag", .string, "a reference to give the image"), stdio, progress,
            ],
            returns: .handle("image"), chunk: .record("Progress"), mutates: true, waits: true, errors: [.notFound, .resourceExhausted],
            example: "local img = lunette.image.load(\"busybox.tar\", { tag = \"busybox:latest\" })", lua: .init(["path"])),
        APIFunction(
            "image.save", "write images to a file",
            [
                APIField("refs", .union([.handle("image"), .list(.handle("image"))]), "one image, or a list", required: true),
                APIField("path", .path, "where to write"), stdio,
                APIField(
                    "format", .choice(["oci", "oci-dir", "docker"]), "OCI layout as a folder, or as a tar that is a docker-archive as well",
                    default: "\"oci\""),
                progress,
            ],
            chunk: .record("Progress"), waits: true, errors: [.notFound, .alreadyExists],
            example: "lunette.image.save(\"hello:latest\", \"hello.tar\")", lua: .init(["refs", "path"])),
        APIFunction(
            "image.push", "send an image to a registry",
            [
                APIField("ref", .string, "the reference to push; it names the registry", required: true),
                APIField("to", .string, "another reference to push it as", default: "`ref`"),
            ] + registryOptions + [progress],
            returns: .record("PushResult"), chunk: .record("Progress"), waits: true, errors: [.notFound, .unauthenticated, .denied],
            example: "lunette.image.push(\"registry.example.org/hello:latest\")", lua: .init(["ref"])),
        APIFunction(
            "image.build", "make an image from nothing or from a base, with copy and run steps",
            [
                APIField("tag", .string, "the reference it gets"),
                APIField("from", .string, "base image, or `\"scratch\"`", default: "\"scratch\""),
                APIField("copy", .list(.record("BuildCopy")), "host files to copy, in order"),
                APIField(
                    "run", .list(.union([.string, .list(.string)])), "commands run in the image, in order; a string is run by `/bin/sh -c`"),
                APIField("config", .record("ImageConfig"), "what containers get by default"),
                APIField("network", .choice(["none", "host"]), "the network of `run` steps", default: "\"none\""),
                progress,
            ],
            returns: .handle("image"), chunk: .record("Progress"), mutates: true, waits: true, errors: [.notFound, .exitStatus],
            example: """
                local img = lunette.image.build {
                  tag = "hello:latest",
                  copy = { { from = "/bin/busybox", to = "/bin/busybox" } },
                  config = { cmd = { "/bin/busybox", "echo", "hello" } },
                }
                """),
        APIFunction(
            "image.get", "find an image or fail", [image], returns: .handle("image"), errors: [.notFound],
            example: "local img = lunette.image.get(\"hello:latest\")", lua: .init(["image"])),
        APIFunction(
            "image.find", "find an image; nothing when there is none", [image], returns: .orNull(.handle("image")), errors: [.conflict],
            example: "if not lunette.image.find(\"hello:latest\") then print(\"no such image\") end", lua: .init(["image"])),
        APIFunction(
            "image.list", "list images",
            [
                APIField("labels", .map(.orNull(.string)), "only images with these labels; `lunette.null`: whatever the value"),
                APIField("reference", .string, "only images with a reference that starts so"),
                APIField("dangling", .boolean, "true: only images without a reference; false: only ones with"),
            ],
            returns: .list(.handle("image")), example: "for _, img in ipairs(lunette.image.list()) do print(img.id, img.name) end"),
        APIFunction(
            "image.inspect_all", "describe every image that matches",
            [APIField("labels", .map(.orNull(.string)), "only images with these labels; `lunette.null`: whatever the value")],
            returns: .list(.record("ImageInfo")), example: "for _, info in ipairs(lunette.image.inspect {}) do print(info.size) end",
            lua: .init(hidden: true)),
        APIFunction(
            "image.tag", "give an image another reference",
            [image, APIField("reference", .string, "the new reference", required: true)], returns: .handle("image"), mutates: true,
            errors: [.notFound], example: "lunette.image.tag(\"hello:latest\", \"hello:v1\")",
            lua: .init(["image", "reference"], methodOf: "image")),
        APIFunction(
            "image.remove", "remove a reference, and the image with its last",
            [
                image,
                APIField("force", .boolean, "remove it with all its references, even while stopped containers use it", default: "false"),
            ],
            returns: .record("RemovedImage"), mutates: true, waits: true, errors: [.notFound, .conflict, .denied],
            example: "lunette.image.remove(\"hello:v1\")", lua: .init(["image"], methodOf: "image"), permission: "image:remove"),
        APIFunction(
            "image.prune", "remove images that nothing uses",
            [
                APIField("all", .boolean, "also images with a reference that no container uses", default: "false"),
                APIField("labels", .map(.orNull(.string)), "only images with these labels; `lunette.null`: whatever the value"),
            ],
            returns: .record("PruneResult"), mutates: true, waits: true,
            example: "print(lunette.image.prune({ all = true }).reclaimed)"),
        APIFunction(
            "image.inspect", "describe an image", [image], returns: .record("ImageInfo"), errors: [.notFound],
            example: "print(lunette.image.get(\"hello:latest\"):inspect().size)", lua: .init(["image"], methodOf: "image")),
        APIFunction(
            "image.history", "list the steps an image was made by", [image], returns: .list(.record("ImageHistory")), errors: [.notFound],
            example: "for _, step in ipairs(lunette.image.history(\"hello:latest\")) do print(step.created_by) end",
            lua: .init(["image"], methodOf: "image")),
    ]
}
