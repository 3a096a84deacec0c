internal import Glibc
internal import Synchronization

/// Counts what is under way in a process whose time is virtual: jobs, messages, blocking work. At zero nothing happens any more by itself, and
/// the clock may be moved.
///
/// Off until `count()`, which `lunette test` calls before anything else; a process in real time pays one load for it.
// SAFETY: `number` and `waiters` are only touched under `mutex`; a pthread condition needs a pthread mutex, so Mutex can't serve.
package final class Activity: @unchecked Sendable {
    /// The process's own: its jobs run on one executor, so there is one count.
    package static let shared = Activity()

    private let isCounting = Atomic<Bool>(false)
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var number = 0

    private init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    /// Counts from now on. Called once, while nothing is under way.
    package func count() { isCounting.store(true, ordering: .relaxed) }
    package var isOn: Bool { isCounting.load(ordering: .relaxed) }

    package func begin(_ count: Int = 1) {
        guard isOn, count > 0 else { return }
        pthread_mutex_lock(mutex)
        number += count
        pthread_mutex_unlock(mutex)
    }

    package func end(_ count: Int = 1) {
        guard isOn, count > 0 else { return }
        pthread_mutex_lock(mutex)
        number -= count
        if number == 0 { pthread_cond_broadcast(changed) }
        pthread_mutex_unlock(mutex)
    }

    /// Blocks until nothing is under way and `isDue` has something to do.
    ///
    /// `isDue` is asked under the count's lock: what it sees was so while nothing was under way. `poke` has it asked again.
    package func waitUntilIdle(_ isDue: () -> Bool) {
        pthread_mutex_lock(mutex)
        while number > 0 || !isDue() { pthread_cond_wait(changed, mutex) }
        pthread_mutex_unlock(mutex)
    }

    package func poke() {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }
}
