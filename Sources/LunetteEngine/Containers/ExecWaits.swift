import Synchronization

/// Callers that wait for execs, by the request's id: how one says that it goes and the process stays.
final class ExecWaits: Sendable {
    private let waits = Mutex<[String: @Sendable () -> Bool]>([:])

    func add(_ id: String, leave: @escaping @Sendable () -> Bool) { waits.withLock { $0[id] = leave } }
    func remove(_ id: String) { waits.withLock { _ = $0.removeValue(forKey: id) } }

    /// - Returns: whether there was one, and it hadn't ended.
    func leave(_ id: String) -> Bool { waits.withLock { $0[id] }?() ?? false }
}
