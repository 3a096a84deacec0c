import ArgumentParser
import LunetteSpec

/// The REPL by name; runs on the main thread, as scripts do.
struct REPLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repl", _superCommandName: "lunette", abstract: "Lua at a prompt; the same as lunette alone on a terminal.")

    @Flag(help: "Refuse what changes something.") var readOnly = false
    // Not built yet: no help names it.
    @Option(name: .customLong("in"), help: .hidden) var inside: String?
    @OptionGroup var global: GlobalOptions
}
