import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting

/// Starts `lunette-shim` with a plan made by hand and talks to it, so that what the shim does is tested without an engine.
///
/// Not Sendable: one test holds one. Blocks its thread; every wait has an end (`patience`).
final class ShimHarness {
    struct Failed: Error, CustomStringConvertible { let description: String }

    static let patience: Int64 = 20_000
    static let idBase: UInt32 = 1_900_000_000

    let folder: String
    var store: String { folder + "/store" }
    var state: String { folder + "/state" }
    var container: String { folder + "/container" }
    private(set) var shim: ProcessDescriptor?
    private(set) var control: Int32 = -1
    private var nextID: UInt32 = 1
    /// On the shim's command line, which its stages share.
    var name = "test"
    /// What stands in front of the shim: absolute path first. Descriptors pass through it.
    var wrapper: [String] = []

    /// Makes a store with one layer that holds busybox, and the folders that an engine would make.
    init() throws {
        var template = Array("/var/tmp/lunette-shim-test.XXXXXX\0".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failed(description: "mkdtemp: \(errno)") }
        folder = String(cString: made)
        for name in [
            "store", "store/layer", "store/upper", "store/work", "state", "container", "store/layer/bin", "store/layer/etc",
            "store/layer/tmp",
        ] {
            guard mkdir("\(folder)/\(name)", name.hasSuffix("tmp") ? 0o1777 : 0o755) == 0 else {
                throw Failed(description: "mkdir \(name): \(errno)")
            }
            // An engine in another test of this process may have set the umask.
            chmod("\(folder)/\(name)", name.hasSuffix("tmp") ? 0o1777 : 0o755)
        }
        try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: "\(store)/layer/bin/busybox")
        for applet in [
            "sh", "true", "false", "cat", "echo", "id", "ls", "mount", "umount", "kill", "sleep", "touch", "hostname", "stty", "tty",
            "test", "wc", "head",
            "grep", "readlink", "mkdir", "dd", "yes", "ip", "ps", "stat", "seq", "env", "pwd",
        ] {
            try FileManager.default.createSymbolicLink(atPath: "\(store)/layer/bin/\(applet)", withDestinationPath: "busybox")
        }
        try write("root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n", "etc/passwd")
        try write("root:x:0:\nbob:x:1001:\nwheel:x:10:root,bob\naudio:x:29:bob\n", "etc/group")
    }

    /// Writes a file into the layer.
    func write(_ text: String, _ path: String, mode: mode_t = 0o644) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(store)/layer/\(path)"))
        chmod("\(store)/layer/\(path)", mode)
    }

    deinit {
        if control >= 0 {
            // An unstarted container would wait for its next engine.
            _ = try? send(header(LNT_MSG_ABORT))
            close(control)
        }
        if let shim {
            _ = shim.waitForExit(milliseconds: 2000)
            _ = try? shim.signal(SIGKILL)
            _ = try? shim.reap(block: true)
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// The shim that was built beside the tests.
    static var program: String {
        if let path = ProcessInfo.processInfo.environment["LUNETTE_SHIM"] { return path }
        return (CommandLine.arguments[0] as NSString).deletingLastPathComponent + "/lunette-shim"
    }

    static let nullDevice = HostSource.path("/dev/null")

    /// A usual plan: own namespaces and id range, overlay, default mounts, some devices and masks.
    func plan(
        _ arguments: [String], userNamespace: Bool = true, user: String = "0", terminal: Bool = false,
        process change: (inout ProcessPlan) -> Void = { _ in }, monitor: MonitorPlan = MonitorPlan(),
        steps edit: (inout [LaunchStep]) -> Void = { _ in }
    ) -> LaunchPlan {
        let base = userNamespace ? Self.idBase : 0
        let mapping = [IDMapping(containerID: 0, hostID: base, size: 65536)]
        var create: NamespacePlan.Kinds = [.network, .ipc, .uts, .cgroup, .pid, .mount]
        if userNamespace { create.insert(.user) }
        let quiet: MountAttributes = [.nosuid, .nodev, .noexec]
        var steps: [LaunchStep] = [
            .namespaces(
                NamespacePlan(create: create, uidMappings: userNamespace ? mapping : [], gidMappings: userNamespace ? mapping : [])),
            .openTree(TreePlan(slot: 0, source: .path(store), mapping: userNamespace ? .container : .none, expectation: .directory)),
            .openOverlay(
                OverlayPlan(slot: 1, store: 0, lowers: ["layer"], upper: "upper", work: "work", ownerUID: base, ownerGID: base)),
        ]
        let devices: [(String, UInt32, UInt32)] = [("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9), ("tty", 5, 0)]
        for (index, device) in devices.enumerated() {
            steps.append(
                .openTree(
                    TreePlan(
                        slot: 2 + index, source: .path("/dev/\(device.0)"), attributes: [.nosuid, .noexec],
                        expectation: .characterDevice(major: device.1, minor: device.2))))
        }
        steps += [
            .setHostname("shimtest"), .raiseLoopback, .attachRoot(1),
            .mount(FilesystemPlan(type: "proc", target: "/proc", attributes: quiet)),
            .mount(
                FilesystemPlan(
                    type: "tmpfs", target: "/dev", options: [.init("mode", "755"), .init("size", "65536k")],
                    attributes: [.nosuid, .strictatime])),
            .mount(
                FilesystemPlan(
                    type: "devpts", target: "/dev/pts",
                    options: [.init("newinstance"), .init("ptmxmode", "0666"), .init("mode", "0620"), .init("gid", "5")],
                    attributes: [.nosuid, .noexec])),
            .mount(
                FilesystemPlan(
                    type: "tmpfs", target: "/dev/shm", options: [.init("mode", "1777"), .init("size", "65536k")], attributes: quiet)),
            .mount(FilesystemPlan(type: "mqueue", target: "/dev/mqueue", attributes: quiet)),
            .mount(FilesystemPlan(type: "sysfs", target: "/sys", attributes: quiet.union(.readonly))),
            .makeSymlink(path: "/dev/ptmx", target: "pts/ptmx"), .makeSymlink(path: "/dev/fd", target: "/proc/self/fd"),
            .makeSymlink(path: "/dev/stdout", target: "/proc/self/fd/1"), .makeSymlink(path: "/dev/stderr", target: "/proc/self/fd/2"),
        ]
        for (index, device) in devices.enumerated() { steps.append(.attach(AttachPlan(slot: 2 + index, target: "/dev/\(device.0)"))) }
        steps += [
            .writeSysctl(key: "net.ipv4.ping_group_range", value: "0 65535", optional: false), .pivotRoot, .maskPath("/proc/kcore"),
            .maskPath("/proc/keys"), .maskPath("/proc/acpi"), .maskPath("/sys/firmware"), .maskPath("/proc/not-there"),
            .makeReadonly("/proc/sys"),
            .makeReadonly("/proc/bus"),
        ]
        edit(&steps)
        var process = ProcessPlan(
            arguments: arguments, environment: ["PATH=/bin"], user: user, capabilities: CapabilityPlan(bounding: 0xa80425fb),
            terminal: terminal)
        change(&process)
        return LaunchPlan(containerID: "test", steps: steps, process: process, monitor: monitor)
    }

    // MARK: talking

    /// Spawns the shim with the plan; the gate stays closed.
    func spawn(_ plan: LaunchPlan, passed: [FileDescriptor] = []) throws {
        let memory = try SealedMemory.make("plan", try plan.encoded())
        try spawn(memory, passed: passed)
    }

    func spawn(_ plan: FileDescriptor, passed: [FileDescriptor] = []) throws {
        let (ours, theirs) = try UnixSocket.pair(kind: .packet)
        let folders = try [state, container].map { path in
            FileDescriptor(owning: try Self.checked(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path))
        }
        let words = wrapper + (wrapper.isEmpty ? ["lunette-shim"] : [Self.program]) + [name]
        var request = SpawnRequest(.path(wrapper.first ?? Self.program), arguments: words)
        request.descriptors = [nil, nil, nil, plan, theirs.descriptor] + folders + passed
        shim = try LunetteLinux.spawn(request)
        control = try ours.descriptor.duplicate().release()
        theirs.descriptor.close()
        ours.descriptor.close()
    }

    static func checked(_ result: Int32, _ what: String) throws -> Int32 {
        guard result >= 0 else { throw Failed(description: "\(what): errno \(errno)") }
        return result
    }

    /// Connects anew, as an engine does that adopts a container.
    func connect() throws -> Int32 {
        let socket = try UnixSocket.connect("\(state)/shim.sock", kind: .packet)
        let fd = try socket.descriptor.duplicate().release()
        socket.descriptor.close()
        return fd
    }

    func hangUp() {
        close(control)
        control = -1
    }

    func useConnection(_ fd: Int32) { control = fd }

    @discardableResult
    func send<Message: BitwiseCopyable>(_ message: Message, _ fds: [Int32] = []) throws -> UInt32 {
        var message = message
        let result = withUnsafeBytes(of: &message) { lnt_send(control, $0.baseAddress!, $0.count, fds, fds.count, 1) }
        guard result >= 0 else { throw Failed(description: "send: \(result)") }
        return nextID - 1
    }

    func header(_ type: lnt_message_type) -> lnt_message {
        defer { nextID += 1 }
        return lnt_message(type: type.rawValue, id: nextID)
    }

    /// The next packet of one of the types; others are passed over. nil when the shim has gone.
    func next(_ types: lnt_message_type...) throws -> [UInt8]? {
        while true {
            var poll = pollfd(fd: control, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, Int32(Self.patience)) > 0 else { throw Failed(description: "no message from the shim") }
            var buffer = [UInt8](repeating: 0, count: Int(LNT_MESSAGE_MAXIMUM))
            let count = recv(control, &buffer, buffer.count, 0)
            if count <= 0 { return nil }
            let type = buffer.withUnsafeBytes { $0.load(as: UInt32.self) }
            if types.contains(where: { $0.rawValue == type }) { return Array(buffer[..<count]) }
        }
    }

    func decode<Message>(_ bytes: [UInt8]?, as type: Message.Type) throws -> Message {
        guard let bytes else { throw Failed(description: "the shim has gone") }
        guard bytes.count >= MemoryLayout<Message>.size else { throw Failed(description: "a packet of \(bytes.count) bytes") }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: type) }
    }

    /// Waits for the gate; throws the failure as text when the launch fails.
    func created() throws -> lnt_state {
        let bytes = try next(LNT_MSG_CREATED, LNT_MSG_FAILED)
        if let bytes, bytes[0] == UInt8(LNT_MSG_FAILED.rawValue) {
            throw Failed(description: Self.describe(try decode(bytes, as: lnt_failure.self)))
        }
        return try decode(bytes, as: lnt_state.self)
    }

    func start(_ flags: lnt_attach_flags..., fds: [Int32] = []) throws {
        var message = lnt_attach()
        message.message = header(LNT_MSG_START)
        message.flags = flags.reduce(0) { $0 | $1.rawValue }
        try send(message, fds)
    }

    func attach(_ flags: lnt_attach_flags..., key: UInt8 = 0, fds: [Int32]) throws {
        try send(attachment(LNT_MSG_ATTACH, flags: flags.reduce(0) { $0 | $1.rawValue }, key: key), fds)
    }

    func detach(key: UInt8) throws { try send(attachment(LNT_MSG_DETACH, flags: 0, key: key)) }

    private func attachment(_ type: lnt_message_type, flags: UInt32, key: UInt8) -> lnt_attach {
        var message = lnt_attach()
        message.message = header(type)
        message.flags = flags
        message.key.0 = key
        return message
    }

    func exited() throws -> lnt_exit {
        let bytes = try next(LNT_MSG_EXITED, LNT_MSG_FAILED)
        if let bytes, bytes[0] == UInt8(LNT_MSG_FAILED.rawValue) {
            throw Failed(description: Self.describe(try decode(bytes, as: lnt_failure.self)))
        }
        return try decode(bytes, as: lnt_exit.self)
    }

    func failure() throws -> LaunchFailure {
        Self.failure(try decode(try next(LNT_MSG_FAILED, LNT_MSG_CREATED, LNT_MSG_STARTED), as: lnt_failure.self))
    }

    static func failure(_ record: lnt_failure) -> LaunchFailure {
        var record = record
        let call = withUnsafeBytes(of: &record.call) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let path = withUnsafeBytes(of: &record.path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return LaunchFailure(
            step: LaunchOpcode(rawValue: UInt16(record.step)) ?? .setUp, index: Int(record.index), call: call, errno: record.error,
            path: path)
    }

    static func describe(_ record: lnt_failure) -> String {
        let failure = failure(record)
        return "\(failure.step.name) [\(failure.index)] \(failure.call): errno \(failure.errno) on \(failure.path)"
    }

    struct Outcome {
        var exit: lnt_exit
        var stdout: String
        var stderr: String
    }

    static func pipe() throws -> (read: Int32, write: Int32) {
        var both: [Int32] = [-1, -1]
        _ = try checked(lnt_pipe(&both, 0), "pipe")
        return (both[0], both[1])
    }

    static func readAll(_ fd: Int32) -> String {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(fd, &buffer, buffer.count)
            if count <= 0 { break }
            all += buffer[..<count]
        }
        close(fd)
        return String(decoding: all, as: UTF8.self)
    }

    /// Launches, starts, and waits for the end.
    func run(_ plan: LaunchPlan, passed: [FileDescriptor] = []) throws -> Outcome {
        let (out, error) = (try Self.pipe(), try Self.pipe())
        try spawn(plan, passed: passed)
        try start(LNT_HAS_STDOUT, LNT_HAS_STDERR, LNT_BACK_PRESSURE, fds: [out.write, error.write])
        close(out.write)
        close(error.write)
        let stdout = Self.readAll(out.read)
        let stderr = Self.readAll(error.read)
        return Outcome(exit: try exited(), stdout: stdout, stderr: stderr)
    }

    func run(_ script: String, user: String = "0", userNamespace: Bool = true) throws -> Outcome {
        try run(plan(["sh", "-c", script], userNamespace: userNamespace, user: user))
    }

    func signal(_ number: Int32, process: UInt32 = 0, everyone: Bool = false) throws {
        var message = lnt_signal()
        message.message = header(LNT_MSG_SIGNAL)
        message.signal = number
        message.process = process
        message.everyone = everyone ? 1 : 0
        try send(message)
    }

    /// The log file's lines.
    func log(_ name: String = "log") -> [String] {
        // By bytes: to Swift's characters a line that ends in CR has no newline.
        guard let text = FileManager.default.contents(atPath: "\(container)/\(name)") else { return [] }
        return text.split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
    }
}
