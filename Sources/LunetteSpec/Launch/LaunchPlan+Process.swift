/// The program of a container or of an exec, and what it is allowed. Carried out in this order: session keyring, tty or pipes, rlimits
/// (from outside), working directory, umask, groups, user, capabilities, no_new_privs, seccomp, gate, execve.
package struct ProcessPlan: Sendable, Hashable {
    /// argv; the first is looked up in PATH of `environment` inside the container unless it has a slash.
    package var arguments: [String]
    /// `NAME=value`. HOME is added from the container's /etc/passwd when it isn't here.
    package var environment: [String]
    /// Absolute, inside the container; created when missing (not for an exec).
    package var workingDirectory: String
    /// `uid`, `name`, `uid:gid`, `name:group`; resolved inside the root. Numbers are validated by the planner.
    package var user: String
    /// More groups, as names or numbers. Those that /etc/group lists for the user are added by the shim.
    package var additionalGroups: [String]
    package var umask: UInt32
    package var rlimits: [ResourceLimit]
    package var capabilities: CapabilityPlan
    package var noNewPrivileges: Bool
    /// A compiled BPF program (`struct sock_filter[]`), empty for none.
    package var seccompProgram: [UInt8]
    /// SECCOMP_FILTER_FLAG_*: 1 = for all threads, 2 = log, 4 = speculation allowed, 32 = a notified call waits for its answer killably.
    package var seccompFlags: UInt64
    /// Who answers the calls that the program notifies; nil when it notifies none.
    package var seccompListener: SeccompListenerPlan?
    /// Nil without Landlock.
    package var landlock: LandlockPlan?
    /// A pty of the container's own; stdout and stderr are then one stream.
    package var terminal: Bool
    package var terminalRows: UInt16
    package var terminalColumns: UInt16
    /// Without it stdin is /dev/null.
    package var stdin: Bool
    package var scheduling = SchedulingPlan()
    /// Run by the program's process when the gate has opened, before it becomes the program (OCI's startContainer).
    package var startHooks: [HookPlan] = []

    package init(
        arguments: [String], environment: [String] = [], workingDirectory: String = "/", user: String = "0",
        additionalGroups: [String] = [],
        umask: UInt32 = 0o022, rlimits: [ResourceLimit] = [], capabilities: CapabilityPlan = CapabilityPlan(), noNewPrivileges: Bool = true,
        seccompProgram: [UInt8] = [], seccompFlags: UInt64 = 0, terminal: Bool = false, terminalRows: UInt16 = 0,
        terminalColumns: UInt16 = 0,
        stdin: Bool = false
    ) {
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
        self.additionalGroups = additionalGroups
        self.umask = umask
        self.rlimits = rlimits
        self.capabilities = capabilities
        self.noNewPrivileges = noNewPrivileges
        self.seccompProgram = seccompProgram
        self.seccompFlags = seccompFlags
        self.terminal = terminal
        self.terminalRows = terminalRows
        self.terminalColumns = terminalColumns
        self.stdin = stdin
    }
}

/// Bit sets by capability number (CAP_CHOWN is bit 0). Sets beyond `bounding` are refused by the kernel.
package struct CapabilityPlan: Sendable, Hashable {
    package var bounding: UInt64
    package var effective: UInt64
    package var permitted: UInt64
    package var inheritable: UInt64
    package var ambient: UInt64

    package init(bounding: UInt64 = 0, effective: UInt64? = nil, permitted: UInt64? = nil, inheritable: UInt64 = 0, ambient: UInt64 = 0) {
        self.bounding = bounding
        self.effective = effective ?? bounding
        self.permitted = permitted ?? bounding
        self.inheritable = inheritable
        self.ambient = ambient
    }

    mutating func limit(to grantable: UInt64) {
        bounding &= grantable
        effective &= grantable
        permitted &= grantable
        inheritable &= grantable
        ambient &= grantable
    }
}

/// One rlimit by the kernel's number (RLIMIT_NOFILE is 7); `UInt64.max` is unlimited.
package struct ResourceLimit: Sendable, Hashable {
    package var resource: UInt32
    package var soft: UInt64
    package var hard: UInt64
    package init(resource: UInt32, soft: UInt64, hard: UInt64) {
        self.resource = resource
        self.soft = soft
        self.hard = hard
    }
}

/// How the shim looks after the program.
package struct MonitorPlan: Sendable, Hashable {
    /// What pid 1 does when it sees the shim's socket close.
    package enum ShimDeath: UInt64, Sendable, Hashable {
        /// Ends the container.
        case kill = 0
        /// Goes on; output is read and thrown away.
        case goOn = 1
    }

    /// A reaping init as pid 1; without it the program is pid 1.
    package var initProcess: Bool
    package var shimDeath: ShimDeath
    /// False: output goes to attached sinks only.
    package var log: Bool
    /// A log file is rotated before it would grow beyond this; 0 = never.
    package var logMaximumSize: UInt64
    /// `log` and its rotated companions together; at least 1.
    package var logMaximumFiles: UInt64
    /// `memory.oom_control` (v1) or `memory.events` (v2) of the container's cgroup, for the exit record's `oom_kills`.
    package var oomEvents: String?

    package init(
        initProcess: Bool = true, shimDeath: ShimDeath = .kill, log: Bool = true, logMaximumSize: UInt64 = 16 << 20,
        logMaximumFiles: UInt64 = 5, oomEvents: String? = nil
    ) {
        self.initProcess = initProcess
        self.shimDeath = shimDeath
        self.log = log
        self.logMaximumSize = logMaximumSize
        self.logMaximumFiles = logMaximumFiles
        self.oomEvents = oomEvents
    }
}

/// A program that joins a running container.
package struct ExecPlan: Sendable, Hashable {
    package var process: ProcessPlan
    /// As in `LaunchStep.joinCgroups`: the container's own.
    package var cgroupsV1: [String]
    package var cgroupV2: String?
    /// As in `LaunchStep.rootless`: what an ordinary user's container was made with.
    package var rootless: RootlessPlan?
    /// Given: the shim that carries it out leaves once the program runs.
    package var handover: HandoverPlan?

    package init(process: ProcessPlan, cgroupsV1: [String] = [], cgroupV2: String? = nil) {
        self.process = process
        self.cgroupsV1 = cgroupsV1
        self.cgroupV2 = cgroupV2
    }
}
