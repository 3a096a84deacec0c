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

    /// - Throws: `invalid_argument` for combinations that runc refuses too; what connect(2) answers.
    init(terminal: Bool, consoleSocket: String?, isDetached: Bool) throws(LunetteError) {
        guard let consoleSocket else {
            if terminal, isDetached {
                throw LunetteError(
                    .invalidArgument, "a detached process with a terminal needs somebody who gets it",
                    hint: "give --console-socket, or process.terminal=false")
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
