import Synchronization

/// Hands the newest of what comes to one task at a time, which is there only meanwhile.
final class Newest<Item: Sendable>: Sendable {
    private let waiting = Mutex<(item: Item?, isHandled: Bool)>((nil, false))
    private let handle: @Sendable (Item) async -> Void

    init(_ handle: @escaping @Sendable (Item) async -> Void) { self.handle = handle }

    /// What came before and was not begun is dropped.
    func put(_ item: Item) {
        let begins = waiting.withLock { state in
            state.item = item
            defer { state.isHandled = true }
            return !state.isHandled
        }
        guard begins else { return }
        Task {
            while let item = next() { await handle(item) }
        }
    }

    private func next() -> Item? {
        waiting.withLock { state in
            defer { state.item = nil }
            state.isHandled = state.item != nil
            return state.item
        }
    }
}
