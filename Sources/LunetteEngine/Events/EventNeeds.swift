import Synchronization

/// From where on named handlers still want the events: what isn't written down at each event, yet must be known when the oldest are dropped.
final class EventNeeds: Sendable {
    /// The last event that a handler needs no more, by its cursor's name.
    private let places = Mutex<[String: Int64]>([:])

    /// A handler needs nothing up to here. It never goes back.
    func reach(_ name: String, _ sequence: Int64) { places.withLock { $0[name] = max($0[name] ?? sequence, sequence) } }

    func remove(_ name: String) { places.withLock { $0[name] = nil } }

    subscript(name: String) -> Int64? { places.withLock { $0[name] } }
}
