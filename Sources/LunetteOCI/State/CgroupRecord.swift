internal import LunetteLinux
internal import LunetteSpec

/// A container's cgroup as its record keeps it: found again whatever the layout of the machine is then.
struct CgroupRecord: Sendable {
    var cgroup: ContainerCgroup
    /// The directories that are made for this container, written down before they exist: its end removes exactly these.
    var owned: CgroupOwnership
    /// Whether whoever is in it belongs to the container. Not before it has been made, or found empty, and claimed: until then who is in it is
    /// somebody else's.
    var isTaken: Bool
    /// Of the mark that it bears since; nil where none could be put there.
    var owner: String?
    /// Given: systemd made it.
    var scope: Scope?

    /// In the container's folder since its cgroup is taken: the owner of the mark, nothing where there is none.
    static let takenName = "cgroup-taken"

    /// A unit of systemd's, and which systemd that is.
    struct Scope: Sendable {
        var unit: String
        var slice: String
        var socket: String

        var scope: SystemdScope { SystemdScope(unit: unit, slice: slice) }
    }

    init(_ cgroup: ContainerCgroup, owned: CgroupOwnership, isTaken: Bool, scope: Scope? = nil) {
        self.cgroup = cgroup
        self.owned = owned
        self.isTaken = isTaken
        self.scope = scope
    }

    /// Whether what is in it is the container's: it has been taken, and by nobody else since.
    var isOurs: Bool { isTaken && cgroup.isOwned(by: owner) }

    /// A container without one: what an ordinary user has where no cgroup is delegated to it.
    static let none = CgroupRecord(ContainerCgroup(version: .v2, directories: []), owned: CgroupOwnership(), isTaken: false)

    var value: Value {
        var map: ValueMap = [
            "version": .int(cgroup.version == .v1 ? 1 : 2),
            "directories": .array(
                cgroup.directories.map { ["path": .string($0.path), "controllers": .array($0.controllers.map(Value.string))] }),
            "owned": owned.value, "taken": .bool(isTaken),
        ]
        map["owner"] = owner.map(Value.string)
        if let scope { map["scope"] = ["unit": .string(scope.unit), "slice": .string(scope.slice), "socket": .string(scope.socket)] }
        return .map(map)
    }

    init?(_ value: Value) {
        guard let version = value["version"]?.intValue, let items = value["directories"]?.arrayValue,
            let isTaken = value["taken"]?.boolValue
        else { return nil }
        let directories = items.compactMap { item -> CgroupFile? in
            guard let path = item["path"]?.stringValue, let controllers = item["controllers"]?.arrayValue else { return nil }
            return CgroupFile(path: path, controllers: controllers.compactMap(\.stringValue))
        }
        guard directories.count == items.count else { return nil }
        cgroup = ContainerCgroup(version: version == 1 ? .v1 : .v2, directories: directories)
        owned = CgroupOwnership(value["owned"])
        self.isTaken = isTaken
        owner = value["owner"]?.stringValue
        guard let scope = value["scope"] else { return }
        guard let unit = scope["unit"]?.stringValue, let slice = scope["slice"]?.stringValue, let socket = scope["socket"]?.stringValue
        else { return nil }
        self.scope = Scope(unit: unit, slice: slice, socket: socket)
    }
}
