package import LunetteLinux

/// A client's descriptors for a container's program or an exec. The shim relays: the program never holds them itself.
package struct ProcessIO: Sendable {
    /// Where stdin comes from; never a client's terminal (the client relays its own into a pipe).
    package var stdin: FileDescriptor?
    /// Where output goes; a terminal's output is stdout.
    package var stdout: FileDescriptor?
    package var stderr: FileDescriptor?
    /// The program waits for these sinks; otherwise a sink that lags by more than 1 MiB is dropped.
    package var hasBackPressure: Bool
    /// The end of `stdin` doesn't end the program's (another attach may follow).
    package var keepsStdinOpen: Bool
    /// The terminal's size; nil = the plan's.
    package var size: TerminalSize?

    package init(
        stdin: FileDescriptor? = nil, stdout: FileDescriptor? = nil, stderr: FileDescriptor? = nil, hasBackPressure: Bool = true,
        keepsStdinOpen: Bool = false, size: TerminalSize? = nil
    ) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.hasBackPressure = hasBackPressure
        self.keepsStdinOpen = keepsStdinOpen
        self.size = size
    }

    package static let none = ProcessIO()
}

package struct TerminalSize: Sendable, Equatable {
    package var rows: UInt16
    package var columns: UInt16
    package init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }
}
