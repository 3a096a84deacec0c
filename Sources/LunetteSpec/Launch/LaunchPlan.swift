/// Says everything that `lunette-shim` does to start one container, in order. Made by the pure planner, executed by the shim, printable.
///
/// Three lists of work: `steps` build namespaces and mounts, `process` ends in `execve`, `monitor` says how the shim looks after the program.
/// Trees that host steps open are kept in numbered slots (`TreeSlot`); init steps attach them. Nothing in a plan is looked up by the shim
/// in a database or configuration. Wire form: `Sources/CLinux/include/launch_plan.h`; text form: `LaunchPlan.description`.
package struct LaunchPlan: Sendable, Hashable {
    package var containerID: String
    package var steps: [LaunchStep]
    package var process: ProcessPlan
    package var monitor: MonitorPlan
    /// Given: lunette-shim leaves once the container is made; see `HandoverPlan`.
    package var handover: HandoverPlan?
    /// A sandbox: nil for a container.
    package var attended: AttendedPlan?
    /// Of each step, the field of the runtime spec that asks for it. For errors: not part of what the shim gets.
    package var fields: [String?] = []

    package init(
        containerID: String, steps: [LaunchStep], process: ProcessPlan, monitor: MonitorPlan = MonitorPlan(), handover: HandoverPlan? = nil
    ) {
        self.handover = handover
        self.containerID = containerID
        self.steps = steps
        self.process = process
        self.monitor = monitor
    }
}

/// Numbers a detached mount tree that a host step opens and an init step attaches: 0 ..< `TreeSlot.limit`.
package typealias TreeSlot = Int

extension TreeSlot {
    /// One more tree than this doesn't fit into a plan (`LNT_SLOTS`).
    package static let limit = 256
}

/// One entry of the launch, executed in the order of the plan. The phase is given by the case; phases come in the order host, namespace, init.
package enum LaunchStep: Sendable, Hashable {
    // Host phase: in the shim, with the host's privileges.

    /// Makes or joins the namespaces. Always the first step.
    case namespaces(NamespacePlan)
    /// Moves what is being launched into cgroups that exist already: directories of v1 hierarchies, and one of v2 (by clone3's CLONE_INTO_CGROUP).
    case joinCgroups(v1: [String], v2: String?)
    /// Sets oom_score_adj from outside, before the program could object.
    case setOOMScore(Int)
    /// Opens a detached clone of a host path: store, volume, bind source, device, file, `rootfs=` directory.
    case openTree(TreePlan)
    /// Makes an overlay whose layers lie below the tree in `OverlayPlan.store`.
    case openOverlay(OverlayPlan)
    /// Moves an interface of the host's network namespace into the container's, addresses included.
    case moveNetworkDevice(name: String, newName: String)

    /// Says that an ordinary user is at work, and what that changes.
    case rootless(RootlessPlan)
    /// The shim may open no trees on the host: the first process does this phase, inside its own user and mount namespace.
    case treesInside
    /// Makes a private writable layer over a tree in a slot, after every tree is open.
    case openPrivateLayer(PrivateLayerPlan)

    // Namespace phase: inside the new namespaces, while the host phase goes on.

    case setHostname(String)
    case setDomainname(String)
    /// Moves the clocks of a new time namespace; each line as /proc/PID/timens_offsets takes it.
    case setTimeOffsets([String])
    /// Sets `lo` up in the container's network namespace.
    case raiseLoopback

    // Init phase: pid 1 in its own mount namespace. Every target is resolved below the container's root.

    /// Moves the tree in the slot onto `/`. First of the init steps.
    case attachRoot(TreeSlot)
    /// Makes a tmpfs the root instead.
    case makeRoot(MakeRootPlan)
    case makeDirectory(path: String, mode: UInt32)
    case makeSymlink(path: String, target: String)
    /// Mounts a new file system (proc, sysfs, tmpfs, devpts, mqueue, cgroup, cgroup2).
    case mount(FilesystemPlan)
    /// Moves the tree in the slot onto the target; a tree may be attached once.
    case attach(AttachPlan)
    /// Changes the attributes of the mount at a path (a tmpfs that was filled becomes read-only).
    case setMountAttributes(path: String, change: AttributeChange, recursive: Bool)
    /// Writes `/proc/sys/…` through the shim's own procfs. `key` is dotted or slashed.
    case writeSysctl(key: String, value: String, optional: Bool)
    /// Makes a device node.
    case makeDevice(DevicePlan)
    /// Waits until whoever launches has run its own hooks (OCI's prestart and createRuntime).
    case awaitHooks
    /// Runs a hook of the host's with the container's mounts in sight (OCI's createContainer).
    case runHook(HookPlan)
    /// Makes the attached root the only one there is. Every mount step comes before it, masks after.
    case pivotRoot
    /// Hides a path: a file under the host's null device, a folder under an empty read-only tmpfs. An absent path is fine.
    case maskPath(String, goesThroughNoLink: Bool = false)
    /// Makes a path and what is mounted below it read-only. An absent path is fine.
    case makeReadonly(String)
    /// Makes the root mount itself read-only, not what is mounted on it.
    case makeRootReadonly
    /// Says how mounts on the root and below it travel from now on (OCI's rootfsPropagation). Last of the init steps.
    case setRootPropagation(MountPropagation)
}

/// The namespaces a container gets of its own and those it shares.
package struct NamespacePlan: Sendable, Hashable {
    package struct Kinds: OptionSet, Sendable, Hashable {
        package let rawValue: UInt64
        package init(rawValue: UInt64) { self.rawValue = rawValue }
        // The kernel's CLONE_NEW* values.
        package static let time = Kinds(rawValue: 0x0000_0080)
        package static let mount = Kinds(rawValue: 0x0002_0000)
        package static let cgroup = Kinds(rawValue: 0x0200_0000)
        package static let uts = Kinds(rawValue: 0x0400_0000)
        package static let ipc = Kinds(rawValue: 0x0800_0000)
        package static let user = Kinds(rawValue: 0x1000_0000)
        package static let pid = Kinds(rawValue: 0x2000_0000)
        package static let network = Kinds(rawValue: 0x4000_0000)
    }

    /// A namespace that is there already: another container's, or one that a network driver prepared.
    package struct Join: Sendable, Hashable {
        package var kind: Kinds
        package var source: HostSource
        package init(kind: Kinds, source: HostSource) {
            self.kind = kind
            self.source = source
        }
    }

    /// Made new, owned by the container's user namespace. `mount` is always made.
    package var create: Kinds
    /// Joined, the user namespace first. Sharing net, ipc or pid with a container implies its user namespace (kernel-notes §2).
    package var join: [Join]
    /// For a new user namespace only; `hostID`s are the container's range.
    package var uidMappings: [IDMapping]
    package var gidMappings: [IDMapping]

    package init(create: Kinds, join: [Join] = [], uidMappings: [IDMapping] = [], gidMappings: [IDMapping] = []) {
        self.create = create
        self.join = join
        self.uidMappings = uidMappings
        self.gidMappings = gidMappings
    }
}

/// One line of a uid_map or gid_map, in the runtime spec's words.
package struct IDMapping: Sendable, Hashable {
    package var containerID: UInt32
    package var hostID: UInt32
    package var size: UInt32
    package init(containerID: UInt32, hostID: UInt32, size: UInt32) {
        self.containerID = containerID
        self.hostID = hostID
        self.size = size
    }
}

/// Where a host object comes from: a path, or a descriptor that the engine passes when it spawns the shim (`passed(0)` is the shim's fd 7).
package enum HostSource: Sendable, Hashable {
    case path(String)
    case passed(Int)
}

/// The kernel's MOUNT_ATTR_* flags.
package struct MountAttributes: OptionSet, Sendable, Hashable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package static let readonly = MountAttributes(rawValue: 0x1)
    package static let nosuid = MountAttributes(rawValue: 0x2)
    package static let nodev = MountAttributes(rawValue: 0x4)
    package static let noexec = MountAttributes(rawValue: 0x8)
    package static let noatime = MountAttributes(rawValue: 0x10)
    package static let strictatime = MountAttributes(rawValue: 0x20)
    package static let nodiratime = MountAttributes(rawValue: 0x80)
    package static let nosymfollow = MountAttributes(rawValue: 0x20_0000)
    /// All bits that say when access times are written: cleared before one of them is set.
    package static let accessTimes = MountAttributes(rawValue: 0x70)
    /// A node of the host's devices: it is read and written through a read-only mount as ever, but nobody changes the node itself (mode, owner,
    /// times, attributes), which is everybody's.
    package static let ofNode: MountAttributes = [.readonly, .nosuid, .noexec]
}

/// What mount_setattr(2) sets and clears.
package struct AttributeChange: Sendable, Hashable {
    package var set: MountAttributes
    package var clear: MountAttributes

    package init(set: MountAttributes = [], clear: MountAttributes = []) {
        self.set = set
        self.clear = clear
    }
}

/// A detached clone of a host path, made private, id-mapped and restricted before the container can see it.
package struct TreePlan: Sendable, Hashable {
    package enum Mapping: Sendable, Hashable {
        /// Ids are the host's.
        case none
        /// Ids on disk are the container's ids: its user namespace's mapping.
        case container
        /// A mapping of its own (a folder of an ordinary user, who is the container's user on this tree).
        /// `containerID` is the id on disk, `hostID` the id as the kernel shall see it.
        case custom(uid: [IDMapping], gid: [IDMapping])
    }

    /// What the source must be; checked on the opened descriptor, not on the path.
    package enum Expectation: Sendable, Hashable {
        case anything
        case directory
        case regularFile
        case characterDevice(major: UInt32, minor: UInt32)
        /// The very one that was looked at: `st_dev` and `st_ino` (stat(2)).
        case object(device: UInt64, inode: UInt64)
    }

    package var slot: TreeSlot
    package var source: HostSource
    package var recursive: Bool
    package var mapping: Mapping
    /// Set on the tree and, when it is recursive, on all mounts below it.
    package var attributes: MountAttributes
    package var expectation: Expectation
    /// False lets a last symbolic link be followed (bind sources as users write them).
    package var refusesSymlinks: Bool
    /// Cleared where `attributes` are set.
    package var cleared: MountAttributes
    /// Of the top mount alone, after the others.
    package var top: AttributeChange
    /// `unchanged` counts as `private`: nothing that is handed over may be tied to the host by oversight.
    package var propagation: MountPropagation
    /// Ids of what is mounted below the top stay as they are (`idmap` beside `rbind`).
    package var mapsTopOnly = false
    /// The path was found without a symbolic link in it, and must be so still (RESOLVE_NO_SYMLINKS, openat2(2)).
    package var goesThroughNoLink = false

    package init(
        slot: TreeSlot, source: HostSource, recursive: Bool = false, mapping: Mapping = .none, attributes: MountAttributes = [],
        expectation: Expectation = .anything, refusesSymlinks: Bool = false, cleared: MountAttributes = [],
        top: AttributeChange = AttributeChange(), propagation: MountPropagation = .private
    ) {
        self.cleared = cleared
        self.top = top
        self.propagation = propagation
        self.slot = slot
        self.source = source
        self.recursive = recursive
        self.mapping = mapping
        self.attributes = attributes
        self.expectation = expectation
        self.refusesSymlinks = refusesSymlinks
    }
}

/// An overlay below one store tree. Paths are relative to the store's tree and opened beneath it.
package struct OverlayPlan: Sendable, Hashable {
    package var slot: TreeSlot
    package var store: TreeSlot
    /// Top first, as overlay wants them.
    package var lowers: [String]
    package var upper: String
    package var work: String
    package var attributes: MountAttributes
    /// The host ids as which the overlay is made: what the container's 0 maps to. 0 without a user namespace.
    package var ownerUID: UInt32
    package var ownerGID: UInt32

    package init(
        slot: TreeSlot, store: TreeSlot, lowers: [String], upper: String, work: String, attributes: MountAttributes = [.nodev],
        ownerUID: UInt32, ownerGID: UInt32
    ) {
        self.slot = slot
        self.store = store
        self.lowers = lowers
        self.upper = upper
        self.work = work
        self.attributes = attributes
        self.ownerUID = ownerUID
        self.ownerGID = ownerGID
    }
}

/// A new file system inside the container.
package struct FilesystemPlan: Sendable, Hashable {
    /// A `fsconfig` parameter; without a value it is a flag.
    package struct Option: Sendable, Hashable {
        package var key: String
        package var value: String?
        package init(_ key: String, _ value: String? = nil) {
            self.key = key
            self.value = value
        }
        var text: String { value.map { "\(key)=\($0)" } ?? key }
    }

    package var type: String
    package var target: String
    package var options: [Option]
    package var attributes: MountAttributes
    /// Creates a missing target folder.
    package var createsTarget: Bool
    /// Refuses a target that is reached over a symbolic link (/proc, /sys: attack 10).
    package var refusesSymlinks: Bool
    /// Goes on when the kernel refuses (a v1 controller that is not there).
    package var optional: Bool
    /// Copies what the target holds into the new file system first (`tmpcopyup`).
    package var copiesUp: Bool
    package var propagation: MountPropagation

    package init(
        type: String, target: String, options: [Option] = [], attributes: MountAttributes = [], createsTarget: Bool = true,
        refusesSymlinks: Bool = true, optional: Bool = false, copiesUp: Bool = false, propagation: MountPropagation = .unchanged
    ) {
        self.copiesUp = copiesUp
        self.propagation = propagation
        self.type = type
        self.target = target
        self.options = options
        self.attributes = attributes
        self.createsTarget = createsTarget
        self.refusesSymlinks = refusesSymlinks
        self.optional = optional
    }
}

/// Puts a tree from a slot on a target below the container's root.
package struct AttachPlan: Sendable, Hashable {
    package enum Creation: UInt64, Sendable, Hashable {
        case never = 0
        /// Creates what the tree is: a folder for a folder, an empty file for anything else.
        case asSource = 1
    }

    package var slot: TreeSlot
    package var target: String
    package var creation: Creation
    package var refusesSymlinks: Bool

    package init(slot: TreeSlot, target: String, creation: Creation = .asSource, refusesSymlinks: Bool = false) {
        self.slot = slot
        self.target = target
        self.creation = creation
        self.refusesSymlinks = refusesSymlinks
    }
}
