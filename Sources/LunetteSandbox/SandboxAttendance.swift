internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// One sandbox under way: its shim, and the socket that keeps it alive.
final class SandboxAttendance {
    private let socket: UnixSocket
    private let child: ProcessDescriptor
    private let spec: SandboxSpec
    private let facts: SandboxFacts
    private let report: AccessReport?
    /// Once the program runs.
    private var guarding: MountGuard?
    private let guarded: [String]
    private let ways: [String]
    /// When the mounts are looked at next, whatever is heard.
    private var nextLook = 0.0
    private let hasTerminal: Bool
    /// The caller's terminal, from which the program reads by itself (`--no-tty`, or its output goes elsewhere).
    private var sharedTerminal: FileDescriptor?
    /// Once the program has its terminal, when it gets one.
    private var relay: TerminalRelay?
    private var deadline: Double?
    private var exit: SandboxExit?
    private var failure: LunetteError?
    private var isEnding = false
    private var interrupts = 0
    /// Signals that came before we knew of a program to pass them on to.
    private var early: [Int32] = []
    /// When what didn't end by itself at a terminal, with one, or during its launch, is killed.
    private var patience: Double?
    private static let grace = 5.0

    init(_ plan: [UInt8], _ streams: SandboxRun.Streams, _ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) {
        self.spec = spec
        self.facts = facts
        let view = try SandboxView(spec, facts)
        guarded = view.mountsOnTheHost(facts)
        ways = view.waysOnTheHost(to: guarded)
        report = spec.reportsDenied ? try AccessReport(spec, facts) : nil
        hasTerminal = facts.terminal != nil
        deadline = spec.timeout.map { SystemClock.monotonic + $0 }
        let path = try ShimBinary.find(nil)
        do throws(SystemCallError) {
            if !hasTerminal, let input = streams.input, isatty(input.number) == 1 { sharedTerminal = try .duplicate(of: input.number) }
            let memory = try SealedMemory.make("lunette-plan", plan)
            let (ours, theirs) = try UnixSocket.pair(kind: .packet)
            // By path, not from sealed memory: in the sandbox the only process that runs from it is pid 1, which can't be looked into (attack 1).
            var request = SpawnRequest(.path(path), arguments: ["lunette-shim", "sandbox"])
            // 5 and 6 are folders of a container; a sandbox has none.
            request.descriptors = [streams.input, streams.output, streams.error, memory, theirs.descriptor, nil, nil]
            child = try spawn(request)
            socket = ours
            var start = lnt_attach()
            start.message.type = LNT_MSG_START.rawValue
            start.message.id = 1
            try socket.send(packet(start))
        } catch {
            var failure = error.lunette
            failure.message = "start the sandbox: \(failure.message)"
            throw failure
        }
    }

    /// Waits for the end of everything.
    func wait(signals: Int32, cancel: Int32) throws(LunetteError) -> SandboxExit {
        // Before anybody prints what is thrown or returned.
        defer { relay?.restore() }
        while exit == nil, failure == nil {
            var polls = [
                pollfd(fd: socket.descriptor.number, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
                pollfd(fd: cancel, events: Int16(POLLIN), revents: 0),
                pollfd(fd: report?.listener?.number ?? -1, events: Int16(POLLIN), revents: 0),
                // Asked for nothing, poll(2) tells of a hang-up: only the session's leader gets a signal, and that may be su or runuser.
                pollfd(fd: isEnding ? -1 : hasTerminal ? 0 : sharedTerminal?.number ?? -1, events: 0, revents: 0),
                pollfd(fd: guarding?.descriptor.number ?? -1, events: Int16(POLLPRI), revents: 0),
                pollfd(fd: guarding?.renames?.descriptor.number ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            relay?.watch(&polls)
            let left = [deadline, patience, guarding == nil ? nil : nextLook].compactMap { $0 }.min().map {
                max(0, $0 - SystemClock.monotonic)
            }
            // Rounded up: waking early would turn once more for nothing.
            let milliseconds = left.map { Int32(min(($0 * 1000).rounded(.up), 1e9)) } ?? -1
            let count = poll(&polls, nfds_t(polls.count), milliseconds)
            if count < 0, errno != EINTR { throw LunetteError(.io, "wait for the sandbox: \(errnoText(errno))", errno: errno) }
            if let deadline, SystemClock.monotonic >= deadline { timeOut() }
            if let patience, SystemClock.monotonic >= patience { end() }
            if guarding != nil, SystemClock.monotonic >= nextLook { look() }
            if count <= 0 { continue }
            if polls[3].revents != 0 { report?.serve() }
            if polls[0].revents != 0 { receive() }
            if polls[1].revents != 0 { passOn(signals) }
            if polls[2].revents != 0, !isEnding { end() }
            if polls[4].revents & Int16(POLLHUP | POLLERR) != 0, !isEnding { hangUp() }
            if polls[6].revents != 0 { guarding?.renames?.drain() }
            if polls[5].revents != 0 || polls[6].revents != 0 { look() }
            relay?.move(Array(polls[7...]))
        }
        try finish()
        // Nobody is left who could write to it.
        relay?.drain()
        if let failure = lost ?? failure { throw failure }
        var exit = exit!
        exit.denied = report?.denied ?? []
        return exit
    }

    /// The terminal is gone. A program that has it for its own is told as the session's leader would be, and has a moment.
    private func hangUp() {
        guard !hasTerminal, isRunning else { return end() }
        sharedTerminal = nil
        signal(SIGHUP, everyone: 2)
        if patience == nil { patience = SystemClock.monotonic + Self.grace }
    }

    /// Ends it where a rule doesn't hold any more.
    private func look() {
        nextLook = SystemClock.monotonic + MountGuard.interval
        let path: String?
        do throws(SystemCallError) { path = try guarding?.lost() } catch { return unguarded(error) }
        guard let path else { return }
        lost = LunetteError(
            .conflict,
            "the sandbox was ended: \(displayable(path)) was renamed, replaced or removed outside, and the rule for it went with that",
            target: path,
            hint:
                "leave it alone while the sandbox runs, or name rules for what doesn't change: the folder around it, or a copy (--private)")
        guarding = nil
        end()
    }
    private var lost: LunetteError?

    /// Nobody knows any more whether the rules hold.
    private func unguarded(_ error: SystemCallError) {
        lost = error.lunette
        lost?.message = "the sandbox was ended, for its mounts can't be watched: \(error.lunette.message)"
        guarding = nil
        end()
    }

    private func timeOut() {
        deadline = nil
        isTimedOut = true
        end()
    }
    private var isTimedOut = false

    /// Kills every process of the sandbox.
    private func end() {
        isEnding = true
        patience = nil
        signal(SIGKILL, everyone: 1)
    }

    private func signal(_ number: Int32, everyone: UInt32) {
        var request = lnt_signal()
        request.message.type = LNT_MSG_SIGNAL.rawValue
        request.message.id = 2
        request.signal = number
        request.everyone = everyone
        do throws(SystemCallError) { try socket.send(packet(request)) } catch {
            // The shim is gone, and the program with it: the socket tells that next.
        }
        if isEnding, everyone == 1, !isRunning { abort() }
    }
    private var isRunning = false

    /// What isn't running yet has no process to kill.
    private func abort() {
        var request = lnt_message()
        request.type = LNT_MSG_ABORT.rawValue
        request.id = 3
        // As above.
        do throws(SystemCallError) { try socket.send(packet(request)) } catch {}
    }

    private func passOn(_ signals: Int32) {
        while true {
            let number = lnt_next_signal(signals)
            if number == 0 { return }
            if hasTerminal, followTerminal(number) { continue }
            if [SIGCHLD, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGURG, SIGPIPE].contains(number) { continue }
            if number == SIGINT || number == SIGTERM { interrupts += 1 }
            // Whoever asks a third time means it.
            if interrupts >= 3 {
                end()
                continue
            }
            if !isRunning, [SIGINT, SIGTERM, SIGHUP].contains(number) {
                // It may run already, and have told so: then the signal is its own. A launch that hangs ends.
                early.append(number)
                if patience == nil, !isEnding { patience = SystemClock.monotonic + Self.grace }
                continue
            }
            tell(number)
        }
    }

    private func tell(_ number: Int32) {
        signal(number, everyone: 2)
        // No key of a terminal is SIGTERM: it comes from outside, to end this. Shells at a terminal ignore it.
        if hasTerminal, number == SIGTERM, patience == nil, !isEnding { patience = SystemClock.monotonic + Self.grace }
    }

    /// What concerns our own terminal and not the program's, whose line discipline makes signals of keys by itself.
    private func followTerminal(_ number: Int32) -> Bool {
        switch number {
        case SIGWINCH: relay?.resize()
        // Stopped, it would see no rule go: as without a terminal of its own, the signal changes nothing then.
        case SIGTSTP where guarding != nil: break
        case SIGTSTP:
            // The shell gets its terminal back as it was, and the sandbox runs on.
            relay?.restore()
            kill(getpid(), SIGSTOP)
            comeBack()
        case SIGCONT: comeBack()
        // The terminal is gone: nobody could reach the program any more.
        case SIGHUP: end()
        default: return false
        }
        return true
    }

    private func comeBack() {
        // Continued in the background, the terminal is still the shell's.
        guard tcgetpgrp(0) == getpgrp() else { return }
        relay?.makeRaw()
        relay?.resize()
    }

    private func receive() {
        let message: UnixSocket.Message?
        do throws(SystemCallError) { message = try socket.receiveLastWords(upTo: Int(LNT_MESSAGE_MAXIMUM), wait: false) } catch {
            failure = error.lunette
            return
        }
        guard let message else { return }
        guard let head = unpack(lnt_message.self, message.bytes) else {
            failure = LunetteError(.io, "wait for the sandbox: its monitor is gone", hint: "was lunette-shim killed?")
            return
        }
        switch lnt_message_type(head.type) {
        case LNT_MSG_STATE:
            guard let state = unpack(lnt_state.self, message.bytes), state.version == UInt32(LNT_SHIM_VERSION) else {
                failure = LunetteError(
                    .internal, "lunette-shim speaks another version", hint: "install lunette and lunette-shim from one release")
                return
            }
        case LNT_MSG_CREATED:
            guard hasTerminal, let master = message.descriptors.first else { return }
            do throws(LunetteError) { relay = try TerminalRelay(master, keepsOpen: true) } catch {
                failure = error
                return
            }
            relay?.resize()
        case LNT_MSG_STARTED:
            isRunning = true
            if let state = unpack(lnt_state.self, message.bytes) {
                do throws(SystemCallError) { guarding = try MountGuard(state.program_pid, guarded, ways: ways) } catch {
                    return unguarded(error)
                }
                look()
            }
            if !early.isEmpty { patience = nil }
            for number in early { tell(number) }
            early = []
        case LNT_MSG_LISTENER: report?.listener = message.descriptors.first
        case LNT_MSG_EXITED:
            guard let raw = unpack(lnt_exit.self, message.bytes) else { return }
            let name = raw.signal == 0 ? nil : Signal(number: Int64(raw.signal))?.name ?? "SIG\(raw.signal)"
            exit = SandboxExit(code: isTimedOut ? 124 : raw.code, signal: name, isTimedOut: isTimedOut)
            exit?.isOutOfMemory = raw.oom_kills > 0 && raw.code != 0
        case LNT_MSG_FAILED:
            if isTimedOut {
                exit = SandboxExit(code: 124, signal: "SIGKILL", isTimedOut: true)
            } else if isEnding {
                exit = SandboxExit(code: 137, signal: "SIGKILL")
            } else if let raw = LaunchFailure(packet: message.bytes) {
                failure = SandboxFailure.error(raw, spec, facts)
            }
        default: break
        }
    }

    /// Lets the shim go and waits until it has: then no process, no mount and no namespace of the sandbox is left.
    private func finish() throws(LunetteError) {
        socket.descriptor.close()
        // It would keep the sandbox's mounts.
        guarding = nil
        report?.listener = nil
        if !child.waitForExit(milliseconds: 10_000) { _ = try atBorder(nil, { () throws(SystemCallError) in try child.signal(SIGKILL) }) }
        _ = try atBorder("wait for lunette-shim", { () throws(SystemCallError) in try child.reap(block: true) })
    }
}
