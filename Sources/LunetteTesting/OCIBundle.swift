import Foundation
import Glibc
public import LunetteSpec
import Synchronization

/// A bundle of a test's own: busybox and the probe as its root, a `config.json` as engines write it, and the runtime under test driven on it.
public final class OCIBundle: Sendable {
    /// Holds the bundle; short, because a socket's path has 107 bytes at most.
    public let folder: String
    public let rootfs: String
    /// The runtime's `--root`.
    public let root: String
    /// The container's id, different in every test: cgroups and locks are the machine's.
    public let id: String
    public let runtime: OCIRuntime
    /// Whose bundle and containers these are; nil is root's.
    public let user: TestUser?
    public let cleanUp = CleanUp()

    private let state: Mutex<State>
    private struct State {
        var config: Value
        var commands: [RunningCommand] = []
    }

    public init(runtime: OCIRuntime = .underTest, user kind: UserKind = .root) async throws {
        var template = Array("/tmp/lunette-b.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw CommandFailure("mkdtemp: errno \(errno)") }
        folder = String(cString: made)
        // Processes of a user namespace look the root up by path.
        chmod(folder, 0o755)
        rootfs = "\(folder)/rootfs"
        root = "\(folder)/state"
        id = "b" + folder.suffix(6)
        user = kind == .root ? nil : try TestUser(folder: folder, hasRange: kind == .withRange)
        self.runtime = user.map { OCIRuntime(path: runtime.path, prefix: $0.words + runtime.prefix, options: runtime.options) } ?? runtime
        state = Mutex(State(config: user.map(Self.rootless) ?? Self.standard))
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "mnt", "data"] {
            try FileManager.default.createDirectory(atPath: "\(rootfs)/\(name)", withIntermediateDirectories: true)
        }
        chmod("\(rootfs)/tmp", 0o1777)
        // Not what is in it: those are links to the machine's own files.
        if let user { chown(rootfs, user.uid, user.uid) }
        try Self.place(try await CProbe.container.path(), at: "\(rootfs)/probe")
        try Self.place("/bin/busybox", at: "\(rootfs)/bin/busybox")
        for applet in ["sh", "cat", "sleep", "true", "false", "env", "ls", "id"] {
            try FileManager.default.createSymbolicLink(atPath: "\(rootfs)/bin/\(applet)", withDestinationPath: "busybox")
        }
    }

    /// A hard link where it can be one: a copy of both takes 3 ms.
    private static func place(_ source: String, at path: String) throws {
        if link(source, path) == 0 { return }
        try FileManager.default.copyItem(atPath: source, toPath: path)
    }

    /// What engines ask for: all namespaces but user, cgroup and time; the usual mounts; root with every capability that tests need.
    public static let standard: Value = [
        "ociVersion": "1.0.2",
        "process": [
            "user": ["uid": 0, "gid": 0], "args": ["/probe", "ids"], "cwd": "/", "env": ["PATH=/bin:/usr/bin", "TERM=xterm"],
            "capabilities": [
                "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE", "CAP_MKNOD", "CAP_DAC_OVERRIDE"],
                "effective": [
                    "CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE", "CAP_MKNOD", "CAP_DAC_OVERRIDE",
                ],
                "permitted": [
                    "CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE", "CAP_MKNOD", "CAP_DAC_OVERRIDE",
                ],
            ],
        ],
        "root": ["path": "rootfs"],
        "mounts": [
            ["destination": "/proc", "type": "proc", "source": "proc"],
            [
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            ],
            [
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            ],
            [
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ],
        ],
        "linux": [
            "namespaces": [["type": "pid"], ["type": "network"], ["type": "ipc"], ["type": "uts"], ["type": "mount"]]
        ],
    ]

    /// The same for an ordinary user, with that user as its root, and the user's further ids where there are any.
    static func rootless(_ user: TestUser) -> Value {
        var map: [Value] = [["containerID": 0, "hostID": .int(Int64(user.uid)), "size": 1]]
        if let first = user.firstID { map.append(["containerID": 1, "hostID": .int(Int64(first)), "size": 65535]) }
        let own = standard["linux"]?["namespaces"]?.arrayValue ?? []
        return standard.merged(with: [
            "linux": ["namespaces": .array(own + [["type": "user"]]), "uidMappings": .array(map), "gidMappings": .array(map)]
        ])
    }

    /// The `config.json` that the next operation writes.
    public var config: Value {
        get { state.withLock { $0.config } }
        set { state.withLock { $0.config = newValue } }
    }

    /// Changes the configuration as a JSON Merge Patch would: tables key by key, null deletes, lists replace.
    public func change(_ change: Value) { state.withLock { $0.config = $0.config.merged(with: change) } }

    /// Adds mounts behind those that are there.
    public func mount(_ mounts: Value...) {
        change(["mounts": .array((config["mounts"]?.arrayValue ?? []) + mounts)])
    }

    /// Adds namespaces behind those that are there.
    public func namespace(_ namespaces: Value...) {
        change(["linux": ["namespaces": .array((config["linux"]?["namespaces"]?.arrayValue ?? []) + namespaces)]])
    }

    /// Leaves a kind of namespace out.
    public func withoutNamespace(_ type: String) {
        let kept = (config["linux"]?["namespaces"]?.arrayValue ?? []).filter { $0["type"] != .string(type) }
        change(["linux": ["namespaces": .array(kept)]])
    }

    public func write(_ name: String = "config.json") throws {
        try write(text: JSON.encode(config, pretty: true), name)
    }

    /// Writes a file of the bundle as it is given: for configurations that no encoder would write.
    public func write(text: String, _ name: String = "config.json") throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    }

    // MARK: the runtime's operations

    /// Any command of the runtime on this bundle's state.
    /// - Parameter code: the exit code it must have; nil takes any.
    @discardableResult
    public func call(_ arguments: String..., expecting code: Int32? = 0) async throws -> Finished {
        try await runtime.command(root: root, arguments, workdir: folder).run(expecting: code)
    }

    /// Runs the probe with these questions in a container of its own and takes the container away again.
    public func run(_ questions: String..., expecting code: Int32? = 0) async throws -> ProbeAnswers {
        change(["process": ["args": .array((["/probe"] + questions).map { .string($0) })]])
        return ProbeAnswers(try await run(expecting: code))
    }

    /// Runs what the configuration says to its end.
    @discardableResult
    public func run(expecting code: Int32? = 0) async throws -> Finished {
        try write()
        return try await runtime.command(root: root, ["run", "--bundle", folder, id], workdir: folder).run(expecting: code)
    }

    /// Creates the container; what its process writes is read with `output`.
    @discardableResult
    public func create(_ options: String..., id: String? = nil, expecting code: Int32? = 0) async throws -> Finished {
        try write()
        let running = try runtime.command(root: root, ["create", "--bundle", folder] + options + [id ?? self.id], workdir: folder).start()
        state.withLock { $0.commands.append(running) }
        let finished = try await running.wait()
        if let code, finished.code != code {
            throw CommandFailure("create: exit code \(finished.code), expected \(code)\n\(finished.text)\n\(finished.errorText)")
        }
        return finished
    }

    /// Starts what was created.
    @discardableResult
    public func start(expecting code: Int32? = 0) async throws -> Finished {
        try await runtime.command(root: root, ["start", id], workdir: folder).run(expecting: code)
    }

    /// The container's state as the runtime prints it.
    public func state(id: String? = nil) async throws -> Value {
        let printed = try await runtime.command(root: root, ["state", id ?? self.id], workdir: folder).run()
        return try JSON.decode(Array(printed.stdout), source: "state")
    }

    /// Waits until the state's status is `status`.
    public func becomes(_ status: String) async throws {
        try await eventually("\(id) is \(status)") { try await self.state()["status"] == .string(status) }
    }

    /// What the created container's process (and the runtime's `create` before it) has written to stdout.
    public var output: String { state.withLock { $0.commands.map(\.text).joined() } }
    /// What was written to stderr by `create` and the process.
    public var errors: String { state.withLock { $0.commands.map(\.errorText).joined() } }

    /// Waits until the created container's process has written `text`.
    public func says(_ text: String) async throws {
        try await eventually("the container says \(text); it said \(output)\(errors)") { self.output.contains(text) }
    }

    /// Says what `create` answers to a configuration that it must refuse, having checked that no container was made.
    /// - Returns: what it wrote.
    /// - Throws: `CommandFailure` when it was taken, or when something of it stayed.
    @discardableResult
    public func refusal(mentioning word: String? = nil) async throws -> String {
        let refused = try await create(expecting: nil)
        let said = "\(refused.text)\(refused.errorText)"
        if refused.code == 0 {
            try await call("delete", "--force", id, expecting: nil)
            throw CommandFailure("create took what it must refuse: \(said)")
        }
        let state = try await call("state", id, expecting: nil)
        if state.code == 0 { throw CommandFailure("create failed (\(said)) and left a container: \(state.text)") }
        if runtime.isLunette, let word, !said.contains(word) {
            throw CommandFailure("the refusal doesn't mention \(word): \(said)")
        }
        return said
    }

    // MARK: the end

    /// What is left of this container: processes, mounts and cgroups, one line each.
    public func leaks() -> [String] {
        let processes = ProcessList.pids().filter { $0 != getpid() }.compactMap { pid -> String? in
            // A process that is gone has none of these.
            let command = ProcessList.file(pid, "cmdline")
            // Empty: it has ended already, and whoever is its parent will look some time.
            if command.isEmpty { return nil }
            let place = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/root")) ?? ""
            let isOurs = ProcessList.has(command, folder) || place.hasPrefix(folder) || ProcessList.has(ProcessList.file(pid, "cgroup"), id)
            return isOurs ? "process \(pid): \(ProcessList.line(command))" : nil
        }
        let mounts = ((try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? "")
            .split(separator: "\n").filter { $0.contains(folder) }.map { "mount: \($0)" }
        return processes + (user?.processes() ?? []) + mounts + cgroups().map { "cgroup \($0)" }
    }

    /// The cgroups of this container, by the id in their names.
    public func cgroups() -> [String] { CgroupFolders.named(id) }

    func tearDown() async -> [String] {
        if FileManager.default.fileExists(atPath: "\(root)/\(id)") {
            // A container that is gone already is no failure; what it left behind is, below.
            _ = try? await call("delete", "--force", id, expecting: nil)
        }
        var failures = await cleanUp.run()
        do {
            try await eventually("nothing of \(folder) is left", within: .seconds(5)) { self.leaks().isEmpty }
        } catch {
            failures += leaks()
            for line in leaks() where line.hasPrefix("process ") {
                if let pid = pid_t(line.dropFirst(8).prefix { $0 != ":" }) { kill(pid, SIGKILL) }
            }
            for cgroup in cgroups() { rmdir(cgroup) }
        }
        if ProcessInfo.processInfo.environment["LUNETTE_KEEP"] == nil {
            do { try FileManager.default.removeItem(atPath: folder) } catch { failures.append("removing \(folder): \(error)") }
        }
        return failures
    }
}

/// Gives `body` a bundle of its own and takes it and its container away afterwards.
/// - Throws: what `body` throws; else a `CommandFailure` that names what was left behind.
public func withBundle<T>(
    on runtime: OCIRuntime = .underTest, user: UserKind = .root, _ body: (OCIBundle) async throws -> T
) async throws -> T {
    let bundle = try await OCIBundle(runtime: runtime, user: user)
    let result: T
    do {
        result = try await body(bundle)
    } catch {
        let left = await bundle.tearDown()
        throw left.isEmpty ? error : CommandFailure("\(error)\nand then: \(left.joined(separator: "\n"))")
    }
    let left = await bundle.tearDown()
    guard left.isEmpty else { throw CommandFailure("left behind: \(left.joined(separator: "\n"))") }
    return result
}

/// Finds cgroups by name, in every hierarchy.
public enum CgroupFolders {
    /// - Returns: the folders whose name has `id` in it.
    public static func named(_ id: String) -> [String] {
        var found: [String] = []
        // As deep as runtimes and drivers nest them.
        for depth in 0..<5 {
            var matches = glob_t()
            defer { globfree(&matches) }
            guard glob("/sys/fs/cgroup/\(String(repeating: "*/", count: depth))*\(id)*", GLOB_ONLYDIR, nil, &matches) == 0 else { continue }
            for index in 0..<Int(matches.gl_pathc) { matches.gl_pathv[index].map { found.append(String(cString: $0)) } }
        }
        return found
    }
}
