import Dispatch
import Glibc
import Synchronization

/// Runs the tasks that prefer it: on the thread that has just given them what they waited for, where that offers itself, else on the usual pool.
///
/// A thread's answer usually wakes another thread for whoever asked, which takes many times what a short answer does.
package final class Continuing: TaskExecutor {
    package static let shared = Continuing()

    private init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if let host = JobHost.current, host.take(job) { return }
        runElsewhere(job)
    }

    fileprivate func runElsewhere(_ job: UnownedJob) {
        DispatchQueue.global().async {
            // A task that goes from one actor to the next stays on its thread.
            let host = JobHost()
            host.begin()
            host.run(job)
            host.end()
        }
    }
}

/// A thread that lets a task go on on it: one whom it has answered, or that has run there until now. One at a time; others go elsewhere.
package final class JobHost: Sendable {
    private struct State {
        var job: UnownedJob?
        var isOpen = false
        /// Whether the job waited when `releaseLate` looked last.
        var isLate = false

        mutating func takeJob() -> UnownedJob? {
            defer { (job, isLate) = (nil, false) }
            return job
        }
    }
    private let state = Mutex(State())
    /// Seconds of jobs in a row.
    private static let longest = 0.002

    /// The calling thread's.
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        precondition(pthread_key_create(&key, nil) == 0, "no key for what belongs to a thread")
        return key
    }()

    package init() {}

    fileprivate static var current: JobHost? {
        pthread_getspecific(key).map { Unmanaged<JobHost>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Makes the calling thread this one, until `end`.
    package func begin() { pthread_setspecific(JobHost.key, Unmanaged.passUnretained(self).toOpaque()) }

    /// The thread hosts nobody any more.
    package func end() {
        pthread_setspecific(JobHost.key, nil)
        release()
    }

    /// Runs `body`, which answers somebody: `run` comes soon after it.
    package func offering<T>(_ body: () -> T) -> T {
        state.withLock { $0.isOpen = true }
        defer { state.withLock { $0.isOpen = false } }
        return body()
    }

    fileprivate func take(_ job: UnownedJob) -> Bool {
        state.withLock { state in
            guard state.isOpen, state.job == nil else { return false }
            state.job = job
            return true
        }
    }

    /// Runs what has come, and what comes of that; after a moment the rest goes elsewhere.
    package func run() {
        if let job = state.withLock({ $0.takeJob() }) { run(job) }
    }

    fileprivate func run(_ first: UnownedJob) {
        let began = ContinuousClock.now
        offering {
            var next: UnownedJob? = first
            while let job = next {
                job.runSynchronously(on: Continuing.shared.asUnownedTaskExecutor())
                if ContinuousClock.now - began > .seconds(JobHost.longest) { return }
                next = state.withLock { $0.takeJob() }
            }
        }
        release()
    }

    /// Lets the one that waits here go on elsewhere.
    package func release() {
        if let job = state.withLock({ $0.takeJob() }) { Continuing.shared.runElsewhere(job) }
    }

    /// The same for one that waited when it was called before: the thread is kept busy by something else. Called from another thread.
    /// - Returns: whether one waits.
    package func releaseLate() -> Bool {
        let (isLate, waits) = state.withLock { state in
            defer { state.isLate = state.job != nil }
            return (state.isLate && state.job != nil, state.job != nil)
        }
        if isLate { release() }
        return waits
    }
}
