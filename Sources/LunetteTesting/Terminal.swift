import Foundation

/// Terminals that tmux keeps: what a test types into, and whose screens it reads.
public struct Terminal: Sendable {
    private let socket: String
    private let home: LunetteHome
    public let name: String

    /// Opens a terminal that runs a line of shell.
    /// - Parameters:
    ///   - name: of the session, unique in the home.
    ///   - line: runs with the home's environment; when it has ended, the screen says `left CODE` and stays.
    ///   - environment: on top of the home's.
    public init(
        _ home: LunetteHome, name: String = "t", line: String, environment: [String: String] = [:], columns: Int = 110, rows: Int = 40
    ) async throws {
        socket = "\(home.folder)/tmux"
        self.home = home
        self.name = name
        let tmux = ["tmux", "-S", socket]
        home.cleanUp.add("end tmux") { _ = try await Command(tmux + ["kill-server"]).run(expecting: nil) }
        let settings = home.environment.compactMapValues { $0 }.merging(["HOME": home.folder]) { $1 }.merging(environment) { $1 }
        let words = settings.map { "\($0)='\($1)'" }.sorted().joined(separator: " ")
        try await Command(
            tmux + [
                "new-session", "-d", "-s", name, "-x", "\(columns)", "-y", "\(rows)", "-c", home.folder,
                "env \(words) \(line); echo left $?; exec cat",
            ]
        ).run()
    }

    /// What the screen shows, without blank lines at its end.
    /// - Parameter hasColours: with the escapes that set its colours.
    public func screen(hasColours: Bool = false) async throws -> String {
        // "=t:" is the session t; "t" alone may also be a window whose name begins so.
        let words = ["tmux", "-S", socket, "capture-pane", "-p", "-t", "=\(name):"] + (hasColours ? ["-e"] : [])
        let text = try await Command(words).run().text
        return String(text.reversed().drop { $0.isWhitespace }.reversed())
    }

    /// Sends text as it is.
    public func type(_ text: String) async throws {
        try await Command("tmux", "-S", socket, "send-keys", "-t", "=\(name):", "-l", text).run()
    }

    /// Sends keys by tmux's names (`Enter`, `Tab`, `C-c`).
    public func press(_ keys: String...) async throws {
        try await Command(["tmux", "-S", socket, "send-keys", "-t", "=\(name):"] + keys).run()
    }

    /// Sends a line with its newline.
    public func enter(_ line: String) async throws {
        try await type(line)
        try await press("Enter")
    }

    /// Waits for a text on the screen: one that isn't in what was typed.
    public func shows(_ text: String, within limit: Duration = .seconds(20)) async throws {
        try await shows(text, within: limit) { $0.contains(text) }
    }

    /// Waits until the screen is as described.
    public func shows(_ what: String, within limit: Duration = .seconds(20), _ isSo: (String) -> Bool) async throws {
        do {
            try await eventually("\(name) shows \(what)", within: limit) { isSo(try await screen()) }
        } catch { throw CommandFailure("\(error):\n\(try await screen())") }
    }

    /// Waits until the last line is the prompt alone.
    public func waits(at prompt: String, within limit: Duration = .seconds(20)) async throws {
        try await shows("the prompt \(prompt)", within: limit) { screen in
            screen.split(separator: "\n").last.map { $0.trimmingCharacters(in: .whitespaces) == prompt } ?? false
        }
    }
}
