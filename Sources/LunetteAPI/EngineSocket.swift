/// One more socket of the engine beside its own, as a resident script has declared it. Its users are judged call by call by its filter.
public struct EngineSocket: Sendable, Hashable {
    /// Unique; what `actor.socket` says of calls that come over it, and `FileDescriptorName=` of a unit that opens it.
    public var name: String
    /// Absolute; nil: only there when systemd passes it.
    public var path: String?
    /// Who owns the file; nil: the engine's user.
    public var owner: UInt32?
    /// Its group; nil: the engine's.
    public var group: UInt32?
    /// The file's permission bits: who may connect.
    public var mode: UInt32

    /// What judges its users, in words: `own_containers, a function`.
    public var filter: String

    public init(name: String, path: String?, owner: UInt32? = nil, group: UInt32? = nil, mode: UInt32, filter: String = "") {
        self.name = name
        self.path = path
        self.owner = owner
        self.group = group
        self.mode = mode
        self.filter = filter
    }
}
