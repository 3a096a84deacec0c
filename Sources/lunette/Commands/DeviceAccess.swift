import Glibc
import LunetteSpec

/// Host devices that a container can't open: in its user namespace their owner and group are nobody, and no capability goes past that.
enum DeviceAccess {
    /// Warns of devices that were asked for and can't be opened. What can't be looked at is for the engine to refuse.
    static func tell(_ spec: ValueMap) {
        // Who shares another's namespaces has its ids, whatever they are.
        let shares = ["network", "pid", "ipc"].contains { spec[$0]?.stringValue?.hasPrefix("container:") == true } || spec["pod"] != nil
        guard !shares, spec["security"]?["user_namespace"]?.boolValue ?? true else { return }
        for device in spec["devices"]?.arrayValue ?? [] {
            guard let source = device["source"]?.stringValue else { continue }
            var status = stat()
            guard stat(source, &status) == 0 else { continue }
            // An ordinary user's own id is the container's root.
            if geteuid() != 0, status.st_uid == geteuid() { continue }
            if let line = line(source, mode: status.st_mode, permissions: device["permissions"]?.stringValue ?? "rwm") { Output.note(line) }
        }
    }

    /// - Parameters:
    ///   - permissions: of `rwm`; the last is no matter of the node's mode.
    ///   - isPrivileged: only root may have a container without a user namespace.
    static func line(_ source: String, mode: UInt32, permissions: String, isPrivileged: Bool = geteuid() == 0) -> String? {
        let missing = [("r", UInt32(4), "read"), ("w", 2, "written")].filter { permissions.contains($0.0) && mode & $0.1 == 0 }.map(\.2)
        guard !missing.isEmpty else { return nil }
        let octal = String(mode & 0o777, radix: 8)
        return
            "lunette: warning: \(Text.safe(source)) can't be \(missing.joined(separator: " or ")) in the container: its mode \(octal) is for its owner and group,"
            + " who are nobody there (\(isPrivileged ? "--userns host, or " : "")chmod o+rw)"
    }
}
