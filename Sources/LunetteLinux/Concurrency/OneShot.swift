internal import Synchronization

/// A value that comes once and may be awaited by any number of tasks, before or after it came. The first `fulfil` counts.
package final class OneShot<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var waiters: [UInt64: CheckedContinuation<Value?, Never>] = [:]
        var cancelled: Set<UInt64> = []
        var callbacks: [@Sendable (Value) -> Void] = []
        var next: UInt64 = 0
    }

    private enum Now { case value(Value), cancelled, later }

    private let state = Mutex(State())
    package init() {}

    /// The value if it came.
    package var known: Value? { state.withLock { $0.value } }

    package func fulfil(_ value: Value) {
        let (waiters, callbacks) = state.withLock { state -> ([CheckedContinuation<Value?, Never>], [@Sendable (Value) -> Void]) in
            guard state.value == nil else { return ([], []) }
            state.value = value
            defer { (state.waiters, state.callbacks) = ([:], []) }
            return (Array(state.waiters.values), state.callbacks)
        }
        for waiter in waiters { waiter.resume(returning: value) }
        for callback in callbacks { callback(value) }
    }

    /// Calls `body` once, with the value: at once when it is there, else on the thread that brings it. Costs a twentieth of a task that waits.
    package func whenFulfilled(_ body: @escaping @Sendable (Value) -> Void) {
        let value = state.withLock { state in
            if state.value == nil { state.callbacks.append(body) }
            return state.value
        }
        if let value { body(value) }
    }

    /// Waits for the value; cancellation doesn't end this wait (see `valueUnlessCancelled`).
    package func value() async -> Value {
        await withCheckedContinuation { (continuation: CheckedContinuation<Value?, Never>) in wait(continuation, as: nil) }!
    }

    /// Waits for the value; nil when the task is cancelled first.
    package func valueUnlessCancelled() async -> Value? {
        let ticket = state.withLock { state in
            state.next += 1
            return state.next
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { wait($0, as: ticket) }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Value?, Never>? in
                guard let waiter = state.waiters.removeValue(forKey: ticket) else {
                    if state.value == nil { state.cancelled.insert(ticket) }
                    return nil
                }
                return waiter
            }
            waiter?.resume(returning: nil)
        }
    }

    private func wait(_ continuation: CheckedContinuation<Value?, Never>, as ticket: UInt64?) {
        let now = state.withLock { state -> Now in
            if let value = state.value { return .value(value) }
            if let ticket, state.cancelled.remove(ticket) != nil { return .cancelled }
            let key =
                ticket
                ?? {
                    state.next += 1
                    return state.next
                }()
            state.waiters[key] = continuation
            return .later
        }
        switch now {
        case .value(let value): continuation.resume(returning: value)
        case .cancelled: continuation.resume(returning: nil)
        case .later: break
        }
    }
}
