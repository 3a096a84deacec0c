internal import Glibc
internal import LunetteSpec
internal import Synchronization

/// Ends a test that takes too long in the time of the wall: code that runs for ever, or waits for what is not in the test's hands.
// SAFETY: the fields are only touched under `mutex`.
final class Watchdog: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var due: Double?
    private var bite: (() -> Void)?
    private var late: Double?
    /// Seconds until a test that was interrupted has to be over.
    private static let grace = 15.0
    private var allowed = 0.0
    private var isRunning = false

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    func begin(_ host: LuaHost, seconds: Double) {
        let (mailbox, interrupter) = (host.mailbox, host.state.interrupter)
        pthread_mutex_lock(mutex)
        (due, late) = (monotonicNow() + seconds, nil)
        allowed = seconds
        bite = {
            interrupter.interrupt()
            mailbox.post { host in
                host.state.forgetInterrupt()
                host.enter("test_stuck", ["code": "timeout", "text": .string(Self.text(seconds))])
            }
        }
        let starts = !isRunning
        isRunning = true
        pthread_cond_signal(changed)
        pthread_mutex_unlock(mutex)
        if starts { onOwnThread { self.watch() } }
    }

    /// Why the code that runs was interrupted; nil when it wasn't by this.
    var reason: String? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return late.map(Self.text)
    }

    private static func text(_ seconds: Double) -> String {
        "it took longer than \(seconds == seconds.rounded() ? String(Int(seconds)) : String(seconds)) s"
    }

    func end() {
        pthread_mutex_lock(mutex)
        (due, bite, late) = (nil, nil, nil)
        pthread_mutex_unlock(mutex)
    }

    private func watch() {
        pthread_mutex_lock(mutex)
        while true {
            guard let due else {
                pthread_cond_wait(changed, mutex)
                continue
            }
            let now = monotonicNow()
            if now >= due {
                guard let bite else {
                    // Nothing of ours is left to interrupt: without an end the next test would wait for ever.
                    writeError("\nlunette: test: what a test has begun can't be ended\n")
                    exit(1)
                }
                bite()
                late = allowed
                (self.due, self.bite) = (now + Self.grace, nil)
                continue
            }
            var time = timespec(tv_sec: Int(due), tv_nsec: Int((due - due.rounded(.down)) * 1e9))
            pthread_cond_timedwait(changed, mutex, &time)
        }
    }
}
