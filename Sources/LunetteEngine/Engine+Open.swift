import Glibc
import LunetteImages
import LunetteLinux
import LunetteRuntime
public import LunetteSpec

extension Engine {
    /// Takes the state directory's lock, migrates the database, recovers what a dead engine left.
    ///
    /// The umask is the process's, not the engine's: `lunette daemon` sets 077, an embedding program keeps its own. Both folders are 0700.
    /// - Throws: `conflict` when another engine holds the directory; `io` when it can't be written or the database is damaged;
    ///   `unsupported` when the database is from a newer Lunette; `resource_exhausted` when the disk is full.
    public static func open(_ configuration: EngineConfiguration) async throws(LunetteError) -> Engine {
        let locks = try await blocking { () throws(LunetteError) in try takeLocks(configuration) }
        do throws(LunetteError) {
            // The three know nothing of each other, and each waits for the disk.
            async let opening = result { () async throws(LunetteError) in
                try await ContainerRuntime.open(
                    RuntimeConfiguration(root: configuration.root, state: configuration.state, shimPath: configuration.shimPath))
            }
            async let openingImages = result { () async throws(LunetteError) in
                try await ImageStore.open(
                    root: configuration.root, configuration: try RegistryConfiguration.load(directory: configuration.configuration))
            }
            let state = try await State(
                path: configuration.root + "/state.sqlite", clock: SystemClock(), bootID: ProcessIdentity.currentBootID,
                eventLimit: configuration.eventLimit, outcomeLimit: configuration.outcomeLimit)
            do throws(LunetteError) { try await state.use(stateFolder: configuration.state) } catch {
                try await state.close()
                throw error
            }
            let runtime: ContainerRuntime
            let images: ImageStore
            do throws(LunetteError) {
                runtime = try await opening.get()
                images = try await openingImages.get()
            } catch {
                try await state.close()
                throw error
            }
            let engine = await Engine(
                configuration: configuration, clock: SystemClock(), state: state, host: RuntimeHost(runtime: runtime), images: images,
                locks: locks)
            await engine.connectResident()
            do throws(LunetteError) {
                // Before anything that a handler may deny, and before anybody calls.
                try await engine.resident.open()
                try await engine.recover()
            } catch {
                await engine.close()
                throw error
            }
            await engine.resident.begin()
            return engine
        } catch {
            for lock in locks { lock.release() }
            throw error
        }
    }

    private static func result<T: Sendable>(_ body: @Sendable () async throws(LunetteError) -> T) async -> Result<T, LunetteError> {
        do throws(LunetteError) { return .success(try await body()) } catch { return .failure(error) }
    }

    /// One lock on the state directory and one on the root: neither may have two writers.
    private static func takeLocks(_ configuration: EngineConfiguration) throws(LunetteError) -> [FileLock] {
        var locks: [FileLock] = []
        for (path, word) in [(configuration.state, "state"), (configuration.root, "root")] {
            guard path.hasPrefix("/") else {
                throw LunetteError(.invalidArgument, "\"\(displayable(path, limit: 200))\" is not an absolute path", path: word)
            }
            let directory: Directory
            let lock: FileLock?
            do throws(SystemCallError) {
                directory = try Directory(making: path)
                lock = try FileLock.take("lock", in: directory)
            } catch {
                throw unusable(path, word, error)
            }
            guard let lock else {
                // Only for the message: without the file it names no pid.
                let holder =
                    (try? directory.read("pid", limit: 64)).flatMap { $0 }.map { " (pid \(String(decoding: $0, as: UTF8.self).trimmed))" }
                    ?? ""  // For the message only.
                throw LunetteError(
                    .conflict, "open an engine on \(path): another engine\(holder) has it",
                    hint: "use that engine's socket, or another --\(word)", details: ["directory": .string(word)])
            }
            do throws(SystemCallError) { try directory.write("pid", Array("\(getpid())\n".utf8)) } catch {
                throw unusable(path, word, error)
            }
            locks.append(lock)
        }
        return locks
    }

    /// What says whose the folders are, for messages; before the locks go.
    static func removePids(_ configuration: EngineConfiguration) {
        for path in [configuration.state, configuration.root] { unlink("\(path)/pid") }
    }

    private static func unusable(_ path: String, _ word: String, _ error: SystemCallError) -> LunetteError {
        var failure = error.lunette
        failure.message = "use \(path) as the \(word) directory: \(failure.message)"
        switch error.errno {
        case ErrorNumber.readOnly: failure.hint = "it is on a read-only file system; give another with --\(word)"
        case ErrorNumber.noSpace, ErrorNumber.quota: failure.hint = "the disk is full: make room, then repeat"
        case ErrorNumber.permission, ErrorNumber.access: failure.hint = "the engine runs as root; give another directory with --\(word)"
        default: failure.hint = nil
        }
        return failure
    }
}
