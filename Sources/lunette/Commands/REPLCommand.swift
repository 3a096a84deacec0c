import ArgumentParser
import LunetteSpec

/// The REPL by name; runs on the main thread, as scripts do.
struct REPLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repl", _superCommandName: "lunette", abstract: "Lua at a prompt; the same as lunette alone on a terminal.")

    @Flag(help: "Refuse calls that change something; Lua's own io and os aren't held by it.") var readOnly = false
    @Option(
        name: .customLong("in"),
        help: ArgumentHelp(
            "Stand inside a resident script or a plugin: its globals, limits and permissions (\"lunette script list\").", valueName: "name"),
        completion: Live.code) var inside: String?
    @OptionGroup var global: GlobalOptions
}
