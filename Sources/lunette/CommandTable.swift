import ArgumentParser
import LunetteSpec

/// All commands, found without building their parsers.
enum CommandTable {
    static let groups: [(title: String, commands: [any ParsableCommand.Type])] = [
        (
            "Containers",
            [
                RunCommand.self, CreateCommand.self, StartCommand.self, StopCommand.self, KillCommand.self, RestartCommand.self,
                PauseCommand.self,
                ResumeCommand.self, ExecCommand.self, AttachCommand.self, LogsCommand.self, WaitCommand.self, RemoveCommand.self,
                PSCommand.self,
                InspectCommand.self, StatsCommand.self, TopCommand.self, UpdateCommand.self, RenameCommand.self, CopyCommand.self,
                DiffCommand.self,
            ]
        ),
        (
            "Images",
            [
                PullCommand.self, PushCommand.self, ImagesCommand.self, RemoveImageCommand.self, TagCommand.self, LoadCommand.self,
                SaveCommand.self,
                BuildCommand.self, HistoryCommand.self,
            ]
        ),
        (
            "More",
            [
                VolumeCommand.self, PluginCommand.self, HookCommand.self, ScriptCommand.self, PlanCommand.self, ApplyCommand.self,
                ReloadCommand.self, EventsCommand.self,
                SystemCommand.self,
            ]
        ),
        ("Sandboxes", [SandboxCommand.self]),
        (
            "Lunette",
            [REPLCommand.self, CheckCommand.self, TestCommand.self, DaemonCommand.self, VersionCommand.self, CompletionCommand.self]
        ),
    ]

    private static var all: [any ParsableCommand.Type] { groups.flatMap(\.commands) }

    static var names: [String] { all.compactMap { $0.configuration.commandName } }

    /// The contract's commands of later versions: told apart from typos.
    private static let later = [
        "commit", "login", "logout", "network", "service", "job", "node", "scheduler", "secret", "config",
        "project",
        "compose",
    ]

    static func command(_ name: String) -> (any ParsableCommand.Type)? {
        // Most calls are of these; looking through all would make every configuration.
        switch name {
        case "ps": return PSCommand.self
        case "run": return RunCommand.self
        case "exec": return ExecCommand.self
        case "daemon": return DaemonCommand.self
        case "sandbox": return SandboxCommand.self
        case "manual": return ManualCommand.self
        default: return all.first { $0.configuration.commandName == name || $0.configuration.aliases.contains(name) }
        }
    }

    /// Those of which more can be said.
    private static let reasons: [String: (String, String)] = [
        "port": ("published ports aren't built yet", "they come with networks; use --network host, or container:NAME"),
        "checkpoint": (
            "saving processes isn't built, Debian's CRIU can't do it on this kernel",
            "stop the container and start it again: its files and volumes stay"
        ),
        "restore": (
            "restoring processes isn't built, Debian's CRIU can't do it on this kernel",
            "stop the container and start it again: its files and volumes stay"
        ),
        "commit": ("making an image of a container isn't built yet", "\"lunette build\" makes images, \"lunette cp\" takes files out"),
    ]

    static func unknown(_ name: String) -> LunetteError {
        if let (why, hint) = reasons[name] { return LunetteError(.unsupported, "run the command \(name): \(why)", hint: hint) }
        if later.contains(name) {
            return LunetteError(.unsupported, "run the command \(name): not built yet", hint: "\"lunette --help\" lists what there is")
        }
        let hint = nearest(to: name, in: names + ["remove", "unpause", "help"]).map { "did you mean \"lunette \($0)\"?" }
        return LunetteError(
            .invalidArgument, "run the command \(Text.safe(name)): there is none of this name",
            hint: hint ?? "\"lunette --help\" lists them; a script's name has a / or ends in .lua")
    }

    /// The verbs of a group (`ls` of `volume`); empty for a command.
    static func verbs(of group: any ParsableCommand.Type) -> [String] {
        var names: [String] = []
        for verb in group.configuration.subcommands {
            if let name = verb.configuration.commandName { names.append(name) }
            names += verb.configuration.aliases
        }
        return names
    }

    /// The options of a command, for the nearest to a typo.
    static func options(of name: String) -> [String] {
        command(name).map { options(of: $0) } ?? []
    }

    static func options(of type: any ParsableCommand.Type) -> [String] {
        let help = type.helpMessage(columns: 200)
        return help.split(whereSeparator: { " ,\n[]/".contains($0) }).filter { $0.hasPrefix("--") }.map(String.init)
    }

    static var help: String {
        var text = """
            Lunette: containers that you program.

            USAGE:
              lunette                              a REPL; with input that is no terminal, a script from there
              lunette FILE.lua [ARGS…]             run a script (a name with / or .lua)
              lunette -e CODE                      run a chunk and print what it returns
              lunette [OPTIONS] COMMAND …          see "lunette COMMAND --help"

            """
        for group in groups {
            text += "\n\(group.title.uppercased()):\n"
            for type in group.commands {
                text += "  " + Text.padded(type.configuration.commandName ?? "", to: 12) + type.configuration.abstract + "\n"
            }
        }
        text += """

            OPTIONS:
              --root DIR      lasting state (LUNETTE_ROOT, /var/lib/lunette)
              --state DIR     passing state and the socket (LUNETTE_STATE, /run/lunette)
              --config DIR    init.lua, conf.d, registries.json, certs.d (LUNETTE_CONFIG, /etc/lunette)
              --in-process    host the engine in this process
              --dry-run       show what a script would do, and do nothing
              --verbose       print the chain of causes with an error
              --version, --help
            """
        return text
    }
}

/// The whole tree as one command: what completion scripts are made from.
struct LunetteRoot: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lunette", abstract: "Containers that you program.", subcommands: CommandTable.groups.flatMap(\.commands))

    @Option(name: .customShort("e"), help: "Run a chunk and print what it returns.") var chunk: String?
    @Flag(help: "Show what a script would do, and do nothing.") var dryRun = false
    @OptionGroup var global: GlobalOptions
}
