internal import CLinux
package import LunetteSpec

/// Tells when the kernel has run out of memory for a cgroup, or when the cgroup has gone: a descriptor that becomes readable.
///
/// One holder at a time: `drain` after each wake, then look at the counters.
package struct CgroupEvents: Sendable {
    /// Poll it for reading.
    package let descriptor: FileDescriptor
    private let cgroup: ContainerCgroup

    /// - Throws: `unsupported` without a memory controller.
    init(_ cgroup: ContainerCgroup) throws(SystemCallError) {
        self.cgroup = cgroup
        guard let file = cgroup.outOfMemoryFile else {
            throw SystemCallError("watch the memory of cgroup", cgroup.paths.first ?? "", errno: ErrorNumber.notSupported)
        }
        switch cgroup.version {
        case .v1:
            // The kernel's own eventfd notification (cgroup-v1/memory.rst, "OOM Control"): registered by two numbers in one line.
            descriptor = FileDescriptor(owning: try check(lnt_host_eventfd(), "eventfd"))
            let watched = FileDescriptor(owning: try check(lnt_host_openat(-100, file, 0, 0), "open", file))
            let directory = CgroupFile(path: String(file.dropLast("/memory.oom_control".utf8.count)), controllers: [])
            try directory.write("cgroup.event_control", "\(descriptor.number) \(watched.number)")
            withExtendedLifetime(watched) {}
        case .v2:
            descriptor = FileDescriptor(owning: try check(lnt_host_inotify(), "inotify_init"))
            let modified: UInt32 = 0x2
            try check(lnt_host_inotify_add(descriptor.number, file, modified), "watch", file)
        }
    }

    /// Waits for something to happen. Blocks.
    /// - Parameter milliseconds: -1 = for ever.
    /// - Returns: whether anything did.
    package func wait(milliseconds: Int32) throws(SystemCallError) -> Bool {
        let readable: Int16 = 1
        return try check(lnt_host_poll_one(descriptor.number, readable, milliseconds), "poll") > 0
    }

    /// Reads the notification away, so that the descriptor waits for the next.
    package func drain() throws(SystemCallError) { _ = try descriptor.read(upTo: 4096) }

    /// False: the cgroup was removed, and nothing will come any more.
    package var isThere: Bool { cgroup.exists }
}

extension ContainerCgroup {
    /// Begins to watch for want of memory. What happened before is in `outOfMemoryKills()` only.
    package func events() throws(LunetteError) -> CgroupEvents {
        try atBorder(nil) { () throws(SystemCallError) in try CgroupEvents(self) }
    }
}
