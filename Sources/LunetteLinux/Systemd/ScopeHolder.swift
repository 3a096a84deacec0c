internal import CLinux

/// A process that only is there: systemd makes no scope without one, and removes a scope that becomes empty before the container's process is in it.
///
/// Neither the runtime nor its shim can be that process: both would be limited, and frozen or killed, with the container. It ends with this object,
/// and with this process, whatever ends it; systemd then takes an empty scope away.
package final class ScopeHolder {
    private let process: ProcessDescriptor
    private let end: FileDescriptor

    /// Starts it.
    /// - Throws: what clone3(2) and pipe2(2) answer.
    package init() throws(SystemCallError) {
        var pidfd: Int32 = -1
        var end: Int32 = -1
        let pid = try check(lnt_host_place_holder(&pidfd, &end), "clone3", "a scope's first process")
        process = ProcessDescriptor(FileDescriptor(owning: pidfd), pid: pid)
        self.end = FileDescriptor(owning: end)
    }

    deinit { leave() }

    /// Of the process, for `SystemdScope.start`.
    package var pid: Int32 { process.pid }

    /// Ends it and waits for that. A second call is harmless.
    package func leave() {
        end.close()
        // Our own child, which nobody else reaps; a second time there is none.
        _ = try? process.reap(block: true)
    }
}
