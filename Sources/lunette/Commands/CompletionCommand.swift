import ArgumentParser
import LunetteSpec

struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", _superCommandName: "lunette", abstract: "Print a completion script: bash, zsh or fish.",
        usage: "lunette completion bash|zsh|fish", discussion: "For bash: source <(lunette completion bash)")

    @Argument(help: "bash, zsh or fish.", completion: .list(["bash", "zsh", "fish"])) var shell: String?

    func run() throws {
        guard let shell else {
            throw LunetteError(
                .invalidArgument, "print a completion script: the shell is missing", hint: "lunette completion bash, zsh or fish")
        }
        guard let shell = CompletionShell(rawValue: shell) else {
            throw LunetteError(
                .invalidArgument, "print a completion script for \(Text.safe(shell)): there is none",
                hint: nearest(to: shell, in: ["bash", "zsh", "fish"]).map { "did you mean \"\($0)\"?" } ?? "known: bash, zsh, fish")
        }
        Output.print(Self.script(for: shell))
    }

    /// The parser's own script, mended where a shell needs more.
    static func script(for shell: CompletionShell) -> String {
        var script = LunetteRoot.completionScript(for: shell)
        let names = CommandTable.names.joined(separator: " ")
        // In each, the commands behind `help`, and a path where nothing of ours fits: `lunette scripts/h` is the beginning of a script.
        switch shell {
        case .bash:
            script = script.replacing(
                "_lunette_help() {\n    :",
                with: "_lunette_help() {\n    __lunette_add_completions -W $'\(names.replacing(" ", with: "\\n"))'")
            script = script.replacing("complete -o filenames -F", with: "complete -o filenames -o bashdefault -o default -F")
        case .zsh:
            // _describe takes what stands behind a colon for a description: of `redis:7` it would offer `redis`. In a function of its own,
            // since a colon in an option's action begins its next argument.
            let describe = #"_describe -V "" list"#
            script = script.replacing(describe, with: "__lunette_names")
            script = script.replacing(
                "\n_lunette() {\n",
                with: "\n__lunette_names() {\n" + #"    local -a names; names=("${list[@]//:/\\:}")"#
                    + "\n    _describe -V '' names\n}\n\n_lunette() {\n",
                maxReplacements: 1)
            script = script.replacing("'*:subcommands:'", with: "'1:command:(\(names))'")
            let commands = "        _describe -V subcommand subcommands && ret=0\n"
            script = script.replacing(
                commands, with: commands + #"        if [[ "${PREFIX}" == */* ]]; then _files && ret=0; fi"# + "\n", maxReplacements: 1)
        default:
            script += "\ncomplete -c 'lunette' -n '__fish_seen_subcommand_from help' -fa '\(names)'\n"
            script += "\ncomplete -c 'lunette' -n '__fish_is_first_arg; and string match -q \"*/*\" -- (commandline -ct)' -F\n"
        }
        return script
    }
}
