/// What is different when another program looks after the container: an OCI runtime's caller (conmon, containerd's shim) waits for pid 1,
/// owns its streams, and lunette-shim leaves once the container is made.
///
/// The program is pid 1 itself, inherits the standard streams that the shim was spawned with, and waits at `gate.sock` in the state folder.
package struct HandoverPlan: Sendable, Hashable {
    /// A passed descriptor (`HostSource.passed`): a connected socket that gets the pty's master. Without one it comes with CREATED.
    package var console: Int?
    /// Passed descriptors that the program keeps, as 3, 4, …
    package var preserved: Range<Int>
    /// A session keyring of its own (off for `--no-new-keyring`).
    package var newKeyring: Bool
    /// For an exec: the namespaces that the container has of its own or shares with others than the host, all of which are joined.
    package var kinds: NamespacePlan.Kinds
    /// The cgroups are made while the plan is carried out already: the shim joins them when it is told that they are there.
    package var awaitsCgroups = false

    package init(console: Int? = nil, preserved: Range<Int> = 0..<0, newKeyring: Bool = true, kinds: NamespacePlan.Kinds = []) {
        self.console = console
        self.preserved = preserved
        self.newKeyring = newKeyring
        self.kinds = kinds
    }

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .handover,
            fields: [
                ("console", .flags(UInt64(console.map { $0 + 1 } ?? 0), console.map { ["fd:\($0)"] } ?? [])),
                ("first_preserved", .number(UInt64(preserved.lowerBound))), ("preserved", .number(UInt64(preserved.count))),
                ("keyring", .number(newKeyring ? 1 : 0)), ("kinds", .flags(kinds.rawValue, kinds.words)),
                ("awaits_cgroups", .number(awaitsCgroups ? 1 : 0)),
            ])
    }
}

/// A program that a stage of the launch runs inside the container: OCI's createContainer and startContainer hooks.
package struct HookPlan: Sendable, Hashable {
    package var hook: RuntimeSpec.Hook
    /// What it reads: the container's state around the pid, which only the stage knows.
    package var state: ContainerDocument.Template

    package init(hook: RuntimeSpec.Hook, state: ContainerDocument.Template) {
        self.hook = hook
        self.state = state
    }

    func record(_ opcode: LaunchOpcode) -> LaunchRecord {
        LaunchRecord(
            opcode: opcode,
            fields: [
                ("path", .text(hook.path)), ("args", .texts(hook.args.isEmpty ? [hook.path] : hook.args)), ("env", .texts(hook.env)),
                ("timeout_ms", .number(UInt64(max(0, min(hook.timeout ?? 0, 1 << 32)) * 1000))), ("state", .text(state.before)),
                ("state_end", .text(state.after)),
            ])
    }
}

/// A device node that is made inside (where the container's user namespace is the host's; elsewhere devices are bound).
package struct DevicePlan: Sendable, Hashable {
    package var path: String
    /// With the type's bits: S_IFCHR, S_IFBLK or S_IFIFO.
    package var mode: UInt32
    package var major: UInt32
    package var minor: UInt32
    package var uid: UInt32
    package var gid: UInt32

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .makeDevice,
            fields: [
                ("path", .text(path)), ("mode", .flags(UInt64(mode), ["0" + String(mode, radix: 8)])), ("major", .number(UInt64(major))),
                ("minor", .number(UInt64(minor))), ("uid", .number(UInt64(uid))), ("gid", .number(UInt64(gid))),
            ])
    }
}

/// How what is mounted later on one side shows on the other (mount_namespaces(7)); the kernel's MS_* numbers.
package enum MountPropagation: UInt64, Sendable, Hashable {
    case unchanged = 0
    case unbindable = 0x2_0000
    case `private` = 0x4_0000
    case slave = 0x8_0000
    case shared = 0x10_0000

    /// `private`, `slave`, `shared`, `unbindable`, each with or without the `r` for "recursively".
    init?(word: String) {
        switch word {
        case "private", "rprivate": self = .private
        case "slave", "rslave": self = .slave
        case "shared", "rshared": self = .shared
        case "unbindable", "runbindable": self = .unbindable
        default: return nil
        }
    }

    var word: String {
        switch self {
        case .unchanged: "unchanged"
        case .private: "private"
        case .slave: "slave"
        case .shared: "shared"
        case .unbindable: "unbindable"
        }
    }
}

/// How the scheduler treats the program; each is left out when the spec says nothing.
package struct SchedulingPlan: Sendable, Hashable {
    package var scheduler: RuntimeSpec.Scheduler?
    package var ioPriority: RuntimeSpec.IOPriority?
    package var affinity: RuntimeSpec.ExecCPUAffinity?
    package var personality: RuntimeSpec.Personality?
    package var memoryPolicy: RuntimeSpec.MemoryPolicy?

    package init() {}

    var records: [LaunchRecord] {
        var records: [LaunchRecord] = []
        if let scheduler {
            let flags = scheduler.flags.reduce(UInt64(0)) { $0 | $1.bit }
            records.append(
                LaunchRecord(
                    opcode: .scheduler,
                    fields: [
                        ("policy", .flags(UInt64(scheduler.policy.number), [scheduler.policy.rawValue])),
                        ("flags", .flags(flags, scheduler.flags.map(\.rawValue))),
                        ("nice", .flags(UInt64(bitPattern: scheduler.nice), [String(scheduler.nice)])),
                        ("priority", .number(UInt64(scheduler.priority))), ("runtime", .number(scheduler.runtime)),
                        ("deadline", .number(scheduler.deadline)), ("period", .number(scheduler.period)),
                    ]))
        }
        if let ioPriority {
            records.append(
                LaunchRecord(
                    opcode: .ioPriority,
                    fields: [("priority", .flags(ioPriority.number, [ioPriority.class.rawValue, String(ioPriority.priority)]))]))
        }
        if let affinity {
            records.append(
                LaunchRecord(
                    opcode: .affinity,
                    fields: [("initial", .bytes(Self.mask(affinity.initial))), ("final", .bytes(Self.mask(affinity.final)))]))
        }
        if let personality {
            records.append(
                LaunchRecord(opcode: .personality, fields: [("domain", .flags(personality.number, [personality.domain.rawValue]))]))
        }
        if let memoryPolicy {
            records.append(
                LaunchRecord(
                    opcode: .memoryPolicy,
                    fields: [
                        ("mode", .flags(memoryPolicy.number, [memoryPolicy.mode.rawValue])),
                        ("nodes", .bytes(Self.mask(memoryPolicy.nodes))),
                    ]))
        }
        return records
    }

    /// A bit mask as the kernel reads it. The lists were checked when the spec was read.
    private static func mask(_ list: String?) -> [UInt8] {
        guard let list, let words = try? NumberList.mask(list) else { return [] }
        return words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
    }
}
