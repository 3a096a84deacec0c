import LunetteAPI
import LunetteSpec
import Synchronization

extension Engine {
    /// As `deliver(to:after:cursor:)`, for a receiver that takes many events at once: what one hop between threads costs is paid for all of them.
    ///
    /// Events of one target are in one batch, or the later ones wait until the batch before has ended: the receiver keeps their order within one.
    func deliverBatches(to subscription: Subscription, after start: Int64, cursor: EventCursor?) async {
        // What an engine before may have delivered: it died before it could write that down.
        let known = cursor == nil ? start : await state.newestEvent
        let books = BatchBooks()
        let (endings, continuation) = AsyncStream.makeStream(of: [HookEnding].self)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.follow(endings, books, subscription, cursor) }
            var position = start
            let mark = subscription.cause
            while !Task.isCancelled, !isClosing {
                let events: [LoggedEvent]
                do throws(LunetteError) { events = try await state.events(after: position, limit: 256) } catch {
                    position = await passed(position, by: subscription, error)
                    continue
                }
                var batch: [BatchedEvent] = []
                for logged in events {
                    position = logged.sequence
                    guard EventMatch.name(logged.event.name, fits: subscription.event), subscription.match.matches(logged),
                        logged.event.cause.isEmpty || !logged.event.cause.contains(mark)
                    else { continue }
                    let key = subscription.order == .all ? "" : logged.event.target.map { "\($0.kind)/\($0.id)" } ?? ""
                    let event = BatchedEvent(logged: logged, key: key, isRepeated: logged.sequence <= known)
                    if books.isBusy(key) {
                        await send(batch, to: subscription, books, cursor, continuation)
                        batch = []
                        await books.waitUntilFree(key)
                        if Task.isCancelled { break }
                    }
                    batch.append(event)
                }
                await send(batch, to: subscription, books, cursor, continuation)
                if Task.isCancelled { break }
                await cursor?.passed(position)
                await books.waitForRoom()
                if events.isEmpty { await state.waitForEvent(after: position) }
            }
            books.close()
            group.cancelAll()
        }
        continuation.finish()
        await cursor?.write()
    }

    private func send(
        _ batch: [BatchedEvent], to subscription: Subscription, _ books: BatchBooks, _ cursor: EventCursor?,
        _ continuation: AsyncStream<[HookEnding]>.Continuation
    ) async {
        guard !batch.isEmpty, !Task.isCancelled else { return }
        let (first, mark) = (books.begin(batch), subscription.cause)
        await cursor?.began(batch.map(\.logged.sequence))
        subscription.receiver.on(
            subscription: subscription.receiverID, events: batch.map { $0.value(for: mark) }, keys: batch.map(\.key)
        ) { endings in
            continuation.yield(endings.map { HookEnding(index: first + $0.index, outcome: $0.outcome) })
        }
    }

    /// Acknowledges what has ended; what has failed is tried again one by one, in order, while its target waits.
    private func follow(
        _ endings: AsyncStream<[HookEnding]>, _ books: BatchBooks, _ subscription: Subscription, _ cursor: EventCursor?
    ) async {
        await withTaskGroup(of: Void.self) { group in
            for await list in endings {
                let (acknowledged, failed) = books.end(list)
                await cursor?.done(acknowledged)
                for (key, events) in failed {
                    group.addTask {
                        for (event, wasTried) in events {
                            // An end in the middle acknowledges nothing.
                            guard
                                await self.deliver(
                                    event.logged, to: subscription, isRepeated: event.isRepeated || wasTried, tries: wasTried ? 1 : 0)
                            else { return }
                            await cursor?.done([event.logged.sequence])
                        }
                        books.release(key)
                    }
                }
            }
            group.cancelAll()
        }
    }
}

/// One event on its way to a handler.
struct BatchedEvent: Sendable {
    let logged: LoggedEvent
    let key: String
    let isRepeated: Bool

    func value(for handler: String) -> Value { logged.value(redelivered: isRepeated, for: handler) }
}

/// Which events are under way, and whose targets must wait.
private final class BatchBooks: Sendable {
    private static let most = 512

    private struct State {
        var next = 0
        var events: [Int: BatchedEvent] = [:]
        /// How many of a target are under way.
        var busy: [String: Int] = [:]
        /// By target what is to be tried again, and whether it was tried at all: what came behind a failure was not.
        var failed: [String: [(index: Int, wasTried: Bool)]] = [:]
        var isClosed = false
        /// The one that fills batches waits for one thing at a time.
        var waiter: (isDone: @Sendable (borrowing State) -> Bool, continuation: CheckedContinuation<Void, Never>)?
    }
    private let state = Mutex(State())

    /// - Returns: the number of the batch's first event; the others follow it.
    func begin(_ batch: [BatchedEvent]) -> Int {
        state.withLock { state in
            let first = state.next
            for event in batch {
                state.events[state.next] = event
                state.busy[event.key, default: 0] += 1
                state.next += 1
            }
            return first
        }
    }

    func isBusy(_ key: String) -> Bool { state.withLock { $0.busy[key] != nil } }

    /// - Returns: the sequences that were acknowledged, and by target what is to be tried again now that nothing else of it is under way.
    func end(_ endings: [HookEnding]) -> (acknowledged: [Int64], failed: [(String, [(BatchedEvent, wasTried: Bool)])]) {
        update { state in
            var acknowledged: [Int64] = []
            var failed: [(String, [(BatchedEvent, wasTried: Bool)])] = []
            for ending in endings {
                guard let event = state.events[ending.index] else { continue }
                if case .acknowledged = ending.outcome {
                    state.events[ending.index] = nil
                    acknowledged.append(event.logged.sequence)
                } else {
                    let wasTried = if case .failed = ending.outcome { true } else { false }
                    state.failed[event.key, default: []].append((ending.index, wasTried))
                }
                state.busy[event.key]! -= 1
                guard state.busy[event.key] == 0 else { continue }
                if let numbers = state.failed.removeValue(forKey: event.key) {
                    // Stays busy until they are through.
                    let again = numbers.sorted { $0.index < $1.index }.compactMap { number in
                        state.events.removeValue(forKey: number.index).map { ($0, wasTried: number.wasTried) }
                    }
                    failed.append((event.key, again))
                } else {
                    state.busy[event.key] = nil
                }
            }
            return (acknowledged, failed)
        }
    }

    func release(_ key: String) { update { $0.busy[key] = nil } }
    func close() { update { $0.isClosed = true } }

    func waitUntilFree(_ key: String) async { await wait { $0.busy[key] == nil } }
    func waitForRoom() async { await wait { $0.events.count < Self.most } }

    private func wait(_ isDone: @escaping @Sendable (borrowing State) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.isClosed || isDone(state) { return true }
                    state.waiter = (isDone, continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            close()
        }
    }

    private func update<T>(_ body: (inout State) -> T) -> T {
        let (result, waiter) = state.withLock { state -> (T, CheckedContinuation<Void, Never>?) in
            let result = body(&state)
            guard let waiter = state.waiter, state.isClosed || waiter.isDone(state) else { return (result, nil) }
            state.waiter = nil
            return (result, waiter.continuation)
        }
        waiter?.resume()
        return result
    }
}
