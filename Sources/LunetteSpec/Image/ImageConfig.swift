/// Says how to run an image and what its layers unpack to. Source: image-spec config.md.
public struct ImageConfig: Hashable, Sendable {
    /// RFC 3339.
    public var created: String?
    public var author: String?
    public var platform: Platform
    public var config: ImageProcessConfig
    /// The digest of each layer's unpacked tar, the lowest first.
    public var diffIDs: [Digest]
    public var history: [History]

    /// Tells how one layer, or one line of the config, came about.
    public struct History: Hashable, Sendable {
        public var created: String?
        public var createdBy: String?
        public var author: String?
        public var comment: String?
        public var emptyLayer: Bool

        public init(
            created: String? = nil, createdBy: String? = nil, author: String? = nil, comment: String? = nil, emptyLayer: Bool = false
        ) {
            self.created = created
            self.createdBy = createdBy
            self.author = author
            self.comment = comment
            self.emptyLayer = emptyLayer
        }
    }

    public init(
        created: String? = nil, author: String? = nil, platform: Platform = .native, config: ImageProcessConfig = ImageProcessConfig(),
        diffIDs: [Digest] = [], history: [History] = []
    ) {
        self.created = created
        self.author = author
        self.platform = platform
        self.config = config
        self.diffIDs = diffIDs
        self.history = history
    }

    /// - Throws: `invalid_argument` with the field's path.
    public static func decode(_ bytes: [UInt8], source: String) throws(LunetteError) -> ImageConfig {
        do {
            return try ImageConfig(try JSON.decode(bytes, source: source))
        } catch {
            var error = error
            if !error.message.contains(source) { error.message = "read \(source): \(error.message)" }
            throw error
        }
    }

    public init(_ value: Value) throws(LunetteError) {
        var reader = try FieldReader(value)
        created = try reader.string("created")
        author = try reader.string("author")
        platform = try Platform(reading: &reader)
        if var table = try reader.table("config") {
            config = try ImageProcessConfig(reading: &table)
        } else {
            config = ImageProcessConfig()
        }
        guard var rootfs = try reader.table("rootfs") else { throw reader.failure("rootfs", "is required") }
        guard try rootfs.required("type") == "layers" else { throw rootfs.failure("type", "must be \"layers\"") }
        diffIDs = []
        for (index, text) in (try rootfs.strings("diff_ids") ?? []).enumerated() {
            do { diffIDs.append(try Digest(text)) } catch {
                throw LunetteError(error.code, error.message, path: rootfs.path(of: "diff_ids[\(index + 1)]"))
            }
        }
        history = []
        for var entry in try reader.tables("history") {
            history.append(
                History(
                    created: try entry.string("created"), createdBy: try entry.string("created_by"), author: try entry.string("author"),
                    comment: try entry.string("comment"), emptyLayer: try entry.bool("empty_layer") ?? false
                )
            )
        }
    }

    public var value: Value {
        var map = ValueMap()
        map.set("created", created)
        map.set("author", author)
        for (key, item) in platform.value.mapValue! { map[key] = item }
        map["config"] = config.value
        map["rootfs"] = ["type": "layers", "diff_ids": .array(diffIDs.map { .string($0.description) })]
        if !history.isEmpty {
            map["history"] = .array(
                history.map { entry in
                    var map = ValueMap()
                    map.set("created", entry.created)
                    map.set("created_by", entry.createdBy)
                    map.set("author", entry.author)
                    map.set("comment", entry.comment)
                    if entry.emptyLayer { map["empty_layer"] = true }
                    return .map(map)
                }
            )
        }
        return .map(map)
    }
}

/// The process that an image asks for; a container's spec overrides each part. Source: image-spec config.md, `config`.
public struct ImageProcessConfig: Hashable, Sendable {
    public var user: String
    /// `80/tcp`.
    public var exposedPorts: [String]
    /// `KEY=value`.
    public var env: [String]
    public var entrypoint: [String]
    public var cmd: [String]
    public var volumes: [String]
    public var workingDir: String
    public var labels: [String: String]
    public var stopSignal: String?
    /// Docker's `Healthcheck`, kept as it came: image-spec has no field for it.
    public var healthcheck: Value?
    /// What `RUN`, `CMD` in shell form use; Docker's own field.
    public var shell: [String]

    public init(
        user: String = "", exposedPorts: [String] = [], env: [String] = [], entrypoint: [String] = [], cmd: [String] = [],
        volumes: [String] = [], workingDir: String = "", labels: [String: String] = [:], stopSignal: String? = nil,
        healthcheck: Value? = nil, shell: [String] = []
    ) {
        self.user = user
        self.exposedPorts = exposedPorts
        self.env = env
        self.entrypoint = entrypoint
        self.cmd = cmd
        self.volumes = volumes
        self.workingDir = workingDir
        self.labels = labels
        self.stopSignal = stopSignal
        self.healthcheck = healthcheck
        self.shell = shell
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        user = try reader.string("User") ?? ""
        // Both are Go sets on the wire: {"80/tcp": {}}.
        exposedPorts = (try reader.table("ExposedPorts")?.keys ?? []).sorted()
        env = try reader.strings("Env") ?? []
        entrypoint = try reader.strings("Entrypoint") ?? []
        cmd = try reader.strings("Cmd") ?? []
        volumes = (try reader.table("Volumes")?.keys ?? []).sorted()
        workingDir = try reader.string("WorkingDir") ?? ""
        labels = try reader.dictionary("Labels")
        stopSignal = try reader.string("StopSignal").flatMap { $0.isEmpty ? nil : $0 }
        healthcheck = reader.value("Healthcheck")
        shell = try reader.strings("Shell") ?? []
    }

    public var value: Value {
        var map = ValueMap()
        if !user.isEmpty { map["User"] = .string(user) }
        if !exposedPorts.isEmpty { map["ExposedPorts"] = Self.set(exposedPorts) }
        map.set("Env", env)
        map.set("Entrypoint", entrypoint)
        map.set("Cmd", cmd)
        if !volumes.isEmpty { map["Volumes"] = Self.set(volumes) }
        if !workingDir.isEmpty { map["WorkingDir"] = .string(workingDir) }
        map.set("Labels", labels)
        map.set("StopSignal", stopSignal)
        if let healthcheck { map["Healthcheck"] = healthcheck }
        map.set("Shell", shell)
        return .map(map)
    }

    private static func set(_ names: [String]) -> Value {
        var map = ValueMap()
        for name in names { map[name] = .map(ValueMap()) }
        return .map(map)
    }
}
