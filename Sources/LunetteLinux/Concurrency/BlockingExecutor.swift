internal import CLinux
internal import Glibc
internal import Synchronization

/// Runs blocking system calls on threads of our own, so that the cooperative pool never waits for a disk or a process.
///
/// Threads are made on demand up to a limit and leave after ten idle seconds.
package final class BlockingExecutor: Sendable {
    /// The process's own executor; what `blocking(_:)` uses.
    package static let shared = BlockingExecutor(limit: 64)

    /// Holds the one thread of the poller, so that blocked work can never keep it from starting.
    static let poller = BlockingExecutor(limit: 1)

    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var head = 0
        var threads = 0
        var idle = 0
    }

    // SAFETY: `state` is only touched between lock and unlock of `mutex`; a pthread condition needs a pthread mutex, so Mutex can't serve.
    private nonisolated(unsafe) let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    // SAFETY: as above; conditions are thread-safe objects.
    private nonisolated(unsafe) let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // SAFETY: as above.
    private nonisolated(unsafe) let state = UnsafeMutablePointer<State>.allocate(capacity: 1)
    private let limit: Int

    package init(limit: Int) {
        self.limit = limit
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(wake, &attributes)
        pthread_condattr_destroy(&attributes)
        state.initialize(to: State())
    }

    deinit {
        // Each thread holds a reference, so none is left here.
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        wake.deallocate()
        mutex.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    package func submit(_ job: @escaping @Sendable () -> Void) {
        pthread_mutex_lock(mutex)
        state.pointee.jobs.append(job)
        let waiting = state.pointee.jobs.count - state.pointee.head
        let grow = state.pointee.idle < waiting && state.pointee.threads < limit
        if grow { state.pointee.threads += 1 }
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
        if grow { startThread() }
    }

    private func startThread() {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 1 << 20)
        let context = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, &attributes,
            { context in
                let executor = Unmanaged<BlockingExecutor>.fromOpaque(context!).takeRetainedValue()
                executor.work()
                return nil
            }, context.toOpaque())
        pthread_attr_destroy(&attributes)
        if result != 0 {
            // No thread to be had: the job stays for the others; with none at all we'd hang, so that one case runs here.
            context.release()
            pthread_mutex_lock(mutex)
            state.pointee.threads -= 1
            let alone = state.pointee.threads == 0
            pthread_mutex_unlock(mutex)
            if alone { work(once: true) }
        }
    }

    private func work(once: Bool = false) {
        pthread_mutex_lock(mutex)
        while true {
            if state.pointee.head < state.pointee.jobs.count {
                let job = state.pointee.jobs[state.pointee.head]
                state.pointee.head += 1
                if state.pointee.head == state.pointee.jobs.count {
                    state.pointee.jobs.removeAll(keepingCapacity: true)
                    state.pointee.head = 0
                }
                pthread_mutex_unlock(mutex)
                job()
                pthread_mutex_lock(mutex)
                continue
            }
            if once { break }
            state.pointee.idle += 1
            var deadline = timespec()
            clock_gettime(CLOCK_MONOTONIC, &deadline)
            deadline.tv_sec += 10
            let result = pthread_cond_timedwait(wake, mutex, &deadline)
            state.pointee.idle -= 1
            if result == ETIMEDOUT, state.pointee.head == state.pointee.jobs.count {
                state.pointee.threads -= 1
                break
            }
        }
        pthread_mutex_unlock(mutex)
    }
}

/// Runs `body` on a thread that may block, and waits for it without holding a thread of the cooperative pool.
///
/// Cancellation does not interrupt `body`.
package func blocking<T: Sendable, Failure: Error>(
    on executor: BlockingExecutor = .shared, _ body: @escaping @Sendable () throws(Failure) -> T
) async throws(Failure) -> T {
    let result: Result<T, Failure> = await withCheckedContinuation { continuation in
        Activity.shared.begin()
        executor.submit {
            do throws(Failure) { continuation.resume(returning: .success(try body())) } catch {
                continuation.resume(returning: .failure(error))
            }
            Activity.shared.end()
        }
    }
    return try result.get()
}
