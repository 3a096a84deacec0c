import LunetteAPI
import LunetteLinux
import LunetteSpec

/// All that is stored about one container.
struct ContainerRecord: Sendable, Hashable {
    struct ImageIdentity: Sendable, Hashable {
        /// As the user wrote it, in full.
        var reference: String
        /// The manifest's digest.
        var digest: String
        /// The config's digest: the image's id.
        var id: String
    }

    struct HistoryEntry: Sendable, Hashable {
        var time: Double
        var what: String
        var detail: String?

        var value: Value {
            var map: ValueMap = ["time": .double(time), "what": .string(what)]
            map["detail"] = detail.map(Value.string)
            return .map(map)
        }
    }

    let id: String
    var name: String
    /// The normalised spec, hooks' amendments included; images' own settings are not merged in.
    var spec: Value {
        get { packedSpec.value }
        set { packedSpec = PackedValue(newValue) }
    }
    /// The spec as the user gave it, normalised: what `apply` compares.
    var requested: Value {
        get { packedRequest.value }
        set {
            packedRequest = PackedValue(newValue)
            // Where no hook has changed anything, which is the rule, one copy serves both.
            if packedRequest == packedSpec { packedRequest = packedSpec }
        }
    }
    private var packedSpec: PackedValue
    private var packedRequest = PackedValue(.null)
    var image: ImageIdentity?
    var state: ContainerState
    let createdAt: Double
    /// Nil when the spec asks for no user namespace. Containers that share namespaces have the same.
    var idRange: IDRange?
    /// The last twenty things that happened, oldest first.
    var history: [HistoryEntry] = []
    /// The request that made it: its repetition gets this container.
    var requestID: String
    /// The session whose end removes it (`lifetime = "script"`).
    var sessionID: String?
    /// The process behind that session: what a later engine goes by.
    var owner: ProcessIdentity?
    /// What the runtime needs to find the running container again (`LunetteRuntime.ContainerRecord`).
    var run: Value? {
        get { packedRun?.value }
        set { packedRun = newValue.map(PackedValue.init) }
    }
    private var packedRun: PackedValue?
    /// The request of its last start that was committed: a ledger row of another one is a start that a dead engine left half told.
    var startRequest: String?
    /// Whose namespaces it shares: ids of containers by `network`, `pid`, `ipc`.
    var shares: [String: String] = [:]
    /// The container at the end of that chain, whose user namespace and id range all of them have.
    var sharesRangeOf: String?
    /// The spec's stop signal, else the image's.
    var stopSignal: Int32?
    var actor: Actor
    /// Which phase of the last start took how long, in microseconds.
    var profile: [Phase] = []
    /// What works less well than asked, and why (a lost shim, a log that can't be written).
    var degraded: [String] = []
    /// What of the spec nothing holds in this run.
    var notEnforced: [NotEnforced] = []
    /// Volumes by mount index, as they were found or made at creation.
    var volumes: [String] = []
    /// How its health is checked: the spec's check, else the image's.
    private(set) var health: HealthSpec?

    mutating func use(health: HealthSpec?) {
        self.health = health
        state.health.spec = health
    }

    struct Phase: Sendable, Hashable {
        var phase: String
        var microseconds: Int
    }

    init(
        id: String, name: String, spec: Value, image: ImageIdentity?, state: ContainerState = ContainerState(), createdAt: Double,
        idRange: IDRange? = nil, requestID: String, sessionID: String? = nil, actor: Actor
    ) {
        self.id = id
        self.name = name
        packedSpec = PackedValue(spec)
        self.image = image
        self.state = state
        self.createdAt = createdAt
        self.idRange = idRange
        self.requestID = requestID
        self.sessionID = sessionID
        self.actor = actor
    }

    /// The lifecycle that it follows.
    var lifecycle: String? { spec["lifecycle"]?.stringValue }

    /// What every event of it says, for handlers to be chosen by.
    var eventFields: ValueMap {
        var fields: ValueMap = [:]
        if !labels.isEmpty { fields["labels"] = .map(labels) }
        fields["lifecycle"] = lifecycle.map(Value.string)
        return fields
    }

    var labels: ValueMap { spec["labels"]?.mapValue ?? ValueMap() }
    var handle: Value { Handle.container(id: id, name: name) }

    /// `NotEnforced` records, as `inspect`, `container.started` and the answers of `start`, `run` and `update` have them.
    /// - Parameter resources: the limits that were asked for; nil takes the spec's.
    func lacking(asked resources: ValueMap? = nil) -> Value {
        // The rule, and the spec would be read for nothing.
        guard !notEnforced.isEmpty else { return .array([]) }
        let resources = resources ?? spec["resources"]?.mapValue ?? [:]
        return .array(
            notEnforced.map { lacking in
                var map = lacking.value.mapValue ?? [:]
                map["asked"] = .bool(lacking.isAsked(in: resources))
                return .map(map)
            })
    }

    /// What `start` and `restart` answer.
    func started(now: Bool) -> Value { ["started": .bool(now), "not_enforced": lacking()] }

    mutating func remember(_ what: String, _ detail: String? = nil, at time: Double) {
        history.append(HistoryEntry(time: time, what: what, detail: detail))
        if history.count > 20 { history.removeFirst(history.count - 20) }
    }
}

/// Makes the `{"$handle": …}` tables that clients turn into objects with identity only.
enum Handle {
    static func container(id: String, name: String) -> Value { make("container", id, name) }
    static func volume(id: String, name: String) -> Value { make("volume", id, name) }
    static func image(id: String, name: String) -> Value { make("image", id, name) }

    private static func make(_ kind: String, _ id: String, _ name: String) -> Value {
        ["$handle": .string(kind), "id": .string(id), "name": .string(name)]
    }
}
