internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// What a call does with the address that it takes.
enum SocketUse {
    case connect, bind, send

    init?(_ call: lnt_path_call) {
        switch UInt32(call.intent) {
        case LNT_INTENT_CONNECT.rawValue: self = .connect
        case LNT_INTENT_BIND.rawValue: self = .bind
        case LNT_INTENT_SEND.rawValue, LNT_INTENT_SEND_MESSAGE.rawValue, LNT_INTENT_SEND_MESSAGES.rawValue: self = .send
        default: return nil
        }
    }
}

extension AccessReport {
    /// What connect(2), bind(2) or one of the calls that send asked for outside the rules.
    func socketCall(_ pid: Int32, _ use: SocketUse, _ call: lnt_path_call, _ arguments: [UInt64]) -> DeniedAccess? {
        var (address, length) = (arguments[Int(call.path)], call.flags < 0 ? 0 : Int(truncatingIfNeeded: arguments[Int(call.flags)]))
        if UInt32(call.intent) == LNT_INTENT_SEND_MESSAGE.rawValue || UInt32(call.intent) == LNT_INTENT_SEND_MESSAGES.rawValue {
            // msghdr begins with the address and its length, also that within mmsghdr; the first message stands for all.
            var head: (UInt64, UInt32) = (0, 0)
            guard lnt_read_memory(pid, address, &head, 12, 0) == 12, head.0 != 0 else { return nil }
            (address, length) = (head.0, Int(head.1))
        }
        var bytes = [UInt8](repeating: 0, count: max(2, min(length, 128)))
        let got = Int(lnt_read_memory(pid, address, &bytes, bytes.count, 0))
        guard got > 2 else { return nil }
        let family = Int32(bytes[0]) | Int32(bytes[1]) << 8
        if family == AF_UNIX {
            return localSocket(pid, String(decoding: bytes[2..<got].prefix { $0 != 0 }, as: UTF8.self), isBind: use == .bind)
        }
        guard family == AF_INET || family == AF_INET6, got >= (family == AF_INET ? 8 : 24) else { return nil }
        let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        let place = Self.place(bytes, family, port)
        if spec.network == .none {
            return use == .bind || Self.isOwn(bytes, family)
                ? nil : DeniedAccess(action: "\(use)", path: place, flag: "--network", rule: ("network", "host"))
        }
        guard use != .send, let allowed = use == .bind ? spec.bindPorts : spec.connectPorts, !allowed.contains(port) else { return nil }
        // Only TCP's ports are chosen. What can't be asked counts as TCP: a line too many is better than one too few.
        let type = lnt_socket_type(firstThread(of: pid), Int32(truncatingIfNeeded: arguments[0]))
        if type >= 0, type != Int32(SOCK_STREAM.rawValue) { return nil }
        let field = use == .bind ? "allow_bind" : "allow_connect"
        return DeniedAccess(
            action: "\(use)", path: place, flag: use == .bind ? "--allow-bind" : "--allow-connect", rule: (field, "\(port)"))
    }

    private func localSocket(_ pid: Int32, _ name: String, isBind: Bool) -> DeniedAccess? {
        // Without a path, or in the abstract: no rule's.
        guard !name.isEmpty, let path = absolute(name, pid, -100) else { return nil }
        if isBind { return judge(path, Int32(LNT_INTENT_WRITE.rawValue), pid, isOpen: false) }
        // To be seen is enough: a socket is written to also where its folder is only read.
        var found = judge(path, Int32(LNT_INTENT_READ.rawValue), pid, isOpen: false)
        found?.action = "connect"
        return found
    }

    /// The loopback, which a sandbox without network has: as such, or as "this machine".
    private static func isOwn(_ bytes: [UInt8], _ family: Int32) -> Bool {
        if family == AF_INET { return bytes[4] == 127 || bytes[4..<8].allSatisfy { $0 == 0 } }
        return bytes[8..<23].allSatisfy { $0 == 0 } && bytes[23] <= 1
    }

    private static func place(_ bytes: [UInt8], _ family: Int32, _ port: UInt16) -> String {
        if family == AF_INET { return bytes[4..<8].map(String.init).joined(separator: ".") + ":\(port)" }
        let groups = stride(from: 8, to: 24, by: 2).map { String(Int(bytes[$0]) << 8 | Int(bytes[$0 + 1]), radix: 16) }
        return "[\(groups.joined(separator: ":"))]:\(port)"
    }

    /// pidfd_open(2) takes no other, before Linux 6.9.
    private func firstThread(of thread: Int32) -> Int32 {
        let lines = readSmallFile("/proc/\(thread)/status")?.split(separator: "\n") ?? []
        let line = lines.first { $0.hasPrefix("Tgid:") }
        return line.flatMap { Int32($0.dropFirst(5).drop { $0 == "\t" || $0 == " " }) } ?? thread
    }
}
