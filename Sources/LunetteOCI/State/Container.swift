internal import LunetteLinux
internal import LunetteSpec

/// A container as its folder and the kernel tell of it now.
struct Container: Sendable {
    typealias Status = ContainerDocument.Status

    var id: String
    var folder: Directory
    var record: ContainerRecord

    /// - Throws: `not_found` for a folder that is just being made or removed; `io` for a damaged record.
    init(_ folder: Directory, store: ContainerStore) throws(LunetteError) {
        let id = String(folder.label.pathParts.last ?? "")
        let bytes = try atBorder(
            "read the state of container \(id)", { () throws(SystemCallError) in try folder.read(ContainerRecord.fileName) })
        guard let bytes else { throw ContainerStore.unknown(id) }
        do throws(LunetteError) { record = try ContainerRecord(try JSON.decode(bytes, source: "\(folder.label)/state.json")) } catch {
            throw LunetteError(
                .io, "read the state of container \(id): \(error.message)", target: id, hint: "lunette-oci delete --force \(id) removes it",
                cause: error)
        }
        // The file comes between two records: that the cgroup was taken is the one thing that changes there.
        if !record.cgroup.isTaken, let owner = try? folder.read(CgroupRecord.takenName) {
            record.cgroup.isTaken = true
            record.cgroup.owner = owner.isEmpty ? nil : String(decoding: owner, as: UTF8.self)
        }
        self.id = id
        self.folder = folder
    }

    /// Writes down that whoever is in the cgroup is the container's from now on.
    mutating func noteCgroupTaken() throws(LunetteError) {
        record.cgroup.isTaken = true
        // What else the record says of it was known before it was made, but where systemd had a name of its own for it.
        guard record.cgroup.scope == nil else { return try save() }
        try atBorder(
            "write the state of container \(id)",
            { () throws(SystemCallError) in
                try folder.create(CgroupRecord.takenName, Array((record.cgroup.owner ?? "").utf8))
            })
    }

    /// Its cgroup, as long as what is in it is the container's own.
    var cgroup: ContainerCgroup { record.cgroup.isOurs ? record.cgroup.cgroup : CgroupRecord.none.cgroup }

    init(_ folder: Directory, record: ContainerRecord) {
        id = record.id
        self.folder = folder
        self.record = record
    }

    /// Writes the record in one step. No fsync: a reboot ends what it tells of.
    func save() throws(LunetteError) {
        try atBorder(
            "write the state of container \(id)",
            { () throws(SystemCallError) in
                try folder.write(ContainerRecord.fileName, Array(JSON.encode(record.value).utf8))
            })
    }

    /// pid 1, proven to be it; nil when it has ended.
    func initProcess() -> ProcessDescriptor? { record.initProcess?.open() }

    /// Whether none of its processes can be there any more: the kernel ends whoever is in a pid namespace with its pid 1. Who is in the cgroup then is
    /// somebody else's, another runtime's container perhaps, which takes an empty cgroup without asking for our mark.
    func hasNobodyLeft() -> Bool {
        guard record.phase == .created, record.initProcess != nil, initProcess() == nil else { return false }
        return ((try? spec())?.linux.namespace(.pid)).map { $0.path == nil } ?? false
    }

    /// Every process of it, sorted: of its cgroup, or of its pid namespace where an ordinary user was given no cgroup.
    func processes() -> [Int32] {
        guard record.cgroup.cgroup.directories.isEmpty else { return hasNobodyLeft() ? [] : cgroup.processes().sorted() }
        guard let process = initProcess() else { return [] }
        let hasOwn = ((try? spec())?.linux.namespace(.pid)).map { $0.path == nil } ?? false
        return hasOwn ? PIDNamespace.processes(besides: process.pid) : [process.pid]
    }

    /// Asks the kernel.
    func status() -> Status {
        switch record.phase {
        case .creating: return record.creator.isAlive ? .creating : .stopped
        case .created:
            guard initProcess() != nil else { return .stopped }
            if record.cgroup.cgroup.isFrozen { return .paused }
            return Gate(folder).isClosed() ? .created : .running
        }
    }

    /// The pid to show: 0 when nothing runs.
    func pid(_ status: Status) -> Int32 { status == .stopped ? 0 : record.initProcess?.pid ?? 0 }

    /// What the container was created from, whatever the bundle says now.
    func spec() throws(LunetteError) -> RuntimeSpec {
        let bytes = try atBorder(
            "read the config of container \(id)",
            { () throws(SystemCallError) in
                try folder.read(Bundle.configName, limit: Bundle.configLimit)
            })
        guard let bytes else { throw LunetteError(.io, "read the config of container \(id): it is gone", target: id) }
        return try RuntimeSpec(try JSON.decode(bytes, source: "\(folder.label)/\(Bundle.configName)"))
    }

    /// What the specification calls the state; hooks read it.
    func document(_ status: Status, pid: Int32?) -> ContainerDocument {
        ContainerDocument(id: id, status: status, pid: pid, bundle: record.bundle, annotations: record.annotations)
    }

    private static func name(of uid: UInt32) -> String {
        if uid == 0 { return "root" }
        return readSmallFile("/etc/passwd").flatMap { SubordinateIDs.loginName(of: uid, in: $0) } ?? String(uid)
    }

    /// What `state` and `list` print: the specification's, and runc's own fields.
    func description(_ status: Status) -> Value {
        let document = document(status, pid: pid(status)).value
        // In runc's order, which people read.
        var map: ValueMap = [:]
        for key in ["ociVersion", "id", "pid", "status", "bundle"] { map[key] = document[key] }
        map["rootfs"] = .string(record.rootfs)
        map["created"] = .string(Timestamp.text(record.createdAt))
        map["annotations"] = document["annotations"]
        map["owner"] = .string(Self.name(of: record.uid))
        return .map(map)
    }
}
