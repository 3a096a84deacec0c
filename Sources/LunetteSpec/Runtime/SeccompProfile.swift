/// Which system calls pass, in OCI's words (`linux.seccomp`); Docker's profile files are read as well (see `Dialect`).
package struct SeccompProfile: Sendable, Hashable {
    package enum Action: String, CaseIterable, Sendable {
        case kill = "SCMP_ACT_KILL"
        case killProcess = "SCMP_ACT_KILL_PROCESS"
        case killThread = "SCMP_ACT_KILL_THREAD"
        case trap = "SCMP_ACT_TRAP"
        case errno = "SCMP_ACT_ERRNO"
        case trace = "SCMP_ACT_TRACE"
        case allow = "SCMP_ACT_ALLOW"
        case log = "SCMP_ACT_LOG"
        case notify = "SCMP_ACT_NOTIFY"
    }

    package enum Comparison: String, CaseIterable, Sendable {
        case notEqual = "SCMP_CMP_NE"
        case less = "SCMP_CMP_LT"
        case lessOrEqual = "SCMP_CMP_LE"
        case equal = "SCMP_CMP_EQ"
        case greaterOrEqual = "SCMP_CMP_GE"
        case greater = "SCMP_CMP_GT"
        case maskedEqual = "SCMP_CMP_MASKED_EQ"
    }

    /// A condition on one argument of a call, 0–5.
    package struct Argument: Sendable, Hashable {
        package var index: UInt32
        package var comparison: Comparison
        /// The operand; with `maskedEqual` the mask.
        package var value: UInt64
        /// With `maskedEqual` what the masked argument must equal.
        package var valueTwo: UInt64

        package init(_ index: UInt32, _ comparison: Comparison, _ value: UInt64, _ valueTwo: UInt64 = 0) {
            self.index = index
            self.comparison = comparison
            self.value = value
            self.valueTwo = valueTwo
        }
    }

    /// Says what happens to some calls when all conditions hold.
    package struct Rule: Sendable, Hashable {
        package var names: [String]
        package var action: Action
        package var errnoRet: UInt32?
        package var args: [Argument]

        package init(_ names: [String], _ action: Action, errno: UInt32? = nil, args: [Argument] = []) {
            self.names = names
            self.action = action
            errnoRet = errno
            self.args = args
        }
    }

    package var defaultAction: Action
    package var defaultErrnoRet: UInt32?
    /// `SCMP_ARCH_…` beside the machine's own, which is always judged. Processes of an ABI that isn't listed are killed.
    package var architectures: [String]
    package var flags: [String]
    package var syscalls: [Rule]
    /// The socket of the program that answers `SCMP_ACT_NOTIFY`; nil unless a rule notifies.
    package var listenerPath: String?
    /// Passed on to that program as it is.
    package var listenerMetadata: String?

    /// Some calls are answered by a program outside.
    package var notifies: Bool { syscalls.contains { $0.action == .notify } }

    package init(
        defaultAction: Action, defaultErrnoRet: UInt32? = nil, architectures: [String] = [], flags: [String] = [], syscalls: [Rule] = []
    ) {
        self.defaultAction = defaultAction
        self.defaultErrnoRet = defaultErrnoRet
        self.architectures = architectures
        self.flags = flags
        self.syscalls = syscalls
    }
}
