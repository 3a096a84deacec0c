import CLinux

/// Watches the container's memory cgroup while its program runs: tells of each out-of-memory kill, and where the kernel kills single processes
/// only (cgroup v1), ends the others too when that was asked for.
///
/// v1 tells by an eventfd registered with cgroup.event_control, *before* it kills (mm/memcontrol-v1.c, mem_cgroup_oom_notify); v2 by POLLPRI on
/// memory.events. Either way the counter says what happened, and is looked at until it moves.
struct OutOfMemoryWatch {
    /// v1's eventfd, or v2's memory.events; -1 = nothing to watch.
    var fd: Int32 = -1
    var isEventCounter = false
    /// The cgroup's list of processes, for a kill of all.
    var processes: Int32 = -1
    var endsGroup = false
    /// Kills told of.
    var told: UInt64 = 0
    /// Until when the counter is looked at again and again, after v1's early word.
    var deadline: UInt64 = 0
    /// When the ending of the group began to be repeated; 0 = it isn't.
    var killsUntil: UInt64 = 0

    static let patience: UInt64 = 2_000_000_000
    /// Milliseconds between looks.
    static let pause: Int64 = 5

    var isBusy: Bool { deadline > 0 || killsUntil > 0 }
    var events: Int32 { isEventCounter ? Int32(LNT_IN) : Int32(LNT_PRI) }
}

extension Monitor {
    /// Begins to watch; called when the program runs, so that it costs a start nothing. Kills before this line show in the counter.
    func watchOutOfMemory(_ plan: Plan?) {
        // No memory controller, or a plan that doesn't name it: there is nothing to see.
        guard let plan, settings.oomEvents >= 0, var fields = try? plan.fields(LNT_MONITOR), (try? fields.text()) != nil,
            (try? fields.flag()) != nil, (try? fields.flag()) != nil, (try? fields.flag()) != nil, (try? fields.number()) != nil,
            (try? fields.number()) != nil, let file = try? fields.text()
        else { return }
        var end = lnt_length(file)
        let length = end
        while end > 0, file[end - 1] != 0x2f { end -= 1 }
        guard end > 0, length < 3800, let memory = lnt_map_anonymous(4096) else { return }
        defer { _ = lnt_unmap(memory, 4096) }
        var path = TextBuffer(memory, capacity: 4095)
        path.append(UnsafeRawPointer(file), end)
        path.append("cgroup.procs")
        outOfMemory.processes = lnt_open(path.terminate(), 0, 0)
        if lnt_same(file + end, literal("memory.events"), min(length - end, 13)) != 0 {
            outOfMemory.fd = settings.oomEvents
        } else {
            path.clear()
            path.append(UnsafeRawPointer(file), end)
            path.append("cgroup.event_control")
            outOfMemory.fd = lnt_watch_v1(settings.oomEvents, path.terminate())
            outOfMemory.isEventCounter = true
        }
        lookAtOutOfMemory()
    }

    /// Something was said by the kernel.
    func outOfMemorySaid() {
        if outOfMemory.isEventCounter {
            var count: UInt64 = 0
            guard lnt_read(outOfMemory.fd, &count, 8) == 8 else { return stopWatchingOutOfMemory() }
            outOfMemory.deadline = lnt_clock_monotonic() + OutOfMemoryWatch.patience
        }
        lookAtOutOfMemory()
    }

    /// A cgroup that is gone says so for ever.
    private func stopWatchingOutOfMemory() {
        if outOfMemory.isEventCounter { _ = lnt_close(outOfMemory.fd) }
        outOfMemory.fd = -1
    }

    /// One look at the counter; called in each turn while `isBusy`.
    func lookAtOutOfMemory() {
        let kills = settings.countOOMKills() &- settings.oomBefore
        let now = lnt_clock_monotonic()
        if kills > outOfMemory.told, !hasStatus {
            outOfMemory.told = kills
            outOfMemory.deadline = 0
            var event = lnt_oom()
            event.message.type = LNT_MSG_OUT_OF_MEMORY.rawValue
            event.kills = kills
            event.ends_group = outOfMemory.endsGroup ? 1 : 0
            tellAll(&event, MemoryLayout<lnt_oom>.size)
            if outOfMemory.endsGroup { outOfMemory.killsUntil = now + OutOfMemoryWatch.patience }
        }
        if outOfMemory.killsUntil > 0 {
            if killGroup() || now > outOfMemory.killsUntil { outOfMemory.killsUntil = 0 }
        }
        if outOfMemory.deadline > 0, now > outOfMemory.deadline { outOfMemory.deadline = 0 }
    }

    /// Ends every process of the container. Pid 1 takes its namespace with it; where that is another container's, the cgroup says who is ours.
    /// - Returns: whether none is left.
    private func killGroup() -> Bool {
        if programHandle >= 0 { _ = lnt_pidfd_send_signal(programHandle, Int32(LNT_SIGKILL)) }
        guard outOfMemory.processes >= 0 else { return true }
        return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { bytes in
            let count = lnt_pread(outOfMemory.processes, bytes.baseAddress!, bytes.count, 0)
            guard count > 0 else { return true }
            var pid: Int32 = 0
            for index in 0..<count {
                let byte = bytes[index]
                if byte >= 0x30, byte <= 0x39 {
                    pid = pid &* 10 &+ Int32(byte - 0x30)
                } else {
                    // Init last, by its own end: it tells how the program ended.
                    if pid > 1, pid != initPID || initPID == programPID { _ = lnt_kill(pid, Int32(LNT_SIGKILL)) }
                    pid = 0
                }
            }
            return hasStatus
        }
    }
}
