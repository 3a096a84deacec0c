public import Foundation
import Glibc
import Synchronization

/// Says how a program ended and what it wrote.
public struct Finished: Sendable {
    /// The exit code, or 128 + n when signal n ended it.
    public let code: Int32
    /// The signal that ended it.
    public let signal: Int32?
    public let stdout: Data
    public let stderr: Data

    /// What it wrote to stdout, as text, without the last newline.
    public var text: String { Self.text(stdout) }
    /// What it wrote to stderr, as text, without the last newline.
    public var errorText: String { Self.text(stderr) }
    public var lines: [String] { text.isEmpty ? [] : text.components(separatedBy: "\n") }

    private static func text(_ data: Data) -> String {
        var text = String(decoding: data, as: UTF8.self)
        if text.hasSuffix("\n") { text.removeLast() }
        return text
    }
}

/// A test's own failure to run something: the message carries what the program said.
public struct CommandFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Describes a program to run. stdout and stderr go to files, so that a background child holding them open holds up nothing.
public struct Command: Sendable {
    public var arguments: [String]
    /// Added to this process's environment; nil removes a name.
    public var environment: [String: String?]
    public var workdir: String?
    /// What it reads from stdin; nil is /dev/null.
    public var input: Data?

    public init(_ arguments: [String], environment: [String: String?] = [:], workdir: String? = nil, input: Data? = nil) {
        self.arguments = arguments
        self.environment = environment
        self.workdir = workdir
        self.input = input
    }

    public init(_ arguments: String...) { self.init(arguments) }

    /// Runs a line of shell.
    public static func shell(_ line: String) -> Command { Command(["/bin/bash", "-euo", "pipefail", "-c", line]) }

    /// Runs it to its end.
    /// - Parameters:
    ///   - code: the exit code it must have; nil takes any.
    /// - Throws: `CommandFailure` when it can't be started, ends otherwise or takes longer than `timeout` (it is killed then).
    @discardableResult
    public func run(expecting code: Int32? = 0, timeout: Duration = .seconds(60)) async throws -> Finished {
        let running = try start()
        let finished = try await running.wait(timeout: timeout)
        if let code, finished.code != code {
            throw CommandFailure("\(line): exit code \(finished.code), expected \(code)\n\(finished.text)\n\(finished.errorText)")
        }
        return finished
    }

    /// Starts it in a process group of its own.
    public func start() throws -> RunningCommand { try RunningCommand(self) }

    var line: String { arguments.joined(separator: " ") }
}

/// A program under way.
public final class RunningCommand: Sendable {
    public let pid: pid_t
    private let command: Command
    private let folder: String
    private let ended: Mutex<End>

    private struct End {
        var status: Int32?
        var waiting: [CheckedContinuation<Int32, Never>] = []
    }

    fileprivate init(_ command: Command) throws {
        var template = Array("/tmp/lunette-command.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw CommandFailure("mkdtemp: errno \(errno)") }
        folder = String(cString: made)
        self.command = command
        if let input = command.input { try input.write(to: URL(fileURLWithPath: "\(folder)/stdin")) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let source = command.input == nil ? "/dev/null" : "\(folder)/stdin"
        posix_spawn_file_actions_addopen(&actions, 0, source, O_RDONLY, 0)
        // Appending, so that two descriptors on one file would not overwrite each other.
        posix_spawn_file_actions_addopen(&actions, 1, "\(folder)/stdout", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "\(folder)/stderr", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        _ = addCloseFrom(&actions, 3)
        if let workdir = command.workdir { _ = addChangeFolder(&actions, workdir) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // What the test runner ignores or blocks is none of the program's business.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var environment = ProcessInfo.processInfo.environment
        for (name, value) in command.environment { environment[name] = value }
        guard let program = command.arguments.first.flatMap(Programs.find) else {
            throw CommandFailure("\(command.line): no such program")
        }
        var spawned: pid_t = 0
        let failure = withCStrings(command.arguments) { arguments in
            withCStrings(environment.map { "\($0)=\($1)" }) { environment in
                posix_spawn(&spawned, program, &actions, &attributes, arguments, environment)
            }
        }
        guard failure == 0 else { throw CommandFailure("\(command.line): spawn: errno \(failure)") }
        pid = spawned
        ended = Mutex(End())
        let pid = spawned
        // A thread of its own: waitpid blocks, and the cooperative pool must not.
        Thread.detachNewThread { [self] in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
            let waiting = ended.withLock { end in
                end.status = status
                defer { end.waiting = [] }
                return end.waiting
            }
            for continuation in waiting { continuation.resume(returning: status) }
        }
    }

    // Best effort: it lies in the temporary folder.
    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// What it has written to stdout so far.
    public var stdout: Data { FileManager.default.contents(atPath: "\(folder)/stdout") ?? Data() }
    /// What it has written to stderr so far.
    public var stderr: Data { FileManager.default.contents(atPath: "\(folder)/stderr") ?? Data() }
    public var text: String { String(decoding: stdout, as: UTF8.self) }
    public var errorText: String { String(decoding: stderr, as: UTF8.self) }
    public var isRunning: Bool { ended.withLock { $0.status == nil } }

    /// Sends a signal to the program, not to its group.
    public func signal(_ number: Int32) { ended.withLock { if $0.status == nil { kill(pid, number) } } }

    /// Waits for its end.
    /// - Throws: `CommandFailure` after `timeout`, having killed its process group.
    public func wait(timeout: Duration = .seconds(60)) async throws -> Finished {
        let overdue = Mutex(false)
        let watchdog = Task { [pid] in
            try await Task.sleep(for: timeout)
            overdue.withLock { $0 = true }
            kill(-pid, SIGKILL)
        }
        let status = await withCheckedContinuation { continuation in
            let known = ended.withLock { end -> Int32? in
                if end.status == nil { end.waiting.append(continuation) }
                return end.status
            }
            if let known { continuation.resume(returning: known) }
        }
        watchdog.cancel()
        if overdue.withLock({ $0 }) {
            throw CommandFailure("\(command.line): still running after \(timeout)\n\(text)\n\(errorText)")
        }
        let signal = status & 0x7f
        return Finished(
            code: signal == 0 ? (status >> 8) & 0xff : 128 + signal, signal: signal == 0 ? nil : signal, stdout: stdout, stderr: stderr
        )
    }

    /// Waits until stdout or stderr holds `text`.
    /// - Throws: `CommandFailure` when it ends or `within` passes before.
    public func says(_ text: String, within: Duration = .seconds(20)) async throws {
        do {
            try await eventually("\(command.line) says \"\(text)\"", within: within) {
                if self.text.contains(text) || self.errorText.contains(text) { return true }
                if !self.isRunning { throw CommandFailure("it ended") }
                return false
            }
        } catch {
            throw CommandFailure("\(error)\nstdout: \(self.text)\nstderr: \(self.errorText)")
        }
    }
}

private func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
    let pointers = strings.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    return body(pointers + [nil])
}

// glibc has these only under _GNU_SOURCE, which Swift's Glibc module doesn't set.
@_silgen_name("posix_spawn_file_actions_addclosefrom_np")
private func addCloseFrom(_ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ fd: Int32) -> Int32
@_silgen_name("posix_spawn_file_actions_addchdir_np")
private func addChangeFolder(_ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ path: UnsafePointer<CChar>) -> Int32
