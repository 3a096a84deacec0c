/// Names what kind of failure happened, in words that scripts match on (`e:is "not_found"`).
///
/// A struct over a stable string, so that codes can be added without breaking exhaustive switches.
public struct ErrorCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    public static let invalidArgument = ErrorCode(rawValue: "invalid_argument")
    public static let notFound = ErrorCode(rawValue: "not_found")
    public static let alreadyExists = ErrorCode(rawValue: "already_exists")
    public static let invalidState = ErrorCode(rawValue: "invalid_state")
    public static let denied = ErrorCode(rawValue: "denied")
    public static let unauthenticated = ErrorCode(rawValue: "unauthenticated")
    public static let unschedulable = ErrorCode(rawValue: "unschedulable")
    public static let timeout = ErrorCode(rawValue: "timeout")
    public static let cancelled = ErrorCode(rawValue: "cancelled")
    public static let wouldBlock = ErrorCode(rawValue: "would_block")
    public static let unsupported = ErrorCode(rawValue: "unsupported")
    public static let resourceExhausted = ErrorCode(rawValue: "resource_exhausted")
    public static let exitStatus = ErrorCode(rawValue: "exit_status")
    public static let scriptFailed = ErrorCode(rawValue: "script_failed")
    public static let pluginFailed = ErrorCode(rawValue: "plugin_failed")
    public static let conflict = ErrorCode(rawValue: "conflict")
    public static let io = ErrorCode(rawValue: "io")
    /// Ours, never the user's: seeing this is a bug report.
    public static let `internal` = ErrorCode(rawValue: "internal")

    /// Those of API 1.
    public static var all: [ErrorCode] {
        [
            invalidArgument, notFound, alreadyExists, invalidState, denied, unauthenticated, unschedulable, timeout, cancelled, wouldBlock,
            unsupported, resourceExhausted, exitStatus, scriptFailed, pluginFailed, conflict, io, `internal`,
        ]
    }
}

/// Says what was tried, on what, why it failed and how to mend it: the one error type at API borders.
///
/// `message` is lower-case with no full stop and says what was tried on what ("mount overlay on /x: permission denied").
public struct LunetteError: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: ErrorCode
    public var message: String
    /// The field that is wrong (`mounts[2].source`), when the input is at fault.
    public var path: String?
    /// The operation that failed (`container.create`).
    public var operation: String?
    /// What it was done to (a name or id).
    public var target: String?
    /// The kernel's own number, when a system call failed.
    public var errno: Int32?
    /// What to do about it.
    public var hint: String?
    /// Machine-readable extras (a launch failure's step and call, an exec's exit code).
    public var details: Value?
    /// The failure beneath this one, oldest last.
    public var causes: [LunetteError]

    public init(
        _ code: ErrorCode, _ message: String, path: String? = nil, operation: String? = nil, target: String? = nil,
        errno: Int32? = nil, hint: String? = nil, details: Value? = nil, cause: LunetteError? = nil
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.operation = operation
        self.target = target
        self.errno = errno
        self.hint = hint
        self.details = details
        self.causes = cause.map { [$0] } ?? []
    }

    /// One line: `path: message` — the hint is printed apart.
    public var description: String { path.map { "\($0): \(message)" } ?? message }

    /// Encodes for the wire and for Lua's error object.
    public var value: Value {
        var map = ValueMap()
        map["code"] = .string(code.rawValue)
        map["message"] = .string(message)
        if let path { map["path"] = .string(path) }
        if let operation { map["operation"] = .string(operation) }
        if let target { map["target"] = .string(target) }
        if let errno { map["errno"] = .int(Int64(errno)) }
        if let hint { map["hint"] = .string(hint) }
        if let details { map["details"] = details }
        if let cause = causes.first { map["cause"] = cause.value }
        return .map(map)
    }

    /// Decodes what `value` encoded; anything else becomes an `internal` error that quotes it.
    public init(value: Value) {
        guard case .map(let map) = value, let code = map["code"]?.stringValue, let message = map["message"]?.stringValue else {
            self.init(.internal, "unreadable error record: \(value)")
            return
        }
        self.init(
            ErrorCode(rawValue: code), message, path: map["path"]?.stringValue, operation: map["operation"]?.stringValue,
            target: map["target"]?.stringValue, errno: map["errno"]?.intValue.flatMap { Int32(exactly: $0) },
            hint: map["hint"]?.stringValue, details: map["details"], cause: map["cause"].map { LunetteError(value: $0) }
        )
    }
}
