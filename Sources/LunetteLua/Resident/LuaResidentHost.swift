package import LunetteAPI
package import LunetteLinux
package import LunetteSpec

/// Runs resident scripts written in Lua, each in a limited state on a thread of its own.
package struct LuaResidentHost: ResidentHost {
    /// What each script's state may use; one slice is what runs between two waits.
    package var memoryLimit = 64 << 20
    /// Instructions of one slice.
    package var instructionLimit: UInt64 = 200_000_000
    /// Seconds that a slice may take.
    package var sliceSeconds = 2.0
    /// Seconds that loading a script may take.
    package var loadSeconds = 10.0

    /// The clock of a test; nil: the system's.
    package var time: VirtualTime?
    /// Gets how often each line ran; set in tests.
    var coverage: Coverage?
    /// Asked before calls that need no engine; set in tests.
    var watch: (any CallWatch)?

    package init() {}

    package func load(
        _ script: ResidentScript, modules: any ResidentModules, connector: any EngineConnector,
        log: @escaping @Sendable (String) -> Void
    ) async throws(LunetteError) -> any LoadedScript {
        let watched: any EngineConnector = watch.map { WatchedConnector(engine: connector, watch: $0) } ?? connector
        var options = LuaHost.Options(connector: watched, directory: "/", script: script.file)
        options.limits = .init(memory: memoryLimit, instructions: instructionLimit, wallSeconds: sliceSeconds, isLimited: true)
        options.modules = modules
        options.time = time
        options.coverage = coverage
        options.watch = watch
        // The whole API, as whoever wrote it into the engine's settings has it anyway; no file of the host's.
        options.permissions = script.grants.map(Self.permissions) ?? Self.everything
        if script.grants != nil {
            let file = script.file
            options.grantHint = { "grant it: lunette apply \(file) --grant \($0)" }
        }
        options.store = "resident/\(script.name)"
        options.log = { level, message, fields in
            let rest = fields.isEmpty ? "" : " " + JSON.encode(.map(fields))
            log("\(script.file): \(level): \(message)\(rest)")
        }
        let worker = try await StateWorker.start(.script(script.file), options)
        do throws(LunetteError) {
            let answer = try await worker.call(
                "load_resident",
                ["source": .text(script.source), "name": .string("@\(script.file)"), "timeout": .double(loadSeconds)])
            worker.rest()
            return LuaScript(
                registrations: answer["handlers"]?.arrayValue ?? [], desired: answer["desired"]?.arrayValue ?? [],
                sockets: answer["sockets"]?.arrayValue ?? [],
                hasTimers: answer["has_timers"]?.boolValue ?? false, worker: worker)
        } catch {
            await worker.stop()
            throw error
        }
    }
}

extension LuaResidentHost {
    /// Those of a script of the settings': made once for all.
    private static let everything = permissions(["*"])

    private static func permissions(_ grants: [String]) -> Set<String> {
        var permissions: Set<String> = []
        // What it keeps for itself is its own.
        for function in Grant.grantable where function.noun == "store" || Grant.covers(function, grants) {
            permissions.insert(function.permission ?? "api:\(function.name)")
        }
        return permissions
    }
}

/// One loaded script: its state lives on a thread of its own until `stop`.
struct LuaScript: LoadedScript {
    let registrations: [Value]
    let desired: [Value]
    let sockets: [Value]
    let hasTimers: Bool
    let worker: StateWorker

    var receiver: any HookReceiver { WorkerReceiver(worker: worker) }

    func start() async throws(LunetteError) {
        // Neither a function to call nor tasks that wait for this.
        guard hasTimers else { return }
        _ = try await worker.call("resident_life", ["name": "start", "timeout": 30])
    }

    func stop(patience: Double) async {
        await worker.drain(seconds: patience)
        // A script that can't stop is stopped all the same.
        _ = try? await worker.call("resident_life", ["name": "stop", "timeout": 10])
        await worker.stop()
    }
}

extension LuaScript: CodePrompt {
    func answer(
        _ question: ValueMap, onOutput: @escaping @Sendable (Value) async throws(LunetteError) -> Void
    ) async throws(LunetteError) -> Value { try await WorkerPrompt(worker: worker).answer(question, onOutput: onOutput) }

    func complete(_ question: ValueMap) async throws(LunetteError) -> Value { try await WorkerPrompt(worker: worker).complete(question) }
}

/// Brings the engine's hook calls to a worker's state.
struct WorkerReceiver: HookReceiver {
    let worker: StateWorker
    var isStopped: Bool { worker.isStopped }

    func before(subscription: String, event: Value) async throws(LunetteError) -> Value { try await worker.handle(subscription, event) }
    func begin(
        subscription: String, event: Value, turn: HookTurn, answered: @escaping @Sendable (Result<Value, LunetteError>) -> Void
    ) -> Bool {
        // Where a conductor moves the time, everything goes the way that it counts.
        if Activity.shared.isOn { return false }
        worker.begin(subscription, event, turn, answered)
        return true
    }

    func on(subscription: String, event: Value) async throws(LunetteError) { _ = try await worker.handle(subscription, event) }

    var takesBatches: Bool { true }

    func on(subscription: String, events: [Value], keys: [String], ended: @escaping @Sendable ([HookEnding]) -> Void) {
        worker.handle(subscription, events, keys, ended)
    }
}
