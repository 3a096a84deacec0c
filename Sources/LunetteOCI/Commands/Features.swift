internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let features = Command(
        name: "features", summary: "print what is supported, as JSON (runtime-spec, features.md)", arguments: "", count: 0...0, options: [],
        usesState: false
    ) { _ throws(LunetteError) in
        try printOut(JSON.encode(FeatureList.value, pretty: true))
        return 0
    }
}

/// What this build can do. A test takes each claim to a container.
enum FeatureList {
    static var value: Value {
        [
            "ociVersionMin": "1.0.0", "ociVersionMax": .string(OCIProgram.specification),
            "hooks": .array(["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"].map(Value.string)),
            "mountOptions": .array(mountOptions.map(Value.string)),
            "linux": [
                "namespaces": .array(namespaces.map(Value.string)),
                "capabilities": .array(Capability.allCases.map { .string($0.name) }),
                "cgroup": ["v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true],
                "seccomp": [
                    "enabled": true, "actions": .array(seccompActions.map(Value.string)),
                    "operators": [
                        "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ",
                    ],
                    "archs": .array(SeccompABI.allCases.map { .string($0.rawValue) }),
                    "knownFlags": [
                        "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
                    ],
                    "supportedFlags": [
                        "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
                    ],
                ],
                "apparmor": ["enabled": false], "selinux": ["enabled": false], "intelRdt": ["enabled": false],
                "netDevices": ["enabled": true],
                "memoryPolicy": [
                    "modes": .array(RuntimeSpec.MemoryPolicy.Mode.allCases.map { .string($0.rawValue) }),
                    "flags": .array(RuntimeSpec.MemoryPolicy.flags.map { .string($0.name) }),
                ],
                "mountExtensions": ["idmap": ["enabled": true]],
            ],
            "annotations": ["io.lunette.version": .string(OCIProgram.version)],
            "potentiallyUnsafeConfigAnnotations": [],
        ]
    }

    private static let namespaces = RuntimeSpec.LinuxSection.NamespaceKind.allCases.map(\.rawValue).sorted()
    private static let seccompActions = [
        "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ]

    /// The words that a bind mount takes; whatever else a mount has is its file system's own.
    static let mountOptions: [String] = {
        let attributes = [
            "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "nodiratime", "diratime", "nosymfollow", "symfollow", "noatime",
            "atime",
            "relatime", "norelatime", "strictatime", "nostrictatime",
        ]
        let propagations = ["private", "slave", "shared", "unbindable"]
        let others = [
            "bind", "rbind", "idmap", "ridmap", "tmpcopyup", "defaults", "async", "sync", "dirsync", "lazytime", "nolazytime", "mand",
            "nomand",
            "iversion", "noiversion", "silent", "loud", "remount",
        ]
        return (attributes + attributes.map { "r" + $0 } + propagations + propagations.map { "r" + $0 } + others).sorted()
    }()
}
