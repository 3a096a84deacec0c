internal import Glibc
internal import LunetteAPI
internal import LunetteLinux
internal import LunettePlugins
internal import LunetteSpec
internal import Synchronization

/// What the Lua side of a test asks for (`test.*`), and what lives as long as one test: its engine, its clock, the code it loaded.
///
/// One thread's, like the host it belongs to.
final class TestHost {
    private let setting: TestSetting
    /// Where simulated engines, and plugins in them, may keep files.
    private let folder: String
    private let coverage: Coverage?
    private let conductor: Conductor?
    private let connector: TestConnector
    let asker: TestAsker
    private let report: any TestReport
    private var programs: [LoadedProgram] = []
    private let watchdog = Watchdog()
    private var engines = 0
    private var began = 0.0

    /// - Parameter conductor: nil with a real engine.
    init(
        _ setting: TestSetting, folder: String, _ conductor: Conductor?, _ connector: TestConnector, _ asker: TestAsker,
        _ report: any TestReport, _ coverage: Coverage?
    ) {
        self.setting = setting
        self.folder = folder
        self.coverage = coverage
        self.conductor = conductor
        self.connector = connector
        self.asker = asker
        self.report = report
    }

    func perform(_ operation: String, _ arguments: Arguments, _ host: LuaHost) throws(LunetteError) -> LuaState.Answer {
        switch operation {
        case "test.begin":
            began = monotonicNow()
            watchdog.begin(host, seconds: arguments[0].doubleValue ?? 10)
            return .results([])
        case "test.begin_engine": return begin(host)
        case "test.end_engine": return end(host)
        case "test.result":
            watchdog.end()
            var result = TestResult(arguments[0])
            result.seconds = monotonicNow() - began
            report.add(result)
            return .results([])
        case "test.why_late": return .results([watchdog.reason.map(Value.string) ?? .null])
        case "test.check_signal":
            _ = try Signal(arguments.text(0))
            return .results([])
        case "test.check_name":
            try checkName(arguments.text(0), code: arguments[1].stringValue)
            return .results([])
        case "test.describe_script":
            let number = Int(arguments[0].intValue ?? 0)
            return .results([programs.indices.contains(number) ? programs[number].description : .map([:])])
        case "test.look_at":
            asker.lookAt(arguments[0].arrayValue?.compactMap(\.stringValue) ?? [])
            return .results([])
        case "test.advance":
            guard let conductor else { throw Self.needsSimulation(operation) }
            let seconds = try Units.seconds(arguments[0])
            return waiting(host) { resume in conductor.advance(by: seconds) { resume(.success(.array([]))) } }
        case "test.idle":
            guard let conductor else { return .results([]) }
            return waiting(host) { resume in conductor.whenIdle { resume(.success(.array([]))) } }
        case "test.image":
            return try ask(host) { engine async throws(LunetteError) in
                try await engine.declare(image: arguments.text(0), config: arguments[1])
                return .null
            }
        case "test.exit":
            let end = try TestAsker.end(arguments[1])
            return try ask(host) { engine async throws(LunetteError) in
                try await engine.end(container: arguments.text(0), end)
                return .null
            }
        case "test.emit":
            return try ask(host) { engine async throws(LunetteError) in try await engine.emit(arguments.text(0), arguments[1]) }
        case "test.load_resident": return try loadResident(arguments.text(0), host)
        case "test.load_plugin":
            let path = APIRegistry.absolutePath(arguments.text(0), directory: host.options.directory)
            return try ask(host) { engine async throws(LunetteError) in try await engine.load(plugin: path) }
        case "test.load_script": return try loadScript(arguments, host)
        case "test.stop_script":
            let number = Int(arguments[0].intValue ?? 0)
            guard programs.indices.contains(number) else { return .results([]) }
            let program = programs[number]
            return waiting(host) { resume in program.stop { resume(.success(.array([]))) } }
        case "test.wait_script":
            let number = Int(arguments[0].intValue ?? 0)
            guard programs.indices.contains(number) else { return .results([]) }
            let program = programs[number]
            let staysCount = arguments[1].boolValue == true
            return waiting(host) { resume in program.whenSettled(staysCount: staysCount) { resume(.success(.array([$0]))) } }
        default: throw LunetteError(.internal, "a test has no operation \(operation)")
        }
    }

    /// - Throws: `invalid_argument` for a function or a code that there is not.
    private func checkName(_ name: String, code: String?) throws(LunetteError) {
        let names = APIRegistry.all.map(\.name)
        if !name.contains("*"), !names.contains(name) {
            throw LunetteError(
                .invalidArgument, "there is no function \"\(displayable(name, limit: 80))\"",
                hint: nearest(to: name, in: names).map { "did you mean \"\($0)\"?" })
        }
        let codes = ErrorCode.all.map(\.rawValue)
        guard let code, !codes.contains(code) else { return }
        throw LunetteError(
            .invalidArgument, "there is no error code \"\(displayable(code, limit: 80))\"",
            hint: nearest(to: code, in: codes).map { "did you mean \"\($0)\"?" } ?? "known: " + codes.joined(separator: ", "))
    }

    private static func needsSimulation(_ operation: String) -> LunetteError {
        LunetteError(.unsupported, "\(operation) needs the simulated engine", operation: operation)
    }

    // MARK: Waiting

    /// Begins something that calls back, from any thread.
    private func waiting(
        _ host: LuaHost, _ body: (@escaping @Sendable (Result<Value, LunetteError>) -> Void) -> Void
    ) -> LuaState.Answer {
        let token = host.newToken()
        let mailbox = host.mailbox
        host.inFlight[token] = Nothing()
        body { result in mailbox.post { host in host.deliver(token, result) } }
        return .await(token)
    }

    private struct Nothing: Cancellable {
        func cancel() {}
    }

    private func inTask(_ host: LuaHost, _ body: @escaping @Sendable () async throws(LunetteError) -> Value) -> LuaState.Answer {
        waiting(host) { resume in
            Task {
                do throws(LunetteError) {
                    let value = try await body()
                    resume(.success(.array([value])))
                } catch { resume(.failure(error)) }
            }
        }
    }

    /// Asks the engine, and goes on when all that came of it has happened.
    private func ask(
        _ host: LuaHost, _ body: @escaping @Sendable (any SimulatedEngine) async throws(LunetteError) -> Value
    ) throws(LunetteError) -> LuaState.Answer {
        guard let engine = connector.simulation, let conductor else { throw Self.needsSimulation("this") }
        return waiting(host) { resume in
            Task {
                let result: Result<Value, LunetteError>
                do throws(LunetteError) { result = .success(try await body(engine)) } catch { result = .failure(error) }
                conductor.whenIdle { resume(result.map { .array([$0]) }) }
            }
        }
    }

    // MARK: One test

    private func begin(_ host: LuaHost) -> LuaState.Answer {
        guard let conductor, let make = setting.makeEngine else { return .results([]) }
        programs = []
        conductor.time.reset()
        engines += 1
        let folder = "\(folder)/\(engines)"
        let mailbox = host.mailbox
        return inTask(host) { [asker, connector, coverage] () async throws(LunetteError) in
            var residentHost = LuaResidentHost()
            residentHost.time = conductor.time
            residentHost.watch = asker
            residentHost.coverage = coverage
            var pluginHost = LuaPluginHost()
            pluginHost.time = conductor.time
            pluginHost.watch = asker
            pluginHost.coverage = coverage
            let engine = try await make(
                .init(
                    director: asker, time: conductor.time, residentHost: residentHost, pluginHosts: [pluginHost], folder: folder,
                    log: { line in mailbox.post { host in host.enter("test_log", ["text": .string(line)]) } })
            ).get()
            connector.use(engine)
            asker.use(engine)
            conductor.testBegins { why in mailbox.post { host in host.enter("test_stuck", ["text": .string(why)]) } }
            return .null
        }
    }

    private func end(_ host: LuaHost) -> LuaState.Answer {
        let ending = programs
        let session = host.session
        return inTask(host) { [conductor, connector, asker] () async throws(LunetteError) in
            for program in ending { await program.stop() }
            await session.close()
            await connector.simulation?.close()
            connector.use(nil)
            asker.use(nil)
            conductor?.testEnds()
            return .null
        }
    }

    // MARK: Code under test

    private func loadResident(_ path: String, _ host: LuaHost) throws(LunetteError) -> LuaState.Answer {
        let absolute = APIRegistry.absolutePath(path, directory: host.options.directory)
        let source = try FileTree.read(absolute, roots: nil)
        // Its store has that name too, where nothing stands before the first slash for nobody's.
        let script = ResidentScript(name: path.pathParts.joined(separator: "/"), file: path, source: source)
        let modules = TestModules(beside: absolute, coverage)
        return try ask(host) { engine async throws(LunetteError) in try await engine.load(script, modules: modules) }
    }

    private func loadScript(_ arguments: Arguments, _ host: LuaHost) throws(LunetteError) -> LuaState.Answer {
        let path = arguments.text(0)
        let absolute = APIRegistry.absolutePath(path, directory: host.options.directory)
        let source = try FileTree.read(absolute, roots: nil)
        var options = LuaHost.Options(
            connector: WatchedConnector(engine: connector, watch: asker), directory: host.options.directory, script: path)
        options.time = conductor?.time
        options.watch = conductor == nil ? nil : asker
        options.coverage = coverage
        let program = LoadedProgram(
            options, source: source, path: path, absolute: absolute,
            arguments: arguments[1].arrayValue?.compactMap(\.byteString) ?? [])
        programs.append(program)
        program.start()
        return .results([.int(Int64(programs.count - 1))])
    }

    func close() {
        watchdog.end()
        conductor?.testEnds()
    }
}

/// The engine of the test that runs, for hosts that outlive it.
final class TestConnector: EngineConnector {
    private let real: (any EngineConnector)?
    private let current = Mutex<(any SimulatedEngine)?>(nil)

    /// - Parameter real: used instead of simulated ones.
    init(real: (any EngineConnector)?) { self.real = real }

    var simulation: (any SimulatedEngine)? { current.withLock { $0 } }
    func use(_ engine: (any SimulatedEngine)?) { current.withLock { $0 = engine } }

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        guard let engine: any EngineConnector = real ?? simulation else {
            throw LunetteError(
                .invalidState, "the API is called outside a test", hint: "call it in test.it, test.before_each or test.after_each")
        }
        return try await engine.connect(receiver: receiver)
    }
}

/// Modules of a resident script under test: in `lua/` beside the file or beside its folder, as in the settings' folder; else beside the file.
struct TestModules: ResidentModules {
    let folders: [String]
    private let coverage: Coverage?

    init(beside path: String, _ coverage: Coverage?) {
        self.coverage = coverage
        let parts = path.pathParts.dropLast()
        let folder = "/" + parts.joined(separator: "/")
        let parent = "/" + parts.dropLast().joined(separator: "/")
        folders = ["\(folder)/lua", "\(parent)/lua", folder]
    }

    func source(of module: String) throws(LunetteError) -> [UInt8]? {
        for folder in folders {
            for candidate in try ModuleName.candidates(module) {
                let path = "\(folder)/\(candidate)"
                do throws(LunetteError) {
                    let source = try FileTree.read(path, roots: nil)
                    // Its chunk is named by what was required.
                    coverage?.know("\(module).lua", as: path)
                    return source
                } catch {
                    guard error.code == .notFound else { throw error }
                }
            }
        }
        return nil
    }
}
