public import LunetteSpec

/// Says which volume a driver is asked about: identity and options, never where it is (that is the driver's answer).
public struct VolumeDescription: Sendable, Hashable {
    public var id: String
    public var name: String
    /// Bytes; nil when no size was asked for.
    public var size: Int64?
    public var labels: ValueMap
    public var options: ValueMap
    /// What the driver gave back from `create` or `mount`, kept by the engine; may be missing after a crash in between.
    public var state: Value

    public init(id: String, name: String, size: Int64? = nil, labels: ValueMap = [:], options: ValueMap = [:], state: Value = .null) {
        self.id = id
        self.name = name
        self.size = size
        self.labels = labels
        self.options = options
        self.state = state
    }

    /// Encodes as the `r.volume` table of the plugin contract.
    public var value: Value {
        var map = ValueMap()
        map["id"] = .string(id)
        map["name"] = .string(name)
        map["size"] = size.map(Value.int)
        map["labels"] = .map(labels)
        map["options"] = .map(options)
        map["state"] = state
        return .map(map)
    }
}

/// One call of a driver: the same operation id when it is retried, so that a driver can tell.
public struct DriverRequest: Sendable {
    public var operation: String
    /// Unix seconds after which the engine no longer waits.
    public var deadline: Double?
    public var volume: VolumeDescription

    public init(operation: String, deadline: Double? = nil, volume: VolumeDescription) {
        self.operation = operation
        self.deadline = deadline
        self.volume = volume
    }
}

/// How much of a volume is used.
public struct VolumeUsage: Sendable, Hashable {
    public var used: Int64
    public var limit: Int64?
    public var inodes: Int64
    /// Whether the limit is kept by the kernel or only counted.
    public var enforced: Bool

    public init(used: Int64, limit: Int64? = nil, inodes: Int64 = 0, enforced: Bool = false) {
        self.used = used
        self.limit = limit
        self.inodes = inodes
        self.enforced = enforced
    }

    public var value: Value {
        var map: ValueMap = ["used": .int(used), "inodes": .int(inodes), "enforced": .bool(enforced)]
        map["limit"] = limit.map(Value.int)
        return .map(map)
    }
}

/// Provides volumes: the extension point `volume`. Lua plugins, executables and sockets are adapters to it.
///
/// Calls for one volume come one after another, for different volumes at the same time. Tearing down what is absent succeeds.
public protocol VolumeDriver: Sendable {
    /// Optional functions this driver has (`create`, `remove`, `unmount`, `usage` …); an absent one is `unsupported` or a no-op.
    var functions: Set<String> { get }
    /// Makes the volume; the result is kept as its state. Called again after a crash with the same volume id.
    func create(_ request: DriverRequest) async throws(LunetteError) -> Value
    /// Readies the volume for its first user on this node.
    /// - Returns: an absolute directory; a map's other fields are kept as state.
    func mount(_ request: DriverRequest) async throws(LunetteError) -> (path: String, state: Value)
    func unmount(_ request: DriverRequest) async throws(LunetteError)
    func remove(_ request: DriverRequest) async throws(LunetteError)
    /// - Returns: nil when the driver can't say; the engine then counts.
    func usage(_ request: DriverRequest) async throws(LunetteError) -> VolumeUsage?
}
