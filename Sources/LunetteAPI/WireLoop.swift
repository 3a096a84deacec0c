internal import Glibc
package import LunetteSpec
import Synchronization

/// Waits for many descriptors on one thread of its own and calls who registered; nothing called here may block.
package final class WireLoop: Sendable {
    package struct Ready: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package static let read = Ready(rawValue: 1)
        package static let write = Ready(rawValue: 2)
        /// The peer is gone or the descriptor is broken.
        package static let broken = Ready(rawValue: 4)
        /// What `callAgain` was asked for.
        package static let again = Ready(rawValue: 8)
    }

    private struct Entry {
        var fd: Int32
        var interest: Ready
        var handler: @Sendable (Ready) -> Void
    }

    private struct State {
        var next: UInt64 = 1
        var entries: [UInt64: Entry] = [:]
        var changed = true
        var tick: (@Sendable () -> Void)?
        var again: [UInt64] = []
        var stopped = false
    }

    // poll(2), not epoll: the few hundred descriptors of one engine cost microseconds, and Swift's Glibc has it without a line of C.
    private let wakeRead: Int32
    private let wakeWrite: Int32
    private let state = Mutex(State())

    /// - Throws: `io` when the kernel has no descriptors left.
    package init() throws(LunetteError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw WireSocket.failure("make a pipe", errno) }
        for end in ends { WireSocket.closeOnExec(end, nonBlocking: true) }
        wakeRead = ends[0]
        wakeWrite = ends[1]
        try OwnThread.start { self.run() }
    }

    /// Registers a descriptor.
    /// - Returns: its token, for `watch` and `remove`; a token is never used twice, so that a late event finds nobody.
    package func add(_ fd: Int32, _ interest: Ready, _ handler: @escaping @Sendable (Ready) -> Void) -> UInt64 {
        let token = state.withLock { state in
            defer { state.next += 1 }
            state.entries[state.next] = Entry(fd: fd, interest: interest, handler: handler)
            state.changed = true
            return state.next
        }
        nudge()
        return token
    }

    /// Changes what is waited for.
    package func watch(_ token: UInt64, _ interest: Ready) {
        let changed = state.withLock { state in
            guard state.entries[token] != nil, state.entries[token]?.interest != interest else { return false }
            state.entries[token]?.interest = interest
            state.changed = true
            return true
        }
        if changed { nudge() }
    }

    /// Calls the handler once more, with `.again`, when all others have had their turn: for one that has more to do than fits into its own.
    package func callAgain(_ token: UInt64) {
        state.withLock { $0.again.append(token) }
        nudge()
    }

    /// Calls no handler for this token any more; the caller closes the descriptor after this.
    package func remove(_ token: UInt64) {
        state.withLock { state in
            state.entries[token] = nil
            state.changed = true
        }
        nudge()
    }

    /// Calls `tick` about once a second on the loop's thread.
    package func everySecond(_ tick: (@Sendable () -> Void)?) {
        state.withLock { $0.tick = tick }
        nudge()
    }

    /// Ends the thread; handlers are called no more once it has gone.
    package func stop() {
        state.withLock { $0.stopped = true }
        nudge()
    }

    private func nudge() {
        var byte: UInt8 = 0
        // A full pipe wakes as well as one more byte would.
        _ = write(wakeWrite, &byte, 1)
    }

    private func run() {
        var polled: [pollfd] = []
        var tokens: [UInt64] = []
        var lastTick = MonotonicClock.now
        while true {
            let (stopped, ticks, again) = state.withLock { state in
                if state.changed {
                    state.changed = false
                    polled = [pollfd(fd: wakeRead, events: Int16(POLLIN), revents: 0)]
                    tokens = [0]
                    for (token, entry) in state.entries {
                        let events = (entry.interest.contains(.read) ? POLLIN : 0) | (entry.interest.contains(.write) ? POLLOUT : 0)
                        polled.append(pollfd(fd: entry.fd, events: Int16(events), revents: 0))
                        tokens.append(token)
                    }
                }
                defer { state.again = [] }
                return (state.stopped, state.tick != nil, state.again)
            }
            if stopped { break }
            _ = poll(&polled, nfds_t(polled.count), again.isEmpty ? (ticks ? 1000 : -1) : 0)
            for index in polled.indices where polled[index].revents != 0 {
                let events = Int32(polled[index].revents)
                polled[index].revents = 0
                if tokens[index] == 0 {
                    var drain: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
                    _ = read(wakeRead, &drain, 32)
                    continue
                }
                var ready: Ready = []
                if events & POLLIN != 0 { ready.insert(.read) }
                if events & POLLOUT != 0 { ready.insert(.write) }
                if events & (POLLERR | POLLHUP | POLLNVAL) != 0 { ready.insert(.broken) }
                state.withLock { $0.entries[tokens[index]]?.handler }?(ready)
            }
            for token in again { state.withLock { $0.entries[token]?.handler }?(.again) }
            let now = MonotonicClock.now
            if ticks, now - lastTick >= 1 {
                lastTick = now
                state.withLock { $0.tick }?()
            }
        }
        state.withLock { $0.entries.removeAll() }
        // The pipe's ends are left to `deinit`: a late `nudge` must not write into a descriptor that someone else has got since.
    }

    deinit {
        close(wakeRead)
        close(wakeWrite)
    }
}

/// Starts threads for work that blocks, which must never happen on Swift's cooperative pool.
package enum OwnThread {
    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// - Throws: `resource_exhausted` when the kernel refuses a thread.
    package static func start(_ body: @escaping @Sendable () -> Void) throws(LunetteError) {
        var thread = pthread_t()
        let work = Unmanaged.passRetained(Work(body: body))
        let failed = pthread_create(
            &thread, nil,
            { pointer in
                Unmanaged<Work>.fromOpaque(pointer!).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        guard failed == 0 else {
            work.release()
            throw LunetteError(.resourceExhausted, "start a thread: \(Errno(failed))", errno: failed)
        }
        pthread_detach(thread)
    }

    /// Runs `body` on a thread of its own and waits for it without blocking the caller's.
    package static func run<T: Sendable>(_ body: @escaping @Sendable () -> T) async throws(LunetteError) -> T {
        let result: Result<T, LunetteError> = await withCheckedContinuation { continuation in
            do throws(LunetteError) {
                try start { continuation.resume(returning: .success(body())) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }
}

/// Seconds that only go forward.
package enum MonotonicClock {
    package static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
