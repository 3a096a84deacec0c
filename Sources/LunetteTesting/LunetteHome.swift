public import Foundation
import Glibc

/// A root and state folder of a test's own, and the built `lunette` run on them.
public final class LunetteHome: Sendable {
    /// Holds everything of this test; short, because a socket's path has 107 bytes at most.
    public let folder: String
    public let root: String
    public let state: String
    public let cleanUp = CleanUp()
    /// Whose engine it is; nil is root's.
    public let user: TestUser?

    /// The `lunette` that this build made (`LUNETTE_BINARY` names another).
    public static let binary: String = {
        if let named = ProcessInfo.processInfo.environment["LUNETTE_BINARY"] { return named }
        let runner = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return "\((runner as NSString).deletingLastPathComponent)/lunette"
    }()

    /// The package's folder: scripts and golden files are found from it.
    public static let package: String = {
        var folder = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { folder.deleteLastPathComponent() }
        return folder.path
    }()

    /// - Parameter user: nil takes what `TestUser.isWanted` says.
    init(user wanted: UserKind? = nil) throws {
        var template = Array("/tmp/l.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw CommandFailure("mkdtemp: errno \(errno)") }
        folder = String(cString: made)
        root = "\(folder)/r"
        state = "\(folder)/s"
        switch wanted ?? (TestUser.isWanted ? .withRange : .root) {
        case .root: user = nil
        case .withRange: user = try TestUser(folder: folder, hasRange: true)
        case .withoutRange: user = try TestUser(folder: folder, hasRange: false)
        }
    }

    /// The program and what stands in front of it: what a test puts into a line of its own.
    public var words: [String] { (user?.words ?? []) + [Self.binary] }

    /// The environment that moves all state here.
    public var environment: [String: String?] {
        ["LUNETTE_ROOT": root, "LUNETTE_STATE": state, "NO_COLOR": "1", "LUNETTE_FAULT": nil]
    }

    /// A `lunette` command on this home, not yet run.
    public func command(_ arguments: [String], environment extra: [String: String?] = [:], input: String? = nil) -> Command {
        Command(
            words + arguments, environment: environment.merging(extra) { $1 }, workdir: folder, input: input.map { Data($0.utf8) }
        )
    }

    /// Runs a `lunette` command to its end.
    /// - Parameter code: the exit code it must have; nil takes any.
    @discardableResult
    public func lunette(
        _ arguments: String..., input: String? = nil, environment: [String: String?] = [:], expecting code: Int32? = 0,
        timeout: Duration = .seconds(60)
    ) async throws -> Finished {
        try await command(arguments, environment: environment, input: input).run(expecting: code, timeout: timeout)
    }

    /// Writes a script to a file of its own and runs it.
    @discardableResult
    public func script(
        _ code: String, arguments: [String] = [], environment: [String: String?] = [:], expecting exit: Int32? = 0,
        timeout: Duration = .seconds(60)
    ) async throws -> Finished {
        try await scriptCommand(code, arguments: arguments, environment: environment).run(expecting: exit, timeout: timeout)
    }

    /// A script in a file of its own, not yet run.
    public func scriptCommand(_ code: String, arguments: [String] = [], environment: [String: String?] = [:]) throws -> Command {
        let path = "\(folder)/script-\(UUID().uuidString.prefix(8)).lua"
        try Data(code.utf8).write(to: URL(fileURLWithPath: path))
        return command([path] + arguments, environment: environment)
    }

    /// The engine's process id, when one runs on this home.
    public func enginePID() -> pid_t? { processes().first { $0.command.contains("daemon") }?.pid }

    /// The processes on this machine that name this home on their command line or in their working folder or files: ours and no one else's.
    public func processes() -> [(pid: pid_t, command: String)] {
        ProcessList.pids().compactMap { pid in
            guard pid != getpid() else { return nil }
            let command = ProcessList.file(pid, "cmdline")
            let isOurs = ProcessList.has(command, "\(folder)/") || ProcessList.has(ProcessList.file(pid, "environ"), "\(folder)/")
            return isOurs ? (pid, ProcessList.line(command)) : nil
        }
    }

    /// What is left of this home outside its own folder: processes and mounts, one line each.
    public func leaks() -> [String] {
        let mounts = ((try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? "")
            .split(separator: "\n").filter { $0.contains("\(folder)/") }.map { "mount: \($0)" }
        return mounts + (user?.processes() ?? []) + processes().map { "process \($0.pid): \($0.command)" }
    }

    func tearDown() async -> [String] {
        var failures = await cleanUp.run()
        if FileManager.default.fileExists(atPath: "\(root)/state.sqlite") {
            do {
                let left = try await lunette("ps", "-a", "-q", expecting: nil).lines
                if !left.isEmpty { _ = try await command(["rm", "-f"] + left).run(expecting: nil) }
            } catch { failures.append("removing containers: \(error)") }
        }
        if let engine = enginePID() { kill(engine, SIGTERM) }
        do {
            try await eventually("nothing of \(folder) runs or is mounted", within: .seconds(30)) { self.leaks().isEmpty }
        } catch {
            failures += leaks()
            for process in processes() { kill(process.pid, SIGKILL) }
        }
        if failures.isEmpty || ProcessInfo.processInfo.environment["LUNETTE_KEEP"] == nil {
            do { try removeTree(at: folder) } catch { failures.append("removing \(folder): \(error)") }
        }
        return failures
    }
}

/// Whose engine a test talks to.
public enum UserKind: Sendable, Hashable { case root, withRange, withoutRange }

/// Gives `body` a home of its own and takes it down afterwards.
/// - Parameter user: whose it is; nil takes what `TestUser.isWanted` says, which is root unless a suite says otherwise.
/// - Throws: what `body` throws; else a `CommandFailure` that names what was left behind.
public func withLunette<T>(_ user: UserKind? = nil, _ body: (LunetteHome) async throws -> T) async throws -> T {
    let home = try LunetteHome(user: user)
    let result: T
    do {
        result = try await body(home)
    } catch {
        let left = await home.tearDown()
        throw left.isEmpty ? error : CommandFailure("\(error)\nand then: \(left.joined(separator: "\n"))")
    }
    let left = await home.tearDown()
    guard left.isEmpty else { throw CommandFailure("left behind: \(left.joined(separator: "\n"))") }
    return result
}
