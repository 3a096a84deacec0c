import ArgumentParser

/// Where the shell gets live names from.
enum Live {
    static let containers = CompletionKind.shellCommand("lunette ps -a --format '{{.Names}}' 2>/dev/null")
    static let images = CompletionKind.shellCommand("lunette images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null")
    static let volumes = CompletionKind.shellCommand("lunette volume ls -q 2>/dev/null")
    static let scripts = CompletionKind.shellCommand("lunette script ls -q 2>/dev/null")
    static let lifecycles = CompletionKind.shellCommand(
        "lunette hook list --format '{{.Kind}} {{.Name}}' 2>/dev/null | sed -n 's/^lifecycle //p'")
    static let plugins = CompletionKind.shellCommand("lunette plugin list -q 2>/dev/null")
    // Several commands are a shell's of their own: fish has no braces around commands, and zsh's _arguments ends at one.
    /// What a prompt may stand inside.
    static let code = CompletionKind.shellCommand("sh -c 'lunette script list -q; lunette plugin list -q' 2>/dev/null")
    static let everything = CompletionKind.shellCommand(
        "sh -c 'lunette ps -a --format {{.Names}}; lunette images --format {{.Repository}}:{{.Tag}}; lunette volume ls -q' 2>/dev/null")
    /// Where a path in a container begins; without one that fits the shell offers files.
    static let insides = CompletionKind.shellCommand("lunette ps -a --format '{{.Names}}:' 2>/dev/null")
}
