import ArgumentParser

/// Where the shell gets live names from.
enum Live {
    static let containers = CompletionKind.shellCommand("lunette ps -a --format '{{.Names}}' 2>/dev/null")
    static let images = CompletionKind.shellCommand("lunette images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null")
    static let volumes = CompletionKind.shellCommand("lunette volume ls -q 2>/dev/null")
}
