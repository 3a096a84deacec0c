internal import CLinux
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// The engine's end of one shim's control socket: sends requests, keeps what the shim said. Any thread may use it.
///
/// The sequence of messages is drawn at the top of `shim_protocol.h`.
final class ShimConnection: Sendable {
    /// An exec that was asked for and what became of it.
    final class Exec: Sendable {
        let started = OneShot<Result<(process: UInt32, pid: Int32), LunetteError>>()
        let exited = OneShot<Result<ContainerExit, LunetteError>>()
    }

    private struct State {
        var nextID: UInt32 = 1
        var replies: [UInt32: OneShot<Result<UInt32, LunetteError>>] = [:]
        var execs: [UInt32: Exec] = [:]
        var status: ShimStatus?
        var watch: Poller.Watch?
        var isClosed = false
        var onOutOfMemory: (@Sendable (OutOfMemoryNews) -> Void)?
        /// The newest that came before anybody listened.
        var missedOutOfMemory: OutOfMemoryNews?
    }

    let id: String
    private let socket: UnixSocket
    private let state = Mutex(State())

    /// The first STATE: who is there and how far it is.
    let greeted = OneShot<Result<ShimStatus, LunetteError>>()
    /// The gate is reached, or it never will be.
    let created = OneShot<Result<ShimStatus, LunetteError>>()
    /// The program runs, or it never will.
    let started = OneShot<Result<ShimStatus, LunetteError>>()
    /// The program ended, as the shim told; nothing comes when the shim is killed before.
    let exited = OneShot<ContainerExit>()
    /// The other end is gone.
    let closed = OneShot<Void>()

    init(_ socket: UnixSocket, id: String) {
        self.socket = socket
        self.id = id
    }

    /// Begins to listen. `onEvent` is called on the poller's thread after the fields above were fulfilled, when the program ended or the shim is gone.
    func open(onEvent: @escaping @Sendable (ShimConnection) -> Void) throws(SystemCallError) {
        let watch = try Poller.shared.watch(socket.descriptor, .readable) { [self] _ in receive(onEvent) }
        let isClosed = state.withLock { state in
            state.watch = watch
            return state.isClosed
        }
        if isClosed { watch.cancel() }
    }

    /// Calls `body` on the poller's thread whenever the kernel killed for want of memory and something still runs; at once for what was missed.
    func whenOutOfMemory(_ body: @escaping @Sendable (OutOfMemoryNews) -> Void) {
        let missed = state.withLock { state in
            state.onOutOfMemory = body
            defer { state.missedOutOfMemory = nil }
            return state.missedOutOfMemory
        }
        if let missed { body(missed) }
    }

    var status: ShimStatus? { state.withLock { $0.status } }

    /// Ends the conversation; the shim goes on.
    func close() {
        socket.shutdown()
        end()
    }

    // MARK: receiving

    private func receive(_ onEvent: @Sendable (ShimConnection) -> Void) {
        while true {
            let bytes: [UInt8]
            do throws(SystemCallError) {
                guard let message = try socket.receiveLastWords(upTo: Int(LNT_MESSAGE_MAXIMUM), wait: false) else { return }
                bytes = message.bytes
            } catch {
                bytes = []
            }
            if bytes.isEmpty {
                end()
                onEvent(self)
                return
            }
            guard let decoded = ShimMessage(bytes) else { continue }
            handle(decoded)
            if case .exited = decoded { onEvent(self) }
            if case .failed = decoded { onEvent(self) }
        }
    }

    private func handle(_ message: ShimMessage) {
        switch message {
        case .state(let status):
            note(status)
            greeted.fulfil(.success(status))
            switch status.state {
            case .created?: created.fulfil(.success(status))
            case .running?:
                created.fulfil(.success(status))
                started.fulfil(.success(status))
            case .ended?:
                created.fulfil(.success(status))
                started.fulfil(.success(status))
                exited.fulfil(ContainerExit(status: status.status, oomKills: status.oomKills, finishedAt: status.endedAt))
            case .launching?, .failed?, nil: break
            }
        case .created(let status):
            note(status)
            created.fulfil(.success(status))
        case .started(let status):
            note(status)
            started.fulfil(.success(status))
        case .exited(let exit): exited.fulfil(exit)
        case .failed(_, let failure):
            let error = failure.error(operation: "container.start", target: id, reason: errnoText(failure.errno))
            created.fulfil(.failure(error))
            started.fulfil(.failure(error))
            exited.fulfil(ContainerExit(launchFailure: failure, id: id, finishedAt: SystemClock.now))
        case .done(let request, let error, let process):
            let reply = state.withLock { $0.replies.removeValue(forKey: request) }
            reply?.fulfil(error == 0 ? .success(process) : .failure(refusal(error)))
        case .execStarted(let request, let process, let pid): exec(request)?.started.fulfil(.success((process, pid)))
        case .execExited(let request, _, let exit): finish(request, .success(exit))
        case .execFailed(let request, _, let failure):
            finish(request, .failure(failure.error(operation: "container.exec", target: id, reason: errnoText(failure.errno))))
        case .outOfMemory(let news):
            let listener = state.withLock { state in
                if state.onOutOfMemory == nil { state.missedOutOfMemory = news }
                return state.onOutOfMemory
            }
            listener?(news)
        case .sinkDropped, .unknown: break
        }
    }

    private func note(_ status: ShimStatus) { state.withLock { $0.status = status } }
    private func exec(_ request: UInt32) -> Exec? { state.withLock { $0.execs[request] } }

    private func finish(_ request: UInt32, _ result: Result<ContainerExit, LunetteError>) {
        guard let exec = state.withLock({ $0.execs.removeValue(forKey: request) }) else { return }
        if case .failure(let error) = result { exec.started.fulfil(.failure(error)) }
        exec.exited.fulfil(result)
    }

    private func end() {
        let (watch, replies, execs) = state.withLock { state in
            state.isClosed = true
            defer {
                state.watch = nil
                state.replies = [:]
                state.execs = [:]
            }
            return (state.watch, Array(state.replies.values), Array(state.execs.values))
        }
        watch?.cancel()
        let gone = lostShim()
        greeted.fulfil(.failure(gone))
        created.fulfil(.failure(gone))
        started.fulfil(.failure(gone))
        for reply in replies { reply.fulfil(.failure(gone)) }
        for exec in execs {
            exec.started.fulfil(.failure(gone))
            exec.exited.fulfil(.failure(gone))
        }
        closed.fulfil(())
    }

    private func lostShim() -> LunetteError {
        LunetteError(
            .io, "the monitor of container \(id) is gone", target: id,
            hint: "the container ended, or its lunette-shim was killed; see `lunette inspect`")
    }

    private func refusal(_ errno: Int32) -> LunetteError {
        switch errno {
        case ErrorNumber.noProcess: LunetteError(.invalidState, "container \(id) has no such running process", target: id, errno: errno)
        case ErrorNumber.busy, ErrorNumber.exists:
            LunetteError(.conflict, "container \(id) is busy: \(errnoText(errno))", target: id, errno: errno)
        case ErrorNumber.invalid: LunetteError(.invalidState, "container \(id) can't do that now", target: id, errno: errno)
        default:
            LunetteError(
                errorCode(forErrno: errno), "the monitor of container \(id) refused: \(errnoText(errno))", target: id, errno: errno)
        }
    }

    // MARK: requests

    /// Sends a request and waits for its DONE.
    /// - Parameter build: makes the packet from the request's id.
    /// - Returns: the process number of the answer.
    @discardableResult
    func request(_ descriptors: [FileDescriptor] = [], _ build: (UInt32) -> [UInt8]) async throws(LunetteError) -> UInt32 {
        let reply = OneShot<Result<UInt32, LunetteError>>()
        let id = try await register { state, id in state.replies[id] = reply }
        return try await finish(reply, id, build(id), descriptors)
    }

    /// Asks for an exec.
    func exec(_ descriptors: [FileDescriptor], _ build: (UInt32) -> [UInt8]) async throws(LunetteError) -> Exec {
        let reply = OneShot<Result<UInt32, LunetteError>>()
        let exec = Exec()
        let id = try await register { state, id in
            state.replies[id] = reply
            state.execs[id] = exec
        }
        do throws(LunetteError) { _ = try await finish(reply, id, build(id), descriptors) } catch {
            state.withLock { _ = $0.execs.removeValue(forKey: id) }
            throw error
        }
        return exec
    }

    /// Sends without waiting for an answer.
    func post(_ descriptors: [FileDescriptor] = [], _ build: (UInt32) -> [UInt8]) async throws(LunetteError) {
        let id = try await register { _, _ in }
        try await send(build(id), descriptors)
    }

    private func register(_ body: (inout State, UInt32) -> Void) async throws(LunetteError) -> UInt32 {
        let id = state.withLock { state -> UInt32? in
            guard !state.isClosed else { return nil }
            let id = state.nextID
            state.nextID += 1
            body(&state, id)
            return id
        }
        guard let id else { throw await lastWord() }
        return id
    }

    /// Why a request found nobody: what the shim said before it went, which may still be on its way to us. A launch that fails at once
    /// is over before START is sent.
    private func lastWord() async -> LunetteError {
        await closed.value()
        if case .failure(let said)? = started.known { return said }
        return lostShim()
    }

    private func finish(
        _ reply: OneShot<Result<UInt32, LunetteError>>, _ id: UInt32, _ bytes: [UInt8], _ descriptors: [FileDescriptor]
    ) async throws(LunetteError) -> UInt32 {
        do throws(LunetteError) { try await send(bytes, descriptors) } catch {
            state.withLock { _ = $0.replies.removeValue(forKey: id) }
            throw error
        }
        guard let result = await reply.valueUnlessCancelled() else {
            throw LunetteError(.cancelled, "the wait for container \(self.id)'s monitor was cancelled", target: self.id)
        }
        return try result.get()
    }

    private func send(_ bytes: [UInt8], _ descriptors: [FileDescriptor]) async throws(LunetteError) {
        while true {
            do throws(SystemCallError) {
                if try socket.send(bytes, descriptors: descriptors, wait: false) != nil { return }
            } catch {
                if error.errno == ErrorNumber.brokenPipe || error.errno == ErrorNumber.connectionReset { throw await lastWord() }
                throw error.lunette
            }
            try await Poller.shared.wait(for: socket.descriptor, .writable)
        }
    }
}
