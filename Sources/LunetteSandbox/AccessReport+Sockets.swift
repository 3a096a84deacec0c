internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

extension AccessReport {
    /// What connect(2) or bind(2) asked for outside the rules.
    func socketCall(_ pid: Int32, _ socket: Int32, address: UInt64, length: Int, isBind: Bool) -> DeniedAccess? {
        var bytes = [UInt8](repeating: 0, count: max(2, min(length, 128)))
        let got = Int(lnt_read_memory(pid, address, &bytes, bytes.count, 0))
        guard got > 2 else { return nil }
        let family = Int32(bytes[0]) | Int32(bytes[1]) << 8
        if family == AF_UNIX { return localSocket(pid, String(decoding: bytes[2..<got].prefix { $0 != 0 }, as: UTF8.self), isBind: isBind) }
        guard family == AF_INET || family == AF_INET6, got >= (family == AF_INET ? 8 : 24) else { return nil }
        let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        let place = Self.place(bytes, family, port)
        if spec.network == .none {
            return isBind || Self.isLoopback(bytes, family)
                ? nil : DeniedAccess(action: "connect", path: place, flag: "--network", rule: ("network", "host"))
        }
        guard let allowed = isBind ? spec.bindPorts : spec.connectPorts, !allowed.contains(port) else { return nil }
        // Only TCP's ports are chosen. What can't be asked counts as TCP: a line too many is better than one too few.
        let type = lnt_socket_type(firstThread(of: pid), socket)
        if type >= 0, type != Int32(SOCK_STREAM.rawValue) { return nil }
        let field = isBind ? "allow_bind" : "allow_connect"
        return DeniedAccess(
            action: isBind ? "bind" : "connect", path: place, flag: isBind ? "--allow-bind" : "--allow-connect", rule: (field, "\(port)"))
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

    private static func isLoopback(_ bytes: [UInt8], _ family: Int32) -> Bool {
        family == AF_INET ? bytes[4] == 127 : bytes[8..<23].allSatisfy { $0 == 0 } && bytes[23] == 1
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
