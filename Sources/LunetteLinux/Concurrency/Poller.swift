internal import CLinux
package import LunetteSpec
internal import Synchronization

/// Watches descriptors on one thread of ours, so that tasks wait for sockets, pipes and processes without a thread each.
package final class Poller: Sendable {
    package static let shared = Poller()

    package struct Events: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let readable = Events(rawValue: 0x1)
        package static let writable = Events(rawValue: 0x4)
        /// Always reported.
        package static let failed = Events(rawValue: 0x8)
        package static let hungUp = Events(rawValue: 0x10)
    }

    /// A watched descriptor; ends with `cancel()`.
    package final class Watch: Sendable {
        private let poller: Poller
        private let token: UInt64
        fileprivate init(_ poller: Poller, _ token: UInt64) {
            self.poller = poller
            self.token = token
        }

        /// No call of the handler begins after this returns, but one may be under way on the poller's thread.
        package func cancel() { poller.remove(token) }
    }

    private struct Entry {
        var descriptor: FileDescriptor
        var isOnce: Bool
        var handler: @Sendable (Events) -> Void
    }

    private struct State {
        var entries: [UInt64: Entry] = [:]
        var next: UInt64 = 1
        var epoll: Int32 = -1
    }

    private let state = Mutex(State())

    /// Calls `handler` on the poller's thread whenever something happens at `descriptor`; it must not block.
    ///
    /// The descriptor is duplicated: the same file may be watched more than once, and closing the original ends nothing.
    package func watch(
        _ descriptor: FileDescriptor, _ events: Events, once: Bool = false, handler: @escaping @Sendable (Events) -> Void
    ) throws(SystemCallError) -> Watch {
        let copy = try descriptor.duplicate()
        let token = try state.withLock { state throws(SystemCallError) in
            if state.epoll < 0 {
                state.epoll = try check(lnt_host_epoll_create(), "epoll_create1")
                startThread(state.epoll)
            }
            let token = state.next
            state.next += 1
            let oneShot: UInt32 = 1 << 30
            let add: Int32 = 1
            state.entries[token] = Entry(descriptor: copy, isOnce: once, handler: handler)
            let result = lnt_host_epoll_control(state.epoll, add, copy.number, events.rawValue | (once ? oneShot : 0), token)
            if result < 0 {
                state.entries[token] = nil
                throw SystemCallError("epoll_ctl", "\(copy.number)", errno: -result)
            }
            return token
        }
        return Watch(self, token)
    }

    /// Waits until one of `events` is there (or the other end is gone).
    /// - Throws: `cancelled` when the task is.
    @discardableResult
    package func wait(for descriptor: FileDescriptor, _ events: Events) async throws(LunetteError) -> Events {
        let waiter = OneShot<Result<Events, LunetteError>>()
        let watch: Watch
        do throws(SystemCallError) { watch = try self.watch(descriptor, events, once: true) { waiter.fulfil(.success($0)) } } catch {
            throw error.lunette
        }
        let result = await withTaskCancellationHandler {
            await waiter.value()
        } onCancel: {
            watch.cancel()
            waiter.fulfil(.failure(LunetteError(.cancelled, "the wait was cancelled")))
        }
        return try result.get()
    }

    private func remove(_ token: UInt64) {
        let entry = state.withLock { state -> Entry? in
            guard let entry = state.entries.removeValue(forKey: token) else { return nil }
            let delete: Int32 = 2
            _ = lnt_host_epoll_control(state.epoll, delete, entry.descriptor.number, 0, token)
            return entry
        }
        entry?.descriptor.close()
    }

    private func startThread(_ epoll: Int32) {
        BlockingExecutor.poller.submit { [self] in
            var events = [UInt32](repeating: 0, count: 64)
            var tokens = [UInt64](repeating: 0, count: 64)
            while true {
                let count = lnt_host_epoll_wait(epoll, &events, &tokens, 64, -1)
                if count < 0 { continue }
                for index in 0..<Int(count) {
                    let token = tokens[index]
                    guard let entry = state.withLock({ $0.entries[token] }) else { continue }
                    if entry.isOnce { remove(token) }
                    entry.handler(Events(rawValue: events[index]))
                }
            }
        }
    }
}
