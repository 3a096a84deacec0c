internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Who gets the master of the program's terminal.
enum TerminalOwner: Sendable {
    /// The program has no terminal.
    case none
    /// The listener at `--console-socket`, by SCM_RIGHTS (runc's protocol, docs/terminals.md there).
    case socket(UnixSocket)
    /// We relay it ourselves.
    case foreground

    /// - Parameter field: what asks for the terminal, for messages.
    /// - Throws: `invalid_argument` for combinations that runc refuses too, and for a relay without a person: the end of another stdin can't be told
    ///   to a program through its terminal, so that a shell there would never end. What connect(2) answers.
    init(terminal: Bool, consoleSocket: String?, isDetached: Bool, field: String = "process.terminal") throws(LunetteError) {
        guard let consoleSocket else {
            if terminal, isDetached {
                throw LunetteError(
                    .invalidArgument, "a detached process with a terminal needs somebody who gets it",
                    hint: "give --console-socket, or process.terminal=false")
            }
            if terminal, isatty(0) != 1 {
                throw LunetteError(
                    .invalidArgument, "a process with a terminal in the foreground needs stdin to be one", path: field,
                    hint: "\(field == "--tty" ? "leave it out" : "say process.terminal=false"), or give --detach with --console-socket")
            }
            self = terminal ? .foreground : .none
            return
        }
        guard terminal, isDetached else {
            throw LunetteError(.invalidArgument, "--console-socket is for a detached process with a terminal")
        }
        self = .socket(
            try atBorder(
                "connect to the console socket", { () throws(SystemCallError) in try UnixSocket.connect(consoleSocket, kind: .stream) }))
    }
}
