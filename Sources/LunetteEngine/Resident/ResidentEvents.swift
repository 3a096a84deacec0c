import LunetteSpec

/// Hands resident `on` handlers their events, and keeps the places that named ones have reached.
actor ResidentEvents {
    private let state: State
    private var deliver: (@Sendable (Subscription, Int64, EventCursor?) async -> Void)?
    private var pumps: [Task<Void, Never>] = []
    private var cursors: [String: EventCursor] = [:]

    init(state: State) { self.state = state }

    func connect(_ deliver: @escaping @Sendable (Subscription, Int64, EventCursor?) async -> Void) { self.deliver = deliver }

    /// - Parameter newest: after which event handlers begin that have no place yet.
    func start(_ handlers: [Subscription], from newest: Int64) async {
        guard let deliver else { return }
        for handler in handlers where handler.kind == .on {
            var cursor: EventCursor?
            var start = newest
            if let name = handler.cursor {
                start = await state.cursors[name] ?? newest
                let made = EventCursor(name: name, state: state, start: start)
                cursors[name] = made
                // Where a new one begins holds from now on, whenever it gets its first event.
                await made.write()
                cursor = made
            }
            let (begin, place) = (start, cursor)
            pumps.append(Task { await deliver(handler, begin, place) })
        }
    }

    /// Ends the handlers of one version and begins with those of the next.
    /// - Parameter patience: seconds that events under way get.
    func replace(with handlers: [Subscription], from newest: Int64, patience: Double) async {
        await stop(patience: patience)
        cursors = [:]
        await start(handlers, from: newest)
    }

    /// Whether a named handler has something to do: an engine that left now would give it the same again.
    var isBusy: Bool {
        get async {
            for cursor in cursors.values where await cursor.isBusy { return true }
            return false
        }
    }

    /// Names whose places are taken away: what still runs shall not write them again.
    func forget(_ names: [String]) async {
        for name in names { await cursors.removeValue(forKey: name)?.close() }
    }

    /// Gives handlers no more events, and those that they have a moment. One that hangs holds nobody up: the event isn't acknowledged, and comes again.
    func stop(patience: Double) async {
        let ending = pumps
        pumps = []
        for pump in ending { pump.cancel() }
        let race = Race<Void>()
        let end = Task {
            for pump in ending { await pump.value }
            race.finish(())
        }
        let timer = Task {
            // Cut short when the handlers were quicker.
            try? await Task.sleep(for: .seconds(patience))
            race.finish(())
        }
        await race.value
        end.cancel()
        timer.cancel()
    }
}
