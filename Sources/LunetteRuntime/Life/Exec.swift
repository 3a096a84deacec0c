package import LunetteSpec

/// One more process in a running container.
package struct ExecRequest: Sendable {
    /// Unique in the container; chosen by the engine. Asked for again (a repeated request), the first one is joined and nothing runs twice.
    package var id: String
    package var spec: ExecSpec
    /// The container's own spec and its image's defaults: what `spec` leaves open is theirs.
    package var container: ContainerSpec
    package var image: ImageProcessConfig?
    package var io: ProcessIO = .none

    package init(id: String, spec: ExecSpec, container: ContainerSpec, image: ImageProcessConfig?) {
        self.id = id
        self.spec = spec
        self.container = container
        self.image = image
    }
}

/// An exec under way.
package struct ExecProcess: Sendable {
    package let id: String
    /// As the host sees it.
    package let pid: Int32
    /// The shim's number for it.
    let process: UInt32
    let container: Container
    private let awaitExit: @Sendable () async throws(LunetteError) -> ContainerExit

    init(
        id: String, pid: Int32, process: UInt32, container: Container,
        exit: @escaping @Sendable () async throws(LunetteError) -> ContainerExit
    ) {
        self.id = id
        self.pid = pid
        self.process = process
        self.container = container
        self.awaitExit = exit
    }

    /// Returns when the process has ended and its output was handed over. Cancelling the task stops the waiting, not the process.
    /// - Throws: `io` when the shim is lost before; `cancelled`.
    package func exit() async throws(LunetteError) -> ContainerExit { try await awaitExit() }

    /// Sends a signal; `invalid_state` when it has ended.
    package func kill(signal: Int32) async throws(LunetteError) { try await container.kill(process: process, signal: signal) }

    package func resize(_ size: TerminalSize) async throws(LunetteError) { try await container.resize(size, exec: process) }
}
