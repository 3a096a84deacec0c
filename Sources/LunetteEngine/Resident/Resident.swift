import LunetteAPI
import LunetteLinux
import LunetteSpec

/// The engine's resident code: one version of scripts, whose handlers are there before any call is answered and until the next version
/// takes their place as a whole.
///
/// ```
/// files ─► load each, without effects ─► store ─► swap all handlers at once ─► events from where the old ones stood ─► start ─► stop the old
///            │ broken: the version that runs goes on; at the engine's start the stored one
/// ```
actor Resident {
    struct Loaded {
        let script: ResidentScript
        let code: any LoadedScript
        var handlers: [Subscription]
    }

    private let files: ResidentFiles
    private let host: (any ResidentHost)?
    private let isSkipped: Bool
    private let hooks: Hooks
    private let state: State
    private let log: @Sendable (String) -> Void
    private var connector: (any EngineConnector)?
    private var deliver: (@Sendable (Subscription, Int64, EventCursor?) async -> Void)?

    private var scripts: [Loaded] = []
    private var version = ResidentVersion(scripts: [])
    private var pumps: [Task<Void, Never>] = []
    /// Why what runs isn't what is on the disk.
    private(set) var problem: LunetteError?
    private var isReloading = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ configuration: EngineConfiguration, hooks: Hooks, state: State) {
        files = ResidentFiles(folder: configuration.configuration)
        host = configuration.residentHost
        isSkipped = configuration.skipsScripts
        log = configuration.log ?? { _ in }
        self.hooks = hooks
        self.state = state
    }

    /// - Parameter deliver: hands a subscription its events until it is cancelled.
    func connect(_ connector: any EngineConnector, deliver: @escaping @Sendable (Subscription, Int64, EventCursor?) async -> Void) {
        self.connector = connector
        self.deliver = deliver
    }

    // MARK: At the engine's start

    /// Loads what is on the disk, else what was loaded last. No handler is called before `begin` but `before` ones.
    /// - Throws: what is wrong with the code when there is no earlier version.
    func open() async throws(LunetteError) {
        guard let host, !isSkipped else { return }
        do throws(LunetteError) {
            let found = try await read()
            try await install(try await load(found.scripts, found.modules, host), found)
        } catch {
            guard let stored = try await state.resident(), !stored.scripts.isEmpty else {
                var failure = error
                failure.message = "load resident code: \(failure.message)"
                if failure.hint == nil { failure.hint = "mend it, or start the engine without: lunette daemon --skip-scripts" }
                throw failure
            }
            let modules = StoredModules(all: stored.modules)
            await subscribe(try await load(stored.scripts, modules, host))
            version = stored
            problem = error
            log("resident code: the last good one runs: \(error.description)")
            await tell("script.failed", ["reason": .string(error.description)])
        }
    }

    /// Events and timers begin.
    func begin() async {
        await startPumps()
        for loaded in scripts { await start(loaded) }
    }

    // MARK: Reloading

    /// Puts what is on the disk in the place of what runs; broken, nothing changes.
    /// - Returns: the names of scripts that were added, changed and removed.
    func reload() async throws(LunetteError) -> Value {
        guard let host else { throw LunetteError(.unsupported, "this engine runs no resident code", operation: "script.reload") }
        while isReloading { await withCheckedContinuation { waiting.append($0) } }
        isReloading = true
        defer {
            isReloading = false
            for waiter in waiting { waiter.resume() }
            waiting = []
        }
        let old = (scripts, version)
        do throws(LunetteError) {
            let found = try await read()
            let loaded = try await load(found.scripts, found.modules, host)
            try await replace(loaded, found)
        } catch {
            problem = error
            await tell("script.failed", ["reason": .string(error.description)])
            var failure = error
            failure.message = "reload: \(failure.message)"
            failure.hint = failure.hint ?? "nothing has changed: what ran before goes on"
            throw failure
        }
        problem = nil
        for loaded in scripts { await start(loaded) }
        // Each of its questions has a time limit.
        await hooks.earlierQuestionsEnd()
        for loaded in old.0 { await loaded.code.stop() }
        let change = version.change(from: old.1)
        await tell("script.reloaded", change.mapValue ?? [:])
        return change
    }

    private struct Found {
        var scripts: [ResidentScript]
        var modules: ReadModules
    }

    private func read() async throws(LunetteError) -> Found {
        let files = files
        return Found(
            scripts: try await blocking { () throws(LunetteError) in try files.scripts() }, modules: ReadModules(files))
    }

    /// Loads every script, or none.
    private func load(
        _ scripts: [ResidentScript], _ modules: any ResidentModules, _ host: any ResidentHost
    ) async throws(LunetteError) -> [Loaded] {
        guard let connector else { throw LunetteError(.internal, "resident code has no engine to call") }
        var loaded: [Loaded] = []
        do throws(LunetteError) {
            for script in scripts {
                let code = try await host.load(script, modules: modules, connector: connector, log: log)
                loaded.append(Loaded(script: script, code: code, handlers: []))
            }
            for index in loaded.indices { loaded[index].handlers = try await handlers(of: loaded[index]) }
            return loaded
        } catch {
            for script in loaded { await script.code.stop() }
            throw error
        }
    }

    private func handlers(of loaded: Loaded) async throws(LunetteError) -> [Subscription] {
        var made: [Subscription] = []
        for registration in loaded.code.registrations {
            let line = registration["line"]?.intValue
            let place = "\(registration["file"]?.stringValue ?? loaded.script.file)\(line.map { ":\($0)" } ?? "")"
            do throws(LunetteError) {
                var map = registration.mapValue ?? [:]
                for key in ["line", "file"] { map[key] = nil }
                if let function = APIRegistry.function("hook.register") { try APIRegistry.check(.map(map), for: function) }
                made.append(
                    try await hooks.make(
                        HookRequest(.map(map)), source: .resident, session: "resident/\(loaded.script.name)", place: place,
                        receiver: loaded.code.receiver))
            } catch {
                var failure = error
                failure.message = "\(place): \(failure.path.map { "\($0): " } ?? "")\(failure.message)"
                failure.path = nil
                throw failure
            }
        }
        return made
    }

    /// The first version of this engine.
    private func install(_ loaded: [Loaded], _ found: Found) async throws(LunetteError) {
        let new = ResidentVersion(scripts: found.scripts, modules: found.modules.all)
        do throws(LunetteError) {
            if try await state.resident() ?? ResidentVersion(scripts: []) != new { try await store(new, loaded) }
        } catch {
            for script in loaded { await script.code.stop() }
            throw error
        }
        await subscribe(loaded)
        version = new
    }

    private func replace(_ loaded: [Loaded], _ found: Found) async throws(LunetteError) {
        let new = ResidentVersion(scripts: found.scripts, modules: found.modules.all)
        do throws(LunetteError) { try await store(new, loaded) } catch {
            for script in loaded { await script.code.stop() }
            throw error
        }
        await subscribe(loaded)
        version = new
        // Where an old handler of a name stands is where the new one goes on.
        await stopPumps()
        await startPumps()
    }

    private func store(_ version: ResidentVersion, _ loaded: [Loaded]) async throws(LunetteError) {
        var changes = Changes()
        changes.resident = version
        let names = Set(loaded.flatMap(\.handlers).compactMap(\.cursor))
        changes.removedCursors = await state.cursors.keys.filter { !names.contains($0) }
        try await state.commit(changes, .desired)
    }

    private func subscribe(_ loaded: [Loaded]) async {
        await hooks.replaceResident(loaded.flatMap(\.handlers))
        scripts = loaded
    }

    // MARK: Events

    private func startPumps() async {
        guard let deliver else { return }
        let newest = await state.newestEvent
        for handler in scripts.flatMap(\.handlers) where handler.kind == .on {
            // One without a name, or that is new, begins with what comes from now on.
            let start = if let name = handler.cursor { await state.cursors[name] ?? newest } else { newest }
            let cursor = handler.cursor.map { EventCursor(name: $0, state: state, start: start) }
            // Where a new one begins holds from now on, whenever it gets its first event.
            await cursor?.write()
            pumps.append(Task { await deliver(handler, start, cursor) })
        }
    }

    /// Gives handlers no more events, and those that they have a moment. One that hangs holds nobody up: the event isn't acknowledged, and comes again.
    private func stopPumps() async {
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
            try? await Task.sleep(for: .seconds(10))
            race.finish(())
        }
        await race.value
        end.cancel()
        timer.cancel()
    }

    private func start(_ loaded: Loaded) async {
        do throws(LunetteError) { try await loaded.code.start() } catch {
            log("\(loaded.script.file): start: \(error.description)")
            await tell("script.failed", ["script": .string(loaded.script.name), "reason": .string(error.description)])
        }
    }

    private func tell(_ name: String, _ fields: ValueMap) async {
        await state.log(PendingEvent(name: name, target: .init(kind: "script", id: "resident", name: "resident"), fields: fields))
    }

    // MARK: Telling

    /// What `script.list` shows.
    func list() -> [Value] {
        scripts.map { loaded in
            var map: ValueMap = [
                "name": .string(loaded.script.name), "file": .string(loaded.script.file),
                "path": .string("\(files.folder)/\(loaded.script.file)"), "status": .string(problem == nil ? "running" : "last_good"),
                "handlers": .int(Int64(loaded.handlers.count)),
            ]
            map["error"] = problem.map { .string($0.description) }
            return .map(map)
        }
    }

    /// The running version of a script; nil when none has the name.
    func code(named name: String) -> Loaded? { scripts.first { $0.script.name == name } }

    /// Whether an engine on demand has to stay: something may happen by itself.
    var isBusy: Bool { scripts.contains { $0.code.hasTimers } }

    func shutdown() async {
        await stopPumps()
        for loaded in scripts { await loaded.code.stop() }
        scripts = []
    }
}

extension ResidentVersion {
    /// Names of scripts by what became of them.
    func change(from old: ResidentVersion) -> Value {
        let (before, now) = (
            Dictionary(uniqueKeysWithValues: old.scripts.map { ($0.name, $0) }),
            Dictionary(uniqueKeysWithValues: scripts.map { ($0.name, $0) })
        )
        let modulesChanged = modules != old.modules
        func names(_ list: [ResidentScript], where isMeant: (ResidentScript) -> Bool) -> Value {
            .array(list.filter(isMeant).map { .string($0.name) })
        }
        return [
            "added": names(scripts) { before[$0.name] == nil },
            "changed": names(scripts) { script in before[script.name].map { $0 != script || modulesChanged } ?? false },
            "removed": names(old.scripts) { now[$0.name] == nil },
        ]
    }
}
