internal import LunetteSpec

/// One command: its words, and what it does.
struct Command: Sendable {
    var name: String
    var summary: String
    /// What stands behind the options, for the usage line.
    var arguments: String
    var count: ClosedRange<Int>
    var options: [Option]
    var order = Options.Order.anywhere
    var run: @Sendable (Invocation) throws(LunetteError) -> Int32

    static let all: [Command] = [
        .create, .start, .run, .exec, .kill, .delete, .state, .list, .ps, .pause, .resume, .update, .events, .spec, .features, .checkpoint,
        .restore,
    ]
}

/// A command with its options read.
struct Invocation: Sendable {
    var global: GlobalOptions
    var options: Options
    var log: ErrorLog

    /// The container's id: the first argument.
    /// - Throws: `invalid_argument` for what is none (attack 16).
    func containerID() throws(LunetteError) -> String {
        let id = options.arguments[0]
        try ContainerID.validate(id)
        return id
    }

    var store: ContainerStore { ContainerStore(root: global.root) }
}
