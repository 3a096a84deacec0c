internal import Glibc
internal import Synchronization

/// Runs one stage of a pipeline on a thread of its own: stages wait for each other, so they must not share a bounded pool.
final class StageThread: Sendable {
    // SAFETY: written once in init, read by the one join.
    private nonisolated(unsafe) var thread = pthread_t()
    private let isStarted: Bool

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts at once; `isRunning` says whether a thread could be had.
    init(_ body: @escaping @Sendable () -> Void) {
        let context = Unmanaged.passRetained(Body(body))
        let failure = pthread_create(
            &thread, nil,
            { context in
                let body = Unmanaged<Body>.fromOpaque(context!).takeRetainedValue()
                StageThread.blockSignals()
                body.run()
                return nil
            }, context.toOpaque())
        isStarted = failure == 0
        if !isStarted { context.release() }
    }

    /// False when no thread could be made; nothing runs then.
    var isRunning: Bool { isStarted }

    func join() { if isStarted { pthread_join(thread, nil) } }

    /// Writing to a connection that the other side closed must be an error of that call, not a signal to the engine.
    private static func blockSignals() {
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }
}

/// Runs `body` on a new thread and waits without holding a thread of the cooperative pool.
func onStageThread<T: Sendable, Failure: Error>(_ body: @escaping @Sendable () throws(Failure) -> T) async throws(Failure) -> T {
    let result: Result<T, Failure> = await withCheckedContinuation { continuation in
        let work: @Sendable () -> Void = {
            do throws(Failure) { continuation.resume(returning: .success(try body())) } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        // Without a thread the work is done here, late but done: losing the continuation would hang the caller.
        if !DetachedThread.start(work) { work() }
    }
    return try result.get()
}

private enum DetachedThread {
    static func start(_ run: @escaping @Sendable () -> Void) -> Bool {
        let thread = StageThread(run)
        thread.detach()
        return thread.isRunning
    }
}

extension StageThread {
    fileprivate func detach() { if isRunning { pthread_detach(thread) } }
}

/// Says that an operation is to stop; checked between chunks and entries.
final class CancelFlag: Sendable {
    private let flag = Atomic(false)
    private let actions = Mutex<[Int: @Sendable () -> Void]>([:])
    private let next = Atomic(0)

    var isCancelled: Bool { flag.load(ordering: .acquiring) }

    func cancel() {
        flag.store(true, ordering: .releasing)
        // Under the lock: once `during` has returned, its action must not run any more.
        actions.withLock { for action in $0.values { action() } }
    }

    /// Calls `action`, which must be quick, when the flag is raised while `body` runs (at once when it already is).
    func during<T, Failure: Error>(_ body: () throws(Failure) -> T, onCancel action: @escaping @Sendable () -> Void) throws(Failure) -> T {
        let id = next.wrappingAdd(1, ordering: .relaxed).newValue
        actions.withLock { $0[id] = action }
        defer { _ = actions.withLock { $0.removeValue(forKey: id) } }
        if isCancelled { action() }
        return try body()
    }
}
