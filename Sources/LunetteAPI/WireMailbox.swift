internal import LunetteSpec
import Synchronization

/// What comes back for one call, in order; one reader.
///
/// No AsyncStream: that ends for a cancelled reader, and a cancelled call still has an answer coming.
final class WireMailbox: Sendable {
    enum Item: Sendable {
        case chunk(Value)
        case answer(Result<Value, LunetteError>)
        /// The connection has gone: nobody knows what became of the call.
        case lost
        /// The call was cancelled and no answer came in time.
        case abandoned
    }

    private struct State {
        var items: [Item] = []
        var reader: CheckedContinuation<Item, Never>?
    }

    private let state = Mutex(State())

    func post(_ item: Item) {
        let reader = state.withLock { state -> CheckedContinuation<Item, Never>? in
            guard let reader = state.reader else {
                state.items.append(item)
                return nil
            }
            state.reader = nil
            return reader
        }
        reader?.resume(returning: item)
    }

    func next() async -> Item {
        await withCheckedContinuation { continuation in
            let item = state.withLock { state -> Item? in
                guard state.items.isEmpty else { return state.items.removeFirst() }
                state.reader = continuation
                return nil
            }
            if let item { continuation.resume(returning: item) }
        }
    }
}

/// Counts how many chunks a caller will still take.
final class WireCredit: Sendable {
    private struct State {
        /// Nil: the caller doesn't count; only the socket's queue holds chunks back.
        var left: Int?
        var waiter: CheckedContinuation<Void, Never>?
        var isCancelled = false
    }

    private let state: Mutex<State>

    init(_ initial: Int?) { state = Mutex(State(left: initial)) }

    func grant(_ count: Int) {
        state.withLock { state -> CheckedContinuation<Void, Never>? in
            if let left = state.left { state.left = min(left + count, 1 << 20) }
            defer { state.waiter = nil }
            return state.waiter
        }?.resume()
    }

    /// Takes one credit if there is one now.
    func tryTake() -> Bool {
        state.withLock { state in
            guard let left = state.left else { return true }
            guard left > 0 else { return false }
            state.left = left - 1
            return true
        }
    }

    /// Takes one credit, waiting for it. Chunks of one call are sent one after the other, so one waiter is enough.
    /// - Throws: `cancelled`.
    func take() async throws(LunetteError) {
        while !tryTake() {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let now = state.withLock { state in
                        if state.isCancelled || state.left != 0 { return true }
                        state.waiter = continuation
                        return false
                    }
                    if now { continuation.resume() }
                }
            } onCancel: {
                state.withLock { state -> CheckedContinuation<Void, Never>? in
                    state.isCancelled = true
                    defer { state.waiter = nil }
                    return state.waiter
                }?.resume()
            }
            if Task.isCancelled { throw LunetteError(.cancelled, "send a chunk: the call was cancelled") }
        }
    }
}
