/// What Landlock leaves a container's processes, as `security.landlock` says it (landlock(7)): a further layer, which knows nothing of users,
/// modes or mounts, and which no process gets rid of.
///
/// Each list restricts its own kind: with `read`, `write` or `execute`, files are reached only as they say; with `connect` or `bind`, TCP ports;
/// what isn't named is left to the other layers.
public struct LandlockSpec: Hashable, Sendable {
    public enum Scope: String, CaseIterable, Sendable {
        /// No abstract socket that a process outside the container made can be connected to.
        case abstractSocket = "abstract_socket"
        /// No signal reaches a process outside.
        case signal
    }

    /// Read, and executed unless `execute` says where.
    public var read: [String]?
    /// Changed as well.
    public var write: [String]?
    public var execute: [String]?
    /// Devices that take ioctl(2); nil is all of the container's.
    public var ioctl: [String]?
    /// TCP ports.
    public var connect: [UInt16]?
    public var bind: [UInt16]?
    public var scopes: [Scope]
    /// Refuses a start where the kernel can't hold all of it, instead of saying so in `degraded`.
    public var isRequired: Bool

    public init() {
        scopes = []
        isRequired = false
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        self.init()
        read = try reader.absolutePaths("read")
        write = try reader.absolutePaths("write")
        execute = try reader.absolutePaths("execute")
        ioctl = try reader.absolutePaths("ioctl")
        connect = try reader.ports("connect")
        bind = try reader.ports("bind")
        for (index, word) in (try reader.strings("scope") ?? []).enumerated() {
            guard let scope = Scope(rawValue: word) else {
                throw reader.failure(
                    "scope[\(index + 1)]", "\"\(displayable(word, limit: 60))\" is not one of \"abstract_socket\", \"signal\"")
            }
            scopes.append(scope)
        }
        isRequired = try reader.bool("required") ?? false
        try reader.finish()
        guard handlesFiles || connect != nil || bind != nil || !scopes.isEmpty else {
            throw LunetteError(
                .invalidArgument, "says nothing", path: reader.path,
                hint: "give read, write, execute, ioctl (paths), connect, bind (ports) or scope")
        }
    }

    var handlesFiles: Bool { read != nil || write != nil || execute != nil || ioctl != nil }

    public var value: Value {
        var map = ValueMap()
        func set(_ key: String, _ paths: [String]?) { if let paths { map[key] = .array(paths.map(Value.string)) } }
        set("read", read)
        set("write", write)
        set("execute", execute)
        set("ioctl", ioctl)
        if let connect { map["connect"] = .array(connect.map { .int(Int64($0)) }) }
        if let bind { map["bind"] = .array(bind.map { .int(Int64($0)) }) }
        if !scopes.isEmpty { map["scope"] = .array(scopes.map { .string($0.rawValue) }) }
        if isRequired { map["required"] = true }
        return .map(map)
    }

    /// The record for the shim.
    package var plan: LandlockPlan {
        typealias Rights = LandlockPlan.FileRights
        var plan = LandlockPlan()
        if handlesFiles {
            plan.handledFiles = .all
            let reading: Rights = execute == nil ? .readAndExecute : .read
            plan.paths += (read ?? []).map { .init(path: $0, reading) }
            plan.paths += (write ?? []).map { .init(path: $0, Rights.write.union(reading)) }
            plan.paths += (execute ?? []).map { .init(path: $0, [.execute, .readFile]) }
            // Its own devices, which cgroup and mounts hold already, and what it may look up about itself: without them nothing starts.
            plan.paths += (ioctl ?? []).map { .init(path: $0, .deviceIoctl) }
            plan.paths.append(
                .init(
                    path: "/dev",
                    ioctl == nil ? [.readFile, .writeFile, .readDirectory, .deviceIoctl] : [.readFile, .writeFile, .readDirectory]))
            plan.paths.append(.init(path: "/proc", .read))
        }
        if let connect {
            plan.handledPorts.insert(.connect)
            plan.ports += connect.map { .init(port: $0, .connect) }
        }
        if let bind {
            plan.handledPorts.insert(.bind)
            plan.ports += bind.map { .init(port: $0, .bind) }
        }
        for scope in scopes { plan.scopes.insert(scope == .signal ? .signal : .abstractSocket) }
        return plan
    }

    /// What a kernel of this ABI doesn't hold of it; 0 = no Landlock at all.
    package func notEnforced(abi: Int) -> [NotEnforced] {
        var lacking: [NotEnforced] = []
        func add(_ why: String) { lacking.append(NotEnforced("security.landlock", "landlock: \(why)")) }
        guard abi > 0 else {
            add("this kernel has none")
            return lacking
        }
        if handlesFiles, abi < 2 { add("renaming and linking between folders is refused everywhere (ABI \(abi), 2 is needed)") }
        if handlesFiles, abi < 3 { add("truncation (ABI \(abi), 3 is needed)") }
        if handlesFiles, abi < 5 { add("ioctl on devices (ABI \(abi), 5 is needed)") }
        if connect != nil || bind != nil, abi < 4 { add("TCP ports (ABI \(abi), 4 is needed)") }
        if !scopes.isEmpty, abi < 6 { add("scopes (ABI \(abi), 6 is needed)") }
        return lacking
    }
}
