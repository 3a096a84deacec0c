/// Says what stands between the container and the kernel. Each weaker setting is written here, and `inspect` shows it.
public struct SecuritySpec: Hashable, Sendable {
    /// Which system calls pass.
    public enum Seccomp: Hashable, Sendable {
        case standard
        case unconfined
        /// A profile in OCI's or Docker's JSON on the host; read once, when the container is created.
        case path(String)
        case profile(Value)
    }

    /// Whether ids inside differ from those outside, so that the container's root is nobody on the host.
    public var hasUserNamespace: Bool
    /// All capabilities, no seccomp, nothing masked. Still within the user namespace unless that is off as well.
    public var isPrivileged: Bool
    public var addedCapabilities: [Capability]
    public var droppedCapabilities: [Capability]
    public var addsAllCapabilities: Bool
    public var dropsAllCapabilities: Bool
    public var seccomp: Seccomp
    public var hasNoNewPrivileges: Bool
    /// Nil takes the default list.
    public var maskedPaths: [String]?
    public var readonlyPaths: [String]?
    /// Nil without Landlock.
    public var landlock: LandlockSpec?

    public init() {
        hasUserNamespace = true
        isPrivileged = false
        addedCapabilities = []
        droppedCapabilities = []
        addsAllCapabilities = false
        dropsAllCapabilities = false
        seccomp = .standard
        hasNoNewPrivileges = true
    }

    /// The capabilities that the container's root has, ordered.
    ///
    /// As Docker: start from the defaults (none after `drop = {"ALL"}`, every one after `add = {"ALL"}`), take `drop` away, then give `add`.
    public var capabilities: [Capability] {
        if isPrivileged { return Capability.allCases }
        var set = Set(addsAllCapabilities ? Capability.allCases : dropsAllCapabilities ? [] : Capability.defaults)
        set.subtract(droppedCapabilities)
        set.formUnion(addedCapabilities)
        return set.sorted()
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        self.init()
        hasUserNamespace = try reader.bool("user_namespace") ?? true
        isPrivileged = try reader.bool("privileged") ?? false
        if var table = try reader.table("capabilities") {
            (addedCapabilities, addsAllCapabilities) = try table.capabilities("add")
            (droppedCapabilities, dropsAllCapabilities) = try table.capabilities("drop")
            try table.finish()
            guard !(addsAllCapabilities && dropsAllCapabilities) else {
                throw reader.failure("capabilities", "can't add and drop all of them")
            }
        }
        if let value = reader.value("seccomp") { seccomp = try Self.seccomp(value, reader) }
        hasNoNewPrivileges = try reader.bool("no_new_privileges") ?? true
        maskedPaths = try reader.absolutePaths("masked_paths")
        readonlyPaths = try reader.absolutePaths("readonly_paths")
        if var table = try reader.table("landlock") { landlock = try LandlockSpec(reading: &table) }
        try reader.finish()
        if isPrivileged, seccomp == .standard { seccomp = .unconfined }
    }

    static func seccomp(_ value: Value, _ reader: FieldReader) throws(LunetteError) -> Seccomp {
        switch value {
        case .string("default"): return .standard
        case .string("unconfined"): return .unconfined
        case .string(let text) where text.utf8.first == UInt8(ascii: "/"): return .path(text)
        case .map: return .profile(value)
        default:
            throw reader.failure("seccomp", "expected \"default\", \"unconfined\", an absolute path or a profile's table", hint: nil)
        }
    }

    public var value: Value {
        var map: ValueMap = ["user_namespace": .bool(hasUserNamespace), "privileged": .bool(isPrivileged)]
        let added = addsAllCapabilities ? ["ALL"] : addedCapabilities.map(\.name)
        let dropped = dropsAllCapabilities ? ["ALL"] : droppedCapabilities.map(\.name)
        map["capabilities"] = ["add": .array(added.map(Value.string)), "drop": .array(dropped.map(Value.string))]
        switch seccomp {
        case .standard: map["seccomp"] = "default"
        case .unconfined: map["seccomp"] = "unconfined"
        case .path(let path): map["seccomp"] = .string(path)
        case .profile(let profile): map["seccomp"] = profile
        }
        map["no_new_privileges"] = .bool(hasNoNewPrivileges)
        if let landlock { map["landlock"] = landlock.value }
        if let maskedPaths { map["masked_paths"] = .array(maskedPaths.map(Value.string)) }
        if let readonlyPaths { map["readonly_paths"] = .array(readonlyPaths.map(Value.string)) }
        return .map(map)
    }
}

extension FieldReader {
    /// A list of capability names, in which "ALL" stands for every one.
    fileprivate mutating func capabilities(_ key: String) throws(LunetteError) -> ([Capability], all: Bool) {
        var set: Set<Capability> = []
        var all = false
        for (index, text) in (try strings(key) ?? []).enumerated() {
            if text.uppercased() == "ALL" {
                all = true
                continue
            }
            do { set.insert(try Capability(text)) } catch { throw failure("\(key)[\(index + 1)]", error.message, hint: error.hint) }
        }
        return (set.sorted(), all)
    }

    /// A list of paths in the container.
    mutating func absolutePaths(_ key: String) throws(LunetteError) -> [String]? {
        guard let texts = try strings(key) else { return nil }
        var result: [String] = []
        for (index, text) in texts.enumerated() { result.append(try ContainerPath.normalise(text, path: path(of: "\(key)[\(index + 1)]"))) }
        return result
    }
}
