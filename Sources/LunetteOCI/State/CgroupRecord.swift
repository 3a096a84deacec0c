internal import LunetteLinux
internal import LunetteSpec

/// A container's cgroup as its record keeps it: found again whatever the layout of the machine is then.
struct CgroupRecord: Sendable {
    var cgroup: ContainerCgroup
    /// The directories that are made for this container, written down before they exist: its end removes exactly these.
    var owned: CgroupOwnership
    /// Whether whoever is in it belongs to the container. Not before a cgroup that was there already has been found empty: its processes are
    /// somebody else's.
    var isTaken: Bool

    init(_ cgroup: ContainerCgroup, owned: CgroupOwnership, isTaken: Bool) {
        self.cgroup = cgroup
        self.owned = owned
        self.isTaken = isTaken
    }

    /// A container without one: what an ordinary user has where no cgroup is delegated to it.
    static let none = CgroupRecord(ContainerCgroup(version: .v2, directories: []), owned: CgroupOwnership(), isTaken: false)

    var value: Value {
        [
            "version": .int(cgroup.version == .v1 ? 1 : 2),
            "directories": .array(
                cgroup.directories.map { ["path": .string($0.path), "controllers": .array($0.controllers.map(Value.string))] }),
            "owned": owned.value, "taken": .bool(isTaken),
        ]
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
    }
}
