package import LunetteLinux
package import LunetteSpec

/// Makes, finds and takes apart containers of one state directory. It stores nothing itself: the engine keeps `ContainerRecord`s.
package final class ContainerRuntime: Sendable {
    package let configuration: RuntimeConfiguration

    private init(_ configuration: RuntimeConfiguration) { self.configuration = configuration }

    /// Finds the shim, detects cgroups. Makes nothing yet.
    /// - Throws: `not_found` when there is no shim; `unsupported` when the kernel lacks what a container needs, by name.
    package static func open(_ configuration: RuntimeConfiguration) async throws(LunetteError) -> ContainerRuntime {
        ContainerRuntime(configuration)
    }

    /// Launches up to the gate: cgroups, run directory, plan, shim, namespaces, mounts; the program has not run.
    ///
    /// On failure everything made is taken apart again before it throws.
    /// - Throws: a launch failure with `details` = `{step, syscall, errno, path, exit_code}`.
    package func create(_ request: CreateRequest) async throws(LunetteError) -> Container { throw LunetteError(.unsupported, "not built yet") }

    /// Looks at what is there of a container that another engine launched. Changes nothing.
    package func adopt(_ record: ContainerRecord) async -> ContainerObservation { .absent }

    /// Takes apart what a container left: processes (killed), shim, cgroups, run directory and, if asked, its storage.
    ///
    /// Idempotent; works from the id alone, so that recovery needs no record. What fails is in the report and can be tried again.
    package func reap(id: String, _ options: ReapOptions) async -> CleanupReport { CleanupReport() }

    /// Ids of which something is left on this machine (cgroups, run directories, storage), for recovery and `system check`.
    package func survey() async throws(LunetteError) -> RuntimeSurvey { RuntimeSurvey() }

    /// Reads the log.
    /// - Parameter onEntry: gets each line in order; a throw ends the reading. With `options.follow` it goes on until the container ends or the task is cancelled.
    package func readLog(
        id: String, _ options: LogOptions, onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError) { throw LunetteError(.unsupported, "not built yet") }

    /// Copies a host file or directory into a container, running or not.
    /// - Parameters:
    ///   - container: the running container, nil when it is stopped: then `layers` and its upper are used.
    package func copyIn(id: String, container: Container?, layers: [String], from source: String, to target: String) async throws(LunetteError) {
        throw LunetteError(.unsupported, "not built yet")
    }

    /// Copies a file or directory of a container to the host.
    package func copyOut(id: String, container: Container?, layers: [String], from source: String, to target: String) async throws(LunetteError) {
        throw LunetteError(.unsupported, "not built yet")
    }
}

/// What is left on the machine, by container id; each set names ids.
package struct RuntimeSurvey: Sendable {
    package var cgroups: Set<String> = []
    package var runDirectories: Set<String> = []
    package var storage: Set<String> = []
    /// Live shim processes of this state directory.
    package var shims: [String: ProcessIdentity] = [:]
    package init() {}
    package var ids: Set<String> { cgroups.union(runDirectories).union(storage).union(shims.keys) }
}
