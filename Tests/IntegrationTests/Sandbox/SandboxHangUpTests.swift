import Foundation
import LunetteTesting
import Testing

/// A sandbox doesn't outlive the terminal that it was started at, nor whoever is told to end.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("setpriv"), .command("gcc"), .command("tmux")))
struct SandboxHangUpTests {
    private func alive(_ place: SandboxPlace, _ names: [String]) -> [String] {
        let pids = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int32($0) } ?? []
        return pids.compactMap { pid in
            let words = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            let name = (place.contents("/proc/\(pid)/comm") ?? "").trimmingCharacters(in: .newlines)
            // Gone but for its parent.
            guard !words.isEmpty, names.contains(name) else { return nil }
            let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
            return environment.range(of: Data("HOME=\(place.home)".utf8)) == nil ? nil : name
        }
    }

    /// Runs a shell line in a terminal whose session a shell leads that takes no hang-up, as su's and runuser's parent does.
    private func withTerminal(_ place: SandboxPlace, _ line: String, _ body: ([String]) async throws -> Void) async throws {
        let tmux = ["tmux", "-S", "\(place.folder)/tmux", "-f", "/dev/null"]
        try Data("trap '' HUP\n\(line)\n:\n".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/line"))
        let environment = "HOME=\(place.home) XDG_RUNTIME_DIR=\(place.home) PATH=\(place.folder)/bin:/usr/bin:/bin"
        let words = place.command(["sh", "line"]).arguments.joined(separator: " ")
        try await Command(tmux + ["new-session", "-d", "cd \(place.tree); exec env -u LUNETTE_SHIM \(environment) \(words)"]).run()
        var failure: (any Error)?
        do {
            try await eventually("the program runs", within: .seconds(60)) { alive(place, ["sleep"]) == ["sleep"] }
            try await body(tmux)
        } catch { failure = error }
        _ = try await Command(tmux + ["kill-server"]).run(expecting: nil)
        if let failure { throw failure }
    }

    @Test(arguments: SandboxCaller.allCases)
    func aSandboxEndsWithItsTerminalThoughSomebodyElseLeadsTheSession(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await withTerminal(place, "lunette sandbox -- sleep 600") { tmux in
                try await Command(tmux + ["kill-server"]).run()
                try await eventually("nothing is left", within: .seconds(20)) {
                    alive(place, ["sleep", "lunette", "lunette-shim", "sh"]).isEmpty
                }
            }
        }
    }

    /// Without a terminal of its own the program has the caller's; nobody sends it a hang-up where somebody else leads the session.
    @Test(arguments: SandboxCaller.allCases)
    func aSharedTerminalsEndIsTheSandboxsToo(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            // The first says that it was told; the second takes no notice.
            for program in ["trap 'echo told > told; exit' HUP; sleep 600 & wait", "trap '' HUP; sleep 600; sleep 601"] {
                let line = "lunette sandbox --no-tty -- sh -c '\(program.replacingOccurrences(of: "'", with: "'\\''"))'"
                try await withTerminal(place, line) { tmux in
                    try await Command(tmux + ["kill-server"]).run()
                    try await eventually("nothing is left", within: .seconds(20)) {
                        alive(place, ["sleep", "lunette", "lunette-shim", "sh"]).isEmpty
                    }
                }
            }
            #expect(place.contents("\(place.tree)/told") == "told\n")
        }
    }

    /// `lunette` may hear of the signal before it hears that the program runs, which then is killed instead of told.
    @Test func aSignalDuringTheLaunchIsTheProgramsOwn() async throws {
        try await withSandboxPlace(.root) { place in
            for _ in 0..<5 {
                let line = "trap 'echo told; exit 3' TERM; sleep 600 & wait"
                let running = try place.command(["\(place.folder)/bin/lunette", "sandbox", "--", "sh", "-c", line]).start()
                var shim: Int32?
                // A launch is over in milliseconds.
                while shim == nil, running.isRunning {
                    let children = place.contents("/proc/\(running.pid)/task/\(running.pid)/children") ?? ""
                    // Before it executes its program its parent waits for that.
                    shim = children.split(separator: " ").first.flatMap { Int32($0) }
                        .flatMap { place.contents("/proc/\($0)/comm") == "lunette-shim\n" ? $0 : nil }
                }
                let launching = try #require(shim)
                kill(launching, SIGSTOP)
                running.signal(SIGTERM)
                // It has taken the signal when none waits any more.
                try await eventually("the signal is taken") {
                    (place.contents("/proc/\(running.pid)/status") ?? "").contains("ShdPnd:\t0000000000000000")
                }
                kill(launching, SIGCONT)
                let ended = try await running.wait()
                // By its own trap, or by the signal where that isn't set yet.
                #expect([3, 128 + SIGTERM].contains(ended.code), "\(ended.code) \(ended.errorText)")
            }
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func whoeverIgnoresTheEndAtATerminalIsKilled(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let program = "sh -c 'trap \"\" TERM; sleep 600; sleep 601'"
            try await withTerminal(
                place, "sh -c 'echo $$ > pid; exec lunette sandbox -- \(program.replacingOccurrences(of: "'", with: "'\\''"))'"
            ) { _ in
                let pid = try #require(place.contents("\(place.tree)/pid").flatMap { Int32($0.trimmingCharacters(in: .newlines)) })
                kill(pid, SIGTERM)
                try await eventually("nothing is left", within: .seconds(20)) {
                    alive(place, ["sleep", "lunette", "lunette-shim"]).isEmpty
                }
            }
        }
    }
}
