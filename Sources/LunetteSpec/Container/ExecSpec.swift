/// Says what `c:exec` runs beside a container's main process. What is nil is the container's.
public struct ExecSpec: Hashable, Sendable {
    public var args: [String]
    public var env: [String: String]
    public var workdir: String?
    public var user: UserString?
    public var hasTerminal: Bool

    public init(args: [String], env: [String: String] = [:], workdir: String? = nil, user: UserString? = nil, hasTerminal: Bool = false) {
        self.args = args
        self.env = env
        self.workdir = workdir
        self.user = user
        self.hasTerminal = hasTerminal
    }

    /// Reads the fields that are the process's from a call's arguments; the caller reads the rest (timeout, check, stdio) and calls `finish()`.
    /// - Throws: `invalid_argument` with the field's path.
    public init(reading reader: inout FieldReader) throws(LunetteError) {
        args = try reader.strings("args") ?? []
        guard !args.isEmpty, !args[0].isEmpty else { throw reader.failure("args", "is required: the program and its arguments") }
        try Names.validateArguments(args, path: reader.path(of: "args"))
        env = try reader.environment("env")
        if let workdir = try reader.string("workdir") {
            self.workdir = try ContainerPath.normaliseWorkingDirectory(workdir, path: reader.path(of: "workdir"))
        }
        user = try reader.user("user")
        hasTerminal = try reader.bool("tty") ?? false
    }
}
