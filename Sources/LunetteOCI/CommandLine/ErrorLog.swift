internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Says what went wrong, where engines look for it: the last error of `--log`, in logrus' two formats, and stderr.
struct ErrorLog: Sendable {
    var path: String?
    var format: GlobalOptions.LogFormat
    var isDebug: Bool

    init(_ options: GlobalOptions) {
        path = options.log
        format = options.logFormat
        isDebug = options.isDebug
    }

    /// One line for a log: the message with its hint.
    static func line(_ error: LunetteError) -> String {
        error.hint.map { "\(error.description) (\($0))" } ?? error.description
    }

    /// Makes the file, so that whoever gave it finds one, and so that nothing is done that couldn't be told of.
    /// - Throws: what open(2) answers; the log is stderr alone then.
    mutating func prepare() throws(LunetteError) {
        guard let path, !path.isEmpty else { return }
        do throws(SystemCallError) { try Self.open(path).close() } catch {
            self.path = nil
            var failure = error.lunette
            failure.message = "--log: \(failure.message)"
            failure.hint = "give a file in a folder that is there and may be written to"
            throw failure
        }
    }

    private static func open(_ path: String) throws(SystemCallError) -> FileDescriptor {
        let fd = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard fd >= 0 else { throw SystemCallError("open", path, errno: errno) }
        return FileDescriptor(owning: fd)
    }

    func fail(_ error: LunetteError) {
        write("error", Self.line(error))
        say(error.description)
        if let hint = error.hint { writeToStandardError("hint: \(ControlCharacters.shown(hint))\n") }
    }

    /// Something that doesn't end the command.
    func warn(_ message: String) {
        write("warning", message)
        if path == nil { say("warning: \(message)") }
    }

    func debug(_ message: @autoclosure () -> String) {
        guard isDebug else { return }
        let message = message()
        write("debug", message)
        if path == nil { say(message) }
    }

    /// One line on stderr, which may be a terminal: what a message quotes is a bundle's or an image's word.
    private func say(_ message: String) { writeToStandardError("lunette-oci: \(ControlCharacters.shown(message))\n") }

    private func write(_ level: String, _ message: String) {
        guard let path, !path.isEmpty else { return }
        // Line feeds are JSON's to write; what JSON leaves as it is would reach the terminal of whoever reads the log.
        let message = message.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .map { ControlCharacters.shown(String($0)) }.joined(separator: "\n")
        // The form of the engines' own: seconds, not fractions.
        let time = Timestamp.text(SystemClock.now).prefix(19) + "Z"
        let entry: String
        switch format {
        case .json:
            entry = JSON.encode(["level": .string(level), "msg": .string(message), "time": .string(String(time))])
        case .text: entry = "time=\"\(time)\" level=\(level) msg=\(JSON.encode(.string(message)))"
        }
        do throws(SystemCallError) { try Self.open(path).writeAll(Array((entry + "\n").utf8)) } catch {
            say("write the log \(path): \(error)")
        }
    }
}

/// Best effort: there is nobody left to tell.
func writeToStandardError(_ text: String) { writeWhole(2, text) }

/// What a command prints.
/// - Throws: what write(2) answers, so that `state > /dev/full` fails.
func printOut(_ text: String) throws(LunetteError) {
    guard writeWhole(1, text.hasSuffix("\n") ? text : text + "\n") else {
        throw LunetteError(.io, "write to stdout: \(errnoText(errno))", errno: errno)
    }
}

@discardableResult
private func writeWhole(_ fd: Int32, _ text: String) -> Bool {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let wrote = bytes.withUnsafeBytes { write(fd, $0.baseAddress, $0.count) }
        if wrote < 0 {
            if errno == EINTR { continue }
            return false
        }
        bytes = bytes.dropFirst(wrote)
    }
    return true
}
