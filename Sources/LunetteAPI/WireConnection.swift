internal import Glibc
package import LunetteSpec
import Synchronization

/// One end of a connection: finds frames in what arrives, queues what is sent, never blocks.
///
/// Frames and the end are reported on the loop's thread, in order. `send` may be called from anywhere.
package final class WireConnection: Sendable {
    private struct Outgoing {
        var bytes: [UInt8]
        var offset = 0
        /// Duplicates of the caller's descriptors, closed when the frame's first byte has gone.
        var files: [Int32]
    }

    private struct State {
        /// -1 once closed: every use is under the lock, so that the number can't mean someone else's file.
        var fd: Int32
        var token: UInt64 = 0
        var queue: [Outgoing] = []
        var queued = 0
        /// Since when bytes wait without the peer taking any.
        var stalledSince: Double?
        var waiters: [CheckedContinuation<Void, Never>] = []
        var endsWhenDrained = false
        /// The peer has asked for enough.
        var isHeldBack = false
        /// What the loop was last told to wait for.
        var watched: WireLoop.Ready = .read
    }

    private let state: Mutex<State>
    /// The descriptor once more, for reading: the answer's reader often has its next request ready before the write of the answer returns. -1
    /// before `state`'s is closed.
    private let source: Mutex<Int32>
    private let limits: WireLimits
    private let loop: WireLoop
    /// What has arrived of the next frame; touched by the loop's thread only.
    private let incoming: Mutex<Incoming>
    private let handler: Mutex<Handler?> = Mutex(nil)

    private struct Incoming {
        var bytes: [UInt8] = []
        var start = 0
        var scanner: WireScanner
        var files: [Int32] = []
        /// Whole frames may be in `bytes`: nothing more is read before they are done.
        var hasMore = false
        /// When something last came of a frame that isn't whole.
        var waitsSince: Double?
    }

    package struct Handler: Sendable {
        /// - Parameters:
        ///   - bytes: the frame's length.
        ///   - files: takes that many of the descriptors that came; the taker closes them.
        package var frame: @Sendable (WireFrame, _ bytes: Int, _ files: (Int) throws(LunetteError) -> [Int32]) throws(LunetteError) -> Void
        /// Called once, with why when it wasn't the peer's orderly end.
        package var ended: @Sendable (LunetteError?) -> Void

        package init(
            frame:
                @escaping @Sendable (WireFrame, _ bytes: Int, _ files: (Int) throws(LunetteError) -> [Int32]) throws(LunetteError) -> Void,
            ended: @escaping @Sendable (LunetteError?) -> Void
        ) {
            self.frame = frame
            self.ended = ended
        }
    }

    /// Takes over a connected, non-blocking socket.
    package init(fd: Int32, loop: WireLoop, limits: WireLimits) {
        state = Mutex(State(fd: fd))
        source = Mutex(fd)
        self.loop = loop
        self.limits = limits
        incoming = Mutex(Incoming(scanner: WireScanner(limit: limits.receivedFrame)))
    }

    deinit { close() }

    /// Begins to read.
    package func start(_ handler: Handler) {
        self.handler.withLock { $0 = handler }
        state.withLock { state in
            guard state.fd >= 0 else { return }
            state.token = loop.add(state.fd, .read) { [weak self] ready in self?.ready(ready) }
        }
    }

    // MARK: Sending

    /// Queues a frame and writes what the socket takes at once.
    /// - Throws: `io` when the connection has ended, `resource_exhausted` when the frame is longer than the peer takes.
    package func send(_ frame: WireFrame, files: [Int32] = []) throws(LunetteError) {
        let bytes = frame.encoded
        guard bytes.count <= limits.sentFrame else {
            throw LunetteError(
                .resourceExhausted, "send \(bytes.count) bytes in one message: \(limits.sentFrame) are allowed",
                hint: "pass bulk data by file or stream"
            )
        }
        var copies: [Int32] = []
        for file in files {
            let copy = fcntl(file, F_DUPFD_CLOEXEC, 3)
            guard copy >= 0 else {
                let number = errno
                for copy in copies { Glibc.close(copy) }
                throw WireSocket.failure("pass a descriptor", number)
            }
            copies.append(copy)
        }
        let ended = state.withLock { state in
            guard state.fd >= 0, !state.endsWhenDrained else { return true }
            state.queue.append(Outgoing(bytes: bytes, files: copies))
            state.queued += bytes.count
            return false
        }
        if ended {
            for copy in copies { Glibc.close(copy) }
            throw WireConnection.gone
        }
        flush()
    }

    package static let gone = LunetteError(.io, "talk to the other end: the connection has ended")

    /// Waits until the peer has taken enough that a chunk may be queued; at once when the connection has ended.
    package func writable() async {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state in
                if state.fd < 0 || state.queued <= limits.chunkQueue { return true }
                state.waiters.append(continuation)
                return false
            }
            if ready { continuation.resume() }
        }
    }

    package var mayQueueChunk: Bool { state.withLock { $0.fd >= 0 && $0.queued <= limits.chunkQueue } }

    private func flush() {
        var resumed: [CheckedContinuation<Void, Never>] = []
        let broken = state.withLock { state in
            guard state.fd >= 0 else { return false }
            while var first = state.queue.first {
                let result = first.bytes[first.offset...].withUnsafeBytes {
                    WireSocket.send(state.fd, $0, files: first.offset == 0 ? first.files : [])
                }
                guard case .success(let sent) = result else { return true }
                guard sent > 0 else { break }
                state.stalledSince = nil
                if first.offset == 0 {
                    for file in first.files { Glibc.close(file) }
                    first.files = []
                }
                first.offset += sent
                state.queued -= sent
                if first.offset == first.bytes.count { state.queue.removeFirst() } else { state.queue[0] = first }
            }
            if state.queue.isEmpty {
                state.stalledSince = nil
                if state.endsWhenDrained { return true }
            } else if state.stalledSince == nil {
                state.stalledSince = MonotonicClock.now
            }
            // A peer that doesn't read its answers is not asked for more questions.
            watch(&state)
            if state.queued <= limits.chunkQueue {
                resumed = state.waiters
                state.waiters = []
            }
            return false
        }
        for continuation in resumed { continuation.resume() }
        if broken { end(nil) }
    }

    private func watch(_ state: inout State) {
        let wanted = interest(state)
        guard state.token != 0, state.watched != wanted else { return }
        state.watched = wanted
        loop.watch(state.token, wanted)
    }

    private func interest(_ state: borrowing State) -> WireLoop.Ready {
        let reads = state.queued <= limits.writeQueue && !state.endsWhenDrained && !state.isHeldBack
        var interest: WireLoop.Ready = reads ? .read : []
        if !state.queue.isEmpty { interest.insert(.write) }
        return interest
    }

    /// Reads nothing more from the peer, or goes on: what it sends meanwhile fills its socket, and then it waits.
    package func holdBack(_ isHeldBack: Bool) {
        state.withLock { state in
            guard state.fd >= 0, state.isHeldBack != isHeldBack else { return }
            state.isHeldBack = isHeldBack
            watch(&state)
        }
    }

    /// Ends a connection whose peer has taken nothing for too long, or has begun a frame and not gone on. Called about once a second.
    ///
    /// The second also ends one that was sent its own other end: its peer is gone, but we hold what would tell us.
    package func checkStall() {
        let isCutShort = incoming.withLock { incoming in incoming.waitsSince.map { MonotonicClock.now - $0 > limits.stall } ?? false }
        if isCutShort { return refuse(LunetteError(.timeout, "read a frame from the peer: it is cut short for \(Int(limits.stall)) s")) }
        let stalled = state.withLock { state in state.stalledSince.map { MonotonicClock.now - $0 > limits.stall } ?? false }
        if stalled { end(LunetteError(.timeout, "write to a client: it has read nothing for \(Int(limits.stall)) s")) }
    }

    // MARK: Receiving

    private func ready(_ ready: WireLoop.Ready) {
        if ready.contains(.again) { return goOn() }
        if ready.contains(.write) { flush() }
        if ready.contains(.read) { receive() } else if ready.contains(.broken) { end(nil) }
    }

    /// Frames of one peer that are handed up in a row. Small ones cost more than their bytes: a hundred clients that pour them would keep
    /// another's question waiting for seconds.
    private static let turn = 32

    private func goOn() {
        do throws(LunetteError) { try handUp() } catch { refuse(error) }
    }

    private func receive() {
        if incoming.withLock({ $0.hasMore }) { return }
        do throws(LunetteError) {
            // Then others get their turn, and the loop comes back while there is more: who pours holds nobody up.
            for _ in 0..<2 {
                let capacity = 64 << 10
                var result = Result<WireSocket.Received, Errno>.success(.nothing)
                let chunk = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                    result = source.withLock { source in
                        source < 0 ? .success(.nothing) : WireSocket.receive(source, into: UnsafeMutableRawBufferPointer(buffer))
                    }
                    if case .success(.bytes(let length, _)) = result { count = length }
                }
                guard case .success(let received) = result else { return end(nil) }
                switch received {
                case .nothing: return
                case .end: return end(nil)
                case .filesLost: throw WireFrame.malformed("more than \(WireSocket.maximumFiles) descriptors at once")
                case .bytes(let length, let files):
                    incoming.withLock { incoming in
                        incoming.bytes += chunk
                        incoming.files += files
                    }
                    try handUp()
                    if length < capacity || incoming.withLock({ $0.hasMore }) { return }
                }
            }
        } catch {
            refuse(error)
        }
    }

    /// Finds the whole frames and hands them up; what is more than a turn's waits for the next.
    private func handUp() throws(LunetteError) {
        for count in 0... {
            if count == WireConnection.turn {
                incoming.withLock { $0.hasMore = true }
                let token = state.withLock { $0.token }
                return loop.callAgain(token)
            }
            let found = try incoming.withLock { (incoming) throws(LunetteError) -> (frame: WireFrame, length: Int)? in
                guard let length = try incoming.scanner.end(in: incoming.bytes[incoming.start...]) else {
                    incoming.bytes.removeFirst(incoming.start)
                    incoming.start = 0
                    incoming.hasMore = false
                    return nil
                }
                let frame = try WireFrame(decoding: Array(incoming.bytes[incoming.start..<incoming.start + length]))
                incoming.start += length
                incoming.scanner = WireScanner(limit: limits.receivedFrame)
                return (frame, length)
            }
            guard let found else { break }
            try handler.withLock { $0 }?.frame(found.frame, found.length, takeFiles)
        }
        incoming.withLock { $0.waitsSince = $0.bytes.isEmpty ? nil : MonotonicClock.now }
        let stray = incoming.withLock { $0.bytes.isEmpty && !$0.files.isEmpty || $0.files.count > limits.files }
        if stray { throw WireFrame.malformed("descriptors that no frame has announced") }
    }

    private func takeFiles(_ count: Int) throws(LunetteError) -> [Int32] {
        guard count > 0 else { return [] }
        return try incoming.withLock { (incoming) throws(LunetteError) in
            guard incoming.files.count >= count else {
                throw WireFrame.malformed("\(count) descriptors announced, \(incoming.files.count) sent")
            }
            let taken = Array(incoming.files.prefix(count))
            incoming.files.removeFirst(count)
            return taken
        }
    }

    // MARK: The end

    /// Tells the peer why, then ends the connection as soon as that is written.
    package func refuse(_ error: LunetteError) {
        let ended = takeHandler()?.ended
        try? send(.response(id: nil, error: error, result: .null))  // If it can't be told, it is ended all the same.
        state.withLock { $0.endsWhenDrained = true }
        flush()
        ended?(error)
    }

    private func takeHandler() -> Handler? {
        handler.withLock { handler in
            defer { handler = nil }
            return handler
        }
    }

    private func end(_ why: LunetteError?) {
        close()
        takeHandler()?.ended(why)
    }

    /// Ends the connection at once; `ended` is not called for it.
    package func close() {
        source.withLock { $0 = -1 }
        let (files, waiters) = state.withLock { state -> ([Int32], [CheckedContinuation<Void, Never>]) in
            guard state.fd >= 0 else { return ([], []) }
            if state.token != 0 { loop.remove(state.token) }
            let files = [state.fd] + state.queue.flatMap(\.files)
            state.fd = -1
            state.queue = []
            state.queued = 0
            state.stalledSince = nil
            defer { state.waiters = [] }
            return (files, state.waiters)
        }
        let left = incoming.withLock { incoming in
            incoming.waitsSince = nil
            defer { incoming.files = [] }
            return incoming.files
        }
        for file in files + left { Glibc.close(file) }
        for waiter in waiters { waiter.resume() }
    }
}
