import Foundation
import LunetteTesting
import Testing

/// Tab in the shells themselves, with names of what is there.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ShellCompletionTests {
    private static let script = "conf.d/look"

    /// A home with containers, an image, a volume and a resident script, and what commands in it need.
    private func withNames(_ body: (LunetteHome, [String: String?]) async throws -> Void) async throws {
        try await withLunette { home in
            let settings = "\(home.folder)/settings"
            try FileManager.default.createDirectory(atPath: "\(settings)/conf.d", withIntermediateDirectories: true)
            try Data("x = 1".utf8).write(to: URL(fileURLWithPath: "\(settings)/\(Self.script).lua"))
            let folder = (LunetteHome.binary as NSString).deletingLastPathComponent
            let path = "\(folder):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")"
            let environment: [String: String?] = ["LUNETTE_CONFIG": settings, "PATH": path, "HOME": home.folder]
            for words in [
                ["load", "-q", "-i", try await TestImage.busybox.folder(), "--tag", "shells/busybox:1"],
                ["create", "--name", "web", "shells/busybox:1"], ["create", "--name", "worker", "shells/busybox:1"],
                ["volume", "create", "data"],
            ] { try await home.command(words, environment: environment).run() }
            try await body(home, home.environment.merging(environment) { $1 })
        }
    }

    /// A line, and the words that its last one may become.
    private static let lines: [(line: String, words: [String])] = [
        ("lunette stop we", ["web"]), ("lunette rm w", ["web", "worker"]), ("lunette volume rm da", ["data"]),
        ("lunette plugin inspect volume-lo", ["volume-local"]), ("lunette repl --in conf.d/", [script]), ("lunette volume cre", ["create"]),
        ("lunette run --pids-l", ["--pids-limit"]), ("lunette rmi shells/b", ["shells/busybox:1"]),
    ]

    @Test(.requires(.command("bash"))) func bashCompletes() async throws {
        try await withNames { home, environment in
            var source = "source <(lunette completion bash)\n"
            for (line, _) in Self.lines {
                source += """
                    COMP_LINE='\(line)' COMP_POINT=${#COMP_LINE} COMP_WORDS=(\(line)) COMP_TYPE=9 COMPREPLY=()
                    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
                    _lunette lunette "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
                    echo "${COMPREPLY[@]}"

                    """
            }
            let said = try await Command(["bash", "--norc", "-c", source], environment: environment, workdir: home.folder).run()
            #expect(said.lines.map { $0.split(separator: " ").map(String.init).sorted() } == Self.lines.map(\.words), "\(said.errorText)")
        }
    }

    @Test(.requires(.command("fish"))) func fishCompletes() async throws {
        try await withNames { home, environment in
            for (line, words) in Self.lines {
                let said = try await Command(
                    ["fish", "--no-config", "-c", "lunette completion fish | source; complete -C '\(line)'"], environment: environment,
                    workdir: home.folder
                ).run()
                // A tab and a description may follow.
                let found = said.lines.compactMap { $0.split(separator: "\t").first.map(String.init) }
                #expect(found.sorted() == words, "\(line): \(said.text) \(said.errorText)")
            }
        }
    }

    @Test(.requires(.command("zsh"), .command("tmux"))) func zshCompletes() async throws {
        try await withNames { home, environment in
            let functions = "\(home.folder)/functions"
            try FileManager.default.createDirectory(atPath: functions, withIntermediateDirectories: true)
            let script = try await Command([LunetteHome.binary, "completion", "zsh"]).run()
            try script.stdout.write(to: URL(fileURLWithPath: "\(functions)/_lunette"))
            let terminal = try await Terminal(
                home, line: "zsh -f", environment: environment.compactMapValues { $0 }, columns: 100, rows: 30)
            try await terminal.enter("fpath=(\(functions) $fpath); autoload -U compinit; compinit -u -D; PS1='zsh> '; clear")
            try await terminal.waits(at: "zsh>")
            for (line, words) in Self.lines {
                try await terminal.type(line)
                try await terminal.press("Tab")
                if words.count == 1 {
                    let whole = line.split(separator: " ").dropLast().joined(separator: " ") + " " + words[0]
                    // A colon is quoted where a description could follow it.
                    try await terminal.shows(whole) { $0.replacingOccurrences(of: "\\", with: "").contains("zsh> \(whole)") }
                } else {
                    for word in words { try await terminal.shows(word) }
                }
                try await terminal.press("C-c")
                try await terminal.enter("clear")
                try await terminal.waits(at: "zsh>")
            }
        }
    }
}
