internal import CLuaBridge
internal import Glibc
internal import LunetteLinux
internal import Synchronization

/// Runs the whole process's Swift jobs on one thread, in the order in which they come, and counts them.
///
/// In a test nothing may depend on which processor is faster, and the clock may be moved only when no job is left.
// SAFETY: `jobs` is only touched under `mutex`.
final class JobThread: @unchecked Sendable {
    private static let shared = JobThread()
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [UnsafeMutableRawPointer] = []

    private init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
    }

    /// Takes over: before the process's first task, for good.
    static func begin() {
        Activity.shared.count()
        onOwnThread { shared.run() }
        lnt_swift_jobs_redirect { job in JobThread.shared.add(job!) }
    }

    private func add(_ job: UnsafeMutableRawPointer) {
        Activity.shared.begin()
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    private func run() {
        while true {
            pthread_mutex_lock(mutex)
            while jobs.isEmpty { pthread_cond_wait(wake, mutex) }
            let ready = jobs
            jobs.removeAll(keepingCapacity: true)
            pthread_mutex_unlock(mutex)
            for job in ready {
                lnt_swift_job_run(job)
                Activity.shared.end()
            }
        }
    }
}
