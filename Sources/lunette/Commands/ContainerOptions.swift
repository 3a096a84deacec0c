import ArgumentParser
import LunetteSpec

/// The flags of `run` and `create`, named as Docker's users know them.
struct ContainerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Give the container a name.", valueName: "name")) var name: String?
    @Option(name: .joined("e"), help: ArgumentHelp("Set a variable; NAME alone takes it from here.", valueName: "name=value")) var env:
        [String] = []
    @Option(help: ArgumentHelp("Read variables from a file.", valueName: "file")) var envFile: [String] = []
    @Option(name: .joined("v"), help: ArgumentHelp("Mount a volume or host folder: SOURCE:TARGET[:ro].", valueName: "mount")) var volume:
        [String] = []
    @Option(help: ArgumentHelp("Mount something: type=volume|bind|tmpfs,source=…,target=…[,readonly].", valueName: "mount")) var mount:
        [String] = []
    @Option(help: ArgumentHelp("Mount a tmpfs: TARGET[:size=64m,mode=1777].", valueName: "mount")) var tmpfs: [String] = []
    @Option(
        name: [.customLong("network"), .customLong("net")], help: ArgumentHelp("none, host or container:NAME.", valueName: "network"),
        completion: .list(["none", "host"]))
    var network: String?
    @Option(name: .joined("h"), help: ArgumentHelp("The container's host name.", valueName: "name")) var hostname: String?
    @Option(help: ArgumentHelp("Its NIS domain name.", valueName: "name")) var domainname: String?
    @Option(name: .joined("m"), help: ArgumentHelp("Memory limit.", valueName: "size")) var memory: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Memory and swap together; -1 is no limit.", valueName: "size")) var memorySwap:
        String?
    @Option(help: ArgumentHelp("What it is left under memory pressure.", valueName: "size")) var memoryReservation: String?
    @Option(help: ArgumentHelp("Processors' worth of time (1.5).", valueName: "number")) var cpus: Double?
    @Option(parsing: .unconditional, help: ArgumentHelp("Microseconds of each period; -1 is no limit.", valueName: "number")) var cpuQuota:
        Int64?
    @Option(help: ArgumentHelp("Microseconds (100000).", valueName: "number")) var cpuPeriod: Int64?
    @Option(name: .joined("c"), help: ArgumentHelp("Weight against others.", valueName: "number")) var cpuShares: Int?
    @Option(help: ArgumentHelp("Processors it may use (0-1,3).", valueName: "list")) var cpusetCpus: String?
    @Option(help: ArgumentHelp("Memory nodes it may use.", valueName: "list")) var cpusetMems: String?
    @Option(
        help: ArgumentHelp("Who is ended when memory runs out: process or group.", valueName: "whom"),
        completion: .list(["process", "group"])) var oom: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("-1000 to 1000: a higher one is ended sooner.", valueName: "number"))
    var oomScoreAdj: Int?
    @Option(parsing: .unconditional, help: ArgumentHelp("Processes and threads it may have; -1 is no limit.", valueName: "number"))
    var pidsLimit: Int?
    @Option(help: ArgumentHelp("Weight for block devices, 1 to 10000 (100).", valueName: "number")) var blkioWeight: Int?
    @Option(help: ArgumentHelp("Size of /dev/shm.", valueName: "size")) var shmSize: String?
    @Option(help: ArgumentHelp("Process limit: nofile=1024[:2048].", valueName: "limit")) var ulimit: [String] = []
    @Option(help: ArgumentHelp("Kernel setting of its own namespaces.", valueName: "name=value")) var sysctl: [String] = []
    @Option(help: ArgumentHelp("Host device: SOURCE[:TARGET[:rwm]].", valueName: "device")) var device: [String] = []
    @Flag(help: "Remove the container when it ends.") var rm = false
    @Flag(inversion: .prefixedNo, help: "A reaping init as process 1.") var `init` = true
    @Option(name: .joined("u"), help: ArgumentHelp("Run as NAME|UID[:GROUP|GID].", valueName: "user")) var user: String?
    @Option(help: ArgumentHelp("A further group, by number.", valueName: "gid")) var groupAdd: [String] = []
    @Option(name: .joined("w"), help: ArgumentHelp("Where the program starts.", valueName: "dir")) var workdir: String?
    @Option(name: .joined("l"), help: ArgumentHelp("Mark the container.", valueName: "name=value")) var label: [String] = []
    @Option(help: ArgumentHelp("Read labels from a file.", valueName: "file")) var labelFile: [String] = []
    @Option(help: ArgumentHelp("Program to run instead of the image's.", valueName: "program")) var entrypoint: String?
    @Flag(help: "The container's root can't be written.") var readOnly = false
    @Option(help: ArgumentHelp("Add a capability; ALL.", valueName: "name")) var capAdd: [String] = []
    @Option(help: ArgumentHelp("Drop a capability; ALL.", valueName: "name")) var capDrop: [String] = []
    @Flag(help: "Everything the engine itself may do.") var privileged = false
    @Option(help: ArgumentHelp("\"host\": without ids of its own.", valueName: "mode"), completion: .list(["host"])) var userns: String?
    @Option(help: ArgumentHelp("container:NAME shares its processes.", valueName: "mode")) var pid: String?
    @Option(help: ArgumentHelp("container:NAME shares its IPC.", valueName: "mode")) var ipc: String?
    @Option(help: ArgumentHelp("Share this pod's network and IPC.", valueName: "name"), completion: Live.containers) var pod: String?
    @Flag(help: "Be a pod: no image, no program, namespaces for others to share.") var newPod = false
    @Option(help: ArgumentHelp("Name server.", valueName: "address")) var dns: [String] = []
    @Option(
        help: ArgumentHelp("seccomp=FILE|unconfined, no-new-privileges[=false], systempaths=unconfined.", valueName: "option"))
    var securityOpt: [String] = []
    @Option(help: ArgumentHelp("no, on-failure[:N], always or unless-stopped.", valueName: "policy"), completion: RestartOption.completion)
    var restart: String?
    @Option(help: ArgumentHelp("Log setting: max-size=16m, max-file=4.", valueName: "name=value")) var logOpt: [String] = []
    @Option(
        help: ArgumentHelp("Pull the image: missing, always or never.", valueName: "when"),
        completion: .list(["missing", "always", "never"])) var pull = "missing"
    @Option(help: ArgumentHelp("os/architecture[/variant].", valueName: "platform")) var platform: String?
    @Option(help: ArgumentHelp("The polite signal.", valueName: "signal")) var stopSignal: String?
    @Option(help: ArgumentHelp("Seconds from the polite signal to SIGKILL.", valueName: "seconds")) var stopTimeout: String?
    @Option(help: ArgumentHelp("Kill it after this long (90s, 1h).", valueName: "duration")) var timeLimit: String?
    @Flag(name: [.short, .long], help: "Keep stdin open.") var interactive = false
    @Flag(name: [.short, .long], help: "Give it a terminal.") var tty = false
    @OptionGroup var health: HealthOptions
    @Option(help: ArgumentHelp("The lifecycle of a resident script that it follows.", valueName: "name"), completion: Live.lifecycles)
    var lifecycle: String?
    @OptionGroup(visibility: .private) var later: LaterOptions
}
