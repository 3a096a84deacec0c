import LunetteSpec

/// How far a named resident `on` handler has come: written down behind what it has acknowledged, never ahead, so that after any end of the engine
/// it gets everything it hasn't acknowledged, some of it twice.
actor EventCursor {
    private let name: String
    private let state: State
    /// Given to the handler and not acknowledged.
    private var open: Set<Int64> = []
    private var reached: Int64
    private var written: Int64 = -1
    private var unwritten = 0
    private var isClosed = false

    /// - Parameter start: what the handler has had already.
    init(name: String, state: State, start: Int64) {
        self.name = name
        self.state = state
        reached = start
    }

    /// The handler is about to get an event; those before it that it doesn't get are done with.
    func began(_ sequence: Int64) {
        open.insert(sequence)
        reached = max(reached, sequence)
    }

    func began(_ sequences: [Int64]) {
        for sequence in sequences { began(sequence) }
    }

    /// All up to here is begun, or isn't for the handler.
    func passed(_ sequence: Int64) {
        reached = max(reached, sequence)
        note()
    }

    /// Up to here nothing is open.
    private var place: Int64 { open.min().map { $0 - 1 } ?? reached }

    /// So much of the log isn't kept for it any longer; written down is it less often.
    private func note() { if !isClosed { state.needs.reach(name, place) } }

    func done(_ sequences: [Int64]) async {
        guard let last = sequences.last else { return }
        open.subtract(sequences.dropLast())
        unwritten += sequences.count - 1
        await done(last)
    }

    /// It has acknowledged an event, or was given up on.
    func done(_ sequence: Int64) async {
        open.remove(sequence)
        unwritten += 1
        note()
        // One write for many where they come close upon each other.
        if open.isEmpty || unwritten >= 64 { await write() }
    }

    /// Whether the handler has an event that it hasn't acknowledged.
    var isBusy: Bool { !open.isEmpty && !isClosed }

    /// Nothing is written any more: its handler is no longer wanted.
    func close() { isClosed = true }

    /// Writes down where it stands.
    func write() async {
        if isClosed { return }
        let place = place
        guard place > written else { return }
        unwritten = 0
        var changes = Changes()
        changes.cursors = [name: place]
        do throws(LunetteError) {
            try await state.commit(changes)
            written = max(written, place)
        } catch {
            // A disk that fails says so to whoever changes something; here it means that some events come twice.
        }
    }
}
