package import LunetteLinux
package import LunetteSpec

/// One more process in a running container.
package struct ExecRequest: Sendable {
    /// Unique in the container; chosen by the engine.
    package var id: String
    package var args: [String]
    /// Added to the container's own environment.
    package var env: [(key: String, value: String)] = []
    package var workdir: String?
    /// nil = the container's user.
    package var user: String?
    package var tty = false
    package var rows: UInt16 = 24
    package var columns: UInt16 = 80
    /// Given to the process itself (or relayed, with a tty); nil = /dev/null.
    package var stdin: FileDescriptor?
    package var stdout: FileDescriptor?
    package var stderr: FileDescriptor?

    package init(id: String, args: [String]) {
        self.id = id
        self.args = args
    }
}

/// An exec under way.
package struct ExecProcess: Sendable {
    package let id: String
    package let pid: Int32
    private let awaitExit: @Sendable () async throws(LunetteError) -> ContainerExit

    package init(id: String, pid: Int32, exit: @escaping @Sendable () async throws(LunetteError) -> ContainerExit) {
        self.id = id
        self.pid = pid
        self.awaitExit = exit
    }

    /// Returns when the process has ended. Cancelling the task stops the waiting, not the process.
    /// - Throws: `io` when the shim is lost before; `cancelled`.
    package func exit() async throws(LunetteError) -> ContainerExit { try await awaitExit() }
}
