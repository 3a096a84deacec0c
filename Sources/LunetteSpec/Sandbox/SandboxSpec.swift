/// Says what one command may see and do when it runs in a sandbox: no image, the host's files by rule or not at all. Deny by default.
public struct SandboxSpec: Hashable, Sendable {
    public enum Network: String, CaseIterable, Sendable { case none, host }
    public enum Preset: String, CaseIterable, Sendable {
        /// Programs, libraries and the few files of /etc that every program reads.
        case system
        case none
    }

    public var args: [String]
    /// Seen and executed, never changed.
    public var allowRead: [String]
    /// Seen, executed and changed.
    public var allowWrite: [String]
    /// Seen and changed; the changes are thrown away with the sandbox.
    public var privateWrite: [String]
    /// Absent though a rule above allows a folder around it.
    public var hide: [String]
    /// Empty writable folders in memory: `PATH` or `PATH:size=SIZE`.
    public var tmpfs: [Tmpfs]
    /// Bytes that each of the folders in memory may hold: /tmp, /var/tmp, the home folder, private layers. Nil is an eighth of the machine's
    /// memory, or the memory limit when that is less.
    public var scratch: Int64?
    /// Device nodes beside the usual six.
    public var devices: [String]
    public var preset: Preset
    public var network: Network
    /// TCP ports it may connect to or listen on; nil is any. Landlock holds them.
    public var connectPorts: [UInt16]?
    public var bindPorts: [UInt16]?
    public var env: [String: String]
    /// Names of variables that are handed on.
    public var inheritEnv: [String]
    public var inheritsWholeEnv: Bool
    public var workdir: String?
    public var hostname: String
    public var resources: ResourceSpec
    /// Seconds until everything in it is killed.
    public var timeout: Double?
    public var seccomp: SecuritySpec.Seccomp
    public var hasLandlock: Bool
    /// Asked for by name: no sandbox where the kernel has none. Else it is a further layer where there is one.
    public var requiresLandlock: Bool
    /// What is asked for and can't be held is said and not an error.
    public var isBestEffort: Bool
    /// Collects what was asked for outside the rules.
    public var reportsDenied: Bool

    public struct Tmpfs: Hashable, Sendable {
        public var path: String
        /// Bytes; nil is the kernel's default, half of memory.
        public var size: Int64?
        public init(path: String, size: Int64? = nil) {
            self.path = path
            self.size = size
        }
    }

    public init(args: [String]) {
        self.args = args
        allowRead = []
        allowWrite = []
        privateWrite = []
        hide = []
        tmpfs = []
        devices = []
        preset = .system
        network = .none
        env = [:]
        inheritEnv = []
        inheritsWholeEnv = false
        hostname = "sandbox"
        resources = ResourceSpec()
        seccomp = .standard
        hasLandlock = true
        requiresLandlock = false
        isBestEffort = false
        reportsDenied = false
    }

    /// The flag that says what holds of the working folder because no rule for paths was given: whoever adds a rule has to give it too.
    package var impliedFlag: String?

    /// Whether any rule says what of the caller's own files it sees.
    public var hasPathRules: Bool { !allowRead.isEmpty || !allowWrite.isEmpty || !privateWrite.isEmpty }

    /// Reads the fields that are the sandbox's; the caller reads the rest (stdin, stdout, stderr, check) and calls `finish()`.
    /// - Parameter requiresArgs: false for a policy file, which need not say what it is for.
    /// - Throws: `invalid_argument` with the field's path.
    public init(reading reader: inout FieldReader, requiresArgs: Bool = true) throws(LunetteError) {
        self.init(args: try reader.strings("args") ?? [])
        if requiresArgs || !args.isEmpty {
            guard !args.isEmpty, !args[0].isEmpty else { throw reader.failure("args", "is required: the program and its arguments") }
            try Names.validateArguments(args, path: reader.path(of: "args"))
        }
        allowRead = try reader.hostPaths("allow_read")
        allowWrite = try reader.hostPaths("allow_write")
        privateWrite = try reader.hostPaths("private")
        hide = try reader.hostPaths("hide")
        devices = try reader.hostPaths("devices")
        for (index, text) in (try reader.strings("tmpfs") ?? []).enumerated() {
            do { tmpfs.append(try Tmpfs(text)) } catch { throw reader.failure("tmpfs[\(index + 1)]", error.message, hint: error.hint) }
        }
        scratch = try reader.size("scratch")
        if let scratch, scratch < 65536 {
            throw reader.failure("scratch", "\(scratch) bytes are too few for a folder", hint: "give at least 64KiB")
        }
        preset = try reader.choice("preset", Preset.self) ?? .system
        if let value = reader.value("network") { network = try Self.network(value, reader) }
        connectPorts = try reader.ports("allow_connect")
        bindPorts = try reader.ports("allow_bind")
        for (key, ports) in [("allow_connect", connectPorts), ("allow_bind", bindPorts)] where network == .none && ports != nil {
            throw reader.failure(
                key, "a sandbox without a network has nothing to choose ports of",
                hint: "give it the host's: --network host (network = \"host\")")
        }
        env = try reader.environment("env")
        if let value = reader.value("inherit_env") {
            if let all = value.boolValue { inheritsWholeEnv = all } else { inheritEnv = try reader.strings("inherit_env") ?? [] }
        }
        workdir = try reader.string("workdir")
        if let name = try reader.string("hostname") {
            try Names.validateHostname(name, path: reader.path(of: "hostname"))
            hostname = name
        }
        timeout = try reader.seconds("timeout")
        if let timeout, !(timeout > 0 && timeout.isFinite) { throw reader.failure("timeout", "must be more than nothing") }
        if let value = reader.value("seccomp") { seccomp = try SecuritySpec.seccomp(value, reader) }
        let landlock = try reader.bool("landlock")
        hasLandlock = landlock ?? true
        requiresLandlock = landlock == true
        isBestEffort = try reader.bool("best_effort") ?? false
        reportsDenied = try reader.bool("report") ?? false
        // Last: an unknown field in it ends the reading, and by now every field of the sandbox's own has been asked for.
        if var table = try reader.table("resources") { resources = try ResourceSpec(reading: &table) }
    }

    private static func network(_ value: Value, _ reader: FieldReader) throws(LunetteError) -> Network {
        if case .map = value {
            throw LunetteError(
                .unsupported, "lists of names that may be reached aren't built yet", path: reader.path(of: "network"),
                hint: "take \"none\", or \"host\" with allow_connect = { 443 }")
        }
        guard let text = value.stringValue else { throw reader.failure("network", "expected \"none\" or \"host\", got \(value.kind)") }
        guard let network = Network(rawValue: text) else {
            throw reader.failure("network", "\"\(displayable(text, limit: 60))\" is not one of \"none\", \"host\"")
        }
        return network
    }
}

extension SandboxSpec.Tmpfs {
    /// Reads `PATH` or `PATH:size=64m`.
    /// - Throws: `invalid_argument`.
    public init(_ text: String) throws(LunetteError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        self.init(path: try SandboxPath.check(String(parts.first ?? "")))
        guard parts.count == 2 else { return }
        let option = parts[1].split(separator: "=", maxSplits: 1)
        guard option.count == 2, option[0] == "size" else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(String(parts[1]), limit: 60))\" is not an option of a tmpfs", hint: "size=64m")
        }
        size = try Units.bytes(.string(String(option[1])))
    }
}

/// Paths of the host as users write them in rules: absolute, `~/…`, or relative to where the command was given.
package enum SandboxPath {
    static func check(_ text: String) throws(LunetteError) -> String {
        guard !text.isEmpty else { throw LunetteError(.invalidArgument, "is empty: a path is wanted") }
        guard !text.utf8.contains(0) else { throw LunetteError(.invalidArgument, "has a NUL byte") }
        guard text.utf8.count < 4096 else { throw LunetteError(.invalidArgument, "is longer than Linux takes for a path") }
        return text
    }

    /// The path as the kernel is asked for it; what it points to is found out there.
    package static func absolute(_ text: String, directory: String, home: String) -> String {
        if text == "~" { return home }
        if text.utf8.starts(with: "~/".utf8) { return home + String(Substring(text.utf8.dropFirst())) }
        return text.utf8.first == UInt8(ascii: "/") ? text : directory + "/" + text
    }
}

extension FieldReader {
    mutating func hostPaths(_ key: String) throws(LunetteError) -> [String] {
        var result: [String] = []
        for (index, text) in (try strings(key) ?? []).enumerated() {
            do { result.append(try SandboxPath.check(text)) } catch { throw failure("\(key)[\(index + 1)]", error.message) }
        }
        return result
    }

    /// A list of TCP ports.
    mutating func ports(_ key: String) throws(LunetteError) -> [UInt16]? {
        guard let items = try list(key) else { return nil }
        var result: [UInt16] = []
        for (index, item) in items.enumerated() {
            guard let number = item.intValue, let port = UInt16(exactly: number) else {
                throw failure("\(key)[\(index + 1)]", "expected a port, 0 to 65535")
            }
            result.append(port)
        }
        return result
    }
}
