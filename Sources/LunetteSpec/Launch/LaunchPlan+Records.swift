/// One entry of a plan as it is encoded and printed: both come from the same fields, so the text is what the shim gets.
package struct LaunchRecord: Sendable, Hashable {
    package enum Phase: String, Sendable { case host, namespace, `init`, process, monitor }

    package enum Field: Sendable, Hashable {
        case number(UInt64)
        /// A bit set: encoded as a number, printed with these names.
        case flags(UInt64, [String])
        case text(String)
        /// Encoded as an empty text when nil.
        case optionalText(String?)
        case texts([String])
        case bytes([UInt8])
        case mappings([IDMapping])
        case pairs([FilesystemPlan.Option])
        case limits([ResourceLimit])
        case joins([NamespacePlan.Join])
        /// Number of a passed descriptor + 1 (0 = by path), then the path.
        case source(HostSource)
        /// Of Landlock: rights, and what they are on.
        case rules([LandlockPlan.Rule])
    }

    package var opcode: LaunchOpcode
    package var fields: [(name: String, value: Field)]

    package static func == (left: LaunchRecord, right: LaunchRecord) -> Bool {
        left.opcode == right.opcode && left.fields.elementsEqual(right.fields) { $0.name == $1.name && $0.value == $1.value }
    }
    package func hash(into hasher: inout Hasher) {
        hasher.combine(opcode)
        for field in fields { hasher.combine(field.value) }
    }
}

/// The kinds of record; the numbers are those of `enum lnt_opcode` in launch_plan.h.
package enum LaunchOpcode: UInt16, Sendable, Hashable, CaseIterable {
    case namespaces = 1
    case joinCgroups = 2
    case oomScore = 3
    case openTree = 4
    case openOverlay = 5
    case rootless = 6
    case moveNetworkDevice = 8
    case hostname = 10
    case domainname = 11
    case raiseLoopback = 12
    case timeOffsets = 13
    case attachRoot = 20
    case makeDirectory = 21
    case makeSymlink = 22
    case mount = 23
    case attach = 24
    case mountAttributes = 25
    case writeSysctl = 26
    case pivotRoot = 27
    case maskPath = 28
    case makeReadonly = 29
    case makeRootReadonly = 30
    case makeDevice = 34
    case awaitHooks = 35
    case runHook = 36
    case rootPropagation = 37
    case makeRoot = 31
    case arguments = 40
    case environment = 41
    case workingDirectory = 42
    case user = 43
    case umask = 44
    case rlimits = 45
    case capabilities = 46
    case noNewPrivileges = 47
    case seccomp = 48
    case stdio = 49
    case landlock = 50
    case scheduler = 51
    case ioPriority = 52
    case affinity = 53
    case personality = 54
    case memoryPolicy = 55
    case startHook = 56
    case seccompListener = 58
    case monitor = 60
    case handover = 61
    case treesInside = 62
    case openPrivateLayer = 63
    case attended = 64
    /// Stages of the shim that no record of a plan asks for, but that can fail.
    case setUp = 80
    case terminal = 81
    case keyring = 82
    case execute = 83

    /// The word in printed plans and in errors.
    package var name: String {
        switch self {
        case .namespaces: "namespaces"
        case .joinCgroups: "join-cgroups"
        case .oomScore: "oom-score"
        case .openTree: "open-tree"
        case .openOverlay: "open-overlay"
        case .rootless: "rootless"
        case .moveNetworkDevice: "move-network-device"
        case .hostname: "hostname"
        case .domainname: "domainname"
        case .raiseLoopback: "raise-loopback"
        case .timeOffsets: "time-offsets"
        case .attachRoot: "attach-root"
        case .makeDirectory: "make-directory"
        case .makeSymlink: "make-symlink"
        case .mount: "mount"
        case .attach: "attach"
        case .mountAttributes: "mount-attributes"
        case .writeSysctl: "sysctl"
        case .pivotRoot: "pivot-root"
        case .maskPath: "mask"
        case .makeReadonly: "readonly"
        case .makeRootReadonly: "readonly-root"
        case .makeDevice: "make-device"
        case .awaitHooks: "await-hooks"
        case .runHook: "hook"
        case .rootPropagation: "root-propagation"
        case .makeRoot: "make-root"
        case .arguments: "arguments"
        case .environment: "environment"
        case .workingDirectory: "working-directory"
        case .user: "user"
        case .umask: "umask"
        case .rlimits: "rlimits"
        case .capabilities: "capabilities"
        case .noNewPrivileges: "no-new-privileges"
        case .seccomp: "seccomp"
        case .stdio: "stdio"
        case .scheduler: "scheduler"
        case .ioPriority: "io-priority"
        case .affinity: "affinity"
        case .personality: "personality"
        case .memoryPolicy: "memory-policy"
        case .startHook: "start-hook"
        case .seccompListener: "seccomp-listener"
        case .monitor: "monitor"
        case .handover: "handover"
        case .landlock: "landlock"
        case .treesInside: "trees-inside"
        case .openPrivateLayer: "open-private-layer"
        case .attended: "attended"
        case .setUp: "set-up"
        case .terminal: "terminal"
        case .keyring: "session-keyring"
        case .execute: "execute"
        }
    }

    package var phase: LaunchRecord.Phase {
        switch rawValue {
        case 1...9: .host
        case 10...19: .namespace
        case 20...39: .`init`
        case 62, 63, 80: .host
        case 60...79: .monitor
        default: .process
        }
    }
}

extension LaunchStep {
    package var record: LaunchRecord {
        switch self {
        case .namespaces(let plan):
            LaunchRecord(
                opcode: .namespaces,
                fields: [
                    ("create", .flags(plan.create.rawValue, plan.create.words)), ("join", .joins(plan.join)),
                    ("uid", .mappings(plan.uidMappings)), ("gid", .mappings(plan.gidMappings)),
                ])
        case .joinCgroups(let v1, let v2): LaunchRecord(opcode: .joinCgroups, fields: [("v1", .texts(v1)), ("v2", .optionalText(v2))])
        case .setOOMScore(let score):
            LaunchRecord(opcode: .oomScore, fields: [("score", .text(String(score)))])
        case .openTree(let plan): plan.record
        case .openOverlay(let plan):
            LaunchRecord(
                opcode: .openOverlay,
                fields: [
                    ("slot", .number(UInt64(plan.slot))), ("store", .number(UInt64(plan.store))), ("lower", .texts(plan.lowers)),
                    ("upper", .text(plan.upper)), ("work", .text(plan.work)),
                    ("attributes", .flags(plan.attributes.rawValue, plan.attributes.words)),
                    ("owner_uid", .number(UInt64(plan.ownerUID))), ("owner_gid", .number(UInt64(plan.ownerGID))),
                ])
        case .rootless(let plan): plan.record
        case .moveNetworkDevice(let name, let newName):
            LaunchRecord(opcode: .moveNetworkDevice, fields: [("name", .text(name)), ("new_name", .text(newName))])
        case .setTimeOffsets(let lines): LaunchRecord(opcode: .timeOffsets, fields: [("lines", .texts(lines))])
        case .makeDevice(let plan): plan.record
        case .awaitHooks: LaunchRecord(opcode: .awaitHooks, fields: [])
        case .runHook(let plan): plan.record(.runHook)
        case .setRootPropagation(let propagation):
            LaunchRecord(opcode: .rootPropagation, fields: [("to", .flags(propagation.rawValue, [propagation.word]))])
        case .treesInside: LaunchRecord(opcode: .treesInside, fields: [])
        case .openPrivateLayer(let plan): plan.record
        case .makeRoot(let plan): plan.record
        case .setHostname(let name): LaunchRecord(opcode: .hostname, fields: [("name", .text(name))])
        case .setDomainname(let name): LaunchRecord(opcode: .domainname, fields: [("name", .text(name))])
        case .raiseLoopback: LaunchRecord(opcode: .raiseLoopback, fields: [])
        case .attachRoot(let slot): LaunchRecord(opcode: .attachRoot, fields: [("slot", .number(UInt64(slot)))])
        case .makeDirectory(let path, let mode):
            LaunchRecord(
                opcode: .makeDirectory, fields: [("path", .text(path)), ("mode", .flags(UInt64(mode), ["0" + String(mode, radix: 8)]))])
        case .makeSymlink(let path, let target):
            LaunchRecord(opcode: .makeSymlink, fields: [("path", .text(path)), ("to", .text(target))])
        case .mount(let plan):
            LaunchRecord(
                opcode: .mount,
                fields: [
                    ("target", .text(plan.target)), ("type", .text(plan.type)), ("options", .pairs(plan.options)),
                    ("attributes", .flags(plan.attributes.rawValue, plan.attributes.words)),
                    ("create", .number(plan.createsTarget ? 1 : 0)),
                    ("no_symlinks", .number(plan.refusesSymlinks ? 1 : 0)), ("optional", .number(plan.optional ? 1 : 0)),
                    ("copy_up", .flags(plan.copiesUp ? 1 : 0, plan.copiesUp ? ["yes"] : [])),
                    ("propagation", .flags(plan.propagation.rawValue, plan.propagation == .unchanged ? [] : [plan.propagation.word])),
                ])
        case .attach(let plan):
            LaunchRecord(
                opcode: .attach,
                fields: [
                    ("target", .text(plan.target)), ("slot", .number(UInt64(plan.slot))), ("create", .number(plan.creation.rawValue)),
                    ("no_symlinks", .number(plan.refusesSymlinks ? 1 : 0)),
                ])
        case .setMountAttributes(let path, let change, let recursive):
            LaunchRecord(
                opcode: .mountAttributes,
                fields: [
                    ("path", .text(path)), ("attributes", .flags(change.set.rawValue, change.set.words)),
                    ("recursive", .number(recursive ? 1 : 0)), ("clear", .flags(change.clear.rawValue, change.clear.words)),
                ])
        case .writeSysctl(let key, let value, let optional):
            LaunchRecord(
                opcode: .writeSysctl,
                fields: [
                    ("path", .text(key.hasSlash ? key : String(key.map { $0 == "." ? "/" : $0 }))), ("value", .text(value)),
                    ("optional", .number(optional ? 1 : 0)),
                ])
        case .pivotRoot: LaunchRecord(opcode: .pivotRoot, fields: [])
        case .maskPath(let path, let goesThroughNoLink):
            LaunchRecord(
                opcode: .maskPath,
                fields: [("path", .text(path)), ("no_symlinks", .flags(goesThroughNoLink ? 1 : 0, goesThroughNoLink ? ["yes"] : []))])
        case .makeReadonly(let path): LaunchRecord(opcode: .makeReadonly, fields: [("path", .text(path))])
        case .makeRootReadonly: LaunchRecord(opcode: .makeRootReadonly, fields: [])
        }
    }
}

extension TreePlan {
    fileprivate var record: LaunchRecord {
        var kind: UInt64 = 0
        var uid: [IDMapping] = []
        var gid: [IDMapping] = []
        switch mapping {
        case .none: break
        case .container: kind = 1
        case .custom(let customUID, let customGID): (kind, uid, gid) = (2, customUID, customGID)
        }
        var expected: UInt64 = 0
        var device: UInt64 = 0
        var inode: UInt64 = 0
        var expectedWord = "anything"
        switch expectation {
        case .anything: break
        case .directory: (expected, expectedWord) = (1, "directory")
        case .regularFile: (expected, expectedWord) = (2, "file")
        case .characterDevice(let major, let minor):
            (expected, expectedWord) = (3, "device \(major):\(minor)")
            device = UInt64(major) << 32 | UInt64(minor)
        case .object(let itsDevice, let itsInode):
            (expected, expectedWord) = (4, "object")
            (device, inode) = (itsDevice, itsInode)
        }
        return LaunchRecord(
            opcode: .openTree,
            fields: [
                ("slot", .number(UInt64(slot))), ("source", .source(source)), ("recursive", .number(recursive ? 1 : 0)),
                ("map", .flags(kind, [["none", "container", "custom"][Int(kind)]])), ("uid", .mappings(uid)), ("gid", .mappings(gid)),
                ("attributes", .flags(attributes.rawValue, attributes.words)), ("expect", .flags(expected, [expectedWord])),
                ("device", .flags(device, [])), ("no_symlinks", .number(goesThroughNoLink ? 2 : refusesSymlinks ? 1 : 0)),
                ("clear", .flags(cleared.rawValue, cleared.words)), ("top_set", .flags(top.set.rawValue, top.set.words)),
                ("top_clear", .flags(top.clear.rawValue, top.clear.words)),
                ("propagation", .flags(propagation.rawValue, propagation == .private ? [] : [propagation.word])),
                ("map_top", .flags(mapsTopOnly ? 1 : 0, mapsTopOnly ? ["yes"] : [])), ("inode", .flags(inode, [])),
            ])
    }
}

extension ProcessPlan {
    package var records: [LaunchRecord] {
        [
            LaunchRecord(
                opcode: .stdio,
                fields: [
                    ("terminal", .number(terminal ? 1 : 0)), ("stdin", .number(stdin ? 1 : 0)), ("rows", .number(UInt64(terminalRows))),
                    ("columns", .number(UInt64(terminalColumns))),
                ]),
            LaunchRecord(opcode: .rlimits, fields: [("limits", .limits(rlimits))]),
            LaunchRecord(opcode: .workingDirectory, fields: [("path", .text(workingDirectory))]),
            LaunchRecord(opcode: .umask, fields: [("mode", .flags(UInt64(umask), ["0" + String(umask, radix: 8)]))]),
            LaunchRecord(opcode: .user, fields: [("user", .text(user)), ("groups", .texts(additionalGroups))]),
            LaunchRecord(
                opcode: .capabilities,
                fields: [
                    ("bounding", hexadecimal(capabilities.bounding)), ("effective", hexadecimal(capabilities.effective)),
                    ("permitted", hexadecimal(capabilities.permitted)), ("inheritable", hexadecimal(capabilities.inheritable)),
                    ("ambient", hexadecimal(capabilities.ambient)),
                ]),
            LaunchRecord(opcode: .noNewPrivileges, fields: [("set", .number(noNewPrivileges ? 1 : 0))]),
            LaunchRecord(opcode: .seccomp, fields: [("program", .bytes(seccompProgram)), ("flags", .number(seccompFlags))]),
        ] + (seccompListener.map { [$0.record] } ?? []) + [
            LaunchRecord(opcode: .environment, fields: [("list", .texts(environment))]),
            LaunchRecord(opcode: .arguments, fields: [("list", .texts(arguments))]),
        ] + (landlock.map { [$0.record] } ?? []) + scheduling.records + startHooks.map { $0.record(.startHook) }
    }

    private func hexadecimal(_ set: UInt64) -> LaunchRecord.Field { .flags(set, ["0x" + String(set, radix: 16)]) }
}

extension LaunchPlan {
    /// Every entry in the order of the text and of the encoding.
    package var records: [LaunchRecord] {
        steps.map(\.record) + process.records + [
            LaunchRecord(
                opcode: .monitor,
                fields: [
                    ("container", .text(containerID)), ("init", .number(monitor.initProcess ? 1 : 0)),
                    ("shim_death", .flags(monitor.shimDeath.rawValue, [monitor.shimDeath == .kill ? "kill" : "go-on"])),
                    ("log", .number(monitor.log ? 1 : 0)), ("log_size", .number(monitor.logMaximumSize)),
                    ("log_files", .number(monitor.logMaximumFiles)), ("oom_events", .optionalText(monitor.oomEvents)),
                ])
        ] + (handover.map { [$0.record] } ?? []) + (attended.map { [$0.record] } ?? [])
    }
}

extension ExecPlan {
    package var records: [LaunchRecord] {
        [LaunchStep.joinCgroups(v1: cgroupsV1, v2: cgroupV2).record] + (rootless.map { [$0.record] } ?? []) + process.records
            + (handover.map { [$0.record] } ?? [])
    }
}

extension NamespacePlan.Kinds {
    package var words: [String] {
        [
            (.user, "user"), (.network, "network"), (.ipc, "ipc"), (.uts, "uts"), (.cgroup, "cgroup"), (.pid, "pid"), (.mount, "mount"),
            (.time, "time"),
        ]
        .compactMap { (kind: NamespacePlan.Kinds, word: String) in contains(kind) ? word : nil }
    }
}

extension MountAttributes {
    package var words: [String] {
        [
            (.readonly, "ro"), (.nosuid, "nosuid"), (.nodev, "nodev"), (.noexec, "noexec"), (.noatime, "noatime"),
            (.strictatime, "strictatime"), (.nodiratime, "nodiratime"), (.nosymfollow, "nosymfollow"),
        ].compactMap { (attribute: MountAttributes, word: String) in contains(attribute) ? word : nil }
    }
}
