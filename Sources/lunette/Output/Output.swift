import Glibc
import LunetteLinux
import LunetteSpec

/// Writes whole texts to the standard streams, without Foundation and without losing half of one.
enum Output {
    static func print(_ text: String, terminator: String = "\n") { write(1, Array((text + terminator).utf8)) }
    static func note(_ text: String) { write(2, Array((text + "\n").utf8)) }

    /// - Returns: false when nobody reads any more.
    @discardableResult
    static func write(_ fd: Int32, _ bytes: [UInt8]) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            if count >= 0 {
                offset += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Someone who shares the descriptor made it non-blocking.
                var waiting = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                poll(&waiting, 1, -1)
            default: return false
            }
        }
        return true
    }

    static func isTerminal(_ fd: Int32) -> Bool { isatty(fd) == 1 }

    /// Colour is for terminals whose owner hasn't declined it (https://no-color.org).
    static func hasColor(_ fd: Int32) -> Bool { isTerminal(fd) && Environment["NO_COLOR"] == nil && Environment["TERM"] != "dumb" }
}

/// Says on stderr what failed: one line, then the hint, with `--verbose` the causes.
enum ErrorPrinter {
    static func print(_ error: LunetteError, settings: Settings) {
        for line in error.lines(isVerbose: settings.isVerbose, hasColor: Output.hasColor(2)) { Output.note(line) }
    }
}
