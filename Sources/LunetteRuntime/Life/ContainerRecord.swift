package import LunetteLinux
package import LunetteSpec

/// What the engine stores of a launched container so that a later engine finds it again.
package struct ContainerRecord: Sendable, Equatable {
    package var id: String
    /// The monitor; its death with no exit record means a lost shim.
    package var shim: ProcessIdentity
    /// The container's pid 1 as the host sees it.
    package var initProcess: ProcessIdentity?
    /// What isn't held here (no such controller, no device filter …), for `inspect`.
    package var notEnforced: [NotEnforced]

    package init(id: String, shim: ProcessIdentity, initProcess: ProcessIdentity?, notEnforced: [NotEnforced] = []) {
        self.id = id
        self.shim = shim
        self.initProcess = initProcess
        self.notEnforced = notEnforced
    }

    package var value: Value {
        var map: ValueMap = ["id": .string(id), "shim": shim.value, "not_enforced": .array(notEnforced.map(\.value))]
        if let initProcess { map["init"] = initProcess.value }
        return .map(map)
    }

    package init?(value: Value) {
        guard let id = value["id"]?.stringValue, let shim = value["shim"].flatMap(ProcessIdentity.init(value:)) else { return nil }
        self.init(
            id: id, shim: shim, initProcess: value["init"].flatMap(ProcessIdentity.init(value:)),
            notEnforced: value["not_enforced"]?.arrayValue?.compactMap(NotEnforced.init(value:)) ?? [])
    }
}

/// Gets what finds a container again, while its shim is still at work.
package typealias LaunchNotice = @Sendable (ContainerRecord) async throws(LunetteError) -> Void

/// How a container's (or an exec's) first process ended.
package struct ContainerExit: Sendable, Equatable {
    package enum Reason: String, Sendable {
        case exited, signal, oom, seccomp
        /// The launch never reached the program; `launchFailure` says why.
        case startFailed = "start_failed"
        /// Nobody saw the end: the shim was killed, or the machine restarted.
        case lost
    }

    /// 0…255; 128+n for signal n.
    package var code: Int32
    /// `SIGKILL`; nil when it returned.
    package var signal: String?
    package var oomKilled: Bool
    /// How many processes the kernel killed for want of memory in this run, the program or others.
    package var oomKills: Int64 = 0
    package var reason: Reason
    /// Unix seconds.
    package var finishedAt: Double
    package var launchFailure: LunetteError?

    package init(
        code: Int32, signal: String? = nil, oomKilled: Bool = false, reason: Reason = .exited, finishedAt: Double,
        launchFailure: LunetteError? = nil
    ) {
        self.code = code
        self.signal = signal
        self.oomKilled = oomKilled
        self.reason = reason
        self.finishedAt = finishedAt
        self.launchFailure = launchFailure
    }
}

/// What is really there of a container, read from the machine after an engine restart.
package enum ContainerObservation: Sendable {
    /// Launched, waiting at the gate for `start`.
    case created(Container)
    case running(Container)
    case paused(Container)
    /// Ended; the exit record was found whole.
    case exited(ContainerExit)
    /// The shim is gone but pid 1 runs on, without log. `Container.kill` and `exit` work (the exit code is lost).
    case unmonitored(Container)
    /// Nothing runs and nothing says how it ended (`exit.reason == .lost`), or it was never launched.
    case absent
}
