import Glibc
import LunetteSpec
import Synchronization

struct TerminalSize: Equatable, Sendable {
    var rows: Int
    var columns: Int

    /// - Returns: nil when the descriptor is no terminal, or one that doesn't know its size.
    static func of(_ fd: Int32) -> TerminalSize? {
        var size = winsize()
        guard ioctl(fd, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return nil }
        return TerminalSize(rows: Int(size.ws_row), columns: Int(size.ws_col))
    }
}

/// Puts the user's terminal into raw mode and back, on whichever path the process leaves.
enum TerminalMode {
    private static let saved = Mutex<termios?>(nil)

    /// Every key goes to the container from here on, Ctrl-C too.
    static func makeRaw() {
        remember()
        guard var mode = saved.withLock({ $0 }) else { return }
        cfmakeraw(&mode)
        tcsetattr(0, TCSADRAIN, &mode)
    }

    /// Takes note of the mode as it is, to be restored at exit.
    static func remember() {
        let isNew = saved.withLock { saved in
            guard saved == nil else { return false }
            var mode = termios()
            guard tcgetattr(0, &mode) == 0 else { return false }
            saved = mode
            return true
        }
        if isNew { atexit { TerminalMode.restore() } }
    }

    private static let hasOwnScreen = Mutex(false)

    /// Switches to the terminal's second screen, which leaves what is on the first alone, or back.
    static func useOwnScreen(_ isOwn: Bool) {
        let isNew = hasOwnScreen.withLock { current in
            defer { current = isOwn }
            return current != isOwn
        }
        // The cursor would only jump about there.
        if isNew { Output.write(1, Array((isOwn ? "\u{1b}[?1049h\u{1b}[?25l\u{1b}[2J" : "\u{1b}[?25h\u{1b}[?1049l").utf8)) }
    }

    /// Safe to call more than once, and at exit.
    static func restore() {
        useOwnScreen(false)
        saved.withLock { mode in
            guard var before = mode else { return }
            tcsetattr(0, TCSADRAIN, &before)
            mode = nil
        }
    }
}
