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
        Output.print(LunetteRoot.completionScript(for: shell))
    }
}
