import Foundation
import LunetteTesting
import Testing

/// A sandbox at a real terminal: its own, with job control; ours stays ours.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("setpriv"), .command("gcc")))
struct SandboxTerminalTests {
    /// A shell line at a terminal of 33 × 77; what it shows, without carriage returns.
    private func atTerminal(_ place: SandboxPlace, _ line: String) async throws -> [String] {
        let lunette = "\(place.folder)/bin/lunette"
        let text = try await place.command(
            ["script", "-qec", "stty rows 33 cols 77; lunette() { \(lunette) \"$@\"; }; \(line)", "/dev/null"]
        ).run(expecting: nil).text
        // Our input has ended, which script(1) types as a NUL.
        return text.replacingOccurrences(of: "\r", with: "").replacingOccurrences(of: "^@", with: "").split(separator: "\n").map(
            String.init)
    }

    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func theProgramHasATerminalOfItsOwn(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let lines = try await atTerminal(
                place, "tty; lunette sandbox -- sh -c 'tty; stty size; test -t 2 && echo errors; ls -1 /dev/pts; exit 7'; echo code $?")
            // Ours, then its first of a devpts of its own.
            #expect(lines.first?.hasPrefix("/dev/pts/") == true)
            #expect(Array(lines.dropFirst()) == ["/dev/pts/0", "33 77", "errors", "0", "ptmx", "code 7"])
            let interactive = try await atTerminal(place, "lunette sandbox -- bash --norc -ic 'sleep 600 & kill %1; wait; echo end' 2>&1")
            #expect(!interactive.contains { $0.contains("no job control") }, "\(interactive)")
            #expect(interactive.last == "end")
        }
    }

    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func streamsThatAreNoTerminalStayAsTheyAre(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            // Errors beside the terminal; a pipe behind it; a pipe before it.
            let line = "sh -c 'test -t 1 && echo terminal; echo told >&2' 2> told; cat told"
            let errors = try await atTerminal(place, "lunette sandbox -- \(line)")
            #expect(errors == ["terminal", "told"])
            let behind = try await atTerminal(place, "lunette sandbox -- sh -c 'test -t 1 || echo piped' | cat")
            #expect(behind == ["piped"])
            let before = try await atTerminal(place, "echo in | lunette sandbox -- sh -c 'test -t 0 || cat'")
            #expect(before == ["in"])
            let shared = try await atTerminal(place, "lunette sandbox --no-tty -- sh -c 'tty; echo x > /dev/tty || echo none'")
            #expect(shared.last == "none")
        }
    }

    /// All of it is shown though the program ends at once, and what is closed on the way may be opened again.
    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func outputIsWhole(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let lines = try await atTerminal(place, "lunette sandbox -- seq 1 20000")
            #expect(lines.count == 20000 && lines.last == "20000")
            let again = try await atTerminal(
                place, "lunette sandbox -- sh -c 'exec <&- >&- 2>&-; sh -c \"echo again\" > /dev/tty; exit 4'; echo code $?")
            #expect(again == ["again", "code 4"])
        }
    }

    /// In the background nothing is read that was typed for somebody else: the kernel would stop an ordinary program, and has no reason to stop
    /// one whose terminal it isn't.
    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func inTheBackgroundTheKeyboardIsNotTheirs(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let line = "set -m; \(place.folder)/bin/lunette sandbox -- sh -c 'cat; test -t 1 && echo shown' < /dev/tty & wait; echo end"
            try Data(line.utf8).write(to: URL(fileURLWithPath: "\(place.tree)/line"))
            #expect(try await atTerminal(place, "bash line").suffix(2) == ["shown", "end"])
        }
    }

    /// Stopped, we would see no rule go that is replaced outside.
    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func whoGuardsARuleIsNotStopped(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["sh", "-c", "echo secret > .env; echo new > new"]).run()
            let lunette = "\(place.folder)/bin/lunette"
            let line = """
                echo $$ > pid; exec \(lunette) sandbox --allow-write . --hide .env -- sh -c 'echo up; while ! test -s line; do sleep 0.05; done; sleep 1; cat .env'
                """
            try Data(line.utf8).write(to: URL(fileURLWithPath: "\(place.tree)/run"))
            let outside = "(sleep 1; kill -TSTP $(cat pid); sleep 0.3; mv new .env; echo go > line)"
            let lines = try await atTerminal(place, "\(outside) & timeout --foreground 20 sh run; echo code $?")
            #expect(lines.first == "up" && lines.last == "code 125", "\(lines)")
            #expect(!lines.contains("new"), "\(lines)")
        }
    }

    /// Our terminal is as it was, however it ended.
    @Test(.requires(.command("script")), arguments: SandboxCaller.allCases)
    func theModeOfOurTerminalComesBack(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let modes = "stty -a | grep -oE '.?(icanon|echo|isig|opost)( |$)' | tr -d '\\n'; echo"
            for sandbox in [
                "sandbox -- stty raw -echo", "sandbox --timeout 300ms -- sleep 600", "sandbox -- no-such-program",
                "sandbox -- sh -c 'kill -9 $$'",
            ] {
                let lines = try await atTerminal(place, "\(modes); lunette \(sandbox) > /dev/tty 2>&1; \(modes)")
                #expect(lines.count >= 2 && lines.first == lines.last, "\(sandbox): \(lines)")
            }
        }
    }

    /// As a person: a shell, a program that is stopped and continued, Ctrl-C, a window that changes its size, and ourselves in the background.
    @Test(.requires(.command("tmux")), arguments: SandboxCaller.allCases)
    func keysAndSizesReachTheProgram(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let tmux = ["tmux", "-S", "\(place.folder)/tmux", "-f", "/dev/null"]
            func screen() async throws -> String { try await Command(tmux + ["capture-pane", "-p"]).run().text }
            func type(_ keys: String...) async throws { try await Command(tmux + ["send-keys"] + keys).run() }
            func shows(_ text: String) async throws {
                try await eventually("\"\(text)\" is shown", within: .seconds(60)) { try await screen().contains(text) }
            }
            let words = place.command(["sh"]).arguments.joined(separator: " ")
            let environment = "HOME=\(place.home) XDG_RUNTIME_DIR=\(place.home) PS1='host> ' PATH=\(place.folder)/bin:/usr/bin:/bin"
            try await Command(
                tmux + ["new-session", "-d", "-x", "100", "-y", "30", "cd \(place.tree); env -u LUNETTE_SHIM \(environment) \(words)"]
            ).run()
            do {
                try await shows("host>")
                // What is waited for isn't in what is typed; a key is for the program once the program itself has said something.
                try await type("lunette sandbox --env PS1='in''side> ' -- sh", "Enter")
                try await shows("inside>")
                try await type("sh -c 'echo asleep; exec sleep 600'", "Enter")
                try await shows("\nasleep")
                try await type("C-z")
                try await shows("Stopped")
                try await type("bg; kill %1; wait; echo ended", "Enter")
                try await shows("\nended")
                try await type("sh -c 'echo reading; exec cat'", "Enter")
                try await shows("\nreading")
                try await type("C-c")
                // It takes along what was typed and not yet read.
                try await shows("^C\ninside>")
                try await type("echo code $?", "Enter")
                try await shows("\ncode 130")
                try await Command(tmux + ["resize-window", "-x", "71", "-y", "22"]).run()
                try await eventually("the new size", within: .seconds(60)) {
                    try await type("clear; stty size", "Enter")
                    return try await screen().contains("22 71")
                }
                try await type("clear; exit 5", "Enter")
                try await shows("host>")
                try await type("echo left $?", "Enter")
                try await shows("left 5")
            } catch {
                _ = try await Command(tmux + ["kill-server"]).run(expecting: nil)
                throw error
            }
            _ = try await Command(tmux + ["kill-server"]).run(expecting: nil)
        }
    }
}
