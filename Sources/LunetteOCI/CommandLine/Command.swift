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

    /// In the order in which help shows them. Each is made when it is asked for: a call needs one of them, with its options.
    private static let table: [(name: String, make: @Sendable () -> Command)] = [
        ("create", { create }), ("start", { start }), ("run", { run }), ("exec", { exec }), ("kill", { kill }), ("delete", { delete }),
        ("state", { state }), ("list", { list }), ("ps", { ps }), ("pause", { pause }), ("resume", { resume }), ("update", { update }),
        ("events", { events }), ("spec", { spec }), ("features", { features }), ("checkpoint", { checkpoint }), ("restore", { restore }),
    ]

    static var names: [String] { table.map(\.name) }
    static var all: [Command] { table.map { $0.make() } }
    static func named(_ name: String) -> Command? { table.first { $0.name == name }?.make() }
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
