import ArgumentParser
import LunetteSpec

struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", _superCommandName: "lunette", abstract: "Print a completion script: bash, zsh or fish.",
        discussion: "For bash: source <(lunette completion bash)")

    @Argument(help: "bash, zsh or fish.") var shell: String

    func run() throws {
        guard let shell = CompletionShell(rawValue: shell) else {
            throw LunetteError(
                .invalidArgument, "print a completion script for \(shell)",
                hint: nearest(to: shell, in: ["bash", "zsh", "fish"]).map { "did you mean \"\($0)\"?" } ?? "known: bash, zsh, fish")
        }
        Output.print(Self.script(for: shell))
    }

    static func script(for shell: CompletionShell) -> String {
        let script = LunetteRoot.completionScript(for: shell)
        guard shell == .bash else { return script }
        // Where nothing of ours fits, a path does: `lunette scripts/h` is the beginning of a script.
        let own = "complete -o filenames -F"
        return script.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.hasPrefix(own) ? "complete -o filenames -o bashdefault -o default -F" + line.dropFirst(own.count) : String(line)
        }.joined(separator: "\n")
    }
}
