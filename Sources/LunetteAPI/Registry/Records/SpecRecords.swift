/// What callers write: specs and their parts.
enum SpecRecords {
    static let all: [APIRecord] = [container, oci, mount, resources, security, restart, publish, other].flatMap { $0 }

    private static let container: [APIRecord] = [
        APIRecord(
            "ContainerSpec", "what a container is to be", needsOneOf: ["image", "rootfs", "pod"],
            [
                APIField("name", .string, "unique; letters, digits, `_`, `.` and `-`", default: "made up"),
                APIField("image", .handle("image"), "the image to run"),
                APIField("rootfs", .path, "a folder to run instead of an image"),
                APIField("entrypoint", .union([.list(.string), .string]), "replaces the image's"),
                APIField("args", .union([.list(.string), .string]), "replaces the image's command", default: "the image's"),
                APIField("env", .map(.string), "added to the image's"),
                APIField("workdir", .string, "where it starts", default: "the image's, else `/`"),
                APIField("user", .string, "`name`, `uid`, `uid:gid` or `name:group`", default: "the image's, else root"),
                APIField("hostname", .string, "its host name", default: "the first 12 characters of its id"),
                APIField("labels", .map(.string), "the user's own marks"),
                APIField("tty", .boolean, "give it a pty", default: "false"),
                APIField("stdin", .boolean, "keep stdin open", default: "false"),
                APIField("init", .boolean, "a reaping init as process 1", default: "true"),
                APIField("mounts", .list(.record("Mount")), "volumes, host folders, tmpfs"),
                APIField("readonly_rootfs", .boolean, "its root can't be written", default: "false"),
                APIField(
                    "network", .union([.string, .list(.string)]), "`\"none\"`, `\"host\"`, `\"container:NAME\"` or networks",
                    default: "\"none\""),
                APIField(
                    "pod", .union([.boolean, .string]),
                    "true: no image and no program, namespaces for others to share; a name: that pod's `network` and `ipc`"),
                APIField("pid", .string, "`\"private\"` or `\"container:NAME\"`", default: "its own"),
                APIField("ipc", .string, "`\"private\"` or `\"container:NAME\"`", default: "its own"),
                APIField("publish", .list(.union([.string, .record("PublishedPort")])), "ports to open on the host"),
                APIField("dns", .list(.string), "name servers", default: "the host's"),
                APIField("resources", .record("Resources"), "limits"),
                APIField("rlimits", .map(.any), "`nofile = 1024` or `nofile = { soft =, hard = }`"),
                APIField("sysctls", .map(.any), "kernel settings of its own namespaces"),
                APIField("devices", .list(.any), "host devices it may use"),
                APIField("security", .record("Security"), "what it may do"),
                APIField(
                    "restart", .union([.choice(["never", "on_failure", "always"]), .record("Restart")]), "when it is started again",
                    default: "\"never\""),
                APIField(
                    "health", .union([.record("Health"), .boolean]), "how its health is checked; false: not even as its image says",
                    default: "the image's"),
                APIField("lifecycle", .string, "the lifecycle of a resident script that it follows"),
                APIField("stop", .record("Stop"), "how it is stopped"),
                APIField("log", .record("Log"), "how its log is kept"),
                APIField("remove_on_exit", .boolean, "remove it when it ends", default: "false"),
                APIField("time_limit", .duration, "it is killed after this long"),
                APIField("lifetime", .choice(["script"]), "removed when the script that made it ends"),
                APIField("oci", .record("OCIChanges"), "exact OCI runtime-spec JSON, merged over what is made"),
            ])
    ]

    /// The top of OCI's runtime specification 1.2, as far as it is Linux's.
    private static let oci: [APIRecord] = [
        APIRecord(
            "OCIChanges", "OCI runtime-spec JSON, by its own names",
            [
                APIField("ociVersion", .string, "the specification's version"), APIField("process", .map(.any), "the program"),
                APIField("root", .map(.any), "the root file system"), APIField("hostname", .string, "the host name"),
                APIField("domainname", .string, "the NIS domain name"), APIField("mounts", .list(.any), "mounts"),
                APIField("hooks", .map(.any), "programs that are run at points of its life"),
                APIField("annotations", .map(.string), "marks"), APIField("linux", .map(.any), "namespaces, cgroups, devices, seccomp"),
            ])
    ]

    private static let mount: [APIRecord] = [
        APIRecord(
            "Mount", "something mounted in a container",
            [
                APIField("type", .choice(["volume", "bind", "tmpfs", "image", "secret", "config"]), "what is mounted", required: true),
                APIField("source", .string, "volume name, host path, image reference"),
                APIField("target", .string, "where, an absolute path in the container", required: true),
                APIField("readonly", .boolean, "it can't be written there", default: "false"),
                APIField("fork", .boolean, "a copy-on-write copy for this run", default: "false"),
                APIField("options", .map(.any), "by type: `size`, `mode`, `propagation`, `subpath` …"),
            ])
    ]

    private static let resources: [APIRecord] = [
        APIRecord(
            "Resources", "a container's limits",
            [
                APIField("memory", .size, "memory it may use"),
                APIField("memory_swap", .size, "memory and swap together"),
                APIField("memory_reservation", .size, "what it is left under pressure"),
                APIField("cpus", .number, "processors' worth of time (1.5)"),
                APIField("cpu_shares", .integer, "weight against others, 2–262144"),
                APIField("cpuset", .string, "the processors it may use (`\"0-1,3\"`)"),
                APIField("pids", .integer, "processes and threads it may have"),
                APIField("io_weight", .integer, "weight against others, 1–10000"),
                APIField("shm_size", .size, "the size of its /dev/shm", default: "\"64MiB\""),
                APIField("storage", .size, "what it may write to its root"),
                APIField("oom", .choice(["process", "group"]), "what the kernel kills when memory runs out"),
                APIField("hugepages", .map(.any), "limits by page size"),
            ])
    ]

    private static let security: [APIRecord] = [
        APIRecord(
            "Security", "what a container may do",
            [
                APIField("user_namespace", .boolean, "its own ids", default: "true"),
                APIField("privileged", .boolean, "everything the engine may", default: "false"),
                APIField("capabilities", .record("Capabilities"), "added to or dropped from the default list"),
                APIField(
                    "seccomp", .union([.choice(["default", "unconfined"]), .path, .map(.any)]),
                    "system call filter: a profile's path or table", default: "\"default\""),
                APIField("no_new_privileges", .boolean, "set-id programs gain nothing", default: "true"),
                APIField("masked_paths", .list(.string), "paths hidden from it", default: "the default list"),
                APIField("readonly_paths", .list(.string), "paths it can't write", default: "the default list"),
                APIField("landlock", .record("Landlock"), "a further layer over files, TCP ports and other processes"),
                APIField("apparmor", .string, "profile"),
                APIField("selinux", .string, "label"),
            ]),
        APIRecord(
            "Landlock", "what Landlock leaves; each list restricts its own kind, what isn't named is left to the other layers",
            [
                APIField("read", .list(.string), "paths that are read, and executed unless `execute` is given"),
                APIField("write", .list(.string), "paths that are changed as well"),
                APIField("execute", .list(.string), "paths that are executed; nothing else is then"),
                APIField("ioctl", .list(.string), "devices that take ioctl", default: "all of its own"),
                APIField("connect", .list(.integer), "TCP ports that may be connected to"),
                APIField("bind", .list(.integer), "TCP ports that may be listened on"),
                APIField(
                    "scope", .list(.choice(["abstract_socket", "signal"])), "what of processes outside stays out of reach"),
                APIField("required", .boolean, "refuse to start where the kernel can't hold all of it", default: "false"),
            ]),
        APIRecord(
            "Capabilities", "changes to the default capability list",
            [
                APIField("add", .list(.string), "`\"NET_ADMIN\"` or `\"CAP_NET_ADMIN\"`; `\"ALL\"`"),
                APIField("drop", .list(.string), "as `add`"),
            ]),
    ]

    private static let restart: [APIRecord] = [
        APIRecord(
            "Restart", "when a container is started again",
            [
                APIField("policy", .choice(["never", "on_failure", "always"]), "`always` remembers a user's stop", required: true),
                APIField("backoff", .record("Backoff"), "the wait between attempts"),
                APIField("max_attempts", .integer, "give up after this many in a row"),
            ]),
        APIRecord(
            "Backoff", "a growing wait",
            [APIField("initial", .duration, "the first", default: "100ms"), APIField("max", .duration, "the longest", default: "60s")]),
        APIRecord(
            "Health", "how a container's health is checked, while it runs; one of `exec`, `http` and `tcp`",
            [
                APIField("exec", .union([.list(.string), .string]), "a command in the container; exit code 0 is a success"),
                APIField("http", .record("HealthHTTP"), "a GET on its loopback; a status of 200 to 399 is a success"),
                APIField("tcp", .record("HealthTCP"), "a connection on its loopback"),
                APIField("period", .duration, "from the end of one check to the next", default: "10s"),
                APIField("timeout", .duration, "a check has failed after this long", default: "5s"),
                APIField("failure_threshold", .integer, "failures in a row that make it unhealthy", default: "3"),
                APIField("start_period", .duration, "failures don't count for this long after the start", default: "0s"),
                APIField("start_interval", .duration, "between checks until the first success", default: "1s"),
                APIField(
                    "on_unhealthy", .choice(["none", "restart", "stop"]), "what follows; a lifecycle's `unhealthy` comes before it",
                    default: "\"none\""),
            ]),
        APIRecord(
            "HealthHTTP", "a request that tells of health",
            [APIField("path", .string, "what is asked for", default: "\"/\""), APIField("port", .integer, "the port", required: true)]),
        APIRecord("HealthTCP", "a connection that tells of health", [APIField("port", .integer, "the port", required: true)]),
        APIRecord(
            "Stop", "how a container is stopped",
            [
                APIField("signal", .union([.string, .integer]), "the polite one", default: "the image's, else SIGTERM"),
                APIField("grace_period", .duration, "then SIGKILL", default: "10s"),
            ]),
        APIRecord(
            "Log", "how a container's log is kept",
            [
                APIField("max_size", .size, "a file is rotated at this size", default: "10MiB"),
                APIField("max_files", .integer, "files kept", default: "5"),
            ]),
    ]

    private static let publish: [APIRecord] = [
        APIRecord(
            "PublishedPort", "a port opened on the host",
            [
                APIField("host_ip", .string, "the address it is opened on", default: "\"127.0.0.1\""),
                APIField("host_port", .integer, "0: any free one"),
                APIField("container_port", .integer, "the port inside", required: true),
                APIField("protocol", .choice(["tcp", "udp"]), "the protocol", default: "\"tcp\""),
            ])
    ]

    private static let other: [APIRecord] = [
        APIRecord(
            "BuildCopy", "one copy step of a build",
            [
                APIField("from", .path, "host file or folder", required: true),
                APIField("to", .string, "absolute path in the image", required: true),
                APIField("mode", .union([.string, .integer]), "permission bits, octal as text (`\"0755\"`)", default: "the source's"),
                APIField("owner", .string, "`uid:gid` in the image", default: "\"0:0\""),
            ]),
        APIRecord(
            "ImageConfig", "what containers of an image get by default",
            [
                APIField("entrypoint", .union([.list(.string), .string]), "the program"),
                APIField("cmd", .union([.list(.string), .string]), "its arguments, or the command"),
                APIField("env", .map(.string), "environment"),
                APIField("workdir", .string, "where it starts"),
                APIField("user", .string, "who it runs as"),
                APIField("exposed_ports", .list(.union([.string, .integer])), "ports it listens on (`\"80/tcp\"`)"),
                APIField("labels", .map(.string), "marks"),
                APIField("volumes", .list(.string), "paths that should be volumes"),
                APIField("stop_signal", .string, "the polite signal"),
            ]),
        APIRecord(
            "VolumeSpec", "what a volume is to be",
            [
                APIField("driver", .string, "the volume driver", default: "\"local\""),
                APIField("size", .size, "how much it may hold; the driver says whether it is enforced"),
                APIField("labels", .map(.string), "the user's own marks"),
                APIField("options", .map(.any), "the driver's own options"),
            ]),
        APIRecord("FileTarget", "a file on the host", [APIField("file", .path, "its path", required: true)]),
        APIRecord(
            "Lifecycle", "a program for the life of containers; a function that is left out: as without a lifecycle",
            [
                APIField("prepare", .callback(.record("Event")), "before a container is made: `ev:amend { … }`, `ev:deny(reason)`"),
                APIField("started", .callback(.handle("container")), "it runs"),
                APIField("ready", .callback(.handle("container")), "its health check has succeeded for the first time"),
                APIField("unhealthy", .callback(.handle("container")), "its health check has failed; gets how often, too"),
                APIField("oom", .callback(.handle("container")), "memory has run out"),
                APIField("pressure", .any, "`{ match = { memory = \">10% 10s\" }, f }`"),
                APIField("stop", .callback(.handle("container")), "the stop sequence; what still runs after it gets the signal"),
                APIField(
                    "exited", .callback(.handle("container")),
                    "gets `exit` and `attempts`, too; returns `\"restart\"`, `\"keep\"`, `\"remove\"` or `{ restart = { after = \"2s\" } }`"
                ),
                APIField("removed", .callback(.string), "gets its name"),
                APIField("states", .map(.record("LifecycleState")), "states of its own, within running"),
            ]),
        APIRecord(
            "LifecycleState", "a state of a lifecycle's own",
            [
                APIField("from", .list(.string), "where it is entered from", default: "any state"),
                APIField("to", .list(.string), "where it is left to", default: "any state"),
                APIField("enter", .callback(.handle("container")), "runs when it is entered"),
                APIField("leave", .callback(.handle("container")), "runs when it is left"),
                APIField("timeout", .duration, "how long it may last"),
                APIField("on_timeout", .string, "the state that follows then"),
            ]),
        APIRecord(
            "EventMatch", "which events are meant; all given must hold",
            [
                APIField("name", .union([.string, .list(.string)]), "event names; `container.*` for all of a noun"),
                APIField("labels", .map(.orNull(.string)), "the target has these labels; `lunette.null`: whatever the value"),
                APIField("target", .string, "the target's name or id"),
                APIField("kind", .string, "the target's noun"),
                APIField("driver", .string, "the volume's or network's driver"),
                APIField("lifecycle", .string, "the lifecycle that the container follows"),
                APIField("memory", .string, "`container.pressure`: processes waited for memory for that share of the time: `\">10% 10s\"`"),
                APIField("cpu", .string, "likewise for a processor"),
                APIField("io", .string, "likewise for a disk"),
            ]),
    ]
}
