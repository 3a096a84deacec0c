internal import Glibc
internal import LunetteLinux
internal import Synchronization

/// Carries work to the one thread that a Lua state belongs to, in the order it was posted.
// SAFETY: `queue`, `isAsleep` and `unpark` are only touched under `mutex`.
final class Mailbox: @unchecked Sendable {
    typealias Work = @Sendable (LuaHost) -> Void

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [Work] = []
    private var head = 0
    private var isClosed = false
    /// Called on the state's thread when it has had nothing to do for a moment, once after each time it had; set before the first `next`.
    /// A `next` without a deadline then returns.
    var whenAtRest: (() -> Void)?
    /// Only of the state's thread.
    private var isRested = false
    /// How long that moment is, in seconds.
    private static let moment = 0.1
    /// The state has no thread now: gives it one. Under `mutex`.
    private var unpark: (@Sendable () -> Void)?
    /// The state's thread waits on `condition`. Under `mutex`.
    private var isAsleep = false
    /// How much has been posted, for who looks without the lock.
    private let posted = Atomic<Int>(0)
    /// Only of the state's thread. A question and its answer take some 20 µs, and what comes next is often another question.
    private var policy = SpinPolicy(longest: 50_000, short: 150_000)
    /// Of the wait that is under way: nanoseconds of the monotonic clock. Only of the state's thread.
    private var waitingSince: UInt64?

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func post(_ work: @escaping Work) { put(work).tell() }

    /// Says that there is work.
    struct Arrival: Sendable {
        fileprivate let sleeper: Mailbox?
        fileprivate let unpark: (@Sendable () -> Void)?

        /// To be called once, where no lock is held that the state's thread may want: the kernel likes to run who is woken at once, on the
        /// processor of who woke it.
        func tell() {
            if let sleeper { pthread_cond_signal(sleeper.condition) }
            unpark?()
        }
    }

    /// As `post`, but the state's thread is not woken before the arrival is told.
    func put(_ work: @escaping Work) -> Arrival {
        pthread_mutex_lock(mutex)
        let unpark = isClosed ? nil : self.unpark
        self.unpark = nil
        append(work)
        let wakes = isAsleep && !isClosed
        pthread_mutex_unlock(mutex)
        return Arrival(sleeper: wakes ? self : nil, unpark: unpark)
    }

    /// Lets the state's thread end when there is nothing to do.
    /// - Parameter unpark: called by who posts next, with the work in the queue.
    /// - Returns: false when there is something.
    func park(_ unpark: @escaping @Sendable () -> Void) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard head == queue.count, !isClosed else { return false }
        self.unpark = unpark
        return true
    }

    var isParked: Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return unpark != nil
    }

    /// Under the lock.
    private func append(_ work: @escaping Work) {
        if isClosed { return }
        var counted = work
        if Activity.shared.isOn {
            Activity.shared.begin()
            counted = { host in
                host.activities += 1
                work(host)
                host.activities -= 1
                Activity.shared.end()
            }
        }
        queue.append(counted)
        posted.add(1, ordering: .releasing)
    }

    /// Drops what comes from now on, and what nobody has taken: the state is gone.
    func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        let dropped = queue.count - head
        (queue, head) = ([], 0)
        pthread_mutex_unlock(mutex)
        Activity.shared.end(dropped)
    }

    /// Takes the next work, waiting for it.
    /// - Parameter deadline: monotonic seconds; nil waits for ever, a past one looks once.
    func next(until deadline: Double?) -> Work? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        waitingSince = nil
        if head == queue.count, deadline != 0 { lookOut(until: deadline) }
        while head == queue.count {
            if let whenAtRest, !isRested, deadline.map({ $0 > monotonicNow() + Self.moment }) ?? true {
                guard wait(until: monotonicNow() + Self.moment) else { continue }
                isRested = true
                pthread_mutex_unlock(mutex)
                whenAtRest()
                pthread_mutex_lock(mutex)
                if deadline == nil, head == queue.count { return nil }
                continue
            }
            guard let deadline else {
                isAsleep = true
                pthread_cond_wait(condition, mutex)
                isAsleep = false
                continue
            }
            if wait(until: deadline) { return nil }
        }
        if let waitingSince { policy.waited(Spin.now &- waitingSince) }
        isRested = false
        let work = queue[head]
        head += 1
        if head == queue.count {
            queue.removeAll(keepingCapacity: true)
            head = 0
        }
        return work
    }

    /// Looks out for work before the thread goes to sleep, where that has been worth it. Called under the lock, and lets go of it meanwhile.
    private func lookOut(until deadline: Double?) {
        guard Spin.isOfUse, !Activity.shared.isOn else { return }
        let began = Spin.now
        waitingSince = began
        guard policy.looks else { return }
        var longest = policy.longest
        if let deadline { longest = min(longest, UInt64(max(0, min(deadline * 1e9 - Double(began), Double(longest))))) }
        let seen = posted.load(ordering: .relaxed)
        pthread_mutex_unlock(mutex)
        let hasCome = Spin.look(for: longest) { posted.load(ordering: .acquiring) != seen }
        pthread_mutex_lock(mutex)
        if hasCome {
            policy.saw()
            waitingSince = nil
        } else {
            policy.missed()
        }
    }

    /// Waits under the lock.
    /// - Returns: whether the time has passed and there is still nothing.
    private func wait(until deadline: Double) -> Bool {
        // A century is for ever here; larger figures overflow the kernel's.
        let due = min(deadline, 3.2e9)
        var time = timespec(tv_sec: Int(due), tv_nsec: Int((due - due.rounded(.down)) * 1e9))
        isAsleep = true
        defer { isAsleep = false }
        return pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT && head == queue.count
    }

    var isEmpty: Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return head == queue.count
    }
}

/// Seconds of CLOCK_MONOTONIC.
func monotonicNow() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}

/// Runs blocking work on a thread of its own, off the cooperative pool.
func onOwnThread(_ work: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let work: @Sendable () -> Void
        init(_ work: @escaping @Sendable () -> Void) { self.work = work }
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    // Lua nests up to 200 C calls, each with buffers of its own on the stack.
    pthread_attr_setstacksize(&attributes, 16 << 20)
    defer { pthread_attr_destroy(&attributes) }
    let box = Unmanaged.passRetained(Box(work))
    var thread = pthread_t()
    let failed = pthread_create(
        &thread, &attributes,
        { context in
            Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().work()
            return nil
        }, box.toOpaque())
    if failed != 0 {
        // No thread to be had: late is better than never.
        box.takeRetainedValue().work()
    }
}
