import LunetteSpec

/// What one step writes: everything in it is committed together or not at all.
struct Changes: Sendable {
    /// How much a commit promises: `observed` survives the engine's death, `desired` also a power cut.
    enum Durability: Sendable { case observed, desired }

    var containers: [ContainerRecord] = []
    var removedContainers: [String] = []
    var volumes: [VolumeRecord] = []
    var removedVolumes: [String] = []
    var events: [PendingEvent] = []
    var ledger: [LedgerRow] = []
    var closedLedger: [String] = []
    var outcomes: [Outcome] = []
    /// In the place of the one that is stored.
    var resident: ResidentVersion?
    var cursors: [String: Int64] = [:]
    var removedCursors: [String] = []
    var store: [StoreChange] = []

    var isEmpty: Bool {
        containers.isEmpty && removedContainers.isEmpty && volumes.isEmpty && removedVolumes.isEmpty && events.isEmpty && ledger.isEmpty
            && closedLedger.isEmpty && outcomes.isEmpty && resident == nil && cursors.isEmpty && removedCursors.isEmpty && store.isEmpty
    }
}

/// An event before the log gave it its sequence number.
struct PendingEvent: Sendable {
    struct Target: Sendable, Hashable {
        var kind: String
        var id: String
        var name: String

        var value: Value { ["kind": .string(kind), "id": .string(id), "name": .string(name)] }
    }

    var name: String
    var target: Target?
    /// Further fields of `ev`: exit, labels, reason, profile.
    var fields: ValueMap = [:]
    var actor: Value = .null
    var cause: [String] = []
}

/// An event of the log.
struct LoggedEvent: Sendable {
    let sequence: Int64
    let time: Double
    let event: PendingEvent

    /// The contract's `ev`.
    var value: Value { .map(map) }

    var map: ValueMap {
        var map = ValueMap()
        map.reserve(10 + event.fields.count)
        map["name"] = .string(event.name)
        map["sequence"] = .int(sequence)
        map["time"] = .double(time)
        if let target = event.target {
            map["target"] = target.value
            if target.kind == "container" { map["container"] = Handle.container(id: target.id, name: target.name) }
        }
        for (key, value) in event.fields { map[key] = value }
        if !event.actor.isNull { map["actor"] = event.actor }
        if !event.cause.isEmpty { map["cause"] = .array(event.cause.map(Value.string)) }
        return map
    }
}

/// Says who owns something in the kernel or on disk, written before it exists; its undo is named by `kind`.
struct LedgerRow: Sendable, Hashable {
    enum Kind: String, Sendable, CaseIterable {
        /// A container's directory below the root (upper, work, log): owner is the container's row.
        case containerFiles = "container_files"
        /// One run of a container: shim, cgroups, run directory, overlay. Owner is the container's row while it is alive.
        case containerRun = "container_run"
        /// A volume that a driver is making or removing: owner is the volume's row.
        case volume
        /// The removal of an image or a reference, by request id: tells its repetition that it has happened.
        case imageRemoval = "image_removal"
        /// Limits of a running container that are being changed: those of its row hold again, unless the change is committed.
        case limits
        /// An object that a script wanted and wants no more, to be removed since its change was told to (`prune`).
        case unwanted
    }

    /// `container_run/<id>`; unique.
    var key: String
    var kind: Kind
    /// The id of the container or volume, or the path.
    var object: String
    /// Further facts for the undo (the request that caused it, driver name).
    var detail: Value = .null
    var bootID: String = ""

    init(_ kind: Kind, _ object: String, detail: Value = .null) {
        self.key = "\(kind.rawValue)/\(object)"
        self.kind = kind
        self.object = object
        self.detail = detail
    }
}

/// The first outcome of a call, kept for its repetitions.
struct Outcome: Sendable {
    var requestID: String
    var function: String
    var result: Result<Value, LunetteError>
}
