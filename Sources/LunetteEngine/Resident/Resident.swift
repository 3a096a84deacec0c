import LunetteAPI
import LunetteLinux
import LunetteSpec

/// The engine's resident code: one version of scripts, whose handlers are there before any call is answered and until the next version
/// takes their place as a whole.
///
/// ```
/// files, what was applied ─► load each, without effects ─► compare what they want ─► store ─► swap all handlers at once ─► events from where the
///            │ broken: the version that runs goes on;             old ones stood ─► bring about what they want, start ─► stop the old
///            │ at the engine's start the stored one
/// ```
actor Resident {
    let files: ResidentFiles
    let host: (any ResidentHost)?
    private let isSkipped: Bool
    let hooks: Hooks
    private let state: State
    let log: @Sendable (String) -> Void
    private(set) var connector: (any EngineConnector)?
    private(set) var objects = ObjectSteps()
    let events: ResidentEvents
    private var useSockets: (@Sendable ([EngineSocket]) -> Void)?
    /// Hears of each new version of handlers.
    private var whenSwapped: @Sendable () async -> Void = {}

    private(set) var scripts: [LoadedResident] = []
    private(set) var version = ResidentVersion()
    /// Why what runs isn't what is on the disk.
    private(set) var problem: LunetteError?
    private var isChanging = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// Starts and objects under way, of the version that runs.
    private var beginning: [Task<Void, Never>] = []
    /// Seconds that the old version gets to end, all of it together.
    private static let patience = 10.0

    init(_ configuration: EngineConfiguration, hooks: Hooks, state: State) {
        files = ResidentFiles(folder: configuration.configuration)
        host = configuration.residentHost
        isSkipped = configuration.skipsScripts
        log = configuration.log ?? { _ in }
        self.hooks = hooks
        self.state = state
        events = ResidentEvents(state: state)
    }

    /// - Parameter deliver: hands a subscription its events until it is cancelled.
    func connect(
        _ connector: any EngineConnector, objects: ObjectSteps,
        deliver: @escaping @Sendable (Subscription, Int64, EventCursor?) async -> Void
    ) async {
        (self.connector, self.objects) = (connector, objects)
        await events.connect(deliver)
    }

    // MARK: At the engine's start

    /// Loads what is on the disk and what was applied, else what was loaded last. No handler is called before `begin` but `before` ones.
    /// - Throws: what is wrong with the code when there is no earlier version.
    func open() async throws(LunetteError) {
        let stored = try await state.resident()
        // What was applied can be taken away without running it.
        version = stored ?? version
        guard let host, !isSkipped else { return }
        do throws(LunetteError) {
            let candidate = try await read(beside: stored?.applied ?? [])
            if let stored, !stored.files.isEmpty, !candidate.hasFolder {
                throw LunetteError(
                    .notFound, "load resident code: the folder \(files.folder) is gone, and \(stored.files.count) script(s) with it",
                    target: files.folder,
                    hint: "the last good ones run; an empty folder means that there shall be none")
            }
            let loaded = try await load(candidate, host)
            let new = candidate.version
            if stored ?? ResidentVersion() != new {
                do throws(LunetteError) { try await store(new, loaded) } catch {
                    await Self.stop(loaded)
                    throw error
                }
            }
            await use(loaded, new)
        } catch {
            guard let stored, !stored.scripts.isEmpty else {
                var failure = error
                if !failure.message.hasPrefix("load resident code") { failure.message = "load resident code: \(failure.message)" }
                if failure.hint == nil { failure.hint = "mend it, or start the engine without: lunette daemon --skip-scripts" }
                throw failure
            }
            await use(try await load(Candidate(stored: stored), host), stored)
            problem = error
            log("resident code: the last good one runs: \(error.description)")
            await tell("script.failed", ["reason": .string(error.description)])
        }
    }

    /// Events and timers begin. Nothing here is waited for: the engine answers.
    func begin() async {
        await events.start(scripts.flatMap(\.handlers), from: await state.newestEvent)
        startAll()
    }

    // MARK: Changing

    /// Puts what is on the disk in the place of what runs; broken, nothing changes.
    /// - Returns: the names of scripts that were added, changed and removed, and what became of objects.
    func reload() async throws(LunetteError) -> Value {
        try await change("reload") { () async throws(LunetteError) in try await self.read(beside: self.version.applied) }
    }

    /// Loads a script and says what installing it would change; it isn't installed.
    func plan(_ script: ResidentScript, prunes: Bool) async throws(LunetteError) -> Value {
        let host = try host("script.plan")
        return try await exclusively { () async throws(LunetteError) in
            let candidate = try await self.candidate(with: script)
            let loaded = try await self.load(candidate, host)
            let changes: Result<[ObjectChange], LunetteError>
            do throws(LunetteError) { changes = .success(try await self.compare(loaded, prunes: prunes)) } catch {
                changes = .failure(error)
            }
            await Self.stop(loaded)
            return self.describe(script, loaded, try changes.get(), before: self.version)
        }
    }

    /// Installs a script: beside the settings' own, until it is removed.
    /// - Throws: `conflict` when something that it wants can't be brought about; nothing is changed then.
    func apply(_ script: ResidentScript, prunes: Bool) async throws(LunetteError) -> Value {
        _ = try host("script.apply")
        return try await change("apply \(script.file)", prunes: prunes, describes: script) { () async throws(LunetteError) in
            try await self.candidate(with: script)
        }
    }

    /// Takes away what was applied.
    func remove(_ name: String, prunes: Bool) async throws(LunetteError) -> Value {
        guard let script = version.script(name) else {
            throw LunetteError(
                .notFound, "no resident script is called \"\(displayable(name, limit: 80))\"", target: name,
                hint: nearest(to: name, in: version.scripts.map(\.name)).map { "did you mean \"\($0)\"?" }
                    ?? "`lunette script list` lists them")
        }
        guard script.isApplied else {
            throw LunetteError(
                .invalidState, "the script \(name) is a file of the settings'", target: name,
                hint: "remove \(files.folder)/\(script.file), then: lunette reload")
        }
        guard host != nil, !isSkipped else {
            // An engine that runs none of it: it shall not come back with the next one.
            var changes = Changes()
            let new = ResidentVersion(scripts: version.scripts.filter { $0.name != name }, modules: version.modules)
            changes.resident = new
            try await state.commit(changes, .desired)
            version = new
            return ["removed": [.string(name)], "added": [], "changed": [], "objects": []]
        }
        return try await change("remove \(name)", prunes: prunes) { () async throws(LunetteError) in
            let rest = self.version.applied.filter { $0.name != name }
            return try await self.read(beside: rest)
        }
    }

    /// One change at a time; the next begins when this one has ended.
    private func exclusively<T: Sendable>(_ body: () async throws(LunetteError) -> T) async throws(LunetteError) -> T {
        while isChanging { await withCheckedContinuation { waiting.append($0) } }
        isChanging = true
        defer {
            isChanging = false
            for waiter in waiting { waiter.resume() }
            waiting = []
        }
        return try await body()
    }

    private func change(
        _ what: String, prunes: Bool = false, describes script: ResidentScript? = nil,
        to candidate: () async throws(LunetteError) -> Candidate
    ) async throws(LunetteError) -> Value {
        let host = try host(what)
        return try await exclusively { () async throws(LunetteError) in
            let old = (self.scripts, self.version)
            let loaded: [LoadedResident]
            let new: ResidentVersion
            var changes: [ObjectChange]
            do throws(LunetteError) {
                let found = try await candidate()
                loaded = try await self.load(found, host)
                new = found.version
                do throws(LunetteError) {
                    changes = try await self.compare(loaded, prunes: prunes)
                    if let conflict = changes.first(where: { $0.action == .conflict }) {
                        throw LunetteError(
                            .conflict,
                            "\(conflict.place ?? ""): the \(conflict.kind) \(conflict.name) is there with another \(conflict.fields.joined(separator: ", "))",
                            target: conflict.name, hint: "what can't change needs another name, or the old one removed first")
                    }
                    try await self.store(new, loaded)
                } catch {
                    await Self.stop(loaded)
                    throw error
                }
            } catch {
                if script == nil { self.problem = error }
                await self.tell("script.failed", ["reason": .string(error.description)])
                var failure = error
                failure.message = "\(what): \(failure.message)"
                failure.hint = failure.hint ?? "nothing has changed: what ran before goes on"
                throw failure
            }
            for task in self.beginning { task.cancel() }
            let end = ContinuousClock.now + .seconds(Self.patience)
            // What happens from here on is the new handlers'.
            let newest = await self.state.newestEvent
            await self.use(loaded, new)
            // Where an old handler of a name stands is where the new one goes on.
            await self.events.replace(with: loaded.flatMap(\.handlers), from: newest, patience: Self.patience)
            self.problem = nil
            changes = await self.bringAbout(changes, loaded)
            self.startAll(bringsObjects: false)
            await self.hooks.earlierQuestionsEnd(patience: Self.left(until: end))
            await Self.stop(old.0, patience: Self.left(until: end))
            var answer = new.change(from: old.1)
            answer["objects"] = .array(changes.map(\.value))
            await self.tell("script.reloaded", answer)
            return script.map { self.describe($0, loaded, changes, before: old.1) } ?? .map(answer)
        }
    }

    private func host(_ operation: String) throws(LunetteError) -> any ResidentHost {
        guard let host else { throw LunetteError(.unsupported, "this engine runs no resident code", operation: operation) }
        if isSkipped {
            throw LunetteError(
                .invalidState, "this engine was started without resident code", operation: operation,
                hint: "start it without --skip-scripts")
        }
        return host
    }

    // MARK: Using what was loaded

    private func store(_ version: ResidentVersion, _ loaded: [LoadedResident]) async throws(LunetteError) {
        var changes = Changes()
        changes.resident = version
        let names = Set(loaded.flatMap(\.handlers).compactMap(\.cursor))
        changes.removedCursors = await state.cursors.keys.filter { !names.contains($0) }
        try await state.commit(changes, .desired)
        // Not before: when the commit fails the handlers of these go on. What one of them wrote since is taken away, too.
        await events.forget(changes.removedCursors)
        let late = Set(changes.removedCursors).intersection(await state.cursors.keys)
        if late.isEmpty { return }
        var again = Changes()
        again.removedCursors = late.sorted()
        try await state.commit(again)
    }

    private func use(_ loaded: [LoadedResident], _ version: ResidentVersion) async {
        await hooks.replaceResident(loaded.flatMap(\.handlers), loaded.flatMap(\.lifecycles))
        scripts = loaded
        self.version = version
        await whenSwapped()
        useSockets?(sockets)
    }

    func onSwap(_ body: @escaping @Sendable () async -> Void) { whenSwapped = body }

    // MARK: Sockets

    /// Those that the scripts have declared.
    var sockets: [EngineSocket] { scripts.flatMap(\.sockets) }

    /// - Parameter use: opens the sockets: those of now, and those of each version that follows.
    func onSockets(_ use: @escaping @Sendable ([EngineSocket]) -> Void) {
        useSockets = use
        use(sockets)
    }

    /// Who judges the calls of a socket: nil when no script declares it any more.
    func filter(of socket: String) -> (any HookReceiver)? {
        scripts.first { $0.sockets.contains { $0.name == socket } }?.code.receiver
    }

    // MARK: Starting and stopping

    private func startAll(bringsObjects: Bool = true) {
        beginning = scripts.map { loaded in
            Task {
                if bringsObjects {
                    for object in loaded.desired {
                        do throws(LunetteError) { try await self.objects.bring(object) } catch {
                            await self.noteFailed("\(object.place): \(object.kind) \(object.name)", error)
                        }
                    }
                }
                do throws(LunetteError) { try await loaded.code.start() } catch {
                    if error.code != .cancelled { await self.noteFailed("\(loaded.script.file): start", error) }
                }
            }
        }
    }

    func noteFailed(_ what: String, _ error: LunetteError) async {
        log("\(what): \(error.description)")
        await tell("script.failed", ["reason": .string("\(what): \(error.description)")])
    }

    /// All at once: each has its own time limit, and they shall not add up.
    /// - Parameter patience: seconds for handlers under way; what never ran has none.
    static func stop(_ loaded: [LoadedResident], patience: Double = 0) async {
        await withTaskGroup(of: Void.self) { group in
            for script in loaded { group.addTask { await script.code.stop(patience: patience) } }
        }
    }

    private static func left(until end: ContinuousClock.Instant) -> Double { max(0, (end - .now) / .seconds(1)) }

    private func tell(_ name: String, _ fields: ValueMap) async {
        await state.log(PendingEvent(name: name, target: .init(kind: "script", id: "resident", name: "resident"), fields: fields))
    }

    // MARK: What runs

    /// The running version of a script; nil when none has the name.
    func code(named name: String) -> LoadedResident? { scripts.first { $0.script.name == name } }

    /// Whether an engine on demand has to stay: something may happen by itself.
    var isBusy: Bool { scripts.contains { $0.code.hasTimers } }
    /// Nobody else would listen there.
    var hasSockets: Bool { scripts.contains { !$0.sockets.isEmpty } }

    func shutdown() async {
        for task in beginning { task.cancel() }
        let end = ContinuousClock.now + .seconds(Self.patience)
        await events.stop(patience: Self.patience)
        await Self.stop(scripts, patience: Self.left(until: end))
        scripts = []
    }
}
