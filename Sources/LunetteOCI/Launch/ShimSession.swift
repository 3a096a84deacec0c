internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// A `lunette-shim` that carries out one plan for us and leaves when the program is in other hands (`supervision = handover`).
///
///     lunette-oci                       lunette-shim
///       │ spawn: 0 1 2 the program's, 3 socket    before there is a plan: both get ready at once
///       │ AHEAD ─────────────────────────►        which namespaces are going to be new: they are made meanwhile
///       │ PLAN: the plan, the container's folder twice, what is passed ──────────────────────►
///       │ CONTINUE ──────────────────────►        only when the plan awaits the cgroups: they are there
///       │ ◄───────────────── STATE
///       │ ◄───────────────── HOOKS        namespaces are there: createRuntime hooks
///       │ CONTINUE or ABORT ────────────►
///       │ ◄───────────────── CREATED      (with the terminal's master when we relay it), or FAILED
///       │ the record is written
///       │ RELEASE ──────────────────────► pid 1 waits at gate.sock, the shim leaves: pid 1 gets the next subreaper above as its parent
///
/// `run` sends START right after PLAN or CONTINUE, and STARTED or FAILED comes: until RELEASE our end is the container's. An exec's shim says
/// EXEC_STARTED or EXEC_FAILED and leaves by itself.
final class ShimSession {
    /// What the shim says of the process that it made.
    struct Handover {
        /// pid 1, or an exec's program.
        var pid: Int32
        var terminal: FileDescriptor?
    }

    private let socket: UnixSocket
    /// The mount that the shim runs from. Its end waits for the kernel's readers, so it comes when there is nothing else to do.
    private let program: FileDescriptor
    private let child: ProcessDescriptor
    private let id: String
    private var isOver = false

    /// Starts a shim that has no plan yet: it gets ready while the plan is made, and leaves when we do.
    /// - Parameter id: what the shim is called by in a list of processes.
    init(id: String) throws(LunetteError) {
        self.id = id
        let path = try ShimBinary.find(nil)
        do throws(SystemCallError) {
            program = try ShimBinary.openReadOnly(path)
            let (ours, theirs) = try UnixSocket.pair(kind: .packet)
            var request = SpawnRequest(.descriptor(program), arguments: ["lunette-shim", id], descriptors: [])
            for number: Int32 in 0...2 { request.descriptors.append(try FileDescriptor.duplicate(of: number)) }
            request.descriptors.append(theirs.descriptor)
            child = try spawn(request)
            socket = ours
        } catch {
            var failure = error.lunette
            failure.message = "start lunette-shim for container \(id): \(failure.message)"
            throw failure
        }
    }

    deinit { abandon() }

    /// Has the shim make namespaces of the host's user namespace that the plan is going to want new.
    func make(ahead kinds: NamespacePlan.Kinds) {
        let message = lnt_message(type: LNT_MSG_AHEAD.rawValue, id: UInt32(truncatingIfNeeded: kinds.rawValue))
        // A shim that is gone is noticed at the next receive.
        _ = try? socket.send(packet(message))
    }

    /// Hands the plan over, and what it names.
    /// - Parameters:
    ///   - plan: encoded.
    ///   - folder: the container's.
    ///   - passed: fd 7 and on, as `HostSource.passed` counts.
    func carryOut(_ plan: [UInt8], folder: Directory, passed: [FileDescriptor]) throws(LunetteError) {
        do throws(SystemCallError) {
            let all = [try SealedMemory.make("lunette-plan", plan), folder.descriptor, folder.descriptor] + passed
            let message = lnt_message(type: LNT_MSG_PLAN.rawValue, id: UInt32(all.count))
            let atOnce = 8
            for first in stride(from: 0, to: all.count, by: atOnce) {
                try socket.send(
                    packet(message), descriptors: Array(all[first..<min(first + atOnce, all.count)]))
            }
        } catch { throw lost("\(error)") }
    }

    /// Tells a shim that awaits the cgroups that they are there.
    func goOn() { answer(LNT_MSG_CONTINUE) }

    /// Gives up whatever the shim hasn't been released from, and waits until it is gone. After `finish` there is nothing to give up.
    func abandon() {
        guard !isOver else { return }
        // A shim ends with its socket, and takes along what it has made. One that hangs is killed, and what it made ends with it.
        socket.descriptor.close()
        if !child.waitForExit(milliseconds: 10_000) { _ = try? child.signal(SIGKILL) }
        finish()
    }

    /// Waits until the container is created or the exec runs.
    /// - Parameter hooks: run when the namespaces exist; a throw ends the launch.
    /// - Throws: the launch failure, having waited for the shim's end: nothing of the launch is left then.
    func wait(hooks: (Int32) throws(LunetteError) -> Void) throws(LunetteError) -> Handover {
        var hookFailure: LunetteError?
        program.close()
        while true {
            let received: UnixSocket.Message?
            do throws(SystemCallError) { received = try socket.receiveLastWords(upTo: Int(LNT_MESSAGE_MAXIMUM)) } catch {
                throw hookFailure ?? lost("\(error)")
            }
            guard let message = received, let head = unpack(lnt_message.self, message.bytes) else { throw hookFailure ?? lost(nil) }
            switch lnt_message_type(head.type) {
            case LNT_MSG_HOOKS:
                guard let state = unpack(lnt_state.self, message.bytes) else { throw lost("a short message") }
                do throws(LunetteError) {
                    try hooks(state.init_pid)
                    answer(LNT_MSG_CONTINUE)
                } catch {
                    hookFailure = error
                    answer(LNT_MSG_ABORT)
                }
            case LNT_MSG_CREATED:
                guard let state = unpack(lnt_state.self, message.bytes) else { throw lost("a short message") }
                return Handover(pid: state.init_pid, terminal: message.descriptors.first)
            case LNT_MSG_EXEC_STARTED:
                guard let event = unpack(lnt_exec_event.self, message.bytes) else { throw lost("a short message") }
                return Handover(pid: event.pid, terminal: message.descriptors.first)
            case LNT_MSG_FAILED, LNT_MSG_EXEC_FAILED:
                guard let failure = LaunchFailure(packet: message.bytes) else { throw lost("a short message") }
                finish()
                throw hookFailure ?? failure.error(operation: "create", target: id, reason: errnoText(failure.errno))
            default: break
            }
        }
    }

    /// Leaves the created container at its gate.
    func release() throws(LunetteError) {
        answer(LNT_MSG_RELEASE)
        try expect(LNT_MSG_DONE)
        finish()
    }

    /// Has the program run as soon as it is ready.
    func start() {
        let request = lnt_attach(
            message: lnt_message(type: LNT_MSG_START.rawValue, id: 1), flags: 0, process: 0, rows: 0, columns: 0,
            key: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        // A shim that is gone is noticed at the next receive.
        _ = try? socket.send(packet(request))
    }

    /// Waits until the program that was started runs, then leaves it.
    /// - Throws: the launch failure when it can't be executed.
    func leave() throws(LunetteError) {
        try expect(LNT_MSG_STARTED)
        answer(LNT_MSG_RELEASE)
        finish()
    }

    /// Reads on until a message of the kind comes; a refusal and a failure are thrown.
    private func expect(_ wanted: lnt_message_type) throws(LunetteError) {
        while true {
            let received: UnixSocket.Message?
            do throws(SystemCallError) { received = try socket.receiveLastWords(upTo: Int(LNT_MESSAGE_MAXIMUM)) } catch {
                throw lost("\(error)")
            }
            guard let bytes = received?.bytes, let head = unpack(lnt_message.self, bytes) else { throw lost(nil) }
            switch lnt_message_type(head.type) {
            case LNT_MSG_DONE:
                guard let done = unpack(lnt_done.self, bytes), done.error == 0 else {
                    throw lost("it refused: \(errnoText(unpack(lnt_done.self, bytes)?.error ?? 0))")
                }
                if wanted == LNT_MSG_DONE { return }
            case LNT_MSG_FAILED:
                guard let failure = LaunchFailure(packet: bytes) else { throw lost("a short message") }
                finish()
                throw failure.error(operation: "start", target: id, reason: errnoText(failure.errno))
            case wanted: return
            default: break
            }
        }
    }

    private func answer(_ type: lnt_message_type) {
        let message = lnt_message(type: type.rawValue, id: 1)
        // A shim that is gone is noticed at the next receive.
        _ = try? socket.send(packet(message))
    }

    /// Waits for the shim's end: only then does the program have its new parent.
    func finish() {
        isOver = true
        // Our own child: it can't be anybody else's, and there is nothing to do about a failure.
        _ = try? child.reap(block: true)
    }

    private func lost(_ why: String?) -> LunetteError {
        isOver = true
        // It hangs or is gone; what it made ends with it.
        _ = try? child.signal(SIGKILL)
        let status = (try? child.reap(block: true)).flatMap { $0 }.map(WaitStatus.init(raw:))
        let how =
            why ?? status.map { $0.signal.map { "it was killed by signal \($0)" } ?? "it ended with exit code \($0.code)" } ?? "it is gone"
        return LunetteError(.io, "launch container \(id): lunette-shim left without a word: \(how)", target: id)
    }
}
