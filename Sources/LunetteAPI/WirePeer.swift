internal import Glibc
package import LunetteSpec
import Synchronization

/// Speaks the protocol over one connection: makes calls and answers the other end's, both ways alike.
package final class WirePeer: Sendable {
    /// One request of the other end. Its descriptors are closed when its answer has been made.
    package struct Call: Sendable {
        package var method: String
        package var params: [Value]
        package var files: [Int32]
        /// Streams one value to the caller, waiting until it takes it.
        package var chunk: @Sendable (Value) async throws(LunetteError) -> Void
    }

    package enum Outcome: Sendable {
        case answer(Result<Value, LunetteError>)
        /// The connection ended first: nobody knows what became of the call.
        case lost
    }

    package typealias Answer = @Sendable (Call) async -> Result<Value, LunetteError>

    private struct Pending {
        var mailbox: WireMailbox
        var cancelledAt: Double?
    }

    private struct Inbound {
        var method: String
        var bytes: Int
        var task: Task<Void, Never>
        var credit: WireCredit
    }

    private struct State {
        var next: UInt32 = 1
        var pending: [UInt32: Pending] = [:]
        var inbound: [UInt32: Inbound] = [:]
        /// Of the requests in `inbound`.
        var inboundBytes = 0
        /// Nothing more is read before some of them have been answered.
        var isFull = false
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let connection: WireConnection
    private let limits: WireLimits
    private let answer: Answer
    private let ended: @Sendable (LunetteError?) -> Void
    /// Seconds for which a cancelled call still waits for its answer.
    private let cancelGrace: Double

    /// - Parameters:
    ///   - answer: answers one request; runs in a task that is cancelled when the caller cancels or goes.
    ///   - ended: called once when the connection has ended; with why, when it wasn't orderly.
    package init(
        connection: WireConnection, limits: WireLimits, cancelGrace: Double, answer: @escaping Answer,
        ended: @escaping @Sendable (LunetteError?) -> Void = { _ in }
    ) {
        self.connection = connection
        self.limits = limits
        self.cancelGrace = cancelGrace
        self.answer = answer
        self.ended = ended
    }

    package func start() {
        connection.start(
            .init(
                frame: { [weak self] (frame, bytes, files) throws(LunetteError) in try self?.receive(frame, bytes, files) },
                ended: { [weak self] why in self?.end(why) }))
    }

    package var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// Ends the conversation at once: what was asked for counts as lost, what was asked of us is cancelled.
    package func close() {
        connection.close()
        end(nil)
    }

    /// Ends it with an error that the other end is told.
    package func refuse(_ error: LunetteError) { connection.refuse(error) }

    /// Gives up what waits for a peer that has gone silent; called about once a second.
    package func tick() {
        connection.checkStall()
        let now = MonotonicClock.now
        let abandoned = state.withLock { state in
            let ids = state.pending.filter { $0.value.cancelledAt.map { now - $0 >= cancelGrace } ?? false }.map(\.key)
            return ids.compactMap { state.pending.removeValue(forKey: $0)?.mailbox }
        }
        for mailbox in abandoned { mailbox.post(.abandoned) }
    }

    // MARK: Calling

    /// Calls the other end and waits for its answer, also after cancellation (which is passed on).
    /// - Parameter onChunk: takes what the call streams; a throw cancels the call.
    package func call(
        _ method: String, _ params: [Value], files: [Int32] = [],
        onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)? = nil
    ) async -> Outcome {
        let mailbox = WireMailbox()
        let id = state.withLock { state -> UInt32? in
            guard !state.hasEnded else { return nil }
            while state.pending[state.next] != nil { state.next &+= 1 }
            defer { state.next &+= 1 }
            state.pending[state.next] = Pending(mailbox: mailbox)
            return state.next
        }
        guard let id else { return .lost }
        defer { state.withLock { _ = $0.pending.removeValue(forKey: id) } }
        do throws(LunetteError) {
            try connection.send(.request(id: id, method: method, params: params), files: files)
        } catch {
            return error.code == .io && error.errno == nil ? .lost : .answer(.failure(error))
        }
        return await withTaskCancellationHandler {
            await collect(id, mailbox, onChunk)
        } onCancel: {
            cancel(id, mailbox)
        }
    }

    private func collect(
        _ id: UInt32, _ mailbox: WireMailbox, _ onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
    ) async -> Outcome {
        var failure: LunetteError?
        var taken = 0
        while true {
            switch await mailbox.next() {
            case .chunk(let value):
                if failure == nil, let onChunk {
                    do throws(LunetteError) { try await onChunk(value) } catch {
                        failure = error
                        cancel(id, mailbox)
                    }
                }
                taken += 1
                if taken % (WirePeer.window / 4) == 0 {
                    notify(WireMethod.credit, [.int(Int64(id)), .int(Int64(WirePeer.window / 4))])
                }
            case .answer(let result): return .answer(failure.map { .failure($0) } ?? result)
            case .lost: return failure.map { .answer(.failure($0)) } ?? .lost
            case .abandoned: return .answer(.failure(failure ?? LunetteError(.cancelled, "call the engine: cancelled, and no answer came")))
            }
        }
    }

    /// Chunks that may be on their way at once.
    package static let window = 64

    private func cancel(_ id: UInt32, _ mailbox: WireMailbox) {
        notify(WireMethod.cancel, [.int(Int64(id))])
        if cancelGrace <= 0 { return mailbox.post(.abandoned) }
        state.withLock { $0.pending[id]?.cancelledAt = MonotonicClock.now }
    }

    private func notify(_ method: String, _ params: [Value]) {
        try? connection.send(.notification(method: method, params: params))  // A connection that has ended reports that itself.
    }

    // MARK: Being called

    /// How many requests of the other end are under way.
    package var requestCount: Int { state.withLock { $0.inbound.count } }

    /// Cancels those requests of the other end that are under way and meant; each is answered by itself.
    package func cancelRequests(where isMeant: (_ method: String) -> Bool) {
        let tasks = state.withLock { state in state.inbound.values.filter { isMeant($0.method) }.map(\.task) }
        for task in tasks { task.cancel() }
    }

    private func receive(_ frame: WireFrame, _ bytes: Int, _ files: (Int) throws(LunetteError) -> [Int32]) throws(LunetteError) {
        switch frame {
        case .response(let id?, let error, let result):
            state.withLock { $0.pending[id]?.mailbox }?.post(.answer(error.map { .failure($0) } ?? .success(result)))
        case .response(nil, let error, _):
            // The other end ends the conversation and says why: that is the answer to all that waits.
            let why = error ?? WireConnection.gone
            let all = state.withLock { $0.pending.values.map(\.mailbox) }
            for mailbox in all { mailbox.post(.answer(.failure(why))) }
        case .notification(let method, let params): notified(method, params)
        case .request(let id, let method, let params): try begin(id, method, params, bytes, files)
        }
    }

    private func notified(_ method: String, _ params: [Value]) {
        guard let id = params.first?.intValue.flatMap({ UInt32(exactly: $0) }) else { return }
        switch method {
        case WireMethod.chunk:
            state.withLock { $0.pending[id]?.mailbox }?.post(.chunk(params.count > 1 ? params[1] : .null))
        case WireMethod.credit:
            guard params.count > 1, let count = params[1].intValue, count > 0, count <= 1 << 20 else { return }
            state.withLock { $0.inbound[id]?.credit }?.grant(Int(count))
        case WireMethod.cancel: state.withLock { $0.inbound[id]?.task }?.cancel()
        default: break  // MessagePack-RPC: what a notification means to nobody is ignored.
        }
    }

    private func begin(
        _ id: UInt32, _ method: String, _ params: [Value], _ bytes: Int, _ take: (Int) throws(LunetteError) -> [Int32]
    ) throws(LunetteError) {
        let context = params.count > 1 ? params[1] : .null
        let count = context["files"]?.intValue ?? 0
        guard count >= 0, count <= limits.files else { throw WireFrame.malformed("\(count) descriptors announced") }
        let files = try take(Int(count))
        let credit = WireCredit(context["credit"]?.intValue.map { Int(max(0, min($0, 1 << 20))) })
        let refusal: LunetteError? = state.withLock { state in
            if state.hasEnded { return WireConnection.gone }
            if state.inbound[id] != nil { return LunetteError(.invalidArgument, "call \(method): request \(id) is still under way") }
            if state.inbound.count >= limits.requests {
                return LunetteError(.resourceExhausted, "call \(method): \(limits.requests) calls of this client are under way")
            }
            let task = Task { await self.serve(id, Call(method: method, params: params, files: files, chunk: self.chunker(id, credit))) }
            state.inbound[id] = Inbound(method: method, bytes: bytes, task: task, credit: credit)
            state.inboundBytes += bytes
            holdBackIfFull(&state)
            return nil
        }
        if let refusal {
            for file in files { Glibc.close(file) }
            try? connection.send(.response(id: id, error: refusal, result: .null))  // As above.
        }
    }

    private func chunker(_ id: UInt32, _ credit: WireCredit) -> @Sendable (Value) async throws(LunetteError) -> Void {
        { (value) throws(LunetteError) in
            if value["phase"] != nil {
                // Progress is news, not data: a caller that doesn't keep up misses some, and holds nothing up.
                guard self.connection.mayQueueChunk, credit.tryTake() else { return }
            } else {
                try await credit.take()
                await self.connection.writable()
            }
            try self.connection.send(.notification(method: WireMethod.chunk, params: [.int(Int64(id)), value]))
        }
    }

    private func serve(_ id: UInt32, _ call: Call) async {
        let result = await answer(call)
        for file in call.files { Glibc.close(file) }
        state.withLock { state in
            if let call = state.inbound.removeValue(forKey: id) { state.inboundBytes -= call.bytes }
            holdBackIfFull(&state)
        }
        do throws(LunetteError) {
            switch result {
            case .success(let value): try connection.send(.response(id: id, error: nil, result: value))
            case .failure(let error): try connection.send(.response(id: id, error: error, result: .null))
            }
        } catch  where error.code == .resourceExhausted {
            try? connection.send(.response(id: id, error: error, result: .null))  // Ended meanwhile: nobody waits.
        } catch {
            // The caller has gone; the engine has done what it did.
        }
    }

    /// Under the lock: what was decided last is what holds. The connection is told of changes alone: whoever writes to it has its lock.
    private func holdBackIfFull(_ state: inout State) {
        let isFull = state.inboundBytes > limits.requestBytes
        guard isFull != state.isFull else { return }
        state.isFull = isFull
        connection.holdBack(isFull)
    }

    private func end(_ why: LunetteError?) {
        let (mailboxes, tasks, first) = state.withLock { state in
            defer { state.hasEnded = true }
            return (state.pending.values.map(\.mailbox), state.inbound.values.map(\.task), !state.hasEnded)
        }
        guard first else { return }
        for mailbox in mailboxes { mailbox.post(.lost) }
        for task in tasks { task.cancel() }
        ended(why)
    }
}
