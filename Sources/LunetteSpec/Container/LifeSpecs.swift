/// Says what happens when a container's process ends.
public struct RestartSpec: Hashable, Sendable {
    public enum Policy: String, CaseIterable, Sendable {
        case never
        /// After a failure (a code other than 0, a signal, out of memory).
        case onFailure = "on_failure"
        /// After every end but a stop that a user asked for.
        case always
    }

    public var policy: Policy
    /// Seconds before the first restart; doubles each time up to `maximumDelay`.
    public var initialDelay: Double
    public var maximumDelay: Double
    /// Nil tries for ever.
    public var maximumAttempts: Int64?

    public init(_ policy: Policy = .never, initialDelay: Double = 0.1, maximumDelay: Double = 60, maximumAttempts: Int64? = nil) {
        self.policy = policy
        self.initialDelay = initialDelay
        self.maximumDelay = maximumDelay
        self.maximumAttempts = maximumAttempts
    }

    init(reading reader: inout FieldReader, key: String) throws(LunetteError) {
        self.init()
        guard let value = reader.value(key) else { return }
        guard case .map = value else {
            policy = try reader.choice(key, Policy.self) ?? .never
            return
        }
        var table = try FieldReader(value, path: reader.path(of: key))
        policy = try table.choice("policy", Policy.self) ?? .onFailure
        if var backoff = try table.table("backoff") {
            initialDelay = try backoff.seconds("initial") ?? initialDelay
            maximumDelay = try backoff.seconds("max") ?? max(maximumDelay, initialDelay)
            guard initialDelay <= maximumDelay else { throw backoff.failure("initial", "is above max") }
            try backoff.finish()
        }
        maximumAttempts = try table.int("max_attempts", in: 1...1_000_000)
        try table.finish()
    }

    public var value: Value {
        var map: ValueMap = [
            "policy": .string(policy.rawValue), "backoff": ["initial": .double(initialDelay), "max": .double(maximumDelay)],
        ]
        map.set("max_attempts", maximumAttempts)
        return .map(map)
    }
}

/// Says how a container is asked to end.
public struct StopSpec: Hashable, Sendable {
    /// Nil takes the image's, else SIGTERM.
    public var signal: Signal?
    /// Seconds until SIGKILL.
    public var gracePeriod: Double

    public init(signal: Signal? = nil, gracePeriod: Double = 10) {
        self.signal = signal
        self.gracePeriod = gracePeriod
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        self.init(signal: try reader.signal("signal"), gracePeriod: try reader.seconds("grace_period") ?? 10)
        try reader.finish()
    }

    public var value: Value {
        var map = ValueMap()
        map.set("signal", signal?.name)
        map["grace_period"] = .double(gracePeriod)
        return .map(map)
    }
}

/// Bounds the log that the shim keeps.
public struct LogSpec: Hashable, Sendable {
    /// Bytes at which a file is put aside.
    public var maximumSize: Int64
    /// How many files there are at most, the current one counted.
    public var maximumFiles: Int64

    public init(maximumSize: Int64 = 10 << 20, maximumFiles: Int64 = 5) {
        self.maximumSize = maximumSize
        self.maximumFiles = maximumFiles
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        self.init()
        if let size = try reader.size("max_size") {
            guard size >= 16 << 10 else {
                throw reader.failure("max_size", "\(size) bytes are too few for a log", hint: "give at least 16KiB")
            }
            maximumSize = size
        }
        maximumFiles = try reader.int("max_files", in: 1...1000) ?? maximumFiles
        try reader.finish()
    }

    public var value: Value { ["max_size": .int(maximumSize), "max_files": .int(maximumFiles)] }
}

/// Whose namespace a container uses.
public enum NamespaceMode: Hashable, Sendable {
    /// Its own. For the network: with nothing in it but `lo`.
    case own
    case host
    /// Another container's, by id or name.
    case container(String)

    public var value: Value {
        switch self {
        case .own: "private"
        case .host: "host"
        case .container(let name): .string("container:" + name)
        }
    }
}

extension FieldReader {
    /// `"container:NAME"` after its prefix; nil for anything else.
    fileprivate func sharedContainer(_ key: String, _ text: String) throws(LunetteError) -> NamespaceMode? {
        guard text.hasPrefix("container:") else { return nil }
        let name = String(text.dropFirst(10))
        if !Digest.isHex(name) { try Names.validate(name, kind: "container", path: path(of: key)) }
        return .container(name)
    }

    mutating func networkMode(_ key: String) throws(LunetteError) -> NamespaceMode {
        guard let value = value(key) else { return .own }
        guard let text = value.stringValue else {
            guard case .array = value else { throw failure(key, "expected a string or a list, got \(value.kind)") }
            throw unsupported(key, "networks of one's own aren't built yet", hint: "use \"none\", \"host\" or \"container:NAME\"")
        }
        switch text {
        case "none": return .own
        case "host": return .host
        default:
            if let shared = try sharedContainer(key, text) { return shared }
            try Names.validate(text, kind: "network", path: path(of: key))
            throw unsupported(key, "networks of one's own aren't built yet", hint: "use \"none\", \"host\" or \"container:NAME\"")
        }
    }

    mutating func namespaceMode(_ key: String) throws(LunetteError) -> NamespaceMode {
        guard let text = try string(key) else { return .own }
        if text == "private" { return .own }
        if let shared = try sharedContainer(key, text) { return shared }
        if text == "host" {
            throw unsupported(
                key, "sharing the host's \(key) namespace isn't built", hint: "\"container:NAME\" shares another container's")
        }
        throw failure(key, "\"\(displayable(text, limit: 80))\" is not \"private\" or \"container:NAME\"")
    }
}
