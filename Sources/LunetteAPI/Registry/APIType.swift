/// Says what a value of the API may be: the source of argument checks, completion, LuaCATS types and the reference pages.
public indirect enum APIType: Sendable, Hashable {
    case any
    case boolean
    case integer
    case number
    case string
    /// Bytes as a number, or a string with a unit (`"256MiB"`); returned as a number.
    case size
    /// Seconds as a number, or a string with a unit (`"500ms"`); returned as a number.
    case duration
    /// Unix seconds.
    case time
    /// A path on the host: the client makes it absolute against the script's working directory before it is sent.
    case path
    /// One of a closed set of words.
    case choice([String])
    case list(APIType)
    /// Text keys of the user's own choosing (labels, env).
    case map(APIType)
    /// A record of the registry, by name.
    case record(String)
    case union([APIType])
    /// What names one object: a handle, its name, its id or a unique prefix of it. As a result: `{"$handle": noun, "id": …, "name": …}`.
    case handle(String)
    /// A function of the caller, called with this in the caller's process for each chunk. On the wire it is `true`: "send chunks".
    case callback(APIType)
    /// The call returns nothing of use.
    case nothing
    case null

    /// The type, or `lunette.null`.
    public static func orNull(_ type: APIType) -> APIType { .union([type, .null]) }
}

/// One argument, option or field.
public struct APIField: Sendable, Hashable {
    /// snake_case.
    public var name: String
    /// What it may be.
    public var type: APIType
    /// A phrase; lower case, no full stop.
    public var summary: String
    /// Given: it can't be left out. Returned: it is never absent.
    public var isRequired: Bool
    /// What holds when it is left out, as a Lua literal or a phrase.
    public var defaultText: String?

    public init(_ name: String, _ type: APIType, _ summary: String, required: Bool = false, default defaultText: String? = nil) {
        self.name = name
        self.type = type
        self.summary = summary
        self.isRequired = required
        self.defaultText = defaultText
    }
}

/// A table with known fields, by name (`ContainerSpec`, `Exit`).
public struct APIRecord: Sendable, Hashable {
    /// UpperCamelCase.
    public var name: String
    /// A phrase; lower case, no full stop.
    public var summary: String
    /// In the order of the reference.
    public var fields: [APIField]
    /// Whether fields beyond the known ones are let through (data returned by the engine, exact OCI JSON).
    public var isOpen: Bool
    /// One of these fields has to be there, as `lunette check` sees it: the engine may know of another (a hook's).
    public var needsOneOf: [String]

    public init(_ name: String, _ summary: String, open: Bool = false, needsOneOf: [String] = [], _ fields: [APIField]) {
        self.needsOneOf = needsOneOf
        self.name = name
        self.summary = summary
        self.fields = fields
        self.isOpen = open
    }
}
