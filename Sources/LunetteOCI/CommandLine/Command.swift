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
    /// Whether it looks at containers, below the root.
    var usesState = true
    var run: @Sendable (Invocation) throws(LunetteError) -> Int32

    /// In the order in which help shows them.
    static let names = [
        "create", "start", "run", "exec", "kill", "delete", "state", "list", "ps", "pause", "resume", "update", "events", "spec",
        "features",
        "checkpoint", "restore",
    ]

    static var all: [Command] { names.compactMap(named) }

    /// The one that is asked for, without making the others: a call makes one, and there are thousands a day.
    static func named(_ name: String) -> Command? {
        switch name {
        case "create": .create
        case "start": .start
        case "run": .run
        case "exec": .exec
        case "kill": .kill
        case "delete": .delete
        case "state": .state
        case "list": .list
        case "ps": .ps
        case "pause": .pause
        case "resume": .resume
        case "update": .update
        case "events": .events
        case "spec": .spec
        case "features": .features
        case "checkpoint": .checkpoint
        case "restore": .restore
        default: nil
        }
    }
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
