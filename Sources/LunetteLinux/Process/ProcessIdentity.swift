internal import CLinux
package import LunetteSpec

/// Names one process for ever: a pid alone is reused, a pid with its start time and the machine's boot is not.
package struct ProcessIdentity: Sendable, Hashable {
    package var pid: Int32
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    package var startTime: UInt64
    package var bootID: String

    package init(pid: Int32, startTime: UInt64, bootID: String) {
        self.pid = pid
        self.startTime = startTime
        self.bootID = bootID
    }

    /// Reads who `pid` is now; nil when there is no such process.
    package static func of(pid: Int32) -> ProcessIdentity? {
        guard let stat = ProcessStat.read(pid: pid) else { return nil }
        return ProcessIdentity(pid: pid, startTime: stat.startTime, bootID: Self.currentBootID)
    }

    /// This boot's id, `/proc/sys/kernel/random/boot_id`.
    package static let currentBootID: String = {
        let text = readSmallFile("/proc/sys/kernel/random/boot_id") ?? "unknown"
        return text.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? "unknown"
    }()

    package var value: Value { ["pid": .int(Int64(pid)), "start_time": .int(Int64(clamping: startTime)), "boot_id": .string(bootID)] }

    package init?(value: Value) {
        guard let pid = value["pid"]?.intValue.flatMap({ Int32(exactly: $0) }), let start = value["start_time"]?.intValue,
            let boot = value["boot_id"]?.stringValue
        else { return nil }
        self.init(pid: pid, startTime: UInt64(clamping: start), bootID: boot)
    }

    /// Opens the process, proven to be this one; nil when it is gone (or a zombie that only its parent can see).
    package func open() -> ProcessDescriptor? {
        guard bootID == Self.currentBootID else { return nil }
        let fd = lnt_host_pidfd_open(pid)
        guard fd >= 0 else { return nil }
        let process = ProcessDescriptor(FileDescriptor(owning: fd), pid: pid)
        // Opened first, compared second: what the descriptor holds can't be reused between.
        guard let stat = ProcessStat.read(pid: pid), stat.startTime == startTime, stat.state != "Z", stat.state != "X" else { return nil }
        return process
    }

    package var isAlive: Bool { open() != nil }
}

/// A process held by pidfd: a signal can't reach another one.
package struct ProcessDescriptor: Sendable {
    package let descriptor: FileDescriptor
    package let pid: Int32

    package init(_ descriptor: FileDescriptor, pid: Int32) {
        self.descriptor = descriptor
        self.pid = pid
    }

    package static func open(pid: Int32) throws(SystemCallError) -> ProcessDescriptor {
        ProcessDescriptor(FileDescriptor(owning: try check(lnt_host_pidfd_open(pid), "pidfd_open", "\(pid)")), pid: pid)
    }

    /// - Returns: false when the process has gone already.
    @discardableResult
    package func signal(_ signal: Int32) throws(SystemCallError) -> Bool {
        let result = lnt_host_pidfd_signal(descriptor.number, signal)
        if -result == ErrorNumber.noProcess { return false }
        try check(result, "pidfd_send_signal", "\(pid)")
        return true
    }

    /// Waits until the process has ended (not only our children).
    /// - Returns: false when the time passed first. Blocks: call on the blocking executor.
    package func waitForExit(milliseconds: Int32 = -1) -> Bool { lnt_host_poll_one(descriptor.number, 1, milliseconds) > 0 }

    package var hasExited: Bool { waitForExit(milliseconds: 0) }

    /// Reaps our child. Blocks when `block`.
    /// - Returns: the raw wait status; nil while it runs.
    package func reap(block: Bool) throws(SystemCallError) -> Int32? {
        var status: Int32 = 0
        let result = lnt_host_wait_pidfd(descriptor.number, block ? 1 : 0, &status)
        if -result == ErrorNumber.again { return nil }
        try check(result, "waitid", "\(pid)")
        return status
    }
}

/// A raw wait status, taken apart.
package struct WaitStatus: Sendable, Equatable {
    package var raw: Int32
    package init(raw: Int32) { self.raw = raw }

    package var signal: Int32? { raw & 0x7f == 0 ? nil : raw & 0x7f }
    /// The exit code, 128+n for a signal.
    package var code: Int32 { signal.map { 128 + $0 } ?? (raw >> 8) & 0xff }
    package var dumpedCore: Bool { raw & 0x80 != 0 }
}
