internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// One packet from a shim, decoded. The structs are `shim_protocol.h`'s.
enum ShimMessage: Sendable {
    case state(ShimStatus)
    case created(ShimStatus)
    case started(ShimStatus)
    case exited(ContainerExit)
    case failed(request: UInt32, LaunchFailure)
    case done(request: UInt32, error: Int32, process: UInt32)
    case execStarted(request: UInt32, process: UInt32, pid: Int32)
    case execExited(request: UInt32, process: UInt32, ContainerExit)
    case execFailed(request: UInt32, process: UInt32, LaunchFailure)
    case sinkDropped(process: UInt32, stream: UInt32)
    case outOfMemory(OutOfMemoryNews)
    case unknown(UInt32)

    /// nil when the packet is shorter than what its type says.
    init?(_ bytes: [UInt8]) {
        guard let head = unpack(lnt_message.self, bytes) else { return nil }
        switch lnt_message_type(head.type) {
        case LNT_MSG_STATE, LNT_MSG_CREATED, LNT_MSG_STARTED:
            guard let raw = unpack(lnt_state.self, bytes) else { return nil }
            let status = ShimStatus(raw)
            self =
                switch lnt_message_type(head.type) {
                case LNT_MSG_STATE: .state(status)
                case LNT_MSG_CREATED: .created(status)
                default: .started(status)
                }
        case LNT_MSG_EXITED:
            guard let raw = unpack(lnt_exit.self, bytes) else { return nil }
            self = .exited(
                ContainerExit(status: raw.status, oomKills: Int64(clamping: raw.oom_kills), finishedAt: Double(raw.ended_at) / 1e9))
        case LNT_MSG_FAILED:
            guard let failure = LaunchFailure(packet: bytes) else { return nil }
            self = .failed(request: head.id, failure)
        case LNT_MSG_EXEC_FAILED:
            guard let raw = unpack(lnt_failure.self, bytes), let failure = LaunchFailure(packet: bytes) else { return nil }
            self = .execFailed(request: head.id, process: raw.process, failure)
        case LNT_MSG_DONE:
            guard let raw = unpack(lnt_done.self, bytes) else { return nil }
            self = .done(request: head.id, error: raw.error, process: raw.process)
        case LNT_MSG_EXEC_STARTED, LNT_MSG_EXEC_EXITED, LNT_MSG_SINK_DROPPED:
            guard let raw = unpack(lnt_exec_event.self, bytes) else { return nil }
            self =
                switch lnt_message_type(head.type) {
                case LNT_MSG_EXEC_STARTED: .execStarted(request: head.id, process: raw.process, pid: raw.pid)
                case LNT_MSG_EXEC_EXITED:
                    .execExited(
                        request: head.id, process: raw.process,
                        ContainerExit(status: raw.status, oomKills: 0, finishedAt: Double(raw.time) / 1e9))
                default: .sinkDropped(process: raw.process, stream: raw.stream)
                }
        case LNT_MSG_OUT_OF_MEMORY:
            guard let raw = unpack(lnt_oom.self, bytes) else { return nil }
            self = .outOfMemory(OutOfMemoryNews(kills: Int64(clamping: raw.kills), endsGroup: raw.ends_group != 0))
        default: self = .unknown(head.type)
        }
    }
}

/// What a shim says of its container.
struct ShimStatus: Sendable, Equatable {
    enum State: UInt32, Sendable { case launching, created, running, ended, failed }

    var version: UInt32
    var state: State?
    var shimPID: Int32
    /// 0 when there is none.
    var initPID: Int32
    var programPID: Int32
    var status: Int32
    var oomKills: Int64
    /// Unix seconds; 0 = not yet.
    var startedAt: Double
    var endedAt: Double
    /// CLOCK_MONOTONIC seconds by phase; 0 = not reached.
    var marks: [Double]

    init(_ raw: lnt_state) {
        version = raw.version
        state = State(rawValue: raw.state)
        shimPID = raw.shim_pid
        initPID = raw.init_pid
        programPID = raw.program_pid
        status = raw.status
        oomKills = Int64(clamping: raw.oom_kills)
        startedAt = Double(raw.started_at) / 1e9
        endedAt = Double(raw.ended_at) / 1e9
        marks = withUnsafeBytes(of: raw.marks) { $0.bindMemory(to: UInt64.self).map { Double($0) / 1e9 } }
    }

    static let markNames = ["spawn", "namespaces", "trees", "init", "gate", "execute"]
}

extension ContainerExit {
    /// From a raw wait status and what the memory cgroup counted.
    init(status: Int32, oomKills: Int64, finishedAt: Double) {
        let wait = WaitStatus(raw: status)
        let kill: Int32 = 9
        let badSystemCall: Int32 = 31
        // The kernel may have killed a child that the program got over: only a failure is called out of memory.
        let wasOutOfMemory = oomKills > 0 && wait.code != 0
        let reason: Reason =
            switch wait.signal {
            case kill? where wasOutOfMemory: .oom
            case badSystemCall?: .seccomp
            case .some: .signal
            // A shell or an init reports its child's death as 128+n.
            case nil: wasOutOfMemory && wait.code == 128 + kill ? .oom : .exited
            }
        self.init(
            code: wait.code, signal: wait.signal.map { Signal(number: Int64($0))?.name ?? "SIG\($0)" }, oomKilled: wasOutOfMemory,
            reason: reason, finishedAt: finishedAt)
        self.oomKills = oomKills
    }

    /// Reads the shim's `exit` file.
    /// - Returns: nil when it isn't one (then nothing is known).
    init?(record bytes: [UInt8], id: String) {
        guard let value = try? JSON.decode(bytes, source: "exit record") else { return nil }
        let finished = value["finished_at"]?.stringValue.flatMap(Timestamp.seconds) ?? 0
        if let failure = value["failure"] {
            let launch = LaunchFailure(
                step: LaunchOpcode.allCases.first { $0.name == failure["step"]?.stringValue } ?? .setUp,
                index: Int(failure["index"]?.intValue ?? 0),
                call: failure["call"]?.stringValue ?? "", errno: Int32(clamping: failure["errno"]?.intValue ?? 0),
                path: failure["path"]?.stringValue ?? "")
            self.init(launchFailure: launch, id: id, finishedAt: finished)
            return
        }
        guard let status = value["status"]?.intValue.flatMap({ Int32(exactly: $0) }) else { return nil }
        self.init(status: status, oomKills: value["oom_kills"]?.intValue ?? 0, finishedAt: finished)
    }

    init(launchFailure: LaunchFailure, id: String, finishedAt: Double) {
        self.init(
            code: launchFailure.exitCode, reason: .startFailed, finishedAt: finishedAt,
            launchFailure: launchFailure.error(operation: "container.start", target: id, reason: errnoText(launchFailure.errno)))
    }

    static func lost(at time: Double) -> ContainerExit { ContainerExit(code: 255, reason: .lost, finishedAt: time) }
}
