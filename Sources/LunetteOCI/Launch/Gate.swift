internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// The start gate: a listening socket that the container's pid 1 holds until `execve` closes it.
///
///     start                    pid 1, at the gate
///       │ connect                │
///       │ ── 103 ───────────────►│ seccomp, execve
///       │ ◄──────── end of file  │   it worked: the kernel closed the socket
///       │ ◄──────── lnt_failure  │   it didn't
///
/// With startContainer hooks, a word (108) comes before the end of file when they have run: an end without it is pid 1's own.
struct Gate: Sendable {
    private let folder: Directory

    static let fileName = "gate.sock"
    private static let open: UInt32 = 103
    private static let hooksHaveRun: UInt32 = 108

    init(_ folder: Directory) { self.folder = folder }

    // By the folder's descriptor: roots such as Docker's are longer than a socket's address may be.
    private var path: String { "/proc/self/fd/\(folder.descriptor.number)/\(Self.fileName)" }

    /// Whether somebody waits behind it.
    func isClosed() -> Bool {
        // Connecting tells the truth: the file may be left by a `start` that was killed after it had opened the gate.
        do throws(SystemCallError) { _ = try UnixSocket.connect(path, kind: .packet, patience: 0) } catch {
            // Who asked before stands in a full queue: pid 1 was stopped there.
            return error.errno == ErrorNumber.again
        }
        return true
    }

    /// Opens it, and waits until the program runs.
    /// - Parameters:
    ///   - process: what waits, by which a failure is told.
    ///   - wasKilled: asked where hooks run first and no word came of their end: whether pid 1 is gone. One of an older version says no word.
    /// - Throws: the launch failure; `invalid_state` when nobody waits.
    ///   - isStopped: whether pid 1 is, by SIGSTOP: it doesn't answer then.
    func open(
        _ id: String, _ process: RuntimeSpec.ProcessSection?, wasKilled: (() -> Bool)?, isStopped: () -> Bool
    ) throws(LunetteError) {
        var answer = try ask(id, isStopped)
        // Whoever waits there lets a caller go who says nothing for two seconds, and on a busy machine we may be that late: asked again.
        var attempts = 0
        while answer == nil, attempts < 5 {
            attempts += 1
            answer = try ask(id, isStopped)
        }
        guard let answer else { throw LunetteError(.invalidState, "start container \(id): the gate doesn't listen", target: id) }
        // Best effort: a file that stays is found to lead nowhere.
        try? folder.removeFile(Self.fileName)
        if answer == packet(Self.hooksHaveRun) { return }
        guard !answer.isEmpty else {
            guard let wasKilled, wasKilled() else { return }
            throw LunetteError(
                .invalidState, "start container \(id): its pid 1 was killed while a startContainer hook ran", target: id,
                hint: "delete it and create it anew")
        }
        guard let failure = LaunchFailure(packet: answer) else {
            throw LunetteError(.internal, "start container \(id): pid 1 answered with \(answer.count) bytes that mean nothing", target: id)
        }
        throw LaunchFields(process: process).naming(failure.error(operation: "start", target: id, reason: errnoText(failure.errno)))
    }

    /// - Returns: the answer, empty for "it runs"; nil when the other end closed without having read the word.
    private func ask(_ id: String, _ isStopped: () -> Bool) throws(LunetteError) -> [UInt8]? {
        let socket: UnixSocket
        do throws(SystemCallError) { socket = try UnixSocket.connect(path, kind: .packet, patience: 10_000) } catch {
            if error.errno == ErrorNumber.again {
                throw LunetteError(
                    .timeout, "start container \(id): its pid 1 doesn't come to the gate", target: id,
                    hint: "if somebody stopped it (SIGSTOP), lunette-oci kill \(id) CONT lets it go on")
            }
            guard error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.connectionRefused else { throw error.lunette }
            throw LunetteError(.invalidState, "start container \(id): nobody waits at its gate", target: id)
        }
        do throws(SystemCallError) {
            try socket.send(packet(Self.open))
        } catch {
            guard error.errno == ErrorNumber.brokenPipe || error.errno == ErrorNumber.connectionReset else { throw error.lunette }
            return nil
        }
        try waitForWord(id, socket, isStopped)
        do throws(SystemCallError) {
            let answer = try socket.receive(upTo: Int(LNT_MESSAGE_MAXIMUM))?.bytes ?? []
            guard answer == packet(Self.hooksHaveRun) else { return answer }
        } catch {
            return try closedUnread(error)
        }
        // The end of file that says that the program runs, or the failure.
        try waitForWord(id, socket, isStopped)
        do throws(SystemCallError) {
            let last = try socket.receive(upTo: Int(LNT_MESSAGE_MAXIMUM))?.bytes ?? []
            return last.isEmpty ? packet(Self.hooksHaveRun) : last
        } catch {
            return try closedUnread(error)
        }
    }

    /// However long hooks take, but not for who stands still.
    private func waitForWord(_ id: String, _ socket: UnixSocket, _ isStopped: () -> Bool) throws(LunetteError) {
        var timesStopped = 0
        while lnt_host_poll_one(socket.descriptor.number, 1, 500) == 0 {
            timesStopped = isStopped() ? timesStopped + 1 : 0
            guard timesStopped < 4 else {
                throw LunetteError(
                    .timeout, "start container \(id): its pid 1 was stopped (SIGSTOP)", target: id,
                    hint: "lunette-oci kill \(id) CONT lets it go on, and it starts then")
            }
        }
    }

    /// - Returns: nil: a word that was read and not answered is an end of file, not one of these.
    private func closedUnread(_ error: SystemCallError) throws(LunetteError) -> [UInt8]? {
        guard error.errno == ErrorNumber.brokenPipe || error.errno == ErrorNumber.connectionReset else { throw error.lunette }
        return nil
    }
}
