package import LunetteAPI
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

    package init() {}

    package func load(
        _ script: ResidentScript, modules: any ResidentModules, connector: any EngineConnector,
        log: @escaping @Sendable (String) -> Void
    ) async throws(LunetteError) -> any LoadedScript {
        var options = LuaHost.Options(connector: connector, directory: "/", script: script.file)
        options.limits = .init(memory: memoryLimit, instructions: instructionLimit, wallSeconds: sliceSeconds, isLimited: true)
        options.modules = modules
        // The whole API, as whoever wrote it into the engine's settings has it anyway; no file of the host's.
        options.permissions = Set(APIRegistry.engineFunctions.map { $0.permission ?? "api:\($0.name)" })
        options.log = { level, message, fields in
            let rest = fields.isEmpty ? "" : " " + JSON.encode(.map(fields))
            log("\(script.file): \(level): \(message)\(rest)")
        }
        let worker = try await StateWorker.start(.script(script.file), options)
        do throws(LunetteError) {
            let answer = try await worker.call(
                "load_resident",
                ["source": .text(script.source), "name": .string("@\(script.file)"), "timeout": .double(loadSeconds)])
            return LuaScript(
                registrations: answer["handlers"]?.arrayValue ?? [], hasTimers: answer["has_timers"]?.boolValue ?? false, worker: worker)
        } catch {
            await worker.stop()
            throw error
        }
    }
}

/// One loaded script: its state lives on a thread of its own until `stop`.
struct LuaScript: LoadedScript {
    let registrations: [Value]
    let hasTimers: Bool
    let worker: StateWorker

    var receiver: any HookReceiver { WorkerReceiver(worker: worker) }

    func start() async throws(LunetteError) {
        _ = try await worker.call("resident_life", ["name": "start", "timeout": 30])
    }

    func stop() async {
        await worker.drain(seconds: 10)
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

    func before(subscription: String, event: Value) async throws(LunetteError) -> Value { try await worker.handle(subscription, event) }
    func on(subscription: String, event: Value) async throws(LunetteError) { _ = try await worker.handle(subscription, event) }
}
