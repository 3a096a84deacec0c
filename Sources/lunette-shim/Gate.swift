import CLinux

/// What the stages of a launch and the shim say to each other over the gate, one packet each:
///
///     shim ── GO(slots) ──► namespace stage ── BORN(pid) ──► shim ◄── READY(pidfd, pty master) ── process stage
///     shim ── OPEN ──► process stage ── execve closes the gate: end of file = it worked
///     init ── HOOKS ──► shim ── PROCEED ──► init      only when the plan awaits hooks; both are one word
///     any stage ── lnt_failure ──► shim
enum GateMessage {
    static let go: UInt32 = 100
    static let born: UInt32 = 101
    static let ready: UInt32 = 102
    static let open: UInt32 = 103
    /// With a listening socket: who opens the gate connects there; nobody is at this end any more.
    static let handedOver: UInt32 = 104
    /// From pid 1: the runtime's own hooks are due. `proceed` answers it.
    static let hooks: UInt32 = 105
    static let proceed: UInt32 = 106
    /// With the descriptor of an attended program's notifications.
    static let watch: UInt32 = 107
    /// To who opened a gate that was handed over: the startContainer hooks have run. An end without it is pid 1's, in a hook.
    static let hooksHaveRun: UInt32 = 108
}

/// GO's content: where the trees are (the descriptor table is shared at that time).
struct GoMessage {
    var type: UInt32 = GateMessage.go
    var hostNull: Int32 = -1
}

struct BornMessage {
    var type: UInt32 = GateMessage.born
    var pid: Int32 = 0
}

struct ReadyMessage {
    var type: UInt32 = GateMessage.ready
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    var hasTerminal: UInt32 = 0
    /// Whether a hard limit has to go up, which is for the shim to do, if anybody may.
    var raisesLimits: UInt32 = 0

    /// Whether the descriptors that go with it have come: the pidfd, and the master of a terminal. The kernel leaves out those for which the
    /// receiver's table has no room (unix(7), MSG_CTRUNC), and a zero in their place would be our own stdin.
    func hasAll(_ received: lnt_received) -> Bool { received.count >= (hasTerminal != 0 ? 2 : 1) }
}

/// Tells the shim and ends the stage. Written with write(2), which every usable seccomp profile allows.
func report(_ failure: Failure, gate: Int32) -> Never {
    var record = failure.record(type: LNT_MSG_FAILED, id: 0, process: 0)
    _ = lnt_write(gate, &record, MemoryLayout<lnt_failure>.size)
    lnt_exit(1)
}

/// The container's side of its standard streams, and how its terminal is to be.
struct Stdio {
    var input: Int32 = -1
    var output: Int32 = -1
    var error: Int32 = -1
    var terminal = false
    var rows: UInt32 = 0
    var columns: UInt32 = 0
}

/// Closes descriptors that may not be there.
func closeAll(_ first: Int32, _ second: Int32, _ third: Int32, _ fourth: Int32) {
    if first >= 0 { _ = lnt_close(first) }
    if second >= 0 { _ = lnt_close(second) }
    if third >= 0 { _ = lnt_close(third) }
    if fourth >= 0 { _ = lnt_close(fourth) }
}

/// Ties the calling stage to its parent's life, the shim's. The signal comes only for a death after this call, so one before is looked for.
func dieWith(parent: Int32) {
    _ = lnt_prctl(Int32(LNT_PR_SET_PDEATHSIG), UInt(LNT_SIGKILL))
    if lnt_getppid() != parent { lnt_exit(1) }
}
