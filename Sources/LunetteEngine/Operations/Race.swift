import LunetteLinux
import Synchronization

/// The first of several finishers wins; the one waiter gets its value.
final class Race<Value: Sendable>: Sendable {
    private enum State { case open, waiting(CheckedContinuation<Value, Never>), done(Value), delivered }
    private let state = Mutex(State.open)
    private let isOver = Atomic<Bool>(false)

    /// - Returns: whether this value was the first.
    @discardableResult
    func finish(_ value: Value) -> Bool {
        let (first, continuation) = state.withLock { state -> (Bool, CheckedContinuation<Value, Never>?) in
            switch state {
            case .open:
                state = .done(value)
                return (true, nil)
            case .waiting(let continuation):
                state = .delivered
                return (true, continuation)
            case .done, .delivered: return (false, nil)
            }
        }
        isOver.store(true, ordering: .releasing)
        continuation?.resume(returning: value)
        return first
    }

    /// Looks out for the first value without giving up the thread, in place of waiting for it; `next` is there for a look in vain.
    /// - Parameter nanoseconds: how long at most.
    func look(for nanoseconds: UInt64) -> Value? {
        guard Spin.look(for: nanoseconds, { isOver.load(ordering: .acquiring) }) else { return nil }
        return state.withLock { state in
            guard case .done(let value) = state else { return nil }
            state = .delivered
            return value
        }
    }

    /// Waits for the first value. For one waiter, once.
    var value: Value { get async { await next() } }

    /// The same, without leaving the caller's actor.
    func next(isolation: isolated (any Actor)? = #isolation) async -> Value {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state -> Value? in
                if case .done(let value) = state {
                    state = .delivered
                    return value
                }
                state = .waiting(continuation)
                return nil
            }
            if let ready { continuation.resume(returning: ready) }
        }
    }
}
