/// Names a Linux capability (capabilities(7)); the raw value is the kernel's number.
public enum Capability: UInt8, CaseIterable, Sendable, Comparable, CustomStringConvertible {
    case chown = 0, dacOverride, dacReadSearch, fowner, fsetid, kill, setgid, setuid, setpcap, linuxImmutable, netBindService, netBroadcast
    case netAdmin, netRaw, ipcLock, ipcOwner, sysModule, sysRawio, sysChroot, sysPtrace, sysPacct, sysAdmin, sysBoot, sysNice, sysResource
    case sysTime, sysTtyConfig, mknod, lease, auditWrite, auditControl, setfcap, macOverride, macAdmin, syslog, wakeAlarm, blockSuspend
    case auditRead, perfmon, bpf, checkpointRestore

    /// What a container's root may do unless told otherwise: the list that Podman ships.
    ///
    /// Docker adds NET_RAW (ping works here through ping_group_range), MKNOD (devices come as binds; the root is nodev) and AUDIT_WRITE.
    public static let defaults: [Capability] = [
        .chown, .dacOverride, .fowner, .fsetid, .kill, .setgid, .setuid, .setpcap, .netBindService, .sysChroot, .setfcap,
    ]

    private static let names: [String] = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
        "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
        "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
        "PERFMON", "BPF", "CHECKPOINT_RESTORE",
    ]

    /// `CAP_NET_RAW`.
    public var name: String { "CAP_" + Self.names[Int(rawValue)] }
    public var description: String { name }
    public var bit: UInt64 { 1 << UInt64(rawValue) }

    /// Reads `CAP_NET_RAW`, `NET_RAW` or `net_raw`.
    /// - Throws: `invalid_argument` with the nearest name.
    public init(_ text: String) throws(LunetteError) {
        let upper = text.uppercased()
        let name = upper.hasPrefix("CAP_") ? String(upper.dropFirst(4)) : upper
        guard let index = Self.names.firstIndex(of: name) else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(text, limit: 40))\" is not a capability",
                hint: nearest(to: name, in: Self.names).map { "did you mean \"\($0)\"?" }
            )
        }
        self = Self(rawValue: UInt8(index))!
    }

    public static func < (left: Capability, right: Capability) -> Bool { left.rawValue < right.rawValue }
}

extension Collection<Capability> {
    /// The kernel's bit mask of the set.
    public var mask: UInt64 { reduce(0) { $0 | $1.bit } }
}
