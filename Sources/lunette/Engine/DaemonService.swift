import Glibc
import LunetteAPI
import LunetteEngine
import LunetteLinux
import LunetteServer
import LunetteSpec
import Synchronization

/// What an engine that stays does besides answering: it tells its service manager how it is, reloads when it is asked to, and keeps monitors
/// out of the service's cgroup.
final class DaemonService: Sendable {
    private let engine: Engine
    private let server: LunetteServer
    private let manager: ServiceManager
    private let settings: Settings
    private let log: EngineLog
    private let tasks = Mutex<[Task<Void, Never>]>([])

    init(engine: Engine, server: LunetteServer, manager: ServiceManager, settings: Settings, log: EngineLog) {
        self.engine = engine
        self.server = server
        self.manager = manager
        self.settings = settings
        self.log = log
    }

    /// Opens the resident scripts' sockets, says that the engine answers, and begins to look after it.
    func begin() async {
        let server = server
        await engine.onSockets { server.use($0) }
        guard manager.isThere else { return }
        manager.tell("READY=1", "STATUS=\(await status())")
        start { service in await service.watch() }
        // An ordinary user may not move processes out of what was delegated; there `KillMode=process` keeps them.
        if geteuid() == 0, let cgroup = ShimCgroup() { start { service in await service.keepShims(in: cgroup) } }
    }

    /// Ends all of it, and says that the engine leaves.
    func end() {
        for task in tasks.withLock({ $0 }) { task.cancel() }
        manager.tell("STOPPING=1", "STATUS=ending: containers go on")
    }

    private func start(_ body: @escaping @Sendable (DaemonService) async -> Void) {
        tasks.withLock { tasks in tasks.append(Task { await body(self) }) }
    }

    // MARK: Reloading

    /// Reloads resident code: SIGHUP. What is wrong is in the log and in the manager's status.
    func reload() {
        start { service in
            service.manager.tellReloading()
            var problem: LunetteError?
            do throws(LunetteError) {
                let session = try await service.engine.connect(receiver: nil)
                let actor = Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: "SIGHUP")
                let request = APIRequest(id: RequestID.fresh(), function: "script.reload", arguments: [:], actor: actor)
                do throws(LunetteError) { _ = try await session.call(request, files: [], onChunk: nil) } catch { problem = error }
                await session.close()
            } catch {
                problem = error
            }
            service.log.write(problem?.description ?? "reloaded")
            service.manager.tell("READY=1", "STATUS=\(problem?.description ?? "reloaded")")
        }
    }

    // MARK: The watchdog

    /// Tells the manager that all is well as long as it is: when a client was answered over the socket and every part of the engine that calls
    /// go through has answered too. One that hangs is restarted by the manager, and its containers go on.
    private func watch() async {
        let period = manager.watchdogPeriod
        let pause = period.map { max(0.05, $0 / 3) } ?? 30
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(pause)) } catch { return }
            if period != nil {
                guard await isAnswering() else { continue }
                manager.tell("WATCHDOG=1", "STATUS=\(await status())")
            } else {
                manager.tell("STATUS=\(await status())")
            }
        }
    }

    private func isAnswering() async -> Bool {
        await engine.answer()
        do throws(LunetteError) {
            // A client like any other: a connection, a call, its answer.
            let session = try await EngineClient(state: settings.state, start: nil).connect(receiver: nil)
            let actor = Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: "watchdog")
            let request = APIRequest(id: RequestID.fresh(), function: "system.ping", arguments: [:], actor: actor)
            var failure: LunetteError?
            do throws(LunetteError) { _ = try await session.call(request, files: [], onChunk: nil) } catch { failure = error }
            await session.close()
            if let failure { throw failure }
            return true
        } catch {
            if !Task.isCancelled { log.write("watchdog: \(error.description)") }
            return false
        }
    }

    private func status() async -> String {
        let running = await engine.runningContainers
        let clients = server.otherClients
        return "\(running) container\(running == 1 ? "" : "s") running, \(clients) client\(clients == 1 ? "" : "s")"
    }

    // MARK: Monitors

    private func keepShims(in cgroup: ShimCgroup) async {
        let folder = "\(settings.state)/containers"
        while !Task.isCancelled {
            let failure = await blocking { () -> SystemCallError? in
                guard cgroup.hasOthers else { return nil }
                do throws(SystemCallError) { try cgroup.take(ShimScan.find(below: folder).values.flatMap { $0 }) } catch { return error }
                return nil
            }
            if let failure {
                return log.write("monitors stay in the service's cgroup: \(failure.lunette.description)")
            }
            do { try await Task.sleep(for: .seconds(1)) } catch { break }
        }
        await blocking { cgroup.removeIfEmpty() }
    }
}
