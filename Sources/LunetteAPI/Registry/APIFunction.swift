public import LunetteSpec

/// Describes one function of the API completely; see docs/lua/reference, which is made from it.
public struct APIFunction: Sendable, Hashable {
    /// Says where a function runs.
    public enum Place: String, Sendable, Hashable {
        /// Sent to the engine as an `APIRequest` of this name.
        case engine
        /// Done by the Lua host itself; never on the wire.
        case client
    }

    /// Says how Lua writes the call; the wire always has one map of named arguments.
    public struct LuaShape: Sendable, Hashable {
        /// The arguments written in order before the options table. For `methodOf` nouns the first is the object itself.
        public var positional: [String]
        /// The argument that the trailing table *is* (`spec`); nil: its keys are the other arguments.
        public var rest: String?
        /// The noun whose handles have it as a method (`c:stop{}`); `container.stop("web", {})` works as well.
        public var methodOf: String?
        /// The call returns an iterator over its chunks.
        public var iterates: Bool
        /// Hidden functions are the plumbing beneath other Lua functions (`hook.register` beneath `lunette.before`).
        public var isHidden: Bool

        public init(
            _ positional: [String] = [], rest: String? = nil, methodOf: String? = nil, iterates: Bool = false, hidden: Bool = false
        ) {
            self.positional = positional
            self.rest = rest
            self.methodOf = methodOf
            self.iterates = iterates
            self.isHidden = hidden
        }
    }

    /// `noun.verb`, snake_case.
    public var name: String
    /// One phrase that starts with a verb; lower case, no full stop.
    public var summary: String
    /// All named arguments on the wire.
    public var arguments: [APIField]
    /// What the call returns.
    public var result: APIType
    /// What the call streams while it runs; nil: nothing.
    public var chunk: APIType?
    /// Changes something (refused by `repl --read-only`, recorded for `--dry-run`; its outcome is kept by request id).
    public var mutates: Bool
    /// May take longer than a look-up: the calling task yields.
    public var waits: Bool
    /// The API version it came with.
    public var since: Int
    /// The codes a caller should expect beyond `invalid_argument`, `cancelled`, `timeout`, `io`.
    public var errors: [ErrorCode]
    /// A Lua example; run by the tests.
    public var example: String
    /// Who answers it.
    public var place: Place
    /// How Lua writes the call.
    public var lua: LuaShape
    /// The permission that limited states need; nil: none can be given for it.
    public var permission: String?

    public init(
        _ name: String, _ summary: String, _ arguments: [APIField] = [], returns result: APIType = .nothing, chunk: APIType? = nil,
        mutates: Bool = false, waits: Bool = false, since: Int = 1, errors: [ErrorCode] = [], example: String, place: Place = .engine,
        lua: LuaShape = LuaShape(), permission: String? = nil
    ) {
        self.name = name
        self.summary = summary
        self.arguments = arguments
        self.result = result
        self.chunk = chunk
        self.mutates = mutates
        self.waits = waits
        self.since = since
        self.errors = errors
        self.example = example
        self.place = place
        self.lua = lua
        self.permission = permission
    }

    /// `container` of `container.create`.
    public var noun: String { name.split(separator: ".").first.map(String.init) ?? name }
    /// `create` of `container.create`.
    public var verb: String { name.split(separator: ".").dropFirst().joined(separator: ".") }
    /// - Returns: nil for a name that isn't one of its arguments.
    public func argument(_ name: String) -> APIField? { arguments.first { $0.name == name } }
}
