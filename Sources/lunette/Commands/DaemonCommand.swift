import ArgumentParser
import Glibc
import LunetteAPI
import LunetteEngine
import LunetteLinux
import LunetteServer
import LunetteSpec
import Synchronization

struct DaemonCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon", _superCommandName: "lunette", abstract: "Run the engine in the foreground.",
        discussion: "Other commands start it when it isn't there. SIGTERM ends it, SIGHUP reloads resident code; containers go on.")

    @Flag(help: "Leave when no client and nothing else needs it.") var onDemand = false
    @Option(help: ArgumentHelp("Seconds to linger on demand.", valueName: "seconds")) var linger = 5.0
    @Flag(help: "Without the resident code of the settings' folder.") var skipScripts = false
    @OptionGroup var global: GlobalOptions

    var hostsEngine: Bool { true }
    func prepare() { SignalRelay.block() }

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let settings = client.settings
        // One on demand is started with whatever its client was given; a service without its rules must not pass for one that has them.
        if !onDemand, let folder = settings.configuration, !skipScripts { try Self.check(folder) }
        let readiness = Readiness()
        let manager = ServiceManager()
        let log = EngineLog(settings: settings, isOnDemand: onDemand && readiness.isAsked)
        // Directories of the engine's are the owner's alone, whatever the caller's mask; and its working directory must not pin a mount.
        umask(0o077)
        _ = chdir("/")
        raiseDescriptorLimit()
        let engine: Engine
        let server: LunetteServer
        do throws(LunetteError) {
            engine = try await Engines.open(settings, skipsScripts: skipScripts, log: { log.write($0) })
            server = LunetteServer(state: settings.state, connector: engine, log: { log.write($0) })
            server.onRefusal { [engine] actor, error in Task { await engine.audit(refused: actor, error) } }
            try server.start(passed: manager.sockets)
        } catch {
            log.write(error.description)
            manager.tell("STATUS=\(error.description)", "ERRNO=\(error.errno ?? 0)")
            readiness.report(JSON.encode(error.value))
            throw error
        }
        log.write("listening at \(settings.state)/engine.sock, root \(settings.root)")
        readiness.report("ready")
        let service = DaemonService(engine: engine, server: server, manager: manager, settings: settings, log: log)
        await service.begin()

        let leaving = Latch()
        let signal = Mutex<String?>(nil)
        let isImpatient = Mutex(false)
        try SignalRelay.start { name, number in
            if number == SIGHUP { return service.reload() }
            guard [SIGTERM, SIGINT, SIGQUIT].contains(number) else { return }
            // Asked twice, nobody is waited for.
            if signal.withLock({ signal in
                defer { signal = name }
                return signal != nil
            }) {
                isImpatient.withLock { $0 = true }
            }
            leaving.open()
        }
        if onDemand {
            let linger = linger
            Task {
                while true {
                    await engine.waitUntilIdle(linger: linger)
                    if server.stopIfIdle() { return leaving.open() }
                    do { try await Task.sleep(for: .milliseconds(200)) } catch { return }
                }
            }
        }
        await leaving.opened()
        log.write(signal.withLock { $0 }.map { "leaving: \($0)" } ?? "leaving: nothing to do")
        service.end()
        engine.beginLeaving()
        await server.drain(seconds: 10) { isImpatient.withLock { $0 } }
        await server.stop()
        await engine.close()
        return 0
    }

    /// - Throws: `not_found` for a settings' folder that isn't there.
    private static func check(_ folder: String) throws(LunetteError) {
        do throws(SystemCallError) { _ = try Directory(folder) } catch {
            var failure = error.lunette
            failure.message = "read the settings' folder \(displayable(folder)): \(errnoText(error.errno))"
            failure.hint = "make it, or leave --config and LUNETTE_CONFIG out; --skip-scripts starts without its resident code"
            throw failure
        }
    }

    /// Each client, shim and stream is a descriptor.
    private func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// Tells who started us that we answer, or why we don't: one line to the descriptor in LUNETTE_READY_FD.
final class Readiness: Sendable {
    private let fd: Mutex<Int32>

    init() {
        let number = Environment["LUNETTE_READY_FD"].flatMap { Int32($0) } ?? -1
        fd = Mutex(number)
        if number >= 0 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        // Not for the shims and hooks that we start.
        unsetenv("LUNETTE_READY_FD")
    }

    var isAsked: Bool { fd.withLock { $0 >= 0 } }

    func report(_ line: String) {
        fd.withLock { fd in
            guard fd >= 0 else { return }
            Output.write(fd, Array((line + "\n").utf8))
            close(fd)
            fd = -1
        }
    }
}

/// Lines with time: on stderr in the foreground, else in `<state>/engine.log`, which starts anew past a megabyte.
final class EngineLog: Sendable {
    private let path: String?

    init(settings: Settings, isOnDemand: Bool) { path = isOnDemand ? settings.state + "/engine.log" : nil }

    func write(_ line: String) {
        let bytes = Array("\(Quantity.timestamp(Quantity.now)) [\(getpid())] \(Text.safe(line))\n".utf8)
        guard let path else {
            Output.write(2, bytes)
            return
        }
        var status = stat()
        if stat(path, &status) == 0, status.st_size > 1 << 20 { rename(path, path + ".1") }
        let fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        // The directory may not be there yet: then the starter's report is all there is.
        guard fd >= 0 else { return }
        Output.write(fd, bytes)
        close(fd)
    }
}
