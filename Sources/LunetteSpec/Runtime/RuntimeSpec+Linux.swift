extension RuntimeSpec {
    /// The `linux` section.
    package struct LinuxSection: Sendable, Hashable {
        package enum NamespaceKind: String, CaseIterable, Sendable { case mount, pid, network, uts, ipc, user, cgroup, time }

        /// A namespace that is made, or joined when it has a path.
        package struct Namespace: Sendable, Hashable {
            package var kind: NamespaceKind
            package var path: String?
            package init(_ kind: NamespaceKind, path: String? = nil) {
                self.kind = kind
                self.path = path
            }
        }

        /// A device of the host that is bound into the container.
        package struct Device: Sendable, Hashable {
            /// `c`, `b`, `u` or `p`.
            package var type: String
            package var path: String
            package var major: Int64
            package var minor: Int64
            package var fileMode: UInt32?
            package var uid: UInt32?
            package var gid: UInt32?
            /// Where the host has it, when not at `path`: Lunette binds devices instead of making nodes. Not in the specification.
            package var source: String?

            package init(
                type: String, path: String, major: Int64, minor: Int64, fileMode: UInt32? = nil, uid: UInt32? = nil, gid: UInt32? = nil
            ) {
                self.type = type
                self.path = path
                self.major = major
                self.minor = minor
                self.fileMode = fileMode
                self.uid = uid
                self.gid = gid
            }
        }

        /// Lunette's own default profile, or one that was given.
        package enum Seccomp: Sendable, Hashable {
            case standard
            case profile(SeccompProfile)

            /// The rules themselves; the default ones depend on what the container may do.
            package func profile(for capabilities: [Capability]) -> SeccompProfile {
                switch self {
                case .standard: .standard(for: capabilities)
                case .profile(let profile): profile
                }
            }
        }

        package var namespaces: [Namespace]
        package var uidMappings: [IDMapping]
        package var gidMappings: [IDMapping]
        package var devices: [Device]
        package var resources: Resources
        package var cgroupsPath: String?
        package var sysctl: [String: String]
        package var seccomp: Seccomp?
        package var rootfsPropagation: String?
        package var maskedPaths: [String]
        package var readonlyPaths: [String]
        package var personality: Personality?
        package var memoryPolicy: MemoryPolicy?
        /// Of a new time namespace's clocks.
        package var timeOffsets: [TimeOffset]
        /// Interfaces of the host that move into the container, and what they are called there.
        package var netDevices: [NetDevice]
        package var mountLabel: String?
        /// `intelRdt` and what later versions add, as it came.
        package var other: ValueMap

        package init() {
            namespaces = []
            uidMappings = []
            gidMappings = []
            devices = []
            resources = Resources()
            sysctl = [:]
            maskedPaths = []
            readonlyPaths = []
            timeOffsets = []
            netDevices = []
            other = ValueMap()
        }

        package func namespace(_ kind: NamespaceKind) -> Namespace? { namespaces.first { $0.kind == kind } }

        init(reading reader: inout FieldReader) throws(LunetteError) {
            self.init()
            for var table in try reader.tables("namespaces") {
                guard let kind = try table.choice("type", NamespaceKind.self) else { throw table.failure("type", "is required") }
                guard namespace(kind) == nil else { throw table.failure("type", "\(kind.rawValue) is there twice") }
                let path = try table.string("path")
                if let path, path.utf8.first != UInt8(ascii: "/") || path.utf8.contains(0) {
                    throw table.failure("path", "is not an absolute path")
                }
                namespaces.append(Namespace(kind, path: path))
            }
            uidMappings = try reader.mappings("uidMappings")
            gidMappings = try reader.mappings("gidMappings")
            for var table in try reader.tables("devices") { devices.append(try Self.device(reading: &table)) }
            if var table = try reader.table("resources") { resources = try Resources(reading: &table) }
            cgroupsPath = try reader.string("cgroupsPath")
            sysctl = try reader.texts("sysctl")
            if var table = try reader.table("seccomp") { seccomp = .profile(try SeccompProfile(reading: &table, dialect: .oci)) }
            rootfsPropagation = try reader.string("rootfsPropagation")
            if let rootfsPropagation, MountPropagation(word: rootfsPropagation) == nil {
                throw reader.failure(
                    "rootfsPropagation", "\"\(displayable(rootfsPropagation, limit: 32))\" is not private, shared, slave or unbindable")
            }
            maskedPaths = try reader.strings("maskedPaths") ?? []
            readonlyPaths = try reader.strings("readonlyPaths") ?? []
            if var table = try reader.table("personality") { personality = try Personality(reading: &table) }
            if var table = try reader.table("memoryPolicy") { memoryPolicy = try MemoryPolicy(reading: &table) }
            if var table = try reader.table("timeOffsets") { timeOffsets = try TimeOffset.list(&table) }
            if var table = try reader.table("netDevices") { netDevices = try NetDevice.list(&table) }
            mountLabel = try reader.string("mountLabel")
            reader.keep("intelRdt")
            other = reader.unread
        }

        private static func device(reading table: inout FieldReader) throws(LunetteError) -> Device {
            let type = try table.required("type")
            guard ["c", "b", "u", "p"].contains(type) else {
                throw table.failure("type", "\"\(displayable(type, limit: 8))\" is not c, b, u or p")
            }
            guard type == "p" || (!table.isNull("major") && !table.isNull("minor")) else {
                throw LunetteError(.invalidArgument, "needs major and minor", path: table.path)
            }
            var device = Device(
                type: type, path: try table.required("path"), major: try table.int("major") ?? 0, minor: try table.int("minor") ?? 0,
                fileMode: try table.unsigned("fileMode"), uid: try table.unsigned("uid"), gid: try table.unsigned("gid")
            )
            if let source = try table.string("source") {
                device.source = try ContainerPath.normalise(source, path: table.path(of: "source"))
            }
            return device
        }

        func value(spellsOutSeccomp: Bool, capabilities: [Capability]) -> Value {
            var map = ValueMap()
            map.set("uidMappings", uidMappings)
            map.set("gidMappings", gidMappings)
            if !namespaces.isEmpty {
                map["namespaces"] = .array(
                    namespaces.map { namespace in
                        var entry: ValueMap = ["type": .string(namespace.kind.rawValue)]
                        entry.set("path", namespace.path)
                        return .map(entry)
                    }
                )
            }
            if !devices.isEmpty {
                map["devices"] = .array(
                    devices.map { device in
                        var entry: ValueMap = [
                            "type": .string(device.type), "path": .string(device.path), "major": .int(device.major),
                            "minor": .int(device.minor),
                        ]
                        if let mode = device.fileMode { entry["fileMode"] = .int(Int64(mode)) }
                        if let uid = device.uid { entry["uid"] = .int(Int64(uid)) }
                        entry.set("source", device.source)
                        if let gid = device.gid { entry["gid"] = .int(Int64(gid)) }
                        return .map(entry)
                    }
                )
            }
            let resources = self.resources.value
            if resources.mapValue?.isEmpty == false { map["resources"] = resources }
            map.set("cgroupsPath", cgroupsPath)
            map.set("sysctl", sysctl)
            switch seccomp {
            case .standard?: if spellsOutSeccomp { map["seccomp"] = SeccompProfile.standard(for: capabilities).value }
            case .profile(let profile)?: map["seccomp"] = profile.value
            case nil: break
            }
            map.set("rootfsPropagation", rootfsPropagation)
            map.set("maskedPaths", maskedPaths)
            map.set("readonlyPaths", readonlyPaths)
            if let personality { map["personality"] = personality.value }
            if let memoryPolicy { map["memoryPolicy"] = memoryPolicy.value }
            if !timeOffsets.isEmpty { map["timeOffsets"] = .map(TimeOffset.value(timeOffsets)) }
            if !netDevices.isEmpty { map["netDevices"] = .map(NetDevice.value(netDevices)) }
            map.set("mountLabel", mountLabel)
            for (key, item) in other { map[key] = item }
            return .map(map)
        }
    }
}

extension FieldReader {
    func isNull(_ key: String) -> Bool { raw(key)?.isNull ?? true }

    /// A free-form map of text to text, where nothing else will do.
    mutating func texts(_ key: String) throws(LunetteError) -> [String: String] {
        guard let table = try table(key) else { return [:] }
        var result: [String: String] = [:]
        for name in table.keys {
            guard let text = table.raw(name)?.stringValue else {
                throw table.failure(displayable(name, limit: 80), "expected a string, got \(notation.kind(of: table.raw(name) ?? .null))")
            }
            result[name] = text
        }
        return result
    }

    /// What nothing asked for yet: kept where a specification says that unknown properties are to be ignored.
    var unread: ValueMap {
        var result = ValueMap()
        for key in keys where !isKnown(key) { result[key] = raw(key) }
        return result
    }
}
