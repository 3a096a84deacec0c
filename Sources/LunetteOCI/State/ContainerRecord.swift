internal import LunetteLinux
internal import LunetteSpec

/// What `<root>/<id>/state.json` holds: who made the container, what belongs to it, which processes are its.
///
/// Written before anything outlives the call that makes it, so that whatever a killed `create` left is found by `list` and removed by `delete`.
struct ContainerRecord: Sendable {
    enum Phase: String, Sendable { case creating, created }

    var id: String
    /// Absolute.
    var bundle: String
    /// Absolute.
    var rootfs: String
    /// Unix seconds.
    var createdAt: Double
    var phase: Phase
    /// The `create` or `run` that makes it.
    var creator: ProcessIdentity
    var initProcess: ProcessIdentity?
    var cgroup: CgroupRecord
    /// Of whoever created it.
    var uid: UInt32
    var annotations: [String: String]

    static let fileName = "state.json"

    var value: Value {
        var map: ValueMap = [
            "version": .int(1), "id": .string(id), "bundle": .string(bundle), "rootfs": .string(rootfs), "created": .double(createdAt),
            "phase": .string(phase.rawValue), "creator": creator.value, "cgroup": cgroup.value, "uid": .int(Int64(uid)),
        ]
        if let initProcess { map["init"] = initProcess.value }
        if !annotations.isEmpty {
            var table = ValueMap()
            for key in annotations.keys.sorted() { table[key] = .string(annotations[key]!) }
            map["annotations"] = .map(table)
        }
        return .map(map)
    }

    init(
        id: String, bundle: String, rootfs: String, createdAt: Double, creator: ProcessIdentity, cgroup: CgroupRecord, uid: UInt32,
        annotations: [String: String]
    ) {
        self.id = id
        self.bundle = bundle
        self.rootfs = rootfs
        self.createdAt = createdAt
        phase = .creating
        self.creator = creator
        self.cgroup = cgroup
        self.uid = uid
        self.annotations = annotations
    }

    /// - Throws: `io` for a file that isn't a whole record.
    init(_ value: Value) throws(LunetteError) {
        guard let id = value["id"]?.stringValue, let bundle = value["bundle"]?.stringValue, let rootfs = value["rootfs"]?.stringValue,
            let created = value["created"]?.doubleValue, let phase = value["phase"]?.stringValue.flatMap(Phase.init(rawValue:)),
            let creator = value["creator"].flatMap(ProcessIdentity.init(value:)), let cgroup = value["cgroup"].flatMap(CgroupRecord.init),
            let uid = value["uid"]?.intValue.flatMap({ UInt32(exactly: $0) })
        else { throw LunetteError(.io, "the state file isn't one of this version's") }
        self.init(
            id: id, bundle: bundle, rootfs: rootfs, createdAt: created, creator: creator, cgroup: cgroup, uid: uid, annotations: [:])
        self.phase = phase
        initProcess = value["init"].flatMap(ProcessIdentity.init(value:))
        for (key, item) in value["annotations"]?.mapValue ?? [:] { annotations[key] = item.stringValue }
    }
}
