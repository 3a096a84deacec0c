/// What a container gets when nobody says otherwise, in one place. docs/security.md explains the choices.
package enum RuntimeDefaults {
    /// Docker's PATH.
    package static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// Files and folders of the kernel that tell or change something of the whole host: hidden.
    ///
    /// Docker's and Podman's list. Absent ones are skipped by the shim.
    package static let maskedPaths = [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
    ]

    /// Kernel settings that stay readable.
    package static let readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

    /// Devices that every program expects (runtime-spec, "Default Devices"): bound from the host, each checked by its number.
    package static let devices: [(path: String, major: UInt32, minor: UInt32)] = [
        ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
    ]

    /// Links that every program expects.
    package static let deviceLinks: [(path: String, target: String)] = [
        ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ]

    /// Settings of a network namespace of the container's own: ping works without CAP_NET_RAW, and low ports without CAP_NET_BIND_SERVICE.
    ///
    /// The range ends at 65535: larger ids don't exist in the user namespace, and the kernel refuses them (kernel-notes).
    package static let networkSysctls = ["net.ipv4.ping_group_range": "0 65535", "net.ipv4.ip_unprivileged_port_start": "0"]

    /// Open files: the soft limit that programs using select(2) survive, the hard one that servers raise it to (systemd's own defaults).
    package static let openFiles = Rlimit(resource: 7, soft: 1024, hard: 524_288)

    /// The file systems that the specification asks for, before the container's own mounts.
    ///
    /// - Parameters:
    ///   - shmSize: bytes of /dev/shm.
    ///   - usesHostNetwork: sysfs shows the network namespace of who mounts it, and the host's can't be mounted from a container's user
    ///     namespace: the host's /sys is bound read-only then.
    ///   - sharesIPC: whether mqueue belongs to another container; it is mounted all the same, and shows that one's queues.
    package static func mounts(shmSize: Int64, bindsHostSys: Bool, hasPrivateIPC: Bool) -> [RuntimeSpec.MountEntry] {
        let sys: RuntimeSpec.MountEntry =
            bindsHostSys
            ? .init(
                destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rprivate", "rnosuid", "rnoexec", "rnodev", "rro"])
            : .init(destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"])
        return [
            .init(destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"]),
            .init(
                destination: "/dev", type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
            .init(
                destination: "/dev/pts", type: "devpts", source: "devpts",
                options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
            ),
            .init(
                destination: "/dev/shm", type: "tmpfs", source: "shm",
                options: ["nosuid", "noexec", "nodev", "mode=1777", "size=\(shmSize)"]),
            .init(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]),
            sys,
            .init(
                destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ]
    }
}
