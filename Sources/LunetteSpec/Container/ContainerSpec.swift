/// Says everything that a user asks of one container: the contract's `spec`, validated and normalised.
///
/// Decoded from Lua's or the command line's table by `init(_:)`, encoded for `ev.spec`, `inspect` and the database by `value`;
/// decoding what was encoded gives the same spec again.
public struct ContainerSpec: Hashable, Sendable {
    /// What the root file system is made of.
    public enum Root: Hashable, Sendable {
        /// An image's reference or id, as the user wrote it.
        case image(String)
        /// A folder of the host that stands as it is.
        case rootfs(String)
        /// Nothing: the container holds a pod's namespaces and runs no program (docs/pods.md).
        case none
    }

    /// Whether it is a pod sandbox: it holds namespaces for others.
    public var isPod: Bool { root == .none }

    public var name: String?
    public var root: Root
    /// Nil takes the image's; an empty list takes neither the image's entrypoint nor its arguments.
    public var entrypoint: [String]?
    /// Empty takes the image's, unless an entrypoint is given.
    public var args: [String]
    public var env: [String: String]
    /// Nil takes the image's.
    public var workdir: String?
    /// Nil takes the image's.
    public var user: UserString?
    /// Nil is the first twelve digits of the id.
    public var hostname: String?
    public var labels: [String: String]
    public var hasTerminal: Bool
    /// Whether stdin stays open; otherwise the process reads end of file.
    public var hasStdin: Bool
    /// Whether Lunette's init is pid 1 and reaps; otherwise the program itself is.
    public var hasInit: Bool
    public var mounts: [MountSpec]
    public var isRootReadonly: Bool
    public var network: NamespaceMode
    public var pid: NamespaceMode
    public var ipc: NamespaceMode
    /// Name servers for resolv.conf, as addresses.
    public var dns: [String]
    public var resources: ResourceSpec
    public var rlimits: [Rlimit]
    public var sysctls: [String: String]
    public var devices: [DeviceSpec]
    public var security: SecuritySpec
    public var restart: RestartSpec
    /// Nil takes the image's check, if it has one.
    public var health: HealthSpec?
    /// `health = false`: no check, not the image's either.
    public var hasNoHealth: Bool
    /// The lifecycle of a resident script that it follows.
    public var lifecycle: String?
    public var stop: StopSpec
    public var log: LogSpec
    public var removesOnExit: Bool
    /// Seconds after its start at which the container is ended with reason `time_limit`.
    public var timeLimit: Double?
    /// Whether the engine removes it when the script that made it ends.
    public var endsWithScript: Bool
    /// Merged over the runtime spec that the rest gives, in OCI's own words.
    public var oci: Value?

    public init(_ root: Root) {
        self.root = root
        args = []
        env = [:]
        labels = [:]
        hasTerminal = false
        hasStdin = false
        hasInit = true
        mounts = []
        isRootReadonly = false
        network = .own
        pid = .own
        ipc = .own
        dns = []
        resources = ResourceSpec()
        rlimits = []
        sysctls = [:]
        devices = []
        security = SecuritySpec()
        restart = RestartSpec()
        hasNoHealth = false
        stop = StopSpec()
        log = LogSpec()
        removesOnExit = false
        endsWithScript = false
    }
}
