/// The OCI runtime specification's `config.json` as a value: what Lunette acts on is typed, the rest is kept as it came.
///
/// Unknown properties are kept and ignored, as the specification's "Extensibility" asks. Source: runtime-spec v1.3, config.md and
/// config-linux.md. `init(_:)` decodes, `value` encodes; what `value` gives validates against the specification's JSON schema.
package struct RuntimeSpec: Sendable, Hashable {
    package static let version = "1.3.0"

    package var ociVersion: String
    package var process: ProcessSection?
    package var root: RootSection?
    package var hostname: String?
    package var domainname: String?
    package var mounts: [MountEntry]
    package var annotations: [String: String]
    package var linux: LinuxSection
    package var hooks: Hooks
    /// Sections that Lunette doesn't act on (other systems' parts), as they came.
    package var other: ValueMap

    package init() {
        ociVersion = Self.version
        mounts = []
        annotations = [:]
        linux = LinuxSection()
        hooks = Hooks()
        other = ValueMap()
    }

    /// What annotation says that `linux.seccomp` is Lunette's default profile, so that it need not be spelt out.
    static let standardSeccompAnnotation = "io.lunette.seccomp"

    /// - Parameters:
    ///   - notation: `.lua` for what a user of Lua gave.
    ///   - inventory: is told of every field, so that what is ignored can be named.
    /// - Throws: `invalid_argument` with the field's path; `unsupported` for other systems' containers.
    package init(_ value: Value, notation: Notation = .json, inventory: FieldInventory? = nil) throws(LunetteError) {
        self.init()
        var reader = try FieldReader(value, notation: notation, inventory: inventory)
        ociVersion = try reader.required("ociVersion")
        guard Self.isSupported(version: ociVersion) else {
            throw reader.failure(
                "ociVersion", "\"\(displayable(ociVersion, limit: 40))\" is not a version that is obeyed here: 1.0.0 and later, below 2")
        }
        if var table = try reader.table("process") { process = try ProcessSection(reading: &table) }
        if var table = try reader.table("root") {
            root = RootSection(path: try table.required("path"), readonly: try table.bool("readonly") ?? false)
        }
        hostname = try reader.string("hostname")
        domainname = try reader.string("domainname")
        for var table in try reader.tables("mounts") { mounts.append(try MountEntry(reading: &table)) }
        annotations = try reader.texts("annotations")
        if annotations[""] != nil { throw reader.failure("annotations", "an annotation's name is empty") }
        if var table = try reader.table("linux") { linux = try LinuxSection(reading: &table) }
        if var table = try reader.table("hooks") { hooks = try Hooks(reading: &table) }
        if annotations.removeValue(forKey: Self.standardSeccompAnnotation) == "default", linux.seccomp == nil { linux.seccomp = .standard }
        try validateForeign(&reader)
        reader.keep("windows", "solaris", "vm", "zos")
        other = reader.unread
    }

    /// Three numbers, and what SemVer allows behind them. 0.5.0-dev stands in the specification's own examples.
    private static func isSupported(version: String) -> Bool {
        let core = version.prefix { $0 != "-" && $0 != "+" }
        let numbers = core.split(separator: ".", omittingEmptySubsequences: false)
        let isWhole = numbers.count == 3 && numbers.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } }
        guard isWhole, version.utf8.allSatisfy({ Names.isAlphanumeric($0) || ".-+".utf8.contains($0) }) else { return false }
        return numbers[0] == "1" || version == "0.5.0-dev"
    }

    /// Checks what isn't acted on just as far as to refuse what the schema refuses.
    private func validateForeign(_ reader: inout FieldReader) throws(LunetteError) {
        guard let foreign = reader.value("freebsd") else { return }
        var freebsd = try FieldReader(foreign, path: "freebsd", notation: reader.notation)
        guard var jail = try freebsd.table("jail") else { return }
        for key in ["host", "ip4", "ip6", "vnet", "sysvmsg", "sysvsem", "sysvshm"] {
            guard let text = try jail.string(key) else { continue }
            let words = key == "vnet" || key.hasPrefix("sysv") || key == "host" ? ["new", "inherit"] : ["new", "inherit", "disable"]
            let allowed = key.hasPrefix("sysv") ? words + ["disable"] : words
            guard allowed.contains(text) else {
                throw jail.failure(key, "\"\(displayable(text, limit: 32))\" is not one of \(allowed.joined(separator: ", "))")
            }
        }
    }

    /// As the specification writes it, with the default seccomp profile spelt out.
    package var value: Value { encoded(spellsOutSeccomp: true) }
    /// The same with the default profile as one annotation: what Lunette itself keeps.
    package var compactValue: Value { encoded(spellsOutSeccomp: false) }

    private func encoded(spellsOutSeccomp: Bool) -> Value {
        var map: ValueMap = ["ociVersion": .string(ociVersion)]
        if let process { map["process"] = process.value }
        if let root { map["root"] = ["path": .string(root.path), "readonly": .bool(root.readonly)] }
        map.set("hostname", hostname)
        map.set("domainname", domainname)
        if !mounts.isEmpty { map["mounts"] = .array(mounts.map(\.value)) }
        map["linux"] = linux.value(spellsOutSeccomp: spellsOutSeccomp, capabilities: process?.capabilities?.bounding ?? [])
        if !hooks.isEmpty { map["hooks"] = hooks.value }
        var annotations = annotations
        if linux.seccomp == .standard, !spellsOutSeccomp { annotations[Self.standardSeccompAnnotation] = "default" }
        map.set("annotations", annotations)
        for (key, item) in other { map[key] = item }
        return .map(map)
    }
}

extension RuntimeSpec {
    package struct RootSection: Sendable, Hashable {
        package var path: String
        package var readonly: Bool
        package init(path: String, readonly: Bool = false) {
            self.path = path
            self.readonly = readonly
        }
    }

    /// One entry of `mounts`; they are made in the order given.
    package struct MountEntry: Sendable, Hashable {
        package var destination: String
        package var type: String?
        package var source: String?
        package var options: [String]
        package var uidMappings: [IDMapping]
        package var gidMappings: [IDMapping]

        package init(
            destination: String, type: String?, source: String?, options: [String] = [], uidMappings: [IDMapping] = [],
            gidMappings: [IDMapping] = []
        ) {
            self.destination = destination
            self.type = type
            self.source = source
            self.options = options
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
        }

        init(reading reader: inout FieldReader) throws(LunetteError) {
            destination = try reader.required("destination")
            type = try reader.string("type")
            source = try reader.string("source")
            options = try reader.strings("options") ?? []
            uidMappings = try reader.mappings("uidMappings")
            gidMappings = try reader.mappings("gidMappings")
        }

        var value: Value {
            var map: ValueMap = ["destination": .string(destination)]
            map.set("type", type)
            map.set("source", source)
            map.set("options", options)
            map.set("uidMappings", uidMappings)
            map.set("gidMappings", gidMappings)
            return .map(map)
        }
    }
}

extension FieldReader {
    mutating func unsigned(_ key: String) throws(LunetteError) -> UInt32? {
        guard let number = try int(key) else { return nil }
        guard let result = UInt32(exactly: number) else { throw failure(key, "\(number) is not within 0–4294967295") }
        return result
    }

    /// A uint64 of the specification; what doesn't fit an Int64 is taken for "no limit".
    mutating func unsigned64(_ key: String) throws(LunetteError) -> UInt64? {
        guard let value = value(key) else { return nil }
        if let number = value.intValue, number >= 0 { return number == Int64.max ? UInt64.max : UInt64(number) }
        if let number = value.doubleValue, number >= 9.2e18, number <= 18446744073709551615.0 { return UInt64.max }
        throw failure(key, "expected a whole number of 0 or more")
    }

    mutating func mappings(_ key: String) throws(LunetteError) -> [IDMapping] {
        var result: [IDMapping] = []
        let tables = try tables(key)
        // The kernel takes 340 lines at most (user_namespaces(7)); more is an attack on whoever writes them (attack 15).
        guard tables.count <= 340 else { throw failure(key, "\(tables.count) mappings are more than the 340 that Linux takes") }
        for var table in tables {
            guard let container = try table.unsigned("containerID"), let host = try table.unsigned("hostID"),
                let size = try table.unsigned("size")
            else {
                throw LunetteError(.invalidArgument, "needs containerID, hostID and size", path: table.path)
            }
            result.append(IDMapping(containerID: container, hostID: host, size: size))
        }
        return result
    }
}

extension ValueMap {
    mutating func set(_ key: String, _ mappings: [IDMapping]) {
        guard !mappings.isEmpty else { return }
        self[key] = .array(
            mappings.map { ["containerID": .int(Int64($0.containerID)), "hostID": .int(Int64($0.hostID)), "size": .int(Int64($0.size))] }
        )
    }
}
