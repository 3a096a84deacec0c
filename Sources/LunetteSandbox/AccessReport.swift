internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Something that was asked for outside the rules.
package struct DeniedAccess: Sendable, Hashable {
    /// `read`, `write`, `execute`, `connect`, `bind`, `send`.
    package var action: String
    package var path: String
    /// The flag that would allow it, behind others that it needs.
    package var flag: String
    /// The field of a policy that would, and its value.
    package var rule: (field: String, value: String)
    /// What to do where it is no flag to be added.
    package var advice: String?

    package static func == (left: DeniedAccess, right: DeniedAccess) -> Bool { left.action == right.action && left.path == right.path }
    package func hash(into hasher: inout Hasher) {
        hasher.combine(action)
        hasher.combine(path)
    }

    /// For people: `denied: read /home/x/.netrc (hint: --allow-read /home/x/.netrc)`.
    package var line: String { "denied: \(action) \(displayable(path)) (hint: \(advice ?? "\(flag) \(displayable(rule.value))"))" }
}

/// Listens to seccomp notifications and notes which paths a program asks for that lie outside the rules, as far as they exist on the host and
/// its own permissions let this user: what no rule can allow isn't named.
///
/// It observes and decides nothing: every call goes on, and mounts and Landlock answer it. So what a program changes in its memory between
/// the look and the call (seccomp_unotify(2)) can make a report wrong, and nothing else. Reads as the calling user, outside.
final class AccessReport {
    var listener: FileDescriptor?
    private(set) var denied: [DeniedAccess] = []
    let spec: SandboxSpec
    let view: SandboxView
    private let directory: String
    private let calls: [Int32: [lnt_path_call]]
    private static let limit = 200

    init(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) {
        self.spec = spec
        directory = facts.directory
        view = try SandboxView(spec, facts)
        var count = 0
        let table = lnt_path_calls(&count)!
        calls = Dictionary(grouping: (0..<count).map { table[$0] }, by: \.number)
    }

    /// Answers everything that waits.
    func serve() {
        guard let listener else { return }
        var notification = lnt_notification()
        let result = lnt_notification_receive(listener.number, &notification)
        if result == -ENOENT || result == -EINTR { return }
        guard result == 0 else {
            // The last process that has the filter is gone.
            self.listener = nil
            return
        }
        let found = look(notification)
        // Only what was read while the caller still waited is its own.
        if lnt_notification_is_valid(listener.number, notification.id) != 0 {
            for access in found where denied.count < Self.limit && !denied.contains(access) { denied.append(access) }
        }
        _ = lnt_notification_continue(listener.number, notification.id)
    }

    private func look(_ notification: lnt_notification) -> [DeniedAccess] {
        (calls[notification.number] ?? []).compactMap { call in
            let arguments = withUnsafeBytes(of: notification.arguments) { Array($0.bindMemory(to: UInt64.self)) }
            if let use = SocketUse(call) { return socketCall(notification.pid, use, call, arguments) }
            guard let text = string(notification.pid, arguments[Int(call.path)]), !text.isEmpty else { return nil }
            let folder = call.folder < 0 ? Int32(-100) : Int32(truncatingIfNeeded: arguments[Int(call.folder)])
            guard let path = absolute(text, notification.pid, folder) else { return nil }
            var intent = Int32(call.intent)
            let isOpen = intent == Int32(LNT_INTENT_OPEN.rawValue) || intent == Int32(LNT_INTENT_OPEN_HOW.rawValue)
            if intent == Int32(LNT_INTENT_OPEN.rawValue) {
                intent = opens(UInt64(arguments[Int(call.flags)]))
            } else if intent == Int32(LNT_INTENT_OPEN_HOW.rawValue) {
                var flags: UInt64 = 0
                guard lnt_read_memory(notification.pid, arguments[Int(call.flags)], &flags, 8, 0) > 0 else { return nil }
                intent = opens(flags)
            }
            return judge(path, intent, notification.pid, isOpen: isOpen)
        }
    }

    private func opens(_ flags: UInt64) -> Int32 {
        let writes = flags & 3 != 0 || flags & UInt64(O_TRUNC) != 0 || flags & UInt64(O_CREAT) != 0
        return Int32(writes ? LNT_INTENT_WRITE.rawValue : LNT_INTENT_READ.rawValue)
    }

    /// - Parameter isOpen: the contents are wanted, not only to know of it or to take it away.
    func judge(_ path: String, _ intent: Int32, _ pid: Int32, isOpen: Bool) -> DeniedAccess? {
        let action =
            intent == Int32(LNT_INTENT_WRITE.rawValue) ? "write" : intent == Int32(LNT_INTENT_EXECUTE.rawValue) ? "execute" : "read"
        if ContainerPath.isWithin(path, "/proc") { return nil }
        if ContainerPath.isWithin(path, "/dev") { return device(path, action, pid) }
        let access = view.access(to: path)
        if view.hidden.contains(where: { ContainerPath.isWithin(path, $0) }) { return nil }
        guard action == "write" else {
            // There outside and not inside. A folder in memory covers one of the host's, and what the program made in it is its own.
            if let access, !access.isMemory { return nil }
            guard exists(path), !exists("/proc/\(pid)/root\(path)") else { return nil }
            guard isPermitted(path, action == "execute" ? X_OK : isOpen ? R_OK : F_OK) else { return nil }
            return DeniedAccess(action: action, path: path, flag: pathFlag("--allow-read"), rule: ("allow_read", path))
        }
        if let access, access != .read { return nil }
        let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "/"
        // What is to be made needs its folder; the root itself is no rule's.
        let target = exists(path) ? path : parent
        guard target != "/", exists(target) else { return nil }
        guard isPermitted(target, W_OK) || (!isOpen && isPermitted(parent, W_OK)) else { return nil }
        if spec.impliedFlag == "--allow-read .", ContainerPath.isWithin(target, directory) {
            return DeniedAccess(
                action: action, path: path, flag: "--allow-write", rule: ("allow_write", directory), advice: "leave out --read-only")
        }
        return DeniedAccess(action: action, path: path, flag: pathFlag("--allow-write"), rule: ("allow_write", target))
    }

    /// A device node of the host's that isn't among the sandbox's own.
    private func device(_ path: String, _ action: String, _ pid: Int32) -> DeniedAccess? {
        var status = lnt_host_stat()
        guard lnt_host_stat(-100, path, 0, &status) == 0, FileKind(rawValue: status.mode & 0o170000) == .characterDevice,
            !exists("/proc/\(pid)/root\(path)"), isPermitted(path, action == "write" ? W_OK : R_OK)
        else { return nil }
        return DeniedAccess(action: action, path: path, flag: "--dev", rule: ("devices", path))
    }

    /// The first rule for a path takes the place of the one for the working folder, which is then to be named too.
    func pathFlag(_ flag: String) -> String { spec.impliedFlag.map { "\($0) \(flag)" } ?? flag }

    // MARK: Paths

    private func string(_ pid: Int32, _ address: UInt64) -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        guard lnt_read_memory(pid, address, &bytes, bytes.count, 1) > 0, let end = bytes.firstIndex(of: 0) else { return nil }
        return String(decoding: bytes[..<end], as: UTF8.self)
    }

    func absolute(_ text: String, _ pid: Int32, _ folder: Int32) -> String? {
        if text.hasPrefix("/") { return normal(text) }
        let link = folder == -100 ? "/proc/\(pid)/cwd" : "/proc/\(pid)/fd/\(folder)"
        // Gone by now, or no folder of a file system (`pipe:[…]`): nothing to report.
        guard let target = try? readLink(link), target.hasPrefix("/") else { return nil }
        return normal(target + "/" + text)
    }

    /// By its text alone: good enough to tell people what to allow.
    func normal(_ text: String) -> String? {
        guard text.hasPrefix("/") else { return nil }
        var parts: [Substring] = []
        for part in text.pathParts where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    func exists(_ path: String) -> Bool {
        var status = lnt_host_stat()
        return lnt_host_stat(-100, path, AT_SYMLINK_NOFOLLOW, &status) == 0
    }

    /// Whether the host's own permissions let us.
    private func isPermitted(_ path: String, _ mode: Int32) -> Bool { faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 }
}
