import Glibc
import LunetteLinux
import Synchronization

/// Runs one actor's jobs on a thread of its own, so that the database's system calls never hold a thread of the cooperative pool.
final class ThreadExecutor: SerialExecutor {
    private struct Queue {
        var jobs: [UnownedJob] = []
        var closed = false
        /// The thread has left: what comes now is never run.
        var hasEnded = false
    }

    private let queue = Mutex(Queue())
    private let wake = Semaphore()

    /// - Parameter name: for the message when no thread can be had.
    init(name: String) {
        let thread = Unmanaged.passRetained(self)
        var id = pthread_t()
        let failed = pthread_create(
            &id, nil,
            { argument in
                let executor = Unmanaged<ThreadExecutor>.fromOpaque(argument!).takeRetainedValue()
                executor.run()
                return nil
            }, thread.toOpaque())
        precondition(failed == 0, "no thread for \(name): errno \(failed)")
        pthread_detach(id)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let first = queue.withLock { queue in
            if !queue.hasEnded { Activity.shared.begin() }
            queue.jobs.append(job)
            return queue.jobs.count == 1
        }
        if first { wake.signal() }
    }

    /// Lets the thread end when its queue is empty. Nothing may be enqueued afterwards.
    func close() {
        queue.withLock { $0.closed = true }
        wake.signal()
    }

    private func run() {
        while true {
            let (jobs, closed) = queue.withLock { queue in
                defer { queue.jobs = [] }
                queue.hasEnded = queue.closed && queue.jobs.isEmpty
                return (queue.jobs, queue.closed)
            }
            for job in jobs {
                job.runSynchronously(on: asUnownedSerialExecutor())
                Activity.shared.end()
            }
            if jobs.isEmpty {
                if closed { return }
                wake.wait()
            }
        }
    }
}

/// A POSIX semaphore; the thread above sleeps on it.
private final class Semaphore: @unchecked Sendable {
    // SAFETY: sem_t is made for use from several threads; the pointer never changes.
    private let pointer: UnsafeMutablePointer<sem_t>

    init() {
        pointer = .allocate(capacity: 1)
        sem_init(pointer, 0, 0)
    }

    deinit {
        sem_destroy(pointer)
        pointer.deallocate()
    }

    func signal() { sem_post(pointer) }
    func wait() { while sem_wait(pointer) != 0 {} }
}
