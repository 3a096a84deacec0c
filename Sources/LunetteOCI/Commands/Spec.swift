internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let spec = Command(
        name: "spec", summary: "write a first config.json into the bundle", arguments: "", count: 0...0,
        options: [
            Option("bundle", "b", .value("DIR"), "the bundle (default: the working directory)"),
            Option("rootless", nil, .none, "for an ordinary user: a user namespace with the user as root, no network of its own"),
        ], usesState: false
    ) { invocation throws(LunetteError) in
        let path = absolute(invocation.options.value("bundle") ?? ".")
        let text = JSON.encode(
            StarterConfig.value(rootlessFor: invocation.options.flag("rootless") ? (geteuid(), getegid()) : nil), pretty: true)
        do throws(SystemCallError) {
            let flags = OpenFlags([.directory])
            let folder = Directory(
                FileDescriptor(owning: try check(lnt_host_openat(-100, path, Int32(flags.rawValue), 0), "open the bundle", path)),
                label: path)
            let file = try folder.open(Bundle.configName, [.writeOnly, .create, .exclusive, .noFollow], mode: 0o666)
            try file.writeAll(Array((text + "\n").utf8))
        } catch {
            var failure = error.lunette
            failure.message = "write \(Bundle.configName): \(failure.message)"
            if error.errno == ErrorNumber.exists { failure.hint = "remove it first" }
            throw failure
        }
        return 0
    }
}

/// The config that `spec` writes: runc's choice of namespaces, mounts and masks, with fewer capabilities than Docker's.
enum StarterConfig {
    private static let capabilities: [Value] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

    static func value(rootlessFor ids: (uid: UInt32, gid: UInt32)?) -> Value {
        let sets = Value.array(capabilities)
        var linux: ValueMap = [
            "resources": ["devices": [["allow": false, "access": "rwm"]]],
            "namespaces": .array(
                ["pid", "network", "ipc", "uts", "mount", "cgroup"].filter { $0 != "network" || ids == nil }.map { ["type": .string($0)] }
                    + (ids == nil ? [] : [["type": "user"]])),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        ]
        if let ids {
            linux["resources"] = nil
            linux["uidMappings"] = [["containerID": 0, "hostID": .int(Int64(ids.uid)), "size": 1]]
            linux["gidMappings"] = [["containerID": 0, "hostID": .int(Int64(ids.gid)), "size": 1]]
        }
        return [
            "ociVersion": .string(OCIProgram.specification),
            "process": [
                "terminal": true, "user": ["uid": 0, "gid": 0], "args": ["sh"],
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"], "cwd": "/",
                "capabilities": ["bounding": sets, "effective": sets, "permitted": sets],
                "rlimits": [["type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024]], "noNewPrivileges": true,
            ],
            "root": ["path": "rootfs", "readonly": true], "hostname": "lunette", "mounts": .array(mounts(isRootless: ids != nil)),
            "linux": .map(linux),
        ]
    }

    private static func mounts(isRootless: Bool) -> [Value] {
        var list: [Value] = [
            ["destination": "/proc", "type": "proc", "source": "proc"],
            [
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            ],
            [
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                // The group tty isn't mapped for an ordinary user.
                "options": .array(
                    ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] + (isRootless ? [] : ["gid=5"])),
            ],
            [
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ],
            ["destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]],
        ]
        if isRootless {
            // Without a network namespace of its own sysfs can't be mounted anew.
            list.append(["destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]])
        } else {
            list.append(["destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]])
            list.append([
                "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
            ])
        }
        return list
    }
}
