internal import Glibc
internal import Synchronization

/// Looks twice a second at the workers that somebody waits for, from a thread that is there only while there are such.
///
/// A state limits itself; what its limits don't reach (one instruction, or one collection of garbage, that takes minutes) ends here: who
/// waits is told, whatever the state's thread does.
final class WorkerWatch: Sendable {
    static let shared = WorkerWatch()
    private static let period = 0.5

    private struct State {
        var workers: [ObjectIdentifier: StateWorker] = [:]
        var isRunning = false
    }
    private let state = Mutex(State())

    func add(_ worker: StateWorker) {
        let starts = state.withLock { state in
            state.workers[ObjectIdentifier(worker)] = worker
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if starts { onOwnThread { self.run() } }
    }

    private func run() {
        while true {
            usleep(useconds_t(Self.period * 1e6))
            let now = monotonicNow()
            for worker in state.withLock({ Array($0.workers.values) }) where !worker.isStillWaitedFor(now) {
                state.withLock { $0.workers[ObjectIdentifier(worker)] = nil }
                // Somebody may have come between the two.
                worker.watchAgainWhereNeeded()
            }
            let isDone = state.withLock { state in
                if state.workers.isEmpty { state.isRunning = false }
                return state.workers.isEmpty
            }
            if isDone { return }
        }
    }
}
